"""What scores and weights must be: checked once, at the door of every function of this package."""

import math
import operator
from fractions import Fraction
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

UNIT = 2.0**-61
"""Weight that is one unit of the histogram: the finest power of two of which a whole sample has fewer than 2**62.

Weights are probabilities per bunch crossing, which sum to 1, so that the unit need not depend on the sample: the
histograms of its parts, filled anywhere, can be added.  A weight of 1e-9 keeps 31 bits; one of 1e-13 keeps 17.  Of N
events the rounding changes the sum by N / 2**62 at most, 2e-10 for 1e9 events.
"""
WEIGHT_SUM_TOLERANCE = 0.1
"""Largest distance from 1 of the summed probabilities per bunch crossing of a whole sample."""


def integer_scores(scores: npt.ArrayLike, name: str = "scores") -> IntArray:
    """Scores as the trigger compares them: raw codes, never values.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw score codes, high = anomalous.
    name : str
        What an error text calls them.

    Returns
    -------
    ndarray of int64, shape (n,)
        Raw.

    Raises
    ------
    TypeError
        If the scores are not integers that fit int64.
    ValueError
        If they are not one-dimensional, or empty.
    """
    array: npt.NDArray[Any] = np.asarray(scores)
    _check_vector(array, name)
    if array.dtype.kind not in "iu" or not np.can_cast(array.dtype, np.int64):
        raise TypeError(
            f"{name} must be integers that fit int64 (raw codes), not {array.dtype}; the trigger compares "
            "raw codes: pass the emulator's raw scores, not their values"
        )
    return array.astype(np.int64, copy=False)


def event_weights(weights: npt.ArrayLike, n_events: int, name: str = "weights") -> FloatArray:
    """Non-negative weights, one per event.

    Parameters
    ----------
    weights : array_like of float, shape (n_events,)
        Any scale.
    n_events : int
        Number of events that they belong to.
    name : str
        What an error text calls them.

    Returns
    -------
    ndarray of float64, shape (n_events,)

    Raises
    ------
    TypeError
        If the weights are not real numbers.
    ValueError
        If the length differs, a weight is negative or not finite, or their sum is zero.
    """
    array: npt.NDArray[Any] = np.asarray(weights)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be real numbers, not {array.dtype}; pass one float per event")
    if array.shape != (n_events,):
        raise ValueError(
            f"{name} must have shape ({n_events},), one per event, not {array.shape}; "
            "take scores and weights from the same events"
        )
    array = array.astype(np.float64, copy=False)
    for wrong, what in ((~np.isfinite(array), "finite"), (array < 0, "non-negative")):
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"{name} must be {what}, not {array[first]}; at event {first} ({int(wrong.sum())} in all); "
                "correct the weights, do not drop the events"
            )
    if not array.any():
        raise ValueError(f"{name} must have a positive sum, not 0; weigh at least one event")
    return array


def crossing_weights(weights: npt.ArrayLike, n_events: int) -> FloatArray:
    """Weights that are probabilities per bunch crossing: those of a whole sample add up to about 1.

    Parameters
    ----------
    weights : array_like of float, shape (n_events,)
        Probability per bunch crossing of each event.
    n_events : int
        Number of events that they belong to.

    Returns
    -------
    ndarray of float64, shape (n_events,)

    Raises
    ------
    ValueError
        As `event_weights`, and if the sum is not within `WEIGHT_SUM_TOLERANCE` of 1.
    """
    array = event_weights(weights, n_events)
    check_total(float(array.sum()))
    return array


def check_total(total: float) -> None:
    """Raise `ValueError` unless the probabilities per bunch crossing of a whole sample add up to about 1."""
    if abs(total - 1) > WEIGHT_SUM_TOLERANCE:
        raise ValueError(
            f"weights must sum to 1 within {WEIGHT_SUM_TOLERANCE:g}, not {total:g}; they are probabilities "
            "per bunch crossing of the whole sample: give plain zero-bias events 1/N each, stitch samples "
            "instead of adding them"
        )


def threshold_code(threshold: int) -> int:
    """Threshold as a Python integer: a raw code.

    Raises
    ------
    TypeError
        If it is not an integer.
    """
    if isinstance(threshold, (bool, np.bool_)):
        raise TypeError(f"threshold must be an integer (raw code), not {threshold!r}; pass the code")
    try:
        return operator.index(threshold)
    except TypeError:
        raise TypeError(
            f"threshold must be an integer (raw code), not {threshold!r}; divide a value by the score's LSB"
        ) from None


def event_groups(groups: npt.ArrayLike | None, n_events: int) -> IntArray | None:
    """Groups of correlated events, numbered from 0; None where every event stands alone.

    Parameters
    ----------
    groups : array_like of int, shape (n_events,), or None
        Equal for events that share a collision, negative for those that share none.
    n_events : int
        Number of events that they belong to.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If the length differs.
    """
    if groups is None:
        return None
    array: npt.NDArray[Any] = np.asarray(groups)
    if array.dtype.kind not in "iu":
        raise TypeError(f"groups must be integers, not {array.dtype}; number the collisions")
    if array.shape != (n_events,):
        raise ValueError(f"groups must have shape ({n_events},), one per event, not {array.shape}")
    if (array < 0).all():
        return None
    alone = array.max() + 1 + np.arange(n_events, dtype=np.int64)
    numbered: IntArray = np.unique(np.where(array < 0, alone, array), return_inverse=True)[1].reshape(-1)
    return numbered


class Support(NamedTuple):
    """What a sum of weights rests on; w is summed over each group of events.

    Attributes
    ----------
    n_raw : int
        Number of events.
    n_effective : float
        Effective number of independent events, (Σw)²/Σw², 0 for none.  The relative error 1/√n_eff is that of a Poisson
        bootstrap over groups.
    skewness : float
        Σw³/(Σw²)^(3/2): 1/√n of n equal weights, the more the fewer events make up most of Σw²; 0 for none.
    """

    n_raw: int
    n_effective: float
    skewness: float

    @classmethod
    def of(cls, weights: FloatArray, groups: IntArray | None = None) -> Self:
        """Of stored weights.

        Parameters
        ----------
        weights : ndarray of float64, shape (n,)
            Weights of the *accepted* events: that of the whole sample says nothing about the tail.
        groups : ndarray of int64, shape (n,), optional
            Of `event_groups`.
        """
        summed = weights if groups is None else np.bincount(groups, weights).astype(np.float64)
        summed = summed[summed > 0]
        if not len(summed):
            return cls(len(weights), 0.0, 0.0)
        scaled = summed / summed.max()  # so that tiny weights do not underflow when squared
        squared = np.square(scaled)
        sums = (Fraction(float(powers.sum())) for powers in (scaled, squared, squared * scaled))
        return cls.of_sums(len(weights), *sums)

    @classmethod
    def of_sums(cls, n_raw: int, sums: int | Fraction, squares: int | Fraction, cubes: int | Fraction) -> Self:
        """Of exact sums, in any unit: rounded once."""
        if not squares:
            return cls(n_raw, 0.0, 0.0)
        return cls(n_raw, float(sums**2 / squares), math.sqrt(cubes**2 / squares**3))


def n_effective(weights: FloatArray, groups: IntArray | None = None) -> float:
    """Effective number of independent events; see `Support`."""
    return Support.of(weights, groups).n_effective


def _check_vector(array: npt.NDArray[Any], name: str) -> None:
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), not {array.shape}; pass one score per event")
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one event, not 0; check the selection that made them")
