"""What is in an event file: its objects, weights, seeds and classes, from one pass of constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.description import (
    ClassSummary,
    CollectionSummary,
    ColumnSummary,
    Description,
    Duplicates,
    Histogram,
    Quantity,
    SeedSummary,
    Tail,
    Weights,
)
from l1ad.events.schema import Collection, Column, Schema
from l1ad.events.store import EventFile
from l1ad.events.table import META, NAMED, Events, event_hash

__all__ = ["Description", "describe", "render"]

TARGETS_KHZ = (1.0, 10.0)
"""Rates at whose thresholds of Σ pT the effective number of events is given."""
RATE_TOLERANCE = 0.1
"""Largest distance from 1 of the weights of a whole rate sample."""
_BINS = 1 << 14  # of a column; wider codes are put together, an even number in each bin
_SUM_BINS = 1 << 16
_DISTINCT = 1 << 20  # hashes remembered at most
_LOG_WEIGHTS = np.linspace(-18, 6, 241)  # edges of bins of log10(weight)
_SINGLES = tuple(name for name in META if name not in NAMED and name not in ("weight", "collision", "forced"))


class _Filling:
    """A histogram being filled with bin numbers."""

    def __init__(self, low: float, width: float, bins: int, slots: int = 1) -> None:
        self.low, self.width, self.bins = low, width, bins
        self.counts = np.zeros((slots, bins), np.int64)
        self.weights = np.zeros((slots, bins))
        self.squares = np.zeros((slots, bins))

    def add(self, index: NDArray[Any], weight: NDArray[np.float64], slot: int = 0) -> None:
        self.counts[slot] += np.bincount(index, minlength=self.bins)
        self.weights[slot] += np.bincount(index, weight, self.bins)
        self.squares[slot] += np.bincount(index, weight * weight, self.bins)

    def result(self) -> Histogram:
        return Histogram(self.low, self.width, self.counts, self.weights, self.squares)


class _ColumnFilling:
    def __init__(self, collection: Collection, column: Column) -> None:
        self.name, self.column = f"{collection.name}.{column.name}", column
        self.step = -(-(column.high - column.low + 1) // _BINS)
        bins = (column.high - column.low) // self.step + 1
        edge = (column.low - 0.5) * column.lsb
        self.histogram = _Filling(edge, self.step * column.lsb, bins, collection.slots)
        self.low, self.high, self.saturated = np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0

    def add(self, codes: NDArray[Any], present: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        for slot in range(codes.shape[1]):
            chosen = present[:, slot]
            found = codes[chosen, slot]
            if not len(found):
                continue
            self.histogram.add((found - self.column.low) // self.step, weight[chosen], slot)
            self.low, self.high = min(self.low, int(found.min())), max(self.high, int(found.max()))
            if self.column.saturated is not None:
                self.saturated += int((found == self.column.saturated).sum())

    def result(self, total: float, events: int) -> ColumnSummary:
        histogram = self.histogram.result()
        pooled, lsb = histogram.pooled(), self.column.lsb
        objects = int(pooled.counts.sum())
        share = pooled.weights.sum() / total if total else objects / max(events, 1)
        return ColumnSummary(
            name=self.name,
            unit=self.column.unit,
            objects=objects,
            minimum=self.low * lsb if objects else None,
            maximum=self.high * lsb if objects else None,
            median=_median(pooled) if objects else None,
            saturated=None if self.column.saturated is None else self.saturated,
            absent=max(0.0, float(1 - share / len(histogram.counts))),
            histogram=histogram,
        )


def _median(histogram: Histogram) -> float:
    """Middle of the bin up to whose end half of the weight lies."""
    summed = np.cumsum(histogram.contents())
    return float(histogram.low + histogram.width * (np.searchsorted(summed, summed[-1] / 2) + 0.5))


class _CollectionFilling:
    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.columns = [_ColumnFilling(collection, column) for column in collection.columns]
        self.multiplicity = _Filling(-0.5, 1, collection.slots + 1)

    def add(self, events: Events, weight: NDArray[np.float64]) -> None:
        present = events.columns[f"{self.collection.name}.pt"] > 0
        self.multiplicity.add(present.sum(axis=1), weight)
        for column in self.columns:
            column.add(events.columns[column.name], present, weight)

    def result(self, total: float, events: int) -> CollectionSummary:
        pt = next(column for column in self.columns if column.column.name == "pt").histogram
        filled = pt.weights.sum(axis=1) / total if total else pt.counts.sum(axis=1) / max(events, 1)
        columns = tuple(column.result(total, events) for column in self.columns)
        return CollectionSummary(
            self.collection.name, self.collection.slots, filled, self.multiplicity.result().pooled(), columns
        )


class _QuantityFilling:
    def __init__(self, name: str) -> None:
        self.name, self.known, self.sum, self.weight = name, 0, 0.0, 0.0
        self.low, self.high, self.unweighted = np.inf, -np.inf, 0.0

    def add(self, values: NDArray[Any], weight: NDArray[np.float64]) -> None:
        chosen = values != META[self.name][1]
        found, w = values[chosen].astype(np.float64), weight[chosen]
        if len(found):
            self.known, self.unweighted = self.known + len(found), self.unweighted + float(found.sum())
            self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))
            self.sum, self.weight = self.sum + float(w @ found), self.weight + float(w.sum())

    def result(self) -> Quantity:
        mean = self.sum / self.weight if self.weight else self.unweighted / max(self.known, 1)
        return Quantity(self.name, self.known, self.low, self.high, mean)


class _DuplicateCount:
    """Hashes seen, and how often; where they are too many, only those below 2^64 / 2^halvings."""

    def __init__(self) -> None:
        self.halvings = 0
        self.hashes = np.zeros(0, np.uint64)
        self.times = np.zeros(0, np.int64)
        self.waiting: list[NDArray[np.uint64]] = []

    def add(self, hashes: NDArray[np.uint64]) -> None:
        self.waiting.append(hashes[self._kept(hashes)])
        if sum(len(part) for part in self.waiting) > _DISTINCT // 2:
            self._merge()

    def _kept(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return hashes <= np.uint64((1 << (64 - self.halvings)) - 1)

    def _merge(self) -> None:
        new = np.concatenate(self.waiting) if self.waiting else self.hashes[:0]
        self.waiting = []
        self.hashes, where = np.unique(np.concatenate([self.hashes, new]), return_inverse=True)
        self.times = np.bincount(where, np.concatenate([self.times, np.ones(len(new), np.int64)])).astype(np.int64)
        while len(self.hashes) > _DISTINCT:
            self.halvings += 1
            kept = self._kept(self.hashes)
            self.hashes, self.times = self.hashes[kept], self.times[kept]

    def result(self) -> Duplicates:
        self._merge()
        return Duplicates(int((self.times - 1).sum()) << self.halvings, self.halvings == 0)


class _SumFilling:
    """Σ pT of the objects of an event."""

    def __init__(self, schema: Schema) -> None:
        several = [c for c in schema.collections if c.slots > 1]
        self.parts = [(c.name, column, c.slots) for c in several or schema.collections if (column := c.column("pt"))]
        largest = sum(slots * column.high * column.lsb for _, column, slots in self.parts)
        finest = min(column.lsb for _, column, _ in self.parts)
        width = finest * -(-(largest / finest + 1) // _SUM_BINS)
        self.histogram = _Filling(-finest / 2, width, _SUM_BINS)

    def add(self, events: Events, weight: NDArray[np.float64]) -> None:
        total = sum(events.columns[f"{name}.pt"].sum(axis=1) * column.lsb for name, column, _ in self.parts)
        index = ((total - self.histogram.low) / self.histogram.width).astype(np.int64)
        self.histogram.add(index, weight)


def describe(path: str | Path, crossing_rate_khz: float | None = None, schema: Schema | None = None) -> Description:
    """What is in an event file; reads it once.

    Shares, means and medians are by weight: those of crossings, where weights are probabilities per crossing.

    Parameters
    ----------
    path, schema : as for `EventFile`
    crossing_rate_khz : of the accelerator, for the rates of a rate sample: weights sum to 1 and are not all equal, or
        the attribute ``weights`` says that they are per crossing

    Raises
    ------
    OSError, ValueError
        As `EventFile`.
    """
    with EventFile(path, schema) as file:
        collections = [_CollectionFilling(collection) for collection in file.schema.collections]
        quantities = [_QuantityFilling(name) for name in _SINGLES]
        pileup = {name: _Filling(-0.5, 1, 256) for name in ("n_collisions", "pileup")}
        sums, copies, weights = _SumFilling(file.schema), _DuplicateCount(), _Filling(-18, 0.1, 240)
        names = {name: list(file.attrs.get(attribute, ())) for name, attribute in NAMED.items()}
        seeds = np.zeros((2, len(names["seeds"]) + 1))
        classes = np.zeros((3, len(names["class_counts"])), np.int64)
        total = squares = high = 0.0
        low, zeros = np.inf, 0
        for events in file.blocks():
            weight = events.meta["weight"]
            total, squares = total + float(weight.sum()), squares + float(weight @ weight)
            low, high = min(low, float(weight.min())), max(high, float(weight.max()))
            positive = weight[weight > 0]
            zeros += len(weight) - len(positive)
            inside = np.clip(np.log10(positive), _LOG_WEIGHTS[0], _LOG_WEIGHTS[-1] - 1e-9)
            weights.add(((inside - weights.low) / weights.width).astype(np.int64), positive)
            for collection in collections:
                collection.add(events, weight)
            for quantity in quantities:
                quantity.add(events.meta[quantity.name], weight)
            for name, filling in pileup.items():
                known = events.meta[name] != META[name][1]
                filling.add(np.clip(np.rint(events.meta[name][known]), 0, 255).astype(np.int64), weight[known])
            sums.add(events, weight)
            copies.add(event_hash(events))
            fired = events.meta["seeds"] > 0
            fired = np.column_stack([fired, fired.any(axis=1)])
            seeds += fired.sum(axis=0), weight @ fired
            counts, forced = events.meta["class_counts"], events.meta["forced"]
            made = np.bincount(forced[forced >= 0], minlength=classes.shape[1])[: classes.shape[1]]
            classes += counts.sum(axis=0, dtype=np.int64), (counts > 0).sum(axis=0), made
        n = len(file)
        said = "crossing" in str(file.attrs.get("weights", ""))
        is_rate = abs(total - 1) <= RATE_TOLERANCE and (said or low < high)
        rate_khz = crossing_rate_khz if is_rate else None
        share = seeds[1] / total if total else seeds[0] / max(n, 1)
        fires = [
            SeedSummary(*row)
            for row in zip([*names["seeds"], "any"], map(int, seeds[0]), map(float, share), strict=True)
        ]
        sum_pt = sums.histogram.result().pooled()
        return Description(
            path=file.path,
            size_bytes=file.path.stat().st_size,
            schema=file.schema,
            events=n,
            attrs=file.attrs,
            content_digest=_digest(file),
            crossing_rate_khz=rate_khz,
            weights=Weights(
                total, low if n else 0.0, high, total**2 / squares if squares else 0.0, zeros, weights.result().pooled()
            ),
            quantities=tuple(q.result() for q in quantities if q.known),
            collections=tuple(collection.result(total, n) for collection in collections),
            sum_pt=sum_pt,
            summed=tuple(name for name, _, _ in sums.parts),
            pileup={name: f.result().pooled() for name, f in pileup.items() if f.counts.any()},
            tails=() if rate_khz is None else tuple(_tail(sum_pt, khz, rate_khz) for khz in TARGETS_KHZ),
            seeds=tuple(fires[:-1]),
            any_seed=fires[-1] if names["seeds"] else None,
            classes=tuple(
                ClassSummary(name, *map(int, row)) for name, row in zip(names["class_counts"], classes.T, strict=True)
            ),
            duplicates=copies.result(),
        )


def _digest(file: EventFile) -> str | None:
    try:
        return file.content_digest
    except ValueError:  # it was written before there were digests
        return None


def _tail(sum_pt: Histogram, target_khz: float, crossing_rate_khz: float) -> Tail:
    """Above the lowest threshold with a rate of at most the target."""
    above = np.cumsum(sum_pt.weights[::-1])[::-1] * crossing_rate_khz
    first = int(np.argmax(above <= target_khz)) if above[-1] <= target_khz else len(above)
    taken, squares = sum_pt.weights[first:].sum(), sum_pt.squares[first:].sum()
    return Tail(
        rate_khz=target_khz,
        threshold=float(sum_pt.low + sum_pt.width * (first + 0.5)),
        events=int(sum_pt.counts[first:].sum()),
        n_effective=float(taken**2 / squares) if squares else 0.0,
    )


def render(description: Description, top: int = 12) -> str:
    """A description as plain text; of the seeds, the `top` ones that fire most."""
    d, w = description, description.weights
    origin = {True: "simulated", False: "data", None: "not said whether simulated"}[d.simulated]
    digest = f", content {d.content_digest[:12]}" if d.content_digest else ""
    lines = [f"{d.path}: {d.events} events, schema {d.schema.name}, {origin}, {d.size_bytes / 1e6:.3g} MB{digest}"]
    shown = {"simulated", *(NAMED.values() if d.events else ())}
    lines += [f"  {key}: {_brief(value)}" for key, value in d.attrs.items() if key not in shown]
    if not d.events:
        return "\n".join(lines)
    equal = "all equal" if w.minimum == w.maximum else f"{w.minimum:.3g} to {w.maximum:.3g}"
    zeros = f", {w.zeros} of them 0" if w.zeros else ""
    lines += ["", f"weights: sum {w.total:.6g}, {equal}{zeros}; n_eff {w.n_effective:.0f} of {d.events}"]
    for tail in d.tails:
        lines.append(
            f"  Σ pT >= {tail.threshold:g} GeV ({' + '.join(d.summed)}) at {tail.rate_khz:g} kHz: "
            f"{tail.events} events, n_eff {tail.n_effective:.0f}"
        )
    copies = d.duplicates
    lines.append(f"events with the content of an earlier one: {'' if copies.exact else 'about '}{copies.events}")
    lines += _section("quantity", "known min max mean", [_quantity_row(q, d.events) for q in d.quantities])
    lines += _section(
        "objects",
        "slots per_event share_of_events_with_an_object_in_slot_0,_1,_...",
        [[c.name, c.slots, f"{c.present.sum():.3g}", _shares(c.present)] for c in d.collections],
    )
    columns = [column for c in d.collections for column in c.columns]
    lines += _section("column", "unit min median max saturated absent", [_column_row(column) for column in columns])
    lines += _seed_lines(d, top)
    lines += _section(
        "class",
        "collisions events_with_one made_with_one",
        [[c.name, c.collisions, c.events, c.forced] for c in d.classes],
    )
    return "\n".join(lines)


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key} {_brief(item)}" for key, item in value.items())
    elif isinstance(value, list):
        text = ", ".join(map(_brief, value))
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 90 else text[:87] + "..."


def _quantity_row(quantity: Quantity, events: int) -> Sequence[object]:
    known = "all" if quantity.known == events else quantity.known
    return [quantity.name, known, f"{quantity.minimum:g}", f"{quantity.maximum:g}", f"{quantity.mean:.6g}"]


def _column_row(column: ColumnSummary) -> Sequence[object]:
    values = ["-" if v is None else f"{v:.4g}" for v in (column.minimum, column.median, column.maximum)]
    saturated = "-" if column.saturated is None else column.saturated
    return [column.name, "" if column.unit == "1" else column.unit, *values, saturated, f"{column.absent:.4f}"]


def _shares(present: NDArray[np.float64]) -> str:
    if len(present) > 16:
        return f"{present.min():.3g} to {present.max():.3g}"
    return " ".join(f"{share:.3f}" if share >= 5e-4 or not share else f"{share:.0e}" for share in present)


def _seed_lines(d: Description, top: int) -> list[str]:
    if d.any_seed is None:
        return []
    ranked = sorted(d.seeds, key=lambda seed: -seed.share)
    shown = [*ranked[:top], d.any_seed]
    head = "events share" if d.crossing_rate_khz is None else "events share kHz"
    rows = [
        [
            s.name,
            s.events,
            f"{s.share:.3g}",
            *([] if (khz := d.crossing_rate_khz) is None else [f"{s.share * khz:.4g}"]),
        ]
        for s in shown
    ]
    more = [f"and {len(ranked) - top} more"] if len(ranked) > top else []
    return _section("seed", head, rows) + more


def _section(first: str, others: str, rows: Iterable[Sequence[object]]) -> list[str]:
    """A table after an empty line, its first and last columns of text left-aligned; nothing without rows."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return []
    cells.insert(0, [first, *(word.replace("_", " ") for word in others.split())])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    wide = len(widths) - 1 if widths[-1] > 20 else -1
    return [
        "",
        *(
            "  ".join(
                cell.ljust(width) if i in (0, wide) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ),
    ]
