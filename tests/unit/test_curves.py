"""Every point of a curve is the rate, or efficiency, of its threshold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1ad.emulate.histogram import MAX_BINS, Histogram
from l1ad.trigger.counted import Counted
from l1ad.trigger.curves import (
    EfficiencyAtRate,
    Imprecise,
    efficiency_at,
    efficiency_curve,
    rate_curve,
    scan,
    turn_on,
)
from l1ad.trigger.efficiency import Efficiency, efficiency
from l1ad.trigger.histograms import efficiency_of, rate_above, threshold_for, working_point_of
from l1ad.trigger.rates import (
    MIN_EFFECTIVE,
    Rate,
    Refused,
    Threshold,
    accept,
    find_threshold,
    rate,
    threshold_of,
    working_point,
)
from l1ad.trigger.samples import UNIT

CROSSING_HZ = 2.0**20
N = 1 << 14


def counted(scores, weights=None, category=None, unit=UNIT, categories=2, shift=0):
    low, high = int(np.min(scores)) - 3, int(np.max(scores)) + 5
    if shift:
        high = low + (MAX_BINS << shift) - 1
    return Histogram("digest", low, high, categories, None if weights is None else unit).fill(scores, category, weights)


def outcome(function, *arguments, **named):
    """A rate, or None where it is refused."""
    try:
        return function(*arguments, **named)
    except ValueError as error:
        if "n_eff" in str(error):
            return None
        raise


def known(found):
    return found if isinstance(found, Rate) else None


def same(a, b):
    """Rates that differ in the last bits of n_eff at most: `rate` adds weights of groups in floats."""
    if a is None or b is None:
        return a is b
    close = [math.isclose(getattr(a, name), getattr(b, name), rel_tol=1e-14) for name in ("n_effective", "error_hz")]
    return all(close) and (a.value_hz, a.n_raw, a.stage) == (b.value_hz, b.n_raw, b.stage)


@st.composite
def samples(draw):
    """Scores with ties, weights that are powers of two and sum to 1 (sums of floats are exact), menu, collisions."""
    n = draw(st.integers(30, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([1, 5, 50, 10_000]))
    scores = rng.integers(-spread, spread, n, endpoint=True)
    powers = rng.integers(0, draw(st.sampled_from([1, 4, 9])), n, endpoint=True)
    missing = (1 << 18) - int((1 << powers).sum())
    filler = [bit for bit in range(18) if missing >> bit & 1]
    scores = np.concatenate([scores, np.full(len(filler), -spread)])
    weights = np.concatenate([2.0**powers, 2.0 ** np.array(filler)]) / 2**18
    groups = rng.integers(-3, draw(st.sampled_from([3, 100])), len(scores))
    return scores, weights, rng.random(len(scores)) < draw(st.sampled_from([0, 0.3, 1])), groups


def every(scores):
    """Thresholds: all near those that occur."""
    codes = np.unique(scores)[:: max(1, len(np.unique(scores)) // 12)]
    return np.unique(np.concatenate([codes - 1, codes, codes + 1])).tolist()


@given(samples())
def test_every_rate_is_that_of_its_threshold(sample):
    scores, weights, taken, groups = sample
    histogram = counted(scores, weights, taken)
    whole = rate_curve(Counted.of_histogram(histogram), CROSSING_HZ, simulated=True)
    pure = rate_curve(Counted.of_histogram(histogram, [0]), CROSSING_HZ, simulated=True)
    stored = rate_curve(Counted.of_scores(scores, weights), CROSSING_HZ, simulated=True)
    grouped = rate_curve(Counted.of_scores(scores, weights, groups), CROSSING_HZ, simulated=True)
    for t in every(scores):
        expected = outcome(rate, scores, weights, t, CROSSING_HZ, simulated=True)
        assert known(whole.at(t)) == expected == outcome(rate_above, histogram, t, CROSSING_HZ, simulated=True)
        assert known(stored.at(t)) == expected
        by_group = outcome(rate, scores, weights, t, CROSSING_HZ, simulated=True, groups=groups)
        assert same(known(grouped.at(t)), by_group)
        left = outcome(rate_above, histogram, t, CROSSING_HZ, simulated=True, categories=[0])
        assert known(pure.at(t)) == left
    beyond = int(scores.max()) + 1
    assert whole.at(beyond) == Refused(0.0, 0, whole.at(beyond).remedy)


@given(samples(), st.floats(1e-4, 0.9))
def test_a_threshold_is_that_of_stored_scores(sample, fraction):
    scores, weights, taken, groups = sample
    target, named = fraction * CROSSING_HZ, {"simulated": True}
    histogram = counted(scores, weights, taken)
    assert threshold_of(Counted.of_histogram(histogram), target, CROSSING_HZ, **named) == threshold_for(
        histogram, target, CROSSING_HZ, **named
    )
    stored = find_threshold(scores, weights, target, CROSSING_HZ, groups=groups, **named)
    found = threshold_of(Counted.of_scores(scores, weights, groups), target, CROSSING_HZ, **named)
    assert type(found) is type(stored)
    if isinstance(found, Threshold):
        assert found.raw == stored.raw
        assert same(found.rate, stored.rate)
    point = working_point(scores, weights, taken, target, CROSSING_HZ, groups=groups, **named)
    if isinstance(point.threshold, Threshold):
        left = rate_curve(Counted.of_scores(scores, weights, groups, ~taken), CROSSING_HZ, **named)
        assert same(known(left.at(point.threshold.raw)), known(point.pure))


@given(samples())
def test_every_efficiency_is_that_of_its_threshold(sample):
    scores, weights, taken, _ = sample
    plain, weighted = counted(scores, None, taken), counted(scores, weights, taken)
    curves = [efficiency_curve(Counted.of_histogram(h)) for h in (plain, weighted)]
    stored = [efficiency_curve(Counted.of_scores(scores, w)) for w in (None, 1024 * weights)]
    added = efficiency_curve(Counted.of_histogram(plain, [0]))
    for t in [*every(scores), int(scores.max()) + 1]:
        assert curves[0].at(t) == stored[0].at(t) == efficiency(scores, None, t) == efficiency_of(plain, t)
        assert curves[1].at(t) == stored[1].at(t) == efficiency(scores, weights, t) == efficiency_of(weighted, t)
        assert added.at(t).value == (accept(scores, t) & ~taken).sum() / len(scores)
    assert (curves[0].lows <= curves[0].values).all()
    assert (curves[0].values <= curves[0].highs).all()


def test_weights_of_any_kind_agree_to_rounding():
    rng = np.random.default_rng(1)
    scores, weights = rng.integers(0, 900, 20_000), rng.exponential(size=20_000) ** 3
    weights /= weights.sum()
    groups = rng.integers(-1, 8000, 20_000)
    exact = rate_curve(Counted.of_histogram(counted(scores, weights)), CROSSING_HZ, simulated=True)
    stored = rate_curve(Counted.of_scores(scores, weights, groups), CROSSING_HZ, simulated=True)
    np.testing.assert_array_equal(exact.thresholds, np.arange(900))
    for t in range(0, 900, 50):
        close = rate(scores, weights, t, CROSSING_HZ, simulated=True)
        assert exact.at(t).value_hz == pytest.approx(close.value_hz, rel=1e-12)
        assert exact.at(t) == rate_above(counted(scores, weights), t, CROSSING_HZ, simulated=True)
        close = rate(scores, weights, t, CROSSING_HZ, simulated=True, groups=groups)
        assert stored.at(t).error_hz == pytest.approx(close.error_hz, rel=1e-12)
    tenth = Histogram("d", 0, 899, unit=0.7 * 2**-60).fill(scores, None, weights)  # a unit that is no power of two
    odd = rate_curve(Counted.of_histogram(tenth), CROSSING_HZ, simulated=True)
    assert odd.at(300) == rate_above(tenth, 300, CROSSING_HZ, simulated=True)


def test_order_does_not_matter():
    rng = np.random.default_rng(2)
    scores, weights, groups = rng.integers(0, 50, 3000), rng.random(3000), rng.integers(-1, 700, 3000)
    weights /= weights.sum()
    mixed = rng.permutation(3000)
    one = Counted.of_scores(scores, weights, groups)
    other = Counted.of_scores(scores[mixed], weights[mixed], groups[mixed])
    for name in ("codes", "events", "sums", "effective", "skewness"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_uniform_scores_fall_linearly_and_end_where_too_few_are_left():
    curve = rate_curve(Counted.of_scores(np.arange(N), np.full(N, 1 / N)), CROSSING_HZ, simulated=False)
    left = N - np.arange(N)
    supported = left >= MIN_EFFECTIVE
    np.testing.assert_array_equal(curve.rates_hz[supported], CROSSING_HZ / N * left[supported])
    np.testing.assert_array_equal(curve.errors_hz[supported], 64 * left[supported] / np.sqrt(left[supported]))
    assert np.isnan(curve.rates_hz[~supported]).all()
    assert np.isnan(curve.errors_hz[~supported]).all()
    np.testing.assert_array_equal(curve.n_effective, left)
    assert (~supported).sum() == MIN_EFFECTIVE - 1
    assert curve.stage == "zero-bias data, before dead time"


def test_exponential_scores_fall_exponentially():
    rng = np.random.default_rng(3)
    scores = (rng.exponential(200.0, 400_000)).astype(np.int64)
    curve = rate_curve(Counted.of_histogram(counted(scores, categories=1)), 1e6, simulated=True)
    for t in (100, 400, 1000, 1600):
        expected = 1e6 * math.exp(-t / 200)
        assert abs(curve.at(t).value_hz - expected) < 4 * curve.at(t).error_hz
        assert curve.at(t).error_hz == pytest.approx(expected / math.sqrt(0.4 * expected), rel=0.1)


def test_wide_bins():
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 5000, 2000)
    histogram = counted(scores, shift=3)
    curve = rate_curve(Counted.of_histogram(histogram), CROSSING_HZ, simulated=True)
    edge = int(scores.min()) - 3 + 8 * 100
    assert curve.at(edge) == rate_above(histogram, edge, CROSSING_HZ, simulated=True)
    with pytest.raises(ValueError, match=f"edge of the histogram's bins of 8 codes, not {edge + 1}; take {edge} or"):
        curve.at(edge + 1)


def test_added_efficiency_at_a_pure_rate():
    """Half of the events of each score are the menu's: a quarter of the range is 1/8 of the crossings."""
    scores, taken = np.arange(N), np.arange(N) % 2 == 1
    left = Counted.of_scores(scores, np.full(N, 1 / N), part=~taken)
    signal = np.arange(0, N, 2)
    beyond = Counted.of_scores(signal, part=np.arange(len(signal)) % 2 == 0)
    (point,) = scan(left, {"signal": beyond}, [CROSSING_HZ / 8], CROSSING_HZ, simulated=True)
    assert isinstance(point.threshold, Threshold)
    assert point.threshold.raw == 3 * N // 4 - 1
    assert point.threshold.rate.value_hz == CROSSING_HZ / 8
    found = point.efficiencies["signal"]
    assert found.efficiency.value == 1 / 8
    n, quarter = N / 2, N / 16
    assert found.efficiency.n == n
    assert found.efficiency.high - 1 / 8 == pytest.approx(math.sqrt(quarter * 7 / 8) / n, rel=0.05)
    relative = 1 / math.sqrt(N / 8)  # error of the rate, hence of what is above the threshold
    assert found.by_threshold_high == pytest.approx(1 / 8 * (1 + relative), rel=2e-3)
    assert found.by_threshold_low == pytest.approx(1 / 8 * (1 - relative), rel=2e-3)
    both = math.hypot(found.efficiency.high - 1 / 8, found.by_threshold_high - 1 / 8)
    assert found.high == 1 / 8 + both
    assert found.low < 1 / 8 < found.high
    assert "signal" in str(found)
    assert "threshold" in str(found)


