"""Events above every code of a score, as running sums of exact integers: what curves are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l1ad.emulate.histogram import Histogram, halves, joined
from l1ad.trigger.samples import (
    UNIT,
    BoolArray,
    FloatArray,
    IntArray,
    Support,
    event_groups,
    event_weights,
    integer_scores,
    threshold_code,
)


@dataclass(frozen=True, eq=False)
class Counted:
    """Events of a sample, or of a part of it, above each code that occurs in the sample.

    Attributes
    ----------
    codes : int64 array, shape (points,)
        Raw, rising; of a histogram, the lowest of each occupied bin.
    step : int
        Distance of the thresholds that can be told apart.
    unit : Fraction
        What a unit of the sums stands for: probability per bunch crossing, or weight.
    counts, sums : int64 array, shape (points,)
        Number of events, and Σw in units, at or above each code.
    effective, skewness : float64 array, shape (points,)
        See `l1ad.trigger.samples.Support`.
    whole : int
        Σw of the whole sample, in units.
    whole_effective : float
        Effective number of its events.
    events : int
        Number of its events.
    """

    codes: IntArray
    step: int
    unit: Fraction
    counts: IntArray
    sums: IntArray
    effective: FloatArray
    skewness: FloatArray
    whole: int
    whole_effective: float
    events: int

    @classmethod
    def of_histogram(cls, histogram: Histogram, categories: Iterable[int] | None = None) -> Counted:
        """Events of a histogram, of all categories or of some; without weights, each has the weight 1/N.

        Raises
        ------
        ValueError
            If there is no event, no weight, or no such category.
        """
        everything = list(range(histogram.categories))
        chosen = everything if categories is None else list(categories)
        if not set(chosen) <= set(everything) or len(set(chosen)) != len(chosen):
            raise ValueError(f"categories must be different ones of 0 .. {len(everything) - 1}, not {chosen}")
        return cls._parts(histogram, [chosen])[0]

    @classmethod
    def of_each_category(cls, histogram: Histogram) -> tuple[Counted, ...]:
        """One part of a histogram for each category; errors as those of `of_histogram`."""
        return cls._parts(histogram, [[number] for number in range(histogram.categories)])

    @classmethod
    def _parts(cls, histogram: Histogram, parts: list[list[int]]) -> tuple[Counted, ...]:
        bins = np.flatnonzero(histogram.counts.any(axis=0))
        if not len(bins):
            raise ValueError("histogram must hold at least one event, not 0; fill it")
        everything = _above(histogram, bins, list(range(histogram.categories)))
        whole, whole_effective = int(everything.sums[0]), everything.at(0).n_effective
        if not whole:
            raise ValueError("histogram must hold a positive sum of weights, not 0; weigh at least one event")
        unit = Fraction(1, histogram.events) if histogram.unit is None else Fraction(histogram.unit)
        codes, step, out = np.asarray(histogram.low + (bins << histogram.shift)), 1 << histogram.shift, []
        for rows in parts:
            above = _above(histogram, bins, rows)
            out.append(cls(codes, step, unit, *above.columns(), whole, whole_effective, histogram.events))
        return tuple(out)

    @classmethod
    def of_scores(
        cls,
        scores: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        part: npt.ArrayLike | None = None,
    ) -> Counted:
        """Stored scores.

        Parameters
        ----------
        scores : array_like of int, shape (n,)
            Raw.
        weights : array_like of float, shape (n,), optional
            Probabilities per bunch crossing, or, of a signal, of any scale; None gives each event 1/n.  Rounded to
            units of `l1ad.trigger.samples.UNIT`, or, if they do not sum to about 1, to as many bits.
        groups : array_like of int, shape (n,), optional
            Equal for events that share a collision, negative for those that share none.
        part : array_like of bool, shape (n,), optional
            Which events to count; by default all.

        Raises
        ------
        TypeError, ValueError
            If one of them is not as stated.
        """
        raw = integer_scores(scores)
        n = len(raw)
        chosen = np.ones(n, np.bool_) if part is None else np.asarray(part)
        if chosen.dtype != np.bool_ or chosen.shape != (n,):
            raise ValueError(f"part must be bool of shape ({n},), not {chosen.dtype} {chosen.shape}; one per event")
        if weights is None:
            unit, units = Fraction(1, n), np.ones(n, np.int64)
        else:
            values = event_weights(weights, n)
            exponent = math.frexp(values.sum())[1]
            step = UNIT if exponent in (0, 1) else 2.0 ** (exponent - 62)
            unit, units = Fraction(step), np.rint(values / step).astype(np.int64)
        numbered = event_groups(groups, n)
        codes, every = np.unique(raw), np.ones(n, np.bool_)
        whole = _stored_above(raw, units, numbered, every, codes[:1])
        above = _stored_above(raw, units, numbered, chosen, codes)
        return cls(codes, 1, unit, *above.columns(), int(whole.sums[0]), whole.at(0).n_effective, n)

    def probabilities(self) -> FloatArray:
        """Probability per bunch crossing of the events at or above each code, each rounded once, shape (points,)."""
        return _rounded_once(self.sums, self.unit)

    def probability(self, accepted: BoolArray) -> float:
        """Probability per bunch crossing of the events above a threshold, rounded once."""
        first = self._first(accepted)
        return 0.0 if first is None else float(int(self.sums[first]) * self.unit)

    def support(self, accepted: BoolArray) -> Support:
        """What the events above a threshold are."""
        first = self._first(accepted)
        if first is None:
            return Support(0, 0.0, 0.0)
        return Support(int(self.counts[first]), float(self.effective[first]), float(self.skewness[first]))

    def _first(self, accepted: BoolArray) -> int | None:
        """Place of the lowest code accepted, None if none is."""
        if not accepted.any():
            return None
        first = int(np.argmax(accepted))
        if not accepted[first:].all():
            raise ValueError("accepted must be all codes from a threshold on, not with gaps; take accept(codes, t)")
        return first


def place(codes: IntArray, step: int, threshold: int) -> int:
    """Number of the first of rising codes that a threshold accepts, how many there are if it accepts none.

    Raises
    ------
    ValueError
        If it lies inside an occupied bin of `step` codes.
    """
    code = threshold_code(threshold)
    inside = (code - int(codes[0])) % step
    i = int(np.searchsorted(codes, code))
    if inside and i and code < int(codes[i - 1]) + step:
        raise ValueError(
            f"threshold must be an edge of the histogram's bins of {step} codes, not {code}; take {code - inside} "
            f"or {code - inside + step}"
        )
    return i


def _from_above(array: npt.NDArray[np.int64]) -> IntArray:
    """Sums from each row to the last."""
    return np.asarray(np.cumsum(array[::-1], axis=0)[::-1])


class _Above(NamedTuple):
    """Events, Σw, Σw² and Σw³ of groups, in units, at or above each code."""

    counts: IntArray
    sums: IntArray
    squares: list[int]
    cubes: list[int]

    def at(self, i: int) -> Support:
        return Support.of_sums(int(self.counts[i]), int(self.sums[i]), self.squares[i], self.cubes[i])

    def columns(self) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
        """Counts, sums, effective numbers and skewness."""
        found = [self.at(i) for i in range(len(self.counts))]
        effective, skewness = (np.array([each[i] for each in found], np.float64) for i in (1, 2))
        return self.counts, self.sums, effective, skewness


def _above(histogram: Histogram, bins: IntArray, rows: list[int]) -> _Above:
    cells = np.ix_(np.array(rows), bins)
    events = _from_above(histogram.counts[cells].sum(axis=0))
    if histogram.unit is None:
        return _Above(events, events, events.tolist(), events.tolist())
    sums = _from_above(histogram.sums[cells].sum(axis=0))
    parts = (_from_above(halves(table[cells]).sum(axis=0)).tolist() for table in (histogram.squares, histogram.cubes))
    return _Above(events, sums, *([joined(row) for row in running] for running in parts))


def _stored_above(
    scores: IntArray, units: IntArray, groups: IntArray | None, chosen: BoolArray, codes: IntArray
) -> _Above:
    """Of the events chosen."""
    picked = np.flatnonzero(chosen)
    order = picked[np.argsort(scores[picked], kind="stable")[::-1]]
    events = len(order) - np.searchsorted(scores[order][::-1], codes)
    sums = np.concatenate([[0], np.cumsum(units[order])])
    falling = units[order].tolist()
    had = [0] * len(falling) if groups is None else _had(falling, groups[order].tolist())
    squares, cubes = (
        list(accumulate(((h + w) ** power - h**power for h, w in zip(had, falling, strict=True)), initial=0))
        for power in (2, 3)
    )
    return _Above(events, sums[events], [squares[n] for n in events.tolist()], [cubes[n] for n in events.tolist()])


def _had(units: list[int], groups: list[int]) -> list[int]:
    """Σw of the group of each event before it, when events come in one by one."""
    before: dict[int, int] = {}
    out = []
    for w, group in zip(units, groups, strict=True):
        had = before.get(group, 0)
        before[group] = had + w
        out.append(had)
    return out


def _rounded_once(sums: IntArray, unit: Fraction) -> FloatArray:
    """The sums in units, each rounded once."""
    if unit.numerator == 1 and (unit.denominator & (unit.denominator - 1) == 0 or sums.max(initial=0) < 2**53):
        return np.asarray(sums / float(unit.denominator))  # one rounding: of the sum, or of the quotient
    return np.array([float(s * unit) for s in sums.tolist()])
