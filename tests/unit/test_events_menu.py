from pathlib import Path

import numpy as np
import pytest

from l1ad.events.menu import Menu, Pair, Requirement, Seed, decide, load_menu, menu_columns, save_menu, takes
from l1ad.events.schema import load_schema
from l1ad.events.store import EventFile, Events, make_meta

SAMPLE = Path(__file__).parents[2] / "sample"

SCHEMA = load_schema("cms_run3")
SEED = '[[seeds]]\nname = "a"\nobjects = '
MUON = SEED + '[{collection = "mu", pt = [3.0]}]\n'


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


def test_codes_of_isolation_and_of_eta(tmp_path):
    events = make(4, eg_pt=[[60], [60], [60], [60]], eg_iso=[[0], [1], [2], [3]], eg_eta=[[-58], [-59], [57], [58]])
    cut = '{collection = "eg", pt = [30.0], '
    assert fired(events, tmp_path, cut + "iso = [1, 3]}", cut + "iso_min = 2}") == [[0, 1, 0, 1], [0, 0, 1, 1]]
    assert fired(events, tmp_path, cut + "eta_codes = [-58, 57]}", cut + "eta_max = 2.5}") == [
        [1, 0, 1, 0],
        [0, 0, 1, 0],
    ]


@pytest.mark.parametrize("name", ["met", "ht", "et", "mht"])
def test_sums_are_collections_of_one(tmp_path, name):
    events = make(3, **{f"{name}_pt": [[199], [200], [4095]]})
    assert fired(events, tmp_path, f'{{collection = "{name}", pt = [100.0]}}') == [[0, 1, 1]]


def test_legs_cut_less_and_less_hard_want_different_objects(tmp_path):
    # an isolated one above 25 GeV, and another above 12
    legs = '{collection = "eg", pt = [25.0], iso = [2, 3]}, {collection = "eg", pt = [25.0, 12.0]}'
    events = make(4, eg_pt=[[60, 30], [60, 30], [60], [60, 24]], eg_iso=[[2, 0], [0, 2], [3], [3, 3]])
    assert fired(events, tmp_path, legs) == [[1, 0, 0, 1]]


def test_counting_equals_sorting(tmp_path):
    rng = np.random.default_rng(7)
    events = make(500, jet_pt=rng.integers(0, 12, (500, 12)), jet_eta=rng.integers(-60, 60, (500, 12)))
    for pt in ([1.0] * 12, [5.0, 5.0, 4.5, 1.0], [5.5, 5.0], [3.0, 3.0, 3.0], [5.5, 1.0, 1.0, 0.5]):
        central = np.where(abs(events.columns["jet.eta"]) < 35, events.columns["jet.pt"], 0)
        hardest = np.sort(central, axis=1)[:, ::-1][:, : len(pt)]
        expected = (hardest >= 2 * np.array(pt)).all(axis=1)
        assert fired(events, tmp_path, f'{{collection = "jet", pt = {pt}, eta_max = 1.5}}') == [expected.tolist()]


def test_the_decisions_in_the_sample_are_those_of_the_menu():
    with EventFile(SAMPLE / "rate.h5") as file:
        assert [seed.name for seed in load_menu().seeds] == file.attrs["seeds"]
        events = file.read()
    assert np.array_equal(decide(events, load_menu()), events.meta["seeds"].astype(bool))


def test_a_decision_is_that_before_the_prescale(tmp_path):
    events = make(2, mu_pt=[[44], [43]])
    for prescale in (0, 1, 2.5, 22000):
        text = f'[[seeds]]\nname = "a"\nprescale = {prescale}\nobjects = [{{collection = "mu", pt = [22.0]}}]'
        wanted = menu(tmp_path, text)
        assert wanted.seeds[0].prescale == prescale
        assert decide(events, wanted).tolist() == [[True], [False]]


def test_events_must_hold_what_a_seed_wants():
    events = make(2)
    part = Events(SCHEMA, {"mu.pt": events.columns["mu.pt"]}, events.meta)
    with pytest.raises(ValueError, match=r"seed SingleMu22: events must hold the column mu\.quality, not lack it"):
        decide(part, load_menu())


def test_only_unprescaled_seeds_take_an_event():
    events = make(3, mu_pt=[[44], [20], [10]])
    seeds = (Seed("a", (Requirement("mu", (22.0,)),)), Seed("b", (Requirement("mu", (10.0,)),), prescale=2.0),
             Seed("c", (Requirement("mu", (1.0,)),), prescale=0.0))  # fmt: skip
    assert decide(events, Menu("m", seeds)).sum(axis=0).tolist() == [1, 2, 3]
    assert takes(events, Menu("m", seeds)).tolist() == [True, False, False]
    assert takes(events, Menu("m", seeds[1:])).tolist() == [False] * 3


