import numpy as np
import plain_trigger
import pytest

from l1ad.events.response.geometry import ETA_CENTRES, ETA_EDGES, GEV_PER_DEPOSIT, N_ETA, N_PHI
from l1ad.events.response.muons import MuonResponse, detect
from l1ad.events.response.particles import KAON, MUON, PION, Collisions, ParticleResponse, Particles, deposit
from l1ad.events.response.trigger import Muons, TriggerResponse, digitise, find_objects
from l1ad.events.schema import load_schema

PLAIN = TriggerResponse(
    jet_soft_scale=1.0, jet_soft_offset_gev=0.0, jet_hard_scale=1.0, jet_hard_offset_gev=0.0, tau_scale=1.0
)


def no_muons(events=1):
    return Muons(np.zeros(events + 1, np.int64), *(np.zeros(0, np.int64) for _ in range(5)))


def image(*deposits, events=1):
    """Tower codes with ``(event, layer, row, column, code)`` set."""
    towers = np.zeros((events, 2, N_ETA, N_PHI), np.int16)
    for event, layer, row, column, code in deposits:
        towers[event, layer, row, column] = code
    return towers


def test_tower_geometry():
    assert len(ETA_EDGES) == N_ETA + 1 == 81
    np.testing.assert_allclose(ETA_EDGES, -ETA_EDGES[::-1])
    assert (ETA_EDGES[40], ETA_EDGES[12], ETA_EDGES[68]) == (0.0, -3.0, 3.0)
    assert (np.diff(ETA_EDGES) > 0).all()


def test_columns_are_those_of_the_schema():
    columns = load_schema("cms_run3").columns() | load_schema("cicada").columns()
    found = find_objects(image(events=3), no_muons(3), PLAIN)
    assert set(found) == set(columns)
    for name, array in found.items():
        assert array.shape == (3, columns[name][0].slots)
        assert not array.any()


def test_a_jet_is_the_sum_of_its_window():
    # 40 + 10 + 6 GeV within +-4 towers of the seed; 3 GeV five towers away is not in the jet
    found = find_objects(
        image((0, 1, 45, 30, 80), (0, 0, 49, 34, 20), (0, 1, 41, 26, 12), (0, 1, 45, 35, 6)), no_muons(), PLAIN
    )
    assert found["jet.pt"][0].tolist() == [112] + [0] * 11
    assert found["jet.eta"][0, 0] == round(ETA_CENTRES[45] / 0.0435) == 11
    assert found["jet.phi"][0, 0] == 61
    assert found["et.pt"][0, 0] == 118
    assert found["ht.pt"][0, 0] == found["mht.pt"][0, 0] == 112
    assert found["mht.phi"][0, 0] == (61 + 72) % 144  # opposite


def test_jets_wrap_in_phi_and_lose_the_three_quietest_strips():
    # the window of column 1 reaches columns 69..5; strips in phi at columns 6..8 and 66..68
    signal = [(0, 1, 45, 1, 60), (0, 1, 45, 70, 20)]
    found = find_objects(image(*signal), no_muons(), PLAIN)
    assert found["jet.pt"][0, :2].tolist() == [80, 0]
    around = [(0, 1, 45, 7, 7), (0, 1, 45, 67, 7), (0, 1, 51, 1, 6), (0, 1, 39, 1, 7)]
    assert find_objects(image(*signal, *around[:2]), no_muons(), PLAIN)["jet.pt"][0, 0] == 80 - 7
    assert find_objects(image(*signal, *around), no_muons(), PLAIN)["jet.pt"][0, 0] == 80 - 7 - 7 - 6


def test_equal_towers_make_one_jet():
    found = find_objects(image((0, 1, 45, 30, 40), (0, 1, 45, 31, 40)), no_muons(), PLAIN)
    assert found["jet.pt"][0].tolist() == [80] + [0] * 11


def test_objects_are_sorted_and_saturate():
    # two towers at the 8-bit limit in one window: 510 counts of 0.5 GeV per layer, over the 9 bits of a tau
    towers = image(
        *((0, layer, 45, column, 255) for layer in (0, 1) for column in (30, 31)),
        *((event, 1, 20, 60, 30) for event in (0, 1)),
        events=2,
    )
    found = find_objects(towers, no_muons(len(towers)), PLAIN)
    assert found["jet.pt"][:, :3].tolist() == [[1020, 30, 0], [30, 0, 0]]
    assert found["tau.pt"][0, 0] == 511


