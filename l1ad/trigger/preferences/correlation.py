"""Correlations of two quantities of weighted events: Spearman's, Kendall's and the distance correlation.

A weight stands for that many copies of its event: with whole weights each is that of the sample with every event
repeated.  So by probabilities per bunch crossing a correlation is that of plain zero-bias, whatever was stitched.
(scipy and dcor take no weights.)  All need O(n log² n) time and O(n) memory; no subsample is drawn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.trigger.samples import FloatArray, IntArray, event_groups, event_weights, n_effective

Numbers = npt.NDArray[Any]


def numbers(values: npt.ArrayLike, name: str) -> Numbers:
    """Finite numbers, shape (n,), n > 0: integers as int64, else float64.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If the shape is another, or one is not finite.
    """
    array: Numbers = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be real numbers, not {array.dtype}; pass one per event")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must have shape (n,), n > 0, not {array.shape}; pass one per event")
    if array.dtype.kind != "f":
        return array.astype(np.int64, copy=False)
    if not np.isfinite(array).all():
        first = int(np.argmin(np.isfinite(array)))
        raise ValueError(f"{name} must be finite, not {array[first]}; at event {first}; look for overflow")
    return array.astype(np.float64, copy=False)


def spearman(x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Spearman's rank correlation: Pearson's, of the weighted mid-ranks.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Integers or finite floats.
    weights : array_like of float, shape (n,)
        Any scale.

    Raises
    ------
    TypeError, ValueError
        If lengths differ, a number is not finite, a weight is negative, or a quantity has one value only.
    """
    x, y, w = _checked(x, y, weights)
    a, b = (_centred(_mid_ranks(v, w), w) for v in (x, y))
    return _within_one(float(w @ (a * b)) / math.sqrt(float(w @ a**2) * float(w @ b**2)))


def spearman_error(value: float, n: float) -> float:
    """Standard error of Spearman's correlation of `n` events, perhaps effective ones; at least 4.

    Source
    ------
    Bonett and Wright, Psychometrika 65 (2000) 23: that of Fisher's z is √((1 + ρ²/2) / (n - 3)).
    """
    return (1 - value**2) * math.sqrt((1 + value**2 / 2) / (n - 3))


