import numpy as np
import pytest

from l1ad.events.menu import Menu, decide, load_menu
from l1ad.events.schema import load_schema
from l1ad.events.store import Events, make_meta

SCHEMA = load_schema("cms_run3")
SEED = '[[seeds]]\nname = "a"\nobjects = '


def make(n, **objects):
    """Events with the given leading codes, e.g. ``jet_pt=[[60, 40], [30]]``."""
    columns = {name: np.zeros((n, c.slots), np.int16) for name, (c, _) in SCHEMA.columns().items()}
    for name, rows in objects.items():
        for i, row in enumerate(rows):
            columns[name.replace("_", ".")][i, : len(row)] = row
    return Events(SCHEMA, columns, make_meta(n))


def menu(tmp_path, text):
    path = tmp_path / "menu.toml"
    path.write_text(text, encoding="utf-8")
    return load_menu(path)


def fired(events, tmp_path, *objects):
    text = "\n".join(f'[[seeds]]\nname = "s{i}"\nobjects = [{o}]' for i, o in enumerate(objects))
    return decide(events, menu(tmp_path, text)).T.astype(int).tolist()


def test_thresholds_are_inclusive_and_saturation_passes(tmp_path):
    events = make(4, jet_pt=[[359], [360], [2047], []])
    assert fired(events, tmp_path, '{collection = "jet", pt = [180.0]}') == [[0, 1, 1, 0]]
    # 179.9 GeV is between two codes: the first code at or above it counts
    assert fired(events, tmp_path, '{collection = "jet", pt = [179.9]}') == [[0, 1, 1, 0]]
    assert fired(events, tmp_path, '{collection = "jet", pt = [1023.5]}') == [[0, 0, 1, 0]]


def test_legs_are_filled_by_objects_that_pass_the_cuts(tmp_path):
    events = make(3, eg_pt=[[80, 60, 30], [80, 60, 30], [80, 20]], eg_eta=[[0, 0, 0], [0, -58, 57], [0, 0]])
    double = '{collection = "eg", pt = [25.0, 15.0], eta_max = 2.5}'
    assert fired(events, tmp_path, double) == [[1, 1, 0]]
    assert fired(events, tmp_path, double.replace("15.0", "15.5")) == [[1, 0, 0]]  # 58 x 0.0435 is 2.52
    assert fired(events, tmp_path, double.replace("2.5}", "2.53}").replace("15.0", "25.0")) == [[1, 1, 0]]


def test_identification_and_all_requirements(tmp_path):
    events = make(3, mu_pt=[[44], [44], [44]], mu_quality=[[12], [8], [12]], met_pt=[[100], [100], [99]])
    muon = '{collection = "mu", pt = [22.0], quality_min = 12}'
    both = muon + ', {collection = "met", pt = [50.0]}'
    assert fired(events, tmp_path, muon, both) == [[1, 0, 1], [1, 0, 0]]


def test_isolation(tmp_path):
    events = make(2, tau_pt=[[70, 68], [70, 68]], tau_iso=[[1, 1], [1, 0]])
    assert fired(events, tmp_path, '{collection = "tau", pt = [34.0, 34.0], iso_min = 1}') == [[1, 0]]


def test_the_conventional_menu():
    conventional = load_menu("conventional")
    assert [seed.name for seed in conventional.seeds][:3] == ["SingleMu22", "DoubleMu15_7", "SingleEG36er2p5"]
    assert not decide(make(3), conventional).any()
    full = make(1, **{f"{c.name}_pt": [[c.column("pt").saturated] * c.slots] for c in SCHEMA.collections},
                mu_quality=[[12] * 8], eg_iso=[[1] * 12], tau_iso=[[1] * 12])  # fmt: skip
    assert decide(full, conventional).tolist() == [[True] * len(conventional.seeds)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = 3", r"menu\.toml\.seeds must be a list, not 3"),
        ("name = ", r"menu\.toml: menu must be valid TOML"),
        ('[[seed]]\nname = "a"', r"menu\.toml: unknown key 'seed'; did you mean 'seeds'\?"),
        ("", r"menu\.toml: key 'seeds' must be given"),
        ("seeds = []", r"menu\.toml: menu must have at least one seed, not 0"),
        ('[[seeds]]\nname = "a"', r"seeds\[0\]: key 'objects' must be given"),
        (SEED + "[]", r"seeds\[0\]: seed must have a name and objects, not 'a' and \[\]"),
        ('[[seeds]]\nname = "a"\nprescale = 2', r"seeds\[0\]: unknown key 'prescale'; it must be one of name, obj"),
        (SEED + "[{pt = [1.0]}]", r"seeds\[0\]\.objects\[0\]: key 'collection' must be given"),
        (SEED + '[{collection = "mu"}]', r"objects\[0\]: key 'pt' must be given"),
        (SEED + '[{collection = "mu", pt = []}]', r"pt must be positive thresholds"),
        (SEED + '[{collection = "mu", pt = [3.0, 5.0]}]', r"largest first, not \[3\.0, 5\.0\]"),
        (SEED + '[{collection = "mu", pt = [3.0], eta = 2}]', r"unknown key 'eta'; did you mean 'eta_max'\?"),
    ],
)
def test_a_wrong_menu_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        menu(tmp_path, text)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ('{collection = "jat", pt = [3.0]}', "collection must be one of .* not 'jat'"),
        ('{collection = "jet", pt = [1024.0]}', r"seed s0: pt must be at most 1023\.5 GeV, not 1024\.0"),
        ('{collection = "met", pt = [3.0, 3.0]}', "seed s0: pt must have at most 1 thresholds .met."),
        ('{collection = "met", pt = [3.0], eta_max = 2.0}', "collection met must have the column eta"),
        ('{collection = "jet", pt = [3.0], iso_min = 1}', "collection jet must have the column iso"),
    ],
)
def test_a_menu_must_suit_the_schema(tmp_path, wanted, message):
    with pytest.raises(ValueError, match=message):
        fired(make(1), tmp_path, wanted)


def test_menu_limits():
    seed = load_menu().seeds[0]
    with pytest.raises(ValueError, match="seeds must have different names, not SingleMu22, SingleMu22"):
        Menu("twice", (seed, seed))
    with pytest.raises(ValueError, match=r"menu must be one of conventional or the path of a .toml file, not 'x'"):
        load_menu("x")