def test_egamma_is_a_compact_electromagnetic_cluster():
    electron = (0, 0, 45, 30, 50)
    found = find_objects(image(electron, (0, 0, 45, 31, 10)), no_muons(), PLAIN)
    assert (found["eg.pt"][0, 0], found["eg.phi"][0, 0], found["eg.iso"][0, 0]) == (60, 61, 1)
    behind = find_objects(image(electron, (0, 1, 45, 30, 11)), no_muons(), PLAIN)  # H/E above the cut
    assert behind["eg.pt"][0, 0] == 0
    forward = find_objects(image((0, 0, 5, 30, 50)), no_muons(), PLAIN)  # no e/gamma beyond |eta| = 3
    assert forward["eg.pt"][0, 0] == 0
    busy = find_objects(image(electron, (0, 1, 45, 33, 40)), no_muons(), PLAIN)
    assert (busy["eg.pt"][0, 0], busy["eg.iso"][0, 0]) == (50, 0)


def test_missing_energy_points_away_and_ignores_soft_towers():
    found = find_objects(image((0, 1, 45, 0, 100), (0, 1, 45, 36, 7)), no_muons(), PLAIN)
    assert (found["met.pt"][0, 0], found["met.phi"][0, 0]) == (100, 73)  # tower 0 is centred on code 1


def test_muons_are_sorted_and_isolated_by_the_towers_around():
    muons = Muons(
        first=np.array([0, 2, 3]),
        pt=np.array([10, 50, 511]),
        eta=np.array([0, -100, 200]),
        phi=np.array([240, 0, 575]),
        charge=np.array([1, 0, 1]),
        quality=np.array([8, 12, 4]),
    )
    found = find_objects(image((0, 1, 40, 30, 60), events=2), muons, PLAIN)
    assert found["mu.pt"][:, :3].tolist() == [[50, 10, 0], [511, 0, 0]]
    assert found["mu.eta"][:, :2].tolist() == [[-100, 0], [200, 0]]
    assert found["mu.phi"][:, :2].tolist() == [[0, 240], [575, 0]]
    assert found["mu.quality"][0, :2].tolist() == [12, 8]
    assert found["mu.iso"][:, :2].tolist() == [[1, 0], [1, 0]]  # 30 GeV sit on the second muon


def test_digitising():
    et = np.zeros((1, 2, N_ETA, N_PHI))
    et[0, 0, 40, :4] = (0.99, 1.0, 1.49, 500.0)
    et[0, 1, 40, :3] = (2.49, 2.5, 3.1)
    et[0, 0, 0, :2] = (3.4, 3.5)  # a tower 3.47 times as wide as in the barrel
    codes = digitise(et, TriggerResponse())
    assert codes[0, 0, 40, :4].tolist() == [0, 2, 2, 255]
    assert codes[0, 1, 40, :3].tolist() == [0, 5, 6]
    assert codes[0, 0, 0, :2].tolist() == [0, 7]


def particles(pid, pt, eta, phi):
    pid, pt, eta, phi = (np.atleast_1d(np.asarray(x)) for x in (pid, pt, eta, phi))
    n = len(pid)
    return Particles(pid, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta), np.arange(n), n)


def only(found, row):
    return found.deposits["et"][found.deposits["row"] == row].sum() * GEV_PER_DEPOSIT


def test_deposits_of_single_particles(rng):
    n = 2000
    photon = deposit(
        particles(np.full(n, 22), 40.0 + np.zeros(n), 0.1 + np.zeros(n), 1.0 + np.zeros(n)), ParticleResponse(), rng
    )
    assert set(photon.deposits["row"].tolist()) == {41}  # ECAL only, 0.087 < eta < 0.174
    assert set(photon.deposits["column"].tolist()) == {int(1.0 / (2 * np.pi) * 72)}
    assert only(photon, 41) / n == pytest.approx(40 * 0.97, rel=0.01)
    assert len(photon) == n
    pion = deposit(
        particles(np.full(n, 211), 20.0 + np.zeros(n), 0.1 + np.zeros(n), 1.0 + np.zeros(n)), ParticleResponse(), rng
    )
    assert set(pion.deposits["row"].tolist()) == {41, 121}
    assert 4 < only(pion, 41) / n < 9
    assert 10 < only(pion, 121) / n < 15


def test_a_deposit_saturates_far_above_a_tower(rng):
    found = deposit(particles(22, 3000.0, 0.1, 1.0), ParticleResponse(), rng)
    assert found.deposits["et"].tolist() == [2**16 - 1]


def test_what_never_arrives(rng):
    lost = particles([12, 211, 13, 22, 321], [50.0, 0.5, 50.0, 50.0, 0.7], [0.0, 0.0, 0.0, 6.0, 0.1], np.zeros(5))
    found = deposit(lost, ParticleResponse(), rng)
    assert len(found.deposits) == 0
    assert np.diff(found.first_track).tolist() == [0, 0, 1, 0, 0]


