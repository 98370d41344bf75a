"""Events in hardware integers, in memory: their columns, their quantities, and what identifies their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.schema import Schema

__all__ = [
    "META",
    "NAMED",
    "Array",
    "Block",
    "Events",
    "Place",
    "assert_disjoint",
    "check_values",
    "concatenate",
    "event_hash",
    "input_places",
    "inputs",
    "make_meta",
    "regroup",
    "split",
]

Array = NDArray[Any]
Place = tuple[str, int]
"""A column of the schema and a slot of it: ``("jet.pt", 0)``."""

# quantity -> dtype, and the value that means "unknown"
META: dict[str, tuple[str, float | int]] = {
    "weight": ("f8", 1.0),  # expected occurrences per bunch crossing (rate samples), else 1 / N
    "pileup": ("f4", -1.0),  # mean number of collisions per crossing (mu)
    "n_collisions": ("i2", -1),  # collisions in this crossing
    "run": ("i4", -1),
    "ls": ("i4", -1),  # luminosity section
    "event": ("i8", -1),  # number of the event in its run
    "bx": ("i2", -1),  # bunch crossing
    "label": ("i1", -1),  # truth, where a sample is a mixture: 1 signal, 0 background
    "collision": ("i4", -1),  # identity of the forced, else hardest, collision: events that share it correlate
    "forced": ("i1", -1),  # index among the classes of the collision that the event was made with, -1 for none
    "class_counts": ("u1", 0),  # (n, classes): collisions of each rare class, see `l1ad.events.generation`
    "seeds": ("u1", 0),  # (n, seeds): decision of each seed of a menu, 0 or 1
}
NAMED = {"class_counts": "classes", "seeds": "seeds"}
"""Quantities of two axes -> the file attribute that names their columns."""


def make_meta(n: int, **known: Array) -> dict[str, Array]:
    """The event quantities of `n` events: those in `known`, the rest unknown (of the two-axis ones, no columns)."""
    unexpected = set(known) - set(META)
    if unexpected:
        raise ValueError(f"meta must be of {', '.join(META)}, not {', '.join(sorted(unexpected))}")
    out = {}
    for name, (dtype, unknown) in META.items():
        shape = (n, 0) if name in NAMED else (n,)
        out[name] = np.asarray(known.get(name, np.full(shape, unknown, dtype)), dtype)
    return out


@dataclass(frozen=True)
class Events:
    """Trigger objects of n events.

    Attributes
    ----------
    schema : what the columns mean
    columns : raw codes keyed ``"jet.pt"``, each (n, slots) of `Column.dtype`; may be a subset of the schema
    meta : event quantities keyed by the names of `META`, each (n,), those of `NAMED` (n, columns); may be a subset
        that holds the weight
    """

    schema: Schema
    columns: dict[str, Array]
    meta: dict[str, Array]

    def __post_init__(self) -> None:
        if "weight" not in self.meta:
            raise ValueError(f"meta must hold the weight, not only {', '.join(self.meta) or 'nothing'}; see make_meta")
        n = len(self)
        known = self.schema.columns()
        for name, array in self.columns.items():
            if name not in known:
                raise ValueError(f"column must be one of the schema {self.schema.name}, not {name!r}")
            expected = (n, known[name][0].slots)
            if array.shape != expected or array.dtype.kind not in "iu":
                raise ValueError(f"{name} must be integers {expected}, not {array.dtype} {array.shape}")
        if not self.meta.keys() <= META.keys():
            raise ValueError(f"meta must be of {', '.join(META)}, not {', '.join(self.meta)}")
        for name, array in self.meta.items():
            ndim = 2 if name in NAMED else 1
            if len(array) != n or array.ndim != ndim:
                raise ValueError(f"meta {name} must have {ndim} axes and {n} rows, not shape {array.shape}")

    def __len__(self) -> int:
        return len(self.meta["weight"])

    def __getitem__(self, index: Any) -> Events:
        if isinstance(index, int | np.integer):
            index = [index]
        return Events(
            self.schema,
            {name: array[index] for name, array in self.columns.items()},
            {name: array[index] for name, array in self.meta.items()},
        )


@dataclass(frozen=True)
class Block:
    """Events as they lie in a file, unchecked; see `l1ad.events.store.EventFile.raw`.

    Attributes
    ----------
    start, stop : numbers of its events in their file
    columns : raw codes, each (n,), contiguous, of the type stored; as many and in the order as asked for
    meta : event quantities, as stored
    """

    start: int
    stop: int
    columns: list[Array]
    meta: dict[str, Array]

    def __len__(self) -> int:
        return self.stop - self.start


def concatenate(parts: Iterable[Events]) -> Events:
    """One after the other; all must have the same schema, columns, quantities and classes."""
    parts = list(parts)
    if not parts:
        raise ValueError("events must be given to concatenate, not nothing")
    first = parts[0]
    for part in parts[1:]:
        if (part.schema, list(part.columns), set(part.meta)) != (first.schema, list(first.columns), set(first.meta)):
            raise ValueError("events must have the same schema, columns and quantities to be concatenated")
    return Events(
        first.schema,
        {name: np.concatenate([p.columns[name] for p in parts]) for name in first.columns},
        {name: np.concatenate([p.meta[name] for p in parts]) for name in first.meta},
    )


def regroup(parts: Iterable[Events], size: int) -> Iterator[Events]:
    """The same events in order, `size` at a time, the last ones fewer; holds `size` events and one part at most."""
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    waiting: list[Events] = []
    for part in parts:
        start, missing = 0, size - sum(len(w) for w in waiting)
        while start + missing <= len(part):
            waiting.append(part[start : start + missing])
            yield concatenate(waiting) if len(waiting) > 1 else waiting[0]
            start, missing, waiting = start + missing, size, []
        if start < len(part):
            waiting.append(part[start:])
    if waiting:
        yield concatenate(waiting)


def check_values(events: Events, where: str, first: int = 0) -> None:
    """Codes within their range, weights finite and not negative; `first` is the number of the first event."""
    known = events.schema.columns()
    for name, array in events.columns.items():
        column = known[name][1]
        if array.size and (array.min() < column.low or array.max() > column.high):
            bad = (array < column.low) | (array > column.high)
            event, slot = np.argwhere(bad)[0]
            raise ValueError(
                f"{where}: {name} must be in {column.low}..{column.high}, not {array[event, slot]} "
                f"(event {first + event}, slot {slot}); {bad.sum()} codes are outside"
            )
    weight = events.meta["weight"]
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        event = int(np.argmax(bad))
        raise ValueError(
            f"{where}: weight must be finite and not negative, not {weight[event]} (event {first + event})"
        )


def input_places(schema: Schema, selection: str = "axol1tl") -> list[Place | None]:
    """Where each network input of a selection lies, in the order of `input_columns`; None where it is always 0."""
    chosen = schema.selection(selection)
    return [
        (f"{name}.{key}", slot) if schema.collection(name).column(key) else None
        for name, slots in chosen.objects
        for slot in range(slots)
        for key in chosen.columns
    ]


def inputs(events: Events, selection: str = "axol1tl") -> NDArray[np.int64]:
    """The network inputs of a selection, raw codes (n, inputs), in the order of `input_columns`."""
    chosen = events.schema.selection(selection)
    blocks = []
    for name, slots in chosen.objects:
        collection = events.schema.collection(name)
        block = np.zeros((len(events), slots, len(chosen.columns)), np.int64)
        for i, key in enumerate(chosen.columns):
            if collection.column(key) is not None:
                block[:, :, i] = events.columns[f"{name}.{key}"][:, :slots]
        blocks.append(block.reshape(len(events), slots * len(chosen.columns)))
    return np.concatenate(blocks, axis=1)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: every input bit reaches every output bit (Vigna, public domain)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def event_hash(events: Events) -> NDArray[np.uint64]:
    """A 64-bit hash of all trigger columns, (n,): equal content, equal hash, on any machine, in any order.

    ``mix(sum_i code_i k_i mod 2^64)`` with an odd constant ``k_i`` for each slot of each column, taken from
    SHA-256 of ``"jet.pt/3"``.  Absent objects add nothing, so the number of empty slots does not matter.
    """
    total = np.zeros(len(events), np.uint64)
    for name, array in events.columns.items():
        for slot in range(array.shape[1]):
            constant = int.from_bytes(sha256(f"{name}/{slot}".encode()).digest()[:8], "little") | 1
            total += array[:, slot].astype(np.int64).view(np.uint64) * np.uint64(constant)
    return _mixed(total)


def split(hashes: NDArray[np.uint64], fraction: float) -> NDArray[np.bool_]:
    """True for about `fraction` of the events, decided by content: equal events are on the same side."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be between 0 and 1, not {fraction}")
    return (hashes >> np.uint64(11)).astype(np.float64) < fraction * 2.0**53


def assert_disjoint(a: NDArray[np.uint64], b: NDArray[np.uint64], names: tuple[str, str] = ("a", "b")) -> None:
    """Refuse two samples, given by their `event_hash`, that share events."""
    shared = int(np.isin(a, b).sum())
    if shared:
        raise ValueError(f"{names[0]} and {names[1]} must share no event, not {shared} of {len(a)}")
