"""Whether a rate holds: against pileup, run, luminosity block and place in the train, and when the alarm rings.

The rate of a part of a sample is what the whole collider would give if every crossing were like those of the part.  It
comes from a histogram by category (`l1ad.trigger.counting.scan.fill` with edges of pileup bins), or from stored scores
and the number of each event.  Events that share a collision correlate parts; the covariance of stored scores knows.

Simulated event files have no run, luminosity block (``ls``) and bunch crossing (``bx``): they are -1, and refused here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.stats import norm, poisson

from l1ad.emulate.histogram import Histogram
from l1ad.trigger.counted import Counted, place
from l1ad.trigger.rates import BUNCH_PLACES, MIN_EFFECTIVE, MORE_EVENTS, Rate, Refused, accept, stage
from l1ad.trigger.samples import (
    FloatArray,
    IntArray,
    Support,
    crossing_weights,
    event_groups,
    integer_scores,
)

MOST_BINS = 12
"""Of pileup, in `finest_by_pileup`."""


@dataclass(frozen=True, eq=False)
class RatesBy:
    """Rate of a threshold in parts of a sample.

    Attributes
    ----------
    x : float64 array, shape (parts,)
        Mean pileup, or number of the run, luminosity block or place.
    rates : tuple of Rate or Refused
    shares : float64 array, shape (parts,)
        Of all crossings.
    values_hz : float64 array, shape (parts,)
        To be summed over parts; no rate where `rates` refuses.
    covariance_hz2 : float64 array, shape (parts, parts)
        Of the values.
    skewness : float64 array, shape (parts,)
        Of what each value rests on; see `l1ad.trigger.samples.Support`.
    crossings : float64 array, shape (parts,)
        Effective number of all events of a part.
    crossing_rate_hz : float
    stage : str
        Of the rates.
    """

    x: FloatArray
    rates: tuple[Rate | Refused, ...]
    shares: FloatArray
    values_hz: FloatArray
    covariance_hz2: FloatArray
    skewness: FloatArray
    crossings: FloatArray
    crossing_rate_hz: float
    stage: str


@dataclass(frozen=True)
class Alarm:
    """A part whose rate lies outside its band; one whose rate is refused has too few accepted events for the band."""

    x: float
    rate: Rate | Refused
    low_hz: float
    high_hz: float

    def __str__(self) -> str:
        return f"at {self.x:g}: {self.rate}, not {self.low_hz / 1e3:.4g} .. {self.high_hz / 1e3:.4g} kHz"


def rates_by_category(
    histogram: Histogram, x: npt.ArrayLike, threshold: int, crossing_rate_hz: float, *, simulated: bool
) -> RatesBy:
    """Rate of a threshold in each category of a histogram.

    Parameters
    ----------
    histogram : Histogram
        Of the whole sample, filled by category.
    x : array_like of float, shape (categories,)
        What a category stands for: `pileup_means`, or the number of a run.
    threshold : int
        Raw.
    crossing_rate_hz : float
    simulated : bool
        Whether the sample is simulated.

    Raises
    ------
    ValueError
        If `x` has another shape, or the threshold cuts a bin in two.
    """
    at = np.asarray(x, np.float64)
    if at.shape != (histogram.categories,):
        raise ValueError(f"x must have shape ({histogram.categories},), one per category, not {at.shape}")
    parts = Counted.of_each_category(histogram)
    i = place(parts[0].codes, parts[0].step, threshold)
    supports = [p.support(accept(p.codes, threshold)) for p in parts]
    sums = [int(p.sums[i]) if i < len(p.codes) else 0 for p in parts]
    wholes = np.array([int(p.sums[0]) for p in parts], np.float64)
    every = np.array([p.effective[0] for p in parts])
    fraction = np.array([kept / int(p.sums[0]) if p.sums[0] else 0.0 for kept, p in zip(sums, parts, strict=True)])
    support = np.array([found.n_effective for found in supports])
    with np.errstate(divide="ignore", invalid="ignore"):
        of_accepted = np.where(support > 0, fraction**2 / support, 0.0)  # Σw² of the accepted over (Σw)² of all
        of_all = np.where(every > 0, 1 / every, 0.0)
    variance = (1 - 2 * fraction) * of_accepted + fraction**2 * of_all
    return _rates_by(
        at, wholes, fraction, np.diag(variance), supports, every, crossing_rate_hz, stage(simulated=simulated)
    )


def rates_by_number(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    numbers: npt.ArrayLike,
    threshold: int,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
    most: int | None = None,
) -> RatesBy:
    """Rate of a threshold by run, luminosity block, place in the train, or whatever events are numbered by.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    numbers : array_like of int, shape (n,)
    threshold : int
        Raw.
    crossing_rate_hz : float
    simulated : bool
        Whether the sample is simulated.
    groups : array_like of int, shape (n,), optional
        Equal for events that share a collision, negative for those that share none.
    most : int, optional
        Most parts.  Of more numbers, neighbours are joined to parts of like shares, each at the mean of its numbers.

    Raises
    ------
    TypeError, ValueError
        If a number is unknown (-1), or an array is not as stated.
    """
    array = np.asarray(numbers)
    if array.dtype.kind not in "iu":
        raise TypeError(f"numbers must be integers, not {array.dtype}; pass run, luminosity block or bunch crossing")
    if array.ndim == 1 and len(array) and array.min() < 0:
        raise ValueError(
            f"numbers must be known, not {array.min()} (event {int(np.argmin(array))}); "
            "simulated events have no run, luminosity block or bunch crossing: take data, or number them"
        )
    numbered, part = np.unique(array, return_inverse=True)
    x = numbered.astype(np.float64)
    if most is not None and len(x) > most:
        w = crossing_weights(weights, len(part))
        shares = np.bincount(part, w) / w.sum()
        joined = np.minimum(((np.cumsum(shares) - shares / 2) * most).astype(np.int64), most - 1)
        joined = np.unique(joined, return_inverse=True)[1]  # a number of large share may leave one out
        x, part = np.bincount(joined, x) / np.bincount(joined), joined[part]
    return _by_events(scores, weights, part, x, threshold, crossing_rate_hz, simulated, groups)


def rates_by_pileup(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    pileup: npt.ArrayLike,
    edges: Sequence[float],
    threshold: int,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> RatesBy:
    """Rate of a threshold in bins of pileup, at the mean pileup of the crossings of each; see `rates_by_number`.

    Raises
    ------
    TypeError, ValueError
        As `rates_by_number`, and if the edges do not rise, or a pileup lies outside them.
    """
    values = np.asarray(pileup, np.float64)
    bounds, part = bin_edges(edges), pileup_bins(values, edges)
    raw, n = integer_scores(scores), len(bounds) - 1
    if part.shape != raw.shape:
        raise ValueError(f"pileup must have shape {raw.shape}, one per event, not {part.shape}")
    w = crossing_weights(weights, len(raw))
    wholes, middle = np.bincount(part, w, n), (bounds[1:] + bounds[:-1]) / 2
    x = np.where(wholes > 0, np.bincount(part, w * values, n) / np.where(wholes > 0, wholes, 1.0), middle)
    return _by_events(raw, w, part, x, threshold, crossing_rate_hz, simulated, groups)


def finest_by_pileup(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    pileup: npt.ArrayLike,
    bounds: tuple[float, float],
    threshold: int,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> RatesBy:
    """`rates_by_pileup` in as many equal bins between two bounds, `MOST_BINS` at most, as have a rate each.

    Bins that were kept or dropped by what they hold would bend a fit; equal ones do not.  Two bins are the fewest:
    their rates may be refused.
    """
    for n in range(MOST_BINS, 1, -1):
        edges = np.linspace(*bounds, n + 1).tolist()
        found = rates_by_pileup(
            scores, weights, pileup, edges, threshold, crossing_rate_hz, simulated=simulated, groups=groups
        )
        if all(isinstance(rate, Rate) for rate in found.rates):
            break
    return found


def pileup_bins(pileup: npt.ArrayLike, edges: Sequence[float]) -> IntArray:
    """Number of the bin of each pileup; the last bin has its upper edge, as in `l1ad.trigger.counting.scan.fill`."""
    bounds, values = bin_edges(edges), np.asarray(pileup, np.float64)
    outside = ~((values >= bounds[0]) & (values <= bounds[-1]))
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"pileup must be in {bounds[0]:g}..{bounds[-1]:g}, the edges of the bins, not {values[first]:g} "
            f"(event {first}); choose wider edges"
        )
    return np.minimum(np.searchsorted(bounds, values, "right") - 1, len(bounds) - 2)


def alarms(
    rates: RatesBy,
    expected_hz: npt.ArrayLike,
    expected_error_hz: npt.ArrayLike = 0.0,
    *,
    tolerance: float = 0.1,
    sigmas: float = 3.0,
) -> tuple[Alarm, ...]:
    """Parts whose rate lies outside the band around the rate expected.

    The band is the tolerance, and so many standard errors of both rates, wide to either side.  The error of a part is
    scaled to the rate expected there.  A part whose rate is refused rings if its accepted events are fewer, at the same
    significance, than a rate at the lower end of the tolerance gives in its crossings.

    Parameters
    ----------
    rates : RatesBy
    expected_hz, expected_error_hz : array_like of float, shape () or (parts,)
        A reference rate, or the projection of a fit at the pileup of each part.
    tolerance : float
        Relative, for what statistics do not cover.
    sigmas : float
        Standard errors.

    Raises
    ------
    ValueError
        If a rate expected is not positive, or the tolerance or the number of errors is negative.
    """
    expected = np.broadcast_to(np.asarray(expected_hz, np.float64), rates.x.shape)
    known = np.broadcast_to(np.asarray(expected_error_hz, np.float64), rates.x.shape)
    if not (expected > 0).all():
        raise ValueError(f"expected_hz must be positive, not {expected.min():g}; where the fit is, leave parts out")
    if not (0 <= tolerance < 1 and sigmas > 0):
        raise ValueError(f"tolerance must be in 0 .. 1 and sigmas positive, not {tolerance:g} and {sigmas:g}")
    found = []
    for i, (rate, e) in enumerate(zip(rates.rates, expected.tolist(), strict=True)):
        if isinstance(rate, Refused):
            n = rates.crossings[i] * (1 - tolerance) * e / rates.crossing_rate_hz
            if poisson.cdf(rate.n_effective, n) < norm.sf(sigmas):
                found.append(Alarm(float(rates.x[i]), rate, (1 - tolerance) * e, (1 + tolerance) * e))
            continue
        own = rates.covariance_hz2[i, i] * e / rate.value_hz
        wide = tolerance * e + sigmas * math.sqrt(own + known[i] ** 2)
        if abs(rate.value_hz - e) > wide:
            found.append(Alarm(float(rates.x[i]), rate, e - wide, e + wide))
    return tuple(found)


def train_places(bx: npt.ArrayLike, filled: npt.ArrayLike) -> IntArray:
    """Place of each crossing in its train of bunches, from 0: how many filled places in a row come before it.

    Parameters
    ----------
    bx : array_like of int, shape (n,)
        Bunch crossing of each event, 0 to 3563 or 1 to 3564.
    filled : array_like of int, shape (bunches,)
        Crossings of colliding bunches of the filling scheme, numbered alike.

    Raises
    ------
    ValueError
        If an event is not in a filled crossing, or all crossings are filled.
    """
    crossings, known = np.asarray(bx, np.int64), np.unique(np.asarray(filled, np.int64) % BUNCH_PLACES)
    is_filled = np.zeros(BUNCH_PLACES, np.bool_)
    is_filled[known] = True
    if is_filled.all():
        raise ValueError(f"filled must be fewer than all {BUNCH_PLACES} crossings; pass the filling scheme")
    first_gap = int(np.argmin(is_filled))
    around = (np.arange(BUNCH_PLACES) + first_gap) % BUNCH_PLACES
    last_gap = np.maximum.accumulate(np.where(is_filled[around], -1, np.arange(BUNCH_PLACES)))
    place = np.empty(BUNCH_PLACES, np.int64)
    place[around] = np.arange(BUNCH_PLACES) - last_gap - 1
    places = place[crossings % BUNCH_PLACES]
    if (places < 0).any():
        first = int(np.argmax(places < 0))
        raise ValueError(f"bx must be one of the filled crossings, not {crossings[first]} (event {first})")
    return places


def _by_events(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    part: IntArray,
    x: FloatArray,
    threshold: int,
    crossing_rate_hz: float,
    simulated: bool,
    groups: npt.ArrayLike | None,
) -> RatesBy:
    """Rates in the parts of stored scores, of which part i is at x[i]."""
    raw = integer_scores(scores)
    if part.shape != raw.shape:
        raise ValueError(f"numbers must have shape {raw.shape}, one per event, not {part.shape}")
    w, grouped, accepted = crossing_weights(weights, len(raw)), event_groups(groups, len(raw)), accept(raw, threshold)
    n = len(x)
    wholes: FloatArray = np.bincount(part, w, n).astype(np.float64)
    weighed = np.where(wholes > 0, wholes, 1.0)
    fraction = np.bincount(part, w * accepted, n) / weighed
    residual = w * (accepted - fraction[part]) / weighed[part]
    if grouped is None:
        covariance: FloatArray = np.diag(np.bincount(part, residual**2, n)).astype(np.float64)
    else:
        by_group = coo_array((residual, (grouped, part)), shape=(int(grouped.max()) + 1, n)).tocsr()
        covariance = (by_group.T @ by_group).toarray()
    supports: list[Support] = []
    every: list[Support] = []
    for number in range(n):
        inside = part == number
        for chosen, out in ((inside & accepted, supports), (inside, every)):
            out.append(Support.of(w[chosen], None if grouped is None else grouped[chosen]))
    crossings = np.array([found.n_effective for found in every])
    return _rates_by(x, wholes, fraction, covariance, supports, crossings, crossing_rate_hz, stage(simulated=simulated))


def _rates_by(
    x: FloatArray,
    wholes: FloatArray,
    fraction: FloatArray,
    covariance: FloatArray,
    supports: Sequence[Support],
    every: FloatArray,
    crossing_rate_hz: float,
    stage: str,
) -> RatesBy:
    values, errors = crossing_rate_hz * fraction, crossing_rate_hz * np.sqrt(np.diag(covariance))
    rates = tuple(
        Rate(float(value), float(error), found.n_effective, found.n_raw, stage, skewness=found.skewness)
        if found.n_effective >= MIN_EFFECTIVE
        else Refused(found.n_effective, found.n_raw, "take wider parts, or " + MORE_EVENTS)
        for value, error, found in zip(values, errors, supports, strict=True)
    )
    skewness = np.array([found.skewness for found in supports])
    return RatesBy(
        x,
        rates,
        wholes / wholes.sum(),
        values,
        crossing_rate_hz**2 * covariance,
        skewness,
        every,
        crossing_rate_hz,
        stage,
    )


def bin_edges(edges: Sequence[float]) -> FloatArray:
    """Edges of bins, checked to rise."""
    bounds = np.asarray(edges, np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        raise ValueError(f"edges must be two rising numbers, or more, not {list(edges)}")
    return bounds
