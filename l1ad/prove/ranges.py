"""Ranges of integers, element by element, and what casts and products make of them."""

from __future__ import annotations

from dataclasses import dataclass

from l1ad.fixed import FixedPoint
from l1ad.network import Integers, cast_range, product_range


@dataclass(frozen=True, eq=False, slots=True)
class Range:
    """Smallest and largest raw number of each element; Python integers, shape (n,), of `frac` fractional bits."""

    low: Integers
    high: Integers
    frac: int

    def cast(self, to: FixedPoint, where: str) -> Range:
        """Range after a cast to a type."""
        return Range(*cast_range(self.low, self.high, self.frac, to, where), to.frac)


@dataclass(frozen=True, eq=False, slots=True)
class Bound:
    """What one operation can reach over the ranges of the inputs.

    Parameters
    ----------
    terms : Range or None
        Terms before the cast to the type of the products, where there is one; ordered as in `casts.terms`.
    before, after : Range
        The exact result before the cast, and the result.  All values lie inside.
    attained : bool
        Whether both ends of `before`, and of `terms`, are reached by some input, for every element.
    """

    terms: Range | None
    before: Range
    after: Range
    attained: bool


def products(x: Range, y: Range, same: bool) -> Range:
    """Ranges of ``x_i * y_i``; `same`: y is x, and a square is never negative."""
    return Range(*product_range(x, y, same), x.frac + y.frac)
