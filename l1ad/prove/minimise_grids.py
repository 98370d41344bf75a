"""Low bits that are always 0: of every operation, the power of two that all its numbers are multiples of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.fixed import FixedPoint
from l1ad.network import Network, aligned
from l1ad.network import exact as python_integers
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Lookup, Mask, Merge, Operation
from l1ad.prove.casts import gather, rounded, sums
from l1ad.prove.ranges import Bound, Range

NOTHING = 1 << 20
"""Low bits of 0 that are 0: all of them."""
Bits = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Grid:
    """Low bits that are 0 in every element of an operation.

    Parameters
    ----------
    terms : int
        Of every term before the cast to the type of the products; `NOTHING` where there is none.
    before, after : int64 array, shape (size,)
        Of the exact result, in its fractional bits, and of the result.
    """

    terms: int
    before: Bits
    after: Bits


def zeros(raw: npt.NDArray[Any]) -> Bits:
    """Trailing zero bits of integers."""
    bits = [(n & -n).bit_length() - 1 if n else NOTHING for n in raw.ravel().tolist()]
    return np.array(bits, np.int64).reshape(raw.shape)


def grids(network: Network, known: Mapping[str, Bound]) -> dict[str, Grid]:
    """By name; `known`: from `bounds`."""
    found: dict[str, Grid] = {}
    for operation in network.operations:
        bound = known[operation.name]
        fixed = bound.after.low == bound.after.high
        terms, before = NOTHING, np.zeros(len(fixed), np.int64)
        if operation is not network.input:
            terms, before = _before(operation, network, known, found)
        after = before
        if operation is not network.input and not isinstance(operation, Lookup):
            after = _cast(before, bound.before, operation.out)
        found[operation.name] = Grid(terms, before, np.where(fixed, zeros(bound.after.low), after))
    return found


def _before(
    operation: Operation, network: Network, known: Mapping[str, Bound], found: Mapping[str, Grid]
) -> tuple[int, Bits]:
    match operation:
        case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
            frac = aligned(operation, network)
            products = found[x].after + zeros(scale) + (frac - network[x].out.frac - scale_type.frac)
            return NOTHING, np.minimum(products, zeros(bias) + (frac - bias_type.frac))
        case Dense(x=x, product=product) | Convolution(x=x, product=product):
            parts = sums(operation, network)
            met = gather(found[x].after, parts.windows)
            met[parts.windows < 0] = NOTHING
            terms, constant = met[..., None] + zeros(parts.factor), zeros(parts.constant)
            least = int(min(terms.min(), constant.min()))
            if product is not None:
                source = known[operation.name].terms
                cast_terms, cast_constants = _cast_terms(terms, constant, source, product)
                terms, constant = cast_terms, cast_constants
            return least, np.minimum(terms.min(axis=1), constant).ravel()
        case Dot(x=x, y=y, product=product):
            terms = found[x].after + found[y].after
            least, reach = int(terms.min()), known[operation.name].terms
            if product is not None and reach is not None:
                terms = _cast(terms, reach, product)
            return least, terms.min(keepdims=True)
        case Merge(how="multiply", x=x, y=y):
            return NOTHING, found[x].after + found[y].after
        case Merge(x=x, y=y):
            frac = aligned(operation, network)
            left, right = (found[name].after + (frac - network[name].out.frac) for name in (x, y))
            return NOTHING, np.minimum(left, right)
        case Cast(x=x) | Mask(x=x):
            return NOTHING, found[x].after
        case Lookup(x=x, table=table):
            lowest = network[x].out.min_raw
            ends = zip(known[x].after.low, known[x].after.high, strict=True)
            return NOTHING, np.array([zeros(table[low - lowest : high - lowest + 1]).min() for low, high in ends])
        case _:
            raise TypeError(f"operation {operation.name!r}: grids do not know {type(operation).__name__}")


def _cast_terms(terms: Bits, constant: Bits, reach: Range | None, product: FixedPoint) -> tuple[Bits, Bits]:
    if reach is None:
        raise TypeError("bounds of products that are cast must say their range")
    cut = _cast(np.concatenate([terms.ravel(), constant]), reach, product)
    return cut[: terms.size].reshape(terms.shape), cut[terms.size :]


def _cast(bits: Bits, reach: Range, to: FixedPoint) -> Bits:
    """Low bits of 0 after a cast, of numbers in a range."""
    kept = np.maximum(bits - (reach.frac - to.frac), 0)
    if to.overflow in ("WRAP", "SAT_ZERO"):
        return kept
    low, high = (rounded(end, reach.frac, to) for end in (reach.low, reach.high))
    limits = zeros(python_integers(np.array([to.min_raw, to.max_raw])))
    kept = np.where(low < to.min_raw, np.minimum(kept, limits[0]), kept)
    return np.where(high > to.max_raw, np.minimum(kept, limits[1]), kept)
