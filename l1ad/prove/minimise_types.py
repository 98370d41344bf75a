"""Rewrites that narrow types: bits that are never used, low bits that are always 0, modes that never act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from l1ad.fixed import MAX_BITS, FixedPoint, Raw
from l1ad.network import Network, aligned
from l1ad.operations import Convolution, Dense, Dot, Input, Lookup, Operation
from l1ad.prove.casts import rounded
from l1ad.prove.minimise_elements import BOUNDS, Bounds, Draft, Step
from l1ad.prove.minimise_grids import NOTHING, Grid, grids, zeros
from l1ad.prove.ranges import Range

CONSTANTS = ("weight", "bias", "scale")


def narrow_types(draft: Draft, known: Bounds) -> Draft:
    """Types of results, products and constants; those of the input and of the score stay."""
    network = draft.network
    grid = grids(network, known)
    changes = {o.name: _changes(o, network, known, grid[o.name]) for o in network.operations[1:]}
    operations = [network.operations[0]]
    for operation in network.operations[1:]:
        change = changes[operation.name]
        if isinstance(operation, Lookup):
            before = network[operation.x].out
            after = changes.get(operation.x, {}).get("out", before)
            change = change | {"table": _table(operation, before, after, change.get("out", operation.out))}
        operations.append(replace(operation, **change))
    return draft.then(operations, _steps(network, changes))


def narrowed(to: FixedPoint, reach: Range, bits: int) -> FixedPoint:
    """Narrowest type to which the cast is the same as to `to`.

    Parameters
    ----------
    to : FixedPoint
    reach : Range
        Of what is cast.
    bits : int
        Low bits of it that are 0, in the fractional bits of the range.

    Notes
    -----
    Where numbers overflow at one end, the limit there has to stay where it is, or what saturates would become another
    number: then only the other end may move, and of a type that wraps, neither.
    """
    unit = 1 << min(bits, MAX_BITS)
    low, high = (rounded(end // unit * unit, reach.frac, to) for end in (reach.low + (unit - 1), reach.high))
    lowest, highest = int(low.min()), int(high.max())
    spare = bits - (reach.frac - to.frac)  # bits of the result that are 0; negative: bits that are rounded away
    if spare >= 0:
        to = replace(to, rounding="TRN")
    fits = to.min_raw <= lowest and highest <= to.max_raw
    most_drop = min(spare, MAX_BITS + to.frac) if spare < NOTHING // 2 else 0
    for drop in dict.fromkeys((max(most_drop, 0), 0)):
        ends = lowest >> drop, highest >> drop
        for width in range(1, to.width + 1):
            for signed in sorted({False, to.signed}):
                kind = FixedPoint(width, to.frac - drop, signed, to.rounding, to.overflow)
                wraps = replace(kind, overflow="WRAP")
                if fits and wraps.min_raw <= ends[0] and ends[1] <= wraps.max_raw:
                    return wraps
                if _cast_alike(kind, to, ends, drop):
                    return kind
    return to


def _cast_alike(kind: FixedPoint, to: FixedPoint, ends: tuple[int, int], drop: int) -> bool:
    """Whether casts to two types agree on numbers between `ends`, of which some overflow, in units of `kind`."""
    lowest, highest = -(-to.min_raw >> drop), to.max_raw >> drop
    if to.overflow == "WRAP":
        return kind.signed == to.signed and (kind.min_raw, kind.max_raw) == (lowest, highest)
    limits = 0 if to.overflow == "SAT_ZERO" else (1 << drop) - 1  # what saturates becomes the limit, which then counts
    below = kind.min_raw == lowest and not to.min_raw & limits
    above = kind.max_raw == highest and not to.max_raw & limits
    below |= ends[0] >= max(kind.min_raw, lowest)
    above |= ends[1] <= min(kind.max_raw, highest)
    return below and above


def _changes(operation: Operation, network: Network, known: Bounds, grid: Grid) -> dict[str, Any]:
    """Fields of `operation` with smaller types, by name."""
    bound, changes = known[operation.name], dict[str, Any]()
    for name in CONSTANTS:
        raw, kind = getattr(operation, name, None), getattr(operation, f"{name}_type", None)
        if raw is not None and kind is not None:
            drop = min(int(zeros(raw).min()), MAX_BITS + kind.frac) if raw.any() else 0
            smaller = FixedPoint.holding(int(raw.min()) >> drop, int(raw.max()) >> drop, kind.frac - drop)
            if smaller != kind:
                changes |= {name: raw >> drop, f"{name}_type": smaller}
    product = getattr(operation, "product", None)
    if product is not None and isinstance(operation, Dense | Convolution | Dot) and bound.terms is not None:
        low, high = (rounded(end, bound.terms.frac, product) for end in (bound.terms.low, bound.terms.high))
        inside = low.min() >= product.min_raw and high.max() <= product.max_raw
        needless = inside and aligned(operation, network) <= product.frac
        narrow = None if needless else narrowed(product, bound.terms, grid.terms)
        if narrow != product:
            changes["product"] = narrow
    if operation is not network.score and not isinstance(operation, Input):
        out = narrowed(operation.out, bound.before, int(grid.before.min()))
        if out != operation.out:
            changes["out"] = out
    return changes


def _table(lookup: Lookup, before: FixedPoint, after: FixedPoint, out: FixedPoint) -> Raw:
    """Table for a narrower type of `x`, in a narrower type; what is never looked up may be anything."""
    address = np.arange(after.min_raw, after.max_raw + 1) << (before.frac - after.frac)
    entries = lookup.table[np.clip(address - before.min_raw, 0, len(lookup.table) - 1)]
    narrow: Raw = np.clip(entries >> (lookup.out.frac - out.frac), out.min_raw, out.max_raw)
    return narrow


def _steps(network: Network, changes: Mapping[str, Mapping[str, Any]]) -> list[Step]:
    return [
        Step(operation, f"{name.removesuffix('_type')} {getattr(network[operation], name)} -> {kind}", BOUNDS)
        for operation, change in changes.items()
        for name, kind in change.items()
        if name not in CONSTANTS
    ]
