"""What a trigger prefers: what it accepts against all zero-bias, and against what other triggers accept.

All is by weight, the probability per bunch crossing: a share is one of crossings or of the rate, never of the events
that a sample happens to hold.  Errors count events that share a collision once (`l1ad.trigger.samples.n_effective`).
Sums of weights are of whole units of `UNIT`, so that the order of events does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from l1ad.events.menu import Menu, decide
from l1ad.events.quantities import known_quantities
from l1ad.events.table import Events
from l1ad.events.units import to_values
from l1ad.trigger.efficiency import Efficiency
from l1ad.trigger.performance import Measured
from l1ad.trigger.preferences.correlation import distance_correlation, numbers, spearman, spearman_error
from l1ad.trigger.rates import MIN_EFFECTIVE, Rate, Refused, accept
from l1ad.trigger.samples import BoolArray, FloatArray, IntArray, integer_scores
from l1ad.trigger.shares import WeightedEvents, decided

MAX_BINS = 30
"""Bins of a pT spectrum."""


@dataclass(frozen=True)
class Spectrum:
    """Shares of events by a quantity of a collection: of all events, and of those accepted.

    Attributes
    ----------
    collection, quantity, unit : str
        ``"jet"``, and ``"multiplicity"`` or ``"leading pt"``, in which an event without the object is in no bin.
    low, width : float
        Lower edge of the first bin, and width of each.
    everything, everything_error : tuple of float
        Share of all events in each bin, and its standard error.
    accepted, accepted_error : tuple of float
        The same of the accepted events.
    """

    collection: str
    quantity: str
    unit: str
    low: float
    width: float
    everything: tuple[float, ...]
    everything_error: tuple[float, ...]
    accepted: tuple[float, ...]
    accepted_error: tuple[float, ...]


@dataclass(frozen=True)
class Overlap:
    """What a threshold and a seed both accept.

    Attributes
    ----------
    seed : str
    both : Rate or Refused
    of_accepted : Efficiency or Refused
        Share of the threshold's rate that the seed takes too.
    of_seed : Efficiency or Refused
        Share of the seed's rate that the threshold takes too.
    """

    seed: str
    both: Rate | Refused
    of_accepted: Efficiency | Refused
    of_seed: Efficiency | Refused


@dataclass(frozen=True)
class Correlation:
    """How a score goes with a quantity of the event, over all zero-bias.

    Attributes
    ----------
    quantity : str
    spearman : Measured
    distance, independent : float
        Distance correlation, and what an independent quantity would give; see `distance_correlation`.
    """

    quantity: str
    spearman: Measured
    distance: float
    independent: float


@dataclass(frozen=True)
class TriggerObject:
    """One object of an event; a saturated pT is a lower limit, and a sum has no direction, or φ only."""

    collection: str
    pt_gev: float
    eta: float | None
    phi: float | None
    saturated: bool


@dataclass(frozen=True)
class Anomaly:
    """An event of high score.

    Attributes
    ----------
    event : int
        Its number in the sample.
    score : int
        Raw.
    weight : float
        Probability per bunch crossing.
    seeds : tuple of str
        Those that take it.
    objects : tuple of TriggerObject
        Those present, in the order of the schema.
    """

    event: int
    score: int
    weight: float
    seeds: tuple[str, ...]
    objects: tuple[TriggerObject, ...]


def composition(events: Events, scores: npt.ArrayLike, threshold: int) -> tuple[Spectrum, ...] | Refused:
    """Multiplicity and leading pT of every collection, of the accepted events against all.

    Parameters
    ----------
    events : Events
        Whole sample: weights are probabilities per bunch crossing.
    scores : array_like of int, shape (n,)
        Raw, of these events.
    threshold : int
        Raw.

    Returns
    -------
    tuple of Spectrum, or Refused
        No multiplicity of a collection of one slot (sums), no pT of one that is empty in all events.
        Refused if too few effective events are accepted.

    Raises
    ------
    ValueError
        If scores and events are not of one number, or the weights do not sum to about 1.
    """
    sample = WeightedEvents.of(_scores_of(events, scores), events.meta["weight"], events.meta["collision"])
    accepted = accept(sample.codes, threshold)
    if (refused := sample.refusal(accepted)) is not None:
        return refused
    found = []
    for collection in events.schema.collections:
        pt = events.columns[f"{collection.name}.pt"].astype(np.int64)
        column = collection.column("pt")
        if column is None:  # no schema is without
            continue
        if collection.slots > 1:
            present = np.count_nonzero(pt, axis=1)
            found.append(_spectrum(sample, accepted, present, collection.name, "multiplicity", "1", -0.5, 1.0))
        leading = pt.max(axis=1)
        if not leading.any():
            continue
        codes = max(1, math.ceil(leading.max() / MAX_BINS))
        where = np.where(leading > 0, (leading - 1) // codes, -1)
        first = column.lsb / 2  # half a code below the first, so that a code is never on an edge
        found.append(
            _spectrum(sample, accepted, where, collection.name, "leading pt", column.unit, first, codes * column.lsb)
        )
    return tuple(found)


def overlaps(
    scores: npt.ArrayLike,
    threshold: int,
    weights: npt.ArrayLike,
    decisions: Mapping[str, npt.ArrayLike],
    crossing_rate_hz: float,
    *,
    simulated: bool,
    groups: npt.ArrayLike | None = None,
) -> tuple[Overlap, ...]:
    """Overlap of a threshold with each seed, and with all of them together (``"any seed"``), which is last.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    threshold : int
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    decisions : mapping of seed to array_like of bool, shape (n,)
    crossing_rate_hz : float
    simulated : bool
    groups : array_like of int, shape (n,), optional
        As in `find_threshold`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is stated, or there is no seed.
    """
    sample = WeightedEvents.of(scores, weights, groups)
    accepted = accept(sample.codes, threshold)
    if not decisions:
        raise ValueError("decisions must be of at least one seed, not none; run a menu on the events")
    fired = {name: decided(taken, len(accepted), name) for name, taken in decisions.items()}
    fired["any seed"] = np.logical_or.reduce(list(fired.values()))
    return tuple(
        Overlap(
            name,
            sample.rate(accepted & taken, crossing_rate_hz, simulated=simulated),
            sample.share(accepted & taken, accepted),
            sample.share(accepted & taken, taken),
        )
        for name, taken in fired.items()
    )


def quantities(events: Events) -> dict[str, FloatArray]:
    """What a score is held against: those that events have and that differ; what saturates counts as the largest."""
    found: dict[str, FloatArray] = {}
    for name, values in known_quantities(events).items():
        finite = values[np.isfinite(values)]
        if len(finite) and np.ptp(finite) > 0:
            found[name] = np.minimum(values, finite.max())
    return found


def correlations(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    against: Mapping[str, npt.ArrayLike],
    groups: npt.ArrayLike | None = None,
) -> tuple[Correlation, ...]:
    """Correlations of a score with quantities of the event, over all zero-bias: each event counts by its weight.

    Parameters
    ----------
    scores : array_like of int, shape (n,)
        Raw.
    weights : array_like of float, shape (n,)
        Probability per bunch crossing; they sum to about 1.
    against : mapping of name to array_like, shape (n,)
        Such as `quantities` gives.
    groups : array_like of int, shape (n,), optional
        As in `find_threshold`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is stated, a quantity is not finite or takes one value only, or the sample has too
        few effective events.
    """
    sample = WeightedEvents.of(scores, weights, groups)
    effective = sample.support(np.ones(len(sample.codes), np.bool_)).n_effective
    if effective < MIN_EFFECTIVE:
        raise ValueError(f"sample must have n_eff of at least {MIN_EFFECTIVE:g}, not {effective:.3g}; add events")
    found = []
    for name, values in against.items():
        try:
            ranked = spearman(sample.codes, numbers(values, name), sample.weights)
            distance = distance_correlation(sample.codes, values, sample.weights, groups)
        except ValueError as error:
            raise ValueError(f"score (x) against {name} (y): {error}") from error
        found.append(Correlation(name, Measured(ranked, spearman_error(ranked, effective)), *distance))
    return tuple(found)


def most_anomalous(events: Events, scores: npt.ArrayLike, k: int, menu: Menu) -> tuple[Anomaly, ...]:
    """The events of the `k` highest scores, the highest first; of equal ones, the earlier first.

    Parameters
    ----------
    events : Events
        With all columns of their schema.
    scores : array_like of int, shape (n,)
        Raw, of these events.
    k : int
        All events, if there are fewer.
    menu : Menu
        Conventional seeds.

    Raises
    ------
    TypeError, ValueError
        If `k` is below 1, or scores and events are not of one number.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    raw = _scores_of(events, scores)
    chosen = np.lexsort((np.arange(len(raw)), -raw))[:k]
    picked = events[chosen]
    decisions = decide(picked, menu)
    return tuple(
        Anomaly(
            event=int(event),
            score=int(raw[event]),
            weight=float(picked.meta["weight"][i]),
            seeds=tuple(seed.name for seed, fired in zip(menu.seeds, decisions[i], strict=True) if fired),
            objects=tuple(_objects(picked, i)),
        )
        for i, event in enumerate(chosen)
    )


