"""Rates by pileup, run and place; fits; other pileup profiles; alarms; drift."""

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from l1ad.emulate.histogram import Histogram
from l1ad.events.pileup import Flat, Normal, Table
from l1ad.trigger.counted import Counted
from l1ad.trigger.histograms import rate_above
from l1ad.trigger.rates import Rate, Refused, Threshold, rate, threshold_of
from l1ad.trigger.samples import UNIT
from l1ad.trigger.stability.drift import Rederivation, Scores, ks_test, psi, rederive
from l1ad.trigger.stability.fits import Fit, NoFit, fit, project
from l1ad.trigger.stability.parts import (
    alarms,
    finest_by_pileup,
    pileup_bins,
    rates_by_category,
    rates_by_number,
    rates_by_pileup,
    train_places,
)
from l1ad.trigger.stability.pileup import (
    pileup_means,
    pileup_systematic,
    pileup_systematic_of_scores,
    rate_at,
    shares_of,
    shifted,
)

CROSSING_HZ = 1e6
EDGES = np.arange(20.0, 81.0, 5.0)
MIDDLES = (EDGES[1:] + EDGES[:-1]) / 2


def by_counts(accepted, crossings, x=MIDDLES):
    """Rates of threshold 1 from a histogram of so many accepted of so many crossings in each category."""
    histogram = Histogram("digest", 0, 1, len(accepted))
    histogram.counts[:, 1], histogram.counts[:, 0] = accepted, np.asarray(crossings) - accepted
    return rates_by_category(histogram, x, 1, CROSSING_HZ, simulated=False)


