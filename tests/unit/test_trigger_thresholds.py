import json
import re
from dataclasses import replace

import numpy as np
import pytest

from l1ad.trigger.rates import PURE_DEFINITION, Collider, Refused, working_point
from l1ad.trigger.thresholds import Thresholds, load_thresholds, save_thresholds

N = 5000
SEEDS = np.arange(N) % 2 == 0


def thresholds():
    points = tuple(
        working_point(np.arange(N), np.full(N, 1 / N), seeds, target, 1e6, simulated=True)
        for target, seeds in ((20_000, SEEDS), (20_000.5, np.ones(N, bool)), (1000.5, SEEDS))
    )
    return Thresholds(
        digest="sha256:aa",
        score_type="ufixed<18,14>",
        sample="zero-bias",
        provenance="generated, pileup 55",
        simulated=True,
        menu="conventional",
        collider=Collider(),
        working_points=points,
    )


@pytest.fixture
def path(tmp_path):
    save_thresholds(tmp_path / "thresholds.json", thresholds())
    return tmp_path / "thresholds.json"


def edit(path, change):
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def test_round_trip_is_exact(path):
    found = load_thresholds(path, "sha256:aa")
    assert found == thresholds()
    assert isinstance(found.working_points[1].pure, Refused)
    assert found.working_points[2].refused


def test_file_says_what_pure_means_and_what_the_rates_are(path):
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["pure_definition"] == PURE_DEFINITION
    assert data["collider"] == {"colliding_bunches": 2544, "revolution_hz": 11245.5, "forced": False}
    assert data["working_points"][0]["threshold"]["rate"]["stage"] == "simulated, before dead time"
    assert data["working_points"][2]["threshold"]["n_raw"] == 5


def test_another_network_is_refused(path):
    text = re.escape("thresholds must belong to network sha256:bb, not to network sha256:aa; in ")
    with pytest.raises(ValueError, match=text + ".*derive the thresholds again with this network"):
        load_thresholds(path, "sha256:bb")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.update(extra=1), r"json: unknown key 'extra'; it must be one of digest,"),
        (lambda d: d.pop("menu"), "thresholds.json: key 'menu' must be given"),
        (lambda d: d["collider"].update(x=1), r"thresholds\.json\.collider: unknown key 'x'"),
        (lambda d: d.update(collider=3), r"collider must be a table, not 3"),
        (lambda d: d["collider"].update(colliding_bunches=2544.0), "colliding_bunches must be of type int, not 2544.0"),
        (lambda d: d["collider"].update(colliding_bunches=True), "colliding_bunches must be of type int, not True"),
        (lambda d: d["collider"].update(revolution_hz=11425), "published swap of two digits"),
        (lambda d: d.update(simulated=1), "simulated must be of type bool, not 1"),
        (lambda d: d.update(simulated=False), "stage must be 'zero-bias data, before dead time', not 'simulated"),
        (lambda d: d.update(working_points={}), "working_points must be a list"),
        (
            lambda d: d["working_points"][1].update(target_hz="1"),
            r"working_points\[1\]\.target_hz must be of type float",
        ),
        (lambda d: d["working_points"][0]["pure"].pop("n_raw"), "pure must be one of Rate, Refused, not"),
        (lambda d: d["working_points"][0]["pure"].update(n_effective=7), "n_eff of at least 25, not 7"),
        (lambda d: d.update(pure_definition="other"), "pure_definition must be 'pure rate: .*, not 'other'"),
        (lambda d: d.update(menu=""), "menu must be a non-empty text, not ''"),
        (lambda d: d["working_points"][0].update(target_hz=float("nan")), "must be strict JSON.*finite, not NaN"),
    ],
)
def test_anything_unexpected_is_refused(path, change, text):
    edit(path, change)
    with pytest.raises(ValueError, match=text):
        load_thresholds(path, "sha256:aa")


def test_whole_numbers_may_stand_for_floats(path):
    edit(path, lambda d: d["working_points"][0].update(target_hz=20_000))
    assert load_thresholds(path, "sha256:aa") == thresholds()


def test_broken_and_doubled_json_is_refused(path):
    path.write_text('{"digest": "a", "digest": "b"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"must be strict JSON, not this: keys must be distinct"):
        load_thresholds(path, "a")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="must be strict JSON"):
        load_thresholds(path, "a")


def test_no_partial_file_is_left(path, monkeypatch):
    assert [p.name for p in path.parent.iterdir()] == ["thresholds.json"]
    before = path.read_text(encoding="utf-8")

    def fail(*_args):
        raise OSError("disk")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OSError, match="disk"):
        save_thresholds(path, replace(thresholds(), menu="other"))
    assert path.read_text(encoding="utf-8") == before
    assert [p.name for p in path.parent.iterdir()] == ["thresholds.json"]
