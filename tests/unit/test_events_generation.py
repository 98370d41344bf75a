import numpy as np
import pytest

from l1ad.events.generation.crossings import crossings, overlay
from l1ad.events.generation.processes import RARE, SOFT, Process
from l1ad.events.generation.pythia import derived_seed, generate, hardest_scatter, stock
from l1ad.events.generation.stitching import draw_counts, stitched_weights
from l1ad.events.response import Collisions, ParticleResponse, TriggerResponse
from l1ad.events.store import META


def collisions(*ets):
    """One collision per entry, each a single HCAL deposit of that ET in GeV at row 45, column 10."""
    n = len(ets)
    none = np.zeros(0, np.int16)
    return Collisions(
        row=np.full(n, 80 + 45, np.uint8),
        column=np.full(n, 10, np.uint8),
        et=np.array(ets, np.float32),
        deposits=np.arange(n + 1),
        muon_pt=none, muon_eta=none, muon_phi=none, muon_charge=none, muon_quality=none,
        muons=np.zeros(n + 1, np.int64),
    )  # fmt: skip


def test_stitching_is_unbiased(rng):
    # two classes; an event has "energy" 1, 10, 100 per collision of soft, first, second class.
    # Known answer: P(energy >= cut) of a Poisson mixture, from a plain sample 100 times larger.
    expected = np.array([0.3, 0.004])
    n_zb, forced = 4000, np.array([2000, 2000])
    parts = [draw_counts(expected, n_zb, rng)]
    parts += [draw_counts(expected, m, rng, j) for j, m in enumerate(forced)]
    counts = np.concatenate(parts)
    weights = stitched_weights(counts, n_zb, forced, expected)
    assert weights.sum() == pytest.approx(1, abs=0.02)
    big = draw_counts(expected, 2_000_000, rng)
    for cut, exact in ((10, None), (20, None), (100, 1 - np.exp(-0.004)), (200, 1 - np.exp(-0.004) * 1.004)):
        truth = np.mean(big @ [10, 100] >= cut) if exact is None else exact
        chosen = weights[counts @ [10, 100] >= cut]
        error = np.sqrt((chosen**2).sum())
        assert abs(chosen.sum() - truth) < 4 * error
        assert error < 0.1 * truth or cut == 200


def test_weights_by_hand():
    weights = stitched_weights(np.array([[0, 0], [1, 0], [2, 1]]), 100, np.array([50, 10]), np.array([0.5, 0.01]))
    np.testing.assert_allclose(weights, [1 / 100, 1 / 200, 1 / (100 + 200 + 1000)], rtol=1e-15)


def test_counts_have_the_forced_collision(rng):
    counts = draw_counts(np.array([2.0, 0.0]), 5000, rng, forced=1)
    assert (counts[:, 1] == 1).all()
    assert counts[:, 0].mean() == pytest.approx(2, abs=0.1)


