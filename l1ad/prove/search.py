"""Inputs that drive casts to their extremes: corners, random events, witnesses by construction, and ascent.

A search proves nothing by what it fails to find; what it finds is a real input, evaluated by the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.fixed import Raw, cast
from l1ad.network import Network
from l1ad.operations import reads
from l1ad.progress import task
from l1ad.prove.casts import RESULT, Site, rounded
from l1ad.prove.columns import Columns, extreme_events
from l1ad.prove.ranges import Range

CHUNK = 1 << 22
"""Most numbers per cast in one batch of events."""
RANDOM_EVENTS = 2000
DRAWN = 2
"""Random values of each column that a step of an ascent tries, besides the column's extremes."""


@dataclass(eq=False, slots=True)
class Found:
    """Extremes of the exact integers before a cast, by element, and the events that reach them.

    `low`, `high`: int64, shape (n_elements,), in the fractional bits of the exact integers; `low_event`,
    `high_event`: int64, shape (n_elements, n_columns); `seconds`: spent on ascents.
    """

    low: Raw
    high: Raw
    low_event: Raw
    high_event: Raw
    seconds: float = 0.0

    @classmethod
    def nothing(cls, n_elements: int, n_columns: int) -> Found:
        """Before any event."""
        ends = np.iinfo(np.int64)
        events = np.zeros((2, n_elements, n_columns), np.int64)
        return cls(np.full(n_elements, ends.max), np.full(n_elements, ends.min), *events)

    def add(self, exact: Raw, events: Raw) -> None:
        """Take the exact integers of some events into account, shape (n_events, n_elements)."""
        for end, event, best, better in (
            (self.low, self.low_event, exact.argmin(axis=0), np.less),
            (self.high, self.high_event, exact.argmax(axis=0), np.greater),
        ):
            value = exact[best, np.arange(len(best))]
            gains = better(value, end)
            end[gains], event[gains] = value[gains], events[best[gains]]


def search(
    network: Network, columns: Columns, reach: Mapping[Site, Range], rng: np.random.Generator, tries: int, sample: Raw
) -> tuple[dict[Site, Found], Found]:
    """Extremes found of every cast, and of the score after its cast, within the ranges of `columns`.

    Parameters
    ----------
    reach : mapping of Site to Range
        Bounds of the exact integers before each cast: ascent is for what they leave undecided, and for the score.
    tries : int
        Ascents per undecided end of an element.
    sample : int64 array, shape (n_events, n_columns)
        Events to look at, besides; may be empty.
    """
    ascent = _Ascent(network, columns, rng)
    found = {site: Found.nothing(len(reach[site].low), len(columns.low)) for site in reach}
    pool = [extreme_events(o, network, columns) for o in network.operations[1:] if columns.cover(o)]
    pool += [np.clip(corners(network), columns.low, columns.high), ascent.random(RANDOM_EVENTS), sample]
    score = Found.nothing(1, len(columns.low))
    _look(network, found, score, np.vstack(pool))
    with task("search", len(found)) as progress:
        for site, best in found.items():
            begun = perf_counter()
            wanted = _wanted(site, reach[site], best, network)
            for element, above in wanted:
                for number in range(tries):
                    if (element, above) not in _wanted(site, reach[site], best, network):
                        break
                    start = (best.high_event if above else best.low_event)[element]
                    mixed = rng.random(len(start)) < number / tries
                    ascent.climb(site, best, element, above, np.where(mixed, ascent.random(1)[0], start))
            if wanted:
                _look(network, found, score, np.vstack([best.low_event, best.high_event]))
            best.seconds = perf_counter() - begun
            progress.advance(note=site.operation.name)
    return found, score


