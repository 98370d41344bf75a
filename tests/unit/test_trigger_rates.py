import math

import numpy as np
import pytest

from l1ad.trigger.rates import (
    PURE_DEFINITION,
    Collider,
    Rate,
    Refused,
    Threshold,
    accept,
    crossing_rate_hz,
    find_threshold,
    rate,
    working_point,
)
from l1ad.trigger.samples import Support, n_effective

N = 10_000
SCORES = np.arange(N)
WEIGHTS = np.full(N, 1 / N)
CROSSING_HZ = 1e6  # so that one event of N is 100 Hz


def measured(scores=SCORES, weights=WEIGHTS, threshold=0, crossing_hz=CROSSING_HZ):
    return rate(scores, weights, threshold, crossing_hz, simulated=True)


def test_crossing_rate_is_the_known_one():
    assert crossing_rate_hz() == 28_608_552.0
    assert crossing_rate_hz(1, 11_245.6) == 11_245.6
    assert Collider().crossing_rate_hz == 28_608_552.0
    assert abs(299_792_458 / 26_658.883 / 11_245.5 - 1) < 1e-6


def test_crossing_rate_refuses_the_published_digit_swap_by_name():
    with pytest.raises(ValueError, match=r"must be 11245\.5 .* not 11425; 11425 is a published swap of two digits"):
        crossing_rate_hz(2544, 11425)


@pytest.mark.parametrize("revolution_hz", [11_245.5 * 1.0011, 11_245.5 * 0.9989, math.nan, math.inf, 0])
def test_crossing_rate_refuses_another_revolution_frequency(revolution_hz):
    with pytest.raises(ValueError, match=r"revolution_hz must be 11245\.5 .*; use 11245\.5"):
        crossing_rate_hz(2544, revolution_hz)


def test_the_frequency_of_another_ring_is_forced():
    assert Collider(100, 11_000.0, forced=True).crossing_rate_hz == 1.1e6
    assert crossing_rate_hz(100, 11_000.0, forced=True) == 1.1e6
    for never in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(ValueError, match=r"revolution_hz must be 11245\.5"):
            Collider(100, never, forced=True)


@pytest.mark.parametrize("bunches", [0, 3565, -1])
def test_crossing_rate_refuses_impossible_bunches(bunches):
    with pytest.raises(ValueError, match=rf"colliding_bunches must be from 1 to 3564, not {bunches}"):
        Collider(bunches)


@pytest.mark.parametrize("bunches", [2544.0, True, "2544"])
def test_crossing_rate_counts_bunches(bunches):
    with pytest.raises(TypeError, match="colliding_bunches must be an integer"):
        crossing_rate_hz(bunches)


def test_accept_includes_the_threshold():
    assert accept([4, 5, 6], 5).tolist() == [False, True, True]
    assert accept(np.array([0, 255], np.uint8), 255).tolist() == [False, True]


@pytest.mark.parametrize("scores", [[1.0, 2.0], [True, False], np.array([1], np.uint64), ["1"]])
def test_accept_compares_integers(scores):
    with pytest.raises(TypeError, match=r"scores must be integers that fit int64 \(raw codes\), not"):
        accept(scores, 1)


@pytest.mark.parametrize(("threshold", "text"), [(1.0, "divide a value"), (True, "pass the code"), ("1", "divide")])
def test_accept_takes_a_code(threshold, text):
    with pytest.raises(TypeError, match=rf"threshold must be an integer \(raw code\), not .*{text}"):
        accept([1], threshold)


def test_scores_have_one_axis_and_events():
    with pytest.raises(ValueError, match=r"scores must have shape \(n,\), not \(1, 2\)"):
        accept([[1, 2]], 1)
    with pytest.raises(ValueError, match="scores must hold at least one event, not 0"):
        accept([], 1)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ([0.5, math.nan], r"weights must be finite, not nan; at event 1 \(1 in all\)"),
        ([math.inf, 0.5], "weights must be finite, not inf; at event 0"),
        ([1.5, -0.5], "weights must be non-negative, not -0.5; at event 1"),
        ([0.0, 0.0], "weights must have a positive sum, not 0"),
        ([1.0], r"weights must have shape \(2,\), one per event, not \(1,\)"),
        ([1.0, 1.0], "weights must sum to 1 within 0.1, not 2; .*stitch samples"),
    ],
)
def test_weights_are_refused(weights, text):
    with pytest.raises(ValueError, match=text):
        measured([1, 2], weights)


def test_weights_are_numbers():
    with pytest.raises(TypeError, match="weights must be real numbers, not bool"):
        measured([1, 2], [True, False])


