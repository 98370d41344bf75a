"""Rates and thresholds of a pileup profile other than the sample's: reweighted, or shifted as a systematic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import truncnorm

from l1ad.emulate.histogram import Histogram
from l1ad.events.pileup import Flat, Normal, Profile, Table
from l1ad.trigger.counted import Counted
from l1ad.trigger.rates import (
    MIN_EFFECTIVE,
    MORE_EVENTS,
    Rate,
    Refused,
    Sample,
    Threshold,
    accept,
    measure,
    stage,
    threshold_of,
)
from l1ad.trigger.samples import BoolArray, FloatArray, IntArray, Support, crossing_weights, integer_scores
from l1ad.trigger.stability.parts import RatesBy, bin_edges, pileup_bins

MAX_LOST = 0.01
"""Largest share of a pileup profile that may lie where the sample has no events."""


@dataclass(frozen=True)
class Shift:
    """What a shifted pileup profile does.

    Attributes
    ----------
    by : float
        Added to the pileup.
    lost : float
        Share of the shifted profile that lies where the sample has no events, and is left out.
    rate : Rate or Refused
        Of the nominal threshold.
    threshold : Threshold or Refused
        Derived again for the target.
    """

    by: float
    lost: float
    rate: Rate | Refused
    threshold: Threshold | Refused


@dataclass(frozen=True)
class PileupSystematic:
    """A threshold with its pileup profile, and with that profile shifted."""

    target_hz: float
    nominal: Threshold | Refused
    shifts: tuple[Shift, ...]


def pileup_means(edges: Sequence[float], profile: Profile) -> FloatArray:
    """Mean pileup of the crossings of each bin, where the profile is known; the middle where it is zero."""
    bounds = bin_edges(edges)
    inner = np.linspace(0.5 / 200, 1 - 0.5 / 200, 200)
    grid = bounds[:-1, None] + np.diff(bounds)[:, None] * inner
    density = profile.density(grid)
    total = density.sum(axis=1)
    middle = (bounds[1:] + bounds[:-1]) / 2
    return np.asarray(np.where(total > 0, (grid * density).sum(axis=1) / np.where(total > 0, total, 1), middle))


def shares_of(profile: Profile, edges: Sequence[float]) -> tuple[FloatArray, float]:
    """Share of a pileup profile in each bin, of 1 in all, and the share that lies outside all of them.

    Raises
    ------
    ValueError
        If more than `MAX_LOST` lies outside: weights cannot make events that are not there.
    """
    bounds = bin_edges(edges)
    shares = np.diff(_below(profile, bounds))
    lost = max(0.0, 1.0 - float(shares.sum()))
    if lost > MAX_LOST:
        raise ValueError(
            f"pileup profile must lie in {bounds[0]:g}..{bounds[-1]:g}, where there are events, to {1 - MAX_LOST:.0%}, "
            f"not to {1 - lost:.1%}; generate there, or choose a narrower profile"
        )
    return shares / shares.sum(), lost


def shifted(profile: Profile, by: float) -> Profile:
    """The same profile at a larger or smaller pileup."""
    match profile:
        case Flat(low, high):
            return Flat(low + by, high + by)
        case Normal(mean, sd, low, high):
            return Normal(mean + by, sd, low + by, high + by)
        case Table(edges, content):
            return Table(tuple(edge + by for edge in edges), content)


def rate_at(rates: RatesBy, shares: npt.ArrayLike) -> Rate | Refused:
    """Rate of crossings that are distributed over the parts by other shares: of a target pileup profile.

    Parameters
    ----------
    rates : RatesBy
    shares : array_like of float, shape (parts,)
        They sum to 1; see `shares_of`.

    Raises
    ------
    ValueError
        If they do not, or a part with a share has no events.
    """
    target = np.asarray(shares, np.float64)
    if target.shape != rates.x.shape or (target < 0).any() or abs(target.sum() - 1) > 1e-6:
        raise ValueError(f"shares must be {len(rates.x)} numbers of at least 0 that sum to 1, not {target}")
    bare = (target > 0) & (rates.crossings == 0)
    if bare.any():
        raise ValueError(f"a part with a share must have events, not 0; at {rates.x[bare][0]:g}; choose other shares")
    value, variance = float(target @ rates.values_hz), float(target @ rates.covariance_hz2 @ target)
    third = float(target**3 @ (rates.skewness * np.diag(rates.covariance_hz2) ** 1.5))
    raw = sum(rate.n_raw for rate, share in zip(rates.rates, target, strict=True) if share > 0)
    effective = value**2 / variance if variance > 0 else 0.0
    if effective < MIN_EFFECTIVE:
        return Refused(effective, raw, MORE_EVENTS)
    return Rate(value, math.sqrt(variance), effective, raw, rates.stage, skewness=third / variance**1.5)


def pileup_systematic(
    histogram: Histogram,
    edges: Sequence[float],
    target_hz: float,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    by: Sequence[float] = (-5.0, 5.0),
) -> PileupSystematic:
    """Threshold for a target, and again with the sample's own pileup profile shifted.

    A shift changes the weight of bins, not of events in a bin: let it be a multiple of their width.

    Parameters
    ----------
    histogram : Histogram
        Of the whole sample, by bins of pileup.
    edges : sequence of float
        Of these bins.
    target_hz, crossing_rate_hz : float
    simulated : bool
        Whether the sample is simulated.
    by : sequence of float
        Shifts of the pileup.

    Raises
    ------
    ValueError
        As `threshold_of` and `shares_of`, and if the bins are not those of the histogram.
    """
    if len(bin_edges(edges)) != histogram.categories + 1:
        raise ValueError(f"edges must be those of {histogram.categories} bins, not {len(edges)} edges")
    parts = Counted.of_each_category(histogram)
    contents = np.array([int(p.sums[0]) for p in parts], np.float64)
    samples: list[tuple[float, float, Sample]] = []
    for shift in by:
        factors, lost = _factors(contents, edges, shift)
        samples.append((shift, lost, _Reweighted(parts, factors)))
    nominal = Counted.of_histogram(histogram)
    return _systematic(nominal, samples, target_hz, crossing_rate_hz, simulated)


def pileup_systematic_of_scores(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    pileup: npt.ArrayLike,
    edges: Sequence[float],
    target_hz: float,
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
    by: Sequence[float] = (-5.0, 5.0),
) -> PileupSystematic:
    """`pileup_systematic` of stored scores; arguments as those of `rates_by_pileup`."""
    raw = integer_scores(scores)
    w, number = crossing_weights(weights, len(raw)), pileup_bins(pileup, edges)
    contents = np.bincount(number, w, len(edges) - 1).astype(np.float64)
    samples: list[tuple[float, float, Sample]] = []
    for shift in by:
        factors, lost = _factors(contents, edges, shift)
        by_event = factors[number]
        samples.append((shift, lost, Counted.of_scores(raw, w * by_event, groups, by_event > 0)))
    return _systematic(Counted.of_scores(raw, w, groups), samples, target_hz, crossing_rate_hz, simulated)


@dataclass(frozen=True, eq=False)
class _Reweighted:
    """Parts of one sample, each with a factor to its weights, as a `l1ad.trigger.rates.Sample`."""

    parts: tuple[Counted, ...]
    factors: FloatArray

    @property
    def codes(self) -> IntArray:
        """Those of the whole."""
        return self.parts[0].codes

    @property
    def step(self) -> int:
        """That of the whole."""
        return self.parts[0].step

    @property
    def events(self) -> int:
        """That of the whole."""
        return self.parts[0].events

    def probability(self, accepted: BoolArray) -> float:
        """Probability per bunch crossing of the events above a threshold."""
        return math.fsum(f * part.probability(accepted) for f, part in zip(self.factors, self.parts, strict=True))

    def support(self, accepted: BoolArray) -> Support:
        """What the events above a threshold are."""
        raw, squares, cubes = 0, [0.0], [0.0]
        for f, part in zip(self.factors, self.parts, strict=True):
            found = part.support(accepted)
            raw += found.n_raw if f else 0
            if f and found.n_effective:
                squares.append((f * part.probability(accepted)) ** 2 / found.n_effective)
                cubes.append(found.skewness * squares[-1] ** 1.5)
        total = math.fsum(squares)
        if not total:
            return Support(raw, 0.0, 0.0)
        return Support(raw, self.probability(accepted) ** 2 / total, math.fsum(cubes) / total**1.5)


def _systematic(
    nominal: Sample,
    samples: list[tuple[float, float, Sample]],
    target_hz: float,
    crossing_rate_hz: float,
    simulated: bool,
) -> PileupSystematic:
    found = threshold_of(nominal, target_hz, crossing_rate_hz, simulated=simulated)
    shifts = []
    for by, lost, sample in samples:
        rate: Rate | Refused
        if isinstance(found, Threshold):
            rate = measure(sample, accept(sample.codes, found.raw), crossing_rate_hz, stage(simulated=simulated))
        else:
            rate = found
        shifts.append(Shift(by, lost, rate, threshold_of(sample, target_hz, crossing_rate_hz, simulated=simulated)))
    return PileupSystematic(float(target_hz), found, tuple(shifts))


def _factors(contents: FloatArray, edges: Sequence[float], by: float) -> tuple[FloatArray, float]:
    """What takes the content of each bin to that of the profile shifted, and the share lost."""
    now = contents / contents.sum()
    shares, lost = shares_of(shifted(Table(tuple(float(e) for e in edges), tuple(now.tolist())), by), edges)
    bare = (now == 0) & (shares > 0)
    if bare.any():
        at = float(np.asarray(edges)[:-1][bare][0])
        raise ValueError(f"pileup bins must hold events where the shifted profile is, not 0 at {at:g}; take wider bins")
    return np.where(now > 0, shares / np.where(now > 0, now, 1.0), 0.0), lost


def _below(profile: Profile, x: FloatArray) -> FloatArray:
    """Share of a profile below each x."""
    match profile:
        case Flat(low, high):
            return np.clip((x - low) / (high - low), 0.0, 1.0)
        case Normal(mean, sd, low, high):
            return np.asarray(truncnorm.cdf(x, (low - mean) / sd, (high - mean) / sd, mean, sd))
        case Table(edges, content):
            running = np.concatenate([[0.0], np.cumsum(content)])
            return np.asarray(np.interp(x, edges, running / running[-1]), np.float64)