def test_a_scan_gives_thresholds_known_well_enough_or_their_n_eff():
    background = Counted.of_scores(np.arange(N), np.full(N, 1 / N))
    targets = [64.0 * 500, 64.0 * 400, 64.0 * 399, 64.0 * 25, 64.0 * 24]
    points = scan(background, {"s": Counted.of_scores(np.arange(10))}, targets, CROSSING_HZ, simulated=True)
    kinds = [type(p.threshold) for p in points]
    assert kinds == [Threshold, Threshold, Imprecise, Imprecise, Refused]
    assert [bool(p.efficiencies) for p in points] == [True, True, True, True, False]
    assert str(points[2].threshold) == "refused: n_eff 399 < 400 (5.0 % error, 5 % asked)"
    assert str(points[3].threshold) == "refused: n_eff 25 < 400 (20.0 % error, 5 % asked)"
    assert str(points[4].threshold) == "refused: n_eff 24 < 25"
    (loose,) = scan(background, {}, [64.0 * 25], CROSSING_HZ, simulated=True, precision=0.2)
    assert isinstance(loose.threshold, Threshold)
    with pytest.raises(ValueError, match="precision must be between 0 and 1, not 5"):
        scan(background, {}, [1e3], CROSSING_HZ, simulated=True, precision=5)


