"""Histograms of raw scores, exact however they are filled: integers only, so that order cannot matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import SupportsInt

import numpy as np
import numpy.typing as npt

from l1ad.fixed import Raw
from l1ad.network import Network

MAX_BINS = 1 << 24
"""Of one category: below, each code of the score has a bin of its own."""
MAX_SUM = 1 << 62
"""Of the weights of all events."""
TABLES = ("counts", "sums", "squares", "cubes")
"""Attributes of a histogram that hold its events."""


@dataclass(eq=False)
class Histogram:
    """Events by raw score, and by category: pileup bin, word of menu decisions, or whatever is numbered from 0.

    Bin b holds the scores from ``low + (b << shift)`` on, ``1 << shift`` codes; `shift` is 0 unless the score has more
    than `MAX_BINS` codes.  Weights are counted in whole units; sums of them, of their squares and cubes are exact.

    Parameters
    ----------
    digest : str
        Of the network that gives the score.
    low, high : int
        Range of the score.
    categories : int
    unit : float or None
        What a weight of 1 stands for; None for events without weights.

    Attributes
    ----------
    shift : int
    counts : int64 array, shape (categories, bins)
    sums : int64 array, shape (categories, bins), or (0, 0) without weights
        Σw in units.
    squares : uint64 array, shape (categories, bins, 2), or (0, 0, 2) without weights
        Σw² in units, 128 bits, the lowest 64 first.
    cubes : uint64 array, shape (categories, bins, 3), or (0, 0, 3) without weights
        Σw³ in units, 192 bits.
    total : int
        Σw of all events, in units; without weights, their number.

    Raises
    ------
    ValueError
        If there is no category, or `unit` is not positive.
    """

    digest: str
    low: int
    high: int
    categories: int = 1
    unit: float | None = None
    total: int = 0
    counts: Raw = field(init=False, repr=False)
    sums: Raw = field(init=False, repr=False)
    squares: npt.NDArray[np.uint64] = field(init=False, repr=False)
    cubes: npt.NDArray[np.uint64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.categories < 1:
            raise ValueError(f"categories must be at least 1, not {self.categories}")
        if self.unit is not None and not (np.isfinite(self.unit) and self.unit > 0):
            raise ValueError(f"unit of the weights must be positive, not {self.unit}")
        shape = (self.categories, ((self.high - self.low) >> self.shift) + 1)
        weighted = shape if self.unit is not None else (0, 0)
        self.counts = np.zeros(shape, np.int64)
        self.sums = np.zeros(weighted, np.int64)
        self.squares = np.zeros((*weighted, 2), np.uint64)
        self.cubes = np.zeros((*weighted, 3), np.uint64)

    @classmethod
    def of(cls, network: Network, categories: int = 1, unit: float | None = None) -> Histogram:
        """An empty one, for the score of a network."""
        flow = network.flows[network.score.name]
        return cls(network.digest, int(flow.low[0]), int(flow.high[0]), categories, unit)

    @property
    def shift(self) -> int:
        """Low bits of the score that do not tell bins apart."""
        return max((self.high - self.low).bit_length() - (MAX_BINS - 1).bit_length(), 0)

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self.counts.sum())

    def empty(self) -> Histogram:
        """One like this, without events."""
        return Histogram(self.digest, self.low, self.high, self.categories, self.unit)

    def taken(
        self, n_events: int, category: npt.ArrayLike | None, weight: npt.ArrayLike | None
    ) -> tuple[Raw | None, Raw | None]:
        """Categories and weights of events as integers that cannot overflow; notes that the events are in.

        Raises
        ------
        TypeError, ValueError
            If they are not one of each an event, out of range, or the sum of all weights is too large.
        """
        numbers = None if category is None else np.ascontiguousarray(category)
        if numbers is not None:
            if numbers.shape != (n_events,) or numbers.dtype.kind not in "iub":
                raise TypeError(f"category must be {n_events} integers, not {numbers.dtype} {numbers.shape}")
            if n_events and not 0 <= numbers.min() <= numbers.max() < self.categories:
                raise ValueError(
                    f"category must be between 0 and {self.categories - 1}, not {numbers.min()} .. {numbers.max()}"
                )
            numbers = numbers.astype(np.int64)
        units, self.total = whole_units(n_events, weight, self.unit, self.total)
        return numbers, units

    def fill(
        self, scores: npt.ArrayLike, category: npt.ArrayLike | None = None, weight: npt.ArrayLike | None = None
    ) -> Histogram:
        """Count events, and return the histogram: the definition of what the native emulator does.

        Parameters
        ----------
        scores : int64 array_like, shape (n_events,)
        category : integer array_like, shape (n_events,), optional
        weight : float array_like, shape (n_events,), if and only if there is a unit
            Rounded to whole units.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what is stated, a number is out of range, or weights sum to too much.
        """
        raw = np.asarray(scores)
        if raw.dtype.kind not in "iu" or raw.ndim != 1:
            raise TypeError(f"scores must be integers of one axis, not {raw.dtype} {raw.shape}")
        if raw.size and not self.low <= int(raw.min()) <= int(raw.max()) <= self.high:
            raise ValueError(f"scores must lie between {self.low} and {self.high}, not {raw.min()} .. {raw.max()}")
        numbers, units = self.taken(len(raw), category, weight)
        bins = (raw.astype(np.int64) - self.low) >> self.shift
        where = (numbers if numbers is not None else np.zeros(len(raw), np.int64), bins)
        np.add.at(self.counts, where, 1)
        if units is not None:
            np.add.at(self.sums, where, units)
            for row, column, w in zip(*where, units.tolist(), strict=True):
                for sums, power in ((self.squares, 2), (self.cubes, 3)):
                    sums[row, column] = _limbs(joined(sums[row, column], 64) + w**power, sums.shape[-1])
        return self

    def add(self, other: Histogram) -> Histogram:
        """Take another's events in, and return this one.

        Raises
        ------
        ValueError
            If it is of another network, or has other categories or units, or weights sum to too much.
        """
        for name in ("digest", "low", "high", "categories", "unit"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"histograms must have the same {name}, not {getattr(self, name)} and {getattr(other, name)}"
                )
        if self.total + other.total >= MAX_SUM:
            raise ValueError(f"weights must sum to less than 2**62 units of {self.unit:g}; choose a larger unit")
        self.total += other.total
        self.counts += other.counts
        self.sums += other.sums
        _add_limbs(self.squares, other.squares)
        _add_limbs(self.cubes, other.cubes)
        return self


def halves(limbs: npt.NDArray[np.uint64]) -> Raw:
    """Long integers as parts of 32 bits, the lowest first, shape (..., 2 limbs): 2**31 of them can be summed."""
    parts = np.stack([limbs & np.uint64(2**32 - 1), limbs >> np.uint64(32)], axis=-1)
    return np.asarray(parts.reshape(*limbs.shape[:-1], -1).astype(np.int64))


def joined(parts: Iterable[SupportsInt], bits: int = 32) -> int:
    """The integer of which these are the parts, or sums of them; of `halves`, or with 64 bits, of limbs."""
    return sum(int(part) << bits * i for i, part in enumerate(parts))


def _limbs(number: int, n: int) -> list[int]:
    return [number >> 64 * i & (2**64 - 1) for i in range(n)]


def _add_limbs(to: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> None:
    carry = np.zeros(to.shape[:-1], np.uint64)
    for i in range(to.shape[-1]):
        digit = to[..., i] + other[..., i]
        over = digit < other[..., i]
        to[..., i] = digit + carry
        carry = (over | (to[..., i] < carry)).astype(np.uint64)


def whole_units(n_events: int, weight: npt.ArrayLike | None, unit: float | None, total: int) -> tuple[Raw | None, int]:
    """Weights of events as whole units, and the sum of them and of those before: `total`.

    Raises
    ------
    ValueError
        If there is not one weight an event if and only if there is a unit, or the sum is too large.
    """
    if (weight is None) != (unit is None):
        raise ValueError("weight must be given where there is a unit, and only there")
    added, units = n_events, None
    if weight is not None and unit is not None:
        values = np.asarray(weight, np.float64)
        if values.shape != (n_events,) or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"weight must be {n_events} finite numbers of at least 0, of shape {values.shape}")
        rounded = np.rint(values / unit)
        if rounded.sum() < MAX_SUM:  # else it may not fit an int64 at all
            units = rounded.astype(np.int64)
            added = int(units.sum())
        else:
            added = MAX_SUM
    if total + added >= MAX_SUM:
        raise ValueError(f"weights must sum to less than 2**62 units of {unit:g}; choose a larger unit")
    return units, total + added
