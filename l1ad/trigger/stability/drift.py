"""Drift between two samples of scores, as of training and running: KS, PSI, and thresholds derived again.

Neither test says much of the tail that a trigger accepts, one event in thousands: `rederive` compares rates there.
Groups know the collisions that events are said to share; a simulated crossing shares softer ones, too, which makes
p-values too small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from l1ad.trigger.rates import Rate, Refused, Sample, Threshold, accept, measure, stage, threshold_of
from l1ad.trigger.samples import FloatArray, IntArray, event_groups, event_weights, integer_scores, n_effective

PSI_MOVED = 0.1
"""Population stability index from which the distribution has moved; a convention of credit scoring."""
PSI_SHIFTED = 0.25
"""Population stability index from which the distribution is another one; a convention of credit scoring."""


@dataclass(frozen=True)
class KsTest:
    """Kolmogorov-Smirnov test of two samples.

    Attributes
    ----------
    statistic : float
        Largest distance of the two cumulative distributions.
    p_value : float
        Probability of a larger one for equal populations.
    method : str
        What the p-value rests on.
    """

    statistic: float
    p_value: float
    method: str


@dataclass(frozen=True)
class Psi:
    """Population stability index, Σ (q - p) ln(q / p) over bins.

    Attributes
    ----------
    value : float
    noise : float
        What equal populations give on average, (bins - 1)(1/n + 1/m).
    edges : tuple of int
        Lowest code of each bin but the first: quantiles of the reference.
    reference, running : tuple of float
        Shares of the bins, p and q.
    """

    value: float
    noise: float
    edges: tuple[int, ...]
    reference: tuple[float, ...]
    running: tuple[float, ...]

    @property
    def verdict(self) -> Literal["stable", "moved", "shifted"]:
        """By `PSI_MOVED` and `PSI_SHIFTED`."""
        if self.value < PSI_MOVED:
            return "stable"
        return "moved" if self.value < PSI_SHIFTED else "shifted"


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one of two samples.

    Attributes
    ----------
    raw : array_like of int, shape (n,)
    weights : array_like of float, shape (n,), optional
        Of any scale; None if all events are alike.
    groups : array_like of int, shape (n,), optional
        Equal for events that share a collision, negative for those that share none.
    """

    raw: npt.ArrayLike
    weights: npt.ArrayLike | None = None
    groups: npt.ArrayLike | None = None


@dataclass(frozen=True)
class Rederivation:
    """An old threshold on a new sample: the rate it has there, and the threshold for the target there."""

    target_hz: float
    old_raw: int
    rate: Rate | Refused
    new: Threshold | Refused

    @property
    def moved(self) -> bool:
        """Whether the old code is outside the uncertainty of the new one; a refused one moved nothing."""
        return isinstance(self.new, Threshold) and not self.new.raw_low <= self.old_raw <= self.new.raw_high


def ks_test(reference: Scores, running: Scores, *, seed: int, n_bootstrap: int = 400) -> KsTest:
    """Kolmogorov-Smirnov test of two samples of scores.

    Without weights and groups it is that of `scipy.stats.ks_2samp`, whose p-value is too large if scores are tied.
    With either there is no law of the statistic: the p-value is the share of bootstrap replicas, of Poisson counts of
    groups, in which the distributions move as far from where they are as they are apart, (1 + k) / (1 + replicas); it
    is never 0.

    Parameters
    ----------
    reference, running : Scores
    seed : int
        Of the replicas.
    n_bootstrap : int
        Replicas.

    Source
    ------
    Bootstrap of empirical processes: van der Vaart and Wellner, Weak Convergence (1996), section 3.7.
    """
    samples = [_Weighed.of(sample) for sample in (reference, running)]
    if all(sample.weights is None and sample.groups is None for sample in (reference, running)):
        found = ks_2samp(samples[0].raw, samples[1].raw)
        return KsTest(float(found.statistic), float(found.pvalue), "KS of two samples without weights")
    if n_bootstrap < 20:
        raise ValueError(f"n_bootstrap must be at least 20, not {n_bootstrap}; 400 tells p-values from 0.0025 on")
    codes = np.unique(np.concatenate([sample.raw for sample in samples]))
    at = [np.searchsorted(codes, sample.raw) for sample in samples]
    rng = np.random.default_rng(seed)
    apart = _cumulative(samples[0].weights, at[0], len(codes)) - _cumulative(samples[1].weights, at[1], len(codes))
    statistic, further = float(np.abs(apart).max()), 0
    for _ in range(n_bootstrap):
        drawn = [
            _cumulative(sample.weights * rng.poisson(1.0, sample.n_groups)[sample.groups], where, len(codes))
            for sample, where in zip(samples, at, strict=True)
        ]
        further += bool(np.abs(drawn[0] - drawn[1] - apart).max() >= statistic)
    return KsTest(statistic, (1 + further) / (1 + n_bootstrap), f"bootstrap, {n_bootstrap} replicas")


