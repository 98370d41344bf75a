"""Exact sums of stored events, and the interval of a share of a rate."""

import numpy as np
import pytest

from l1ad.trigger.rates import Rate, Refused, find_threshold, threshold_of
from l1ad.trigger.samples import UNIT
from l1ad.trigger.shares import WeightedEvents, decided

N = 4000
ALL = np.ones(N, np.bool_)


def sample(weights=None, groups=None, scores=None):
    weights = np.full(N, 1 / N) if weights is None else weights
    return WeightedEvents.of(np.arange(N) if scores is None else scores, weights, groups)


def test_known_share():
    found = sample().share(np.arange(N) < 100, np.arange(N) < 400)
    assert (found.value, found.n) == (0.25, pytest.approx(400, rel=1e-9))
    assert found.low < 0.25 < found.high
    assert found.high - found.low == pytest.approx(2 * np.sqrt(0.25 * 0.75 / 400), rel=0.06)  # a code wider than Wald


def test_only_the_part_within_the_whole_counts():
    found = sample().share(np.arange(N) >= 300, np.arange(N) < 400)
    assert (found.value, found.n) == (0.25, pytest.approx(400))


def test_nothing_and_everything_have_a_limit():
    nothing, everything = sample().share(~ALL, ALL), sample().share(ALL, ALL)
    assert (nothing.value, nothing.low, everything.value, everything.high) == (0, 0, 1, 1)
    assert nothing.high == pytest.approx(1 - everything.low)
    assert nothing.high == pytest.approx(1 - 0.158655254 ** (1 / N), rel=1e-6)


def test_share_of_too_few_is_refused():
    assert isinstance(sample().share(ALL, np.arange(N) < 24), Refused)
    assert isinstance(sample().rate(np.arange(N) < 24, 1e6, simulated=True), Refused)
    assert isinstance(sample().rate(np.arange(N) < 25, 1e6, simulated=True), Rate)
    assert isinstance(sample().share(~ALL, ~ALL), Refused)


def test_order_of_events_does_not_matter():
    rng = np.random.default_rng(1)
    weights = rng.lognormal(sigma=4, size=N)
    weights /= weights.sum()
    order = rng.permutation(N)
    one, other = sample(weights), sample(weights[order])
    part = rng.random(N) < 0.3
    assert one.sum(part) == other.sum(part[order])
    assert one.probability(part) == other.probability(part[order])
    assert one.probability(part) == pytest.approx(weights[part].sum(), rel=1e-12)
    assert one.sum(part) * UNIT == one.probability(part)


def test_thresholds_are_those_of_stored_scores():
    rng = np.random.default_rng(2)
    scores, weights = rng.integers(0, 3000, N), rng.exponential(size=N)
    weights, groups = weights / weights.sum(), rng.integers(0, 1000, N)
    for target in (2e5, 5e4, 2e4, 2e3):
        found = threshold_of(sample(weights, groups, scores), target, 1e6, simulated=True)
        known = find_threshold(scores, weights, target, 1e6, simulated=True, groups=groups)
        if isinstance(known, Refused):
            assert found == known
            continue
        assert (found.raw, found.raw_low, found.raw_high) == (known.raw, known.raw_low, known.raw_high)
        assert found.rate.value_hz == pytest.approx(known.rate.value_hz, rel=1e-12)
        assert found.rate.n_effective == known.rate.n_effective


def test_events_of_one_collision_count_once():
    part, whole = np.arange(N) % 8 < 2, np.arange(N) < 800
    alone = sample().share(part, whole)
    grouped = sample(groups=np.arange(N) // 2).share(part, whole)  # pairs of the same decision
    assert grouped.value == alone.value
    assert grouped.n == pytest.approx(alone.n / 2)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
@pytest.mark.parametrize("truth", [0.08, 0.5])
def test_interval_covers(sigma, truth):
    rng, covered, toys = np.random.default_rng(3), 0, 1500
    for _ in range(toys):
        weights = rng.lognormal(sigma=sigma, size=500)
        part = rng.random(500) < truth
        found = WeightedEvents.of(np.arange(500), weights / weights.sum(), None).share(part, np.ones(500, np.bool_))
        covered += found.low <= truth <= found.high
    assert 0.6827 - 3 * np.sqrt(0.22 / toys) - 0.02 * (sigma > 0) < covered / toys < 0.80


def test_interval_knows_when_the_part_is_heavier():
    """Heavy events decide the share: far fewer than the effective number of all would say."""
    weights = np.where(np.arange(N) < 40, 0.2 / 40, 0.8 / (N - 40))
    heavy = sample(weights).share(np.arange(N) < 40, ALL)
    assert heavy.value == pytest.approx(0.2)
    variance = 0.8**2 * 0.2**2 / 40 + 0.2**2 * 0.8**2 / (N - 40)
    assert heavy.n == pytest.approx(0.2 * 0.8 / variance)


def test_decisions_are_checked():
    assert decided([True, False], 2, "a").tolist() == [True, False]
    with pytest.raises(TypeError, match="decisions of HTT360er must be bool, not int64; compare the seeds first"):
        decided([1, 0], 2, "HTT360er")
    with pytest.raises(ValueError, match=r"decisions of HTT360er must have shape \(3,\), not \(2,\)"):
        decided([True, False], 3, "HTT360er")
