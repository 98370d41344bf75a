import numpy as np
import pytest
from scipy.stats import binomtest

from l1ad.trigger.efficiency import efficiency
from l1ad.trigger.intervals import CONFIDENCE


def scores(k, n):
    return np.repeat([1, 0], [k, n - k])


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 4000), (3999, 4000)])
def test_unweighted_interval_is_scipy_s_exact_one(k, n):
    found = efficiency(scores(k, n), None, 1)
    exact = binomtest(k, n).proportion_ci(CONFIDENCE, "exact")
    assert (found.value, found.n) == (k / n, n)
    assert (found.low, found.high) == (pytest.approx(exact.low), pytest.approx(exact.high))


def test_edges_have_closed_forms():
    alpha = (1 - CONFIDENCE) / 2
    assert efficiency(scores(0, 10), None, 1).high == pytest.approx(1 - alpha ** (1 / 10))
    assert efficiency(scores(0, 10), None, 1).low == 0
    assert efficiency(scores(10, 10), None, 1).low == pytest.approx(alpha ** (1 / 10))
    assert efficiency(scores(10, 10), None, 1).high == 1


def test_interval_covers():
    rng = np.random.default_rng(3)
    truth, toys = 0.3, 1500
    found = [efficiency(scores(k, 400), None, 1) for k in rng.binomial(400, truth, toys)]
    assert sum(f.low < truth < f.high for f in found) / toys == pytest.approx(0.70, abs=0.04)  # never below 68 %


def test_equal_weights_change_nothing():
    plain, weighted = efficiency(scores(30, 100), None, 1), efficiency(scores(30, 100), np.full(100, 0.7), 1)
    for name in ("value", "low", "high", "n"):
        assert getattr(weighted, name) == pytest.approx(getattr(plain, name))


def test_weights_count_effective_events():
    found = efficiency([1, 1, 0], [3.0, 1.0, 4.0], 1)
    assert (found.value, found.n) == (0.5, pytest.approx(64 / 26))
    assert efficiency([1, 1, 1], [0.1, 0.2, 0.3], 1).high == 1


def test_text():
    assert str(efficiency(scores(5, 10), None, 1)) == "0.5000 (+0.1952 -0.1952)"


def test_refusals():
    with pytest.raises(TypeError, match="scores must be integers"):
        efficiency([0.5], None, 1)
    with pytest.raises(ValueError, match="at least one event"):
        efficiency([], None, 1)
    with pytest.raises(ValueError, match="weights must be non-negative"):
        efficiency([1, 2], [1, -1], 1)
