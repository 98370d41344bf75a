import numpy as np
import pytest

from l1ad.fixed import FixedPoint
from l1ad.hardware import estimator
from l1ad.hardware.estimator import calibration
from l1ad.hardware.resources import ESTIMATE, Resources, estimate
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Dense, Input


@pytest.fixture
def network():
    trigger = Input("trigger", ("a", "b"), np.full(2, -128), np.full(2, 127), FixedPoint(8, 0))
    weight, bias = np.array([[7], [3]]), np.array([1])
    score = Dense("score", "trigger", weight, FixedPoint(8, 0), bias, FixedPoint(4, 0), None, FixedPoint(20, 0))
    return Network((trigger, score))


def test_an_estimate_is_a_row(network):
    found = estimator.estimate(network, 2.8)
    assert found.lut > 0
    assert found.ff > 0
    assert estimate(network, Target(part="xcvu9p", clock_ns=2.8)) == Resources(
        *(ESTIMATE, estimator.method(), "xcvu9p", 2.8, found.lut, found.ff, 0, 0),
        *(found.latency_cycles, 1, found.latency_cycles * 2.8),
    )


def test_an_estimate_says_how_wrong_it_is(network):
    text, error = estimate(network, Target()).tool, calibration()["error"]
    assert (
        f"calibrated against Yosys {error['yosys']} on {error['fitted']} networks; on {error['held_out']} others"
        in text
    )
    assert f"LUT: median error {error['lut_median']:.0%}, 90 % within {error['lut_90']:.0%}" in text
    assert f"FF: median error {error['ff_median']:.0%}, 90 % within {error['ff_90']:.0%}" in text


def test_an_estimate_with_reuse_is_refused(network):
    with pytest.raises(ValueError, match="resource estimate needs reuse_factor 1, not 2; synthesise instead"):
        estimate(network, Target(reuse_factor=2))


def test_a_stage_that_there_is_not():
    with pytest.raises(ValueError, match=r"stage must be one of .*'place-and-route'.*, not 'guess'"):
        Resources("guess", "tool", "part", None, *[None] * 7)
