"""Pictures of what a trigger prefers, as PNG: spectra, overlap with seeds, two detectors, and events of high score."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from l1ad.study.plots import picture
from l1ad.trigger.efficiency import Efficiency
from l1ad.trigger.preferences.accepted import Anomaly, Overlap, Spectrum, TriggerObject
from l1ad.trigger.preferences.confusion import Confusion, Plane
from l1ad.trigger.rates import Rate, Refused

_ACROSS = 4
"""Panels in a row."""
_NAMES = {"met": "MET", "ht": "HT", "et": "ET", "mht": "MHT", "eg": "e/γ", "mu": "μ", "tau": "τ", "jet": "jet"}
_LABELLED_GEV = 10.0
"""Objects from this pT on have it written beside them."""
_JET_RADIUS = 0.4
_MARKERS = {"eg": ("s", "tab:green"), "mu": ("X", "tab:red"), "tau": ("D", "tab:purple")}
_SIDES = (2, -2, 0, 4, 1, 3, -1, -3)
"""Where a label may stand, in eighths of a turn: above first."""
_LABEL = (0.62, 0.34)
"""Room that a label takes in η and φ."""
_ETA_MAX = 5.2
_SEEDS_NAMED = 3


def spectra(found: Sequence[Spectrum], quantity: str, accepted: str) -> str:
    """One panel per collection: shares of all and of accepted events.

    Parameters
    ----------
    found : sequence of Spectrum
        Of which those of `quantity` are drawn.
    quantity : str
        ``"multiplicity"`` or ``"leading pt"``.
    accepted : str
        What the accepted events are called, such as ``"vae at 10 kHz"``.

    Raises
    ------
    ValueError
        If none is of the quantity.
    """
    chosen = [spectrum for spectrum in found if spectrum.quantity == quantity]
    if not chosen:
        raise ValueError(f"spectra must hold one of {quantity!r} at least, not none; give what composition finds")
    with picture() as (figure, axes, out):
        panels = _panels(figure, axes, len(chosen), 3.3, 2.9)
        for panel, spectrum in zip(panels, chosen, strict=True):
            _spectrum(panel, spectrum)
            panel.tick_params(labelsize=10)
        handles, _ = panels[0].get_legend_handles_labels()
        figure.legend(handles, ["all zero-bias", accepted], loc="outside upper center", ncols=2)
        figure.supylabel("share of events per bin", fontsize=13)
    return out[0]


def _spectrum(axes: Any, spectrum: Spectrum) -> None:
    edges = spectrum.low + spectrum.width * np.arange(len(spectrum.accepted) + 1)
    everything, accepted = np.array(spectrum.everything), np.array(spectrum.accepted)
    filled = np.flatnonzero((everything > 0) | (accepted > 0))
    stop = int(filled[-1]) + 1 if len(filled) else 1
    mplhep.histplot(everything[:stop], edges[: stop + 1], ax=axes, histtype="fill", color="lightgrey", label="all")
    shown = np.where(accepted > 0, accepted, np.nan)[:stop]  # an empty bin has no place on the axis
    axes.stairs(shown, edges[: stop + 1], baseline=None, color="tab:red", lw=1.3, label="accepted")
    middles = (edges[:stop] + edges[1 : stop + 1]) / 2
    axes.errorbar(middles, shown, np.array(spectrum.accepted_error)[:stop], fmt="none", ecolor="tab:red", elinewidth=1)
    name = _NAMES.get(spectrum.collection, spectrum.collection)
    single = spectrum.collection in ("met", "ht", "et", "mht")
    label = f"{name} multiplicity" if spectrum.quantity == "multiplicity" else name if single else f"leading {name} pT"
    unit = "" if spectrum.unit == "1" else f" [{spectrum.unit}]"
    lowest = min((value for value in (*everything, *accepted) if value > 0), default=1.0)
    axes.set(xlim=(edges[0], edges[stop]), ylim=(max(lowest / 2, 1e-8), 2))
    axes.set_yscale("log")
    if spectrum.quantity == "multiplicity":
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(7, integer=True))
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.set_xlabel(label + unit, fontsize=11)
    axes.set_ylabel("")


def seed_overlap(found: Sequence[Overlap], accepted: str, stage: str) -> str:
    """Share of the accepted rate that each seed takes, and share of each seed's rate that is accepted, with errors.

    Parameters
    ----------
    found : sequence of Overlap
    accepted : str
        What the accepted events are called, such as ``"vae at 10 kHz"``.
    stage : str
        Stage of the rates.
    """
    with picture() as (figure, axes, out):
        figure.set_size_inches(8.5, 1.8 + 0.42 * len(found))
        rows = np.arange(len(found))[::-1]
        shares = (("of_accepted", f"of the rate of {accepted}", 0.19), ("of_seed", "of the rate of the seed", -0.19))
        for (name, label, shift), colour in zip(shares, ("tab:red", "tab:blue"), strict=True):
            values = [getattr(overlap, name) for overlap in found]
            known = [(row, value) for row, value in zip(rows, values, strict=True) if isinstance(value, Efficiency)]
            errors = [(v.value - v.low, v.high - v.value) for _, v in known]
            axes.barh(
                [row + shift for row, _ in known],
                [v.value for _, v in known],
                0.36,
                xerr=np.array(errors).reshape(-1, 2).T,
                color=colour,
                alpha=0.75,
                label=label,
                error_kw={"capsize": 2, "lw": 1},
            )
            for row, value in zip(rows, values, strict=True):
                if isinstance(value, Refused):
                    axes.text(0.01, row + shift, str(value), va="center", fontsize=9, color=colour)
        axes.set_yticks(rows, [overlap.seed for overlap in found], fontsize=11)
        axes.tick_params(axis="y", which="both", length=0)
        axes.set(xlim=(0, 1.04), ylim=(-0.6, len(found) - 0.4), xlabel=f"share that both take ({stage})")
        figure.legend(loc="outside upper center", ncols=2)
    return out[0]


def two_detectors(found: Plane, at: Confusion | Refused, crossing_rate_hz: float) -> str:
    """Rate in the plane of two scores, with the thresholds, and the rates of the four corners that they make.

    Parameters
    ----------
    found : Plane
    at : Confusion or Refused
        Of the same detectors; nothing is cut where it is refused.
    crossing_rate_hz : float
    """
    edges = [np.array(of_axis, np.float64) for of_axis in found.edges]
    for of_axis in edges:
        of_axis[of_axis < 0.7] = 0.7  # a score of 0 has no logarithm
    rates = np.array(found.contents) * crossing_rate_hz
    with picture() as (figure, axes, out):
        figure.set_size_inches(8.5, 6.5)
        low = max(float(rates[rates > 0].min()), float(rates.max()) * 1e-9)
        image = axes.pcolormesh(
            *edges, np.where(rates > 0, rates, np.nan).T, norm=mpl.colors.LogNorm(low, rates.max()), cmap="viridis"
        )
        axes.set(xscale="log", yscale="log", ylim=(edges[1][0], edges[1][-1] * 4))  # room for the text
        axes.set(xlabel=f"score of {found.detectors[0]} [codes]", ylabel=f"score of {found.detectors[1]} [codes]")
        figure.colorbar(image, label="rate per bin [Hz]")
        if isinstance(at, Confusion):
            first, second = (threshold.raw for threshold in at.thresholds)
            axes.axvline(first, color="red", lw=1.2)
            axes.axhline(second, color="red", lw=1.2)
            corners = (
                (0.985, 0.985, "right", "top", "both", at.decisions.both),
                (0.985, 0.02, "right", "bottom", f"{at.detectors[0]} only", at.decisions.only_first),
                (0.02, 0.985, "left", "top", f"{at.detectors[1]} only", at.decisions.only_second),
            )
            for x, y, right, top, label, rate in corners:
                text = f"{label}\n{_brief(rate)}"
                box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 3}
                axes.text(x, y, text, ha=right, va=top, fontsize=11, transform=axes.transAxes, bbox=box)
            figure.suptitle(f"each at {at.target_hz / 1e3:g} kHz: κ {at.decisions.kappa}", fontsize=13)
    return out[0]


def _brief(rate: Rate | Refused) -> str:
    """A rate without its stage."""
    if isinstance(rate, Refused):
        return str(rate)
    return f"{rate.khz} kHz"


def displays(found: Sequence[Anomaly], lsb: float) -> str:
    """Events of high score in η and φ: one panel each.

    Jets are circles of their radius, the darker the harder; e/γ, μ and τ are markers whose area grows with pT; MET is
    an arrow at its φ, the longer the larger.  pT in GeV stands beside objects of 10 GeV and more.

    Parameters
    ----------
    found : sequence of Anomaly
    lsb : float
        Value of one count of the score.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not found:
        raise ValueError("events to be shown must be at least one, not none")
    with picture() as (figure, axes, out):
        panels = _panels(figure, axes, len(found), 7.2, 5.2, across=2)
        for panel, anomaly in zip(panels, found, strict=True):
            _display(panel, anomaly, lsb)
        present = {each.collection for anomaly in found for each in anomaly.objects}
        marks = [mpl.lines.Line2D([], [], marker="o", ls="", ms=15, mfc="tab:orange", mec="k", alpha=0.6, label="jet")]
        marks += [
            mpl.lines.Line2D(
                [],
                [],
                marker=marker,
                ls="",
                ms=9,
                color=colour,
                label=_NAMES[name],
                mfc="none" if name == "tau" else colour,
            )
            for name, (marker, colour) in _MARKERS.items()
            if name in present
        ]
        marks.append(mpl.lines.Line2D([], [], ls="--", lw=2, color="tab:blue", label="MET"))
        figure.legend(handles=marks, loc="outside upper center", ncols=len(marks))
    return out[0]


