import math
import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from l1ad.trigger import performance
from l1ad.trigger.baselines import multiplicity, sum_pt
from l1ad.trigger.efficiency import efficiency
from l1ad.trigger.performance import auc, compare_detectors, roc
from l1ad.trigger.rates import Refused, find_threshold, rate

CROSSING_HZ = 1e6


def sample(seed=0, n=3000, m=500, codes=200):
    """Stitched background with ties, and a signal."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 1, n)
    background = np.minimum(rng.exponential(codes / 5, n), codes).astype(np.int64)
    return background, weights / weights.sum(), np.minimum(rng.exponential(codes / 2, m), codes).astype(np.int64)


def test_auc_has_known_values():
    assert auc([1, 2], [1, 1], [3, 4]) == 1
    assert auc([3, 4], [1, 1], [1, 2]) == 0
    assert auc([5, 5, 5], [1, 2, 3], [5, 5]) == 0.5
    assert auc([1, 2, 3], [1, 1, 1], [2]) == 0.5
    assert auc([1, 3], [3, 1], [2]) == 0.75
    assert auc([2], [1], [1, 3], [1, 3]) == 0.75


def test_auc_equals_scikit_learn_s():
    background, weights, signal = sample()
    by_signal = np.random.default_rng(1).uniform(0, 1, len(signal))
    truth = np.repeat([0, 1], [len(background), len(signal)])
    expected = roc_auc_score(truth, np.r_[background, signal], sample_weight=np.r_[weights, by_signal])
    assert auc(background, weights, signal, by_signal) == pytest.approx(expected, abs=1e-12)


def test_auc_takes_the_float_twin_but_no_mixture():
    background, weights, signal = sample()
    assert auc(background / 64, weights, signal / 64) == auc(background, weights, signal)
    with pytest.raises(TypeError, match="signal_scores must be int64 as background_scores, not float64"):
        auc(background, weights, signal / 64)
    with pytest.raises(ValueError, match="background_scores must be finite, not nan; at event 1"):
        auc([0.0, math.nan], [1, 1], [1.0])
    with pytest.raises(ValueError, match=r"signal_scores must have shape \(n,\), n > 0, not \(0,\)"):
        auc([1.0], [1], np.zeros(0))
    with pytest.raises(ValueError, match=r"background_weights must have shape \(2,\)"):
        auc([1, 2], [1], [1])
    with pytest.raises(TypeError, match="signal_scores must be integers"):
        auc([1], [1], [True])


def test_roc_agrees_with_rate_and_efficiency_at_every_point():
    background, weights, signal = sample()
    curve = roc(background, weights, signal, CROSSING_HZ, simulated=True)
    assert curve.stage == "simulated, before dead time"
    assert (np.diff(curve.thresholds) < 0).all()
    for i in range(0, len(curve.thresholds), 7):
        threshold = int(curve.thresholds[i])
        expected = rate(background, weights, threshold, CROSSING_HZ, simulated=True)
        assert curve.rates_hz[i] == pytest.approx(expected.value_hz)
        assert curve.rate_errors_hz[i] == pytest.approx(expected.error_hz)
        assert curve.efficiencies[i] == pytest.approx(efficiency(signal, None, threshold).value)
    assert curve.rates_hz[-1] == pytest.approx(CROSSING_HZ)
    assert curve.efficiencies[-1] == pytest.approx(1)


def test_roc_has_no_point_that_rate_would_refuse():
    n = 1000
    curve = roc(np.arange(n), np.full(n, 1 / n), [2 * n], CROSSING_HZ, [0.3], simulated=False)
    assert curve.thresholds[0] == n - 25
    assert curve.efficiencies[0] == 1


def test_baselines():
    inputs = np.zeros((2, 57), np.int16)
    inputs[0, [0, 3, 6]] = [30_000, 20_000, 1]
    inputs[1, 1] = -5
    assert sum_pt(inputs, [0, 3, 6]).tolist() == [50_001, 0]
    assert multiplicity(inputs, [0, 3, 6]).tolist() == [3, 0]
    assert sum_pt(inputs, range(0, 57, 3)).dtype == multiplicity(inputs, [0]).dtype == np.int64


@pytest.mark.parametrize("baseline", [sum_pt, multiplicity])
def test_baselines_refuse(baseline):
    inputs = np.zeros((2, 57), np.int64)
    inputs[1, 1] = -5
    with pytest.raises(ValueError, match="pT must be non-negative, not -5; at event 1, column 1; check pt_index"):
        baseline(inputs, [0, 1])
    for index in ([], [0, 0], [57], [-1]):
        with pytest.raises(ValueError, match="pt_index must be distinct columns from 0 to 56, not"):
            baseline(inputs, index)
    with pytest.raises(TypeError, match="inputs must be integers that fit int64, not float64"):
        baseline(inputs / 2, [0])
    with pytest.raises(ValueError, match=r"inputs must have shape \(n, inputs\), not \(57,\)"):
        baseline(inputs[0], [0])


def compared(background, signals, weights, targets=(20_000.0,), baselines=("plain",), **more):
    more = {"simulated": True, "seed": 5, **more}
    return compare_detectors(background, signals, weights, targets, CROSSING_HZ, baselines, **more)


def test_central_values_are_those_of_the_plain_functions():
    background, weights, signal = sample()
    found = compared({"plain": background}, {"s": {"plain": signal}}, weights)
    by_auc, by_efficiency = found.performances
    assert (by_auc.figure, by_auc.target_hz, by_efficiency.target_hz) == ("auc", None, 20_000)
    assert by_auc.result.value == auc(background, weights, signal)
    threshold = find_threshold(background, weights, 20_000, CROSSING_HZ, simulated=True)
    assert by_efficiency.result.value == efficiency(signal, None, threshold.raw).value
    assert found.differences == ()
    assert found.stage == "simulated, before dead time"


@pytest.mark.parametrize("codes", [3, 200, 10_000])
def test_replica_equals_the_slow_way(codes):
    """A fast replica is the plain functions on the resampled events, threshold and ties included."""
    background, weights, signal = sample(codes=codes)
    rng = np.random.default_rng(2)
    drawn = weights * rng.poisson(1.0, len(weights))
    count = rng.poisson(1.0, len(signal))
    drawn /= drawn.sum()
    ranked = performance._RankedBackground.of(background)
    matched = performance._RankedSignal.of(signal, ranked)
    above = ranked.above(drawn)
    assert matched.auc(above, count) == pytest.approx(auc(background, drawn, signal, count), abs=1e-12)
    targets = np.array([1e4, 5e4, 3e5])
    fast = matched.efficiencies(ranked.codes_within(above, targets / CROSSING_HZ), count)
    for target, value in zip(targets, fast, strict=True):
        threshold = slow_threshold(background, drawn, target)
        assert value == pytest.approx(count[signal >= threshold].sum() / count.sum(), abs=1e-12)
    everything = matched.efficiencies(ranked.codes_within(above, np.array([2.0])), count)
    assert everything.tolist() == [1.0]


def test_replica_accepts_a_rate_equal_to_its_limit():
    ranked = performance._RankedBackground.of(np.array([0, 1, 1, 2, 3, 4, 5, 6]))
    above = ranked.above(np.full(8, 1 / 8))
    assert ranked.codes_within(above, np.array([0.1, 0.25, 0.7, 1.0])).tolist() == [0, 2, 5, 7]


def slow_threshold(scores, weights, target_hz):
    """Every integer in turn."""
    threshold = int(scores.min())
    while CROSSING_HZ * weights[scores >= threshold].sum() > target_hz:
        threshold += 1
    return threshold


def test_bootstrap_errors_are_the_analytic_ones():
    """AUC against DeLong; efficiency against binomial ⊕ rate error through the slope of the curve."""
    rng = np.random.default_rng(11)
    n, m, p = 20_000, 12_000, 0.02
    background = (rng.exponential(1, n) * 1e6).astype(np.int64)
    signal = (rng.exponential(2, m) * 1e6).astype(np.int64)  # efficiency = sqrt(rate fraction)
    found = compared({"a": background}, {"s": {"a": signal}}, np.full(n, 1 / n), (p * CROSSING_HZ,), ("a",))
    beaten = np.searchsorted(np.sort(background), signal) / n
    lost = 1 - np.searchsorted(np.sort(signal), background) / m
    delong = math.sqrt(beaten.var(ddof=1) / m + lost.var(ddof=1) / n)
    by_auc, by_efficiency = (row.result for row in found.performances)
    assert by_auc.value == pytest.approx(2 / 3, abs=4 * delong)
    assert by_auc.error == pytest.approx(delong, rel=0.2)
    eff = math.sqrt(p)
    analytic = math.sqrt(eff * (1 - eff) / m + (eff / 2) ** 2 / (n * p))
    assert by_efficiency.value == pytest.approx(eff, abs=4 * analytic)
    assert by_efficiency.error == pytest.approx(analytic, rel=0.2)


def detectors(seed=0, n=4000, m=1500):
    """A plain baseline, an equal twin, a better and a worse detector, all of one underlying variable."""
    rng = np.random.default_rng(seed)
    b, s = rng.normal(0, 1, n), rng.normal(1, 1, m)
    noise_b, noise_s = rng.normal(0, 1, n), rng.normal(0, 1, m)
    sigma = {"plain": 0.5, "twin": 0.5, "better": 0.0, "worse": 2.0}
    to_code = 10_000
    background = {k: ((b + v * noise_b) * to_code).astype(np.int64) for k, v in sigma.items()}
    signal = {k: ((s + v * noise_s) * to_code).astype(np.int64) for k, v in sigma.items()}
    return background, {"s": signal}, np.full(n, 1 / n)


def test_verdicts_are_paired():
    found = compared(*detectors())
    rows = {(row.detector, row.figure): row for row in found.differences}
    assert {row.baseline for row in found.differences} == {"plain"}
    twin = rows["twin", "auc"]
    assert (twin.result.value, twin.result.error, twin.verdict) == (0, 0, "within error")
    assert rows["better", "auc"].verdict == "gain"
    assert rows["worse", "auc"].verdict == "loss"
    assert rows["worse", "auc"].result.value < 0
    assert rows["worse", "efficiency"].verdict == "loss"
    alone = {row.detector: row.result.error for row in found.performances if row.figure == "auc"}
    assert rows["better", "auc"].result.error < 0.6 * math.hypot(alone["better"], alone["plain"])


def test_comparison_repeats_with_its_seed():
    assert compared(*detectors()) == compared(*detectors())
    assert compared(*detectors()) != compared(*detectors(), seed=6)


def test_unsupported_target_is_refused_in_every_row():
    found = compared(*detectors(), targets=(1001.0,), n_bootstrap=5)
    rows = [row for row in (*found.performances, *found.differences) if row.figure == "efficiency"]
    assert all(isinstance(row.result, Refused) for row in rows)
    assert all(row.verdict == "refused" for row in found.differences if row.figure == "efficiency")
    assert str(rows[0].result) == "refused: n_eff 4 < 25"


def test_refusal_of_one_detector_refuses_the_difference():
    background, signals, weights = detectors()
    background["plain"] = np.minimum(background["plain"], 0)  # saturates at half the events
    rows = compared(background, signals, weights, n_bootstrap=5).differences
    assert {row.verdict for row in rows if row.figure == "efficiency"} == {"refused"}
    assert str(compared(*detectors(), n_bootstrap=5).differences[0].result).startswith("0.0000 ± 0.0000")


def test_comparison_refuses_what_cannot_be_paired():
    background, signals, weights = detectors()
    with pytest.raises(ValueError, match="background must be the same events for every detector"):
        compared({**background, "plain": background["plain"][1:]}, signals, weights)
    with pytest.raises(ValueError, match="signal 's' must be the same events for every detector"):
        compared(background, {"s": {**signals["s"], "plain": [1]}}, weights)
    with pytest.raises(ValueError, match=r"signal 's' must be scored by \[.*\], not by \['plain'\]"):
        compared(background, {"s": {"plain": [1]}}, weights)
    for baselines in (["other"], "plain", ["plain", "plain"]):
        with pytest.raises(ValueError, match="baselines must be distinct names out of"):
            compared(background, signals, weights, baselines=baselines)
    with pytest.raises(ValueError, match="background and signals must be non-empty, not 4 and 0"):
        compared(background, {}, weights)
    with pytest.raises(TypeError, match="scores of 'plain' on 's' must be integers"):
        compared({"plain": background["plain"]}, {"s": {"plain": [1.5]}}, weights)
    for n_bootstrap in (1, True, 20.0):
        with pytest.raises(ValueError, match="n_bootstrap must be an integer of at least 2"):
            compared(background, signals, weights, n_bootstrap=n_bootstrap)
    with pytest.raises(ValueError, match="background must have n_eff of at least 25, not 2"):
        compared({"plain": [1, 2]}, {"s": {"plain": [1]}}, [0.5, 0.5])


def test_comparison_is_quick():
    """45,000 background and 4 x 4,000 signal events, 4 detectors, 200 replicas: about a second."""
    rng = np.random.default_rng(0)
    names = [f"d{i}" for i in range(4)]
    background = {name: rng.integers(0, 1 << 17, 45_000) for name in names}
    signals = {f"s{j}": {name: rng.integers(0, 1 << 17, 4000) for name in names} for j in range(4)}
    start = time.process_time()
    compared(background, signals, np.full(45_000, 1 / 45_000), baselines=("d0",))
    assert time.process_time() - start < 30


def test_roc_errors_are_those_of_rates_by_collision(rng):
    background, weights, signal = sample()
    groups = rng.integers(-40, 300, len(background))
    curve = roc(background, weights, signal, CROSSING_HZ, simulated=True, groups=groups)
    assert len(curve.thresholds) > 50
    for i in range(0, len(curve.thresholds), 7):
        expected = rate(background, weights, int(curve.thresholds[i]), CROSSING_HZ, simulated=True, groups=groups)
        assert curve.rates_hz[i] == pytest.approx(expected.value_hz, rel=1e-12)
        assert curve.rate_errors_hz[i] == pytest.approx(expected.error_hz, rel=1e-9)


def test_comparison_resamples_whole_collisions():
    background, weights, signal = sample()
    groups = np.arange(len(background)) // 30
    order = np.argsort(background, kind="stable")  # events of a collision score alike: the worst case

    def error(groups):
        found = compare_detectors(
            {"a": background[order], "flat": background[order] // 50},
            {"s": {"a": signal, "flat": signal // 50}},
            weights, [1e5], CROSSING_HZ, ["flat"], simulated=True, seed=1, n_bootstrap=100, groups=groups,
        )  # fmt: skip
        return found.performances[0].result.error

    assert error(groups) > 1.5 * error(None)
    assert error(np.full(len(background), -1)) == error(None)
