"""Rates from histograms are those from stored scores."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1ad.emulate.histogram import MAX_BINS, Histogram
from l1ad.trigger.efficiency import efficiency
from l1ad.trigger.histograms import efficiency_of, rate_above, threshold_for, working_point_of
from l1ad.trigger.rates import Rate, Refused, Threshold, accept, find_threshold, rate, working_point

N = 1 << 14
SCORES = np.arange(N)
WEIGHTS = np.full(N, 1 / N)
CROSSING_HZ = 2.0**20  # so that one event of N is 64 Hz
UNIT = 2.0**-40


def counted(scores, weights=None, category=None, unit=UNIT, categories=1, shift=0):
    """Histogram of stored scores; with `shift`, of a score with so many codes a bin."""
    low, high = int(np.min(scores)) - 3, int(np.max(scores)) + 5
    if shift:
        high = low + (MAX_BINS << shift) - 1
    histogram = Histogram("digest", low, high, categories, None if weights is None else unit)
    assert histogram.shift == shift
    return histogram.fill(scores, category, weights)


def outcome(function, *arguments, **named):
    """What a function returns, or the text of its error."""
    try:
        return function(*arguments, **named)
    except (TypeError, ValueError) as error:
        return type(error), str(error)


@st.composite
def samples(draw):
    """Scores with ties, weights that are powers of two and sum to 1, decisions: sums of floats are exact."""
    n = draw(st.integers(30, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([1, 5, 50, 10_000]))
    scores = rng.integers(-spread, spread, n, endpoint=True)
    powers = rng.integers(0, draw(st.sampled_from([1, 4, 9])), n, endpoint=True)
    missing = (1 << 18) - int((1 << powers).sum())
    filler = [bit for bit in range(18) if missing >> bit & 1]
    scores = np.concatenate([scores, np.full(len(filler), -spread)])
    weights = np.concatenate([2.0**powers, 2.0 ** np.array(filler)]) / 2**18
    return scores, weights, rng.random(len(scores)) < draw(st.sampled_from([0, 0.3, 1]))


@given(samples(), st.integers(-60, 60))
def test_a_rate_is_that_of_stored_scores(sample, threshold):
    scores, weights, _ = sample
    expected = outcome(rate, scores, weights, threshold, CROSSING_HZ, simulated=True)
    assert outcome(rate_above, counted(scores, weights), threshold, CROSSING_HZ, simulated=True) == expected


@given(samples(), st.floats(1e-4, 1.2))
def test_a_working_point_is_that_of_stored_scores(sample, fraction):
    scores, weights, taken = sample
    target = fraction * CROSSING_HZ
    expected = outcome(working_point, scores, weights, taken, target, CROSSING_HZ, simulated=False)
    histogram = counted(scores, weights, taken, categories=2)
    assert outcome(working_point_of, histogram, target, CROSSING_HZ, simulated=False) == expected
    expected = outcome(find_threshold, scores, weights, target, CROSSING_HZ, simulated=True)
    assert outcome(threshold_for, histogram, target, CROSSING_HZ, simulated=True) == expected


@given(samples(), st.integers(-60, 60))
def test_an_efficiency_is_that_of_stored_scores(sample, threshold):
    scores, weights, _ = sample
    assert efficiency_of(counted(scores), threshold) == efficiency(scores, None, threshold)
    assert efficiency_of(counted(scores, weights), threshold) == efficiency(scores, weights, threshold)


@given(samples(), st.integers(0, 2**32))
def test_histograms_of_parts_add_up(sample, seed):
    scores, weights, taken = sample
    parts = np.random.default_rng(seed).integers(0, 3, len(scores))
    whole = Histogram("digest", -20_000, 20_000, 2, UNIT)
    for part in range(3):
        kept = parts == part
        whole.add(Histogram("digest", -20_000, 20_000, 2, UNIT).fill(scores[kept], taken[kept], weights[kept]))
    target = CROSSING_HZ / 4
    found, expected = (
        outcome(working_point_of, h, target, CROSSING_HZ, simulated=True)
        for h in (whole, counted(scores, weights, taken, categories=2))
    )
    assert found == expected


def test_any_weights_are_summed_exactly(rng):
    scores = rng.integers(0, 40, 5000)
    weights = 10 ** rng.uniform(-6, 0, 5000)
    weights /= weights.sum()
    histogram = counted(scores, weights, unit=2.0**-61)
    units = [round(w * 2**61) for w in weights[scores >= 30].tolist()]
    found = rate_above(histogram, 30, CROSSING_HZ, simulated=True)
    assert found.value_hz == CROSSING_HZ * (sum(units) / 2**61)
    assert found.n_effective == sum(units) ** 2 / sum(u * u for u in units)
    assert found.skewness == math.sqrt(sum(u**3 for u in units) ** 2 / sum(u**2 for u in units) ** 3)
    stored = rate(scores, weights, 30, CROSSING_HZ, simulated=True)
    assert (found.value_hz, found.error_hz) == pytest.approx((stored.value_hz, stored.error_hz), rel=1e-12)
    assert found.interval_hz == pytest.approx(stored.interval_hz, rel=1e-12)
    assert found.n_raw == stored.n_raw


def test_events_without_weights_have_equal_probabilities():
    for scores in (SCORES, np.arange(10_000)):
        n = len(scores)
        found = threshold_for(counted(scores), 40_000, CROSSING_HZ, simulated=True)
        stored = find_threshold(scores, np.full(n, 1 / n), 40_000, CROSSING_HZ, simulated=True)
        assert (found.raw, found.raw_low, found.raw_high) == (stored.raw, stored.raw_low, stored.raw_high)
        assert found.rate.value_hz == CROSSING_HZ * (found.rate.n_raw / n) == pytest.approx(stored.rate.value_hz)
        assert found.rate.n_effective == found.rate.n_raw == stored.rate.n_raw


TARGETS = (40_050, 65_536, 750, 64 * 25, 64 * 25 - 1, CROSSING_HZ, 2e6, CROSSING_HZ - 64, 0, -1, math.nan, math.inf)


@pytest.mark.parametrize("target_hz", TARGETS)
@pytest.mark.parametrize("scores", [SCORES, np.minimum(SCORES, N - 600), np.zeros(N, int), SCORES // 100])
def test_the_edge_cases_of_stored_scores(scores, target_hz):
    """The whole sample within the target, ties, a saturated highest code, refusals, targets that are none."""
    expected = outcome(find_threshold, scores, WEIGHTS, target_hz, CROSSING_HZ, simulated=True)
    for histogram in (counted(scores, WEIGHTS), counted(scores)):
        found = outcome(threshold_for, histogram, target_hz, CROSSING_HZ, simulated=True)
        assert found == expected or repr(found) == repr(expected)  # a target of nan


def test_the_edge_cases_are_reached():
    found = threshold_for(counted(np.minimum(SCORES, N - 600)), 20_000, CROSSING_HZ, simulated=True)
    assert isinstance(found, Refused)
    assert found.remedy.startswith(f"the score saturates: its highest code, {N - 600}, alone gives 38.4 +1.6 -1.5 kHz")
    assert str(threshold_for(counted(SCORES), 750, CROSSING_HZ, simulated=True)) == "refused: n_eff 11 < 25"
    with pytest.raises(ValueError, match="target_hz must be below the rate of the whole sample"):
        threshold_for(counted(SCORES), 2e6, CROSSING_HZ, simulated=True)
    with pytest.raises(ValueError, match=rf"n_eff of at least 25, not 24; at threshold {N - 24}, 24 raw .*tail"):
        rate_above(counted(SCORES), N - 24, CROSSING_HZ, simulated=True)


@pytest.mark.parametrize("threshold", [-1000, -3, 0, 5, N - 25, N - 24, N - 1, N, 10**9, 1.0, True, "1"])
@pytest.mark.parametrize("crossing_hz", [CROSSING_HZ, 0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("simulated", [True, False, 1])
def test_rates_of_any_threshold(threshold, crossing_hz, simulated):
    expected = outcome(rate, SCORES, WEIGHTS, threshold, crossing_hz, simulated=simulated)
    for histogram in (counted(SCORES, WEIGHTS), counted(SCORES)):
        found = outcome(rate_above, histogram, threshold, crossing_hz, simulated=simulated)
        assert isinstance(found, Rate) is isinstance(expected, Rate)
        assert found == expected


def test_the_pure_rate_is_of_categories_that_no_seed_takes():
    seeds = np.zeros(N, np.int64)
    seeds[N - 400 : N - 200] = 1
    seeds[N - 250 : N - 150] += 2
    expected = working_point(SCORES, WEIGHTS, seeds > 0, 25_600, CROSSING_HZ, simulated=True)
    assert expected.pure.n_raw == 150
    histogram = counted(SCORES, WEIGHTS, seeds, categories=4)
    assert working_point_of(histogram, 25_600, CROSSING_HZ, simulated=True, taken=(1, 2, 3)) == expected
    alone = counted(SCORES, WEIGHTS, N - 3 > SCORES, categories=2)
    point = working_point_of(alone, 40_000, CROSSING_HZ, simulated=True)
    assert isinstance(point.threshold, Threshold)
    assert str(point.pure) == "refused: n_eff 3 < 25"
    refused = working_point_of(alone, 750, CROSSING_HZ, simulated=True)
    assert str(refused.threshold) == str(refused.rate) == str(refused.pure) == "refused: n_eff 11 < 25"


def test_rates_of_categories_add_up_and_efficiencies_are_their_own():
    category = np.minimum(SCORES // 4096, 2)
    for weights in (WEIGHTS, None):
        histogram = counted(SCORES, weights, category, categories=3)
        parts = [rate_above(histogram, 4096, CROSSING_HZ, simulated=True, categories=[c]).value_hz for c in (1, 2)]
        assert sum(parts) == rate_above(histogram, 4096, CROSSING_HZ, simulated=True).value_hz
        assert parts == [CROSSING_HZ / 4, CROSSING_HZ / 2]
        assert [efficiency_of(histogram, 12_288, [c]).value for c in range(3)] == [0, 0, 0.5]
        with pytest.raises(ValueError, match="not 0; at threshold 4096, 0 raw events"):
            rate_above(histogram, 4096, CROSSING_HZ, simulated=True, categories=[0])


@pytest.mark.parametrize("categories", [[], [2], [-1], [0, 0], [0, 7]])
def test_categories_that_are_none(categories):
    histogram = counted(SCORES, None, SCORES % 2, categories=2)
    text = r"categories must be different ones of 0 .. 1, not \["
    with pytest.raises(ValueError, match=text):
        rate_above(histogram, 0, CROSSING_HZ, simulated=True, categories=categories)
    with pytest.raises(ValueError, match=text):
        working_point_of(histogram, 4e4, CROSSING_HZ, simulated=True, taken=categories)
    with pytest.raises(ValueError, match=text):
        efficiency_of(histogram, 0, categories)


def test_a_histogram_must_be_of_a_whole_sample():
    with pytest.raises(ValueError, match=r"weights must sum to 1 within 0.1, not 2; .*stitch samples"):
        threshold_for(counted(SCORES, 2 * WEIGHTS), 4e4, CROSSING_HZ, simulated=True)
    with pytest.raises(ValueError, match=r"weights must sum to 1 within 0\.1, not 0; "):
        rate_above(counted(SCORES, 0 * WEIGHTS), 0, CROSSING_HZ, simulated=True)
    empty = Histogram("digest", 0, 9)
    for function in (rate_above, threshold_for):
        with pytest.raises(ValueError, match="histogram must hold at least one event, not 0; fill it"):
            function(empty, 1, CROSSING_HZ, simulated=True)
    with pytest.raises(ValueError, match="histogram must hold at least one event, not 0; fill it"):
        efficiency_of(empty, 1)
    with pytest.raises(ValueError, match="histogram must hold a positive sum of weights in the categories asked for"):
        efficiency_of(counted(SCORES, 0 * WEIGHTS), 1)
    with pytest.raises(ValueError, match="histogram must hold an event in the categories asked for"):
        efficiency_of(counted(SCORES, None, 0 * SCORES, categories=2), 1, [1])
    assert efficiency_of(counted(SCORES, 200 * WEIGHTS), N // 2).value == 0.5  # of any scale


def test_sums_of_squares_and_cubes_go_beyond_64_bits():
    histogram = counted(SCORES, WEIGHTS, unit=2.0**-61)
    found = rate_above(histogram, 0, CROSSING_HZ, simulated=True)
    assert (found.value_hz, found.n_effective, found.skewness) == (CROSSING_HZ, N, N**-0.5)


@pytest.mark.parametrize("weights", [WEIGHTS, None])
def test_wide_scores_have_thresholds_at_edges(weights):
    """Eight codes a bin: as if the scores were rounded down to edges."""
    histogram = counted(SCORES, weights, shift=3)
    assert (histogram.low, histogram.shift) == (-3, 3)
    edges = (SCORES + 3) // 8 * 8 - 3
    for target in (40_000, 1601, 1599, 64 * 16, CROSSING_HZ / 2):
        found = threshold_for(histogram, target, CROSSING_HZ, simulated=True)
        stored = find_threshold(edges, WEIGHTS, target, CROSSING_HZ, simulated=True)
        assert type(found) is type(stored)
        if isinstance(found, Threshold):
            assert (found.raw + 3) % 8 == (found.raw_low + 3) % 8 == (found.raw_high + 3) % 8 == 0
            assert 0 <= found.raw - stored.raw < 8  # the next edge
            assert found.rate == stored.rate == rate(SCORES, WEIGHTS, found.raw, CROSSING_HZ, simulated=True)
            assert not accept(edges, found.raw)[edges < found.raw].any()
        else:
            assert (found.n_raw, found.n_effective) == (stored.n_raw, stored.n_effective)
    assert rate_above(histogram, 8005, CROSSING_HZ, simulated=True) == rate(
        SCORES, WEIGHTS, 8005, CROSSING_HZ, simulated=True
    )
    for function in (efficiency_of, lambda h, t: rate_above(h, t, CROSSING_HZ, simulated=True)):
        with pytest.raises(
            ValueError,
            match=r"threshold must be an edge of the histogram's bins of 8 codes, not 8007; take 8005 or 8013, or "
            r"rates\.rate with stored scores",
        ):
            function(histogram, 8007)
    assert efficiency_of(histogram, -5).value == 1  # below and above all scores nothing is cut in two
    assert efficiency_of(histogram, histogram.high + 1).value == 0