def _display(axes: Any, anomaly: Anomaly, lsb: float) -> None:
    shown: list[tuple[TriggerObject, float, str]] = []
    hardest = max((each.pt_gev for each in anomaly.objects if each.collection == "jet"), default=1.0)
    axes.set_aspect("equal")
    axes.set(xlim=(-_ETA_MAX, _ETA_MAX), ylim=(-math.pi, math.pi), xlabel="η", ylabel="φ [rad]")
    axes.set_yticks([-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi], ["-π", "-π/2", "0", "π/2", "π"])
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    for each in reversed(anomaly.objects):  # the hardest on top
        if each.phi is None or (each.eta is None and each.collection != "met"):
            continue
        phi = math.remainder(each.phi, 2 * math.pi)
        if each.eta is None:
            axes.axhline(phi, color="tab:blue", ls="--", lw=1)
            axes.annotate(
                "",
                (_ETA_MAX, phi),
                (_ETA_MAX - min(3.0, 0.5 + each.pt_gev / 60), phi),
                arrowprops={"arrowstyle": "-|>", "color": "tab:blue", "lw": 2.5, "mutation_scale": 18},
            )
            axes.text(-_ETA_MAX + 0.1, phi + 0.06, f"MET {_gev(each)} GeV", color="tab:blue", fontsize=11)
            continue
        if each.collection in _MARKERS:
            marker, colour = _MARKERS[each.collection]
            hollow = {"fc": "none", "ec": colour, "lw": 1.8} if each.collection == "tau" else {"fc": colour, "ec": "w"}
            axes.scatter(each.eta, phi, 18 + 1.5 * min(each.pt_gev, 200), marker=marker, zorder=4, **hollow)
        else:
            colour = "black"
            shade = 0.12 + 0.6 * each.pt_gev / hardest
            for turn in (-2 * math.pi, 0, 2 * math.pi):  # a jet at the edge goes on at the other
                at = (each.eta, phi + turn)
                axes.add_patch(Circle(at, _JET_RADIUS, fc=("tab:orange", shade), ec="black", lw=0.8, zorder=2))
        shown.append((each, phi, colour))
    _label(axes, shown)
    axes.set_title(_title(anomaly, lsb), fontsize=11)