def toy(rng, n=6000):
    """Scores, weights, category and groups of a stitched sample."""
    weights = rng.choice([1.0, 8.0, 64.0], n)
    return rng.integers(0, 100, n), weights / weights.sum(), rng.integers(0, 4, n), rng.integers(-1, n // 3, n)


# rates of parts


def test_the_rate_of_a_part_is_that_of_its_crossings():
    rng = np.random.default_rng(1)
    scores, weights, part, groups = toy(rng)
    found = rates_by_number(scores, weights, part + 7, 60, CROSSING_HZ, simulated=True, groups=groups)
    np.testing.assert_array_equal(found.x, [7, 8, 9, 10])
    assert found.shares.sum() == pytest.approx(1)
    for i in range(4):
        w = weights[part == i] / weights[part == i].sum()
        alone = rate(scores[part == i], w, 60, CROSSING_HZ, simulated=True, groups=groups[part == i])
        assert found.rates[i].value_hz == pytest.approx(alone.value_hz, rel=1e-12)
        assert found.rates[i].n_effective == pytest.approx(alone.n_effective, rel=1e-12)
        assert found.rates[i].skewness == pytest.approx(alone.skewness, rel=1e-12)
        assert found.rates[i].n_raw == alone.n_raw
    whole = rate(scores, weights, 60, CROSSING_HZ, simulated=True)
    assert found.shares @ found.values_hz == pytest.approx(whole.value_hz, rel=1e-12)
    assert found.stage == "simulated, before dead time"


def test_a_histogram_and_stored_scores_give_the_same():
    rng = np.random.default_rng(2)
    scores, weights, part, _ = toy(rng)
    histogram = Histogram("digest", 0, 99, 4, UNIT).fill(scores, part, weights)
    counted = rates_by_category(histogram, range(4), 60, CROSSING_HZ, simulated=True)
    stored = rates_by_number(scores, weights, part, 60, CROSSING_HZ, simulated=True)
    for name in ("x", "shares", "values_hz", "covariance_hz2", "crossings"):
        np.testing.assert_allclose(getattr(counted, name), getattr(stored, name), rtol=1e-11)
    assert [r.n_raw for r in counted.rates] == [r.n_raw for r in stored.rates]
    assert rate_at(counted, counted.shares).value_hz == pytest.approx(
        rate_above(histogram, 60, CROSSING_HZ, simulated=True).value_hz, rel=1e-12
    )


@pytest.mark.parametrize("accepted", [0.02, 0.5, 0.98])
def test_errors_are_the_spread_of_toys_with_shared_collisions(accepted):
    """Each collision is used twice, in any parts: the covariance must know."""
    rng = np.random.default_rng(3)
    n, toys = 2000, []
    for _ in range(300):
        once = (rng.random(n) < accepted).astype(int)
        scores, part, groups = np.tile(once, 2), rng.integers(0, 2, 2 * n), np.tile(np.arange(n), 2)
        weights = np.full(2 * n, 1 / (2 * n))
        toys.append(rates_by_number(scores, weights, part, 1, CROSSING_HZ, simulated=True, groups=groups))
    spread = np.cov(np.array([t.values_hz for t in toys]).T)
    claimed = np.mean([t.covariance_hz2 for t in toys], axis=0)
    np.testing.assert_allclose(np.diag(claimed), np.diag(spread), rtol=4 * math.sqrt(2 / 300))
    correlation = claimed[0, 1] / claimed[0, 0]
    assert correlation == pytest.approx(1 / 3, abs=0.03)  # of twins: E[k (2 - k)] / E[k²], k of 2 in a part
    assert spread[0, 1] / spread[0, 0] == pytest.approx(1 / 3, abs=4 / math.sqrt(300))


def test_parts_with_few_events_are_refused():
    found = by_counts([24, 25, 0], [1000, 1000, 0], [1, 2, 3])
    assert isinstance(found.rates[0], Refused)
    assert found.rates[1].value_hz == 25 / 1000 * CROSSING_HZ
    assert found.rates[1].error_hz == pytest.approx(CROSSING_HZ * math.sqrt(0.025 * 0.975 / 1000), rel=1e-12)
    assert found.rates[2] == Refused(0.0, 0, "take wider parts, or " + found.rates[2].remedy[21:])
    np.testing.assert_array_equal(found.values_hz, [24e3, 25e3, 0])
    beyond = rates_by_category(Histogram("d", 0, 1, 1).fill([0, 1]), [1], 2, CROSSING_HZ, simulated=False)
    assert beyond.rates[0].n_raw == 0


def test_pileup_bins_hold_mean_pileup():
    rng = np.random.default_rng(4)
    mu = np.concatenate([rng.uniform(20, 60, 4000), [20, 59.5]])
    scores = rng.integers(0, 10, len(mu))
    weights = np.exp(-mu / 10) / np.exp(-mu / 10).sum()
    found = rates_by_pileup(scores, weights, mu, [20, 30, 60, 70], 0, CROSSING_HZ, simulated=True)
    low = mu < 30
    assert found.x[0] == pytest.approx(np.average(mu[low], weights=weights[low]))
    assert found.x[2] == 65
    assert isinstance(found.rates[2], Refused)
    np.testing.assert_array_equal(pileup_bins([20, 29.9, 30, 70], [20, 30, 60, 70]), [0, 0, 1, 2])


@pytest.mark.parametrize(("accepted", "bins"), [(3000, 12), (180, 7), (60, 2), (10, 2)])
def test_as_many_bins_as_have_rates(accepted, bins):
    """Evenly spread: 180 accepted are 25 in each of seven bins, and no more."""
    mu, weights = 20 + (np.arange(3000) + 0.5) / 50, np.full(3000, 1 / 3000)
    scores = np.diff(np.arange(3001) * accepted // 3000)
    found = finest_by_pileup(scores, weights, mu, (20, 80), 1, CROSSING_HZ, simulated=True)
    assert len(found.x) == bins
    assert all(isinstance(r, Refused if accepted == 10 else Rate) for r in found.rates)


def test_neighbours_are_joined_to_parts_of_like_shares():
    rng = np.random.default_rng(11)
    scores, weights, _, groups = toy(rng)
    blocks = np.sort(rng.choice([*range(40), 90, 400], len(scores)))
    found = rates_by_number(scores, weights, blocks, 60, CROSSING_HZ, simulated=True, groups=groups, most=7)
    assert len(found.x) == 7
    assert (np.diff(found.x) > 0).all()
    # every part is one of consecutive numbers: the same as numbering by hand
    numbers, share = np.unique(blocks), np.bincount(np.unique(blocks, return_inverse=True)[1], weights)
    by_hand = np.floor((np.cumsum(share) - share / 2) * 7).astype(int)[np.searchsorted(numbers, blocks)]
    alone = rates_by_number(scores, weights, by_hand, 60, CROSSING_HZ, simulated=True, groups=groups)
    np.testing.assert_array_equal(found.values_hz, alone.values_hz)
    np.testing.assert_array_equal(found.covariance_hz2, alone.covariance_hz2)
    assert found.x.tolist() == [np.unique(blocks[by_hand == i]).mean() for i in range(7)]
    assert found.shares == pytest.approx(1 / 7, rel=0.25)
    few = rates_by_number(scores, weights, blocks, 60, CROSSING_HZ, simulated=True, most=42)
    np.testing.assert_array_equal(few.x, numbers)


def test_a_number_of_large_share_is_a_part_of_its_own():
    scores, weights = np.arange(100), np.full(100, 0.01)
    found = rates_by_number(scores, weights, [0, 1, 2, *[3] * 97], 50, CROSSING_HZ, simulated=True, most=3)
    np.testing.assert_array_equal(found.x, [1, 3])
    assert found.shares == pytest.approx([0.03, 0.97])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: rates_by_number([1], [1.0], [-1], 1, 1e6, simulated=True),
            ValueError,
            "numbers must be known, not -1",
        ),
        (
            lambda: rates_by_number([1], [1.0], [1.0], 1, 1e6, simulated=True),
            TypeError,
            "numbers must be integers, not",
        ),
        (lambda: rates_by_number([1], [1.0], [1, 2], 1, 1e6, simulated=True), ValueError, "numbers must have shape"),
        (lambda: pileup_bins([5, 81], [0, 80]), ValueError, r"pileup must be in 0\.\.80, .* not 81 \(event 1\)"),
        (lambda: pileup_bins([5, math.nan], [0, 80]), ValueError, r"not nan \(event 1\)"),
        (lambda: pileup_bins([5], [80, 0]), ValueError, "edges must be two rising numbers"),
        (
            lambda: rates_by_pileup([1], [1.0], [1, 2], [0, 9], 1, 1e6, simulated=True),
            ValueError,
            "pileup must have shape",
        ),
        (
            lambda: rates_by_category(Histogram("d", 0, 1, 2).fill([1], [1]), [1], 1, 1e6, simulated=True),
            ValueError,
            r"x must have shape \(2,\), one per category, not \(1,\)",
        ),
    ],
)
def test_what_parts_must_be(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_places_in_the_train():
    filled = [0, 1, 2, 5, 6, 3562, 3563]  # the train at the end goes on at the start
    np.testing.assert_array_equal(train_places([3562, 3563, 0, 1, 2, 5, 6], filled), [0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_array_equal(train_places([3564, 1], [1, 3564]), [0, 1])
    with pytest.raises(ValueError, match=r"bx must be one of the filled crossings, not 3 \(event 1\)"):
        train_places([0, 3], filled)
    with pytest.raises(ValueError, match="filled must be fewer than all 3564 crossings"):
        train_places([0], range(3564))


# fits

TRUTHS = {
    "constant": lambda d: np.full_like(d, 9e-3),
    "linear": lambda d: 9e-3 + 2e-4 * d,
    "quadratic": lambda d: 9e-3 + 2e-4 * d + 3e-6 * d**2,
    "exponential": lambda d: 9e-3 * np.exp(0.04 * d),
}


@pytest.mark.parametrize("form", TRUTHS)
def test_a_known_dependence_is_found_within_errors(form):
    rng = np.random.default_rng(5)
    truth, crossings, toys = TRUTHS[form], 20_000, 200
    fits = [
        fit(by_counts(rng.binomial(crossings, truth(MIDDLES - 50)), np.full(12, crossings)), form) for _ in range(toys)
    ]
    for at in (30.0, 50.0, 95.0):
        projections = [project(f, at) for f in fits]
        pulls = np.array([(p.values_hz[0] - CROSSING_HZ * truth(at - 50.0)) / p.errors_hz[0] for p in projections])
        assert abs(pulls.mean()) < 4 / math.sqrt(toys)
        assert pulls.std() == pytest.approx(1, abs=4 / math.sqrt(2 * toys))
        assert projections[0].extrapolated[0] == (at == 95)
    ndf = fits[0].ndf
    assert ndf == 12 - len(fits[0].parameters)
    assert np.mean([f.chi2 for f in fits]) == pytest.approx(ndf, abs=4 * math.sqrt(2 * ndf / toys))
    assert np.mean([f.p_value < 0.1 for f in fits]) == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / toys))
    assert (fits[0].low, fits[0].high) == (22.5, 77.5)


def test_the_wrong_form_has_a_large_chi2():
    rng = np.random.default_rng(6)
    rates = by_counts(rng.binomial(50_000, TRUTHS["exponential"](MIDDLES - 50)), np.full(12, 50_000))
    assert fit(rates, "linear").p_value < 1e-4
    assert fit(rates, "constant").p_value < 1e-9
    assert fit(rates, "exponential").p_value > 1e-3


def test_correlated_parts_are_fitted_with_their_covariance():
    """Parts that are copies of one another are one measurement: the error must not fall."""
    rng = np.random.default_rng(7)
    once = (rng.random(8000) < 0.05).astype(int)
    n = len(once)
    scores, part, groups = np.tile(once, 3), np.repeat(np.arange(3), n), np.tile(np.arange(n), 3)
    mixed = rng.random(3 * n) < 0.2
    scores[mixed] = rng.random(mixed.sum()) < 0.05
    groups[mixed] = -1
    weights = np.full(3 * n, 1 / (3 * n))
    shared = rates_by_number(scores, weights, part, 1, CROSSING_HZ, simulated=True, groups=groups)
    apart = rates_by_number(scores, weights, part, 1, CROSSING_HZ, simulated=True)
    ratio = project(fit(shared, "constant"), 0).errors_hz[0] / project(fit(apart, "constant"), 0).errors_hz[0]
    assert ratio == pytest.approx(math.sqrt(1 + 2 * 0.8**2), rel=0.1)


def test_a_fit_needs_parts_with_rates():
    few = by_counts([30, 24, 40, 3, 50], [1000] * 5, range(5))
    assert isinstance(fit(few, "linear"), Fit)
    refused = fit(few, "quadratic")
    assert refused == NoFit("quadratic", "3 of 5 parts have a rate, 4 are needed")
    assert str(refused) == "quadratic refused: 3 of 5 parts have a rate, 4 are needed"
    assert "parts must differ in x" in fit(by_counts([30, 40, 50], [1000] * 3, [1, 1, 1]), "linear").reason
    assert str(fit(few, "linear")).startswith("linear, χ² ")
    with pytest.raises(ValueError, match="form must be one of constant, linear, quadratic, exponential, not 'cubic'"):
        fit(few, "cubic")


# other pileup profiles


def test_a_target_profile_of_two_bins():
    found = by_counts([40, 90], [1000, 1000], [40, 60])
    target = rate_at(found, [0.25, 0.75])
    assert target.value_hz == 0.25 * 40e3 + 0.75 * 90e3
    variance = (0.25**2 * 0.04 * 0.96 + 0.75**2 * 0.09 * 0.91) / 1000
    assert target.error_hz == pytest.approx(CROSSING_HZ * math.sqrt(variance), rel=1e-12)
    assert target.n_raw == 130
    assert rate_at(found, [0, 1]).value_hz == 90e3
    assert isinstance(rate_at(by_counts([4, 9], [100, 100], [1, 2]), [0.5, 0.5]), Refused)
    with pytest.raises(ValueError, match="shares must be 2 numbers of at least 0 that sum to 1"):
        rate_at(found, [0.5, 0.6])
    with pytest.raises(ValueError, match="a part with a share must have events, not 0; at 2;"):
        rate_at(by_counts([50, 0], [1000, 0], [1, 2]), [0.5, 0.5])


def test_a_target_profile_knows_what_parts_share():
    """Two parts of the same collisions are one measurement."""
    once = (np.arange(2000) % 20 == 0).astype(int)
    scores, part, groups = np.tile(once, 2), np.repeat([0, 1], 2000), np.tile(np.arange(2000), 2)
    weights = np.full(4000, 1 / 4000)
    found = rates_by_number(scores, weights, part, 1, CROSSING_HZ, simulated=True, groups=groups)
    assert rate_at(found, [0.5, 0.5]).error_hz == pytest.approx(found.rates[0].error_hz, rel=1e-12)
    alone = rates_by_number(scores, weights, part, 1, CROSSING_HZ, simulated=True)
    assert rate_at(alone, [0.5, 0.5]).error_hz == pytest.approx(found.rates[0].error_hz / math.sqrt(2), rel=1e-12)


def test_shares_of_profiles():
    shares, lost = shares_of(Flat(20, 40), [20, 25, 40])
    np.testing.assert_allclose(shares, [0.25, 0.75], rtol=1e-12)
    assert lost == 0
    shares, lost = shares_of(Table((0, 10, 20), (1, 3)), [0, 5, 10, 20])
    np.testing.assert_allclose(shares, [0.125, 0.125, 0.75], rtol=1e-12)
    normal = Normal(55, 7, 20, 80)
    shares, lost = shares_of(normal, [20, 48, 62, 80])
    assert shares[1] == pytest.approx(math.erf(1 / math.sqrt(2)), abs=2e-4)
    assert lost == pytest.approx(0, abs=1e-12)
    assert shares_of(shifted(normal, 5), [20, 80])[1] == pytest.approx(
        0.00214 - 0.00018, abs=2e-5
    )  # beyond 20 of 7, within 25
    with pytest.raises(ValueError, match=r"pileup profile must lie in 20\.\.60, .*, to 99%, not to 76\.\d%; generate"):
        shares_of(normal, [20, 60])
    assert shifted(Flat(1, 2), 3) == Flat(4, 5)
    assert shifted(normal, -5) == Normal(50, 7, 15, 75)
    assert shifted(Table((0, 1), (2,)), 3) == Table((3, 4), (2,))


def test_means_of_bins():
    np.testing.assert_allclose(pileup_means([0, 10, 30], Flat(0, 20)), [5, 15], rtol=1e-3)
    falling = pileup_means([60, 65], Normal(55, 7, 20, 80))[0]
    mu = np.random.default_rng(8).normal(55, 7, 2_000_000)
    assert falling == pytest.approx(mu[(mu >= 60) & (mu < 65)].mean(), abs=0.02)
    assert pileup_means([0, 10, 20], Flat(0, 10))[1] == 15


def profiled():
    """Uniform scores of 0 .. 999 in bins of pileup; in bin i only a share a[i] of events has a score."""
    shares, live = np.array([0.005, 0.2, 0.59, 0.2, 0.005]), np.array([0.1, 0.2, 0.4, 0.6, 0.8])
    scores, part, weights = [], [], []
    for i in range(5):
        scores += [np.arange(1, 1001), [0]]
        weights += [np.full(1000, shares[i] * live[i] / 1000), [shares[i] * (1 - live[i])]]
        part += [np.full(1001, i)]
    return np.concatenate(scores), np.concatenate(weights), np.concatenate(part), shares, live


def test_a_shifted_profile_moves_the_threshold_as_it_must():
    scores, weights, part, shares, live = profiled()
    edges, mu = [40, 45, 50, 55, 60, 65], 42.5 + 5 * part
    target = 0.1 * CROSSING_HZ
    histogram = Histogram("digest", 0, 1000, 5, UNIT).fill(scores, part, weights)
    counted = pileup_systematic(histogram, edges, target, CROSSING_HZ, simulated=True, by=[-5, 0, 5])
    stored = pileup_systematic_of_scores(scores, weights, mu, edges, target, CROSSING_HZ, simulated=True, by=[-5, 0, 5])
    for found in (counted, stored):
        down, same, up = found.shifts
        assert same.threshold.raw == found.nominal.raw
        assert same.rate == same.threshold.rate
        assert same.rate.value_hz == pytest.approx(found.nominal.rate.value_hz, rel=1e-12)
        assert same.rate.n_effective == pytest.approx(found.nominal.rate.n_effective, rel=1e-12)
        assert same.rate.skewness == pytest.approx(found.nominal.rate.skewness, rel=1e-12)
        assert same.lost == pytest.approx(0, abs=1e-12)
        for shift, move in ((down, -1), (up, 1)):
            moved = np.zeros(5)
            moved[max(0, move) : 5 + min(0, move)] = shares[max(0, -move) : 5 - max(0, move)]
            assert shift.lost == pytest.approx(0.005)
            a = (moved / moved.sum()) @ live
            above = 1000 * 0.1 / a  # scores accepted of 1000
            assert shift.threshold.raw == 1001 - math.floor(above)
            kept = 1001 - found.nominal.raw
            assert shift.rate.value_hz == pytest.approx(CROSSING_HZ * a * kept / 1000, rel=1e-9)
        assert down.threshold.raw < found.nominal.raw < up.threshold.raw
    assert [s.threshold.raw for s in counted.shifts] == [s.threshold.raw for s in stored.shifts]
    for a, b in zip(counted.shifts, stored.shifts, strict=True):
        assert a.rate.n_effective == pytest.approx(b.rate.n_effective, rel=1e-9)
        assert a.rate.skewness == pytest.approx(b.rate.skewness, rel=1e-9)
        assert a.rate.n_raw == b.rate.n_raw


def test_a_shift_out_of_the_sample_is_refused():
    scores, weights, part, _, _ = profiled()
    histogram = Histogram("digest", 0, 1000, 5, UNIT).fill(scores, part, weights)
    edges = [40, 45, 50, 55, 60, 65]
    with pytest.raises(ValueError, match=r"must lie in 40\.\.65, where there are events, to 99%, not to 79\.5%"):
        pileup_systematic(histogram, edges, 1e5, CROSSING_HZ, simulated=True, by=[10])
    with pytest.raises(ValueError, match="edges must be those of 5 bins, not 5 edges"):
        pileup_systematic(histogram, edges[1:], 1e5, CROSSING_HZ, simulated=True)
    gap = part != 3
    bare = Histogram("digest", 0, 1000, 5, UNIT).fill(scores[gap], part[gap], weights[gap] / weights[gap].sum())
    with pytest.raises(ValueError, match="pileup bins must hold events where the shifted profile is, not 0 at 55;"):
        pileup_systematic(bare, edges, 1e5, CROSSING_HZ, simulated=True, by=[5])


def test_a_refused_threshold_has_no_rate_elsewhere():
    scores, weights, part, _, _ = profiled()
    histogram = Histogram("digest", 0, 1000, 5, UNIT).fill(scores, part, weights)
    found = pileup_systematic(histogram, [40, 45, 50, 55, 60, 65], 500.0, CROSSING_HZ, simulated=True)
    assert isinstance(found.nominal, Refused)
    assert all(shift.rate == found.nominal for shift in found.shifts)


# alarms


def test_equal_parts_ring_as_often_as_stated():
    rng = np.random.default_rng(9)
    crossings, p, rang = 40_000, 0.02, 0
    for _ in range(300):
        rates = by_counts(rng.binomial(crossings, p, 20), np.full(20, crossings), range(20))
        rang += len(alarms(rates, p * CROSSING_HZ, tolerance=0.0, sigmas=2.0))
    assert rang / 6000 == pytest.approx(0.0455, abs=4 * math.sqrt(0.0455 / 6000))


def test_a_rate_outside_its_band_rings():
    rates = by_counts([400, 700, 200, 0, 3], [20_000, 20_000, 20_000, 20_000, 100], range(5))
    rang = alarms(rates, 20e3)
    assert [a.x for a in rang] == [1, 2, 3]
    assert rang[0].rate == rates.rates[1]
    sigma = CROSSING_HZ * math.sqrt(700 / 20_000 * (1 - 700 / 20_000) / 20_000) * math.sqrt(20 / 35)
    assert rang[0].high_hz == pytest.approx(20e3 + 2e3 + 3 * sigma)
    assert rang[0].low_hz == pytest.approx(20e3 - 2e3 - 3 * sigma)
    assert isinstance(rang[2].rate, Refused)  # a dead part, of 400 events expected
    assert str(rang[2]) == "at 3: refused: n_eff 0 < 25, not 18 .. 22 kHz"
    assert [a.x for a in alarms(rates, 20e3, tolerance=0.9)] == [3]
    assert [a.x for a in alarms(rates, 20e3, 8e3)] == [3]
    for bad in ({"expected_hz": 0.0}, {"expected_hz": 1.0, "tolerance": -0.1}, {"expected_hz": 1.0, "sigmas": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            alarms(rates, **bad)


def test_the_band_follows_a_fit():
    rng = np.random.default_rng(10)
    accepted = rng.binomial(20_000, TRUTHS["exponential"](MIDDLES - 50))
    found = fit(by_counts(accepted, np.full(12, 20_000)), "exponential")
    later = rng.binomial(20_000, TRUTHS["exponential"](MIDDLES - 50))
    later[7] *= 2
    rates = by_counts(later, np.full(12, 20_000))
    band = project(found, rates.x)
    assert [a.x for a in alarms(rates, band.values_hz, band.errors_hz)] == [MIDDLES[7]]


# drift


def test_ks_without_weights_is_scipys():
    rng = np.random.default_rng(11)
    a, b = rng.integers(0, 10**6, 3000), rng.integers(0, 10**6, 2000) + 20_000
    found, expected = ks_test(Scores(a), Scores(b), seed=1), ks_2samp(a, b)
    assert (found.statistic, found.p_value) == (expected.statistic, expected.pvalue)
    weighted = ks_test(Scores(a, np.ones(3000)), Scores(b), seed=1)
    assert weighted.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert weighted.method == "bootstrap, 400 replicas"


@pytest.mark.parametrize("kind", ["plain", "weighted", "shared"])
def test_ks_rings_falsely_as_often_as_stated(kind):
    rng = np.random.default_rng(12)
    toys, rang, plainly = 200, 0, 0
    for seed in range(toys):
        a, b = rng.exponential(100, 300).astype(int), rng.exponential(100, 400).astype(int)
        one, two = Scores(a), Scores(b)
        if kind == "weighted":  # the tail was sampled ten times as often
            a = np.concatenate([a, 150 + rng.exponential(100, 600).astype(int)])
            weights = np.where(a < 150, 1.0, 300 * math.exp(-1.5) / max(1, (a >= 150).sum()))
            one = Scores(a, weights)
        if kind == "shared":
            one = Scores(np.repeat(a, 5), groups=np.repeat(np.arange(300), 5))
            plainly += ks_test(Scores(np.repeat(a, 5)), two, seed=seed).p_value < 0.1
        rang += ks_test(one, two, seed=seed, n_bootstrap=100).p_value < 0.1
    assert rang / toys < 0.1 + 4 * math.sqrt(0.09 / toys)
    assert rang > 0
    if kind == "shared":
        assert plainly / toys > 0.3  # what forgetting the groups would do


def test_ks_finds_a_shift():
    rng = np.random.default_rng(13)
    a, b = rng.exponential(100, 2000), rng.exponential(130, 2000)
    for one, two in (
        (Scores(a.astype(int)), Scores(b.astype(int))),
        (Scores(a.astype(int), rng.random(2000)), Scores(b.astype(int))),
    ):
        assert ks_test(one, two, seed=1).p_value < 0.01
    with pytest.raises(ValueError, match="n_bootstrap must be at least 20, not 5"):
        ks_test(Scores([1], [1.0]), Scores([1]), seed=1, n_bootstrap=5)


def test_psi_of_two_bins():
    reference, running = np.repeat([0, 1], 5000), np.repeat([0, 1], [7000, 3000])
    found = psi(Scores(reference), Scores(running), bins=2)
    assert found.edges == (1,)
    assert found.value == pytest.approx(0.2 * math.log(0.7 / 0.5) - 0.2 * math.log(0.3 / 0.5), rel=1e-12)
    assert found.noise == pytest.approx(2e-4)
    assert found.verdict == "moved"
    weighted = psi(Scores([0, 1] * 500, [0.5, 0.5] * 500), Scores([0, 1] * 500, [7.0, 3.0] * 500), bins=2)
    assert weighted.value == pytest.approx(found.value, rel=1e-12)
    assert psi(Scores(reference), Scores(np.ones(1000, int)), bins=2).running[0] == 0.5 / 1000


def test_psi_of_equal_and_shifted_samples():
    rng = np.random.default_rng(14)
    found = [psi(Scores(rng.integers(0, 10**6, 2000)), Scores(rng.integers(0, 10**6, 3000))) for _ in range(300)]
    assert {f.verdict for f in found} == {"stable"}
    assert np.mean([f.value for f in found]) == pytest.approx(9 * (1 / 2000 + 1 / 3000), rel=4 * math.sqrt(2 / 9 / 300))
    np.testing.assert_allclose(found[0].reference, np.full(10, 0.1), atol=1e-3)
    a = rng.normal(1000, 100, 5000).astype(int)
    assert psi(Scores(a), Scores(a + 40)).verdict == "moved"  # a normal shifted by s: s² = 0.16
    assert psi(Scores(a), Scores(a + 100)).verdict == "shifted"
    assert psi(Scores(a), Scores(a + 20)).verdict == "stable"


def test_psi_with_few_codes():
    found = psi(Scores(np.repeat([0, 1, 2], [900, 50, 50])), Scores(np.repeat([0, 1, 2], [900, 50, 50])))
    assert found.value == 0
    assert found.edges == (1,)
    assert found.reference == pytest.approx((0.9, 0.1))
    with pytest.raises(ValueError, match="reference must hold different scores, not 7 alone"):
        psi(Scores([7] * 500), Scores([7] * 500))
    with pytest.raises(ValueError, match="samples must have more effective events than 100 and 100 for 10 bins"):
        psi(Scores(np.arange(100)), Scores(np.arange(100)))
    with pytest.raises(ValueError, match="bins must be at least 2, not 1"):
        psi(Scores([1, 2]), Scores([1, 2]), bins=1)


def test_a_threshold_derived_again():
    old = threshold_of(Counted.of_scores(np.arange(10_000)), 1e5, CROSSING_HZ, simulated=False)
    same = rederive(old.raw, Counted.of_scores(np.arange(10_000)), 1e5, CROSSING_HZ, simulated=False)
    assert same == Rederivation(1e5, old.raw, old.rate, old)
    assert not same.moved
    moved = rederive(old.raw, Counted.of_scores(np.arange(10_000) + 500), 1e5, CROSSING_HZ, simulated=False)
    assert moved.rate.value_hz == pytest.approx(1.5e5)
    assert isinstance(moved.new, Threshold)
    assert moved.new.raw == old.raw + 500
    assert moved.moved
    gone = rederive(old.raw, Counted.of_scores(np.arange(100)), 1e5, CROSSING_HZ, simulated=False)
    assert isinstance(gone.rate, Refused)
    assert isinstance(gone.new, Refused)
    assert not gone.moved
    assert isinstance(moved.rate, Rate)
