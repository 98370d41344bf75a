"""Signal efficiency of a threshold, with a Clopper-Pearson interval."""

from dataclasses import dataclass

import numpy.typing as npt

from l1ad.trigger.intervals import clopper_pearson
from l1ad.trigger.rates import accept
from l1ad.trigger.samples import event_weights, integer_scores, n_effective


@dataclass(frozen=True)
class Efficiency:
    """A fraction of accepted events and its 68 % interval.

    Attributes
    ----------
    value, low, high : float
        Fractions.
    n : float
        Events, or effective events of a weighted signal.
    """

    value: float
    low: float
    high: float
    n: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (+{self.high - self.value:.4f} -{self.value - self.low:.4f})"


def efficiency(scores: npt.ArrayLike, weights: npt.ArrayLike | None, threshold: int) -> Efficiency:
    """Fraction of a signal that a threshold accepts.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,), or None
        Any scale; None counts events.
    threshold : int
        Raw.

    Returns
    -------
    Efficiency
        Exact binomial interval; of a weighted signal, that of (Σw)²/Σw² events, an approximation.

    Source
    ------
    Clopper and Pearson, Biometrika 26 (1934) 404.
    """
    scores = integer_scores(scores)
    accepted = accept(scores, threshold)
    if weights is None:
        n, value = float(len(scores)), float(accepted.mean())
    else:
        weights = event_weights(weights, len(scores))
        n, value = n_effective(weights), min(1.0, float(weights[accepted].sum() / weights.sum()))
    return binomial(value, n)


def binomial(value: float, n: float) -> Efficiency:
    """A fraction of `n` events, perhaps effective ones, with its interval."""
    low, high = clopper_pearson(value * n, n)
    return Efficiency(value, float(low), float(high), n)