def test_a_pure_scan_finds_the_working_points_pure_rate():
    rng = np.random.default_rng(5)
    scores, taken = rng.integers(0, 4000, 50_000), rng.random(50_000) < 0.4
    histogram = counted(scores, None, taken)
    point = working_point_of(histogram, 1e5, CROSSING_HZ, simulated=True)
    (pure,) = scan(Counted.of_histogram(histogram, [0]), {}, [point.pure.value_hz], CROSSING_HZ, simulated=True)
    assert pure.threshold.raw == point.threshold.raw
    assert pure.threshold.rate == point.pure


def test_an_efficiency_at_a_threshold():
    curve = efficiency_curve(Counted.of_scores(np.arange(100)))
    rate_ = Rate(1e3, 10.0, 1e4, 10_000, "simulated, before dead time")
    found = efficiency_at(curve, Threshold(50, 40, 70, rate_))
    assert found == EfficiencyAtRate(efficiency(np.arange(100), None, 50), 0.3, 0.6)


def test_turn_on():
    rng = np.random.default_rng(6)
    ht = rng.uniform(0, 400, 40_000)
    scores = np.rint(ht + rng.normal(0, 20, 40_000)).astype(np.int64)
    found = turn_on(scores, ht, [10, 100, 190, 210, 300, 350], 200)
    values = [e.value for e in found.efficiencies]
    assert values[0] == 0
    assert values[1] < 0.2
    assert abs(values[2] - 0.5) < 4 * (found.efficiencies[2].high - values[2])
    assert values[-1] == 1
    inside = (ht >= 190) & (ht < 210)
    assert found.efficiencies[2] == efficiency(scores[inside], None, 200)
    assert found.efficiencies[-1].n == (ht >= 300).sum()  # with what lies beyond
    assert sum(e.n for e in found.efficiencies) == (ht >= 10).sum()
    by = rng.random(40_000)
    assert turn_on(scores, ht, [10, 100, 190, 210, 400], 200, by).efficiencies[2] == efficiency(
        scores[inside], by[inside], 200
    )


