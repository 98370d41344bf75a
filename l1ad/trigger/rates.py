"""Rates: the collider's clock, the acceptance, thresholds and working points.

A rate is the crossing rate times the summed probability per bunch crossing of the accepted events.  Its
standard error is 1/√n_eff of it: the Poisson one, too large where a threshold takes much of a stitched sample, and
symmetric; `Rate.interval_hz` has the interval that covers, and tables and texts print it.
Events that share a simulated collision are one group, and count once in n_eff.
Below `MIN_EFFECTIVE` accepted effective events there is no rate, only a `Refused`.  Scores are discrete, so
the achieved rate is reported beside the requested one.

Here scores are stored; `l1ad.trigger.histograms` has the same from histograms, for any number of events.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from l1ad.trigger.intervals import interval
from l1ad.trigger.samples import BoolArray, FloatArray, IntArray, Support, integer_scores, threshold_code
from l1ad.trigger.stored import StoredScores

REVOLUTION_HZ = 11_245.5
"""Revolution frequency of the LHC: c / 26,658.883 m."""

BUNCH_PLACES = 3564
"""Bunch crossings in one revolution of the LHC, filled or not."""

MIN_EFFECTIVE = 25.0
"""Effective number of accepted events below which a rate (then known to worse than 20 %) is refused."""

PURE_DEFINITION = "pure rate: rate of accepted events which no unprescaled seed of the menu takes"

SIMULATED = "simulated, before dead time"
MEASURED = "zero-bias data, before dead time"

MORE_EVENTS = "add events to the tail (stitched hard samples), or ask for a higher rate"


def crossing_rate_hz(
    colliding_bunches: int = 2544, revolution_hz: float = REVOLUTION_HZ, *, forced: bool = False
) -> float:
    """Rate of crossings of two filled bunches.

    Parameters
    ----------
    colliding_bunches : int
        Bunches that collide at the experiment; for real data, of the fill.
    revolution_hz : float
        Revolution frequency.
    forced : bool
        Whether to take a frequency that is not the LHC's: of another ring.

    Returns
    -------
    float
        In Hz, before dead time; 28,608,552 for the defaults.

    Raises
    ------
    TypeError, ValueError
        If the number is not an integer from 1 to 3564, or the frequency is off by more than 0.1 % and not forced.

    Source
    ------
    c / 26,658.883 m, the circumference of the LHC.
    """
    if type(colliding_bunches) is not int:
        raise TypeError(f"colliding_bunches must be an integer, not {colliding_bunches!r}; count bunches")
    if not 1 <= colliding_bunches <= BUNCH_PLACES:
        raise ValueError(
            f"colliding_bunches must be from 1 to {BUNCH_PLACES}, not {colliding_bunches}; "
            "take the number that collide at the experiment"
        )
    if not 0 < revolution_hz < math.inf or (abs(revolution_hz / REVOLUTION_HZ - 1) > 1e-3 and not forced):
        swapped = "; 11425 is a published swap of two digits, 1.6 % high" if revolution_hz == 11425 else ""
        raise ValueError(
            f"revolution_hz must be {REVOLUTION_HZ} (c / 26658.883 m) within 0.1 %, not {revolution_hz}"
            f"{swapped}; use {REVOLUTION_HZ}, or force that of another ring"
        )
    return float(colliding_bunches * revolution_hz)


@dataclass(frozen=True)
class Collider:
    """The filling scheme that a rate assumes.  `crossing_rate_hz` checks it on construction."""

    colliding_bunches: int = 2544
    revolution_hz: float = REVOLUTION_HZ
    forced: bool = False

    def __post_init__(self) -> None:
        crossing_rate_hz(self.colliding_bunches, self.revolution_hz, forced=self.forced)

    @property
    def crossing_rate_hz(self) -> float:
        """Rate of crossings of two filled bunches, in Hz."""
        return crossing_rate_hz(self.colliding_bunches, self.revolution_hz, forced=self.forced)


@dataclass(frozen=True)
class Rate:
    """A rate, its standard error and what supports it.  It cannot be built on too few effective events.

    Attributes
    ----------
    value_hz, error_hz : float
    n_effective, n_raw : float and int
        Accepted events.
    stage : str
        See `stage`, the function.
    n_events : int or None
        Events of the whole sample, or None if that is not known.
    skewness : float
        See `l1ad.trigger.samples.Support`; 0 for events that count alike.
    """

    value_hz: float
    error_hz: float
    n_effective: float
    n_raw: int
    stage: str
    n_events: int | None = None
    skewness: float = 0.0

    def __post_init__(self) -> None:
        if not self.n_effective >= MIN_EFFECTIVE:
            raise ValueError(
                f"rate must rest on n_eff of at least {MIN_EFFECTIVE:g}, not {_floor(self.n_effective)}; "
                f"{self.n_raw} raw events; {MORE_EVENTS}"
            )

    @property
    def interval_hz(self) -> tuple[float, float]:
        """Ends of the 68 % interval, which is not symmetric; see `l1ad.trigger.intervals.interval`.

        Its width is in proportion to the standard error, where that is not value / √n_eff.
        """
        low, high = interval(1.0, self.n_effective, self.n_events, self.skewness)
        unit = self.error_hz * math.sqrt(self.n_effective)
        return self.value_hz - unit * (1 - float(low)), self.value_hz + unit * (float(high) - 1)

    @property
    def khz(self) -> str:
        """Value in kHz and its 68 % interval: ``0.9997 +0.16 -0.14``."""
        low, high = self.interval_hz
        up, down = _digits(high - self.value_hz, 2), _digits(self.value_hz - low, 2)
        return f"{_digits(self.value_hz, 4)} +{up} -{down}"

    def __str__(self) -> str:
        return f"{self.khz} kHz ({self.stage})"


def _digits(hz: float, n: int) -> str:
    """In kHz with so many significant digits, as few of them zeros, and no exponent up to a million."""
    return f"{float(f'{hz / 1e3:.{n}g}'):g}"


@dataclass(frozen=True)
class Refused:
    """What stands in place of a rate, or of what depends on it, when too few effective events support it."""

    n_effective: float
    n_raw: int
    remedy: str

    def __str__(self) -> str:
        return f"refused: n_eff {_floor(self.n_effective)} < {MIN_EFFECTIVE:g}"


@dataclass(frozen=True)
class Threshold:
    """Smallest code whose rate does not exceed a target, the rate it achieves, and its uncertainty.

    Attributes
    ----------
    raw : int
        Threshold code.
    raw_low, raw_high : int
        Ends of its 68 % interval: smallest codes with a rate whose interval reaches, and lies below, the target.
    rate : Rate
        Achieved, not requested.
    """

    raw: int
    raw_low: int
    raw_high: int
    rate: Rate


@dataclass(frozen=True)
class WorkingPoint:
    """A target rate and the threshold that meets it, or the refusal of both rates.

    Attributes
    ----------
    target_hz : float
        Requested rate.
    threshold : Threshold or Refused
        With the achieved rate.
    pure : Rate or Refused
        See `PURE_DEFINITION`; it may be refused where the rate is not.
    """

    target_hz: float
    threshold: Threshold | Refused
    pure: Rate | Refused

    @property
    def refused(self) -> bool:
        """Whether the sample cannot support this target: there is then no threshold."""
        return isinstance(self.threshold, Refused)

    @property
    def rate(self) -> Rate | Refused:
        """Achieved rate, or its refusal: either prints in a table."""
        return self.threshold if isinstance(self.threshold, Refused) else self.threshold.rate


def accept(scores: npt.ArrayLike, threshold: int) -> BoolArray:
    """Accept what the trigger accepts, ``score >= threshold`` on integers: the only place that says so.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    threshold : int
        Raw.

    Returns
    -------
    ndarray of bool, shape (n,)

    Source
    ------
    Global Trigger firmware, ``adt_wrapper.vhd``.
    """
    return integer_scores(scores) >= threshold_code(threshold)


class Sample(Protocol):
    """What a rate is made of: stored scores (`l1ad.trigger.stored`), or bins (`l1ad.trigger.histograms`)."""

    @property
    def codes(self) -> IntArray:
        """Raw score of each event, or lowest one of each bin."""

    @property
    def step(self) -> int:
        """Distance of the thresholds that the sample can tell apart."""

    @property
    def events(self) -> int:
        """Number of events of the whole sample."""

    def probability(self, accepted: BoolArray) -> float:
        """Probability per bunch crossing of the accepted."""

    def support(self, accepted: BoolArray) -> Support:
        """What the accepted events are."""


def stage(*, simulated: bool) -> str:
    """Stage at which a rate is quoted; every rate of this package is before dead time and trigger rules."""
    if not isinstance(simulated, bool):
        raise TypeError(f"simulated must be True or False, not {simulated!r}; say what the sample is")
    return SIMULATED if simulated else MEASURED


def rate(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    threshold: int,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> Rate:
    """Rate of a threshold.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    threshold : int
        Raw.
    crossing_rate_hz : float
        See `crossing_rate_hz`, the function.
    simulated : bool
        Whether the sample is simulated.
    groups : array_like of int, shape (n,), optional
        Equal for events that share a collision, negative for those that share none; None for no such events.

    Raises
    ------
    ValueError
        If fewer than `MIN_EFFECTIVE` effective events are accepted.
    """
    return rate_of(StoredScores.of(scores, weights, groups), threshold, crossing_rate_hz, simulated=simulated)


def rate_of(sample: Sample, threshold: int, crossing_rate_hz: float, *, simulated: bool) -> Rate:
    """Rate of a threshold in any sample; arguments and errors as those of `rate`."""
    found = measure(sample, accept(sample.codes, threshold), crossing_rate_hz, stage(simulated=simulated))
    if isinstance(found, Refused):
        raise ValueError(
            f"rate must rest on n_eff of at least {MIN_EFFECTIVE:g}, not {_floor(found.n_effective)}; "
            f"at threshold {threshold}, {found.n_raw} raw events; {found.remedy}"
        )
    return found


def find_threshold(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    target_hz: float,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> Threshold | Refused:
    """Smallest integer threshold whose rate does not exceed the target, or a refusal.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    target_hz, crossing_rate_hz : float
        In Hz.
    simulated : bool
        Whether the sample is simulated.
    groups : array_like of int, shape (n,), optional
        Equal for events that share a collision, negative for those that share none; None for no such events.

    Raises
    ------
    ValueError
        If the target is not positive, or the whole sample is within it.
    """
    return threshold_of(StoredScores.of(scores, weights, groups), target_hz, crossing_rate_hz, simulated=simulated)


def threshold_of(sample: Sample, target_hz: float, crossing_rate_hz: float, *, simulated: bool) -> Threshold | Refused:
    """Smallest threshold within the target in any sample; arguments and errors as those of `find_threshold`."""
    crossing, quoted = _crossing(crossing_rate_hz), stage(simulated=simulated)
    check_target(target_hz)
    top = int(sample.codes.max())
    whole = crossing * sample.probability(accept(sample.codes, int(sample.codes.min())))
    if whole <= target_hz:
        raise ValueError(
            f"target_hz must be below the rate of the whole sample, {whole:g} Hz, not {target_hz:g}; "
            "ask for a lower rate"
        )
    bottom, above, n_events = int(sample.codes.min()), top + sample.step, sample.events

    def rate_hz(code: int) -> float:
        return crossing * sample.probability(accept(sample.codes, code))

    def ends_hz(code: int) -> tuple[FloatArray, FloatArray]:
        _, n_effective, skewness = sample.support(accept(sample.codes, code))
        return interval(rate_hz(code), n_effective, n_events, skewness)

    raw = _smallest(lambda code: rate_hz(code) <= target_hz, bottom, above, sample.step)
    found = measure(sample, accept(sample.codes, raw), crossing, quoted)
    if isinstance(found, Rate):
        low = _smallest(lambda code: bool(ends_hz(code)[0] <= target_hz), bottom, raw, sample.step)
        high = _smallest(lambda code: bool(ends_hz(code)[1] < target_hz), raw - sample.step, above, sample.step)
        return Threshold(raw, low, high, found)
    if found.n_raw == 0:
        last = measure(sample, accept(sample.codes, top), crossing, quoted)
        if isinstance(last, Rate):  # the events are there; it is the score that cannot tell them apart
            remedy = f"the score saturates: its highest code, {top}, alone gives {last}; widen the score's type"
            return Refused(found.n_effective, found.n_raw, remedy)
    return found


def working_point(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    seed_decisions: npt.ArrayLike,
    target_hz: float,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> WorkingPoint:
    """Threshold for a target rate, with the rate it achieves and the pure rate.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    seed_decisions : array_like of bool, shape (n,) or (n, seeds)
        Decisions of the conventional menu: of any seed, or of each.
    target_hz, crossing_rate_hz : float
        In Hz.
    simulated : bool
        Whether the sample is simulated.
    groups : array_like of int, shape (n,), optional
        Equal for events that share a collision, negative for those that share none; None for no such events.

    Raises
    ------
    TypeError, ValueError
        As `find_threshold`, and if the decisions are not bool or belong to other events.
    """
    sample = StoredScores.of(scores, weights, groups)
    taken = _taken(seed_decisions, len(sample.codes))
    threshold = threshold_of(sample, target_hz, crossing_rate_hz, simulated=simulated)
    if isinstance(threshold, Refused):
        return WorkingPoint(float(target_hz), threshold, threshold)
    pure = accept(sample.codes, threshold.raw) & ~taken
    return WorkingPoint(
        float(target_hz), threshold, measure(sample, pure, crossing_rate_hz, stage(simulated=simulated))
    )


def measure(sample: Sample, accepted: BoolArray, crossing_rate_hz: float, stage: str) -> Rate | Refused:
    """Rate of what is accepted of a sample, or its refusal.

    Raises
    ------
    ValueError
        If the crossing rate is not positive.
    """
    return quote(sample.probability(accepted), sample.support(accepted), sample.events, crossing_rate_hz, stage)


def quote(probability: float, support: Support, n_events: int, crossing_rate_hz: float, stage: str) -> Rate | Refused:
    """Rate of a probability per bunch crossing, or its refusal; raises `ValueError` unless crossings have a rate."""
    value = _crossing(crossing_rate_hz) * probability
    n_raw, n_effective, skewness = support
    if n_effective < MIN_EFFECTIVE:
        return Refused(n_effective, n_raw, MORE_EVENTS)
    return Rate(value, value / math.sqrt(n_effective), n_effective, n_raw, stage, n_events, skewness)


def _smallest(within: Callable[[int], bool], too_low: int, enough: int, step: int) -> int:
    """Smallest threshold within a limit, by bisection on the integers; `enough` is known to be."""
    if within(too_low):
        return too_low
    while enough - too_low > step:
        middle = too_low + (enough - too_low) // (2 * step) * step
        if within(middle):
            enough = middle
        else:
            too_low = middle
    return enough


def check_target(target_hz: float) -> None:
    """Raise `ValueError` unless a target rate is positive."""
    if not (math.isfinite(target_hz) and target_hz > 0):
        raise ValueError(f"target_hz must be positive, not {target_hz}; ask for a rate in Hz")


def _taken(seed_decisions: npt.ArrayLike, n_events: int) -> BoolArray:
    decisions: npt.NDArray[Any] = np.asarray(seed_decisions)
    if decisions.dtype != np.bool_:
        raise TypeError(f"seed_decisions must be bool, not {decisions.dtype}; compare the seeds first")
    if decisions.ndim not in (1, 2) or len(decisions) != n_events:
        raise ValueError(
            f"seed_decisions must have shape ({n_events},) or ({n_events}, seeds), not {decisions.shape}; "
            "run the menu on the same events"
        )
    taken: BoolArray = np.logical_or.reduce(decisions.reshape(n_events, -1), axis=1)
    return taken


def _crossing(crossing_rate_hz: float) -> float:
    if not (math.isfinite(crossing_rate_hz) and crossing_rate_hz > 0):
        raise ValueError(f"crossing_rate_hz must be positive, not {crossing_rate_hz}; call crossing_rate_hz(bunches)")
    return float(crossing_rate_hz)


def _floor(effective: float) -> str:
    """Print so that 24.99 never reads as 25."""
    return f"{math.floor(10 * effective) / 10:g}"
