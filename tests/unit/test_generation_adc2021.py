import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from l1ad.documents import decode
from l1ad.events.generation import adc2021
from l1ad.events.generation.adc2021 import (
    PROCESSES,
    PUBLISHED_MIXTURE,
    Adc2021Plan,
    Sample,
    make_adc2021,
    write_adc2021,
)
from l1ad.events.generation.delphes import DelphesResponse
from l1ad.events.generation.flight import HADRON, arrive, overlay
from l1ad.events.generation.heavy_flavour import HEAVY, redecayed
from l1ad.events.generation.processes import Process
from l1ad.events.generation.reconstruction import ROWS, lepton_filter, reconstruct
from l1ad.events.response.particles import Particles

RESPONSE = DelphesResponse()
CONFIG = Path(__file__).parents[2] / "configs" / "events" / "adc2021.toml"


def particles(*rows, n=1):
    """`n` collisions, each of these particles (code, pt, eta, phi), light ones."""
    pid, pt, eta, phi = np.tile(np.array(rows, dtype=float).reshape(-1, 4), (n, 1)).T
    momentum = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    collision = np.repeat(np.arange(n), len(rows))
    return Particles(pid.astype(np.int64), *momentum, pt * np.cosh(eta), collision, n)


def flight(*rows, n=1):
    return arrive(particles(*rows, n=n), RESPONSE)


@pytest.fixture
def seen(require, rng):
    """Objects of `n` crossings without pileup, each of these particles."""
    require("fastjet")

    def find(*rows, n=1, response=RESPONSE):
        hard = flight(*rows, n=n)
        return reconstruct(overlay(hard, hard, 0.0, response, rng), response, rng)

    return find


def assert_share(found, share):
    """A number of successes is within 4 standard deviations of the binomial expectation."""
    assert abs(found.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(found)) + 1e-12


# ---------------------------------------------------------------- on the way to the calorimeter


def test_tracks_bend_by_the_sagitta():
    pt, reach = 5.0, 0.3 * 3.8 * 1.29 / 2
    plus, minus, neutral, photon = flight((211, pt, 0, 1), (-211, pt, 0, 1), (2112, pt, 0, 1), (22, pt, 0, 1)).turn
    assert plus == pytest.approx(-np.arcsin(reach / pt), rel=1e-6)
    assert minus == -plus
    assert neutral == photon == 0
    assert flight((11, pt, 0, 1)).turn[0] == pytest.approx(-plus)  # the electron is negative


def test_soft_charged_particles_curl_into_the_endcap():
    curling, neutral = flight((211, 0.5, 0.5, 0), (2112, 0.5, 0.5, 0)).eta_calo
    assert neutral == pytest.approx(0.5)
    assert curling > np.arcsinh(3.0 / 1.29)  # inside the radius, at the end
    assert len(flight((211, 0.5, 0.0, 0)).pt) == 1


def test_what_detectors_do_not_see():
    found = flight((12, 9, 0, 0), (-16, 9, 0, 0), (22, 9, 5.2, 0), (13, 9, 0, 0), (321, 9, 4.5, 0))
    assert found.pt.tolist() == [9, 9]
    assert found.kind[1] == HADRON


def test_collisions_are_selected_and_joined():
    first, second = flight((22, 1, 0, 0), (22, 2, 0, 0), n=3), flight((13, 5, 1, 0))
    both = type(first).concatenate([first, second])
    assert len(both) == 4
    assert both.offsets.tolist() == [0, 2, 4, 6, 7]
    kept = both.select(np.array([False, True, False, True]))
    assert kept.pt.tolist() == [1, 2, 5]
    assert kept.collision.tolist() == [0, 0, 1]
    assert len(both.select(np.zeros(4, bool))) == 0