def test_overlay_turns_and_mirrors_but_keeps_the_energy(rng):
    n = 1000
    found = overlay(collisions(50.0), np.zeros(n, np.int64), np.arange(n), n, TriggerResponse(), rng)
    assert set(found["et.pt"][:, 0].tolist()) == {100}
    assert (found["jet.pt"][:, 1] == 0).all()
    assert set(found["jet.eta"][:, 0].tolist()) == {11, -11}
    assert abs((found["jet.eta"][:, 0] > 0).mean() - 0.5) < 0.08
    assert set(found["jet.phi"][:, 0].tolist()) <= set(range(1, 144, 2))
    assert np.bincount(found["jet.phi"][:, 0] // 2).std() < 2 * np.sqrt(n / 72)


def test_crossings_use_each_rare_collision_once(rng):
    stocks = [collisions(1.0, 1.0), collisions(*np.arange(10.0, 16.0)), collisions(*np.arange(50.0, 53.0))]
    counts = np.array([[2, 1, 1], [3, 0, 0], [0, 2, 1], [1, 3, 0], [0, 0, 1], [0, 0, 0]])
    forced = np.array([-1, -1, 1, -1, -1, -1])
    batches = list(crossings(stocks, counts, TriggerResponse(), rng, forced, batch=4))
    identity = np.concatenate([ids for _, ids in batches])
    assert identity[0] == 8  # the hardest: first of the third stock
    assert identity[1] in (0, 1)
    assert identity[2] == 4  # forced, though another is harder; the last of its class
    assert identity[[3, 4, 5]].tolist() == [7, 10, -1]
    assert [len(ids) for _, ids in batches] == [4, 2]
    assert batches[1][0]["et.pt"][:, 0].tolist() == [104, 0]
    with pytest.raises(ValueError, match="stock 1 must have 6 collisions, not 5"):
        next(crossings([stocks[0], collisions(*[1.0] * 5), stocks[2]], counts, TriggerResponse(), rng))


def test_crossings_do_not_depend_on_global_state():
    stocks, counts = [collisions(30.0, 40.0, 5.0)], np.full((5, 1), 4)
    first, second = (next(crossings(stocks, counts, TriggerResponse(), np.random.default_rng(3)))[0] for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_derived_seeds():
    assert derived_seed(1, "train", "soft", 0) == derived_seed(1, "train", "soft", 0)
    seeds = {derived_seed(1, s, p.name, i) for s in ("train", "rate") for p in (SOFT, *RARE) for i in range(50)}
    assert len(seeds) == 2 * 11 * 50
    assert min(seeds) >= 1
    assert max(seeds) <= 900_000_000  # the limit of Pythia


def test_qcd_classes_cover_every_pt_hat_once():
    qcd = [p for p in RARE if p.name.startswith("qcd")]
    edges = [[float(c.split("=")[1]) for c in p.commands[1:]] for p in qcd]
    assert edges[0][0] == SOFT.pt_hat_max_gev == 20
    assert [low for low, _ in edges[1:]] == [high for _, high in edges[:-1]]
    assert edges[-1][1] == -1
    assert len(RARE) < np.iinfo(META["class_counts"][0]).max


@pytest.fixture(scope="module")
def hard(require):
    require("pythia8mc")
    return generate(RARE[4], 30, 7, ParticleResponse())


def test_pythia_collisions(hard):
    assert (len(hard.collisions), hard.generated) == (30, 30)
    assert 2e-4 < hard.sigma_mb < 2e-3  # 0.00051 mb
    per_collision = np.add.reduceat(hard.collisions.et, hard.collisions.deposits[:-1])
    assert np.median(per_collision) > 150  # two jets of more than 120 GeV
    assert hard.collisions.row.max() < 160
    assert hard.collisions.column.max() < 72


def test_generation_is_reproducible_and_cached(hard, tmp_path):
    lines = []
    args = (RARE[4], 5, 1, "test", ParticleResponse(), tmp_path, lines.append)
    first, again = stock(*args), stock(*args)
    assert len(lines) == 1
    assert "test qcd_120: 5 collisions" in lines[0]
    other = generate(RARE[4], 5, derived_seed(1, "test", "qcd_120", 0), ParticleResponse())
    for name, array in first.collisions.arrays().items():
        np.testing.assert_array_equal(array, again.collisions.arrays()[name])
        np.testing.assert_array_equal(array, other.collisions.arrays()[name])
    assert len(stock(RARE[4], 0, 1, "test", ParticleResponse(), tmp_path).collisions) == 0
    assert first.sigma_mb == again.sigma_mb == other.sigma_mb
    assert hard.collisions.et[0] != first.collisions.et[0]


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


def test_an_unknown_setting_is_refused(require):
    require("pythia8mc")
    with pytest.raises(ValueError, match="Pythia setting must be known, not 'HardQCD:everything = on'"):
        generate(Process("x", ("HardQCD:everything = on",)), 1, 1, ParticleResponse())


def test_without_pythia_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    monkeypatch.setitem(__import__("sys").modules, "awkward", None)
    with pytest.raises(ImportError, match=r"must be installed to generate events; pip install 'l1ad\[generate\]'"):
        generate(SOFT, 1, 1, ParticleResponse())
