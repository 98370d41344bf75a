"""Stored scores with weights, summed exactly: in whole units of `UNIT`, so that the order of events does not matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from l1ad.trigger.samples import (
    UNIT,
    BoolArray,
    FloatArray,
    IntArray,
    Support,
    crossing_weights,
    event_groups,
    integer_scores,
)


@dataclass(frozen=True, eq=False)
class StoredScores:
    """A `l1ad.trigger.rates.Sample` of stored scores; events that share a collision count once in its support.

    Attributes
    ----------
    codes : ndarray of int64, shape (n,)
        Raw scores.
    weights : ndarray of float64, shape (n,)
        Probability per bunch crossing.
    units : ndarray of int64, shape (n,)
        The same in units of `UNIT`.
    groups : ndarray of int64, shape (n,), or None
        Of events that share a collision, from 0.
    """

    codes: IntArray
    weights: FloatArray
    units: IntArray
    groups: IntArray | None
    step: int = 1

    @classmethod
    def of(cls, scores: npt.ArrayLike, weights: npt.ArrayLike, groups: npt.ArrayLike | None) -> Self:
        """Check all; errors are those of `integer_scores`, `crossing_weights` and `event_groups`."""
        codes = integer_scores(scores)
        checked = crossing_weights(weights, len(codes))
        return cls(codes, checked, np.rint(checked / UNIT).astype(np.int64), event_groups(groups, len(codes)))

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.codes)

    def sum(self, accepted: BoolArray) -> int:
        """Σw in units."""
        return int(self.units[accepted].sum())

    def probability(self, accepted: BoolArray) -> float:
        """Probability per bunch crossing of the accepted."""
        return self.sum(accepted) * UNIT

    def support(self, accepted: BoolArray) -> Support:
        """What the accepted events are."""
        return Support.of(self.weights[accepted], None if self.groups is None else self.groups[accepted])
