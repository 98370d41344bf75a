"""What an event file holds, as numbers: made by `l1ad.events.show.describe`, drawn by `l1ad.events.pictures`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.schema import Schema

__all__ = [
    "ClassSummary",
    "CollectionSummary",
    "ColumnSummary",
    "Description",
    "Duplicates",
    "Histogram",
    "Quantity",
    "SeedSummary",
    "Tail",
    "Weights",
]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Filled bins of equal width.

    Attributes
    ----------
    low : lower edge of the first bin
    width : of a bin
    counts : entries, (bins,) or (slots, bins)
    weights : sum of the entries' weights, the same shape
    squares : sum of their squares, the same shape
    """

    low: float
    width: float
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    squares: NDArray[np.float64]

    def pooled(self) -> Histogram:
        """All slots together."""
        parts = (a.reshape(-1, a.shape[-1]).sum(0) for a in (self.counts, self.weights, self.squares))
        return Histogram(self.low, self.width, *parts)

    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins, (bins + 1,)."""
        return self.low + self.width * np.arange(self.counts.shape[-1] + 1)

    def contents(self) -> NDArray[np.float64]:
        """Weights, or entries where all weights are 0."""
        return self.weights if self.weights.any() else self.counts.astype(np.float64)


@dataclass(frozen=True, eq=False)
class ColumnSummary:
    """One column of the objects that are present.

    Attributes
    ----------
    name : ``"jet.pt"``
    unit : of the values, ``"1"`` for none
    objects : number of those present, in all slots
    minimum, maximum : smallest and largest value; None where no object is present
    median : by weight, in units of the value; exact to half a bin
    saturated : objects with the saturated code; None if the column has none
    absent : share of the slots that are empty, by weight
    histogram : values of each slot, (slots, bins); a value lies in the middle of its bin if that holds one code
    """

    name: str
    unit: str
    objects: int
    minimum: float | None
    maximum: float | None
    median: float | None
    saturated: int | None
    absent: float
    histogram: Histogram


@dataclass(frozen=True, eq=False)
class CollectionSummary:
    """The objects of one kind.

    Attributes
    ----------
    name : ``"jet"``
    slots : that an event has
    present : share of events, by weight, in which each slot is filled, (slots,)
    multiplicity : objects per event, bins 0..slots
    columns : one each
    """

    name: str
    slots: int
    present: NDArray[np.float64]
    multiplicity: Histogram
    columns: tuple[ColumnSummary, ...]


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the events: their sum, range, effective number (Σw)²/Σw², and log10 of those above 0."""

    total: float
    minimum: float
    maximum: float
    n_effective: float
    zeros: int
    logarithms: Histogram


@dataclass(frozen=True, eq=False)
class Quantity:
    """A quantity of the event, of those events for which it is known; their mean is by weight."""

    name: str
    known: int
    minimum: float
    maximum: float
    mean: float


@dataclass(frozen=True)
class SeedSummary:
    """Events that a seed takes: how many, and their share by weight."""

    name: str
    events: int
    share: float


@dataclass(frozen=True)
class ClassSummary:
    """A class of collisions: how many there are, events with at least one, and events made with one."""

    name: str
    collisions: int
    events: int
    forced: int


@dataclass(frozen=True)
class Tail:
    """Events with Σ pT at or above a threshold in GeV, at a rate: how many, and their effective number."""

    rate_khz: float
    threshold: float
    events: int
    n_effective: float


@dataclass(frozen=True)
class Duplicates:
    """Events whose content an earlier one has; estimated from a part of all contents if not `exact`."""

    events: int
    exact: bool


@dataclass(frozen=True, eq=False)
class Description:
    """What `describe` finds.

    Attributes
    ----------
    path, size_bytes : of the file
    schema : of the events
    events : their number
    attrs : how they were made
    content_digest : of the file; None if it has none
    crossing_rate_khz : that turns shares into rates; None unless the file is a rate sample
    weights : Weights
    quantities : those that are known for at least one event
    collections : one each
    sum_pt : Σ pT of all objects of the collections named in `summed`
    summed : collections of several objects, or all where none has
    pileup : collisions per crossing as drawn, and mean; by name, those known
    tails : above thresholds of Σ pT, for a rate sample
    seeds, any_seed : in the order of the file; None if it has no seeds
    classes : in the order of the file
    duplicates : events of equal content
    """

    path: Path
    size_bytes: int
    schema: Schema
    events: int
    attrs: dict[str, Any]
    content_digest: str | None
    crossing_rate_khz: float | None
    weights: Weights
    quantities: tuple[Quantity, ...]
    collections: tuple[CollectionSummary, ...]
    sum_pt: Histogram
    summed: tuple[str, ...]
    pileup: dict[str, Histogram]
    tails: tuple[Tail, ...]
    seeds: tuple[SeedSummary, ...]
    any_seed: SeedSummary | None
    classes: tuple[ClassSummary, ...]
    duplicates: Duplicates

    @property
    def simulated(self) -> bool | None:
        """Whether the file says that it is simulated; None if it does not say."""
        said = self.attrs.get("simulated")
        return said if isinstance(said, bool) else None
