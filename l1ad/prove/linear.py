"""Linear bounds back to the inputs, in Python integers: intervals forget that elements depend on each other.

The exact result of an element is a linear function of the results it reads.  Each of those is bounded by a linear
function of its own exact result (a cast rounds, within known slack, and clips: a line above, a line below), and so
on, until operations whose elements are independent of each other are reached; there the largest value of a linear
function is the sum of the largest terms.  Any line above is sound; which is chosen only decides how tight it is.
Slopes are multiples of ``2**-SLOPE_BITS``, and all numbers are scaled up instead of rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Integers, Network, aligned, ordered
from l1ad.network import exact as python_integers
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Mask, Merge, Operation
from l1ad.prove.casts import Sums, cast_integers, rounded, sums
from l1ad.prove.ranges import Bound, Range

SLOPE_BITS = 12
CHOICES = ("area", "flat", "steep")
"""Lines below a clipped line: the one that leaves less area, the constant, the slanted one."""


def tightened(
    operation: Operation, network: Network, known: Mapping[str, Bound], columnwise: Collection[str], before: Range
) -> Range:
    """Range of the exact result of `operation`, no wider than `before`.

    Parameters
    ----------
    known : mapping of str to Bound
        Of all earlier operations.
    columnwise : names of operations
        Whose elements are independent of each other: linear functions end there.
    before : Range
        What is known without linear bounds.
    """
    if not _linear(operation) or isinstance(operation, Affine | Cast | Mask):  # the latter inherit the bounds of x
        return before
    low, high = before.low, before.high
    one = python_integers(np.eye(len(low), dtype=np.int64))
    earlier = network.operations[: network.operations.index(operation)]
    for choice in CHOICES:
        sum_ = _Sum(network, known, choice, np.zeros(2 * len(low), object))
        sum_.expand(operation, np.vstack([one, -one]))
        for source in reversed(earlier):
            sum_.replace(source, source.name in columnwise)
        highest, lowest = np.split(sum_.constant >> sum_.scale, 2)
        low, high = np.maximum(low, -lowest), np.minimum(high, highest)
    return Range(low, high, before.frac)


def _linear(operation: Operation) -> bool:
    match operation:
        case Affine() | Cast() | Convolution() | Dense() | Mask() | Dot(product=None):
            return True
        case Merge(how=how):
            return how in ("add", "subtract", "multiply")
        case _:
            return False


@dataclass(eq=False, slots=True)
class _Sum:
    """Linear functions of results: ``2**scale * target <= sum(coefficients[name] @ result of name) + constant``.

    `coefficients`: by name, each of shape (n_targets, size); `constant`: shape (n_targets,).
    """

    network: Network
    known: Mapping[str, Bound]
    choice: str
    constant: Integers
    scale: int = 0
    coefficients: dict[str, Integers] = field(default_factory=dict)

    def replace(self, operation: Operation, last: bool) -> None:
        """Replace the results of `operation` by what it reads or, if it is the last of its line, by their range."""
        c = self.coefficients.pop(operation.name, None)
        if c is None:
            return
        if last or not _linear(operation):
            self._bounded(c, self.known[operation.name].after)
        else:
            self.expand(operation, self._uncast(operation, c))

    def expand(self, operation: Operation, c: Integers) -> None:
        """Replace the exact integers of `operation`, of coefficients `c`, by the results that it reads."""
        match operation:
            case Dense() | Convolution():
                self._expand_sums(operation, c)
            case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
                frac = aligned(operation, self.network)
                factor = python_integers(scale) * (1 << (frac - self.network[x].out.frac - scale_type.frac))
                self.constant = self.constant + c @ (python_integers(bias) * (1 << (frac - bias_type.frac)))
                self._add(x, c * factor)
            case Cast(x=x):
                self._add(x, c)
            case Merge(how="multiply", x=x, y=y) | Dot(x=x, y=y):
                self._expand_products(x, y, np.broadcast_to(c, (len(c), len(self.known[x].after.low))))
            case Merge(how=how, x=x, y=y):
                frac = aligned(operation, self.network)
                self._add(x, c * (1 << (frac - self.network[x].out.frac)))
                sign = 1 if how == "add" else -1
                self._add(y, c * (sign << (frac - self.network[y].out.frac)))
            case Mask(x=x, by=by, index=index):
                self._expand_mask(self.known[x].after, self.known[by].after, index, x, c)

    def _add(self, name: str, c: Integers) -> None:
        self.coefficients[name] = self.coefficients[name] + c if name in self.coefficients else c

    def _times(self, bits: int) -> None:
        """Scale everything up, so that slopes and bits that a cast drops become integers."""
        self.scale += bits
        self.constant = self.constant << bits
        self.coefficients = {name: c << bits for name, c in self.coefficients.items()}

    def _bounded(self, c: Integers, reach: Range) -> None:
        self.constant = self.constant + (np.maximum(c, 0) @ reach.high + np.minimum(c, 0) @ reach.low)

    def _expand_sums(self, operation: Dense | Convolution, c: Integers) -> None:
        parts = sums(operation, self.network)
        matrix = _matrix(parts, len(self.known[operation.x].after.low))
        constant = np.tile(parts.constant, len(parts.windows))
        if operation.product is None:
            self.constant = self.constant + c @ constant
        else:
            down = parts.frac - operation.product.frac
            matrix, low, high = _cast_products(matrix, parts, operation.product, self.known[operation.x].after)
            self._times(max(down, 0))
            fixed = cast_integers(constant, parts.frac, operation.product) * (1 << max(down, 0))
            self._bounded(c, Range(low + fixed, high + fixed, 0))
        self._add(operation.x, _dot(c, matrix.T))

    def _expand_products(self, x: str, y: str, c: Integers) -> None:
        """Lines through the corners of a product: McCormick's envelope."""
        a, b = self.known[x].after, self.known[y].after
        upper = (b.high, a.low) if self.choice == "flat" else (b.low, a.high)
        lower = (b.low, a.low) if self.choice == "flat" else (b.high, a.high)
        above, below = np.maximum(c, 0), np.minimum(c, 0)
        self.constant = self.constant - above @ (upper[0] * upper[1]) - below @ (lower[0] * lower[1])
        self._add(x, above * upper[0] + below * lower[0])
        self._add(y, above * upper[1] + below * lower[1])

    def _expand_mask(self, source: Range, by: Range, index: Raw, x: str, c: Integers) -> None:
        """What may be masked lies between ``min(x, 0)`` and ``max(x, 0)``."""
        low, high = source.low, source.high
        may_vanish = (by.low[index] <= 0) & (by.high[index] >= 0)
        above = _upper_line(low, high, np.where(may_vanish, np.maximum(0, low), low), np.maximum(high, 0))
        below = _lower_line(low, high, np.minimum(low, 0), np.where(may_vanish, np.minimum(0, high), high), self.choice)
        self._add(x, self._between(c, above, below))

    def _between(self, c: Integers, above: tuple[Integers, Integers], below: tuple[Integers, Integers]) -> Integers:
        """Coefficients of x for those of a result between two lines, slope and offset, in units of 2**-SLOPE_BITS."""
        self._times(SLOPE_BITS)
        up, down = np.maximum(c, 0), np.minimum(c, 0)
        self.constant = self.constant + up @ above[1] + down @ below[1]
        slanted: Integers = up * above[0] + down * below[0]
        return slanted

    def _uncast(self, operation: Operation, c: Integers) -> Integers:
        """Coefficients of the exact integers of `operation` for those of its results."""
        bound, out = self.known[operation.name], operation.out
        down = bound.before.frac - out.frac
        unit, up = 1 << max(down, 0), 1 << max(-down, 0)
        low, high = bound.before.low * up, bound.before.high * up
        least, most = (np.broadcast_to(np.array(end * unit, object), low.shape) for end in (out.min_raw, out.max_raw))
        slack_below, slack_above = _slack(low, high, max(down, 0), out.rounding)
        fits = rounded(bound.before.low, bound.before.frac, out) >= out.min_raw
        fits &= rounded(bound.before.high, bound.before.frac, out) <= out.max_raw
        lines = fits | (out.overflow in ("SAT", "SAT_SYM"))
        above, below = _upper_line(low, high, least, most), _lower_line(low, high, least, most, self.choice)
        ends = bound.after.high * (unit << SLOPE_BITS), bound.after.low * (unit << SLOPE_BITS)
        slopes = [np.where(lines, slope, 0) for slope, _ in (above, below)]
        offsets = [
            np.where(slope != 0, offset + slack, end)
            for slope, (_, offset), slack, end in zip(
                slopes, (above, below), (slack_above << SLOPE_BITS, -(slack_below << SLOPE_BITS)), ends, strict=True
            )
        ]
        self._times(max(down, 0))
        return self._between(c, (slopes[0] * up, offsets[0]), (slopes[1] * up, offsets[1]))


