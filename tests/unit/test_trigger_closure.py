"""Float twin against firmware at fixed rate: known shifts, and what rounding the threshold would cost."""

import numpy as np
import pytest

from l1ad.trigger.preferences.closure import closure
from l1ad.trigger.preferences.correlation import kendall, spearman
from l1ad.trigger.rates import Refused

N = 10_000
CROSSING_HZ = 1e6  # one event is 100 Hz
WEIGHTS = np.full(N, 1 / N)
CODES = np.arange(N)
LSB = 2.0**-4


def closed(twin=CODES * LSB, raw=CODES, weights=WEIGHTS, targets=(1e5,), lsb=LSB, **more):
    return closure(twin, raw, weights, lsb, targets, CROSSING_HZ, simulated=True, **more)


def test_a_faithful_firmware():
    found = closed(CODES * LSB + LSB / 3)
    assert (found.spearman.value, found.kendall) == (pytest.approx(1), pytest.approx(1))
    assert found.n_effective == pytest.approx(N)
    point = found.points[0]
    assert (point.firmware.raw, point.twin.value) == (9000, 9000 * LSB + LSB / 3)
    assert point.firmware.rate == point.twin.rate
    assert (point.twin.value_low, point.twin.value_high) == tuple(
        code * LSB + LSB / 3 for code in (point.firmware.raw_low, point.firmware.raw_high)
    )
    assert point.decisions.kappa.value == point.decisions.jaccard.value == 1
    assert point.decisions.only_first.n_raw == point.decisions.only_second.n_raw == 0
    assert point.misplaced.raw == 9000
    assert (point.misplaced.error_hz.value, point.misplaced.error_hz.error) == (0, 0)
    assert point.misplaced.rate == point.firmware.rate


@pytest.mark.parametrize(("shift", "events"), [(-50, 50), (30, -30)])
def test_a_shifted_score_costs_rate_but_loses_no_event(shift, events):
    """The twin reads `shift` codes lower: its threshold as it stands accepts so many events too many."""
    point = closed((CODES + shift) * LSB).points[0]
    assert point.decisions.kappa.value == 1
    wrong = point.misplaced
    assert wrong.raw == 9000 + shift
    assert wrong.error_hz.value == pytest.approx(100 * events)
    assert wrong.error_hz.error == pytest.approx(100 * np.sqrt(abs(events)))
    assert wrong.error_percent.value == pytest.approx(events / 10)
    assert wrong.rate.n_raw == 1000 + events
    ratio = abs(events) / 1000  # events in between and events kept: of the ratio of two independent counts
    disjoint = 1 / abs(events) + 1 / 1000 if events > 0 else (1 / 30 - 1 / 1000)
    assert wrong.error_percent.error == pytest.approx(100 * ratio * np.sqrt(disjoint), rel=1e-6)


def test_a_rate_that_is_all_but_lost_has_an_error():
    """The twin reads 1500 codes higher: of 1000 events its threshold leaves none, of a sample that could miss one."""
    wrong = closed((CODES + 1500) * LSB).points[0].misplaced
    assert isinstance(wrong.rate, Refused)
    assert (wrong.rate.n_raw, wrong.error_percent.value) == (0, -100)
    assert wrong.error_percent.error == pytest.approx(100 / 1000)


def test_rounding_to_the_code():
    point = closed(CODES * LSB - 0.4 * LSB).points[0]
    assert (point.misplaced.raw, point.misplaced.error_hz.value) == (9000, 0)
    assert closed(CODES * LSB - 0.6 * LSB).points[0].misplaced.raw == 8999


