"""Pictures of rates: against threshold, efficiency and pileup, and whether they hold; PNG, as data URIs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from l1ad.study.plots import picture
from l1ad.trigger.curves import EfficiencyCurve, Imprecise, Quantity, RateCurve, ScanPoint, TurnOn
from l1ad.trigger.fits import Fit, project
from l1ad.trigger.rates import MIN_EFFECTIVE, Rate, Refused, Threshold
from l1ad.trigger.samples import FloatArray
from l1ad.trigger.stability import Alarm, RatesBy


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
                    e, rate = point.efficiencies[name], found.rate
                    style = {"mfc": colour if isinstance(point.threshold, Threshold) else "white", "ms": 5, "lw": 1}
                    _point(
                        axes, rate.value_hz / 1e3, rate.error_hz / 1e3, e.efficiency.value, e.low, e.high, colour, style
                    )
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
        As in `l1ad.trigger.curves.event_quantity`.
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


def rate_against_pileup(rates: RatesBy, fits: Sequence[Fit], project_to: float, label: str) -> str:
    """Rates of pileup bins, curves through them, and their projection; beyond the bins that were fitted, dashed.

    Parameters
    ----------
    rates : RatesBy
        Of pileup bins.
    fits : sequence of Fit
    project_to : float
        Pileup up to which, or down to which, curves are drawn.
    label : str
        Of the threshold.
    """
    with picture() as (figure, axes, out):
        known = [(x, rate) for x, rate in zip(rates.x, rates.rates, strict=True) if isinstance(rate, Rate)]
        refused = [float(x) for x, rate in zip(rates.x, rates.rates, strict=True) if not isinstance(rate, Rate)]
        x = np.array([at for at, _ in known])
        values, errors = (np.array([getattr(r, n) / 1e3 for _, r in known]) for n in ("value_hz", "error_hz"))
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
        axes.set(xlabel="pileup μ", ylabel=f"rate at that pileup [kHz]\n({rates.stage})")
        if len(values):
            axes.set_ylim(0, 1.3 * float((values + errors).max()))
        figure.legend(loc="outside upper center", ncols=2, fontsize=10)
    return out[0]


def rate_by_number(
    rates: RatesBy, expected_hz: npt.ArrayLike, tolerance: float, alarms: Sequence[Alarm], name: str
) -> str:
    """Rates by run, luminosity block or place in the train, the band around what is expected, and the alarms.

    Parameters
    ----------
    rates : RatesBy
    expected_hz : array_like of float, shape () or (parts,)
    tolerance : float
        Relative half width of the band drawn: what `l1ad.trigger.stability.alarms` allows beside statistics.
    alarms : sequence of Alarm
    name : str
        Of the horizontal axis.
    """
    expected: FloatArray = np.broadcast_to(np.asarray(expected_hz, np.float64), rates.x.shape) / 1e3
    with picture() as (figure, axes, out):
        ringing = {alarm.x for alarm in alarms}
        axes.plot(rates.x, expected, color="tab:blue", lw=1, label="expected")
        axes.fill_between(
            rates.x,
            expected * (1 - tolerance),
            expected * (1 + tolerance),
            color="tab:blue",
            alpha=0.2,
            lw=0,
            label=f"± {100 * tolerance:g} %",
        )
        for rings, colour, label in ((False, "black", "rate"), (True, "tab:red", "alarm")):
            found = [(x, r) for x, r in zip(rates.x, rates.rates, strict=True) if (x in ringing) == rings]
            known = [(x, r.value_hz / 1e3, r.error_hz / 1e3) for x, r in found if isinstance(r, Rate)]
            if known:
                x, values, errors = zip(*known, strict=True)
                axes.errorbar(x, values, yerr=errors, fmt="o", ms=4, lw=1, color=colour, label=label)
            refused = [float(x) for x, r in found if isinstance(r, Refused)]
            if refused:
                label = "alarm: too few events" if rings else "refused (n_eff)"
                axes.plot(
                    refused, np.zeros(len(refused)), "x", color=colour if rings else "grey", clip_on=False, label=label
                )
        axes.set(xlabel=name, ylabel=f"rate [kHz]\n({rates.stage})")
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6, integer=True))
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper center", ncols=3)
    return out[0]


def _colours() -> Iterator[Any]:
    return itertools.cycle(mpl.color_sequences["tab10"])


def _stage(curves: Mapping[str, RateCurve]) -> str:
    return next(iter(curves.values())).stage


def _point(
    axes: Any, x: float, xerr: float, y: float, low: float, high: float, colour: Any, style: Mapping[str, Any]
) -> None:
    axes.errorbar([x], [y], xerr=[xerr], yerr=[[y - low], [high - y]], fmt="o", color=colour, zorder=5, **style)