def test_an_edge_belongs_to_the_bin_above():
    found = turn_on([9, 9, 1, 9], [10.0, 20.0, 20.0, 40.0], [10, 20, 30, 40], 5)
    assert [(e.value, e.n) if e else None for e in found.efficiencies] == [(1, 1), (0.5, 2), (1, 1)]


def test_turn_on_without_events():
    found = turn_on([1, 2], [5.0, math.inf], [0, 4, 8, 9, 10], 2, [0.0, 1.0])
    assert found.efficiencies == (None, None, None, Efficiency(1.0, found.efficiencies[3].low, 1.0, 1.0))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"edges": [3, 3]}, "edges must be two rising numbers, or more"),
        ({"edges": [3]}, "edges must be two rising numbers, or more"),
        ({"quantity": [1.0]}, r"quantity must be numbers of shape \(2,\), one per event, not \(1,\)"),
        ({"quantity": [1.0, math.nan]}, "quantity must be numbers"),
        ({"weights": [1.0, -1.0]}, "weights must be non-negative"),
    ],
)
def test_turn_on_refuses(change, text):
    named = {"scores": [1, 2], "quantity": [1.0, 2.0], "edges": [0, 9], "threshold": 1, **change}
    with pytest.raises(ValueError, match=text):
        turn_on(**named)


def test_what_cannot_be_counted():
    empty = Histogram("d", 0, 9)
    with pytest.raises(ValueError, match="histogram must hold at least one event, not 0; fill it"):
        Counted.of_histogram(empty)
    with pytest.raises(ValueError, match="positive sum of weights"):
        Counted.of_histogram(Histogram("d", 0, 9, unit=0.5).fill([1], None, [0.0]))
    with pytest.raises(ValueError, match=r"categories must be different ones of 0 .. 0, not \[1\]"):
        Counted.of_histogram(empty.fill([1]), [1])
    with pytest.raises(ValueError, match=r"part must be bool of shape \(2,\), not int64 \(2,\)"):
        Counted.of_scores([1, 2], part=np.array([0, 1]))
    with pytest.raises(ValueError, match=r"weights must sum to 1 within 0\.1, not 3"):
        rate_curve(Counted.of_scores([1, 2], [1.0, 2.0]), CROSSING_HZ, simulated=True)
    with pytest.raises(ValueError, match="crossing_rate_hz must be positive, not 0"):
        rate_curve(Counted.of_scores([1, 2]), 0, simulated=True)
    gap = np.array([True, False])
    with pytest.raises(ValueError, match="accepted must be all codes from a threshold on, not with gaps"):
        Counted.of_scores([1, 2]).probability(gap)


def test_all_passing_and_none():
    curve = rate_curve(Counted.of_scores(np.full(100, 7)), CROSSING_HZ, simulated=True)
    assert curve.at(-(10**6)) == curve.at(7) == Rate(CROSSING_HZ, CROSSING_HZ / 10, 100.0, 100, curve.stage, 100, 0.1)
    assert isinstance(curve.at(8), Refused)
    nothing = rate_curve(Counted.of_scores(np.full(100, 7), part=np.zeros(100, bool)), CROSSING_HZ, simulated=True)
    assert np.isnan(nothing.rates_hz).all()
    assert isinstance(nothing.at(7), Refused)