def _dot(a: Integers, b: Integers) -> Integers:
    """``a @ b``; in int64 if that cannot overflow."""
    if sum(int(abs(factor).max()).bit_length() for factor in (a, b)) + len(b).bit_length() < 63:
        return python_integers(a.astype(np.int64) @ b.astype(np.int64))
    product: Integers = np.dot(a, b)
    return product


def _matrix(parts: Sums, size: int) -> Integers:
    """Sums as one matrix, shape (size of the operand, windows * filters)."""
    filters = parts.factor.shape[1]
    matrix = np.zeros((size + 1, len(parts.windows), filters), object)
    for number, window in enumerate(parts.windows):
        matrix[window, number] += parts.factor  # a window meets an element once; what -1 collects is dropped
    return matrix[:size].reshape(size, -1)


def _upper_line(low: Integers, high: Integers, least: Integers, most: Integers) -> tuple[Integers, Integers]:
    """Slope and offset, in units of 2**-SLOPE_BITS, of a line above ``clip(x, least, most)`` for low <= x <= high."""
    bottom, top = _clip(low, least, most), _clip(high, least, most)
    slope = _slope(top - bottom, _clip(most, low, high) - low)
    flat = 2 * (bottom << SLOPE_BITS) + slope * (high - low) > 2 * (top << SLOPE_BITS)
    slope = np.where(flat, 0, slope)
    return slope, np.max([(_clip(p, least, most) << SLOPE_BITS) - slope * p for p in _kinks(low, high, least, most)], 0)


