"""Guesses at why two executors of a network differ: the known mistakes, each tried on the events that differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.emulate import reference
from l1ad.fixed import FixedPoint, Raw, cast
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Input, Operation

MOST = 2_000
"""Events on which a cause is tried."""


@dataclass(frozen=True)
class Cause:
    """A mistake that makes the network give what the other executor gave.

    Parameters
    ----------
    text : str
    explained, differing : int
        Of the events that differ, how many it accounts for; it changes none of those that agree.
    """

    text: str
    explained: int
    differing: int

    def __str__(self) -> str:
        return f"{self.text} (accounts for {self.explained} of the {self.differing} events that differ)"


def explain(network: Network, x: Raw, found: npt.NDArray[np.int64]) -> list[Cause]:
    """Known mistakes that turn the network's scores into `found`, the best first.

    Parameters
    ----------
    network : Network
    x : int64 array, shape (n_events, n_columns)
    found : int64 array, shape (n_events,)
        Raw scores of the other executor.

    Returns
    -------
    list of Cause
        Those that account for every difference; if there are none, those that account for more than half.
    """
    expected = reference.emulate(network, x)
    differs = np.flatnonzero(expected != found)[:MOST]
    agrees = np.flatnonzero(expected == found)[:MOST]
    chosen = np.concatenate([differs, agrees])
    x, found = x[chosen], found[chosen]
    causes = []
    for text, scores in _tried(network, x):
        right = scores == found
        if right[len(differs) :].all() and 2 * right[: len(differs)].sum() > len(differs):
            causes.append(Cause(text, int(right[: len(differs)].sum()), len(differs)))
    whole = [cause for cause in causes if cause.explained == cause.differing]
    return whole or sorted(causes, key=lambda cause: -cause.explained)


def _tried(network: Network, x: Raw) -> Iterator[tuple[str, Raw]]:
    """What the network would give with each mistake."""
    for text, changed_x in _inputs(network, x):
        yield text, reference.emulate(network, changed_x)
    for position, operation in enumerate(network.operations):
        for text, wrong in _mistakes(operation):
            changed = (*network.operations[:position], wrong, *network.operations[position + 1 :])
            try:
                scores = reference.emulate(Network(changed), x)
            except (ValueError, OverflowError):  # the mistake makes no network
                continue
            yield f"operation {operation.name!r}: {text}", scores


def _inputs(network: Network, x: Raw) -> Iterator[tuple[str, Raw]]:
    """Integer division by 2, which loses the lowest bit: of all columns of a kind, of a kind of object, of each."""
    names, low = network.input.columns, network.input.low
    score = reference.emulate(network, x)

    def divided(columns: Sequence[int]) -> Raw:
        wrong = x.copy()
        wrong[:, columns] = np.maximum(wrong[:, columns] & ~1, low[columns])
        return wrong

    # a column whose lowest bit changes no score cannot be told
    seen = [c for c in range(len(names)) if (reference.emulate(network, divided([c])) != score).any()]
    tried = set()
    for kind in (_quantity, _numberless, str):
        groups: dict[str, list[int]] = {}
        for column in seen:
            groups.setdefault(kind(names[column]), []).append(column)
        for columns in groups.values():
            if tuple(columns) not in tried:
                tried.add(tuple(columns))
                listed = ", ".join(names[c] for c in columns)
                yield f"integer division by 2 in the input loses the lowest bit of {listed}", divided(columns)


def _numberless(column: str) -> str:
    """``jet3_pt`` -> ``jet_pt``."""
    return re.sub(r"\d+", "", column)


def _quantity(column: str) -> str:
    """``jet3_pt`` -> ``pt``."""
    return _numberless(column).rpartition("_")[2]


def _mistakes(operation: Operation) -> Iterator[tuple[str, Operation]]:
    if isinstance(operation, Input):
        return
    out = operation.out
    for mode in ("WRAP", "SAT"):
        if mode != out.overflow:
            yield f"{mode} where {out.overflow} was meant", _with(operation, out=replace(out, overflow=mode))
    for mode in ("TRN", "RND", "RND_CONV"):
        if mode != out.rounding:
            yield f"{mode} where {out.rounding} was meant", _with(operation, out=replace(out, rounding=mode))
    match operation:
        case Dense(weight=weight):
            yield "weights transposed", _with(operation, weight=weight.reshape(weight.shape[::-1]).T)
        case Convolution(weight=weight):
            matrix = weight.reshape(-1, weight.shape[-1])
            transposed = matrix.reshape(matrix.shape[::-1]).T.reshape(weight.shape)
            yield "weights transposed", _with(operation, weight=transposed)
    for constants in ("weight", "scale", "bias"):
        yield from _constants(operation, constants)


def _with(operation: Operation, **changed: Any) -> Operation:
    made: Operation = replace(operation, **changed)
    return made


def _constants(operation: Operation, name: str) -> Iterator[tuple[str, Operation]]:
    """Constants of a type that is one or two bits too narrow, at the top or at the bottom."""
    if name not in {field.name for field in fields(operation)}:
        return
    raw: Raw = getattr(operation, name)
    kind: FixedPoint = getattr(operation, f"{name}_type")
    what = "offsets" if name == "bias" and isinstance(operation, Affine) else f"{name} literals"
    for bits in (1, 2):
        if kind.width <= bits:
            return
        coarse = cast(cast(raw, kind.frac, replace(kind, frac=kind.frac - bits)), kind.frac - bits, kind)
        if (coarse != raw).any():
            yield f"{what} truncated to {kind.frac - bits} fractional bits", _with(operation, **{name: coarse})
    narrowest = FixedPoint.holding(int(raw.min()), int(raw.max()), kind.frac)
    for bits in (1, 2):
        if narrowest.width <= bits:
            return
        narrow = replace(narrowest, width=narrowest.width - bits, overflow="WRAP")
        yield f"{what} wrapped to {narrow.width} bits", _with(operation, **{name: cast(raw, kind.frac, narrow)})


def differences(network: Network, other: Network, start: str) -> list[str]:
    """What tells two networks apart behind the operation `start`, operation by operation, in words."""
    mine, theirs = (_behind(each, start) for each in (network, other))
    lines = []
    for joined, where in ((_joined(mine, theirs), "project"), (_joined(theirs, mine), "network")):
        for name, accumulator in joined:
            lines.append(f"operation {name!r}: accumulator {accumulator} may wrap in the {where}, and not in the other")
    for name in dict.fromkeys((*mine, *theirs)):
        one, two = mine.get(name), theirs.get(name)
        if one is None or two is None or type(one) is not type(two):
            lines.append(f"operation {name!r}: {_kind(one)} in the network, {_kind(two)} in the project")
        else:
            lines.extend(_differences(one, two))
    return lines


def _behind(network: Network, start: str) -> dict[str, Operation]:
    """Operations behind `start` by name; behind the input, if there is none of that name."""
    names = [operation.name for operation in network.operations]
    position = names.index(start) if start in names else 0
    return {operation.name: operation for operation in network.operations[position + 1 :]}


def _joined(one: dict[str, Operation], other: dict[str, Operation]) -> Iterator[tuple[str, FixedPoint]]:
    """Make one of a sum and the cast of its accumulator in `other`, where they are one in `one`, as they may be."""
    for name, sum_ in one.items():
        ended, accumulated = other.get(name), other.get(f"{name}_accum")
        if accumulated is not None and type(accumulated) is type(sum_) and isinstance(ended, Cast):
            other[name] = _with(other.pop(accumulated.name), name=name, out=ended.out)
            yield name, accumulated.out


def _kind(operation: Operation | None) -> str:
    return "missing" if operation is None else type(operation).__name__


def _differences(operation: Operation, other: Operation) -> Iterator[str]:
    """Fields that differ; constants by their values, however their types are spelt."""
    for name in (field.name for field in fields(operation) if not field.name.endswith("_type")):
        mine, theirs = getattr(operation, name), getattr(other, name)
        where = f"operation {operation.name!r}: {name}"
        if not isinstance(mine, np.ndarray):
            if mine != theirs:
                yield f"{where} is {mine} in the network and {theirs} in the project"
            continue
        if mine.shape != theirs.shape:
            yield f"{where} has shape {mine.shape} in the network and {theirs.shape} in the project"
            continue
        mine, theirs = (
            raw * getattr(each, f"{name}_type").lsb if hasattr(each, f"{name}_type") else raw
            for raw, each in ((mine, operation), (theirs, other))
        )
        if (mine != theirs).any():
            at = tuple(int(i) for i in np.argwhere(mine != theirs)[0])
            count = int((mine != theirs).sum())
            yield f"{where} differs in {count} of {mine.size} numbers, first at {at}: {mine[at]:g} and {theirs[at]:g}"
