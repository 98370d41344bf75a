"""How well detectors separate: AUC, rate curves, and paired bootstrap comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from l1ad.trigger.efficiency import efficiency
from l1ad.trigger.rates import MIN_EFFECTIVE, Refused, find_threshold, stage
from l1ad.trigger.samples import (
    FloatArray,
    IntArray,
    crossing_weights,
    event_groups,
    event_weights,
    integer_scores,
    n_effective,
)

Figure = Literal["auc", "efficiency"]
Verdict = Literal["gain", "loss", "within error", "refused"]

VERDICT_SIGMAS = 2.0
"""A difference is a gain or a loss only beyond this many of its own standard errors."""


@dataclass(frozen=True, eq=False)
class Roc:
    """Efficiency against rate, one point per score code, highest threshold first.

    Attributes
    ----------
    thresholds : ndarray of int64, shape (points,)
        Raw.
    rates_hz, rate_errors_hz : ndarray of float64, shape (points,)
        Only rates that `MIN_EFFECTIVE` effective events support.
    efficiencies : ndarray of float64, shape (points,)
        Fractions.
    stage : str
        Stage of the rates.
    """

    thresholds: IntArray
    rates_hz: FloatArray
    rate_errors_hz: FloatArray
    efficiencies: FloatArray
    stage: str


@dataclass(frozen=True)
class Measured:
    """A figure or a difference, and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.error:.4f}"


@dataclass(frozen=True)
class Performance:
    """One figure of one detector on one signal; ``target_hz`` is None for the AUC."""

    signal: str
    detector: str
    figure: Figure
    target_hz: float | None
    result: Measured | Refused


@dataclass(frozen=True)
class Difference:
    """Detector minus baseline, on the same resampled events, and what may be said of it."""

    signal: str
    detector: str
    baseline: str
    figure: Figure
    target_hz: float | None
    result: Measured | Refused
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """The rows of two tables: every detector alone, and every model against every baseline."""

    performances: tuple[Performance, ...]
    differences: tuple[Difference, ...]
    stage: str


def auc(
    background_scores: npt.ArrayLike,
    background_weights: npt.ArrayLike,
    signal_scores: npt.ArrayLike,
    signal_weights: npt.ArrayLike | None = None,
) -> float:
    """Probability that a signal event scores above a background event, ties counting half.

    Parameters
    ----------
    background_scores, signal_scores : array_like, shape (n,) and (m,)
        Both raw integers, or both float values (of the float twin).
    background_weights : array_like of float, shape (n,)
        Any scale.
    signal_weights : array_like of float, shape (m,), optional
        Any scale; None counts events.

    Raises
    ------
    TypeError
        If one is raw and the other is not.
    ValueError
        If a score is not finite, or on weights that `event_weights` refuses.

    Source
    ------
    Mann and Whitney, Ann. Math. Stat. 18 (1947) 50.
    """
    background = _any_scores(background_scores, "background_scores")
    signal = _any_scores(signal_scores, "signal_scores")
    if background.dtype != signal.dtype:
        raise TypeError(
            f"signal_scores must be {background.dtype} as background_scores, not {signal.dtype}; "
            "compare raw with raw or value with value"
        )
    weights = event_weights(background_weights, len(background), "background_weights")
    if signal_weights is None:
        signal_weights = np.ones(len(signal))
    by_signal = event_weights(signal_weights, len(signal), "signal_weights")
    order = np.argsort(background, kind="stable")
    below = _running_sum(weights[order])
    ordered = background[order]
    won = below[np.searchsorted(ordered, signal, "left")]
    won_or_tied = below[np.searchsorted(ordered, signal, "right")]
    return float(by_signal @ (won + won_or_tied) / (2 * below[-1] * by_signal.sum()))