def kendall(x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Kendall's τ-b: pairs in the same order minus pairs in opposite order, over pairs that are not tied.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Integers or finite floats.
    weights : array_like of float, shape (n,)
        Any scale; a pair counts as the product of its weights.

    Raises
    ------
    TypeError, ValueError
        As `spearman`.
    """
    x, y, w = _checked(x, y, weights)
    by_x, by_y = _numbered(x), _numbered(y)
    same_order = float(w @ _sums_below(by_x, by_y, w[None])[0])
    tied = [
        float(np.square(np.bincount(of, w)).sum()) for of in (by_x, by_y, _numbered(by_x * (by_y.max() + 1) + by_y))
    ]
    pairs = float(w.sum()) ** 2
    opposite = (pairs - tied[0] - tied[1] + tied[2]) / 2 - same_order
    return _within_one(2 * (same_order - opposite) / math.sqrt((pairs - tied[0]) * (pairs - tied[1])))


def distance_correlation(
    x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Distance correlation, 0 for independent quantities only, and what independent ones would give.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Integers or finite floats.
    weights : array_like of float, shape (n,)
        Any scale.
    groups : array_like of int, shape (n,), optional
        Equal for events that share a collision, negative for those that share none; None for no such events.

    Returns
    -------
    value : float
        From 0 to 1; that of the sample (V-statistic), which is never 0.
    independent : float
        Root of the expectation of its square for independent quantities and as many effective events.

    Raises
    ------
    TypeError, ValueError
        As `spearman`.

    Source
    ------
    Szekely, Rizzo and Bakirov, Ann. Statist. 35 (2007) 2769; Huo and Szekely, Technometrics 58 (2016) 435.
    """
    x, y, w = _checked(x, y, weights)
    p = w / w.sum()
    u, v = (_centred(values.astype(np.float64), p) for values in (x, y))
    a, b = _mean_distances(u, p), _mean_distances(v, p)
    mean_a, mean_b = float(p @ a), float(p @ b)
    one, of_u, of_v, of_uv = _sums_below(_numbered(x), _numbered(y), p * np.stack([np.ones_like(u), u, v, u * v]))
    products = 4 * float(p @ (u * v * one - u * of_v - v * of_u + of_uv)) - 2 * float(p @ (u * v))
    covariance = products - 2 * float(p @ (a * b)) + mean_a * mean_b
    variances = [2 * float(p @ s**2) - 2 * float(p @ d**2) + float(p @ d) ** 2 for s, d in ((u, a), (v, b))]
    scale = math.sqrt(variances[0] * variances[1])
    independent = mean_a * mean_b / n_effective(w, event_groups(groups, len(w))) / scale
    return math.sqrt(min(1.0, max(0.0, covariance / scale))), math.sqrt(min(1.0, independent))


def _checked(x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[Numbers, Numbers, FloatArray]:
    first, second = numbers(x, "x"), numbers(y, "y")
    if len(first) != len(second):
        raise ValueError(f"x and y must be of the same events, not of {len(first)} and {len(second)}")
    w = event_weights(weights, len(first))
    for name, values in (("x", first), ("y", second)):
        if np.ptp(values[w > 0]) == 0:
            raise ValueError(f"{name} must take at least two values, not {values[0]} alone; leave it out")
    return first, second, w


def _within_one(value: float) -> float:
    """A correlation that rounding may have carried over the edge."""
    return min(1.0, max(-1.0, value))


def _centred(values: FloatArray, weights: FloatArray) -> FloatArray:
    return values - float(weights @ values) / float(weights.sum())


def _numbered(values: Numbers) -> IntArray:
    """Number of each value among those that occur, from 0."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _mid_ranks(values: Numbers, weights: FloatArray) -> FloatArray:
    """Weight below each value, and half of that at it."""
    number = _numbered(values)
    at = np.bincount(number, weights)
    return np.asarray((np.cumsum(at) - at / 2)[number])


def _mean_distances(values: FloatArray, p: FloatArray) -> FloatArray:
    """Mean distance of each event from all; `p` sums to 1."""
    order = np.argsort(values, kind="stable")
    below, moment = np.cumsum(p[order]), np.cumsum((p * values)[order])
    out = np.empty_like(values)
    out[order] = values[order] * (2 * below - below[-1]) - 2 * moment + moment[-1]
    return out


def _sums_below(x: IntArray, y: IntArray, terms: FloatArray) -> FloatArray:
    """For each event the sums, shape (k, n), of the terms (k, n) of all events lower in both `x` and `y`.

    Numbers that differ first differ in one bit: for every bit of `x`, those with a 0 there are below those with a 1
    and the same higher bits.
    """
    out = np.zeros_like(terms)
    by_y = np.argsort(y, kind="stable")
    for bit in range(int(x.max()).bit_length()):
        order = by_y[np.argsort(x[by_y] >> (bit + 1), kind="stable")]  # by higher bits, then by y
        high, low_bit = x[order] >> (bit + 1), (x[order] >> bit) & 1
        running = np.concatenate(
            [np.zeros((len(terms), 1)), np.cumsum(terms[:, order] * (1 - low_bit), axis=1)], axis=1
        )
        new_block = np.diff(high, prepend=-1) != 0
        first = np.maximum.accumulate(np.where(new_block, np.arange(len(x)), 0))
        tie = np.maximum.accumulate(np.where(new_block | (np.diff(y[order], prepend=-1) != 0), np.arange(len(x)), 0))
        out[:, order] += (running[:, tie] - running[:, first]) * low_bit
    return out
