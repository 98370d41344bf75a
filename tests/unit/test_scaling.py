import numpy as np
import pytest

from l1ad.events.schema import InputColumn
from l1ad.models.scaling import MIN_PRESENT, Scaling, fit_scaling


def columns(*names):
    return tuple(InputColumn(name, -5000, 5000, 1.0, "1") for name in names)


def fit(x, names, presence):
    scaling = fit_scaling(np.array(x, np.int64), columns(*names), np.array(presence))
    return scaling.offset.tolist(), scaling.shift.tolist()


@pytest.mark.parametrize(
    ("values", "offset", "shift"),
    [
        # 1 .. 1001 in equal steps: p5 = 51, p95 = 951; 900 / 4 = 225 needs 8 bits
        (np.arange(1, 1002), 501, 8),
        # p5 = 1 + 0.05 * 1024, width 0.9 * 1024 = 921.6; 230.4 needs 8 bits
        (np.arange(1, 1026), 513, 8),
        # two values, width 4: exactly 2**0 * 4
        (np.repeat([10, 14], 500), 12, 0),
        # width 1: a quarter, so the network sees multiples of 4
        (np.repeat([10, 11], 500), 10, -2),
        (np.repeat([10, 15], 500), 12, 1),
        # constant
        (np.full(1000, 7), 7, 0),
    ],
)
def test_scaling_of_known_distributions(values, offset, shift):
    x = np.stack([values, values, -values], 1)
    offsets, shifts = fit(x, ["met_pt", "met_eta", "met_phi"], [0, 0, 0])
    assert (offsets[:2], shifts[0]) == ([offset, offset], shift)
    # the span of eta and phi is a quarter of that of pT
    assert shifts[1:] == ([shift + 2] * 2 if np.ptp(values) else [0, 0])


def test_events_without_the_object_do_not_count():
    pt = np.concatenate([np.arange(1, 1002), np.zeros(5000)])
    eta = np.concatenate([np.full(1001, 40), np.full(5000, -3)])
    assert fit(np.stack([pt, eta], 1), ["jet0_pt", "jet0_eta"], [0, 0]) == ([501, 40], [8, 0])


def test_a_rare_object_takes_the_scaling_of_the_one_before_it():
    first, events = np.arange(1, 1002), 1001

    def of(present):
        second = np.where(np.arange(events) < present, 10, 0)
        x = np.stack([first, -first, second, second], 1)
        return fit(x, ["mu0_pt", "mu0_eta", "mu1_pt", "mu1_eta"], [0, 0, 2, 2])

    assert of(MIN_PRESENT) == ([501, -501, 10, 10], [8, 10, 0, 0])
    assert of(MIN_PRESENT - 1) == ([501, -501, 501, -501], [8, 10, 8, 10])
    assert of(0) == ([501, -501, 501, -501], [8, 10, 8, 10])


def test_an_object_that_no_event_has_and_none_comes_before_is_left_alone():
    assert fit(np.zeros((10, 2)), ["tau0_pt", "met_pt"], [0, 1]) == ([0, 0], [0, 0])


def test_scaled_pts_are_about_minus_2_to_2():
    rng = np.random.default_rng(5)
    x = rng.normal(300, [2, 30, 700], (20_000, 3)).round().astype(np.int64)
    scaling = fit_scaling(x, columns("a_pt", "b_pt", "c_pt"), np.arange(3))
    assert isinstance(scaling, Scaling)
    low, high = np.percentile((x - scaling.offset) * 2.0**-scaling.shift, [5, 95], axis=0)
    assert ((high - low > 2) & (high - low <= 4)).all()
    assert (np.abs(low + high) <= 2.0 ** (1 - scaling.shift)).all()