def psi(reference: Scores, running: Scores, bins: int = 10) -> Psi:
    """Population stability index in bins of equal content of the reference, as far as codes allow.

    A bin without events of a sample counts half an effective event.

    Parameters
    ----------
    reference, running : Scores
    bins : int

    Raises
    ------
    ValueError
        If there are fewer than two bins, or too few effective events to tell `PSI_MOVED` from nothing.

    Source
    ------
    Lewis, An Introduction to Credit Scoring (1994); noise: Yurdakul, dissertation, Western Michigan (2018).
    """
    a, b = _Weighed.of(reference), _Weighed.of(running)
    if bins < 2:
        raise ValueError(f"bins must be at least 2, not {bins}")
    codes, where = np.unique(a.raw, return_inverse=True)
    if len(codes) < 2:
        raise ValueError(f"reference must hold different scores, not {codes[0]} alone; compare rates")
    below = np.cumsum(np.bincount(where, a.weights)) / a.weights.sum()
    edges = np.unique(codes[1:][np.searchsorted(below[:-1], np.arange(1, bins) / bins).clip(max=len(codes) - 2)])
    n, m = a.effective, b.effective
    noise = len(edges) * (1 / n + 1 / m)
    if noise > PSI_MOVED / 2:
        raise ValueError(
            f"samples must have more effective events than {n:.0f} and {m:.0f} for {len(edges) + 1} bins: "
            f"equal ones would differ by {noise:.2g} on average; add events, or take fewer bins"
        )
    shares = []
    for sample, effective in ((a, n), (b, m)):
        share = np.bincount(np.searchsorted(edges, sample.raw, "right"), sample.weights, len(edges) + 1)
        shares.append(np.maximum(share / share.sum(), 0.5 / effective))
    p, q = shares
    value = float(((q - p) * np.log(q / p)).sum())
    return Psi(value, noise, tuple(edges.tolist()), tuple(p.tolist()), tuple(q.tolist()))


def rederive(
    old_raw: int, sample: Sample, target_hz: float, crossing_rate_hz: float, *, simulated: bool
) -> Rederivation:
    """What an old threshold does on a new sample, and the threshold that meets the target there."""
    now = measure(sample, accept(sample.codes, old_raw), crossing_rate_hz, stage(simulated=simulated))
    new = threshold_of(sample, target_hz, crossing_rate_hz, simulated=simulated)
    return Rederivation(float(target_hz), old_raw, now, new)


@dataclass(frozen=True, eq=False)
class _Weighed:
    """`Scores`, checked; every event has a weight and a group."""

    raw: IntArray
    weights: FloatArray
    groups: IntArray
    effective: float

    @property
    def n_groups(self) -> int:
        return int(self.groups.max()) + 1

    @classmethod
    def of(cls, scores: Scores) -> _Weighed:
        raw = integer_scores(scores.raw)
        weights = np.ones(len(raw)) if scores.weights is None else event_weights(scores.weights, len(raw))
        groups = event_groups(scores.groups, len(raw))
        effective = n_effective(weights, groups)
        return cls(raw, weights, np.arange(len(raw)) if groups is None else groups, effective)


def _cumulative(weights: FloatArray, at: IntArray, n: int) -> FloatArray:
    """Cumulative distribution over codes."""
    running = np.cumsum(np.bincount(at, weights, n))
    return np.asarray(running / running[-1])
