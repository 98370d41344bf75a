"""Pictures of what a study may run into: scores that are all zero, thresholds that are all refused."""

import base64
import struct

import numpy as np
import pytest

from l1ad.study import plots
from l1ad.trigger import Collider, Rate, Refused, Roc, Threshold, Thresholds, WorkingPoint

REFUSED = WorkingPoint(1e3, Refused(3.0, 4, "add events"), Refused(3.0, 4, "add events"))
RATE = Rate(9.9e3, 1.2e3, 68.0, 70, "simulated, before dead time")
MET = WorkingPoint(1e4, Threshold(40, 38, 43, RATE), RATE)


def thresholds(*points):
    return Thresholds("d" * 64, "ap_ufixed<18,14>", "rate.h5", "random", True, "conventional", Collider(), points)


def curve(n):
    codes = np.arange(n)[::-1]
    return Roc(codes, np.geomspace(1e3, 1e7, n), np.ones(n), np.linspace(0, 1, n), "simulated, before dead time")


def assert_picture(text):
    kind, data = text.split(",", 1)
    assert kind == "data:image/png;base64"
    png = base64.b64decode(data, validate=True)
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (770, 550)


@pytest.mark.parametrize(
    ("scores", "points"),
    [(np.arange(500), (REFUSED, MET)), (np.arange(500), (REFUSED,)), (np.zeros(500, int), (REFUSED,))],
    ids=["one refused", "all refused", "all zero"],
)
def test_scores(scores, points):
    weights = np.full(500, 1 / 500)
    assert_picture(plots.score_histogram(scores, weights, {"A → 4ℓ": scores[:9]}, 2**-4, thresholds(*points)))
    assert_picture(plots.fixed_against_float(scores / 16, scores / 17, "ae"))


@pytest.mark.parametrize("n", [0, 1, 50])
def test_curves_end_where_events_do(n):
    assert_picture(plots.roc({"A → 4ℓ": curve(n)}, thresholds(REFUSED), {"A → 4ℓ": []}))


def test_curves_with_a_working_point():
    signals = ("A → 4ℓ", "h± → τν")
    assert_picture(plots.roc({s: curve(50) for s in signals}, thresholds(REFUSED, MET), {s: [0.5] for s in signals}))


def test_losses_and_bars():
    assert_picture(
        plots.losses(
            {f"{label}_{part}": (1.0, 0.5) for label in ("float", "quantised") for part in ("train", "validation")}
        )
    )
    rows = {"ae": {"A → 4ℓ": (0.5, 0.01), "LQ → bτ": (0.1, 0.0)}, "Σ pT": {"LQ → bτ": (0.2, 0.02)}}
    assert_picture(plots.efficiency_bars(rows, "efficiency at 10 kHz", "simulated, before dead time"))
