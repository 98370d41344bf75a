"""Dead time and trigger rules, on decisions in the order of bunch crossings.

A rule says how many accepts any so many consecutive crossings may hold, filled or not.  A simple dead time is the rule
of one accept.  All other rates of this package are before both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from l1ad.trigger.performance import Measured
from l1ad.trigger.rates import BUNCH_PLACES, MIN_EFFECTIVE, REVOLUTION_HZ, Collider, Rate, Refused
from l1ad.trigger.samples import BoolArray, IntArray

BLOCKS = 20
"""Parts of the time whose spread gives the error of the live fraction; no fewer orbits are simulated."""


@dataclass(frozen=True)
class Rule:
    """No more than `accepts` in any `crossings` consecutive bunch crossings."""

    accepts: int
    crossings: int

    def __post_init__(self) -> None:
        if not 1 <= self.accepts < self.crossings:
            raise ValueError(
                f"rule must allow at least one accept, in more crossings than that, not {self.accepts} in "
                f"{self.crossings}; else it forbids everything or nothing"
            )

    def __str__(self) -> str:
        return f"at most {self.accepts} in {self.crossings} BX"


CMS_RULES = (Rule(1, 3), Rule(2, 25), Rule(3, 100), Rule(4, 240))
"""Trigger rules of CMS, as CMSSW checks them (EventFilter/L1TRawToDigi/plugins/TriggerRulePrefireVetoFilter.cc)."""


def dead_time(crossings: int) -> Rule:
    """Rule of a simple dead time: after each accept so many crossings are vetoed."""
    return Rule(1, crossings + 1)


@dataclass(frozen=True)
class LiveTime:
    """What rules leave of a trigger.

    Attributes
    ----------
    rules : tuple of Rule
    orbits : int
        Length of the simulation.
    candidates, accepted : int
        Decisions before and after.
    vetoed : tuple of int
        Candidates that would break each rule; one may break several.
    live_fraction : Measured
        Of the crossings of two filled bunches, those at which an event would be accepted.
    before, after : Rate or Refused
        Rates; the Poisson error of that after is too large, as accepts keep a distance.
    """

    rules: tuple[Rule, ...]
    orbits: int
    candidates: int
    accepted: int
    vetoed: tuple[int, ...]
    live_fraction: Measured
    before: Rate | Refused
    after: Rate | Refused


def batches(colliding_bunches: int = 2544, batch: int = 48, gap: int = 8) -> BoolArray:
    """Filling pattern of batches one after the other, the rest of the orbit empty: a model, not the scheme of a fill.

    Parameters
    ----------
    colliding_bunches : int
    batch, gap : int
        Colliding bunches in a row, and empty places after them.

    Returns
    -------
    ndarray of bool, shape (3564,)
        Whether two filled bunches cross at each place.

    Raises
    ------
    ValueError
        If they do not fit.
    """
    if batch < 1 or gap < 0:
        raise ValueError(f"batch must be at least 1 and gap at least 0, not {batch} and {gap}")
    places = np.flatnonzero(np.arange(BUNCH_PLACES) % (batch + gap) < batch)
    if not 1 <= colliding_bunches <= len(places):
        raise ValueError(
            f"colliding_bunches must be from 1 to {len(places)} in batches of {batch} with gaps of {gap}, not "
            f"{colliding_bunches}; choose longer batches or shorter gaps"
        )
    filling = np.zeros(BUNCH_PLACES, np.bool_)
    filling[places[:colliding_bunches]] = True
    return filling


def draw(
    rate_hz: float,
    filling: npt.ArrayLike,
    orbits: int,
    seed: int,
    revolution_hz: float = REVOLUTION_HZ,
    *,
    forced: bool = False,
) -> BoolArray:
    """Decisions of a trigger of that rate before dead time, independent at each crossing of filled bunches.

    Parameters
    ----------
    rate_hz : float
        From zero-bias, such as `l1ad.trigger.rates.Rate.value_hz`.
    filling : array_like of bool, shape (3564,)
    orbits : int
        11,246 are one second, and 40 MB.
    seed : int
    revolution_hz : float
    forced : bool
        As in `l1ad.trigger.rates.crossing_rate_hz`.

    Returns
    -------
    ndarray of bool, shape (orbits * 3564,)

    Raises
    ------
    TypeError, ValueError
        If the pattern is not one, there are fewer than `BLOCKS` orbits, or the rate is not between 0 and that of the
        crossings.
    """
    pattern = _pattern(filling)
    crossing_rate_hz = Collider(int(pattern.sum()), revolution_hz, forced).crossing_rate_hz
    if not 0 <= rate_hz <= crossing_rate_hz:
        raise ValueError(f"rate_hz must be from 0 to {crossing_rate_hz:g}, that of the crossings, not {rate_hz}")
    _check_orbits(orbits)
    rng, crossings = np.random.default_rng(seed), orbits * int(pattern.sum())
    chosen = rng.choice(crossings, rng.binomial(crossings, rate_hz / crossing_rate_hz), replace=False, shuffle=False)
    orbit, bunch = np.divmod(chosen, int(pattern.sum()))
    decisions = np.zeros(orbits * BUNCH_PLACES, np.bool_)
    decisions[orbit * BUNCH_PLACES + np.flatnonzero(pattern)[bunch]] = True
    return decisions


def surviving(decisions: npt.ArrayLike, rules: Sequence[Rule] = CMS_RULES) -> BoolArray:
    """Apply rules: an event is accepted unless it would break one together with those accepted before it.

    Parameters
    ----------
    decisions : array_like of bool, shape (n,)
        Of consecutive crossings, filled or not.
    rules : sequence of Rule

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    TypeError, ValueError
        If the decisions are not bool or not of one axis, or there is no rule.
    """
    candidates = _decisions(decisions)
    accepted = np.zeros_like(candidates)
    accepted[_accepts(np.flatnonzero(candidates), _rules(rules))[0]] = True
    return accepted


def live_time(
    decisions: npt.ArrayLike,
    filling: npt.ArrayLike,
    rules: Sequence[Rule] = CMS_RULES,
    *,
    simulated: bool,
    revolution_hz: float = REVOLUTION_HZ,
    forced: bool = False,
) -> LiveTime:
    """Live fraction, and rates before and after the rules.

    Parameters
    ----------
    decisions : array_like of bool, shape (orbits * 3564,)
        Of consecutive crossings, from the first place of an orbit on.
    filling : array_like of bool, shape (3564,)
        Where two filled bunches cross.
    rules : sequence of Rule
    simulated : bool
        Whether the decisions are of simulated events, or drawn.
    revolution_hz : float
    forced : bool
        As in `l1ad.trigger.rates.crossing_rate_hz`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is stated, there are fewer than `BLOCKS` orbits, or a decision is True where no
        bunches cross.
    """
    if not isinstance(simulated, bool):
        raise TypeError(f"simulated must be True or False, not {simulated!r}; say what the decisions are of")
    candidates, pattern, checked = _decisions(decisions), _pattern(filling), _rules(rules)
    Collider(int(pattern.sum()), revolution_hz, forced)
    orbits, rest = divmod(len(candidates), BUNCH_PLACES)
    if rest:
        raise ValueError(f"decisions must be of whole orbits of {BUNCH_PLACES} crossings, not {rest} crossings over")
    _check_orbits(orbits)
    empty = candidates.reshape(orbits, BUNCH_PLACES)[:, ~pattern]
    if empty.any():
        raise ValueError(
            f"decisions must be False where no bunches cross, not True {int(empty.sum())} times; "
            "give the filling pattern of the fill, and let the first decision be of its first place"
        )
    times = np.flatnonzero(candidates)
    accepts, vetoed_to = _accepts(times, checked)
    before = np.concatenate([[0], np.cumsum(pattern)])

    def crossings(time: IntArray) -> IntArray:
        """Crossings of filled bunches up to and with a time."""
        orbit, place = np.divmod(time + 1, BUNCH_PLACES)
        return np.asarray(orbit * before[-1] + before[place])

    dead = crossings(np.minimum(vetoed_to, len(candidates) - 1)) - crossings(accepts)
    block = accepts // BUNCH_PLACES * BLOCKS // orbits
    sizes = np.diff(-(-np.arange(BLOCKS + 1) * orbits // BLOCKS)) * int(before[-1])
    by_block = 1 - np.bincount(block, dead, BLOCKS) / sizes
    live = 1 - int(dead.sum()) / (orbits * int(before[-1]))
    what, seconds = "simulated" if simulated else "zero-bias data", orbits / revolution_hz
    return LiveTime(
        rules=checked,
        orbits=orbits,
        candidates=len(times),
        accepted=len(accepts),
        vetoed=tuple(int(_broken(times, accepts, rule).sum()) for rule in checked),
        live_fraction=Measured(live, float(by_block.std(ddof=1)) / math.sqrt(BLOCKS)),
        before=_counted(len(times), seconds, f"{what}, before dead time"),
        after=_counted(len(accepts), seconds, f"{what}, after dead time and trigger rules"),
    )


def _accepts(times: IntArray, rules: tuple[Rule, ...]) -> tuple[IntArray, IntArray]:
    """Times of the candidates that rules let pass, and the last crossing vetoed after each."""
    accepts: list[int] = []
    vetoed_to: list[int] = []
    last = -1
    for time in times.tolist():
        if time > last:
            accepts.append(time)
            last = max(accepts[-r.accepts] + r.crossings - 1 if len(accepts) >= r.accepts else time for r in rules)
            vetoed_to.append(last)
    return np.array(accepts, np.int64), np.array(vetoed_to, np.int64)


def _broken(times: IntArray, accepts: IntArray, rule: Rule) -> BoolArray:
    """Whether an accept at each time would break a rule."""
    earliest = np.searchsorted(accepts, times) - rule.accepts
    known = earliest >= 0
    broken = np.zeros(len(times), np.bool_)
    broken[known] = times[known] - accepts[earliest[known]] < rule.crossings
    return broken


def _counted(events: int, seconds: float, stage: str) -> Rate | Refused:
    if events < MIN_EFFECTIVE:
        return Refused(float(events), events, "simulate more orbits")
    return Rate(events / seconds, math.sqrt(events) / seconds, float(events), events, stage)


def _decisions(decisions: npt.ArrayLike) -> BoolArray:
    array = np.asarray(decisions)
    if array.dtype != np.bool_:
        raise TypeError(f"decisions must be bool, not {array.dtype}; compare the scores first")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"decisions must have shape (n,), n > 0, not {array.shape}; give one per crossing")
    return array


def _pattern(filling: npt.ArrayLike) -> BoolArray:
    array = np.asarray(filling)
    if array.dtype != np.bool_:
        raise TypeError(f"filling must be bool, not {array.dtype}; say of each place whether two filled bunches cross")
    if array.shape != (BUNCH_PLACES,):
        raise ValueError(f"filling must have shape ({BUNCH_PLACES},), one per place of an orbit, not {array.shape}")
    if not array.any():
        raise ValueError("filling must hold at least one crossing of two filled bunches, not none")
    return array


def _rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    if not rules:
        raise ValueError("rules must be at least one, not none; without any, rates are those before dead time")
    return tuple(rules)


def _check_orbits(orbits: int) -> None:
    if orbits < BLOCKS:
        raise ValueError(f"orbits must be at least {BLOCKS}, not {orbits}; {REVOLUTION_HZ:,.0f} are a second")