def test_positive_tracks_bend_one_way_and_negative_ones_the_other(rng):
    pair = particles([211, -211], [1.5, 1.5], [0.0, 0.0], [3.0, 3.0])
    found = deposit(pair, ParticleResponse(), rng)
    plus, minus = (found.deposits["column"][found.first_deposit[i]] for i in (0, 1))
    assert plus < int(3.0 / (2 * np.pi) * 72) < minus


def test_tracks_are_muons_and_hadrons_within_reach(rng):
    several = particles([13, -211, 321, 22, 13, 211], [5.0, 6.0, 7.0, 8.0, 2.4, 9.0], [1, -2, 0, 0, 0, 2.5], np.ones(6))
    found = deposit(several, ParticleResponse(), rng)
    assert found.tracks["kind"].tolist() == [MUON, PION, KAON]
    assert found.tracks["charge"].tolist() == [-1, -1, 1]
    np.testing.assert_array_equal(found.tracks["pt"], np.float32([5, 6, 7]))
    assert found.first_track.tolist() == [0, 1, 2, 3, 3, 3, 3]


def test_muon_codes(rng):
    exact = MuonResponse(efficiency=1.0, resolution=1e-9, scale=1.0)
    found = deposit(
        particles([13, -13, 13], [20.2, 5.2, 2.0], [1.0, -2.0, 0.0], [0.1, -0.1, 0.0]), ParticleResponse(), rng
    )
    seen, codes = detect(found.tracks, exact, rng)
    assert seen.tolist() == [0, 1]
    assert codes["pt"].tolist() == [40, 10]
    assert codes["eta"].tolist() == [round(1 / 0.010875), round(-2 / 0.010875)]
    assert codes["phi"].tolist() == [9, 566]
    assert codes["charge"].tolist() == [0, 1]


def test_muons_are_seen_at_the_stated_rates(rng):
    n = 200_000
    r = MuonResponse(min_gev=0.1)
    for pid, pt, expected in (
        (13, 30.0, r.efficiency),
        (211, 4.0, r.efficiency * r.pion_decay_gev_per_m * 1.29 / 4.0),
        (-321, 4.0, r.efficiency * r.kaon_decay_gev_per_m * 0.636 * 1.29 / 4.0),
    ):
        some = particles(np.full(n, pid), np.full(n, pt), np.zeros(n), np.zeros(n))
        seen, codes = detect(deposit(some, ParticleResponse(), rng).tracks, r, rng)
        assert abs(len(seen) - n * expected) < 5 * np.sqrt(n * expected * (1 - expected) + 1)
        assert (codes["charge"] == (pid == 211)).all()
        low = {13: 1.0, 211: r.pion_muon_min, -321: r.kaon_muon_min}[pid]
        assert np.median(codes["pt"] + 0.5) / 2 == pytest.approx(pt * (1 + low) / 2 * r.scale, abs=0.5)


def test_stocks_join(rng):
    a = deposit(particles([22, 13], [10.0, 30.0], [0.0, 0.0], [0.0, 1.0]), ParticleResponse(), rng)
    both = Collisions.concatenate([a, a])
    assert len(both) == 4
    np.testing.assert_array_equal(both.hardness(), np.tile(a.hardness(), 2))
    assert both.hardness()[0] == pytest.approx(9.7, rel=0.1)
    assert both.hardness()[1] == 30
    with pytest.raises(ValueError, match="stocks must be given to concatenate, not nothing"):
        Collisions.concatenate([])


@pytest.mark.parametrize("soft", [True, False])
def test_the_compiled_trigger_equals_the_plain_one(rng, soft):
    # dense soft towers full of ties, and a few hard ones up to saturation
    n = 40
    towers = rng.integers(0, 12, (n, 2, N_ETA, N_PHI)) * (rng.random((n, 2, N_ETA, N_PHI)) < 0.2)
    if not soft:
        hard = rng.random(towers.shape) < 0.005
        towers = np.where(hard, rng.integers(0, 256, towers.shape), towers * (rng.random(towers.shape) < 0.3))
    towers = towers.astype(np.int16)
    counts = rng.integers(0, 12, n)
    first = np.concatenate([[0], np.cumsum(counts)])
    limits = {"pt": (1, 512), "eta": (-225, 226), "phi": (0, 576), "charge": (0, 2), "quality": (0, 16)}
    muons = Muons(first, **{name: rng.integers(*limit, first[-1]) for name, limit in limits.items()})
    found = find_objects(towers, muons, TriggerResponse())
    expected = plain_trigger.find_objects(towers, muons, TriggerResponse())
    assert set(found) == set(expected)
    for name, codes in found.items():
        np.testing.assert_array_equal(codes, expected[name], err_msg=name)
        assert soft or codes.any()