def _label(axes: Any, shown: Sequence[tuple[TriggerObject, float, str]]) -> None:
    """Write pT beside objects, the hardest first, where it covers least."""
    around = [(1.3 * r * math.cos(a), r * math.sin(a)) for r in (0.6, 0.85, 1.1) for a in np.pi / 4 * np.array(_SIDES)]
    places = [(each.eta or 0.0, phi) for each, phi, _ in shown]
    written: list[tuple[float, float]] = []
    width, height = _LABEL
    for (each, _, colour), (eta, phi) in sorted(zip(shown, places, strict=True), key=lambda item: -item[0][0].pt_gev):
        if each.pt_gev < _LABELLED_GEV:
            continue

        def covered(at: tuple[float, float]) -> float:
            out = abs(at[0]) > _ETA_MAX - width / 2 or abs(at[1]) > math.pi - height / 2
            on_labels = sum(abs(at[0] - x) < width and abs(at[1] - y) < height for x, y in written)
            on_objects = sum(math.hypot(at[0] - x, at[1] - y) < _JET_RADIUS + height / 2 for x, y in places)
            return 100 * on_labels + 100 * out + on_objects

        best = min(((eta + x, phi + y) for x, y in around), key=covered)
        written.append(best)
        halo = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(*best, _gev(each), ha="center", va="center", fontsize=10, color=colour, zorder=6, path_effects=halo)


def _gev(each: TriggerObject) -> str:
    return f"{'≥ ' if each.saturated else ''}{each.pt_gev:.0f}"


def _title(anomaly: Anomaly, lsb: float) -> str:
    named, more = anomaly.seeds[:_SEEDS_NAMED], len(anomaly.seeds) - _SEEDS_NAMED
    seeds = ", ".join(named) + (f" and {more} more" if more > 0 else "")
    sums = [f"{_NAMES.get(s.collection, s.collection)} {_gev(s)}" for s in anomaly.objects if s.eta is None]
    first = f"event {anomaly.event}, score {anomaly.score * lsb:g} (code {anomaly.score}), weight {anomaly.weight:.2g}"
    return "\n".join([first, f"{', '.join(sums)} GeV", *textwrap.wrap(seeds or "no seed", 80)])


def _panels(figure: Any, axes: Any, n: int, width: float, height: float, across: int = _ACROSS) -> list[Any]:
    """So many axes instead of one, in rows."""
    axes.remove()
    across = min(across, n)
    rows = -(-n // across)
    figure.set_size_inches(width * across, height * rows + 0.6)
    return [figure.add_subplot(rows, across, number + 1) for number in range(n)]