def test_overlay_adds_turned_and_mirrored_collisions(rng):
    hard, pool = flight((13, 50, 1, 0), n=2000), flight((22, 3, 1.5, 0), (22, 4, 1.5, 0.5))
    crossings = overlay(hard, pool, 3.0, RESPONSE, rng)
    assert (np.diff(crossings.event) >= 0).all()
    soft = crossings.kind != hard.kind[0]
    counts = np.bincount(crossings.event[soft], minlength=2000) / 2
    assert counts.mean() == pytest.approx(3, abs=4 * np.sqrt(3 / 2000))
    assert counts.var() == pytest.approx(3, rel=0.2)
    assert_share(crossings.eta[soft][::2] > 0, 0.5)
    pair = crossings.phi[soft].reshape(-1, 2)
    np.testing.assert_allclose(np.cos(pair[:, 1] - pair[:, 0]), np.cos(0.5), atol=1e-6)
    assert abs(np.exp(1j * pair[:, 0]).mean()) < 4 / np.sqrt(len(pair))
    assert not crossings.pileup[~soft].any()
    assert_share(crossings.pileup[soft][::2], 1 - 1.0645e-3)  # erf(0.1 mm / (2 x 53 mm)): too near to tell


# ---------------------------------------------------------------- objects


@pytest.mark.parametrize(
    ("code", "eta", "row", "efficiency"),
    [
        (11, 0.3, 1, 0.95 * 0.95),
        (-11, 2.0, 1, 0.83 * 0.85),
        (11, 2.6, 1, 0.0),
        (13, -1.0, 5, 0.99 * 0.95),
        (-13, 2.0, 5, 0.98 * 0.95),
        (13, 2.2, 5, 0.0),
    ],
)
def test_a_lone_lepton_survives_with_the_efficiency_of_the_card(seen, code, eta, row, efficiency):
    found = seen((code, 40, eta, 1), n=3000)
    there = found[:, row, 0] > 0
    assert_share(there, efficiency)
    others = [r for r in range(1, 9) if r != row]
    assert not found[:, others].any()
    if efficiency:
        np.testing.assert_allclose(found[there, row, 1:3], [[eta, 1]] * there.sum(), rtol=1e-5)
        assert np.median(found[there, row, 0]) == pytest.approx(40, rel=0.02)
        assert (found[there, row, 3] == (2 if row == 1 else 3)).all()
        assert not found[there, 9:].any()  # the lepton is not a jet as well


def test_muon_resolution_is_that_of_the_card(seen):
    pt = seen((13, 50, 0.2, 0), n=4000)[:, 5, 0]
    pt = pt[pt > 0]
    assert pt.std() / 50 == pytest.approx(np.hypot(0.01, 50 * 1e-4), rel=0.05)
    assert pt.mean() == pytest.approx(50, rel=0.001)


def test_leptons_below_the_identification_are_lost(seen):
    assert not seen((13, 8, 0, 0), (11, 8, 1, 2), n=200)[:, 1:9].any()


def test_isolation_kills_a_lepton_in_a_jet(seen):
    inside = seen((13, 30, 0, 0), (211, 20, 0.1, 0.1), (22, 15, -0.1, 0.05), n=500)
    assert (inside[:, 5, 0] > 0).mean() < 0.02
    assert (inside[:, 9, 0] > 40).mean() > 0.9
    outside = seen((13, 30, 0, 0), (211, 20, 0.7, 0.1), (22, 15, -0.7, 0.05), n=500)
    assert (outside[:, 5, 0] > 0).mean() > 0.9
    little = seen((13, 30, 0, 0), (22, 4, 0.1, 0.1), n=500)
    assert (little[:, 5, 0] > 0).mean() > 0.9


def test_pileup_density_is_taken_off_the_isolation_and_the_jets(require, rng):
    require("fastjet")
    n, sea = 150, 4000
    event = np.repeat(np.arange(n), sea + 2)
    eta, phi, pt = rng.uniform(-5, 5, len(event)), rng.uniform(-np.pi, np.pi, len(event)), np.full(len(event), 1.0)
    pid = np.full(len(event), 22)
    pid[:: sea + 2], pt[:: sea + 2], eta[:: sea + 2], phi[:: sea + 2] = 13, 80, 0.0, 0.0
    pt[1 :: sea + 2], eta[1 :: sea + 2], phi[1 :: sea + 2] = 60, 1.5, 2.0
    momentum = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    hard = arrive(Particles(pid, *momentum, pt * np.cosh(eta), event, n), RESPONSE)
    found = reconstruct(overlay(hard, hard, 0.0, RESPONSE, rng), RESPONSE, rng)
    around = sea / (10 * 2 * np.pi) * np.pi * 0.5**2
    assert around > 0.25 * 80  # without the correction hardly one muon would pass
    assert (found[:, 5, 0] > 0).mean() > 0.85
    assert sea / (10 * 2 * np.pi) * np.pi * 0.4**2 > 20  # what a jet holds of the sea
    assert np.median(found[:, 9, 0]) == pytest.approx(60, abs=5)


