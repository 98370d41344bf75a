"""Rates and efficiencies at every threshold at once.

A part of a sample keeps the probabilities and the denominator of its whole (`l1ad.trigger.counted`): of the events that
the menu leaves, rates are pure rates, and efficiencies are those added to the menu's.

Between two codes a curve is flat: the point of a threshold is that of the next code that occurs; see ``at``.  Points
are those of `l1ad.trigger.histograms`, bit for bit, and those of `l1ad.trigger.rates` and `l1ad.trigger.efficiency`, up
to the rounding of sums of floats there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from l1ad.trigger.counted import Counted, place
from l1ad.trigger.efficiency import Efficiency, binomial, efficiency
from l1ad.trigger.intervals import clopper_pearson
from l1ad.trigger.rates import MIN_EFFECTIVE, MORE_EVENTS, Rate, Refused, Threshold, stage, threshold_of
from l1ad.trigger.samples import FloatArray, IntArray, check_total, event_weights, integer_scores, threshold_code

PRECISION = 0.05
"""Largest relative statistical error of the rate of a threshold that a scan proposes."""


@dataclass(frozen=True, eq=False)
class RateCurve:
    """Rate of every threshold, one point per code that occurs.

    Attributes
    ----------
    thresholds : int64 array, shape (points,)
        Raw, rising.
    rates_hz, errors_hz : float64 array, shape (points,)
        NaN, which is no rate, where fewer than `MIN_EFFECTIVE` effective events are accepted.
    n_effective, skewness : float64 array, shape (points,)
        See `l1ad.trigger.samples.Support`.
    n_raw : int64 array, shape (points,)
    stage : str
        Of the rates.
    step : int
        Distance of the thresholds that can be told apart.
    events : int
        Of the whole sample.
    """

    thresholds: IntArray
    rates_hz: FloatArray
    errors_hz: FloatArray
    n_effective: FloatArray
    skewness: FloatArray
    n_raw: IntArray
    stage: str
    step: int
    events: int

    def at(self, threshold: int) -> Rate | Refused:
        """Rate of any threshold; raises ValueError if it cuts a bin in two."""
        i = place(self.thresholds, self.step, threshold)
        if i == len(self.thresholds):
            return Refused(0.0, 0, MORE_EVENTS)
        effective, raw = float(self.n_effective[i]), int(self.n_raw[i])
        if effective < MIN_EFFECTIVE:
            return Refused(effective, raw, MORE_EVENTS)
        value, error, skewness = (float(a[i]) for a in (self.rates_hz, self.errors_hz, self.skewness))
        return Rate(value, error, effective, raw, self.stage, self.events, skewness)


@dataclass(frozen=True, eq=False)
class EfficiencyCurve:
    """Efficiency of every threshold with its 68 % interval, one point per code that occurs.

    Attributes
    ----------
    thresholds : int64 array, shape (points,)
        Raw, rising.
    values, lows, highs : float64 array, shape (points,)
        Fractions of the whole sample.
    n : float
        Events, or effective events, of the whole sample.
    step : int
        Distance of the thresholds that can be told apart.
    """

    thresholds: IntArray
    values: FloatArray
    lows: FloatArray
    highs: FloatArray
    n: float
    step: int

    def at(self, threshold: int) -> Efficiency:
        """Efficiency of any threshold; raises ValueError if it cuts a bin in two."""
        i = place(self.thresholds, self.step, threshold)
        if i == len(self.thresholds):
            return binomial(0.0, self.n)
        return Efficiency(float(self.values[i]), float(self.lows[i]), float(self.highs[i]), self.n)


@dataclass(frozen=True)
class Imprecise:
    """What stands in place of a threshold whose rate is known, but less well than asked."""

    threshold: Threshold
    needed: float

    def __str__(self) -> str:
        got, rate = self.threshold.rate.n_effective, self.threshold.rate
        return (
            f"refused: n_eff {math.floor(10 * got) / 10:g} < {self.needed:g} "
            f"({100 * rate.error_hz / rate.value_hz:.1f} % error, {100 / math.sqrt(self.needed):g} % asked)"
        )


@dataclass(frozen=True)
class EfficiencyAtRate:
    """Efficiency of the threshold for a rate.

    Attributes
    ----------
    efficiency : Efficiency
        With the interval that the number of signal events gives.
    by_threshold_low, by_threshold_high : float
        Efficiencies of the thresholds for the target minus and plus one standard error of the rate.
    """

    efficiency: Efficiency
    by_threshold_low: float
    by_threshold_high: float

    @property
    def low(self) -> float:
        """Lower end, both errors in quadrature."""
        e = self.efficiency
        return e.value - math.hypot(e.value - e.low, e.value - self.by_threshold_low)

    @property
    def high(self) -> float:
        """Upper end, both errors in quadrature."""
        e = self.efficiency
        return e.value + math.hypot(e.high - e.value, self.by_threshold_high - e.value)

    def __str__(self) -> str:
        e = self.efficiency
        return (
            f"{e.value:.4f} (+{e.high - e.value:.4f} -{e.value - e.low:.4f} signal, "
            f"+{self.by_threshold_high - e.value:.4f} -{e.value - self.by_threshold_low:.4f} threshold)"
        )


@dataclass(frozen=True)
class ScanPoint:
    """A target rate, its threshold, and the efficiency of each signal; where the threshold is refused there are none.

    Efficiencies of an `Imprecise` threshold stand: their error by the threshold says what its rate's error does.
    """

    target_hz: float
    threshold: Threshold | Imprecise | Refused
    efficiencies: dict[str, EfficiencyAtRate]


@dataclass(frozen=True, eq=False)
class TurnOn:
    """Efficiency of a threshold in bins of an event quantity.

    Attributes
    ----------
    edges : float64 array, shape (bins + 1,)
        The last bin holds what lies beyond it, too.
    efficiencies : tuple of Efficiency or None
        None for a bin without events.
    threshold : int
        Raw.
    """

    edges: FloatArray
    efficiencies: tuple[Efficiency | None, ...]
    threshold: int


def rate_curve(sample: Counted, crossing_rate_hz: float, *, simulated: bool) -> RateCurve:
    """Rate of every threshold: total, or, of the part that the menu leaves, pure.

    Parameters
    ----------
    sample : Counted
        Its whole is a whole sample: weights are probabilities per bunch crossing.
    crossing_rate_hz : float
        See `l1ad.trigger.rates.crossing_rate_hz`.
    simulated : bool
        Whether the sample is simulated.

    Raises
    ------
    ValueError
        If the weights of the whole do not sum to about 1, or the crossing rate is not positive.
    """
    check_total(float(sample.whole * sample.unit))
    if not (math.isfinite(crossing_rate_hz) and crossing_rate_hz > 0):
        raise ValueError(f"crossing_rate_hz must be positive, not {crossing_rate_hz}; call crossing_rate_hz(bunches)")
    supported = sample.effective >= MIN_EFFECTIVE
    rates = np.where(supported, crossing_rate_hz * sample.probabilities(), np.nan)
    errors = rates / np.sqrt(np.where(supported, sample.effective, np.nan))
    quoted = stage(simulated=simulated)
    return RateCurve(
        sample.codes,
        rates,
        errors,
        sample.effective,
        sample.skewness,
        sample.counts,
        quoted,
        sample.step,
        sample.events,
    )


def efficiency_curve(sample: Counted) -> EfficiencyCurve:
    """Fraction of the whole that is in the part and above each threshold.

    Of the signal events that the menu leaves, that is the efficiency that a threshold adds to the menu's.
    """
    values = np.array([accepted / sample.whole for accepted in sample.sums.tolist()])
    n = sample.whole_effective
    k, back = np.unique(values * n, return_inverse=True)
    lows, highs = clopper_pearson(k, n)
    return EfficiencyCurve(sample.codes, values, lows[back], highs[back], n, sample.step)


def scan(
    background: Counted,
    signals: Mapping[str, Counted],
    targets_hz: Sequence[float],
    crossing_rate_hz: float,
    *,
    simulated: bool,
    precision: float = PRECISION,
) -> tuple[ScanPoint, ...]:
    """Thresholds for target rates and the efficiency of each signal.

    Of whole samples, rates are total and efficiencies the usual ones.  Of the parts that the menu leaves, of background
    and signals alike, targets are pure rates and efficiencies those added to the menu's.

    Parameters
    ----------
    background : Counted
        Zero-bias; weights of its whole are probabilities per bunch crossing.
    signals : mapping of name to Counted
    targets_hz : sequence of float
    crossing_rate_hz : float
    simulated : bool
        Whether the background is simulated.
    precision : float
        Largest relative statistical error of a rate; a threshold known less well is `Imprecise`.

    Raises
    ------
    ValueError
        As `l1ad.trigger.rates.threshold_of`, and if the precision is not between 0 and 1.
    """
    if not 0 < precision < 1:
        raise ValueError(f"precision must be between 0 and 1, not {precision}; 0.05 is 5 %")
    check_total(float(background.whole * background.unit))
    curves = {name: efficiency_curve(sample) for name, sample in signals.items()}
    points = []
    for target in targets_hz:
        found = threshold_of(background, target, crossing_rate_hz, simulated=simulated)
        if isinstance(found, Refused):
            points.append(ScanPoint(float(target), found, {}))
            continue
        needed = round(precision**-2, 6)
        known = found if found.rate.n_effective >= needed else Imprecise(found, needed)
        points.append(ScanPoint(float(target), known, {n: efficiency_at(c, found) for n, c in curves.items()}))
    return tuple(points)


def efficiency_at(curve: EfficiencyCurve, threshold: Threshold) -> EfficiencyAtRate:
    """Efficiency of a threshold that was derived from a rate, with the errors of both samples."""
    tightest, loosest = curve.at(threshold.raw_high).value, curve.at(threshold.raw_low).value
    return EfficiencyAtRate(curve.at(threshold.raw), tightest, loosest)


def turn_on(
    scores: npt.ArrayLike,
    quantity: npt.ArrayLike,
    edges: Sequence[float],
    threshold: int,
    weights: npt.ArrayLike | None = None,
) -> TurnOn:
    """Efficiency of a threshold against an event quantity.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    quantity : array_like of float, shape (n,)
        See `l1ad.events.quantities.event_quantity`.
    edges : sequence of float
        Of bins, rising; events below the first are left out, those above the last are in the last bin.
    threshold : int
        Raw.
    weights : array_like of float, shape (n,), optional
        Of any scale; None counts events.

    Raises
    ------
    TypeError, ValueError
        If the edges do not rise, or an array is not of the same events.
    """
    raw, values, bounds = integer_scores(scores), np.asarray(quantity, np.float64), np.asarray(edges, np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        raise ValueError(f"edges must be two rising numbers, or more, not {list(edges)}")
    if values.shape != raw.shape or np.isnan(values).any():
        raise ValueError(f"quantity must be numbers of shape {raw.shape}, one per event, not {values.shape}")
    by = None if weights is None else event_weights(weights, len(raw))
    number = np.minimum(np.searchsorted(bounds, values, "right") - 1, len(bounds) - 2)
    found: list[Efficiency | None] = []
    for i in range(len(bounds) - 1):
        inside = number == i
        weighted = by is None or by[inside].any()
        filled = bool(inside.any()) and weighted
        found.append(efficiency(raw[inside], None if by is None else by[inside], threshold) if filled else None)
    return TurnOn(bounds, tuple(found), threshold_code(threshold))
