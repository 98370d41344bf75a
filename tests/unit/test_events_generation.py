import numpy as np
import pytest

from l1ad.events.generation.crossings import BATCH, Detector, crossings, overlay
from l1ad.events.generation.processes import SIGNALS, Process, Thermal, rare, soft
from l1ad.events.generation.pythia import Warehouse, derived_seed, generate, hardest_scatter, start_pythia
from l1ad.events.generation.stitching import draw_counts, stitched_weights, weights_without
from l1ad.events.generation.thermal import decay
from l1ad.events.generation.thinning import Thinning, kept, tails
from l1ad.events.pileup import Flat, Normal
from l1ad.events.response.particles import DEPOSIT, TRACK, Collisions, ParticleResponse, Particles
from l1ad.events.schema import load_schema
from l1ad.events.store import META, Events, make_meta

RARE = {process.name: process for process in rare()}


def collisions(*ets):
    """One collision per entry, each a single HCAL deposit of that ET in GeV at row 45, column 10."""
    n = len(ets)
    deposits = np.zeros(n, DEPOSIT)
    deposits["row"], deposits["column"], deposits["et"] = 80 + 45, 10, np.array(ets) * 128
    return Collisions(deposits, np.arange(n + 1), np.zeros(0, TRACK), np.zeros(n + 1, np.int64))


GENERATED, TARGET = Flat(0.2, 0.8), Normal(0.55, 0.07, 0.3, 0.8)


def stitched(rng, share, plain, forced):
    """Crossings of a toy: μ, counts of each class, which class was forced, and weights."""
    marks = np.repeat([-1, *range(len(forced))], [plain, *forced])
    mu = GENERATED.draw(len(marks), rng)
    counts = draw_counts(mu, share, rng)
    counts[np.flatnonzero(marks >= 0), marks[marks >= 0]] += 1
    return mu, counts, marks, stitched_weights(counts, mu, share, plain, np.array(forced), GENERATED, TARGET)


def test_stitching_is_unbiased(rng):
    # two classes; an event has "energy" 10, 100 per collision of first, second class, and its weights must give
    # the probability of an energy in a plain sample of the target's pileup, 100 times larger
    share = np.array([0.6, 0.008])
    _, counts, _, weights = stitched(rng, share, 8000, [4000, 4000])
    assert weights.sum() == pytest.approx(1, abs=0.03)
    big = draw_counts(TARGET.draw(2_000_000, rng), share, rng)
    for cut in (10, 20, 30, 100, 110):
        truth = np.mean(big @ [10, 100] >= cut)
        chosen = weights[counts @ [10, 100] >= cut]
        error = np.sqrt((chosen**2).sum())
        assert abs(chosen.sum() - truth) < 4 * np.hypot(error, np.sqrt(truth / 2e6))
        assert error < 0.1 * truth


def test_weights_by_hand():
    counts = np.array([[0, 0], [1, 0], [2, 1]])
    mu, share = np.array([50.0, 50.0, 25.0]), np.array([0.01, 0.0002])
    flat = Flat(20, 80)
    weights = stitched_weights(counts, mu, share, 100, np.array([50, 10]), flat, flat)
    np.testing.assert_allclose(weights, [1 / 100, 1 / 200, 1 / (100 + 2 * 50 / 0.25 + 10 / 0.005)], rtol=1e-14)


def test_a_class_left_out_gives_the_same_answer(rng):
    share, forced = np.array([0.6, 0.008]), [4000, 4000]
    mu, counts, marks, weights = stitched(rng, share, 8000, forced)
    attrs = {
        "classes": ["a", "b"],
        "class_probability": {"a": 0.6, "b": 0.008},
        "forced_events": {"a": 4000, "b": 4000},
        "plain_events": 8000,
    }
    meta = make_meta(len(mu), weight=weights, class_counts=counts, forced=marks) | {"pileup": mu}
    whole = Events(load_schema(), {}, meta)
    energy = counts @ [10, 100]
    for left_out, gone in ((["a"], [0]), (["b"], [1]), (["a", "b"], [0, 1])):
        fewer = weights_without(whole, attrs, left_out)
        left = ~np.isin(marks, gone)
        assert fewer[left].sum() == pytest.approx(1, abs=0.05)
        for cut in (10, 20, 100):
            taken = energy >= cut
            predicted = np.sqrt((weights * fewer)[taken].sum())
            assert abs(fewer[left & taken].sum() - weights[taken].sum()) < 4 * predicted
            assert predicted == pytest.approx(np.sqrt((fewer[left & taken] ** 2).sum()), rel=0.3)
    np.testing.assert_allclose(weights_without(whole, attrs, []), weights, rtol=1e-14)
    with pytest.raises(ValueError, match="left_out must be of a, b, not c"):
        weights_without(whole, attrs, ["c"])


