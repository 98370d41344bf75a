"""Rates of the seeds of a menu, prescaled or not: total, pure, shared, overlapping, and what each costs and adds.

A prescaler passes a fired seed with probability 1 / prescale, independently of the others: all rates are expectations
over prescalers, computed and not sampled.  An event weighs its probability per bunch crossing times the probability to
be accepted, so that errors are those of Σ(w p) with (Σ w p)² / Σ(w p)² effective events: of the sample, not of the
prescalers.

Seeds of one *family*, working points of one score, are nested.  They are left out of each other's pure rates and unique
overlaps, and are the anomaly seeds; seeds without a family are the conventional ones.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from l1ad.trigger.menus.patterns import Patterns
from l1ad.trigger.rates import Rate, Refused, WorkingPoint, quote, stage
from l1ad.trigger.samples import BoolArray, FloatArray, IntArray, Support, check_total

PURE = "pure rate: rate of events that this seed accepts after its prescale, and no other seed after its own"
PURE_UNPRESCALED = "pure rate: rate of events that this seed accepts and for which no unprescaled seed is on"
BACKUPS = (0.5, 0.2, 0.1)
"""Rates of backup thresholds, in that of the working point."""
ROWS = 4096
"""Patterns worked on at a time."""


@dataclass(frozen=True)
class MenuSeed:
    """A seed as a menu uses it.

    Attributes
    ----------
    name : str
        A seed of the patterns.
    prescale : float
        One in so many is kept, fractions included; 1 keeps all, 0 switches the seed off.
    family : str or None
        Score that the seed is a working point of; None for a conventional seed.
    """

    name: str
    prescale: float = 1.0
    family: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.prescale, bool) or not isinstance(self.prescale, int | float):
            raise TypeError(f"prescale must be a number, not {self.prescale!r}; seed {self.name!r}")
        if not (self.prescale == 0 or 1 <= self.prescale < math.inf):
            raise ValueError(
                f"prescale must be 0 (off) or at least 1, not {self.prescale:g}; seed {self.name!r}; one in so many "
                "is kept"
            )


@dataclass(frozen=True)
class SeedRates:
    """Rates of one seed of a menu.

    Attributes
    ----------
    seed : MenuSeed
    total : Rate or Refused
        After its prescale.
    pure : Rate or Refused
        See `PURE`.
    pure_unprescaled : Rate or Refused
        See `PURE_UNPRESCALED`.
    proportional : Rate or Refused
        Its part of the menu's rate, each accepted event shared equally by the seeds that accept it.
    cumulative : Rate or Refused
        Of this seed or any before it in the menu.
    without : Rate or Refused
        Of the menu with this seed switched off.

    Source
    ------
    `pure`: github cms-l1-dpg/L1MenuTools, ``L1Menu2016::CheckPureFire``.
    """

    seed: MenuSeed
    total: Rate | Refused
    pure: Rate | Refused
    pure_unprescaled: Rate | Refused
    proportional: Rate | Refused
    cumulative: Rate | Refused
    without: Rate | Refused


@dataclass(frozen=True)
class MenuRates:
    """Rates of a menu and of its seeds.

    Attributes
    ----------
    seeds : tuple of SeedRates
        Those that are on, in menu order.
    off : tuple of str
        Those that are switched off.
    total : Rate or Refused
        Of any seed.
    conventional : Rate or Refused or None
        Of any conventional seed; None if none is on.
    added : Rate or Refused or None
        What the anomaly seeds add to the conventional ones; None if none is on.
    """

    seeds: tuple[SeedRates, ...]
    off: tuple[str, ...]
    total: Rate | Refused
    conventional: Rate | Refused | None
    added: Rate | Refused | None


@dataclass(frozen=True)
class Overlaps:
    """Rates of pairs of seeds, after prescales.

    Attributes
    ----------
    names : tuple of str, length n
        Seeds that are on, in menu order.
    both : tuple of n tuples of n, Rate or Refused
        Both seeds accept; on the diagonal, total rates.
    only : tuple of n tuples of n, Rate or Refused
        Both accept and no other; on the diagonal, pure rates.
    """

    names: tuple[str, ...]
    both: tuple[tuple[Rate | Refused, ...], ...]
    only: tuple[tuple[Rate | Refused, ...], ...]


def menu_rates(patterns: Patterns, seeds: Iterable[MenuSeed], crossing_rate_hz: float, *, simulated: bool) -> MenuRates:
    """Rates of a menu.

    Parameters
    ----------
    patterns : Patterns
        Of the whole sample; weights are probabilities per bunch crossing.
    seeds : iterable of MenuSeed
        The menu, in its order; seeds of the patterns that it does not name are no part of it.
    crossing_rate_hz : float
        See `l1ad.trigger.rates.crossing_rate_hz`.
    simulated : bool
        Whether the sample is simulated.

    Raises
    ------
    ValueError
        If the patterns hold no event or weights that do not sum to about 1, a seed is unknown or named twice, or none
        is on.
    """
    menu = _Menu.of(seeds, patterns)
    quoted = _measure(_Table.of(patterns, menu), menu.columns, crossing_rate_hz, stage(simulated=simulated))
    n = len(menu.on)
    rows = [SeedRates(seed, *(quoted[n * k + i] for k in range(6))) for i, seed in enumerate(menu.on)]
    conventional, added = quoted[-2:]
    anomaly = menu.anomaly
    return MenuRates(
        seeds=tuple(rows),
        off=menu.off,
        total=rows[-1].cumulative,
        conventional=None if anomaly.all() else conventional,
        added=added if anomaly.any() else None,
    )


def overlaps(patterns: Patterns, seeds: Iterable[MenuSeed], crossing_rate_hz: float, *, simulated: bool) -> Overlaps:
    """Rates of pairs of seeds; arguments and errors as those of `menu_rates`."""
    menu = _Menu.of(seeds, patterns)
    table, quoted = _Table.of(patterns, menu), stage(simulated=simulated)
    both, only = [], []
    for i in range(len(menu.on)):
        seen = table.where(table.fired[:, i])
        row = _measure(seen, partial(menu.pairs, i), crossing_rate_hz, quoted)
        both.append(tuple(row[: len(menu.on)]))
        only.append(tuple(row[len(menu.on) :]))
    return Overlaps(tuple(seed.name for seed in menu.on), tuple(both), tuple(only))


def backups(find: Callable[[float], WorkingPoint], target_hz: float) -> tuple[WorkingPoint, ...]:
    """Working points at `BACKUPS` of a rate, to go to at once when a rate runs away.

    Parameters
    ----------
    find : callable
        From a rate in Hz to a working point, e.g. `l1ad.trigger.histograms.working_point_of` of a histogram.
    target_hz : float
        Of the working point itself.
    """
    return tuple(find(target_hz * part) for part in BACKUPS)


@dataclass(frozen=True, eq=False)
class _Menu:
    """Seeds that are on, shape (s,), and the family of each, numbered; a seed without one is a family of its own."""

    on: tuple[MenuSeed, ...]
    off: tuple[str, ...]
    passes: FloatArray
    family: IntArray

    @classmethod
    def of(cls, seeds: Iterable[MenuSeed], patterns: Patterns) -> _Menu:
        seeds = tuple(seeds)
        names = [seed.name for seed in seeds]
        for name in names:
            if name not in patterns.names:
                near = difflib.get_close_matches(name, patterns.names, n=1)
                meant = f"did you mean {near[0]!r}?" if near else "fill the patterns with its decisions"
                known = len(patterns.names)
                raise ValueError(f"seed must be one of the {known} of the patterns, not {name!r}; {meant}")
        if len(set(names)) != len(names):
            raise ValueError(f"seeds must be named once each, not {', '.join(names)}")
        on = tuple(seed for seed in seeds if seed.prescale)
        if not on:
            raise ValueError(
                f"menu must have a seed that is on, not 0 of {len(seeds)}; give one a prescale of 1 or more"
            )
        owners = [(seed.family, "") if seed.family is not None else (None, seed.name) for seed in on]
        numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
        return cls(
            on,
            tuple(seed.name for seed in seeds if not seed.prescale),
            np.array([1 / seed.prescale for seed in on]),
            np.array([numbers[owner] for owner in owners]),
        )

    @property
    def anomaly(self) -> BoolArray:
        """Which seeds have a family."""
        return np.array([seed.family is not None for seed in self.on])

    def silent(self, accepts: FloatArray | BoolArray) -> FloatArray:
        """Probability that no seed of each family accepts, shape (patterns, families)."""
        silent = np.ones((len(accepts), int(self.family.max()) + 1))
        for i, family in enumerate(self.family):
            silent[:, family] *= 1 - accepts[:, i]
        return silent

    def columns(self, fired: BoolArray) -> FloatArray:
        """Probabilities that count in each rate of `SeedRates`, for seed after seed, then in the last two."""
        accepts = fired * self.passes
        alone = accepts * _others(self.silent(accepts))[:, self.family]
        unvetoed = _others(self.silent(fired & (self.passes == 1)))[:, self.family]
        any_so_far = _any_so_far(accepts)
        before, after = np.zeros_like(accepts), np.zeros_like(accepts)
        before[:, 1:] = any_so_far[:, :-1]
        after[:, :-1] = _any_so_far(accepts[:, :0:-1])[:, ::-1]
        without = before + (1 - before) * after
        menu = _any_so_far(accepts * ~self.anomaly)[:, -1:]
        added = (1 - menu) * _any_so_far(accepts * self.anomaly)[:, -1:]
        shared = _shares(accepts)
        return np.hstack([accepts, alone, accepts * unvetoed, shared, any_so_far, without, menu, added])

    def pairs(self, i: int, fired: BoolArray) -> FloatArray:
        """Probabilities that seed i and each seed accept, then that they and no other do."""
        accepts = fired * self.passes
        both = accepts[:, i : i + 1] * accepts
        both[:, i] = accepts[:, i]
        silent = self.silent(accepts)
        silent[:, self.family[i]] = 1
        return np.hstack([both, both * _others(silent)[:, self.family]])


@dataclass(frozen=True, eq=False)
class _Table:
    """Patterns as arrays, those that fire no seed of the menu left out.

    Attributes
    ----------
    fired : bool array, shape (p, seeds)
    counts : int64 array, shape (p,)
    sums, squares : float64 array, shape (p,)
        Σw, and Σw² of the events that stand alone, in units.
    groups, rows : int64 array, shape (g,)
        Group of collisions, and pattern of its events.
    parts : float64 array, shape (g,)
        Σw of these, in units.
    unit : float
        Probability per bunch crossing that a unit stands for.
    events : int
        Of the whole sample.
    """

    fired: BoolArray
    counts: IntArray
    sums: FloatArray
    squares: FloatArray
    cubes: FloatArray
    groups: IntArray
    rows: IntArray
    parts: FloatArray
    unit: float
    events: int

    @classmethod
    def of(cls, patterns: Patterns, menu: _Menu) -> _Table:
        events = patterns.events
        if not events:
            raise ValueError("patterns must hold at least one event, not 0; fill them")
        unit = 1 / events if patterns.unit is None else patterns.unit
        check_total(patterns.total * unit)
        words = sorted(patterns.table)
        bits = np.frombuffer(b"".join(words), np.uint8).reshape(len(words), -1)
        fired = np.unpackbits(bits, axis=1, count=len(patterns.names)).astype(np.bool_)
        found = np.array([patterns.table[word] for word in words], object)
        number = {word: row for row, word in enumerate(words)}
        shared = sorted(patterns.shared.items())
        names = {group: index for index, group in enumerate(dict.fromkeys(group for (group, _), _ in shared))}
        table = cls(
            fired[:, [patterns.names.index(seed.name) for seed in menu.on]],
            found[:, 0].astype(np.int64),
            found[:, 1].astype(np.float64),
            found[:, 2].astype(np.float64),
            found[:, 3].astype(np.float64),
            np.array([names[group] for (group, _), _ in shared], np.int64),
            np.array([number[word] for (_, word), _ in shared], np.int64),
            np.array([part for _, part in shared], np.float64),
            unit,
            events,
        )
        return table.where(np.asarray(table.fired.any(axis=1)))

    def where(self, chosen: BoolArray) -> _Table:
        """Some of the patterns."""
        kept = chosen[self.rows]
        row = np.cumsum(chosen) - 1
        return _Table(
            self.fired[chosen],
            self.counts[chosen],
            self.sums[chosen],
            self.squares[chosen],
            self.cubes[chosen],
            self.groups[kept],
            row[self.rows[kept]],
            self.parts[kept],
            self.unit,
            self.events,
        )

    def split(self) -> Iterator[_Table]:
        """Tables of `ROWS` patterns."""
        if len(self.fired) <= ROWS:
            yield self
            return
        place = np.arange(len(self.fired)) // ROWS
        for part in range(int(place[-1]) + 1):
            yield self.where(np.asarray(place == part))


def _measure(
    table: _Table, columns: Callable[[BoolArray], FloatArray], crossing_rate_hz: float, stage: str
) -> Sequence[Rate | Refused]:
    """Rate of each column of acceptance probabilities, which `columns` makes of fired bits."""
    n = columns(table.fired[:0]).shape[1]
    counts, sums, squares, cubes = np.zeros(n, np.int64), np.zeros(n), np.zeros(n), np.zeros(n)
    by_group = np.zeros((int(table.groups.max(initial=-1)) + 1, n))
    for part in table.split():
        accepted = columns(part.fired)
        counts += part.counts @ (accepted > 0)
        sums += part.sums @ accepted
        squares += part.squares @ accepted**2
        cubes += part.cubes @ accepted**3
        np.add.at(by_group, part.groups, part.parts[:, None] * accepted[part.rows])
    squares += (by_group**2).sum(axis=0)
    cubes += (by_group**3).sum(axis=0)
    effective = np.divide(sums**2, squares, out=np.zeros(n), where=squares > 0).round(9)  # 25 equal weights are 25
    skewness = np.divide(cubes, squares**1.5, out=np.zeros(n), where=squares > 0)
    found = [Support(*row) for row in zip(counts.tolist(), effective.tolist(), skewness.tolist(), strict=True)]
    return [quote(float(sums[i]) * table.unit, found[i], table.events, crossing_rate_hz, stage) for i in range(n)]


def _others(factors: FloatArray) -> FloatArray:
    """Product of all columns but each, without division, for factors may be 0."""
    left, right = np.ones_like(factors), np.ones_like(factors)
    left[:, 1:] = np.cumprod(factors[:, :-1], axis=1)
    right[:, :-1] = np.cumprod(factors[:, :0:-1], axis=1)[:, ::-1]
    return left * right


def _any_so_far(accepts: FloatArray) -> FloatArray:
    """Probability that a column or any before it accepts: a sum, in which small ones are not lost beside 1."""
    so_far = np.zeros_like(accepts)
    last = np.zeros(len(accepts))
    for i in range(accepts.shape[1]):
        last = last + (1 - last) * accepts[:, i]
        so_far[:, i] = last
    return so_far


def _shares(accepts: FloatArray) -> FloatArray:
    """Expected part of each seed in an event: E[1 / (1 + others that accept)] times the probability that it accepts.

    With q = 1 - p, E[1 / (1 + K)] = ∫₀¹ Π (qⱼ + pⱼ t) dt over the others: a polynomial, of which Gauss-Legendre
    quadrature is exact.
    """
    most = int((accepts > 0).sum(axis=1).max(initial=0))
    nodes, widths = np.polynomial.legendre.leggauss(max((most + 1) // 2, 1))
    shares = np.zeros_like(accepts)
    for node, width in zip((1 + nodes) / 2, widths / 2, strict=True):
        shares += width * accepts * _others(1 - accepts * (1 - node))
    return shares
