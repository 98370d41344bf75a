"""Thresholds, rates and efficiencies from score histograms: those of `l1ad.trigger.rates`, of any number of events.

Sums are exact integers, so that nothing depends on the order of events or of additions.  An event of a histogram
without weights has the probability 1/N per bunch crossing: plain zero-bias.

Two things a histogram does not know.  *Which events share a collision*: n_eff is (Σw)²/Σw² over events, and where they
do share, errors are too small and refusals too few; `rates` takes ``groups``.  *Where in a bin a score lies*: if the
score has more codes than the histogram has bins (``shift`` > 0), thresholds are edges of bins, and another is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from l1ad.emulate.histogram import Histogram, halves, joined
from l1ad.trigger.efficiency import Efficiency, binomial
from l1ad.trigger.rates import (
    Rate,
    Refused,
    Threshold,
    WorkingPoint,
    accept,
    measure,
    rate_of,
    stage,
    threshold_of,
)
from l1ad.trigger.samples import BoolArray, IntArray, Support, check_total, threshold_code

TAKEN = 1
"""Category of the events that a seed of the menu takes, beside 0: see `l1ad.trigger.counting.scan.fill`."""


def rate_above(
    histogram: Histogram,
    threshold: int,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    categories: Iterable[int] | None = None,
) -> Rate:
    """Rate of a threshold.

    Parameters
    ----------
    histogram : Histogram
        Of the whole sample; weights are probabilities per bunch crossing.
    threshold : int
        Raw.
    crossing_rate_hz : float
        See `l1ad.trigger.rates.crossing_rate_hz`.
    simulated : bool
        Whether the sample is simulated.
    categories : iterable of int, optional
        The part of the rate that events of these make up; by default all of it.

    Raises
    ------
    ValueError
        If too few effective events are accepted, the threshold lies inside a bin, the weights of the whole sample do
        not sum to about 1, or there is no event or no such category.
    """
    sample = _Bins.of_whole(histogram).of_categories(_chosen(histogram, categories))
    return rate_of(sample, _edge(histogram, threshold), crossing_rate_hz, simulated=simulated)


def threshold_for(
    histogram: Histogram, target_hz: float, crossing_rate_hz: float, *, simulated: bool
) -> Threshold | Refused:
    """Smallest threshold, of those that the bins tell apart, whose rate does not exceed the target, or a refusal.

    Parameters
    ----------
    histogram : Histogram
        Of the whole sample; weights are probabilities per bunch crossing.
    target_hz, crossing_rate_hz : float
        In Hz.
    simulated : bool
        Whether the sample is simulated.

    Raises
    ------
    ValueError
        If the target is not positive, the whole sample is within it, its weights do not sum to about 1, or there is no
        event.
    """
    return threshold_of(_Bins.of_whole(histogram), target_hz, crossing_rate_hz, simulated=simulated)


def working_point_of(
    histogram: Histogram,
    target_hz: float,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    taken: Iterable[int] = (TAKEN,),
) -> WorkingPoint:
    """Threshold for a target rate, with the rate it achieves and the pure rate.

    Parameters
    ----------
    histogram : Histogram
        Of the whole sample, in categories by menu decision; weights are probabilities per bunch crossing.
    target_hz, crossing_rate_hz : float
        In Hz.
    simulated : bool
        Whether the sample is simulated.
    taken : iterable of int
        Categories of events that a seed of the conventional menu takes; the pure rate is that of the others.

    Raises
    ------
    ValueError
        As `threshold_for`, and if there is no such category.
    """
    sample, menu = _Bins.of_whole(histogram), _chosen(histogram, taken)
    threshold = threshold_of(sample, target_hz, crossing_rate_hz, simulated=simulated)
    if isinstance(threshold, Refused):
        return WorkingPoint(float(target_hz), threshold, threshold)
    left = sample.of_categories([c for c in range(histogram.categories) if c not in menu])
    pure = measure(left, accept(left.codes, threshold.raw), crossing_rate_hz, stage(simulated=simulated))
    return WorkingPoint(float(target_hz), threshold, pure)


def efficiency_of(histogram: Histogram, threshold: int, categories: Iterable[int] | None = None) -> Efficiency:
    """Fraction of a signal that a threshold accepts.

    Parameters
    ----------
    histogram : Histogram
        With weights of any scale, or without.
    threshold : int
        Raw.
    categories : iterable of int, optional
        Accepted and all events are those of these categories; by default of all.

    Raises
    ------
    ValueError
        If the threshold lies inside a bin, there is no event, no weight, or no such category.
    """
    sample = _Bins.of_events(histogram).of_categories(_chosen(histogram, categories))
    n, effective, _ = sample.support(np.ones(len(sample.codes), np.bool_))
    if not effective:
        what = "an event" if not n else "a positive sum of weights"
        raise ValueError(f"histogram must hold {what} in the categories asked for; fill it, or ask for others")
    accepted = sample.sum(accept(sample.codes, _edge(histogram, threshold)))
    return binomial(accepted / sample.sum(np.ones(len(sample.codes), np.bool_)), effective)


@dataclass(frozen=True, eq=False)
class _Bins:
    """Occupied bins as a `l1ad.trigger.rates.Sample`.

    Attributes
    ----------
    histogram : Histogram
    bins : int64 array, shape (n,)
        Their numbers, rising.
    unit : Fraction
        Probability per bunch crossing that a unit of the sums stands for.
    counts : int64 array, shape (n,)
        Events of the categories chosen.
    sums : int64 array, shape (n,)
        Σw of these in units; without weights, the counts.
    squares, cubes : int64 array, shape (n, 4) and (n, 6)
        Σw² and Σw³ of these: how many of 1, 2**32, 2**64 ..., so that sums do not overflow.
    """

    histogram: Histogram
    bins: IntArray
    unit: Fraction
    counts: IntArray
    sums: IntArray
    squares: IntArray
    cubes: IntArray

    @classmethod
    def of_events(cls, histogram: Histogram) -> _Bins:
        """All categories of a histogram, whatever its weights sum to."""
        bins = np.flatnonzero(histogram.counts.any(axis=0))
        if not len(bins):
            raise ValueError("histogram must hold at least one event, not 0; fill it")
        unit = Fraction(1, histogram.events) if histogram.unit is None else Fraction(histogram.unit)
        nothing = np.zeros(0, np.int64)
        return cls(histogram, bins, unit, nothing, nothing, nothing, nothing).of_categories(range(histogram.categories))

    @classmethod
    def of_whole(cls, histogram: Histogram) -> _Bins:
        """All categories of a histogram whose weights are probabilities per bunch crossing."""
        sample = cls.of_events(histogram)
        check_total(sample.probability(np.ones(len(sample.bins), np.bool_)))
        return sample

    def of_categories(self, categories: Iterable[int]) -> _Bins:
        """The same bins of a part of the events, whose probabilities stay those in the whole sample."""
        rows = np.array(list(categories), np.int64)
        histogram, cells = self.histogram, np.ix_(rows, self.bins)
        counts = np.asarray(histogram.counts[cells].sum(axis=0))
        if histogram.unit is None:
            return _Bins(histogram, self.bins, self.unit, counts, counts, counts[:, None], counts[:, None])
        squares, cubes = (halves(table[cells]).sum(axis=0) for table in (histogram.squares, histogram.cubes))
        return _Bins(histogram, self.bins, self.unit, counts, histogram.sums[cells].sum(axis=0), squares, cubes)

    @property
    def codes(self) -> IntArray:
        """Lowest raw score of each bin."""
        return np.asarray(self.histogram.low + (self.bins << self.histogram.shift))

    @property
    def step(self) -> int:
        """Width of a bin."""
        return 1 << self.histogram.shift

    @property
    def events(self) -> int:
        """Number of events of the whole histogram."""
        return self.histogram.events

    def sum(self, accepted: BoolArray) -> int:
        """Σw in units."""
        return int(self.sums[accepted].sum())

    def probability(self, accepted: BoolArray) -> float:
        """Probability per bunch crossing, rounded once."""
        return float(self.sum(accepted) * self.unit)

    def support(self, accepted: BoolArray) -> Support:
        """What the accepted events are."""
        squares, cubes = (joined(table[accepted].sum(axis=0)) for table in (self.squares, self.cubes))
        return Support.of_sums(int(self.counts[accepted].sum()), self.sum(accepted), squares, cubes)


def _chosen(histogram: Histogram, categories: Iterable[int] | None) -> list[int]:
    """Categories asked for, all for None."""
    if categories is None:
        return list(range(histogram.categories))
    chosen = list(categories)
    if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(histogram.categories)):
        raise ValueError(
            f"categories must be different ones of 0 .. {histogram.categories - 1}, not {chosen}; "
            "fill the histogram with the categories that you ask for"
        )
    return chosen


def _edge(histogram: Histogram, threshold: int) -> int:
    """A threshold that cuts no bin in two."""
    code, width = threshold_code(threshold), 1 << histogram.shift
    inside = (code - histogram.low) % width
    if inside and histogram.low < code <= histogram.high:
        below = code - inside
        raise ValueError(
            f"threshold must be an edge of the histogram's bins of {width} codes, not {code}; take {below} or "
            f"{below + width}, or rates.rate with stored scores"
        )
    return code
