"""Weighted correlations: a weight is that many copies, and plain ones are those of scipy and of the definition."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from l1ad.trigger.preferences.correlation import distance_correlation, kendall, numbers, spearman, spearman_error


def copies(seed, n=60, ties=9):
    """Two quantities with ties, whole weights (some 0), and the sample in which every event is repeated."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-5, ties, n)
    y = (x + rng.integers(0, ties, n)) // 2
    w = rng.integers(0, 4, n)
    return x, y, w, np.repeat(x, w), np.repeat(y, w)


def by_definition(x, y):
    """Szekely, Rizzo and Bakirov, with all distances centred twice."""
    a, b = (np.abs(np.subtract.outer(v, v)).astype(float) for v in (x, y))
    a, b = (m - m.mean(0) - m.mean(1)[:, None] + m.mean() for m in (a, b))
    return np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))


@pytest.mark.parametrize("seed", range(5))
def test_a_weight_is_that_many_copies(seed):
    x, y, w, many_x, many_y = copies(seed)
    assert spearman(x, y, w) == pytest.approx(spearmanr(many_x, many_y)[0], abs=1e-12)
    assert kendall(x, y, w) == pytest.approx(kendalltau(many_x, many_y)[0], abs=1e-12)
    assert distance_correlation(x, y, w)[0] == pytest.approx(by_definition(many_x, many_y), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e9])
def test_the_scale_of_weights_does_not_matter_nor_the_order_of_events(scale):
    x, y, w, _, _ = copies(3)
    shuffled = np.random.default_rng(0).permutation(len(x))
    for function in (spearman, kendall, lambda *args: distance_correlation(*args)[0]):
        assert function(x[shuffled], y[shuffled], w[shuffled] * scale) == pytest.approx(function(x, y, w), rel=1e-12)


def test_equal_and_opposite_orders():
    x = np.array([3.5, -1.0, 2.0, 2.25])
    w = np.array([1.0, 2.0, 0.5, 3.0])
    for function in (spearman, kendall):
        assert function(x, np.exp(x), w) == pytest.approx(1, abs=1e-15)
        assert function(x, -np.exp(x), w) == pytest.approx(-1, abs=1e-15)
    assert distance_correlation(x, -2 * x + 7, w)[0] == pytest.approx(1, abs=1e-12)


def test_distance_correlation_sees_what_ranks_do_not():
    x = np.arange(-200, 201)
    value, independent = distance_correlation(x, np.abs(x), np.ones(401))
    assert abs(spearman(x, np.abs(x), np.ones(401))) < 1e-12
    assert value > 5 * independent


def test_what_independent_quantities_give():
    rng = np.random.default_rng(7)
    found = [
        distance_correlation(rng.exponential(size=200) ** 2, rng.normal(size=200), rng.exponential(size=200))
        for _ in range(300)
    ]
    squares = np.square(found)
    error = squares[:, 0].std(ddof=1) / np.sqrt(300)
    assert squares[:, 0].mean() == pytest.approx(squares[:, 1].mean(), abs=4 * error)
    assert error < 0.1 * squares[:, 0].mean()


def test_events_that_share_a_collision_are_one():
    rng = np.random.default_rng(2)
    x, y, w = rng.normal(size=50), rng.normal(size=50), np.ones(50)
    twice = [np.tile(v, 2) for v in (x, y, w)]
    alone, grouped = distance_correlation(x, y, w), distance_correlation(*twice, np.tile(np.arange(50), 2))
    assert grouped == pytest.approx(alone, rel=1e-9)
    assert distance_correlation(*twice)[1] == pytest.approx(alone[1] / np.sqrt(2))


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_error_of_spearman_covers(rho):
    rng, pulls = np.random.default_rng(5), []
    truth = 6 / np.pi * np.arcsin(rho / 2)  # of a bivariate normal distribution (Pearson 1907)
    for _ in range(600):
        x = rng.normal(size=400)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=400)
        value = spearman(x, y, np.ones(400))
        pulls.append((value - truth) / spearman_error(value, 400))
    assert np.std(pulls) == pytest.approx(1, abs=0.1)  # 3.5 sigma


@pytest.mark.parametrize("function", [spearman, kendall, distance_correlation])
@pytest.mark.parametrize(
    ("x", "y", "w", "error", "text"),
    [
        ([1, 2], [1, 2, 3], [1, 1], ValueError, "x and y must be of the same events, not of 2 and 3"),
        ([1.0, np.nan], [1, 2], [1, 1], ValueError, "x must be finite, not nan; at event 1"),
        ([1, 2], [1, np.inf], [1, 1], ValueError, "y must be finite, not inf"),
        ([1, 2], [1, 2], [1, -1], ValueError, "weights must be non-negative, not -1"),
        ([1, 2], [4, 4], [1, 1], ValueError, "y must take at least two values, not 4 alone"),
        ([1, 2, 2], [1, 2, 3], [0, 1, 1], ValueError, "x must take at least two values"),
        ([], [], [], ValueError, r"x must have shape \(n,\), n > 0, not \(0,\)"),
        ([True, False], [1, 2], [1, 1], TypeError, "x must be real numbers, not bool"),
    ],
)
def test_what_has_no_correlation(function, x, y, w, error, text):
    with pytest.raises(error, match=text):
        function(x, y, w)


def test_numbers_keep_integers():
    assert numbers(np.array([2**62 + 1]), "x")[0] == 2**62 + 1
    assert numbers(np.array([1.5], np.float32), "x").dtype == np.float64