def test_the_columns_of_a_menu_are_those_that_decide_reads():
    pair = Pair((Requirement("mu", (1.0,), quality_min=4), Requirement("jet", (1.0,), eta_max=2.5)), dphi_max=0.4)
    heavy = Pair((Requirement("eg", (1.0, 1.0), iso=(1, 3)),), mass_min=1.0, decimals=3)
    sign = Pair((Requirement("mu", (1.0, 1.0)),), charges="same")
    menu = Menu("m", (Seed("a", (Requirement("ht", (1.0,)),), (pair, heavy)), Seed("b", pairs=(sign,))))
    names = menu_columns(menu, SCHEMA)
    assert names == ["ht.pt", "eg.pt", "eg.eta", "eg.phi", "eg.iso", "mu.pt", "mu.phi", "mu.quality", "mu.charge",
                     "jet.pt", "jet.eta", "jet.phi"]  # fmt: skip
    full = make(2, **{name.replace(".", "_"): [[1, 1]] for name in names if name != "ht.pt"})
    for left_out in names:
        part = Events(SCHEMA, {name: full.columns[name] for name in names if name != left_out}, full.meta)
        with pytest.raises(ValueError, match=f"seed [ab]: events must hold the column {left_out}"):
            decide(part, menu)
    decide(Events(SCHEMA, {name: full.columns[name] for name in names}, full.meta), menu)
    with pytest.raises(ValueError, match=r"seed a: collection must be one of .* not 'jat'"):
        menu_columns(Menu("m", (Seed("a", (Requirement("jat", (1.0,)),)),)), SCHEMA)
    with pytest.raises(ValueError, match="seed a: collection ht must have the column quality"):
        menu_columns(Menu("m", (Seed("a", (Requirement("ht", (1.0,), quality_min=3),)),)), SCHEMA)


def test_a_menu_is_written_and_read(tmp_path):
    jet = Requirement("jet", (30.0, 30.0), eta_codes=(-58, 57))
    pair = Pair((jet,), mass_min=250.0, deta_max=1.5, decimals=3)
    near = Pair((Requirement("mu", (3.5,), quality_min=12), Requirement("jet", (120.0,))), dr_max=0.4)
    seeds = (
        Seed('a "quoted" name', (Requirement("eg", (25.0, 12.0), 2.5, iso=(2, 3)),), prescale=2.5),
        Seed("b", pairs=(pair, near), prescale=0.0),
        Seed("c", (Requirement("jet", (100.0,) * 12), jet, jet), (pair,)),
    )
    for wanted in (Menu("mine", seeds), load_menu()):
        save_menu(tmp_path / "saved.toml", wanted)
        assert load_menu(tmp_path / "saved.toml") == wanted


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
        ('[[seeds]]\nname = "a"', r"seeds\[0\]: seed must have a name and objects or pairs, not 'a' and \[\]"),
        (SEED + "[]", r"seeds\[0\]: seed must have a name and objects or pairs, not 'a' and \[\]"),
        ('[[seeds]]\nname = "a"\nscale = 2', r"seeds\[0\]: unknown key 'scale'; did you mean 'prescale'\?"),
        (MUON + "prescale = 0.5", r"seeds\[0\]: prescale of a must be at least 1, or 0 for off, not 0\.5"),
        (MUON + "prescale = -1", "prescale of a must be at least 1, or 0 for off, not -1"),
        (
            SEED + '[{collection = "mu", pt = [3.0], eta_codes = [3]}]',
            r"eta_codes must be a smallest and a largest code",
        ),
        (SEED + '[{collection = "mu", pt = [3.0], eta_codes = [3, 2]}]', r"largest code, not \[3, 2\]"),
        (SEED + '[{collection = "mu", pt = [3.0], iso = []}]', "iso must have at least one admissible code, not 0"),
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
        ('{collection = "jat", pt = [3.0]}', "seed s0: collection must be one of .* not 'jat'"),
        ('{collection = "eg", pt = [3.0], quality_min = 1}', "seed s0: collection eg must have the column quality"),
        ('{collection = "ht", pt = [3.0], iso = [1]}', "seed s0: collection ht must have the column iso"),
        ('{collection = "jet", pt = [1024.0]}', r"seed s0: pt must be at most 1023\.5 GeV, not 1024\.0"),
        ('{collection = "met", pt = [3.0, 3.0]}', "seed s0: pt must have at most 1 thresholds .met."),
        ('{collection = "met", pt = [3.0], eta_max = 2.0}', "collection met must have the column eta"),
        ('{collection = "jet", pt = [3.0], iso_min = 1}', "collection jet must have the column iso"),
        ('{collection = "mu", pt = [3.0], quality_min = 16}', r"seed s0: codes of quality must be in 0\.\.15, not 16"),
        ('{collection = "eg", pt = [3.0], iso = [1, 4]}', r"seed s0: codes of iso must be in 0\.\.3, not 4"),
        ('{collection = "eg", pt = [3.0], eta_codes = [0, 128]}', r"codes of eta must be in -128\.\.127, not 128"),
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