def test_thinning_is_unbiased_and_keeps_the_tail(rng):
    schema = load_schema()
    n = 200_000
    columns = {name: np.zeros((n, c.slots), np.int32) for name, (c, _) in schema.columns().items()}
    columns["met.pt"][:, 0] = rng.exponential(20, n)
    columns["jet.pt"][:, 0] = rng.exponential(40, n)
    columns["jet.pt"][:, 1] = columns["jet.pt"][:, 0] // 2
    events = Events(schema, columns, make_meta(n, weight=np.full(n, 1 / n)))
    probability = kept(events, tails(events[:20_000]), Thinning(floor=0.02, tail=0.002))
    assert probability.min() == 0.02
    left = rng.random(n) < probability
    assert 0.02 < left.mean() < 0.1
    weight = 1 / (n * probability[left])
    for name, cuts in (("met.pt", (10, 60, 140, 190)), ("jet.pt", (20, 120, 280, 380))):
        for cut in cuts:
            truth = (columns[name][:, 0] >= cut).mean()
            taken = weight[columns[name][left, 0] >= cut]
            assert abs(taken.sum() - truth) < 4 * np.sqrt((taken**2).sum())
        assert (probability[columns[name][:, 0] >= cuts[-1]] == 1).all()
    assert (kept(events, tails(events[:100]), Thinning(1.0, 1.0)) == 1).all()
    with pytest.raises(ValueError, match=r"floor and tail must be above 0 and at most 1, not 0\.0 and 1\.0"):
        Thinning(0.0, 1.0)


def test_counts_have_the_forced_collision(rng):
    counts = draw_counts(np.full(5000, 4.0), np.array([0.5, 0.0]), rng, forced=1)
    assert (counts[:, 1] == 1).all()
    assert counts[:, 0].mean() == pytest.approx(2, abs=0.1)


def test_overlay_turns_and_mirrors_but_keeps_the_energy(rng):
    n = 1000
    found = overlay(collisions(50.0), np.zeros(n, np.int64), np.arange(n + 1), Detector(), rng)
    assert set(found["et.pt"][:, 0].tolist()) == {100}
    assert (found["jet.pt"][:, 1] == 0).all()
    assert set(found["jet.eta"][:, 0].tolist()) == {11, -11}
    assert abs((found["jet.eta"][:, 0] > 0).mean() - 0.5) < 0.08
    assert set(found["jet.phi"][:, 0].tolist()) <= set(range(1, 144, 2))
    assert np.bincount(found["jet.phi"][:, 0] // 2).std() < 2 * np.sqrt(n / 72)


def test_muons_turn_with_their_collision_and_are_detected_anew(rng):
    tracks = np.zeros(1, TRACK)
    tracks["pt"], tracks["eta"], tracks["phi"], tracks["charge"] = 20.0, 1.0, 0.5, 1
    muon = Collisions(np.zeros(0, DEPOSIT), np.zeros(2, np.int64), tracks, np.array([0, 1]))
    n = 4000
    found = overlay(muon, np.zeros(n, np.int64), np.arange(n + 1), Detector(), rng)
    seen = found["mu.pt"][:, 0] > 0
    assert seen.mean() == pytest.approx(0.92, abs=0.02)
    assert len(set(found["mu.pt"][seen, 0].tolist())) > 20
    assert set(found["mu.eta"][seen, 0].tolist()) == {92, -92}
    assert {phi % 8 for phi in found["mu.phi"][seen, 0].tolist()} == {int(0.5 * 576 / (2 * np.pi)) % 8}
    assert (found["mu.charge"][seen, 0] == 1).all()


def test_crossings_use_rare_collisions_in_turn():
    stocks = [collisions(1.0, 1.0), collisions(*np.arange(10.0, 16.0)), collisions(*np.arange(50.0, 53.0))]
    counts = np.array([[2, 1, 1], [3, 0, 0], [0, 2, 1], [1, 3, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]])
    forced = np.array([-1, -1, 1, -1, -1, -1, -1])
    (found,) = crossings(stocks, counts, Detector(), 1, forced)
    # 2 soft, then 6 and 3 rare ones: the hardest, or the forced one, though another is harder
    assert found.collision.tolist() == [8, found.collision[1], 4, 7, 10, -1, 8]  # the third stock begins again
    assert found.collision[1] in (0, 1)
    assert found.columns["et.pt"][4:, 0].tolist() == [104, 0, 100]
    with pytest.raises(ValueError, match="stock 1 must have collisions, not none: 6 are wanted"):
        next(crossings([stocks[0], collisions(), stocks[2]], counts, Detector(), 1))


def test_crossings_do_not_depend_on_the_number_of_threads():
    stocks = [collisions(30.0, 40.0, 5.0), collisions(60.0, 90.0)]
    counts = np.tile([[4, 0], [2, 1]], (BATCH + 100, 1))
    one, three = (list(crossings(stocks, counts, Detector(), 3, workers=workers)) for workers in (1, 3))
    assert [len(part.collision) for part in one] == [BATCH, BATCH, 200]
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a.collision, b.collision)
        for name in a.columns:
            np.testing.assert_array_equal(a.columns[name], b.columns[name])
    other = next(crossings(stocks, counts, Detector(), 4))
    assert (other.columns["jet.phi"] != one[0].columns["jet.phi"]).any()


