"""Pictures of a `Description`: one page of plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.description import CollectionSummary, ColumnSummary, Description, Histogram
from l1ad.files import replacing

__all__ = ["draw"]

SUFFIXES = (".png", ".pdf", ".svg")
_LEADING = 4  # slots of a collection that are drawn one by one
_RANKED = 16  # in a collection of more slots, a slot is a place, not a rank
_FINE = 64  # a column of fewer codes is a flag, and no spectrum
_SEEDS = 12
_ACROSS = 3  # panels in a row
_LABELS = {"pt": "pT", "eta": "η", "phi": "φ", "tau1": "τ1", "tau2": "τ2", "tau3": "τ3"}
_STYLE = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 10,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "legend.fontsize": 9,
    "lines.linewidth": 1.3,
    "xtick.major.size": 6,
    "ytick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.minor.size": 3,
}

Panel = Callable[[Any], None]


def draw(description: Description, path: str | Path) -> None:
    """Draw one page as the suffix of `path` says: PNG, PDF or SVG.

    pT of the leading objects, other fine columns, occupancy in η and φ, objects per event, Σ pT, seeds, collisions
    and, where they differ, weights.  All by weight, except the weights themselves, of which events are counted.

    Raises
    ------
    ValueError
        If there are no events, or the suffix is another.
    OSError
        If the folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"picture must end in {', '.join(SUFFIXES)}, not {path.name!r}; choose another name")
    if not description.events:
        raise ValueError(f"{description.path}: events to be drawn must be at least one, not 0")
    import matplotlib as mpl
    import mplhep
    from cycler import cycler
    from matplotlib.figure import Figure

    panels = list(_panels(description))
    style: dict[Any, Any] = {**mplhep.style.ROOT, **_STYLE}
    style["axes.prop_cycle"] = cycler(color=mpl.color_sequences["tab10"])
    rows = -(-len(panels) // _ACROSS)
    with mpl.rc_context(style), replacing(path) as aside:
        figure = Figure(figsize=(5 * _ACROSS, 3.7 * rows + 0.5), layout="constrained")
        for number, panel in enumerate(panels):
            panel(figure.add_subplot(rows, _ACROSS, number + 1))
        figure.suptitle(_title(description), fontsize=13)
        figure.savefig(aside, format=path.suffix[1:].lower(), dpi=110)


def _title(d: Description) -> str:
    origin = {True: ", simulated", False: ", data", None: ""}[d.simulated]
    return f"{d.path.name}: {d.events:,} events, {d.schema.name}{origin}"


def _panels(d: Description) -> Iterator[Panel]:
    for collection in d.collections:
        if 1 < collection.slots <= _RANKED:
            yield partial(_leading, d, collection)
    singles = [c.columns for c in d.collections if c.slots == 1]
    if sums := [column for columns in singles for column in columns if column.name.endswith(".pt") and column.objects]:
        yield partial(_spectra, d, sums, [column.name.split(".")[0] for column in sums], "pT")
    for collection in d.collections:
        if collection.slots > _RANKED:
            pt = _column(collection, "pt")
            yield partial(_spectra, d, [pt], [f"all {collection.slots} {collection.name} slots"], "pT")
            yield partial(_places, collection, pt)
    for collection in d.collections:
        for column in collection.columns:
            kind = column.name.split(".")[1]
            if kind not in ("pt", "eta", "phi") and column.histogram.counts.shape[1] > _FINE and column.objects:
                yield partial(_spectra, d, [column], [f"all {collection.name}"], _LABELS.get(kind, kind))
    for kind in ("eta", "phi"):
        columns = [c for collection in d.collections for c in collection.columns if c.name.endswith(f".{kind}")]
        if columns := [column for column in columns if column.objects]:
            yield partial(_occupancy, d, columns, kind)
    several = [collection for collection in d.collections if collection.slots > 1]
    if any(np.count_nonzero(collection.multiplicity.counts) > 1 for collection in several):
        yield partial(_multiplicity, d, several)
    yield partial(_sum_pt, d)
    if any(seed.events for seed in d.seeds):
        yield partial(_seeds, d)
    if d.pileup:
        yield partial(_pileup, d)
    if np.count_nonzero(d.weights.logarithms.counts) > 1:
        yield partial(_weights, d)


def _column(collection: CollectionSummary, kind: str) -> ColumnSummary:
    return next(column for column in collection.columns if column.name == f"{collection.name}.{kind}")


def _colour(d: Description, name: str) -> str:
    """One for each collection, the same in all panels."""
    return f"C{[collection.name for collection in d.collections].index(name.split('.')[0])}"


def _per_event(d: Description) -> str:
    return "share of crossings" if d.crossing_rate_khz is not None else "share of events"


def _norm(d: Description) -> float:
    """What contents of one entry per event sum to."""
    return d.weights.total or d.events


def _rebinned(
    contents: NDArray[np.float64], edges: NDArray[np.float64], bins: int, first: int, stop: int, *, even: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Contents of `first`..`stop`, put together to at most `bins`, and their edges.

    `even`: an even number to a bin, as objects may sit at every second code, the middles of towers.
    """
    together = max(1, math.ceil((stop - first) / bins))
    together += even and together > 1 and together % 2
    count = math.ceil((stop - first) / together)
    padded = np.zeros(count * together)
    padded[: stop - first] = contents[first:stop]
    width = edges[1] - edges[0]
    return padded.reshape(count, together).sum(axis=1), edges[first] + width * together * np.arange(count + 1)


def _filled(histogram: Histogram) -> tuple[int, int]:
    """First bin that has an entry, and one past the last."""
    where = np.flatnonzero(histogram.pooled().counts)
    return int(where[0]), int(where[-1]) + 1


def _steps(axes: Any, contents: NDArray[np.float64], edges: NDArray[np.float64], label: str, **style: Any) -> None:
    axes.stairs(contents, edges, label=label, baseline=None, **style)


def _width(edges: NDArray[np.float64], unit: str) -> str:
    return f" / {edges[1] - edges[0]:.3g}{'' if unit == '1' else ' ' + unit}"


def _with_unit(label: str, unit: str) -> str:
    return label if unit == "1" else f"{label} [{unit}]"


def _log(axes: Any) -> None:
    """Logarithmic, with room for the legend."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.1)


def _leading(d: Description, collection: CollectionSummary, axes: Any) -> None:
    """Spectrum of each of the leading slots."""
    pt = _column(collection, "pt")
    if not pt.objects:
        axes.set(xlabel=f"{collection.name} pT", xticks=[], yticks=[])
        axes.text(0.5, 0.5, f"no {collection.name} in any event", ha="center", transform=axes.transAxes)
        return
    _, stop = _filled(pt.histogram)
    contents, edges = pt.histogram.contents(), pt.histogram.edges()
    for slot in range(min(_LEADING, collection.slots)):
        if pt.histogram.counts[slot].any():
            values, coarse = _rebinned(contents[slot], edges, 60, 0, stop)
            values[values == 0] = np.nan
            _steps(axes, values / _norm(d), coarse, f"{collection.name} {slot}", color=f"C{slot}")
    note = f"{pt.saturated} saturated" if pt.saturated else None
    axes.set(xlabel=_with_unit(f"{collection.name} pT", pt.unit), ylabel=_per_event(d) + _width(coarse, pt.unit))
    axes.set_xlim(0, coarse[-1])
    _log(axes)
    axes.legend(title=note, loc="upper right", title_fontsize=9)


def _spectra(d: Description, columns: list[ColumnSummary], labels: list[str], quantity: str, axes: Any) -> None:
    """Spectrum of each column, its slots together."""
    unit = columns[0].unit
    top = max(column.histogram.edges()[_filled(column.histogram)[1]] for column in columns)
    per = " per event" if len(columns[0].histogram.counts) > 1 else ""
    for column, label in zip(columns, labels, strict=True):
        pooled = column.histogram.pooled()
        edges = pooled.edges()
        stop = min(len(edges) - 1, int(np.searchsorted(edges, top)))
        values, coarse = _rebinned(pooled.contents(), edges, 60, 0, stop)
        values[values == 0] = np.nan
        _steps(axes, values / _norm(d), coarse, label, color=_colour(d, column.name))
    what = f"objects{per}" if per else _per_event(d)
    axes.set(xlabel=_with_unit(quantity, unit), ylabel=what + _width(coarse, unit), xlim=(coarse[0], coarse[-1]))
    _log(axes)
    axes.legend(loc="upper right")


def _places(collection: CollectionSummary, pt: ColumnSummary, axes: Any) -> None:
    """Mean pT of each slot, empty ones as 0."""
    edges = pt.histogram.edges()
    contents = pt.histogram.contents()
    middles = (edges[1:] + edges[:-1]) / 2
    filled = contents.sum(axis=1)
    mean = np.divide(contents @ middles, filled, out=np.zeros(len(filled)), where=filled > 0) * collection.present
    axes.stairs(mean, np.arange(len(mean) + 1) - 0.5, color="C0")
    axes.set(xlabel=f"{collection.name} slot", ylabel=_with_unit("mean pT, empty slots as 0", pt.unit))
    axes.set(xlim=(-0.5, len(mean) - 0.5), ylim=(0, None))


def _occupancy(d: Description, columns: list[ColumnSummary], kind: str, axes: Any) -> None:
    """Where objects are: density in η, and in φ relative to its mean."""
    for column in columns:
        pooled = column.histogram.pooled()
        first, stop = _filled(pooled) if kind == "eta" else (0, len(pooled.counts))
        values, edges = _rebinned(pooled.contents(), pooled.edges(), 36, first, stop, even=True)
        density = values / np.diff(edges) / values.sum()
        if kind == "phi":
            density *= edges[-1] - edges[0]
        _steps(axes, density, edges, column.name.split(".")[0], color=_colour(d, column.name))
    axes.set(
        xlabel=_with_unit(_LABELS[kind], columns[0].unit),
        ylabel="objects per unit of η, normalised" if kind == "eta" else "objects relative to the mean",
    )
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)
    axes.legend(loc="upper center", ncols=min(4, len(columns)))


def _multiplicity(d: Description, collections: list[CollectionSummary], axes: Any) -> None:
    for collection in collections:
        stop = _filled(collection.multiplicity)[1]
        values, edges = _rebinned(collection.multiplicity.contents(), collection.multiplicity.edges(), 60, 0, stop)
        values[values == 0] = np.nan
        _steps(axes, values / _norm(d), edges, collection.name, color=_colour(d, collection.name))
    axes.set(xlabel="objects per event", ylabel=_per_event(d))
    axes.xaxis.get_major_locator().set_params(integer=True)
    _log(axes)
    axes.legend(loc="upper right", ncols=2)


def _sum_pt(d: Description, axes: Any) -> None:
    stop = _filled(d.sum_pt)[1]
    values, edges = _rebinned(d.sum_pt.contents(), d.sum_pt.edges(), 60, 0, stop)
    values[values == 0] = np.nan
    _steps(axes, values / _norm(d), edges, " + ".join(d.summed), color="C0")
    for tail in d.tails:
        axes.axvline(tail.threshold, color="grey", ls=":", lw=1)
        axes.text(
            tail.threshold,
            0.86,
            f" {tail.rate_khz:g} kHz, n_eff {tail.n_effective:.0f}",
            rotation=90,
            va="top",
            fontsize=8,
            transform=axes.get_xaxis_transform(),
        )
    axes.set(xlabel="Σ pT [GeV]", ylabel=_per_event(d) + _width(edges, "GeV"), xlim=(0, edges[-1]))
    _log(axes)
    axes.legend(loc="upper right")


def _seeds(d: Description, axes: Any) -> None:
    shown = sorted((seed for seed in d.seeds if seed.events), key=lambda seed: seed.share)[-_SEEDS:]
    factor = d.crossing_rate_khz or 1.0
    values = [seed.share * factor for seed in shown]
    axes.barh(range(len(shown)), values, color="C0", height=0.7)
    axes.set_yticks(range(len(shown)), [seed.name for seed in shown], fontsize=8)
    axes.tick_params(axis="y", which="both", length=0)
    more = f" ({len(shown)} of {len(d.seeds)} seeds)" if len(shown) < len(d.seeds) else ""
    axes.set(xscale="log", xlabel=("rate [kHz]" if d.crossing_rate_khz is not None else "share of events") + more)


def _pileup(d: Description, axes: Any) -> None:
    names = {"n_collisions": "collisions in this crossing", "pileup": "mean of the crossing (pileup)"}
    first = min(_filled(histogram)[0] for histogram in d.pileup.values())
    stop = max(_filled(histogram)[1] for histogram in d.pileup.values())
    for colour, (name, histogram) in enumerate(d.pileup.items()):
        values = histogram.contents()[first:stop] / _norm(d)
        if np.count_nonzero(values) == 1:
            axes.axvline(first + int(np.argmax(values)), color=f"C{colour}", ls="--", label=names[name])
        else:
            _steps(axes, values, histogram.edges()[first : stop + 1], names[name], color=f"C{colour}")
    axes.set(xlabel="collisions per crossing", ylabel=_per_event(d))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)
    axes.legend(loc="upper right")


def _weights(d: Description, axes: Any) -> None:
    histogram = d.weights.logarithms
    first, stop = _filled(histogram)
    values = histogram.counts[first:stop].astype(np.float64)
    axes.stairs(values, 10.0 ** histogram.edges()[first : stop + 1], fill=True, color="C0", alpha=0.6)
    axes.set(xscale="log", yscale="log", xlabel="weight", ylabel="events (not weighted)")
    axes.set_ylim(0.5, None)
    zeros = f", {d.weights.zeros:,} events of weight 0" if d.weights.zeros else ""
    axes.set_title(f"Σ {d.weights.total:.4g}, n_eff {d.weights.n_effective:,.0f}{zeros}", loc="right")
