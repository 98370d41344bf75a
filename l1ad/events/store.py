"""Events in hardware integers, and the HDF5 files that hold them.

A file has one dataset per column (``jet/pt`` of shape (n, slots)) and one per quantity of the event
(``meta/weight`` ...), chunked one slot at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from l1ad.events.schema import Schema, load_schema

__all__ = [
    "EventFile",
    "EventWriter",
    "Events",
    "assert_disjoint",
    "concatenate",
    "event_hash",
    "inputs",
    "make_meta",
    "split",
]

Array = NDArray[Any]

FORMAT = 2
CHUNK = 65_536  # events per HDF5 chunk: a chunk is one slot of one column
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
    meta : event quantities keyed by the names of `META`, each (n,), those of `NAMED` (n, columns)
    """

    schema: Schema
    columns: dict[str, Array]
    meta: dict[str, Array]

    def __post_init__(self) -> None:
        n = len(self)
        known = self.schema.columns()
        for name, array in self.columns.items():
            if name not in known:
                raise ValueError(f"column must be one of the schema {self.schema.name}, not {name!r}")
            expected = (n, known[name][0].slots)
            if array.shape != expected or array.dtype.kind not in "iu":
                raise ValueError(f"{name} must be integers {expected}, not {array.dtype} {array.shape}")
        if set(self.meta) != set(META):
            raise ValueError(f"meta must have {', '.join(META)}, not {', '.join(self.meta)}")
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


def concatenate(parts: Iterable[Events]) -> Events:
    """One after the other; all must have the same schema, columns and classes."""
    parts = list(parts)
    if not parts:
        raise ValueError("events must be given to concatenate, not nothing")
    first = parts[0]
    for part in parts[1:]:
        if part.schema != first.schema or list(part.columns) != list(first.columns):
            raise ValueError("events must have the same schema and columns to be concatenated")
    return Events(
        first.schema,
        {name: np.concatenate([p.columns[name] for p in parts]) for name in first.columns},
        {name: np.concatenate([p.meta[name] for p in parts]) for name in first.meta},
    )


def _check(events: Events, where: str) -> None:
    """Codes within their range, weights finite and not negative."""
    known = events.schema.columns()
    for name, array in events.columns.items():
        column = known[name][1]
        bad = (array < column.low) | (array > column.high)
        if bad.any():
            event, slot = np.argwhere(bad)[0]
            raise ValueError(
                f"{where}: {name} must be in {column.low}..{column.high}, not {array[event, slot]} "
                f"(event {event}, slot {slot}); {bad.sum()} codes are outside"
            )
    weight = events.meta["weight"]
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        event = int(np.argmax(bad))
        raise ValueError(f"{where}: weight must be finite and not negative, not {weight[event]} (event {event})")