def test_known_overlap():
    """The firmware confuses 1000 events above the threshold with 1000 below: 300 of either are swapped."""
    raw = CODES.copy()
    raw[9000:9300], raw[8000:8300] = CODES[8000:8300], CODES[9000:9300]
    found = closed(raw=raw)
    d = found.points[0].decisions
    assert [r.n_raw for r in (d.both, d.only_first, d.only_second)] == [700, 300, 300]
    assert d.jaccard.value == pytest.approx(700 / 1300)
    assert found.spearman.value == pytest.approx(spearman(CODES, raw, WEIGHTS))
    assert found.kendall == pytest.approx(kendall(CODES, raw, WEIGHTS))
    assert found.kendall == pytest.approx(1 - 4 * (300 * 1000 + 300 * 700) / (N * (N - 1)), abs=1e-3)


def test_a_coarse_score_is_tied():
    found = closed(raw=CODES // 100, lsb=100 * LSB, targets=(1.05e5,))
    point = found.points[0]
    assert point.firmware.raw == 90
    assert point.firmware.rate.n_raw == 1000
    assert point.twin.rate.n_raw == 1050
    assert [point.decisions.only_first.n_raw, point.decisions.only_second.n_raw] == [0, 50]
    assert point.misplaced.raw == 90  # 89.5 goes to the even code
    assert found.kendall < 1


def test_groups_and_weights_are_those_of_the_thresholds():
    found = closed(np.concatenate([CODES[:5000], CODES[:5000]]) * LSB, np.tile(CODES[:5000], 2), groups=CODES % 5000)
    assert found.n_effective == pytest.approx(5000)
    point = found.points[0]
    assert point.firmware.rate.n_effective == pytest.approx(500)
    assert point.twin.rate == point.firmware.rate
    rng = np.random.default_rng(2)
    order, weights = rng.permutation(N), rng.exponential(size=N)
    weights /= weights.sum()
    twin = rng.normal(size=N) + CODES * LSB
    one, other = closed(twin, weights=weights), closed(twin[order], CODES[order], weights[order])
    for a, b in zip(one.points, other.points, strict=True):
        assert (a.firmware.raw, a.twin.value, a.misplaced.raw) == (b.firmware.raw, b.twin.value, b.misplaced.raw)
        assert a.decisions.both.value_hz == b.decisions.both.value_hz


def test_refused_where_events_are_few():
    few = closed(targets=(2e3, 1e5)).points[0]
    assert all(isinstance(part, Refused) for part in (few.firmware, few.twin, few.decisions, few.misplaced))
    saturated = closed(raw=np.minimum(CODES, 8000)).points[0]
    assert isinstance(saturated.firmware, Refused)
    assert "saturates" in saturated.firmware.remedy
    assert saturated.twin.value == 9000 * LSB
    assert saturated.misplaced == saturated.decisions == saturated.firmware


NAN = np.where(CODES == 7, np.nan, CODES)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"twin": NAN}, ValueError, "twin must be finite, not nan; at event 7"),
        ({"twin": CODES[1:] * LSB}, ValueError, "twin must be of the same events as raw, 10000, not 9999"),
        ({"raw": CODES * 1.0}, TypeError, "scores must be integers that fit int64"),
        ({"weights": -WEIGHTS}, ValueError, "weights must be non-negative"),
        ({"weights": WEIGHTS[1:]}, ValueError, r"weights must have shape \(10000,\)"),
        ({"twin": [], "raw": [], "weights": []}, ValueError, "twin must have shape"),
        ({"lsb": 0.0}, ValueError, "lsb must be positive and finite, not 0.0"),
        ({"lsb": np.inf}, ValueError, "lsb must be positive and finite, not inf"),
        ({"raw": np.zeros(N, int)}, ValueError, r"twin \(x\) and raw \(y\): y must take at least two"),
        ({"targets": (1e7,)}, ValueError, "target_hz must be below the rate of the whole sample"),
        ({"targets": (-1.0,)}, ValueError, "target_hz must be positive"),
        ({"weights": np.where(CODES < 20, 0.05, 0)}, ValueError, "sample must have n_eff of at least 25, not 20"),
    ],
)
def test_what_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        closed(**arguments)
