from itertools import pairwise

import numpy as np
import pytest

from l1ad.documents import decode
from l1ad.events.pileup import Flat, Normal, Profile, Table, reweight, rounded

PROFILES = [Flat(20, 80), Normal(55, 7, 35, 75), Table((20, 30, 50, 60), (1, 0, 3))]


@pytest.mark.parametrize("profile", PROFILES)
def test_draws_follow_the_density(rng, profile):
    low, high = profile.support
    edges = np.linspace(low, high, 21)
    fine = np.linspace(low, high, 200_001)
    density = profile.density(fine)
    assert np.trapezoid(density, fine) == pytest.approx(1, abs=1e-3)
    expected = np.array([density[(fine >= a) & (fine < b)].sum() for a, b in pairwise(edges)])
    drawn = profile.draw(100_000, rng)
    assert low <= drawn.min() <= drawn.max() <= high
    counts = np.histogram(drawn, edges)[0]
    expected *= 100_000 / expected.sum()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected + 4)).all()
    assert (profile.density([low - 1, high + 1]) == 0).all()


def test_table_by_hand():
    table = Table((0, 10, 30), (1, 3))
    np.testing.assert_allclose(table.density([0, 5, 10, 29, 30]), [0.025, 0.025, 0.0375, 0.0375, 0.0375], rtol=1e-15)


def test_reweighting_moves_the_mean(rng):
    generated, target = Flat(20, 80), Normal(55, 7, 35, 75)
    mu = rounded(generated.draw(200_000, rng), generated)
    weight = reweight(mu, generated, target)
    assert weight.mean() == pytest.approx(1, abs=0.01)
    assert np.average(mu, weights=weight) == pytest.approx(55, abs=0.1)
    np.testing.assert_array_equal(mu, mu.astype(np.float32))
    np.testing.assert_array_equal(reweight(mu, generated, generated), 1)


def test_no_extrapolation():
    with pytest.raises(ValueError, match=r"target pileup 49\.\.91 must lie where .* 20\.\.80, not reach 80"):
        reweight([50.0], Flat(20, 80), Normal(70, 7, 49, 91))
    with pytest.raises(ValueError, match="mu must have been drawn from the generated profile, which is zero at 81"):
        reweight([50.0, 81.0], Flat(20, 80), Normal(55, 7, 35, 75))
    with pytest.raises(ValueError, match=r"not reach 30; generate there"):
        reweight([25.0], Table((20, 30, 50, 60), (1, 0, 3)), Flat(20, 60))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"low": 80, "high": 20}, "pileup must be flat from a smaller to a larger value, not 80.0 to 20.0"),
        (
            {"mean": 10, "sd": 4, "low": 12, "high": 20},
            "normal with its mean between low and high, not 10.0 ± 4.0 from",
        ),
        ({"edges": [1, 2], "content": [1, 2]}, "one content for each bin, not 2 edges and 2 contents"),
        ({"edges": [2, 1], "content": [1]}, "rising edges"),
        ({"edges": [1, 2], "content": [0]}, "not negative and not all zero"),
        ({"mean": 10}, "pileup must be one of Flat, Normal, Table"),
    ],
)
def test_wrong_profiles(data, message):
    with pytest.raises(ValueError, match=message):
        decode(Profile, data, "pileup")


def test_profiles_from_toml():
    assert decode(Profile, {"low": 20, "high": 80}, "") == Flat(20, 80)
    assert decode(Profile, {"mean": 55.0, "sd": 7, "low": 35, "high": 75.0}, "") == Normal(55, 7, 35, 75)
    assert decode(Profile, {"edges": [0, 1.0], "content": [2]}, "") == Table((0, 1), (2,))