class EventFile:
    """An event file open for reading; a context manager.

    Parameters
    ----------
    path : HDF5 file made by `EventWriter`
    schema : the schema it must follow, if it is not one that `load_schema` finds by name

    Attributes
    ----------
    schema : Schema
    attrs : dict, how the events were made

    Raises
    ------
    OSError
        If the file is missing, not HDF5, or truncated.
    ValueError
        If its content does not fit the schema.
    """

    def __init__(self, path: str | Path, schema: Schema | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"event file must exist, not be missing: {self.path}; check the path")
        if not h5py.is_hdf5(self.path):
            raise OSError(f"event file must be HDF5: {self.path}; write it with EventWriter")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise OSError(
                f"event file must be complete, not truncated or damaged: {self.path} ({error}); copy it again"
            ) from None
        try:
            self._open(schema)
        except BaseException:
            self._file.close()
            raise

    def _open(self, schema: Schema | None) -> None:
        try:
            stored = {key: json.loads(value) for key, value in self._file.attrs.items()}
            version, name, digest = (stored.pop(key) for key in ("format", "schema", "schema_digest"))
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{self.path}: attributes must be those of an l1ad event file; write it with EventWriter"
            ) from None
        if version != FORMAT:
            raise ValueError(f"{self.path}: format must be {FORMAT}, not {version}; use the l1ad that wrote it")
        self.schema = load_schema(name) if schema is None else schema
        if self.schema.digest() != digest:
            raise ValueError(
                f"{self.path}: schema must be the {name!r} that it was written with, not the present "
                f"{self.schema.name!r}; pass the original as schema"
            )
        self.attrs: dict[str, Any] = stored
        self._length = len(self._dataset("meta/weight", ndim=1))
        for key in META:
            self._dataset(f"meta/{key}", ndim=2 if key in NAMED else 1)
        for key, (collection, _) in self.schema.columns().items():
            self._dataset(key.replace(".", "/"), ndim=2, slots=collection.slots)

    def _dataset(self, name: str, ndim: int, slots: int | None = None) -> Any:
        try:
            data = self._file[name]
        except KeyError:
            raise ValueError(f"{self.path}: dataset {name} must exist; the file is not complete") from None
        shape: tuple[int, ...] = getattr(data, "shape", ())
        rows = getattr(self, "_length", shape[0] if shape else 0)
        if len(shape) != ndim or shape[0] != rows or (slots is not None and shape[1] != slots):
            expected = f"({rows}, {slots})" if slots else f"{ndim} axes and {rows} rows"
            raise ValueError(f"{self.path}: dataset {name} must be {expected}, not shape {shape}")
        group, _, key = name.partition("/")
        floating = group == "meta" and META[key][0].startswith("f")
        if data.dtype.kind not in ("f" if floating else "iu"):
            kind = "floating point" if floating else "integer"
            raise ValueError(f"{self.path}: dataset {name} must be {kind}, not {data.dtype}")
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading is over."""
        self._file.close()

    def __len__(self) -> int:
        return self._length

    def read(self, start: int = 0, stop: int | None = None, columns: Iterable[str] | None = None) -> Events:
        """Events ``start:stop``; `columns` limits the trigger columns read (``["jet.pt", ...]``), meta is whole."""
        known = self.schema.columns()
        names = list(known) if columns is None else list(columns)
        for name in names:
            if name not in known:
                raise ValueError(f"{self.path}: column must be one of {', '.join(known)}, not {name!r}")
        rows = slice(start, stop)
        try:
            events = Events(
                self.schema,
                {n: self._file[n.replace(".", "/")][rows].astype(known[n][1].dtype, copy=False) for n in names},
                {n: self._file[f"meta/{n}"][rows].astype(META[n][0], copy=False) for n in META},
            )
        except OSError as error:
            raise OSError(
                f"{self.path}: events {start}..{stop} must be readable ({error}); copy the file again"
            ) from None
        _check(events, str(self.path))
        return events

    def chunks(self, size: int = CHUNK, columns: Iterable[str] | None = None) -> Iterator[Events]:
        """All events in order, at most `size` at a time: memory does not grow with the file."""
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        columns = None if columns is None else list(columns)
        for start in range(0, len(self), size):
            yield self.read(start, min(start + size, len(self)), columns)


class EventWriter:
    """An event file being written; a context manager.

    Writes ``<path>.part`` and renames it on success, so that a file under its final name is complete.

    Parameters
    ----------
    path : file to make; its folder must exist
    schema : of the events to come
    attrs : how they were made; any JSON values.  ``classes`` and ``seeds`` name the columns of `NAMED`.
    archive : small (gzip, which any HDF5 reads) rather than fast to write and read (LZF, which comes with h5py)
    """

    def __init__(self, path: str | Path, schema: Schema, attrs: dict[str, Any], *, archive: bool = False) -> None:
        self.path = Path(path)
        self.schema = schema
        self._aside = self.path.with_name(self.path.name + ".part")
        stored = {**attrs, "format": FORMAT, "schema": schema.name, "schema_digest": schema.digest()}
        encoded = {key: json.dumps(value) for key, value in stored.items()}
        self._widths = {name: len(attrs.get(attribute, ())) for name, attribute in NAMED.items()}
        self._filter = {"compression": "gzip", "compression_opts": 9} if archive else {"compression": "lzf"}
        self._waiting: list[Events] = []
        try:
            self._file = h5py.File(self._aside, "w", libver="latest")
        except OSError as error:
            raise OSError(
                f"folder must exist and be writable, not {self.path.parent} ({error}); choose another"
            ) from None
        for key, value in encoded.items():
            self._file.attrs[key] = value
        for name, (collection, column) in schema.columns().items():
            self._create(name.replace(".", "/"), column.stored_dtype, collection.slots)
        for name, (dtype, _) in META.items():
            self._create(f"meta/{name}", np.dtype(dtype), self._widths.get(name))

    def _create(self, name: str, dtype: np.dtype[Any], slots: int | None) -> None:
        shape, chunk = ((0,), (CHUNK,)) if slots is None else ((0, slots), (CHUNK, 1))
        limit = (None, slots or None)[: len(shape)]  # HDF5 cannot chunk an axis limited to length 0
        self._file.create_dataset(
            name,
            shape=shape,
            maxshape=limit,
            chunks=chunk,
            dtype=dtype,
            shuffle=True,
            **self._filter,
        )

    def append(self, events: Events) -> None:
        """Add events at the end; they must have every column of the schema and valid codes."""
        if events.schema != self.schema:
            raise ValueError(f"events must follow the schema {self.schema.name!r}, not {events.schema.name!r}")
        missing = [name for name in self.schema.columns() if name not in events.columns]
        if missing:
            raise ValueError(f"events must have every column of the schema, not lack {', '.join(missing)}")
        for name, width in self._widths.items():
            got = events.meta[name].shape[1]
            if got != width:
                raise ValueError(f"{name} must have {width} columns (attrs {NAMED[name]}), not {got}")
        _check(events, str(self.path))
        self._waiting.append(events)
        if sum(len(part) for part in self._waiting) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        """Write what waits: HDF5 compresses a chunk anew at each write, so these must be few."""
        if not self._waiting:
            return
        events = concatenate(self._waiting)
        self._waiting = []
        data = {name.replace(".", "/"): array for name, array in events.columns.items()}
        data |= {f"meta/{name}": array for name, array in events.meta.items()}
        for name, array in data.items():
            dataset = self._file[name]
            start = len(dataset)
            dataset.resize(start + len(events), axis=0)
            dataset[start:] = array

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._file.close()
            if kind is None:
                self._aside.replace(self.path)
        finally:
            self._file.close()
            self._aside.unlink(missing_ok=True)


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
