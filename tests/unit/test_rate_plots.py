"""Pictures of what a scan may run into: no rate at all, no threshold, no fit, only alarms."""

import math

import numpy as np
import pytest
from test_plots import assert_picture

from l1ad.emulate.histogram import Histogram
from l1ad.study import rate_plots
from l1ad.study.background import Parts
from l1ad.trigger.counted import Counted
from l1ad.trigger.curves import efficiency_curve, rate_curve, scan, turn_on
from l1ad.trigger.preferences.closure import closure
from l1ad.trigger.stability.fits import Fit, fit
from l1ad.trigger.stability.parts import rates_by_category

CROSSING_HZ = 3e7
SIGNALS = {name: Counted.of_scores(np.arange(0, 2000, step)) for name, step in (("A → 4ℓ", 1), ("h± → τν", 3))}


def background(n):
    return Counted.of_scores(np.random.default_rng(1).exponential(90, n).astype(np.int64))


def parts(accepted):
    histogram = Histogram("digest", 0, 1, len(accepted))
    histogram.counts[:, 1], histogram.counts[:, 0] = accepted, 10_000
    return rates_by_category(histogram, 380_000 + np.arange(len(accepted)), 1, CROSSING_HZ, simulated=False)


@pytest.mark.parametrize(("n", "kinds"), [(50_000, 3), (300, 2), (20, 1)], ids=["thresholds", "imprecise", "refused"])
def test_scans(n, kinds):
    sample = background(n)
    curve = rate_curve(sample, CROSSING_HZ, simulated=True)
    points = scan(sample, SIGNALS, [2e5, 1e6, 9e6], CROSSING_HZ, simulated=True)
    assert len({type(p.threshold) for p in points}) <= kinds
    assert_picture(rate_plots.rate_against_threshold({"total": curve, "pure": curve}, 2**-4, points))
    curves = {name: efficiency_curve(s) for name, s in SIGNALS.items()}
    assert_picture(rate_plots.efficiency_against_rate(curve, curves, points, "pure rate", "added efficiency"))


def test_turn_ons():
    scores = np.arange(1000)
    ht = np.where(scores == 7, math.inf, scores / 2.0)
    curves = {"tt̄": turn_on(scores, ht, range(0, 300, 50), 600), "no events": turn_on([1], [-1.0], [0, 1], 600)}
    for quantity in ("HT", "multiplicity"):
        assert_picture(rate_plots.turn_ons(curves, quantity, "score at 10 kHz"))


@pytest.mark.parametrize("accepted", [[50, 60, 70, 90], [30, 2, 50, 60], [0, 1, 2, 3]])
def test_rates_of_parts(accepted):
    rates = parts(accepted)
    fits = [found for form in ("linear", "exponential") if isinstance(found := fit(rates, form), Fit)]
    drawn = Parts.of("pileup", rates)
    assert_picture(rate_plots.rate_against_pileup(drawn, fits, 380_010.0, "threshold 1", rates.stage))
    assert_picture(rate_plots.rate_by_number(Parts.of("run", rates, 2e5), 2e5, 0.1, rates.stage))
    assert_picture(rate_plots.rate_by_number(Parts.of("run", rates), 2e5, 0.1, rates.stage))


@pytest.mark.parametrize("n", [40_000, 40], ids=["known", "refused"])
def test_closure(n):
    rng = np.random.default_rng(4)
    raw = rng.exponential(90, n).astype(np.int64)
    weights, targets = np.full(n, 1 / n), [1e4, 1e6]
    found = closure(raw + rng.normal(0, 3, n), raw, weights, 1.0, targets, CROSSING_HZ, simulated=True)
    assert_picture(rate_plots.closure(found.points, "simulated"))
