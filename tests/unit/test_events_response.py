import numpy as np
import pytest

from l1ad.events.response import (
    ETA_CENTRES,
    ETA_EDGES,
    N_ETA,
    N_PHI,
    Collisions,
    ParticleResponse,
    Particles,
    TriggerResponse,
    deposit,
    digitise,
    find_objects,
)
from l1ad.events.schema import load_schema

PLAIN = TriggerResponse(
    jet_soft_scale=1.0, jet_soft_offset_gev=0.0, jet_hard_scale=1.0, jet_hard_offset_gev=0.0, tau_scale=1.0
)
NO_MUONS = {key: np.zeros(0, np.int64) for key in ("event", "pt", "eta", "phi", "charge", "quality")}


def image(*deposits, events=1):
    """Tower codes with ``(event, layer, row, column, code)`` set."""
    towers = np.zeros((events, 2, N_ETA, N_PHI), np.int32)
    for event, layer, row, column, code in deposits:
        towers[event, layer, row, column] = code
    return towers


def test_tower_geometry():
    assert len(ETA_EDGES) == N_ETA + 1 == 81
    np.testing.assert_allclose(ETA_EDGES, -ETA_EDGES[::-1])
    assert (ETA_EDGES[40], ETA_EDGES[12], ETA_EDGES[68]) == (0.0, -3.0, 3.0)
    assert (np.diff(ETA_EDGES) > 0).all()


def test_columns_are_those_of_the_schema():
    columns = load_schema("cms_run3").columns()
    found = find_objects(image(events=3), NO_MUONS, PLAIN)
    assert set(found) == set(columns)
    for name, array in found.items():
        assert array.shape == (3, columns[name][0].slots)
        assert not array.any()