def _wanted(site: Site, reach: Range, found: Found, network: Network) -> list[tuple[int, bool]]:
    """Elements, and whether their high end, to climb for: what the bounds and the finds leave open; the score."""
    lowest, highest = site.limits
    (low, high), (least, most) = (
        (rounded(low, reach.frac, site.type), rounded(high, reach.frac, site.type))
        for low, high in ((reach.low, reach.high), (found.low, found.high))
    )
    score = np.full(len(low), site.operation is network.score and site.cast == RESULT)
    ends = (((low < lowest) & (least >= lowest)) | score, ((high > highest) & (most <= highest)) | score)
    return [(int(element), above) for above in (False, True) for element in np.flatnonzero(ends[above])]


def _look(network: Network, found: Mapping[Site, Found], score: Found, events: Raw) -> None:
    widest = max(len(best.low) for best in found.values())
    for part in np.array_split(events, max(1, -(-len(events) * widest // CHUNK))):
        values = reference.trace(network, part)
        score.add(values[network.score.name], part)
        for site, best in found.items():
            best.add(site.before(network, values)[0], part)


@dataclass(eq=False, slots=True)
class _Ascent:
    """Coordinate ascent over the columns."""

    network: Network
    columns: Columns
    rng: np.random.Generator

    def random(self, n_events: int) -> Raw:
        """Uniform events, half of whose columns are at an end of their range."""
        low, high = self.columns.low, self.columns.high
        shape = (n_events, len(low))
        ends = np.where(self.rng.random(shape) < 0.5, low, high)
        inside = self.rng.integers(low, high, shape, endpoint=True)
        return np.where(self.rng.random(shape) < 0.5, ends, inside)

    def candidates(self) -> Raw:
        """Values to try in each column, shape (n_values, n_columns)."""
        low, high = self.columns.low, self.columns.high
        rows = [low, high, self.columns.background()]
        for values in self.columns.values.values():
            steps = np.stack([values.argmin(axis=0), values.argmax(axis=0), np.abs(values).argmin(axis=0)])
            rows.extend(np.minimum(low + steps, high))
        rows.extend(self.rng.integers(low, high, (DRAWN, len(low)), endpoint=True))
        return np.unique(np.array(rows), axis=0)

    def climb(self, site: Site, found: Found, element: int, above: bool, start: Raw) -> None:
        """Improve `start`, the columns that gain most at once, until nothing gains."""
        cone = _cone(self.network, site)
        sign = 1 if above else -1
        here, best = start, None
        while True:
            candidates = self.candidates()
            n_values, n_columns = candidates.shape
            moves = np.tile(here, (n_values, n_columns, 1))
            moves[:, np.arange(n_columns), np.arange(n_columns)] = candidates
            gains = sign * self._look(site, found, cone, moves.reshape(-1, n_columns))[:, element]
            gains = gains.reshape(n_values, n_columns)
            if best is None:
                best = sign * int(self._look(site, found, cone, here[None])[0, element])
            choice, gain = gains.argmax(axis=0), gains.max(axis=0) - best
            order = np.argsort(-gain, kind="stable")[: int((gain > 0).sum())]
            if not len(order):
                return
            together = np.tile(here, (len(order), 1))
            for count in range(len(order)):
                taken = order[: count + 1]
                together[count, taken] = candidates[choice[taken], taken]
            reached = sign * self._look(site, found, cone, together)[:, element]
            here, best = together[reached.argmax()], int(reached.max())

    def _look(self, site: Site, found: Found, cone: list[str], events: Raw) -> Raw:
        parts = []
        for part in np.array_split(events, max(1, -(-len(events) * len(found.low) // CHUNK))):
            values = {self.network.input.name: part}
            for name in cone:
                exact, frac = reference.exact(self.network[name], self.network, values)
                values[name] = cast(exact, frac, self.network[name].out)
            exact, _ = site.before(self.network, values)
            found.add(exact, part)
            parts.append(exact)
        return np.concatenate(parts)


def _cone(network: Network, site: Site) -> list[str]:
    """Operations that the operands of `site` depend on, in order, without the input."""
    needed = set(reads(site.operation))
    for operation in reversed(network.operations):
        if operation.name in needed:
            needed.update(reads(operation))
    return [o.name for o in network.operations[1:] if o.name in needed]