def test_derived_seeds():
    assert derived_seed(1, "train", "soft", 0) == derived_seed(1, "train", "soft", 0)
    seeds = {derived_seed(1, s, name, i) for s in ("train", "rate") for name in RARE for i in range(50)}
    assert len(seeds) == 2 * len(RARE) * 50
    assert min(seeds) >= 1
    assert max(seeds) <= 900_000_000  # the limit of Pythia


def test_classes_cover_every_pt_hat_once():
    for name in ("qcd", "photon"):
        edges = [[float(c.split("=")[1]) for c in p.commands[1:]] for p in RARE.values() if p.name.startswith(name)]
        assert edges[0][0] == soft().pt_hat_max_gev == 20
        assert [low for low, _ in edges[1:]] == [high for _, high in edges[:-1]]
        assert edges[-1][1] == -1
    assert len(RARE) < np.iinfo(META["forced"][0]).max
    assert [p.name for p in rare((25, 60), (25,))] == ["qcd_25", "qcd_60", "photon_25", "w", "z", "ttbar"]
    with pytest.raises(ValueError, match="qcd edges must be positive and rise, not"):
        rare((30, 20), (30,))
    with pytest.raises(ValueError, match="must start where soft collisions end, not at 20 and 30 GeV"):
        rare((20, 30), (30,))


def test_a_mediator_decays_to_pions_and_keeps_its_momentum(rng):
    thermal = Thermal(pid=25, temperature_gev=2.0, meson_gev=2.0)
    px, py, pz, mass = np.array([40.0, 0.0]), np.array([-10.0, 3.0]), np.array([200.0, 0.0]), 400.0
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    # a photon, the mediator, and another collision with a mediator of its own
    before = Particles(
        np.array([22, 25, 25]), np.append(5.0, px), np.append(0.0, py), np.append(0.0, pz), np.append(5.0, energy),
        np.array([0, 0, 1]), 2,
    )  # fmt: skip
    after = decay(before, thermal, rng)
    assert set(after.pid.tolist()) == {22, 211, -211}
    assert (np.diff(after.collision) >= 0).all()
    for i in range(2):
        mine = after.collision == i
        charged = mine & (after.pid != 22)
        assert 40 < charged.sum() / 2 < 120  # mesons of 2 GeV and a few GeV of kinetic energy
        assert after.pid[charged].sum() == 0
        for name in ("px", "py", "pz", "energy"):
            total = getattr(before, name)[before.collision == i].sum()
            assert getattr(after, name)[mine].sum() == pytest.approx(total, abs=1e-6)
    mass2 = after.energy**2 - after.px**2 - after.py**2 - after.pz**2
    np.testing.assert_allclose(mass2[after.pid != 22], 0.13957**2, atol=1e-8)
    with pytest.raises(ValueError, match="collisions must have a particle 24 that Pythia leaves undecayed, not none"):
        decay(before, Thermal(24, 1.0, 1.0), rng)


@pytest.fixture(scope="module")
def hard(require):
    require("pythia8mc")
    return generate(RARE["qcd_120"], 30, 7, ParticleResponse())


def test_pythia_collisions(hard):
    assert (len(hard.collisions), hard.generated) == (30, 30)
    per_collision = np.add.reduceat(hard.collisions.deposits["et"] / 128, hard.collisions.first_deposit[:-1])
    assert np.median(per_collision) > 150  # two jets of more than 120 GeV
    assert hard.collisions.deposits["row"].max() < 160
    assert hard.collisions.deposits["column"].max() < 72


