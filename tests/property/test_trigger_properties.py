import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from l1ad.trigger import Refused, Threshold, accept, auc, efficiency, find_threshold, working_point
from l1ad.trigger.samples import n_effective

CROSSING_HZ = 28_608_552.0


CODES = st.integers(-(2**40), 2**40) | st.integers(0, 20)


@st.composite
def samples(draw, codes=CODES):
    """Scores with many or few ties, and weights over four decades that sum to one."""
    n = draw(st.integers(30, 200))
    scores = np.array(draw(st.lists(codes, min_size=n, max_size=n)), np.int64)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = 10 ** rng.uniform(-draw(st.integers(0, 4)), 0, n)
    return scores, weights / weights.sum()


def accepted_hz(scores, weights, threshold):
    """The sum in whole units of 2**-61, in Python's integers."""
    units = [round(weight * 2**61) for weight in weights[accept(scores, threshold)].tolist()]
    return CROSSING_HZ * (sum(units) / 2**61)


fractions = st.floats(1e-3, 0.98)


@given(samples(), fractions)
def test_threshold_is_the_smallest_within_the_target(sample, fraction):
    target = fraction * CROSSING_HZ
    found = find_threshold(*sample, target, CROSSING_HZ, simulated=True)
    if isinstance(found, Threshold):
        assert found.rate.value_hz == accepted_hz(*sample, found.raw) <= target
        assert target < accepted_hz(*sample, found.raw - 1)
        assert found.raw_low <= found.raw <= found.raw_high
        assert found.rate.error_hz == pytest.approx(found.rate.value_hz / np.sqrt(found.rate.n_effective))
    else:
        assert found.n_effective < 25


@given(samples(), fractions, fractions)
def test_threshold_falls_as_the_target_rises(sample, one, other):
    low, high = sorted((one, other))
    tight, loose = (find_threshold(*sample, x * CROSSING_HZ, CROSSING_HZ, simulated=True) for x in (low, high))
    if isinstance(tight, Threshold) and isinstance(loose, Threshold):
        assert loose.raw <= tight.raw


@given(samples(), fractions, st.integers(-1000, 1000))
def test_threshold_follows_a_shift_of_the_codes(sample, fraction, shift):
    scores, weights = sample
    one = find_threshold(scores, weights, fraction * CROSSING_HZ, CROSSING_HZ, simulated=True)
    other = find_threshold(scores + shift, weights, fraction * CROSSING_HZ, CROSSING_HZ, simulated=True)
    if isinstance(one, Threshold):
        assert (other.raw, other.raw_low, other.raw_high) == (
            one.raw + shift,
            one.raw_low + shift,
            one.raw_high + shift,
        )
        assert other.rate == one.rate


@given(samples(), fractions, st.integers(0, 2**32))
def test_pure_rate_is_part_of_the_rate(sample, fraction, seed):
    seeds = np.random.default_rng(seed).random((len(sample[0]), 3)) < 0.1
    point = working_point(*sample, seeds, fraction * CROSSING_HZ, CROSSING_HZ, simulated=True)
    if not point.refused and not isinstance(point.pure, Refused):
        assert point.pure.value_hz <= point.rate.value_hz * (1 + 1e-12)
        assert point.pure.n_raw <= point.rate.n_raw


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_effective_number_is_at_most_the_number(weights):
    weights = np.array(weights, np.float64)
    assert 0 <= n_effective(weights) <= np.count_nonzero(weights) * (1 + 1e-12)


@given(samples(st.integers(0, 12)), samples(st.integers(0, 12)))
def test_auc_is_antisymmetric_and_scikit_learn_s(background, signal):
    value = auc(*background, *signal)
    assert value + auc(*signal, *background) == pytest.approx(1, abs=1e-12)
    truth = np.repeat([0, 1], [len(background[0]), len(signal[0])])
    scores, weights = (np.concatenate(pair) for pair in zip(background, signal, strict=True))
    assert value == pytest.approx(roc_auc_score(truth, scores, sample_weight=weights), abs=1e-12)


@given(samples(), st.integers(-5, 25), st.booleans())
def test_efficiency_lies_in_its_interval(sample, threshold, weighted):
    found = efficiency(sample[0], sample[1] if weighted else None, threshold)
    assert 0 <= found.low <= found.value <= found.high <= 1