def test_tracks_of_pileup_do_not_make_jets(require, rng):
    require("fastjet")
    hard, pool = flight((22, 1, 4.9, 0), n=400), flight((211, 40, 0.5, 0))
    found = reconstruct(overlay(hard, pool, 2.0, RESPONSE, rng), RESPONSE, rng)
    near = replace(RESPONSE, vertex_resolution_m=10.0)
    merged = reconstruct(overlay(hard, pool, 2.0, near, rng), near, rng)
    jets, merged_jets = ((f[:, 9, 0] > 0).mean() for f in (found, merged))
    assert jets < 0.25  # lost tracks (5 %) and fluctuations of the tower
    assert merged_jets == pytest.approx(1 - np.exp(-2), abs=0.07)


def test_jets_are_ordered_and_padded_and_end_at_eta_4(seen):
    rows = [(22, pt, eta, phi) for pt, eta, phi in zip((30, 80, 50), (-1, 3.0, 0.5), (-2, 0, 2), strict=True)]
    found = seen(*rows, (22, 100, 4.5, -1), n=300)
    jets = found[:, ROWS["jet"]]
    assert (np.diff(jets[:, :, 0], axis=1) <= 0).all()
    assert ((jets[:, :, 0] > 0).sum(1) == 3).mean() > 0.95
    assert not jets[jets[:, :, 0] == 0].any()  # what is absent is zero in everything, phi too
    assert set(np.unique(jets[:, :, 3])) == {0, 4}
    assert np.abs(jets[:, :, 1]).max() < 4
    many = [(22, 20 + i, -3 + 0.5 * i, 2.0 * i) for i in range(13)]
    found = seen(*many, n=50)
    assert (found[:, 9:, 0] > 0).all()
    assert found[:, 18, 0].mean() > 21  # the hardest ten


def test_met_balances(seen):
    balanced = seen((22, 50, 0.3, 1), (22, 50, -0.3, 1 - np.pi), n=500)[:, 0]
    assert np.median(balanced[:, 0]) < 3
    lost = seen((13, 50, 0.3, 1), (14, 50, 0, 1 - np.pi), n=500)[:, 0]
    found = lost[lost[:, 0] > 10]
    assert len(found) > 470  # 1 % have no track
    np.testing.assert_allclose(np.median(found[:, 0]), 50, rtol=0.01)
    np.testing.assert_allclose(np.cos(found[:, 2] - 1 + np.pi), 1, atol=1e-6)
    assert (lost[:, 1] == 0).all()
    assert (lost[:, 3] == 1).all()


def test_a_crossing_without_particles_has_no_objects(seen):
    found = seen((12, 50, 0, 0), n=3)
    expected = np.zeros((3, 19, 4))
    expected[:, 0, 3] = 1
    np.testing.assert_array_equal(np.abs(found), expected)


def test_the_filter_looks_at_the_hardest_lepton():
    events = np.zeros((5, 19, 4))
    events[1, 1, 0], events[2, 5, 0], events[3, 1, 0], events[4, 9, 0] = 23.5, 30, 23.0, 99
    assert lepton_filter(events, 23.0).tolist() == [False, True, True, False, False]


# ---------------------------------------------------------------- plans


def test_the_example_is_a_plan():
    plan = decode(Adc2021Plan, tomllib.loads(CONFIG.read_text(encoding="utf-8")), "adc2021.toml")
    assert plan.detector == "adc2021"
    assert plan.samples[0].mixture == PUBLISHED_MIXTURE
    assert {name for sample in plan.samples for name in sample.mixture} == set(PROCESSES)


def test_counts_add_up():
    assert Sample("s", 1000, PUBLISHED_MIXTURE).counts() == {"w": 592, "qcd": 338, "z": 67, "ttbar": 3}
    assert Sample("s", 10, PUBLISHED_MIXTURE).counts() == {"w": 6, "qcd": 3, "z": 1, "ttbar": 0}
    assert sum(Sample("s", 7, {"w": 1 / 3, "z": 1 / 3, "qcd": 1 / 3}).counts().values()) == 7


