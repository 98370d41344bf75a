"""Two detectors on the same events: what both, one or neither accepts, and where their scores lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from l1ad.trigger.efficiency import Efficiency
from l1ad.trigger.performance import Measured
from l1ad.trigger.rates import Rate, Refused, Threshold, accept, threshold_of
from l1ad.trigger.samples import UNIT, BoolArray, IntArray
from l1ad.trigger.shares import WeightedEvents

BINS = 60
"""Bins of each axis of a `Plane`."""


@dataclass(frozen=True)
class Decisions:
    """What two triggers accept.

    Attributes
    ----------
    both, only_first, only_second, neither : Rate or Refused
    jaccard : Efficiency or Refused
        Rate of both, over that of either.
    kappa : Measured or Refused
        Cohen's κ: agreement beyond that of independent triggers of these rates; 1 for equal decisions.
    """

    both: Rate | Refused
    only_first: Rate | Refused
    only_second: Rate | Refused
    neither: Rate | Refused
    jaccard: Efficiency | Refused
    kappa: Measured | Refused


@dataclass(frozen=True)
class Confusion:
    """Two detectors, each at its threshold for the same rate.

    Attributes
    ----------
    detectors : tuple of two str
    target_hz : float
    thresholds : tuple of two Threshold
        With the rates achieved: scores are discrete.
    decisions : Decisions
    """

    detectors: tuple[str, ...]
    target_hz: float
    thresholds: tuple[Threshold, ...]
    decisions: Decisions


@dataclass(frozen=True)
class Plane:
    """Two scores of all events, in a histogram of two axes.

    Attributes
    ----------
    detectors : tuple of two str
    edges : tuple of two tuples of int
        Of the bins, raw: bin i from edge i on and below the next.  They grow by about a constant factor.
    contents : tuple of tuple of float, (bins of the first, bins of the second)
        Probability per bunch crossing.
    """

    detectors: tuple[str, ...]
    edges: tuple[tuple[int, ...], ...]
    contents: tuple[tuple[float, ...], ...]


def confusion(
    scores: Mapping[str, npt.ArrayLike],
    weights: npt.ArrayLike,
    target_hz: float,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> Confusion | Refused:
    """Confusion matrix of two detectors at equal rates.

    Parameters
    ----------
    scores : mapping of two detectors to array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    target_hz, crossing_rate_hz : float
        In Hz.
    simulated : bool
    groups : array_like of int, shape (n,), optional
        As in `l1ad.trigger.rates.find_threshold`.

    Returns
    -------
    Confusion, or Refused
        Refused where the threshold of either is.

    Raises
    ------
    TypeError, ValueError
        As `find_threshold`, and if the detectors are not two, or not of the same events.
    """
    samples = _two(scores, weights, groups)
    thresholds = []
    for sample in samples:
        found = threshold_of(sample, target_hz, crossing_rate_hz, simulated=simulated)
        if isinstance(found, Refused):
            return found
        thresholds.append(found)
    first, second = (accept(sample.codes, found.raw) for sample, found in zip(samples, thresholds, strict=True))
    matrix = compare_decisions(samples[0], first, second, crossing_rate_hz, simulated=simulated)
    return Confusion(tuple(scores), float(target_hz), tuple(thresholds), matrix)


def compare_decisions(
    sample: WeightedEvents, first: BoolArray, second: BoolArray, crossing_rate_hz: float, *, simulated: bool
) -> Decisions:
    """Compare two sets of decisions on the events of a sample; its scores do not matter.

    Source
    ------
    Cohen, Educ. Psychol. Meas. 20 (1960) 37; the error of κ is the linearised one.
    """

    def rate(accepted: BoolArray) -> Rate | Refused:
        return sample.rate(accepted, crossing_rate_hz, simulated=simulated)

    both, either = first & second, first | second
    jaccard = sample.share(both, either)
    return Decisions(
        both=rate(both),
        only_first=rate(first & ~second),
        only_second=rate(second & ~first),
        neither=rate(~either),
        jaccard=jaccard,
        kappa=jaccard if isinstance(jaccard, Refused) else _kappa(sample, first, second),
    )


def _kappa(sample: WeightedEvents, first: BoolArray, second: BoolArray) -> Measured:
    whole = sample.sum(np.ones_like(first))
    a, b, both = (sample.sum(chosen) / whole for chosen in (first, second, first & second))
    if a == b == 1:  # both accept everything: no disagreement is possible
        return Measured(1.0, 0.0)
    above_chance, at_most = 2 * (both - a * b), a + b - 2 * a * b
    value = above_chance / at_most
    by_first, by_second = ((-2 * other - value * (1 - 2 * other)) / at_most for other in (b, a))
    pull = 2 / at_most * ((first & second) - both) + by_first * (first - a) + by_second * (second - b)
    return Measured(value, sample.error(pull))


def plane(scores: Mapping[str, npt.ArrayLike], weights: npt.ArrayLike) -> Plane:
    """Histogram of two scores, with at most `BINS` bins on each axis.

    Parameters
    ----------
    scores : mapping of two detectors to array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is stated.
    """
    samples = _two(scores, weights, None)
    edges = [_edges(sample.codes) for sample in samples]
    units = np.zeros([len(of_axis) - 1 for of_axis in edges], np.int64)
    places = [np.searchsorted(e, s.codes, "right") - 1 for e, s in zip(edges, samples, strict=True)]
    np.add.at(units, tuple(places), samples[0].units)
    contents = tuple(tuple(row) for row in (units * UNIT).tolist())
    return Plane(tuple(scores), tuple(tuple(of_axis.tolist()) for of_axis in edges), contents)


def _two(
    scores: Mapping[str, npt.ArrayLike], weights: npt.ArrayLike, groups: npt.ArrayLike | None
) -> list[WeightedEvents]:
    if len(scores) != 2:
        raise ValueError(f"scores must be of two detectors, not of {len(scores)}: {list(scores)}; choose two")
    lengths = {name: np.shape(each) for name, each in scores.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"scores must be of the same events, not of shapes {lengths}; score the same file with both")
    return [WeightedEvents.of(each, weights, groups) for each in scores.values()]


def _edges(codes: IntArray) -> IntArray:
    """Edges of bins that grow by about a constant factor, from the lowest score to above the highest."""
    low, span = int(codes.min()), int(np.ptp(codes))
    grown = np.rint(np.geomspace(1, span + 1, BINS)).astype(np.int64)
    return np.unique(np.concatenate([[low], low + grown]))
