"""What every operation of a network can reach, in integers: sound everywhere, exact in the first layer.

Ranges follow from the ranges of the inputs in three ways, of which the tightest counts: `columns` (exact, as far as
columns do not meet, and one sum further), intervals, and `linear` bounds back to the inputs, which know that the
elements of a layer depend on each other.  Sums are bounded in the end, not on the way: a sum that leaves the type of
its accumulator and returns is right in modular arithmetic, whichever the order of its terms.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from l1ad.fixed import Raw
from l1ad.network import Network, aligned, cast_range, ordered
from l1ad.network import exact as python_integers
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Lookup, Mask, Merge, Operation
from l1ad.prove.casts import cast_integers, gather, sums
from l1ad.prove.columns import Columns, sweep, term_ends
from l1ad.prove.linear import tightened
from l1ad.prove.ranges import Bound, Range, products


def bounds(network: Network, low: Raw | None = None, high: Raw | None = None) -> dict[str, Bound]:
    """Ranges of every operation, by name.

    Parameters
    ----------
    network : Network
    low, high : int64 array, shape (n_columns,), optional
        Ranges of the columns, inside the hardware ranges, which are the default.

    Raises
    ------
    ValueError
        If a range is empty or not inside its hardware range.
    """
    low = network.input.low if low is None else low
    high = network.input.high if high is None else high
    if not ((network.input.low <= low) & (low <= high) & (high <= network.input.high)).all():
        raise ValueError("ranges of the columns must not be empty and must lie inside the hardware ranges")
    return bounds_over(network, sweep(network, low, high))


def bounds_over(network: Network, columns: Columns) -> dict[str, Bound]:
    """As `bounds`, once the columns are swept."""
    trigger = Range(python_integers(columns.low), python_integers(columns.high), network.input.out.frac)
    known = {network.input.name: Bound(None, trigger, trigger, True)}
    for operation in network.operations[1:]:
        known[operation.name] = _bound(operation, network, known, columns)
    return known


def _bound(operation: Operation, network: Network, known: Mapping[str, Bound], columns: Columns) -> Bound:
    name, out = operation.name, operation.out
    terms: Range | None = None
    if name in columns.values:
        frac = out.frac if isinstance(operation, Lookup) else _frac(operation, network)
        return Bound(None, _spanned(columns.before[name], frac), _spanned(columns.values[name], out.frac), True)
    covered = columns.cover(operation)
    match operation:
        case Dense() | Convolution():
            terms, before = _summed(operation, network, known, columns if covered else None)
        case Dot(x=x, y=y, product=product):
            before = products(known[x].after, known[y].after, x == y)
            if covered:
                before = _spanned(columns.values[x] * columns.values[y], before.frac)
            if product is not None:
                terms, before = before, before.cast(product, name)
            if covered:
                ends = term_ends(operation, network, columns)
                before = Range(ends.low.ravel(), ends.high.ravel(), before.frac)
            before = Range(before.low.sum(keepdims=True), before.high.sum(keepdims=True), before.frac)
        case _:
            before = _elementwise(operation, network, known)
    if not covered:
        before = tightened(operation, network, known, columns.values, before)
    after = before if isinstance(operation, Lookup) else before.cast(out, name)
    return Bound(terms, before, after, covered)


def _spanned(values: Raw, frac: int) -> Range:
    return Range(python_integers(values.min(axis=0)), python_integers(values.max(axis=0)), frac)


def _frac(operation: Operation, network: Network) -> int:
    """Fractional bits of the exact result of an element-wise operation."""
    if isinstance(operation, Affine | Merge):
        return aligned(operation, network)
    return network[operation.x].out.frac  # type: ignore[union-attr]


def _summed(
    operation: Dense | Convolution, network: Network, known: Mapping[str, Bound], columns: Columns | None
) -> tuple[Range | None, Range]:
    """Terms before the cast of the products, if there is one, and sums."""
    parts, source, product = sums(operation, network), known[operation.x].after, operation.product
    low, high = (gather(end, parts.windows)[..., None] * parts.factor for end in (source.low, source.high))
    low, high = ordered(low, high)
    frac, constant, terms = parts.frac, parts.constant, None
    if product is not None:
        all_low, all_high = (np.concatenate([end.ravel(), parts.constant]) for end in (low, high))
        terms = Range(all_low, all_high, frac)
        low, high = cast_range(low, high, frac, product, operation.name)
        constant = cast_integers(constant, frac, product)
        frac = product.frac
    if columns is not None:
        ends = term_ends(operation, network, columns)
        low, high = ends.low, ends.high
    low, high = ((end.sum(axis=1) + constant).ravel() for end in (low, high))
    return terms, Range(low, high, frac)


def _elementwise(operation: Operation, network: Network, known: Mapping[str, Bound]) -> Range:
    """Intervals."""
    match operation:
        case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
            frac = aligned(operation, network)
            factor = python_integers(scale) * (1 << (frac - network[x].out.frac - scale_type.frac))
            constant = python_integers(bias) * (1 << (frac - bias_type.frac))
            low, high = ordered(known[x].after.low * factor, known[x].after.high * factor)
            return Range(low + constant, high + constant, frac)
        case Merge(how="multiply", x=x, y=y):
            return products(known[x].after, known[y].after, x == y)
        case Merge(how=how, x=x, y=y):
            frac = aligned(operation, network)
            a, b = (_shifted(known[name].after, frac) for name in (x, y))
            match how:
                case "add":
                    return Range(a.low + b.low, a.high + b.high, frac)
                case "subtract":
                    return Range(a.low - b.high, a.high - b.low, frac)
                case "maximum":
                    return Range(np.maximum(a.low, b.low), np.maximum(a.high, b.high), frac)
                case _:
                    return Range(np.minimum(a.low, b.low), np.minimum(a.high, b.high), frac)
        case Mask(x=x, by=by, index=index):
            source, other = known[x].after, known[by].after
            low_by, high_by = other.low[index], other.high[index]
            may_vanish = (low_by <= 0) & (high_by >= 0)
            vanishes = (low_by == 0) & (high_by == 0)
            low = np.where(may_vanish, np.minimum(source.low, 0), source.low)
            high = np.where(may_vanish, np.maximum(source.high, 0), source.high)
            return Range(np.where(vanishes, 0, low), np.where(vanishes, 0, high), source.frac)
        case Cast(x=x):
            return known[x].after
        case Lookup(x=x, table=table, out=out):
            lowest = network[x].out.min_raw
            ends = zip(known[x].after.low, known[x].after.high, strict=True)
            reached = [table[low - lowest : high - lowest + 1] for low, high in ends]
            low, high = (np.array([int(end(r)) for r in reached], object) for end in (np.min, np.max))
            return Range(low, high, out.frac)
        case _:
            raise TypeError(f"operation {operation.name!r}: bounds do not know {type(operation).__name__}")


def _shifted(source: Range, frac: int) -> Range:
    up = 1 << (frac - source.frac)
    return Range(source.low * up, source.high * up, frac)