def _lower_line(
    low: Integers, high: Integers, least: Integers, most: Integers, choice: str
) -> tuple[Integers, Integers]:
    """As `_upper_line`, below."""
    bottom, top = _clip(low, least, most), _clip(high, least, most)
    slope = _slope(top - bottom, high - _clip(least, low, high))
    flat = 2 * (top << SLOPE_BITS) - slope * (high - low) < 2 * (bottom << SLOPE_BITS)
    if choice != "area":
        flat = (low < least) & (choice == "flat")
    slope = np.where(flat, 0, slope)
    return slope, np.min([(_clip(p, least, most) << SLOPE_BITS) - slope * p for p in _kinks(low, high, least, most)], 0)


def _kinks(low: Integers, high: Integers, least: Integers, most: Integers) -> tuple[Integers, ...]:
    """Where a piecewise linear function that is clipped to least .. most can touch a line."""
    return low, _clip(least, low, high), _clip(most, low, high), high


def _clip(x: Integers, low: Integers, high: Integers) -> Integers:
    return np.minimum(np.maximum(x, low), high)


def _slope(rise: Integers, run: Integers) -> Integers:
    return np.where(run > 0, (rise << SLOPE_BITS) // np.where(run > 0, run, 1), 0)


def _slack(low: Integers, high: Integers, dropped: int, rounding: str) -> tuple[Integers, Integers]:
    """How far rounding goes down and up at most, in the unit of low .. high, when it drops `dropped` bits."""
    none = low * 0
    if not dropped:
        return none, none
    whole, half = (1 << dropped) - 1, 1 << (dropped - 1)
    match rounding:
        case "TRN":
            return none + whole, none
        case "TRN_ZERO":
            return np.where(high > 0, whole, 0), np.where(low < 0, whole, 0)
        case _:
            return none + half, none + half


def _cast_products(
    matrix: Integers, parts: Sums, product: FixedPoint, source: Range
) -> tuple[Integers, Integers, Integers]:
    """Products after their cast, as ``matrix * x`` and what the cast adds to each sum at least and at most.

    All are scaled by the bits that the cast drops; a product that may overflow is bounded by its range.
    """
    down = parts.frac - product.frac
    ends = ordered(matrix * source.low[:, None], matrix * source.high[:, None])
    exact = [rounded(end, parts.frac, product) for end in ends]
    fits = (exact[0] >= product.min_raw) & (exact[1] <= product.max_raw)
    below, above = _slack(*ends, max(down, 0), product.rounding)
    drops = (matrix & ((1 << max(down, 0)) - 1)) != 0
    cut = Range(*ends, parts.frac).cast(product, "product")
    low, high = (
        np.where(fits, np.where(drops, slack, 0), end << max(down, 0)).sum(axis=0)
        for slack, end in ((-below, cut.low), (above, cut.high))
    )
    return np.where(fits, matrix, 0) * (1 << max(-down, 0)), low, high
