"""What a trigger prefers, on events made by hand."""

import numpy as np
import pytest

from l1ad import documents
from l1ad.events.menu import Menu, Requirement, Seed, decide
from l1ad.events.schema import load_schema
from l1ad.events.store import Events, make_meta
from l1ad.trigger.deadtime import LiveTime, batches, draw, live_time
from l1ad.trigger.preferences.accepted import (
    MAX_BINS,
    Anomaly,
    Correlation,
    Overlap,
    Spectrum,
    composition,
    correlations,
    most_anomalous,
    overlaps,
    quantities,
)
from l1ad.trigger.preferences.closure import Closure, closure
from l1ad.trigger.preferences.confusion import Confusion, Plane, confusion, plane
from l1ad.trigger.rates import Rate, Refused

SCHEMA = load_schema("cms_run3")
N = 1000
SCORES = np.arange(N)
CROSSING_HZ = 1e6
MENU = Menu(
    "m",
    (
        Seed("Jet100", (Requirement("jet", (100.0,)),)),
        Seed("DoubleMu3", (Requirement("mu", (3.0, 3.0)),)),
        Seed("Tau50", (Requirement("tau", (50.0,)),)),
    ),
)


def events(weights=None, collision=None):
    """Event i has a jet of i counts (i / 2 GeV), one e/γ more for every quarter, and a muon if i is even."""
    n = N if weights is None else len(weights)
    columns = {name: np.zeros((n, c.slots), np.int32) for name, (c, _) in SCHEMA.columns().items()}
    i = np.arange(n)
    columns["jet.pt"][:, 0] = i
    for slot in range(4):
        columns["eg.pt"][:, slot] = 9 - slot if slot == 0 else np.where(i >= slot * n // 4, 9 - slot, 0)
    columns["mu.pt"][:, 0] = np.where(i % 2 == 0, 20, 0)
    columns["met.pt"][:, 0] = 40 + i % 10
    known = {"weight": np.full(n, 1 / n) if weights is None else weights}
    if collision is not None:
        known["collision"] = collision
    return Events(SCHEMA, columns, make_meta(n, **known))


def spectrum(found, collection, quantity):
    (one,) = [s for s in found if (s.collection, s.quantity) == (collection, quantity)]
    return one


def contents(one):
    """Share of all and of the accepted by the value in the middle of the bin."""
    middles = one.low + one.width * (np.arange(len(one.accepted)) + 0.5)
    return {m: (a, b) for m, a, b in zip(middles, one.everything, one.accepted, strict=True)}


def test_multiplicity_of_accepted_against_all():
    found = composition(events(), SCORES, 900)
    eg = contents(spectrum(found, "eg", "multiplicity"))
    assert {m: v for m, v in eg.items() if v[0]} == {
        1: (0.25, 0), 2: (0.25, 0), 3: (0.25, 0), 4: (pytest.approx(0.25), 1),
    }  # fmt: skip
    assert contents(spectrum(found, "mu", "multiplicity"))[1] == (0.5, 0.5)
    assert contents(spectrum(found, "tau", "multiplicity")) == {0: (1, 1)}
    assert [s.collection for s in found if s.quantity == "multiplicity"] == ["eg", "tau", "mu", "jet"]  # sums have none
    assert [s.collection for s in found if s.quantity == "leading pt"] == [
        "met",
        "eg",
        "mu",
        "jet",
    ]  # no others are there


def test_error_of_a_share_is_binomial():
    one = spectrum(composition(events(), SCORES, 900), "mu", "multiplicity")
    assert one.accepted_error == pytest.approx([np.sqrt(0.25 / 100)] * 2)
    assert one.everything_error == pytest.approx([np.sqrt(0.25 / 1000)] * 2)
    fives = spectrum(composition(events(collision=np.arange(N) // 5), SCORES, 700), "eg", "multiplicity")
    assert fives.everything_error[4] == pytest.approx(np.sqrt(0.25 * 0.75 / 200))  # of five alike, one counts


def test_leading_pt():
    found = composition(events(), SCORES, 900)
    jet = spectrum(found, "jet", "leading pt")
    assert (jet.unit, jet.low, len(jet.accepted) <= MAX_BINS) == ("GeV", 0.25, True)
    assert sum(jet.everything) == pytest.approx(0.999)  # event 0 has no jet
    assert sum(jet.accepted) == pytest.approx(1)
    assert all(value == 0 for middle, (_, value) in contents(jet).items() if middle + jet.width / 2 < 450)
    codes = round(jet.width / 0.5)
    assert jet.everything[3] == pytest.approx(codes / 1000)
    mu = spectrum(found, "mu", "leading pt")
    assert contents(mu)[10.0] == (0.5, 0.5)  # one code to a bin, and its value is the middle


def test_composition_is_by_weight():
    weights = np.where(np.arange(N) % 2 == 0, 3.0, 1.0)
    found = composition(events(weights / weights.sum()), SCORES, 800)
    assert contents(spectrum(found, "mu", "multiplicity"))[1] == (pytest.approx(0.75), pytest.approx(0.75))


def test_composition_is_refused_where_the_rate_is():
    assert isinstance(composition(events(), SCORES, 976), Refused)
    assert isinstance(composition(events(), SCORES, 5000), Refused)
    everything = composition(events(), SCORES, -1)
    assert all(s.accepted == s.everything and s.accepted_error == s.everything_error for s in everything)


def test_known_overlaps():
    i = np.arange(N)
    taken = {"high": i >= 800, "even": i % 2 == 0, "low": i < 100, "never": i < 0}
    found = overlaps(SCORES, 900, np.full(N, 1 / N), taken, CROSSING_HZ, simulated=True)
    by = {overlap.seed: overlap for overlap in found}
    assert list(by) == [*taken, "any seed"]
    assert by["high"].of_accepted.value == 1
    assert by["high"].of_seed.value == 0.5
    assert by["high"].of_seed.n == pytest.approx(200)
    assert by["high"].both.value_hz == pytest.approx(1e5)
    assert by["even"].of_accepted.value == 0.5
    assert by["even"].of_accepted.n == pytest.approx(100)
    assert by["even"].of_seed.value == 0.1
    assert by["low"].of_accepted.value == by["low"].of_seed.value == 0
    assert isinstance(by["low"].both, Refused)
    assert isinstance(by["never"].of_seed, Refused)
    assert by["any seed"].of_accepted.value == 1
    assert by["any seed"].of_seed.value == pytest.approx(100 / (200 + 400 + 50))
    none = overlaps(SCORES, N, np.full(N, 1 / N), taken, CROSSING_HZ, simulated=True)
    assert all(isinstance(part, Refused) for overlap in none for part in (overlap.both, overlap.of_accepted))
    everything = overlaps(SCORES, 0, np.full(N, 1 / N), taken, CROSSING_HZ, simulated=True)
    assert [o.of_seed.value for o in everything if o.seed != "never"] == [1, 1, 1, 1]
    assert all(isinstance(o.both, Rate) for o in everything if o.seed != "never")


def test_quantities_that_events_have():
    found = quantities(events())
    assert list(found) == ["MET", "multiplicity", "leading pT"]  # no HT in any event, and pileup is unknown
    assert found["MET"][:3].tolist() == [20.0, 20.5, 21.0]
    assert found["multiplicity"][[0, 1, 999]].tolist() == [2, 2, 5]
    known = events()
    known.meta["pileup"][:] = np.arange(N) % 7
    assert quantities(known)["pileup"].tolist() == [i % 7 for i in range(N)]
    known.meta["pileup"][5] = -1
    assert "pileup" not in quantities(known)


def test_correlations():
    rng = np.random.default_rng(3)
    against = {"itself": SCORES / 7, "opposite": -SCORES, "noise": rng.normal(size=N)}
    itself, opposite, noise = correlations(SCORES, np.full(N, 1 / N), against)
    assert itself.spearman.value == pytest.approx(1)
    assert opposite.spearman.value == pytest.approx(-1)
    assert (itself.distance, opposite.distance) == (pytest.approx(1), pytest.approx(1))
    assert abs(noise.spearman.value) < 4 * noise.spearman.error
    assert noise.spearman.error == pytest.approx(1 / np.sqrt(N - 3), rel=0.01)
    assert noise.distance < 2 * noise.independent < 0.2
    (grouped,) = correlations(SCORES, np.full(N, 1 / N), {"noise": against["noise"]}, np.arange(N) // 2)
    assert grouped.spearman.error == pytest.approx(noise.spearman.error * np.sqrt(2), rel=0.01)
    assert grouped.independent == pytest.approx(noise.independent * np.sqrt(2))


def test_most_anomalous_and_ties():
    sample = events()
    sample.columns["jet.eta"][:, 0] = -20
    sample.columns["jet.phi"][:, 0] = 36
    sample.columns["tau.pt"][5, :2] = [511, 100]
    sample.columns["mu.pt"][5, :2] = [20, 8]
    scores = np.zeros(N, np.int64)
    scores[[700, 5, 6]] = 9, 9, 3
    found = most_anomalous(sample, scores, 4, MENU)
    assert [(a.event, a.score) for a in found] == [(5, 9), (700, 9), (6, 3), (0, 0)]
    first, second = found[:2]
    assert first.weight == 1 / N
    assert (first.seeds, second.seeds) == (("DoubleMu3", "Tau50"), ("Jet100",))
    assert [(o.collection, o.pt_gev, o.saturated) for o in first.objects if o.collection != "eg"] == [
        ("met", 22.5, False),
        ("tau", 255.5, True),
        ("tau", 50.0, False),
        ("mu", 10.0, False),
        ("mu", 4.0, False),
        ("jet", 2.5, False),
    ]
    jet, met = first.objects[-1], first.objects[0]
    assert (jet.eta, jet.phi) == (pytest.approx(-0.87), pytest.approx(np.pi / 2))
    assert (met.eta, met.phi) == (None, 0)
    assert len(most_anomalous(sample, scores, 10 * N, MENU)) == N


def test_documents_are_written_and_read_back(tmp_path):
    weights, scores = np.full(N, 1 / N), {"a": SCORES, "b": (SCORES + 50) % N}
    filling = batches()
    made = [
        composition(events(), SCORES, 900)[0],
        *overlaps(SCORES, 900, weights, {"a": SCORES < 9, "b": SCORES > 800}, CROSSING_HZ, simulated=True),
        *correlations(SCORES, weights, quantities(events())),
        *most_anomalous(events(), SCORES, 2, MENU),
        confusion(scores, weights, 1e5, CROSSING_HZ, simulated=True),
        plane(scores, weights),
        closure(scores["b"] / 8, SCORES, weights, 0.125, [1e3, 1e5], CROSSING_HZ, simulated=True),
        live_time(draw(1e5, filling, 20, 1), filling, simulated=True),
    ]
    assert {type(one) for one in made} == {
        Spectrum, Overlap, Correlation, Anomaly, Confusion, Plane, Closure, LiveTime,
    }  # fmt: skip
    for one in made:
        documents.save(tmp_path / "one.json", one)
        assert documents.load(type(one), tmp_path / "one.json") == one


EQUAL = np.full(N, 1 / N)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: composition(events(), SCORES[1:], 5), ValueError, "scores must be of the same events, 1000, not 999"),
        (lambda: composition(events(EQUAL * 2), SCORES, 5), ValueError, "weights must sum to 1 within 0.1, not 2"),
        (lambda: composition(events(-EQUAL), SCORES, 5), ValueError, "weights must be non-negative"),
        (lambda: composition(events(EQUAL[:0]), [], 5), ValueError, "scores must hold at least one event"),
        (lambda: composition(events(), SCORES, 0.5), TypeError, "threshold must be an integer"),
        (lambda: overlaps(SCORES, 5, EQUAL, {}, 1e6, simulated=True), ValueError, "decisions must be of at least one"),
        (
            lambda: overlaps(SCORES, 5, EQUAL, {"a": EQUAL}, 1e6, simulated=True),
            TypeError,
            "decisions of a must be bool",
        ),
        (lambda: correlations(SCORES, EQUAL, {"HT": EQUAL}), ValueError, r"against HT \(y\): y must take at least two"),
        (
            lambda: correlations(SCORES, EQUAL, {"HT": SCORES * np.nan}),
            ValueError,
            r"HT \(y\): HT must be finite, not nan",
        ),
        (
            lambda: correlations(SCORES[:9], EQUAL[:9] * N / 9, {}),
            ValueError,
            "sample must have n_eff of at least 25, not 9",
        ),
        (lambda: most_anomalous(events(), SCORES, 0, MENU), ValueError, "k must be at least 1, not 0"),
        (lambda: most_anomalous(events(), SCORES[1:], 1, MENU), ValueError, "scores must be of the same events"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_the_menu_decides_as_everywhere():
    assert decide(events(), MENU)[:, 0].sum() == N - 200
