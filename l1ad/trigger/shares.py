"""Shares of a rate that parts of its events make up; errors count events that share a collision once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.trigger.efficiency import Efficiency, binomial
from l1ad.trigger.rates import MIN_EFFECTIVE, MORE_EVENTS, Rate, Refused, measure, stage
from l1ad.trigger.samples import BoolArray, FloatArray
from l1ad.trigger.stored import StoredScores


class WeightedEvents(StoredScores):
    """Stored scores, and the shares of their rate that some of the events make up."""

    def refusal(self, accepted: BoolArray) -> Refused | None:
        """A refusal, if too few effective events are accepted."""
        found = self.support(accepted)
        return Refused(found.n_effective, found.n_raw, MORE_EVENTS) if found.n_effective < MIN_EFFECTIVE else None

    def rate(self, accepted: BoolArray, crossing_rate_hz: float, *, simulated: bool) -> Rate | Refused:
        """Rate of the accepted."""
        return measure(self, accepted, crossing_rate_hz, stage(simulated=simulated))

    def error(self, pull: FloatArray) -> float:
        """Standard error of a mean by weight: the root of Σ (Σ w pull)², the inner sum over each group, over Σw.

        Parameters
        ----------
        pull : ndarray of float64, shape (n,)
            Of each event on the mean, or on a linearised function of means: their own mean is 0.
        """
        weighted = self.weights * pull
        by_group = weighted if self.groups is None else np.bincount(self.groups, weighted)
        return float(np.sqrt(np.square(by_group).sum()) / self.weights.sum())

    def share(self, part: BoolArray, whole: BoolArray) -> Efficiency | Refused:
        """Share of a rate that a part of its events makes up, refused where the rate is.

        Source
        ------
        Korn and Graubard, Survey Methodology 24 (1998) 193: the interval is that of Clopper and Pearson, for as many
        events as would have the linearised variance of the share; weights may differ between the part and the rest.
        On toys it covers 68 % or more where weights spread over a decade; over three decades 62 %, near the
        limit of refusal 40 to 47 %: heavy events that were not seen would count.
        """
        if (refused := self.refusal(whole)) is not None:
            return refused
        value = self.sum(part & whole) / self.sum(whole)
        fraction = self.sum(whole) / self.sum(np.ones_like(whole))
        variance = self.error(whole * (part - value) / fraction) ** 2
        plain = self.support(whole).n_effective
        return binomial(value, value * (1 - value) / variance if 0 < value < 1 and variance > 0 else plain)


def decided(taken: npt.ArrayLike, n_events: int, name: str) -> BoolArray:
    """Decisions of one seed, checked.

    Parameters
    ----------
    taken : array_like of bool, shape (n_events,)
    n_events : int
    name : str
        Of the seed.

    Raises
    ------
    TypeError, ValueError
        If they are not bool, or of other events.
    """
    decisions: npt.NDArray[Any] = np.asarray(taken)
    if decisions.dtype != np.bool_:
        raise TypeError(f"decisions of {name} must be bool, not {decisions.dtype}; compare the seeds first")
    if decisions.shape != (n_events,):
        raise ValueError(
            f"decisions of {name} must have shape ({n_events},), not {decisions.shape}; run the menu on the same events"
        )
    return decisions