W_ONLY = Sample("s", 1, {"w": 1.0})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Sample("s", 1, {"top": 1.0}), "mixture must name some of qcd, w, z, ttbar, .*, not top"),
        (lambda: Sample("s", 1, {"w": 0.9}), "mixture must be positive shares that add up to 1, not"),
        (lambda: Sample("s", 0, {"w": 1.0}), "events must be at least 1, not 0"),
        (lambda: Adc2021Plan("p", 1, (W_ONLY, W_ONLY)), "samples must be given, each with its own name"),
        (lambda: Adc2021Plan("p", 1, (W_ONLY,), chunk=0), "chunk must be at least 1, not 0"),
        (lambda: Adc2021Plan("p", 1, (W_ONLY,), pileup=-1.0), "pileup must be at least 0, not -1.0"),
        (lambda: Adc2021Plan("p", 1, (W_ONLY,), lepton_min_gev=5.0), "lepton_min_gev must be at least 21.6, not 5.0"),
        (lambda: make_adc2021(Adc2021Plan("p", 1, (W_ONLY,)), Path(), Path(), 0), "workers must be at least 1, not 0"),
    ],
)
def test_impossible_plans_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_files_are_those_of_adc2021(tmp_path, rng):
    events = rng.random((5, 19, 4))
    write_adc2021(tmp_path / "x.h5", events, {"simulated": True, "seed": 3, "mixture": {"w": 1.0}})
    with h5py.File(tmp_path / "x.h5") as file:
        assert sorted(file) == ["Particles", "Particles_Classes", "Particles_Names"]
        assert file["Particles"].dtype == np.float64
        assert file["Particles"].compression == "gzip"
        np.testing.assert_array_equal(file["Particles"][:], events)
        assert file["Particles_Names"][:].tolist() == [b"Pt", b"Eta", b"Phi", b"Class"]
        classes = [b"MET_class_1", b"Four_Ele_class_2", b"Four_Mu_class_3", b"Ten_Jet_class_4"]
        assert file["Particles_Classes"][:].tolist() == classes
        assert file.attrs["simulated"]
        assert json.loads(file.attrs["mixture"]) == {"w": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


# ---------------------------------------------------------------- with Pythia

TINY = Adc2021Plan(
    name="tiny",
    seed=3,
    samples=(Sample("background", 8, {"w": 0.75, "ttbar": 0.25}), Sample("more", 2, {"w": 1.0})),
    pool=12,
    chunk=14,
)  # fmt: skip


def content(folder):
    """All that the files of a folder hold."""
    found = {}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            found[path.name] = (file["Particles"][:].tolist(), dict(file.attrs))
    return found


QUICK = ("PartonLevel:MPI = off", "PartonLevel:ISR = off")


@pytest.fixture(scope="module")
def quick(require):
    """Processes without most of what takes time; jobs carry them to the workers."""
    require("pythia8mc")
    require("fastjet")
    with pytest.MonkeyPatch.context() as patch:
        for name, process in PROCESSES.items():
            patch.setitem(PROCESSES, name, Process(name, (*process.commands, *QUICK)))
        patch.setattr(adc2021, "POOL", Process("pool", ("HardQCD:all = on", "PhaseSpace:pTHatMin = 5.", *QUICK)))
        yield


@pytest.fixture(scope="module")
def tiny(quick, tmp_path_factory):  # noqa: ARG001  (a fixture that patches)
    folder = tmp_path_factory.mktemp("tiny")
    make_adc2021(TINY, folder / "out", folder / "work")
    return folder


def test_generated_files(tiny):
    with h5py.File(tiny / "out" / "background.h5") as file:
        events, attributes = file["Particles"][:], dict(file.attrs)
    assert events.shape == (8, 19, 4)
    assert lepton_filter(events, 23.0).all()
    processes = json.loads(attributes["processes"])
    assert {name: p["events"] for name, p in processes.items()} == {"w": 6, "ttbar": 2}
    for process in processes.values():
        assert process["passed"] >= process["events"]
        assert process["collisions"] % TINY.chunk == 0
        assert 0.03 < process["filter_efficiency"] < 0.7
    assert processes["w"]["collisions"] > TINY.chunk  # chunks were joined
    assert json.loads(attributes["mixture"]) == {"w": 0.75, "ttbar": 0.25}
    assert json.loads(attributes["mixture_published"]) == PUBLISHED_MIXTURE
    assert json.loads(attributes["mixture_of_cross_sections"])["w"] > 0.9
    assert json.loads(attributes["versions"])["pythia8mc"]
    assert attributes["simulated"]
    assert attributes["pileup_mean"] == 20
    with h5py.File(tiny / "out" / "more.h5") as file:
        assert len(file["Particles"]) == 2
        assert not set(file["Particles"][:, 0, 0]) & set(events[:, 0, 0])  # no event is in two files


def test_the_number_of_workers_does_not_matter(tiny, tmp_path):
    make_adc2021(TINY, tmp_path / "out", tmp_path / "work", workers=2)
    assert content(tmp_path / "out") == content(tiny / "out")


def test_another_seed_gives_other_events(tiny, tmp_path):
    small = replace(TINY, samples=TINY.samples[1:])
    make_adc2021(replace(small, seed=4), tmp_path / "out", tmp_path / "work")
    assert content(tmp_path / "out")["more.h5"][0] != content(tiny / "out")["more.h5"][0]


def test_an_interrupted_run_is_resumed(tiny, tmp_path, monkeypatch):
    make, made = adc2021._make_chunk, []

    def interrupted(job):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(job.path)
        return make(job)

    monkeypatch.setattr(adc2021, "_make_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_adc2021(TINY, tmp_path / "out", tmp_path / "work")
    assert not (tmp_path / "out").exists()
    first = list(made)
    times = [path.stat().st_mtime_ns for path in first]
    assert sorted((tmp_path / "work").iterdir()) == sorted(first)
    made.append(None)  # beyond the interruption
    make_adc2021(TINY, tmp_path / "out", tmp_path / "work")
    assert content(tmp_path / "out") == content(tiny / "out")
    assert [path.stat().st_mtime_ns for path in first] == times
    assert len(made) == len(set(made))


def test_a_process_without_leptons_is_given_up(tmp_path, monkeypatch):
    class Job:
        path = tmp_path / "none.npz"

    np.savez(Job.path, particles=np.zeros((0, 19, 4)))
    source = adc2021._Source(TINY, "s", PROCESSES["w"], 5, (Job.path,), tmp_path)
    monkeypatch.setattr(adc2021._Source, "job", lambda *_: Job)
    monkeypatch.setattr(adc2021, "_HOPELESS", 2)
    assert source.finish(0) == 0
    text = "process 'w' must pass the lepton filter now and then, not never in 2 chunks"
    with pytest.raises(RuntimeError, match=re.escape(text)):
        source.finish(1)


def test_heavy_hadrons_decay_again(require):
    require("pythia8mc")
    commands = ("HardQCD:hardbbbar = on", "PhaseSpace:pTHatMin = 60.")
    first, again = (redecayed(commands, 40, 60, 1, 13_000.0) for _ in range(2))
    assert first.generated == 40
    assert 1e-6 < first.sigma_mb < 1e-2
    np.testing.assert_array_equal(first.particles.px, again.particles.px)
    assert len(first.parent) == first.particles.n > 10
    assert len(np.unique(first.parent)) > 3
    assert (np.diff(first.parent) >= 0).all()
    pid = np.abs(first.particles.pid)
    assert not np.isin(pid, HEAVY).any()
    assert not np.isin(pid, (12, 14, 16)).any()
    hard = np.isin(pid, (11, 13)) & (np.hypot(first.particles.px, first.particles.py) > 18)
    assert (np.bincount(first.particles.collision[hard], minlength=first.particles.n) > 0).all()
    parts = [first.particles.energy[first.particles.collision == i] for i in range(first.particles.n)]
    same = np.flatnonzero(np.diff(first.parent) == 0)
    assert len(same) > 0
    for i in same:  # the same collision but for the decays, which come last
        assert parts[i][:100].tolist() == parts[i + 1][:100].tolist()
        assert parts[i].tolist() != parts[i + 1].tolist()
