import dataclasses
import re
import shutil

import numpy as np
import pytest
from studies import SMALL_PLAN

from l1ad.cli import main
from l1ad.events.generation.adc2021 import Adc2021Plan
from l1ad.events.generation.commands import load_plan
from l1ad.events.generation.plan import Plan, Signal, Stitched, ZeroBias, make
from l1ad.events.generation.thinning import Thinning
from l1ad.events.menu import decide, load_menu
from l1ad.events.pileup import Flat, Normal
from l1ad.events.store import EventFile, assert_disjoint, event_hash

PLAN = """\
detector = "level1"
seed = 7
qcd_edges_gev = [20.0]
photon_edges_gev = [20.0]
chunk = 20

[pools]
train = { soft = 200, qcd_20 = 20 }
rate = { soft = 200, qcd_20 = 40 }

[files.train]
events = 150
pool = "train"
pileup = { mean = 30.0, sd = 5.0, low = 15.0, high = 45.0 }

[files.rate]
plain = 100
pool = "rate"
pileup = { low = 20.0, high = 40.0 }
target = { mean = 30.0, sd = 3.0, low = 20.0, high = 40.0 }
thin = { floor = 0.5, tail = 0.1 }
forced = { qcd_20 = 30, w = 20 }

[files.muons]
process = "h_to_4mu"
events = 40
pool = "rate"
pileup = { mean = 30.0, sd = 5.0, low = 15.0, high = 45.0 }
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.toml"

    def load(text=PLAN):
        path.write_text(text, encoding="utf-8")
        return load_plan(path)

    return load


def test_a_plan_is_read(plan):
    read = plan()
    assert read.files["train"] == ZeroBias(150, "train", Normal(30, 5, 15, 45))
    assert read.files["rate"] == Stitched(
        100, {"qcd_20": 30, "w": 20}, "rate", Flat(20, 40), Normal(30, 3, 20, 40), Thinning(0.5, 0.1)
    )
    assert read.files["muons"] == Signal("h_to_4mu", 40, "rate", Normal(30, 5, 15, 45))
    half = read.scaled(0.5)
    assert half.files["rate"] == Stitched(
        50, {"qcd_20": 15, "w": 10}, "rate", Flat(20, 40), Normal(30, 3, 20, 40), Thinning(0.5, 0.1)
    )
    assert half.files["muons"].events == 20
    assert half.pools["rate"] == {"soft": 100, "qcd_20": 20}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 7", "sead = 7", r"plan\.toml: unknown key 'sead'; did you mean 'seed'\?"),
        ('"level1"', '"level2"', r"plan\.toml\.detector must be one of level1, adc2021, not 'level2'"),
        ('pool = "train"', 'pool = "pool"', r"files\.train\.pool must be one of train, rate, not 'pool'"),
        (", w = 20", ", wz = 20", r"files\.rate\.forced must name classes \(photon_20, qcd_20, ttbar, w, z\), not wz"),
        ('"h_to_4mu"', '"h"', r"files\.muons\.process must be one of a_to_4l, .* not 'h'; describe your own under"),
        ("soft = 200, qcd_20 = 40", "qcd_20 = 40", r"pools\.rate must say how many soft collisions to make"),
        ("[20.0]\nphoton", "[30.0]\nphoton", "must start where soft collisions end, not at 30 and 20 GeV"),
        ("events = 150\n", "", r"files\.train must be one of ZeroBias, Stitched, Signal"),
        ("seed = 7", "seed = ", r"plan\.toml: plan must be valid TOML"),
    ],
)
def test_a_wrong_plan_is_refused(plan, old, new, message):
    with pytest.raises(ValueError, match=message):
        plan(PLAN.replace(old, new, 1))


def test_own_processes_may_be_signals(plan):
    own = '[processes]\nmine = ["WeakDoubleBoson:ffbar2gmZgmZ = on"]\n\n[pools]'
    read = plan(PLAN.replace("[pools]", own).replace("h_to_4mu", "mine"))
    assert read.signals[-1].commands == ("WeakDoubleBoson:ffbar2gmZgmZ = on",)


@pytest.fixture(scope="module")
def made(require, tmp_path_factory):
    require("pythia8mc")
    folder = tmp_path_factory.mktemp("made")
    (folder / "plan.toml").write_text(PLAN)
    loaded = load_plan(folder / "plan.toml")
    return loaded, folder, make(loaded, folder / "out", folder / "work", workers=2)


def read(path):
    with EventFile(path) as file:
        return file.read(), file.attrs


def test_the_files_of_a_plan(made):
    _, folder, paths = made
    assert [path.name for path in paths] == ["rate.h5", "muons.h5", "train.h5"]
    (rate, attrs), (muons, _), (train, told) = (read(path) for path in paths)
    assert 100 < len(rate) < 150
    assert len(muons) == 40
    assert 140 < len(train) <= 150
    assert_disjoint(event_hash(train), np.concatenate([event_hash(rate), event_hash(muons)]))
    assert attrs["classes"] == ["qcd_20", "photon_20", "w", "z", "ttbar"]
    assert attrs["forced_events"] == {"qcd_20": 30, "photon_20": 0, "w": 20, "z": 0, "ttbar": 0}
    assert attrs["simulated"] is told["simulated"] is True
    assert 75 < attrs["pileup_cross_section_mb"] < 82
    assert attrs["pileup_target"] == {"profile": "normal", "mean": 30.0, "sd": 3.0, "low": 20.0, "high": 40.0}
    np.testing.assert_array_equal(np.bincount(rate.meta["forced"] + 1, minlength=6)[1:], [30, 0, 20, 0, 0])
    assert attrs["plain_events"] == 100
    assert (rate.meta["class_counts"][rate.meta["forced"] == 2, 2] >= 1).all()
    np.testing.assert_array_equal(rate.meta["seeds"], decide(rate, load_menu()))
    assert (rate.meta["pileup"] * 16 % 1 == 0).all()
    assert rate.meta["weight"].sum() == pytest.approx(1, abs=0.4)
    assert train.meta["weight"][0] == 1 / 150
    assert abs(train.meta["pileup"].mean() - 30) < 3
    assert (muons.columns["mu.pt"][:, 1] > 0).mean() > 0.5
    assert 25 < rate.meta["n_collisions"].mean() < 36
    # every forced collision marks its crossing alone: the pool holds as many as are used
    marks = rate.meta["collision"][rate.meta["forced"] == 2]
    assert len(set(marks.tolist())) == 20
    assert {path.name for path in (folder / "out").iterdir()} == {path.name for path in paths}


def test_a_plan_resumes_and_does_not_depend_on_workers(made, tmp_path, capsys):
    plan, folder, paths = made
    before = {path: path.stat().st_mtime_ns for path in paths}
    make(plan, folder / "out", folder / "work", workers=1)
    assert {path: path.stat().st_mtime_ns for path in paths} == before
    paths[0].unlink()
    capsys.readouterr()
    again = make(plan, folder / "out", folder / "work", workers=1)
    assert "collisions" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in paths[1:]} == {path: before[path] for path in paths[1:]}
    other = make(plan, tmp_path, folder / "work", workers=3)
    for one, two in zip(again, other, strict=True):
        (a, _), (b, _) = read(one), read(two)
        np.testing.assert_array_equal(event_hash(a), event_hash(b))
        np.testing.assert_array_equal(a.meta["weight"], b.meta["weight"])


def test_another_schema_takes_other_columns(made, tmp_path):
    plan, folder, _ = made
    regions = dataclasses.replace(plan, schema="cicada", menu="", files={"muons": plan.files["muons"]})
    (path,) = make(regions, tmp_path, folder / "work", workers=2)
    events, attrs = read(path)
    assert events.columns["region.pt"].shape == (40, 252)
    assert events.columns["region.pt"].sum(axis=1).min() > 20
    assert attrs["seeds"] == []


def test_the_command_line_finds_the_cross_sections_of_an_earlier_run(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    for path in (made[1] / "work").glob("cross-section-*.json"):
        shutil.copy(path, tmp_path / "work")
    (tmp_path / "plan.toml").write_text(SMALL_PLAN)
    arguments = ["events", "generate", "plan.toml", "--out", "out", "--work", "work", "--scale", "0.5"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "cross sections" not in out
    assert re.search(r"collisions: 120/120 \w+ \(\d+ s, \d+/s\)", out)
    assert re.search(r"mu\.h5: 0\.\d+ MB", out)
    with EventFile(tmp_path / "out" / "mu.h5") as file:
        assert len(file) == 10
        assert file.attrs["simulated"] is True


def test_plans_of_the_repository_are_valid():
    from pathlib import Path

    folder = Path(__file__).parents[2] / "configs" / "events"
    for name in ("sample", "large", "moved_edges"):
        assert isinstance(load_plan(folder / f"{name}.toml"), Plan)
    adc = load_plan(folder / "adc2021.toml")
    assert isinstance(adc, Adc2021Plan)
    assert adc.scaled(0.1).samples[0].events == 60