def roc(
    background_scores: npt.ArrayLike,
    background_weights: npt.ArrayLike,
    signal_scores: npt.ArrayLike,
    crossing_rate_hz: float,
    signal_weights: npt.ArrayLike | None = None,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> Roc:
    """Curve of efficiency against rate, at every code that either sample takes.

    Parameters
    ----------
    background_scores, signal_scores : array_like of int, shape (n,) and (m,)
        Raw.
    background_weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    crossing_rate_hz : float
        In Hz.
    signal_weights : array_like of float, shape (m,), optional
        Any scale; None counts events.
    simulated : bool
        Whether the background is simulated.
    groups : array_like of int, shape (n,), optional
        As in `find_threshold`, of the background.
    """
    background = integer_scores(background_scores, "background_scores")
    weights = crossing_weights(background_weights, len(background))
    signal = integer_scores(signal_scores, "signal_scores")
    if signal_weights is None:
        signal_weights = np.ones(len(signal))
    by_signal = event_weights(signal_weights, len(signal), "signal_weights")
    codes = np.unique(np.concatenate([background, signal]))[::-1]

    def accepted(scores: IntArray, weights: FloatArray) -> FloatArray:
        """Sum the weights of scores at or above each code."""
        per_code = np.bincount(len(codes) - 1 - np.searchsorted(codes[::-1], scores), weights, len(codes))
        return np.cumsum(per_code)

    largest = weights.max()
    scaled = weights / largest  # as in n_effective, so that both refuse alike
    by_group = event_groups(groups, len(background))
    squares = np.square(scaled) if by_group is None else _added_squares(background, scaled, by_group)
    sums, squares = accepted(background, scaled), accepted(background, squares)
    supported = (sums > 0) & (np.square(sums) >= MIN_EFFECTIVE * squares)
    return Roc(
        thresholds=codes[supported],
        rates_hz=crossing_rate_hz * largest * sums[supported],
        rate_errors_hz=crossing_rate_hz * largest * np.sqrt(squares[supported]),
        efficiencies=accepted(signal, by_signal)[supported] / by_signal.sum(),
        stage=stage(simulated=simulated),
    )


def _added_squares(scores: IntArray, weights: FloatArray, groups: IntArray) -> FloatArray:
    """What each event adds to the sum of its group's squared weight, when events come in by falling score."""
    order = np.lexsort((-scores, groups))
    w, starts = weights[order], np.flatnonzero(np.diff(groups[order], prepend=-1))
    before = _running_sum(w)[:-1]
    before -= np.repeat(before[starts], np.diff(np.append(starts, len(w))))
    added = np.empty_like(w)
    added[order] = w * (w + 2 * before)
    return added


def compare_detectors(
    background: Mapping[str, npt.ArrayLike],
    signals: Mapping[str, Mapping[str, npt.ArrayLike]],
    weights: npt.ArrayLike,
    targets_hz: Sequence[float],
    crossing_rate_hz: float,
    baselines: Sequence[str],
    *,
    simulated: bool,
    seed: int,
    n_bootstrap: int = 200,
    groups: npt.ArrayLike | None = None,
) -> Comparison:
    """Figures of every detector, and paired differences of every model to every baseline.

    Each replica draws Poisson counts of the background's groups of events (whose total is not fixed) and multinomial
    counts of each signal's events, the same for all detectors, and derives every threshold again.

    Parameters
    ----------
    background : mapping of detector to array_like of int, shape (n,)
        Raw scores of the same n events.
    signals : mapping of signal to mapping of detector to array_like of int, shape (m,)
        Raw scores of the same m events of each signal.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing of the background; they sum to about 1.
    targets_hz : sequence of float
        Rates at which efficiencies are compared.
    crossing_rate_hz : float
        In Hz.
    baselines : sequence of str
        Detectors that the others, the models, are compared to.
    simulated : bool
        Whether the background is simulated.
    seed : int
        Of the resampling.
    n_bootstrap : int
        Replicas.
    groups : array_like of int, shape (n,), optional
        As in `find_threshold`, of the background.

    Raises
    ------
    ValueError
        If detectors, baselines or lengths do not match.
    """
    pool = {name: integer_scores(scores, f"background scores of {name!r}") for name, scores in background.items()}
    samples = {
        signal: {name: integer_scores(s, f"scores of {name!r} on {signal!r}") for name, s in by_name.items()}
        for signal, by_name in signals.items()
    }
    _check_comparison(pool, samples, baselines, n_bootstrap)
    w = crossing_weights(weights, len(next(iter(pool.values()))))
    by_group = event_groups(groups, len(w))
    if n_effective(w, by_group) < MIN_EFFECTIVE:
        raise ValueError(
            f"background must have n_eff of at least {MIN_EFFECTIVE:g}, not {n_effective(w, by_group):.3g}; add events"
        )

    thresholds = {
        (name, target): find_threshold(scores, w, target, crossing_rate_hz, simulated=simulated, groups=groups)
        for name, scores in pool.items()
        for target in targets_hz
    }
    limits = np.array([float(target) for target in targets_hz]) / crossing_rate_hz
    replicas = _replicas(pool, samples, w, by_group, limits, n_bootstrap, np.random.default_rng(seed))
    figures: list[tuple[Figure, float | None]] = [("auc", None)]
    figures += [("efficiency", float(target)) for target in targets_hz]

    def central(signal: str, name: str, target: float | None) -> float | Refused:
        scores = samples[signal][name]
        if target is None:
            return auc(pool[name], w, scores)
        threshold = thresholds[name, target]
        return threshold if isinstance(threshold, Refused) else efficiency(scores, None, threshold.raw).value

    performances: list[Performance] = []
    differences: list[Difference] = []
    for signal in samples:
        for column, (figure, target) in enumerate(figures):
            values = {name: central(signal, name, target) for name in pool}
            spread = {name: replicas[signal, name][:, column] for name in pool}
            performances += [
                Performance(signal, name, figure, target, _measured(value, spread[name]))
                for name, value in values.items()
            ]
            for name in pool:
                for baseline in baselines if name not in baselines else ():
                    paired = _measured(_minus(values[name], values[baseline]), spread[name] - spread[baseline])
                    differences.append(Difference(signal, name, baseline, figure, target, paired, _verdict(paired)))
    return Comparison(tuple(performances), tuple(differences), stage(simulated=simulated))


def _replicas(
    pool: Mapping[str, IntArray],
    samples: Mapping[str, Mapping[str, IntArray]],
    weights: FloatArray,
    groups: IntArray | None,
    limits: FloatArray,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> dict[tuple[str, str], FloatArray]:
    """AUC and efficiencies of every replica, shape (n_bootstrap, 1 + targets), per signal and detector.

    Everything is sorted once; a replica costs one running sum of its weights per detector.
    """
    ranked = {name: _RankedBackground.of(scores) for name, scores in pool.items()}
    matched = {
        (signal, name): _RankedSignal.of(scores, ranked[name])
        for signal, by_name in samples.items()
        for name, scores in by_name.items()
    }
    sizes = {signal: len(next(iter(by_name.values()))) for signal, by_name in samples.items()}
    out = {key: np.empty((n_bootstrap, 1 + len(limits))) for key in matched}
    groups = np.arange(len(weights)) if groups is None else groups
    for replica in range(n_bootstrap):
        drawn = weights * rng.poisson(1.0, groups.max() + 1)[groups]
        counts = {s: np.bincount(rng.integers(n, size=n), minlength=n) for s, n in sizes.items()}
        for name, rank in ranked.items():
            above = rank.above(drawn)
            codes = rank.codes_within(above, limits)
            for signal, count in counts.items():
                match = matched[signal, name]
                out[signal, name][replica] = [match.auc(above, count), *match.efficiencies(codes, count)]
    return out


@dataclass(frozen=True, eq=False)
class _RankedBackground:
    """Background sorted once, highest score first.

    ``ends[k]`` events score at or above ``codes[k]``, the k-th highest code.
    """

    order: IntArray
    codes: IntArray
    ends: IntArray

    @classmethod
    def of(cls, scores: IntArray) -> "_RankedBackground":
        codes, counts = np.unique(scores, return_counts=True)
        return cls(np.argsort(scores, kind="stable")[::-1], codes[::-1], np.cumsum(counts[::-1]))

    def above(self, weights: FloatArray) -> FloatArray:
        """Weight of the highest 0, 1, ..., n events."""
        return _running_sum(weights[self.order])

    def codes_within(self, above: FloatArray, limits: FloatArray) -> IntArray:
        """Count the codes, from the highest, that the smallest threshold within each limit accepts."""
        return np.searchsorted(above[self.ends], limits, "right")


@dataclass(frozen=True, eq=False)
class _RankedSignal:
    """Signal sorted once and matched to one background.

    ``higher`` and ``higher_or_tied`` background events stand above each signal event; ``passing[k]``
    signal events pass the smallest threshold that accepts k background codes.
    """

    order: IntArray
    passing: IntArray
    higher: IntArray
    higher_or_tied: IntArray

    @classmethod
    def of(cls, scores: IntArray, background: _RankedBackground) -> "_RankedSignal":
        ascending, ends = background.codes[::-1], np.concatenate([[0], background.ends])
        ordered = np.sort(scores)
        passing = len(scores) - np.searchsorted(ordered, background.codes, "right")
        return cls(
            order=np.argsort(scores, kind="stable")[::-1],
            passing=np.append(passing, len(scores)),
            higher=ends[len(ascending) - np.searchsorted(ascending, scores, "right")],
            higher_or_tied=ends[len(ascending) - np.searchsorted(ascending, scores, "left")],
        )

    def auc(self, above: FloatArray, count: IntArray) -> float:
        lost = count @ (above[self.higher] + above[self.higher_or_tied])
        return float(1 - lost / (2 * above[-1] * count.sum()))

    def efficiencies(self, codes: IntArray, count: IntArray) -> FloatArray:
        passed = _running_sum(count[self.order].astype(np.float64))
        return np.asarray(passed[self.passing[codes]] / passed[-1])


def _measured(value: float | Refused, spread: FloatArray) -> Measured | Refused:
    return value if isinstance(value, Refused) else Measured(value, float(spread.std(ddof=1)))


def _minus(value: float | Refused, baseline: float | Refused) -> float | Refused:
    if isinstance(value, Refused):
        return value
    return baseline if isinstance(baseline, Refused) else value - baseline


def _verdict(difference: Measured | Refused) -> Verdict:
    if isinstance(difference, Refused):
        return "refused"
    if abs(difference.value) <= VERDICT_SIGMAS * difference.error:
        return "within error"
    return "gain" if difference.value > 0 else "loss"


def _check_comparison(
    pool: Mapping[str, IntArray],
    samples: Mapping[str, Mapping[str, IntArray]],
    baselines: Sequence[str],
    n_bootstrap: int,
) -> None:
    if not pool or not samples:
        raise ValueError(
            f"background and signals must be non-empty, not {len(pool)} and {len(samples)}; pass scores of both"
        )
    if isinstance(baselines, str) or not set(baselines) <= pool.keys() or len(set(baselines)) != len(baselines):
        raise ValueError(
            f"baselines must be distinct names out of {sorted(pool)}, not {baselines!r}; score the baselines too"
        )
    if isinstance(n_bootstrap, bool) or not isinstance(n_bootstrap, int) or n_bootstrap < 2:
        raise ValueError(f"n_bootstrap must be an integer of at least 2, not {n_bootstrap!r}; 200 gives 5 %")
    for where, by_name in {"background": pool, **{f"signal {s!r}": by for s, by in samples.items()}}.items():
        if by_name.keys() != pool.keys():
            raise ValueError(
                f"{where} must be scored by {sorted(pool)}, not by {sorted(by_name)}; score all with each detector"
            )
        lengths = {name: len(scores) for name, scores in by_name.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(
                f"{where} must be the same events for every detector, not {lengths}; a paired difference needs "
                "the same events in the same order"
            )


def _any_scores(scores: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Integers as int64, floats as float64."""
    array: npt.NDArray[Any] = np.asarray(scores)
    if array.dtype.kind != "f":
        return integer_scores(array, name)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (n,), n > 0, not {array.shape}; pass one score per event")
    if not np.isfinite(array).all():
        first = int(np.argmin(np.isfinite(array)))
        raise ValueError(f"{name} must be finite, not {array[first]}; at event {first}; look for overflow")
    return array.astype(np.float64, copy=False)


def _running_sum(weights: FloatArray) -> FloatArray:
    """Sum of the first 0, 1, ..., n weights, shape (n + 1,)."""
    return np.concatenate([[0.0], np.cumsum(weights)])
