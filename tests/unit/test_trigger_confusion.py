"""Two detectors at equal rates: known overlaps."""

import numpy as np
import pytest

from l1ad.trigger.preferences.confusion import compare_decisions, confusion, plane
from l1ad.trigger.rates import Refused
from l1ad.trigger.shares import WeightedEvents

N = 10_000
CROSSING_HZ = 1e6  # one event is 100 Hz
WEIGHTS = np.full(N, 1 / N)
SCORES = np.arange(N)


def found(first=SCORES, second=SCORES, weights=WEIGHTS, target_hz=1e5, **more):
    return confusion({"a": first, "b": second}, weights, target_hz, CROSSING_HZ, simulated=True, **more)


def test_known_overlap():
    shifted = (SCORES + 400) % N  # accepts 8600..9599 where the first accepts 9000..9999
    result = found(second=shifted)
    d = result.decisions
    assert result.detectors == ("a", "b")
    assert [t.raw for t in result.thresholds] == [9000, 9000]
    rates = [d.both, d.only_first, d.only_second, d.neither]
    assert [r.n_raw for r in rates] == [600, 400, 400, 8600]
    assert [r.value_hz for r in rates] == pytest.approx([6e4, 4e4, 4e4, 8.6e5])
    assert d.both.error_hz == pytest.approx(6e4 / np.sqrt(600))
    assert sum(r.value_hz for r in rates) == pytest.approx(CROSSING_HZ)
    assert d.jaccard.value == pytest.approx(600 / 1400)
    assert d.jaccard.n == pytest.approx(1400)
    assert d.kappa.value == pytest.approx((0.92 - 0.82) / (1 - 0.82))  # agree in 92 %, 82 % by chance
    assert d.both.stage == "simulated, before dead time"


def test_equal_detectors():
    d = found(second=SCORES * 7 + 3).decisions
    assert d.jaccard.value == d.kappa.value == 1
    assert d.kappa.error == pytest.approx(0, abs=1e-12)
    assert isinstance(d.only_first, Refused)
    assert d.only_first.n_raw == d.only_second.n_raw == 0


def test_independent_detectors_have_no_kappa():
    rng = np.random.default_rng(4)
    d = found(second=rng.permutation(N)).decisions
    assert abs(d.kappa.value) < 4 * d.kappa.error
    assert d.jaccard.value == pytest.approx(0.1 / 1.9, abs=0.01)


def test_error_of_kappa_is_linear_in_the_weights():
    rng = np.random.default_rng(9)
    first, second = rng.random(200) < 0.6, rng.random(200) < 0.3
    weights = rng.exponential(size=200)
    weights /= weights.sum()

    def result(w):
        return compare_decisions(WeightedEvents.of(np.arange(200), w, None), first, second, 1e6, simulated=True).kappa

    step = 1e-6
    slopes = [(result(weights + step * e).value - result(weights - step * e).value) / (2 * step) for e in np.eye(200)]
    assert result(weights).error == pytest.approx(np.sqrt(np.sum((weights * slopes) ** 2)), rel=1e-5)


def test_error_of_kappa_is_its_spread():
    rng, values, errors = np.random.default_rng(6), [], []
    for _ in range(400):
        weights = rng.exponential(size=2000)
        sample = WeightedEvents.of(np.arange(2000), weights / weights.sum(), None)
        common, a, b = rng.random((3, 2000))
        result = compare_decisions(sample, (common < 0.1) | (a < 0.05), (common < 0.1) | (b < 0.1), 1e6, simulated=True)
        values.append(result.kappa.value)
        errors.append(result.kappa.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)  # 4 sigma


def test_events_of_one_collision_count_once():
    second = (SCORES + 400) % N
    alone, paired = found(second=second).decisions, found(second=second, groups=SCORES // 2).decisions
    assert paired.kappa.value == alone.kappa.value
    assert paired.kappa.error == pytest.approx(alone.kappa.error * np.sqrt(2))
    assert paired.both.n_effective == pytest.approx(300)


def test_the_order_of_detectors():
    second = (SCORES + 400) % N
    one, other = found(second=second).decisions, found(second, SCORES).decisions
    assert (one.both, one.only_first, one.only_second) == (other.both, other.only_second, other.only_first)
    assert (one.kappa.value, one.jaccard) == (other.kappa.value, other.jaccard)


def test_refused_where_a_threshold_is():
    assert isinstance(found(target_hz=2e3), Refused)
    assert isinstance(found(second=np.minimum(SCORES, 100)), Refused)  # saturates


def test_all_and_none_accepted():
    sample, every = WeightedEvents.of(SCORES, WEIGHTS, None), np.ones(N, np.bool_)
    both = compare_decisions(sample, every, every, CROSSING_HZ, simulated=False)
    assert (both.kappa.value, both.jaccard.value, both.both.value_hz) == (1, 1, pytest.approx(CROSSING_HZ))
    none = compare_decisions(sample, ~every, ~every, CROSSING_HZ, simulated=False)
    assert isinstance(none.kappa, Refused)
    assert isinstance(none.both, Refused)
    assert none.neither.stage == "zero-bias data, before dead time"
    apart = compare_decisions(sample, every, ~every, CROSSING_HZ, simulated=False)
    assert (apart.kappa.value, apart.jaccard.value) == (0, 0)


def test_plane_holds_all_probability():
    rng = np.random.default_rng(8)
    scores = {"a": rng.integers(-3, 5, N), "b": rng.integers(0, 2**20, N)}
    weights = rng.exponential(size=N)
    weights /= weights.sum()
    result = plane(scores, weights)
    contents = np.array(result.contents)
    assert contents.shape == tuple(len(edges) - 1 for edges in result.edges)
    assert contents.sum() == pytest.approx(1, abs=1e-12)
    expected, *_ = np.histogram2d(scores["a"], scores["b"], result.edges, weights=weights)
    assert contents == pytest.approx(expected, rel=1e-9)
    assert result.edges[0] == tuple(range(-3, 6))  # few codes: one bin each
    assert all(np.diff(edges).min() > 0 for edges in result.edges)


def test_plane_of_one_score():
    result = plane({"a": np.zeros(5, int), "b": np.arange(5)}, np.full(5, 0.2))
    assert result.edges == ((0, 1), (0, 1, 2, 3, 4, 5))
    assert result.contents == (pytest.approx((0.2,) * 5),)


@pytest.mark.parametrize(
    ("scores", "weights", "error", "text"),
    [
        ({"a": SCORES}, WEIGHTS, ValueError, r"scores must be of two detectors, not of 1: \['a'\]"),
        ({"a": SCORES, "b": SCORES[1:]}, WEIGHTS, ValueError, "scores must be of the same events, not of shapes"),
        ({"a": SCORES, "b": SCORES * 1.0}, WEIGHTS, TypeError, "scores must be integers that fit int64"),
        ({"a": SCORES[:0], "b": SCORES[:0]}, WEIGHTS[:0], ValueError, "scores must hold at least one event"),
        ({"a": SCORES, "b": SCORES}, -WEIGHTS, ValueError, "weights must be non-negative"),
        ({"a": SCORES, "b": SCORES}, 2 * WEIGHTS, ValueError, "weights must sum to 1 within 0.1, not 2"),
    ],
)
def test_what_is_refused(scores, weights, error, text):
    with pytest.raises(error, match=text):
        confusion(scores, weights, 1e5, CROSSING_HZ, simulated=True)
    with pytest.raises(error, match=text):
        plane(scores, weights)