def test_a_jet_is_the_sum_of_its_window():
    # 40 + 10 + 6 GeV within +-4 towers of the seed; 3 GeV five towers away is not in the jet
    found = find_objects(
        image((0, 1, 45, 30, 80), (0, 0, 49, 34, 20), (0, 1, 41, 26, 12), (0, 1, 45, 35, 6)), NO_MUONS, PLAIN
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
    found = find_objects(image(*signal), NO_MUONS, PLAIN)
    assert found["jet.pt"][0, :2].tolist() == [80, 0]
    around = [(0, 1, 45, 7, 7), (0, 1, 45, 67, 7), (0, 1, 51, 1, 6), (0, 1, 39, 1, 7)]
    assert find_objects(image(*signal, *around[:2]), NO_MUONS, PLAIN)["jet.pt"][0, 0] == 80 - 7
    assert find_objects(image(*signal, *around), NO_MUONS, PLAIN)["jet.pt"][0, 0] == 80 - 7 - 7 - 6


def test_equal_towers_make_one_jet():
    found = find_objects(image((0, 1, 45, 30, 40), (0, 1, 45, 31, 40)), NO_MUONS, PLAIN)
    assert found["jet.pt"][0].tolist() == [80] + [0] * 11


def test_objects_are_sorted_and_saturate():
    # two towers at the 8-bit limit in one window: 510 counts of 0.5 GeV per layer, over the 9 bits of a tau
    towers = image(
        *((0, layer, 45, column, 255) for layer in (0, 1) for column in (30, 31)),
        *((event, 1, 20, 60, 30) for event in (0, 1)),
        events=2,
    )
    found = find_objects(towers, NO_MUONS, PLAIN)
    assert found["jet.pt"][:, :3].tolist() == [[1020, 30, 0], [30, 0, 0]]
    assert found["tau.pt"][0, 0] == 511


def test_egamma_is_a_compact_electromagnetic_cluster():
    electron = (0, 0, 45, 30, 50)
    found = find_objects(image(electron, (0, 0, 45, 31, 10)), NO_MUONS, PLAIN)
    assert (found["eg.pt"][0, 0], found["eg.phi"][0, 0], found["eg.iso"][0, 0]) == (60, 61, 1)
    behind = find_objects(image(electron, (0, 1, 45, 30, 10)), NO_MUONS, PLAIN)  # H/E above the cut
    assert behind["eg.pt"][0, 0] == 0
    forward = find_objects(image((0, 0, 5, 30, 50)), NO_MUONS, PLAIN)  # no e/gamma beyond |eta| = 3
    assert forward["eg.pt"][0, 0] == 0
    busy = find_objects(image(electron, (0, 1, 45, 33, 40)), NO_MUONS, PLAIN)
    assert (busy["eg.pt"][0, 0], busy["eg.iso"][0, 0]) == (50, 0)


def test_missing_energy_points_away_and_ignores_soft_towers():
    found = find_objects(image((0, 1, 45, 0, 100), (0, 1, 45, 36, 7)), NO_MUONS, PLAIN)
    assert (found["met.pt"][0, 0], found["met.phi"][0, 0]) == (100, 73)  # tower 0 is centred on code 1


def test_muons_are_sorted_and_isolated_by_the_towers_around():
    muons = {
        "event": np.array([0, 0, 1]),
        "pt": np.array([10, 50, 511]),
        "eta": np.array([0, -100, 200]),
        "phi": np.array([240, 0, 575]),
        "charge": np.array([1, 0, 1]),
        "quality": np.array([8, 12, 4]),
    }
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


def test_deposits_of_single_particles(rng):
    n = 2000
    photon = deposit(
        particles(np.full(n, 22), 40.0 + np.zeros(n), 0.1 + np.zeros(n), 1.0 + np.zeros(n)), ParticleResponse(), rng
    )
    assert set(photon.row.tolist()) == {41}  # ECAL only, 0.087 < eta < 0.174
    assert set(photon.column.tolist()) == {int(1.0 / (2 * np.pi) * 72)}
    assert photon.et.mean() == pytest.approx(40 * 0.97, rel=0.01)
    assert len(photon) == n
    pion = deposit(
        particles(np.full(n, 211), 20.0 + np.zeros(n), 0.1 + np.zeros(n), 1.0 + np.zeros(n)), ParticleResponse(), rng
    )
    assert set(pion.row.tolist()) == {41, 121}
    ecal = pion.et[pion.row == 41].sum() / n
    assert 4 < ecal < 9
    assert 10 < pion.et.sum() / n - ecal < 15


def test_what_never_arrives(rng):
    lost = particles([12, 211, 13, 22, 321], [50.0, 0.5, 50.0, 50.0, 0.7], [0.0, 0.0, 0.0, 6.0, 0.1], np.zeros(5))
    found = deposit(lost, ParticleResponse(muon_efficiency=1.0), rng)
    assert len(found.et) == 0
    assert np.diff(found.muons).tolist() == [0, 0, 1, 0, 0]


def test_positive_tracks_bend_one_way_and_negative_ones_the_other(rng):
    pair = particles([211, -211], [1.5, 1.5], [0.0, 0.0], [3.0, 3.0])
    found = deposit(pair, ParticleResponse(), rng)
    plus, minus = (found.column[found.deposits[i]] for i in (0, 1))
    assert plus < int(3.0 / (2 * np.pi) * 72) < minus


def test_muon_codes(rng):
    exact = ParticleResponse(muon_efficiency=1.0, muon_resolution=1e-9, muon_scale=1.0)
    found = deposit(particles([13, -13, 13], [20.2, 5.0, 2.0], [1.0, -2.0, 0.0], [0.1, -0.1, 0.0]), exact, rng)
    assert found.muon_pt.tolist() == [40, pytest.approx(10, abs=1)]
    assert found.muon_eta.tolist() == [round(1 / 0.010875), round(-2 / 0.010875)]
    assert found.muon_phi.tolist() == [9, 566]
    assert found.muon_charge.tolist() == [0, 1]


def test_stocks_join(rng):
    a = deposit(particles([22, 13], [10.0, 30.0], [0.0, 0.0], [0.0, 1.0]), ParticleResponse(muon_efficiency=1.0), rng)
    both = Collisions.concatenate([a, a])
    assert len(both) == 4
    np.testing.assert_array_equal(both.hardness(), np.tile(a.hardness(), 2))
    assert both.hardness()[0] == pytest.approx(9.7, rel=0.1)
    with pytest.raises(ValueError, match="stocks must be given to concatenate, not nothing"):
        Collisions.concatenate([])