def test_a_warehouse_keeps_what_it_made(hard, tmp_path, capsys):
    house = Warehouse(tmp_path, 1, chunk=5)
    process = RARE["qcd_120"]
    house.fill([(process, 7, "test"), (process, 3, "test")], workers=2)
    assert "collisions: 10/10 qcd_120" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 2
    stock = house.stock(process, 7, "test")
    assert (len(stock.collisions), stock.generated) == (10, 10)
    house.fill([(process, 9, "test")], workers=1)
    assert "collisions" not in capsys.readouterr().out
    other = generate(process, 5, derived_seed(1, "test", "qcd_120", 5), ParticleResponse())
    again = house.stock(process, 10, "test").collisions
    np.testing.assert_array_equal(again.deposits[again.first_deposit[5] :], other.collisions.deposits)
    np.testing.assert_array_equal(again.tracks[again.first_track[5] :], other.collisions.tracks)
    assert len(house.stock(process, 0, "test").collisions) == 0
    assert house.path("collisions", process, "test", 0) != Warehouse(tmp_path, 2, chunk=5).path(
        "collisions", process, "test", 0
    )
    assert hard.collisions.deposits["et"][0] != other.collisions.deposits["et"][0]


def test_cross_sections(tmp_path, require):
    require("pythia8mc")
    house = Warehouse(tmp_path, 1)
    sigma = house.cross_sections([RARE["qcd_120"]], workers=1)
    assert sigma == {"qcd_120": pytest.approx(0.000513, rel=0.01)}
    assert house.cross_sections([RARE["qcd_120"]], workers=1) == sigma


def test_hard_diffraction_counts_as_hard(require):
    # of each event: partons leaving a scattering have status 23 or 33; the sign says whether they are final
    require("pythia8mc")
    from types import SimpleNamespace

    import awkward as ak

    status = ak.Array([[-21, -23, 23, -33], [-12, 1], [], [-33, 1]])
    px = ak.Array([[90.0, 30.0, -3.0, 0.0], [0.0, 50.0], [], [3.0, 99.0]])
    py = ak.Array([[0.0, 40.0, 0.0, 7.0], [0.0, 0.0], [], [4.0, 0.0]])
    record = SimpleNamespace(status=status, p=SimpleNamespace(px=px, py=py))
    batch = SimpleNamespace(prt=record, info=SimpleNamespace(pT2Hat=ak.Array([1.0, 4.0, 0.0, 36.0])))
    assert hardest_scatter(batch).tolist() == [50.0, 2.0, 0.0, 6.0]


def test_soft_collisions_are_dropped_above_the_edge(require):
    require("pythia8mc")
    low = Process("low", ("HardQCD:all = on", "PhaseSpace:pTHatMin = 19.5"), pt_hat_max_gev=20.0)
    made = generate(low, 60, 3, ParticleResponse())
    assert made.generated == 60
    assert 1 <= len(made.collisions) < 30  # the spectrum falls as pT^-4 or so: some 10 % are below 20 GeV


def test_collisions_with_an_impossible_particle_are_dropped(require):
    require("pythia8mc")
    commands = RARE["qcd_20"].commands
    whole, limited = (
        generate(Process("x", commands, particle_max_gev=limit), 40, 3, ParticleResponse()) for limit in (None, 8.0)
    )
    assert 1 <= len(limited.collisions) < len(whole.collisions) == limited.generated == 40
    assert soft().particle_max_gev == 40
    assert RARE["qcd_250"].particle_max_gev is None


def test_an_unknown_setting_is_refused(require):
    require("pythia8mc")
    with pytest.raises(ValueError, match="Pythia setting must be known, not 'HardQCD:everything = on'"):
        generate(Process("x", ("HardQCD:everything = on",)), 1, 1, ParticleResponse())


def test_without_pythia_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    monkeypatch.setitem(__import__("sys").modules, "awkward", None)
    with pytest.raises(ImportError, match=r"must be installed to generate events; pip install 'l1ad\[generate\]'"):
        generate(soft(), 1, 1, ParticleResponse())


def test_every_process_is_accepted(require):
    require("pythia8mc")
    for process in (*SIGNALS, *rare((20,), (20,))):
        start_pythia((*process.commands, "PartonLevel:all = off"), 1)


def test_soft_bombs_are_many_soft_particles(require):
    require("pythia8mc")
    process = next(process for process in SIGNALS if process.thermal)
    made = generate(process, 10, 3, ParticleResponse())
    assert np.diff(made.collisions.first_track).mean() > 5  # pions above 2.5 GeV
    assert made.collisions.deposits["et"].max() / 128 < 100
