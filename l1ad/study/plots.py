"""Pictures of the report, as PNG."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("Agg")
import matplotlib.pyplot as plt
import mplhep

from l1ad.fixed import Raw
from l1ad.trigger import Rate, Roc, Threshold, Thresholds

_STYLE = [
    mplhep.style.ROOT,
    {
        "font.family": "DejaVu Sans",
        "mathtext.fontset": "dejavusans",
        "font.size": 13,
        "axes.labelsize": 14,
        "legend.fontsize": 11,
        "figure.figsize": (7, 5),
    },
]


@contextmanager
def picture() -> Iterator[tuple[Any, Any, list[str]]]:
    """Figure, axes and a list that receives the picture, as a data URI, on leaving."""
    out: list[str] = []
    with plt.style.context(_STYLE):
        figure, axes = plt.subplots(layout="constrained")
        yield figure, axes, out
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        plt.close(figure)
    out.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())


def losses(curves: Mapping[str, tuple[float, ...]]) -> str:
    """Training and validation loss of the float twin, then of the quantised model."""
    with picture() as (_, axes, out):
        start = 0
        for label, colour in (("float", "tab:blue"), ("quantised", "tab:red")):
            epochs = start + 1 + np.arange(len(curves[f"{label}_train"]))
            axes.plot(epochs, curves[f"{label}_train"], color=colour, ls="--", label=f"{label}, training")
            axes.plot(epochs, curves[f"{label}_validation"], color=colour, label=f"{label}, validation")
            start += len(epochs)
        axes.set(xlabel="epoch", ylabel="loss", yscale="log")
        axes.legend(loc="upper right")
    return out[0]


def score_histogram(
    background: Raw,
    weights: npt.NDArray[np.float64],
    signals: Mapping[str, Raw],
    lsb: float,
    thresholds: Thresholds,
) -> str:
    """Scores of zero-bias, weighted, and of the signals, each normalised to 1, with the thresholds."""
    top = max(2, *(int(s.max()) for s in (background, *signals.values()))) * lsb
    edges = np.geomspace(max(lsb, 1e-3), top * 1.1, 70)
    colours = itertools.cycle(mpl.color_sequences["tab10"])
    with picture() as (figure, axes, out):
        for name, scores, by in (("zero-bias", background, weights), *((n, s, None) for n, s in signals.items())):
            filled, _ = np.histogram(np.maximum(scores * lsb, edges[0]), edges, weights=by)
            contents = filled / (len(scores) if by is None else by.sum())
            style = {"color": "black", "lw": 2} if name == "zero-bias" else {"color": next(colours)}
            mplhep.histplot(contents, edges, ax=axes, label=name, **style)
        for point in thresholds.working_points:
            if isinstance(point.threshold, Threshold):
                value = point.threshold.raw * lsb
                axes.axvline(value, color="grey", ls=":")
                axes.text(
                    value,
                    0.98,
                    f" {point.target_hz / 1e3:g} kHz",
                    rotation=90,
                    va="top",
                    fontsize=10,
                    transform=axes.get_xaxis_transform(),
                    bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
                )
        axes.set(xscale="log", yscale="log", xlabel="score", ylabel="fraction of events per bin", xlim=(edges[0], top))
        axes.set_ylim(1e-7, 1)
        figure.legend(loc="outside upper center", ncols=3)
    return out[0]


def roc(curves: Mapping[str, Roc], thresholds: Thresholds, efficiencies: Mapping[str, list[float]]) -> str:
    """Signal efficiency against trigger rate, with the working points."""
    with picture() as (figure, axes, out):
        for (name, curve), colour in zip(curves.items(), itertools.cycle(mpl.color_sequences["tab10"]), strict=False):
            axes.plot(curve.rates_hz / 1e3, curve.efficiencies, label=name, color=colour)
            points = [p.rate.value_hz / 1e3 for p in thresholds.working_points if isinstance(p.rate, Rate)]
            axes.plot(points, efficiencies[name], "o", color=colour)
        axes.set(
            xscale="log",
            xlabel=f"rate [kHz] ({next(iter(curves.values())).stage})",
            ylabel="signal efficiency",
            ylim=(0, 1),
        )
        figure.legend(loc="outside upper center", ncols=3)
    return out[0]


def fixed_against_float(fixed: npt.NDArray[np.float64], twin: npt.NDArray[np.float64], model: str) -> str:
    """Score of the fixed-point model against that of its float twin, event by event."""
    low, high = 1e-1, max(fixed.max(), twin.max(), 1.0) * 1.2
    bins = np.geomspace(low, high, 120)
    with picture() as (figure, axes, out):
        _, _, _, image = axes.hist2d(
            np.maximum(twin, low), np.maximum(fixed, low), bins=(bins, bins), norm=mpl.colors.LogNorm(), cmap="viridis"
        )
        axes.plot([low, high], [low, high], color="red", lw=1, label="equal")
        axes.set(
            xscale="log",
            yscale="log",
            xlabel=f"score of the float twin ({model})",
            ylabel="score of the fixed-point model",
        )
        figure.colorbar(image, label="events")
        axes.legend(loc="upper left")
    return out[0]


def efficiency_bars(rows: Mapping[str, Mapping[str, tuple[float, float]]], label: str, stage: str) -> str:
    """Efficiency of each detector on each signal, with errors.

    Parameters
    ----------
    rows : mapping of detector to mapping of signal to (value, error)
    label : str
        Of the vertical axis.
    stage : str
        Stage of the rate, for the horizontal axis.
    """
    with picture() as (figure, axes, out):
        signals = list(dict.fromkeys(signal for by in rows.values() for signal in by))
        width = 0.8 / len(rows)
        for number, (detector, by) in enumerate(rows.items()):
            where = [signals.index(s) + (number - (len(rows) - 1) / 2) * width for s in by]
            axes.bar(where, [v for v, _ in by.values()], width, yerr=[e for _, e in by.values()], label=detector)
        crowded = {"rotation": 30, "ha": "right"} if len(signals) > 5 else {}
        axes.set_xticks(range(len(signals)), signals, **crowded)
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set(ylabel=label, xlabel=stage)
        figure.legend(loc="outside upper center", ncols=2)
    return out[0]