def test_n_effective_has_known_values():
    assert n_effective(np.full(7, 0.3)) == pytest.approx(7)
    assert n_effective(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert n_effective(np.array([1e-200, 1e-200, 0.0])) == pytest.approx(2)
    assert n_effective(np.array([])) == 0


def test_skewness_has_known_values():
    assert Support.of(np.full(7, 0.3)) == (7, pytest.approx(7), pytest.approx(7**-0.5))
    assert Support.of(np.array([3.0, 1.0])) == (2, pytest.approx(1.6), pytest.approx(28 / 10**1.5))
    assert Support.of(np.array([1e-200, 3e-200, 0.0])) == (3, pytest.approx(1.6), pytest.approx(28 / 10**1.5))
    assert Support.of(np.array([1.0, 2.0, 1.0]), np.array([4, 0, 4])) == (3, 2, pytest.approx(2**-0.5))
    assert Support.of(np.array([])) == Support.of_sums(0, 0, 0, 0) == (0, 0, 0)
    assert Support.of_sums(2, 4, 10, 28) == (2, 1.6, pytest.approx(28 / 10**1.5))


def test_rate_of_equal_weights():
    found = measured(threshold=N - 400)
    assert found.value_hz == pytest.approx(40_000)
    assert found.error_hz == pytest.approx(40_000 / 20)
    assert (found.n_effective, found.n_raw) == (pytest.approx(400), 400)
    assert str(found) == "40 +2.1 -2 kHz (simulated, before dead time)"


def test_rate_of_stitched_weights():
    scores = np.repeat([0, 9, 9], [100, 100, 400])
    weights = np.repeat([0.00945, 0.0005, 0.0000125], [100, 100, 400])
    found = measured(scores, weights, 9)
    assert found.value_hz == pytest.approx(1e6 * 0.055)
    assert found.error_hz == pytest.approx(1e6 * math.sqrt(100 * 0.0005**2 + 400 * 0.0000125**2))
    assert found.n_effective == pytest.approx(0.055**2 / (100 * 0.0005**2 + 400 * 0.0000125**2))


def test_rate_says_when_it_is_of_data():
    found = rate(SCORES, WEIGHTS, 0, CROSSING_HZ, simulated=False)
    assert found.stage == "zero-bias data, before dead time"
    with pytest.raises(TypeError, match="simulated must be True or False, not 1"):
        rate(SCORES, WEIGHTS, 0, CROSSING_HZ, simulated=1)


def test_rate_of_few_events_is_refused():
    assert measured(threshold=N - 25).n_raw == 25
    with pytest.raises(ValueError, match=r"n_eff of at least 25, not 24; at threshold 9976, 24 raw .*tail"):
        measured(threshold=N - 24)
    with pytest.raises(ValueError, match="n_eff of at least 25, not 0; at threshold 10000, 0 raw events"):
        measured(threshold=N)
    with pytest.raises(ValueError, match=r"n_eff of at least 25, not 24\.9"):
        Rate(1.0, 0.2, 24.9999, 30, "any")


@pytest.mark.parametrize("crossing_hz", [0, -1.0, math.nan, math.inf])
def test_crossing_rate_is_positive(crossing_hz):
    with pytest.raises(ValueError, match="crossing_rate_hz must be positive, not"):
        measured(crossing_hz=crossing_hz)


def test_error_of_the_rate_covers_the_truth():
    """Stitched toys: exponential scores, the tail sampled 40 times more densely; w = 1 / (N_ZB + N_j n_j / p_j)."""
    rng = np.random.default_rng(7)
    n_bulk, n_tail, split, cut, toys = 2000, 4000, 300, 600, 1000
    p_tail, truth = math.exp(-3), math.exp(-6)
    covered = 0
    for _ in range(toys):
        in_bulk = rng.binomial(n_bulk, 1 - p_tail)
        tail = split + rng.exponential(100, n_bulk - in_bulk + n_tail)
        scores = np.concatenate([np.zeros(in_bulk), tail]).astype(np.int64)
        weights = np.concatenate([np.full(in_bulk, 1 / n_bulk), np.full(len(tail), 1 / (n_bulk + n_tail / p_tail))])
        found = measured(scores, weights, cut, 1.0)
        covered += abs(found.value_hz - truth) < found.error_hz
    assert covered / toys == pytest.approx(0.683, abs=0.045)


def test_threshold_of_uniform_scores():
    found = find_threshold(SCORES, WEIGHTS, 40_050, CROSSING_HZ, simulated=True)
    assert isinstance(found, Threshold)
    assert found.raw == N - 400
    assert found.rate == measured(threshold=N - 400)
    assert (found.raw_low, found.raw_high) == (
        N - 420,
        N - 380,
    )  # counts from 380 to 420 have intervals that hold 400.5


def test_threshold_reports_the_achieved_rate_at_ties():
    scores = np.repeat([10, 20, 30], [9000, 600, 400])
    found = find_threshold(scores, WEIGHTS, 99_000, CROSSING_HZ, simulated=True)
    assert isinstance(found, Threshold)
    assert found.raw == 21  # 20 would give 100 kHz; 21 is the smallest integer that does not
    assert found.rate.value_hz == pytest.approx(40_000)


def test_threshold_uncertainty_may_reach_the_whole_sample():
    found = find_threshold(np.arange(100), np.full(100, 0.01), 0.99, 1.0, simulated=True)
    assert isinstance(found, Threshold)
    assert found.raw_low == 0


def test_threshold_without_events_is_refused():
    found = find_threshold(SCORES, WEIGHTS, 750, CROSSING_HZ, simulated=True)
    assert found == Refused(pytest.approx(7), 7, found.remedy)
    assert str(found) == "refused: n_eff 7 < 25"
    assert "tail" in found.remedy
    assert str(Refused(24.99, 30, "")) == "refused: n_eff 24.9 < 25"


def test_saturated_score_is_named():
    found = find_threshold(np.minimum(SCORES, 9000), WEIGHTS, 50_000, CROSSING_HZ, simulated=True)
    assert isinstance(found, Refused)
    assert str(found) == "refused: n_eff 0 < 25"
    assert found.remedy.startswith("the score saturates: its highest code, 9000, alone gives 100 +3.1 -3 kHz")


@pytest.mark.parametrize("target_hz", [0, -1, math.nan, math.inf])
def test_target_is_positive(target_hz):
    with pytest.raises(ValueError, match="target_hz must be positive"):
        find_threshold(SCORES, WEIGHTS, target_hz, CROSSING_HZ, simulated=True)


def test_target_is_below_the_whole_sample():
    with pytest.raises(ValueError, match=r"target_hz must be below the rate of the whole sample, 1e\+06 Hz, not 2e"):
        find_threshold(SCORES, WEIGHTS, 2e6, CROSSING_HZ, simulated=True)


def test_pure_rate_is_what_no_seed_takes():
    seeds = np.zeros((N, 2), bool)
    seeds[N - 400 : N - 200, 0] = True
    seeds[N - 250 : N - 150, 1] = True
    point = working_point(SCORES, WEIGHTS, seeds, 40_050, CROSSING_HZ, simulated=True)
    assert not point.refused
    assert point.rate == measured(threshold=N - 400)
    assert point.pure.value_hz == pytest.approx(15_000)
    assert point.pure.error_hz == pytest.approx(15_000 / math.sqrt(150))
    assert (point.pure.n_raw, point.pure.stage) == (150, "simulated, before dead time")
    assert point == working_point(SCORES, WEIGHTS, seeds.any(axis=1), 40_050, CROSSING_HZ, simulated=True)
    assert "no unprescaled seed" in PURE_DEFINITION


def test_pure_rate_may_be_refused_alone():
    seeds = N - 3 > SCORES
    point = working_point(SCORES, WEIGHTS, seeds, 40_000, CROSSING_HZ, simulated=True)
    assert not point.refused
    assert str(point.pure) == "refused: n_eff 3 < 25"


def test_refused_working_point_has_no_threshold():
    point = working_point(SCORES, WEIGHTS, np.zeros(N, bool), 750, CROSSING_HZ, simulated=True)
    assert point.refused
    assert str(point.threshold) == str(point.rate) == str(point.pure) == "refused: n_eff 7 < 25"


def test_seed_decisions_are_bool_and_of_the_same_events():
    with pytest.raises(TypeError, match="seed_decisions must be bool, not int64"):
        working_point(SCORES, WEIGHTS, np.zeros(N, np.int64), 1e4, CROSSING_HZ, simulated=True)
    with pytest.raises(ValueError, match=r"seed_decisions must have shape \(10000,\) or .* not \(3,\)"):
        working_point(SCORES, WEIGHTS, np.zeros(3, bool), 1e4, CROSSING_HZ, simulated=True)


def test_errors_are_those_of_a_bootstrap_over_collisions(rng):
    # 400 collisions, each in up to 12 crossings: errors by event would be a factor too small
    n = 2000
    groups = rng.integers(0, 400, n)
    scores = rng.integers(0, 50, 400)[groups] + rng.integers(0, 3, n)
    weights = rng.exponential(1.0, n)
    weights /= weights.sum()
    found = rate(scores, weights, 30, CROSSING_HZ, simulated=True, groups=groups)
    accepted = scores >= 30
    replicas = [CROSSING_HZ * (weights * rng.poisson(1.0, 400)[groups])[accepted].sum() for _ in range(4000)]
    assert found.error_hz == pytest.approx(np.std(replicas), rel=0.06)
    alone = rate(scores, weights, 30, CROSSING_HZ, simulated=True)
    assert found.value_hz == alone.value_hz
    assert found.error_hz > 1.5 * alone.error_hz
    # negative numbers: events that share nothing
    for none in (np.full(n, -1), np.arange(n), None):
        assert rate(scores, weights, 30, CROSSING_HZ, simulated=True, groups=none) == alone
    point = find_threshold(scores, weights, 0.4 * CROSSING_HZ, CROSSING_HZ, simulated=True, groups=groups)
    assert point.rate == rate(scores, weights, point.raw, CROSSING_HZ, simulated=True, groups=groups)


def test_groups_must_fit_the_events():
    with pytest.raises(TypeError, match="groups must be integers, not float64; number the collisions"):
        rate(SCORES, WEIGHTS, 1, CROSSING_HZ, simulated=True, groups=np.zeros(N))
    with pytest.raises(ValueError, match=r"groups must have shape \(\d+,\), one per event, not \(3,\)"):
        rate(SCORES, WEIGHTS, 1, CROSSING_HZ, simulated=True, groups=[1, 2, 3])
