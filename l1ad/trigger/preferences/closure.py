"""Quantisation closure at fixed rate: whether the firmware accepts the events that its float twin would.

An AUC says little about it: a trigger cuts one event in a thousand.  So both are cut at the same rate, and what they
accept is compared; and the twin's threshold, put on the firmware's score as it stands, is charged with the rate error
that it makes.  Where the quantised model was trained further, as a study does, the difference holds that training too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from l1ad.trigger.performance import Measured
from l1ad.trigger.preferences.confusion import Decisions, compare_decisions
from l1ad.trigger.preferences.correlation import kendall, numbers, spearman, spearman_error
from l1ad.trigger.rates import MIN_EFFECTIVE, Rate, Refused, Threshold, accept, threshold_of
from l1ad.trigger.shares import WeightedEvents


@dataclass(frozen=True)
class FloatThreshold:
    """Threshold of a float score.

    Attributes
    ----------
    value : float
        Lowest accepted of the scores that occur in the sample.
    value_low, value_high : float
        Thresholds for the target plus and minus one standard error of the achieved rate.
    rate : Rate
        Achieved, not requested.
    """

    value: float
    value_low: float
    value_high: float
    rate: Rate


@dataclass(frozen=True)
class Misplaced:
    """The float threshold, rounded to a code, on the firmware's score.

    Attributes
    ----------
    raw : int
        The code.
    rate : Rate or Refused
        What it would give.
    error_hz : Measured
        That minus the rate at the firmware's own threshold; its error is of the events in between, which alone differ.
    error_percent : Measured
        The same, of the rate at the firmware's own threshold.  Where so few events are left that `rate` is refused, one
        effective event more is within the error: -100 % is not known to be all.
    """

    raw: int
    rate: Rate | Refused
    error_hz: Measured
    error_percent: Measured


@dataclass(frozen=True)
class ClosurePoint:
    """Firmware and float twin at one rate.

    Attributes
    ----------
    target_hz : float
    firmware : Threshold or Refused
    twin : FloatThreshold or Refused
    decisions : Decisions or Refused
        First the firmware, second the twin.
    misplaced : Misplaced or Refused
    """

    target_hz: float
    firmware: Threshold | Refused
    twin: FloatThreshold | Refused
    decisions: Decisions | Refused
    misplaced: Misplaced | Refused


@dataclass(frozen=True)
class Closure:
    """How a quantised score follows its float twin.

    Attributes
    ----------
    spearman : Measured
        Rank correlation over all zero-bias: each event counts by its weight.
    kendall : float
        τ-b over the same; a pair counts as the product of its weights.
    n_effective : float
        Of the sample.
    points : tuple of ClosurePoint
    """

    spearman: Measured
    kendall: float
    n_effective: float
    points: tuple[ClosurePoint, ...]


def closure(
    twin: npt.ArrayLike,
    raw: npt.ArrayLike,
    weights: npt.ArrayLike,
    lsb: float,
    targets_hz: Iterable[float],
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> Closure:
    """Compare a quantised score with its float twin at fixed rates.

    Parameters
    ----------
    twin : array_like of float, shape (n,)
        Score of the float twin, a value.
    raw : array_like of int, shape (n,)
        Score of the firmware on the same events, raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    lsb : float
        Value of one count of `raw`.
    targets_hz : iterable of float
        Rates.
    crossing_rate_hz : float
    simulated : bool
    groups : array_like of int, shape (n,), optional
        As in `l1ad.trigger.rates.find_threshold`.

    Returns
    -------
    Closure
        With a `Refused` wherever too few effective events support a rate.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is stated, a score is not finite, lengths differ, a target is not between 0 and the
        rate of the whole sample, or one score has a single value.
    """
    values = numbers(twin, "twin").astype(np.float64)
    firmware = WeightedEvents.of(raw, weights, groups)
    if len(values) != len(firmware.codes):
        raise ValueError(
            f"twin must be of the same events as raw, {len(firmware.codes)}, not {len(values)}; score the same file"
        )
    if not 0 < lsb < math.inf:
        raise ValueError(f"lsb must be positive and finite, not {lsb}; take it from the score's type")
    effective = firmware.support(np.ones(len(values), np.bool_)).n_effective
    if effective < MIN_EFFECTIVE:
        raise ValueError(f"sample must have n_eff of at least {MIN_EFFECTIVE:g}, not {effective:.3g}; add events")
    order, ranks = np.unique(values, return_inverse=True)  # ranks are integers of the same order
    ranked = WeightedEvents.of(ranks.reshape(-1).astype(np.int64), weights, groups)
    try:
        followed = spearman(values, firmware.codes, firmware.weights)
    except ValueError as error:
        raise ValueError(f"twin (x) and raw (y): {error}") from error
    return Closure(
        Measured(followed, spearman_error(followed, effective)),
        kendall(values, firmware.codes, firmware.weights),
        effective,
        tuple(
            _point(firmware, ranked, order, lsb, target_hz, crossing_rate_hz, simulated=simulated)
            for target_hz in targets_hz
        ),
    )


def _point(
    firmware: WeightedEvents,
    twin: WeightedEvents,
    values: npt.NDArray[np.float64],
    lsb: float,
    target_hz: float,
    crossing_rate_hz: float,
    *,
    simulated: bool,
) -> ClosurePoint:
    """One rate; `values` are those of the twin's ranks."""
    own = threshold_of(firmware, target_hz, crossing_rate_hz, simulated=simulated)
    rank = threshold_of(twin, target_hz, crossing_rate_hz, simulated=simulated)
    if isinstance(rank, Refused):
        return ClosurePoint(float(target_hz), own, rank, rank, rank)
    top = len(values) - 1  # where the upper threshold accepts nothing, there is no value: the highest stands for it
    low, value, high = (float(values[min(r, top)]) for r in (rank.raw_low, rank.raw, rank.raw_high))
    of_twin = FloatThreshold(value, low, high, rank.rate)
    if isinstance(own, Refused):
        return ClosurePoint(float(target_hz), own, of_twin, own, own)
    accepted = accept(firmware.codes, own.raw)
    decisions = compare_decisions(
        firmware, accepted, accept(twin.codes, rank.raw), crossing_rate_hz, simulated=simulated
    )
    code = round(value / lsb)
    taken = accept(firmware.codes, code)
    sign = 1 if code < own.raw else -1
    between, kept = firmware.probability(taken ^ accepted), firmware.probability(accepted)
    whole = firmware.probability(np.ones_like(accepted))
    ratio = sign * between / kept
    effective = firmware.support(taken ^ accepted).n_effective
    error = between / math.sqrt(effective) if effective else 0.0
    of_ratio = firmware.error((sign * (taken ^ accepted) - ratio * accepted) * (whole / kept))
    rate = firmware.rate(taken, crossing_rate_hz, simulated=simulated)
    if isinstance(rate, Refused):
        of_ratio = math.hypot(of_ratio, 1 / own.rate.n_effective)
    misplaced = Misplaced(
        raw=code,
        rate=rate,
        error_hz=Measured(sign * between * crossing_rate_hz, error * crossing_rate_hz),
        error_percent=Measured(100 * ratio, 100 * of_ratio),
    )
    return ClosurePoint(float(target_hz), own, of_twin, decisions, misplaced)