def _objects(events: Events, i: int) -> list[TriggerObject]:
    """Objects of one event."""
    found = []
    for collection in events.schema.collections:
        codes = {column.name: events.columns[f"{collection.name}.{column.name}"][i] for column in collection.columns}
        values = {column.name: to_values(codes[column.name], column) for column in collection.columns}
        saturated = next(column.saturated for column in collection.columns if column.name == "pt")
        for slot in np.flatnonzero(codes["pt"]):
            eta, phi = (float(values[n][slot]) if n in values else None for n in ("eta", "phi"))
            full = saturated is not None and bool(codes["pt"][slot] == saturated)
            found.append(TriggerObject(collection.name, float(values["pt"][slot]), eta, phi, full))
    return found


def _spectrum(
    sample: WeightedEvents,
    accepted: BoolArray,
    bins: IntArray,
    collection: str,
    quantity: str,
    unit: str,
    low: float,
    width: float,
) -> Spectrum:
    """Shares in bins, numbered from 0; an event of a negative number is in none."""
    everything = _shares(sample, np.ones_like(accepted), bins)
    chosen = _shares(sample, accepted, bins)
    return Spectrum(collection, quantity, unit, low, width, *everything, *chosen)


def _shares(sample: WeightedEvents, whole: BoolArray, bins: IntArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Share of the events `whole` in each bin, and its linearised standard error."""
    fraction = sample.sum(whole) / sample.sum(np.ones_like(whole))
    shares, errors = [], []
    for number in range(int(bins.max()) + 1):
        inside = whole & (bins == number)
        shares.append(sample.sum(inside) / sample.sum(whole))
        errors.append(sample.error((inside - shares[-1] * whole) / fraction))
    return tuple(shares), tuple(errors)


def _scores_of(events: Events, scores: npt.ArrayLike) -> IntArray:
    raw = integer_scores(scores)
    if len(raw) != len(events):
        raise ValueError(f"scores must be of the same events, {len(events)}, not {len(raw)}; score them all")
    return raw
