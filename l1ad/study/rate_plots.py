"""Pictures of rates: against threshold, efficiency and pileup, and whether they hold; PNG, as data URIs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from l1ad.events.quantities import Quantity
from l1ad.study.background import Parts
from l1ad.study.plots import picture
from l1ad.trigger.curves import EfficiencyCurve, Imprecise, RateCurve, ScanPoint, TurnOn
from l1ad.trigger.preferences.closure import ClosurePoint
from l1ad.trigger.rates import MIN_EFFECTIVE, Rate, Refused, Threshold
from l1ad.trigger.samples import FloatArray
from l1ad.trigger.stability.fits import Fit, project


def rate_against_threshold(curves: Mapping[str, RateCurve], lsb: float, points: Sequence[ScanPoint]) -> str:
    """Rates of every threshold with their errors, and the thresholds of a scan of the first curve.

    A curve has gaps where too few effective events support a rate.

    Parameters
    ----------
    curves : mapping of label to RateCurve
        Say, total and pure.
    lsb : float
        Of the score.
    points : sequence of ScanPoint
        Thresholds of the first curve.
    """
    with picture() as (figure, axes, out):
        lows, highs = [], []
        for (label, curve), colour in zip(curves.items(), _colours(), strict=False):
            x, known = curve.thresholds * lsb, np.isfinite(curve.rates_hz) & (curve.thresholds > 0)
            rates, errors = curve.rates_hz / 1e3, curve.errors_hz / 1e3
            axes.step(x, rates, where="pre", color=colour, label=label)
            axes.fill_between(x, rates - errors, rates + errors, step="pre", color=colour, alpha=0.3, lw=0)
            lows += [x[known].min(), rates[known].min()] if known.any() else []
            highs += [x[known].max(), rates[known].max()] if known.any() else []
        for point in points:
            found = point.threshold.threshold if isinstance(point.threshold, Imprecise) else point.threshold
            if isinstance(found, Threshold):
                filled = "black" if isinstance(point.threshold, Threshold) else "white"
                where = found.raw * lsb
                reach = np.array([[where - found.raw_low * lsb], [found.raw_high * lsb - where]])
                style = {"color": "black", "mfc": filled, "ms": 6, "lw": 1, "zorder": 5}
                axes.errorbar([where], [found.rate.value_hz / 1e3], xerr=reach, fmt="o", **style)
        if any(isinstance(p.threshold, Threshold) for p in points):
            axes.plot([], [], "o", color="black", label="threshold")
        if any(isinstance(p.threshold, Imprecise) for p in points):
            axes.plot([], [], "o", color="black", mfc="white", label="threshold, not precise enough")
        axes.plot([], [], " ", label=f"no line: n_eff < {MIN_EFFECTIVE:g}")
        if lows:
            axes.set(xlim=(min(lows[::2]), 1.3 * max(highs[::2])), ylim=(min(lows[1::2]) / 3, 3 * max(highs[1::2])))
        else:
            axes.set(xlim=(1, 10), ylim=(1, 10))  # a logarithm needs a range
        axes.set(xscale="log", yscale="log", xlabel="threshold [score]", ylabel=f"rate [kHz]\n({_stage(curves)})")
        figure.legend(loc="outside upper center", ncols=2)
    return out[0]


def efficiency_against_rate(
    rates: RateCurve, signals: Mapping[str, EfficiencyCurve], points: Sequence[ScanPoint], kind: str, label: str
) -> str:
    """Efficiency of each signal against rate with its 68 % interval, and the points of a scan with all errors.

    Parameters
    ----------
    rates : RateCurve
        Total or pure.
    signals : mapping of name to EfficiencyCurve
        Or added efficiencies, where the rate is pure.
    points : sequence of ScanPoint
        Of the same samples.
    kind, label : str
        Of the axes: ``"rate"`` or ``"pure rate"``, and what the efficiency is.
    """
    x = rates.rates_hz / 1e3
    with picture() as (figure, axes, out):
        for (name, curve), colour in zip(signals.items(), _colours(), strict=False):
            at = np.searchsorted(curve.thresholds, rates.thresholds)
            values, lows, highs = (np.append(a, 0.0)[at] for a in (curve.values, curve.lows, curve.highs))
            axes.plot(x, values, color=colour, label=name)
            axes.fill_between(x, lows, highs, color=colour, alpha=0.2, lw=0)
            for point in points:
                if name in point.efficiencies and not isinstance(point.threshold, Refused):
                    found = point.threshold.threshold if isinstance(point.threshold, Imprecise) else point.threshold
                    e, (_, value, reach) = point.efficiencies[name], _khz([(0.0, found.rate)])
                    style = {"mfc": colour if isinstance(point.threshold, Threshold) else "white", "ms": 5, "lw": 1}
                    span = [[e.efficiency.value - e.low], [e.high - e.efficiency.value]]
                    axes.errorbar(value, [e.efficiency.value], span, reach, fmt="o", color=colour, zorder=5, **style)
        if any(isinstance(p.threshold, Imprecise) for p in points):
            axes.plot([], [], "o", color="grey", mfc="white", label="not precise enough")
        if not np.isfinite(x).any():
            axes.set_xlim(1, 10)  # a logarithm needs a range
        axes.set(xscale="log", xlabel=f"{kind} [kHz] ({rates.stage})", ylabel=label)
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper center", ncols=4 if len(signals) > 4 else 3, fontsize=10)
    return out[0]


def turn_ons(curves: Mapping[str, TurnOn], quantity: Quantity, label: str) -> str:
    """Efficiency of one threshold against an event quantity, for each sample.

    Parameters
    ----------
    curves : mapping of sample to TurnOn
    quantity : str
        As in `l1ad.events.quantities.event_quantity`.
    label : str
        What the threshold is: ``"score at 10 kHz"``.
    """
    with picture() as (figure, axes, out):
        for number, ((name, curve), colour) in enumerate(zip(curves.items(), _colours(), strict=False)):
            middle, half = (curve.edges[1:] + curve.edges[:-1]) / 2, np.diff(curve.edges) / 2
            middle = middle + half * 0.12 * (number - (len(curves) - 1) / 2)  # so that errors do not hide each other
            shown = [(m, h, e) for m, h, e in zip(middle, half, curve.efficiencies, strict=True) if e is not None]
            if not shown:
                continue
            x, _, found = zip(*shown, strict=True)
            values = np.array([e.value for e in found])
            errors = np.array([[e.value - e.low for e in found], [e.high - e.value for e in found]])
            axes.errorbar(x, values, yerr=errors, fmt="o", ms=4, lw=1, color=colour, label=name)
            axes.plot(x, values, color=colour, lw=1, alpha=0.4)
        unit = "" if quantity == "multiplicity" else " [GeV]"
        name = "number of objects" if quantity == "multiplicity" else quantity
        axes.set(xlabel=f"{name}{unit}; the last bin is open", ylabel=f"efficiency, {label}", ylim=(0, 1.05))
        figure.legend(loc="outside upper center", ncols=3)
    return out[0]


def rate_against_pileup(parts: Parts, fits: Sequence[Fit], project_to: float, label: str, stage: str) -> str:
    """Rates of pileup bins, curves through them, and their projection; beyond the bins that were fitted, dashed.

    Parameters
    ----------
    parts : Parts
        Pileup bins.
    fits : sequence of Fit
    project_to : float
        Pileup up to which, or down to which, curves are drawn.
    label : str
        Of the threshold.
    stage : str
        Of the rates.
    """
    with picture() as (figure, axes, out):
        x, values, errors = _khz(zip(parts.x, parts.rates, strict=True))
        refused = [at for at, rate in zip(parts.x, parts.rates, strict=True) if isinstance(rate, Refused)]
        for found, colour in zip(fits, _colours(), strict=False):
            grid = np.linspace(min(found.low, project_to), max(found.high, project_to), 300)
            band = project(found, grid)
            curve, wide = band.values_hz / 1e3, band.errors_hz / 1e3
            axes.plot(grid, np.where(band.extrapolated, np.nan, curve), color=colour, label=str(found))
            axes.plot(grid, np.where(band.extrapolated, curve, np.nan), color=colour, ls="--", lw=1.5)
            axes.fill_between(grid, curve - wide, curve + wide, color=colour, alpha=0.2, lw=0)
        axes.errorbar(x, values, yerr=errors, fmt="o", ms=5, color="black", label=label, zorder=5)
        if refused:
            axes.plot(refused, np.zeros(len(refused)), "x", color="grey", clip_on=False, label="refused (n_eff)")
        axes.set(xlabel="pileup μ", ylabel=f"rate at that pileup [kHz]\n({stage})")
        if len(values):
            axes.set_ylim(0, 1.3 * float((values + errors[1]).max()))
        figure.legend(loc="outside upper center", ncols=2, fontsize=10)
    return out[0]


def rate_by_number(parts: Parts, expected_hz: float, tolerance: float, stage: str) -> str:
    """Rates by run, luminosity block or place in the train, the band around what is expected, and the alarms.

    Parameters
    ----------
    parts : Parts
    expected_hz : float
    tolerance : float
        Relative half width of the band drawn: what `l1ad.trigger.stability.parts.alarms` allows beside statistics.
    stage : str
        Of the rates.
    """
    expected = expected_hz / 1e3
    with picture() as (figure, axes, out):
        ringing = {alarm.x for alarm in parts.alarms}
        axes.axhline(expected, color="tab:blue", lw=1, label="expected")
        low, high, words = expected * (1 - tolerance), expected * (1 + tolerance), f"± {100 * tolerance:g} %"
        axes.axhspan(low, high, color="tab:blue", alpha=0.2, lw=0, label=words)
        for rings, colour, label in ((False, "black", "rate"), (True, "tab:red", "alarm")):
            found = [(x, r) for x, r in zip(parts.x, parts.rates, strict=True) if (x in ringing) == rings]
            x, values, errors = _khz(found)
            if len(x):
                axes.errorbar(x, values, yerr=errors, fmt="o", ms=4, lw=1, color=colour, label=label)
            refused = [at for at, r in found if isinstance(r, Refused)]
            if refused:
                label = "alarm: too few events" if rings else "refused (n_eff)"
                axes.plot(
                    refused, np.zeros(len(refused)), "x", color=colour if rings else "grey", clip_on=False, label=label
                )
        axes.set(xlabel=parts.by, ylabel=f"rate [kHz]\n({stage})")
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6, integer=True))
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper center", ncols=3)
    return out[0]


def closure(points: Sequence[ClosurePoint], stage: str) -> str:
    """Events that firmware and float twin both accept, and the rate error of the float threshold, against rate.

    Parameters
    ----------
    points : sequence of ClosurePoint
    stage : str
        Of the rates.
    """
    same, moved, refused = [], [], []
    for point in points:
        x, decisions, misplaced = point.target_hz / 1e3, point.decisions, point.misplaced
        if isinstance(decisions, Refused) or isinstance(misplaced, Refused) or isinstance(decisions.jaccard, Refused):
            refused.append(x)
            continue
        both, error = decisions.jaccard, misplaced.error_percent
        same.append((x, 100 * both.value, 100 * (both.value - both.low), 100 * (both.high - both.value)))
        moved.append((x, error.value, error.error, error.error))
    with picture() as (figure, axes, out):
        axes.axhline(0, color="grey", lw=1)
        for found, colour, marker, label in (
            (same, "tab:blue", "o", "accepted by both, of those by either"),
            (moved, "tab:red", "s", "rate error of the float threshold"),
        ):
            if found:
                at, values, down, up = zip(*found, strict=True)
                axes.errorbar(at, values, [down, up], fmt=marker, color=colour, ms=6, lw=1, label=label)
        if refused:
            axes.plot(refused, np.zeros(len(refused)), "x", color="grey", label="refused (n_eff)")
        axes.set(xscale="log", xlabel=f"rate [kHz] ({stage})", ylabel="%")
        figure.legend(loc="outside upper center", ncols=2)
    return out[0]


def _khz(rates: Iterable[tuple[float, Rate | Refused]]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of those that are not refused: places, values, and errors, shape (2, n), in kHz."""
    known = [(x, rate) for x, rate in rates if isinstance(rate, Rate)]
    values = np.array([rate.value_hz for _, rate in known])
    ends = np.array([rate.interval_hz for _, rate in known]).reshape(-1, 2).T
    return np.array([x for x, _ in known]), values / 1e3, np.abs(ends - values) / 1e3


def _colours() -> Iterator[Any]:
    return itertools.cycle(mpl.color_sequences["tab10"])


def _stage(curves: Mapping[str, RateCurve]) -> str:
    return next(iter(curves.values())).stage
