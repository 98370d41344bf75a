"""Names of published seeds, against the definitions that stand beside them in the firmware of the Global Trigger."""

import numpy as np
import pytest

from l1ad.events.menu import (
    Menu,
    Pair,
    Requirement,
    Seed,
    decide,
    load_menu,
    prescaled,
    published_menu,
    read_prescales,
    save_menu,
    seed_of_name,
)
from l1ad.events.schema import load_schema
from l1ad.events.store import Events, make_meta

SCHEMA = load_schema("cms_run3")
ER25, ER21 = (-58, 57), (-49, 48)


def mu(*pt, quality=12, **cuts):
    return Requirement("mu", pt, quality_min=quality, **cuts)


def eg(*pt, **cuts):
    return Requirement("eg", pt, **cuts)


def jet(*pt, **cuts):
    return Requirement("jet", pt, **cuts)


NAMES = {
    "L1_SingleMu22": ((mu(22.0),), ()),
    "L1_SingleMu7_DQ": ((mu(7.0, quality=8),), ()),
    "L1_SingleMuOpen": ((mu(0.5, quality=4),), ()),
    "L1_SingleMu6er1p5": ((mu(6.0, eta_max=1.5),), ()),
    "L1_DoubleMu0": ((mu(0.5, 0.5, quality=8),), ()),
    "L1_DoubleMu_15_7": ((mu(15.0, 7.0, quality=8),), ()),
    "L1_DoubleMu_15_7_SQ": ((mu(15.0, 7.0),), ()),
    "L1_DoubleMu18er2p1_SQ": ((mu(18.0, 18.0, eta_max=2.1),), ()),
    "L1_TripleMu_5_3p5_2p5": ((mu(5.0, 3.5, 2.5, quality=8),), ()),
    "L1_TripleMu_3SQ_2p5SQ_0": ((mu(3.0, 2.5), mu(3.0, 2.5, 0.5, quality=8)), ()),
    "L1_TripleMu_5SQ_3SQ_0OQ": ((mu(5.0, 3.0), mu(5.0, 3.0, 0.5, quality=4)), ()),
    "L1_QuadMu0_SQ": ((mu(0.5, 0.5, 0.5, 0.5),), ()),
    "L1_SingleEG36er2p5": ((eg(36.0, eta_codes=ER25),), ()),
    "L1_SingleEG60": ((eg(60.0),), ()),
    "L1_SingleLooseIsoEG28er2p1": ((eg(28.0, eta_codes=ER21, iso=(2, 3)),), ()),
    "L1_SingleIsoEG28er1p5": ((eg(28.0, eta_codes=(-35, 34), iso=(1, 3)),), ()),
    "L1_DoubleEG_25_12_er2p5": ((eg(25.0, 12.0, eta_codes=ER25),), ()),
    "L1_DoubleEG_LooseIso25_12_er2p5": (
        (eg(25.0, eta_codes=ER25, iso=(2, 3)), eg(25.0, 12.0, eta_codes=ER25)),
        (),
    ),
    "L1_DoubleEG_LooseIso25_LooseIso12_er1p5": ((eg(25.0, 12.0, eta_codes=(-35, 34), iso=(2, 3)),), ()),
    "L1_SingleTau120er2p1": ((Requirement("tau", (120.0,), eta_codes=ER21),), ()),
    "L1_DoubleIsoTau34er2p1": ((Requirement("tau", (34.0, 34.0), eta_codes=ER21, iso=(1, 2, 3)),), ()),
    "L1_SingleJet180": ((jet(180.0),), ()),
    "L1_DoubleJet150er2p5": ((jet(150.0, 150.0, eta_codes=ER25),), ()),
    "L1_TripleJet_95_75_65_DoubleJet_75_65_er2p5": ((jet(95.0, 75.0, 65.0), jet(75.0, 65.0, eta_codes=ER25)), ()),
    "L1_HTT280er": ((Requirement("ht", (280.0,)),), ()),
    "L1_ETT2000": ((Requirement("et", (2000.0,)),), ()),
    "L1_ETM150": ((Requirement("met", (150.0,)),), ()),
    "L1_MHT90": ((Requirement("mht", (90.0,)),), ()),
    "L1_HTT320er_QuadJet_70_55_40_40_er2p5": (
        (Requirement("ht", (320.0,)), jet(70.0, 55.0, 40.0, 40.0, eta_codes=ER25)),
        (),
    ),
    "L1_Mu7_EG20er2p5": ((mu(7.0), eg(20.0, eta_codes=ER25)), ()),
    "L1_Mu6_DoubleEG12er2p5": ((mu(6.0), eg(12.0, 12.0, eta_codes=ER25)), ()),
    "L1_DoubleMu4_SQ_OS": ((), (Pair((mu(4.0, 4.0),), charges="opposite"),)),
    "L1_DoubleMu4_SQ_OS_dR_Max1p2": ((), (Pair((mu(4.0, 4.0),), dr_max=1.2, charges="opposite"),)),
    "L1_DoubleMu0er2p0_SQ_dEta_Max1p6": ((), (Pair((mu(0.5, 0.5, eta_max=2.0),), deta_max=1.6),)),
    "L1_DoubleMu4p5er2p0_SQ_OS_Mass_7to18": (
        (),
        (Pair((mu(4.5, 4.5, eta_max=2.0),), mass_min=7.0, mass_max=18.0, charges="opposite", decimals=4),),
    ),
    "L1_DoubleJet30er2p5_Mass_Min250_dEta_Max1p5": (
        (),
        (Pair((jet(30.0, 30.0, eta_codes=ER25),), mass_min=250.0, deta_max=1.5, decimals=3),),
    ),
    "L1_DoubleJet_110_35_DoubleJet35_Mass_Min620": (
        (jet(110.0, 35.0),),
        (Pair((jet(35.0, 35.0),), mass_min=620.0, decimals=3),),
    ),
    "L1_TripleMu_5SQ_3SQ_0OQ_DoubleMu_5_3_SQ_OS_Mass_Max9": (
        (mu(5.0, 3.0), mu(5.0, 3.0, 0.5, quality=4)),
        (Pair((mu(5.0, 3.0),), mass_max=9.0, charges="opposite", decimals=4),),
    ),
    "L1_Mu3_Jet16er2p5_dR_Max0p4": ((), (Pair((mu(3.0), jet(16.0, eta_codes=ER25)), dr_max=0.4),)),
    "L1_DoubleJet80er2p5_Mu3_dR_Max0p4": (
        (jet(80.0, 80.0, eta_codes=ER25),),
        (Pair((jet(80.0, eta_codes=ER25), mu(3.0)), dr_max=0.4),),
    ),
    "L1_DoubleMu0_dR_Max1p6_Jet90er2p5_dR_Max0p8": (
        (),
        (
            Pair((mu(0.5, 0.5, quality=8),), dr_max=1.6),
            Pair((mu(0.5, quality=8), jet(90.0, eta_codes=ER25)), dr_max=0.8),
        ),
    ),
    "L1_LooseIsoEG22er2p1_Tau70er2p1_dR_Min0p3": (
        (),
        (Pair((eg(22.0, eta_codes=ER21, iso=(2, 3)), Requirement("tau", (70.0,), eta_codes=ER21)), dr_min=0.3),),
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_seed_of_the_firmware(name):
    objects, pairs = NAMES[name]
    assert seed_of_name(name) == Seed(name, objects, pairs)
    assert seed_of_name(name.removeprefix("L1_")) == Seed(name.removeprefix("L1_"), objects, pairs)


def test_all_of_them_are_evaluated(tmp_path):
    menu = Menu("names", tuple(seed_of_name(name) for name in NAMES))
    save_menu(tmp_path / "names.toml", menu)
    assert load_menu(tmp_path / "names.toml") == menu
    columns = {name: np.zeros((2, c.slots), np.int32) for name, (c, _) in SCHEMA.columns().items()}
    events = Events(SCHEMA, columns, make_meta(2))
    for name, (_, column) in SCHEMA.columns().items():  # the second event is as full as can be
        if column.name in ("pt", "iso", "quality"):
            columns[name][1] = column.high
    columns["mu.charge"][1, ::2] = 1
    columns["eg.phi"][1] = 72
    apart = {"L1_DoubleJet30er2p5_Mass_Min250_dEta_Max1p5", "L1_DoubleJet_110_35_DoubleJet35_Mass_Min620"}
    assert not decide(events, menu)[0].any()
    assert all(decide(events, menu)[1]), "a saturated object passes every threshold and mass"
    columns["jet.pt"][1] = 2046
    missed = [seed.name for seed, fired in zip(menu.seeds, decide(events, menu)[1], strict=True) if not fired]
    assert set(missed) == apart, "jets at one place have no mass"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("L1_ZeroBias", "ZeroBias"),
        ("L1_SingleMu22_BMTF", "BMTF"),
        ("L1_SingleMu0_Upt10", "Upt10"),
        ("L1_SingleEG28_FWD2p5", "FWD2p5"),
        ("L1_ETMHF90_SingleJet60er2p5_dPhi_Min2p6", "dPhi"),
        ("L1_DoubleIsoTau26er2p1_Jet55_RmOvlp_dR0p5", "RmOvlp"),
        ("L1_DoubleMu3_SQ_HTT60er_Jet60er2p5_OR_DoubleJet40er2p5", "OR"),
        ("L1_HTT320er_QuadJet_80_60_er2p1_45_40_er2p3", "45"),
        ("L1_SingleJet8erHE", "SingleJet8erHE"),
        ("L1_IsoEG32er2p5_Mt40", "Mt40"),
        ("L1_SingleIsoJet30", "SingleIsoJet30"),
        ("L1_SingleEG30_SQ", "SQ"),
        ("L1_TripleMu_4SQ_2p5SQ_0_OS_Mass_Max12", "OS"),
        ("L1_25_12", "25"),
        ("L1_SingleMu22_SQ_DQ", "DQ"),
        ("L1_AXO_Nominal", "AXO"),
        ("L1_", ""),
    ],
)
def test_what_is_not_understood_is_named(name, part):
    with pytest.raises(ValueError, match=f"seed {name}: every part must be one that is understood, not '{part}'"):
        seed_of_name(name, etmhf="met")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("L1_DoubleEG_25_er2p5", "seed L1_DoubleEG_25_er2p5: eg must have 2 thresholds, not 1"),
        ("L1_SingleMu", "mu must have 1 thresholds, not 0"),
        ("L1_DoubleMu4_3", "mu must have 2 thresholds, not 3"),
        ("L1_HTT280_20", "ht must have 1 thresholds, not 2"),
        ("L1_TripleMu_3SQ_2p5SQ_0_Mass_Max12", "a pair must be of two objects that the name makes plain, not of 3"),
        ("L1_SingleMu22_dR_Max1p2", "a pair must be of two objects that the name makes plain, not of 1"),
        ("L1_DoubleJet_80_30_Mu3_dR_Max0p4", "a pair must be of two objects that the name makes plain, not of 1"),
        ("L1_DoubleMu4_dR_1p2", "dr must have one limit such as Min7, Max1p2 or 7to18, not '1p2'"),
        ("L1_DoubleMu4_dR_Max1p2_dR_Max1p4", "dr must have one limit .* not 'Max1p4'"),
        ("L1_DoubleEG_25_LooseIso12_er2p5", "objects must be cut less and less hard, not .* before "),
        ("L1_DoubleMu_7_15", "objects must be cut less and less hard"),
        ("L1_DoubleMu4_Mass_9to7", "mass_min must be at most mass_max, 7.0, not 9.0"),
        ("L1_ETMHF100", "not 'ETMHF100'; say by etmhf which collection to take"),
    ],
)
def test_a_name_that_does_not_make_a_seed_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        seed_of_name(name)


def test_the_missing_et_with_the_forward_calorimeter_is_named_by_the_caller():
    assert seed_of_name("L1_ETMHF90_HTT60er", etmhf="met").objects == (
        Requirement("met", (90.0,)),
        Requirement("ht", (60.0,)),
    )


TABLE = """Index,Name,Emergency,2p0E34,1p8E34
0,L1_SingleMu3,0,22000,22000
28,L1_SingleMu22,0,1,1.0

171,L1_SingleEG36er2p5,0,1.5,1
459,L1_ZeroBias,17581,17581,17581
"""


def written(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_column_of_prescales(tmp_path, start, end):
    path = written(tmp_path, (start + TABLE).replace("\n", end))
    assert read_prescales(path, "2p0E34") == {
        "L1_SingleMu3": 22000.0,
        "L1_SingleMu22": 1.0,
        "L1_SingleEG36er2p5": 1.5,
        "L1_ZeroBias": 17581.0,
    }
    assert set(read_prescales(path, "Emergency").values()) == {0.0, 17581.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"table\.csv: must have one column 'Name', not 0; prescales: "),
        ("Index,Seed,2p0E34\n", "must have one column 'Name', not 0; prescales: Seed, 2p0E34"),
        (TABLE.replace("2p0E34", "2e34"), "must have one column '2p0E34', not 0; prescales: Emergency, 2e34, 1p8E34"),
        (TABLE.replace("1p8E34", "2p0E34"), "must have one column '2p0E34', not 2"),
        (TABLE.replace("0,1,1.0", "1,1.0"), r"table\.csv, line 3: must have 5 cells, not 4"),  # as one published table
        (TABLE.replace("0,1,1.0", "0,,1.0"), "line 3: prescale of L1_SingleMu22 must be at least 1, or 0 .* not ''"),
        (TABLE.replace("0,1.5,1", "0,0.5,1"), "line 5: prescale of L1_SingleEG36er2p5 must be .* not '0.5'"),
        (TABLE.replace("0,1.5,1", "0,-1,1"), "must be at least 1, or 0 for off, not '-1'"),
        (TABLE.replace("0,1.5,1", "0,nan,1"), "must be at least 1, or 0 for off, not 'nan'"),
        (TABLE.replace("0,1.5,1", "0,inf,1"), "must be at least 1, or 0 for off, not 'inf'"),
        (
            TABLE.replace("L1_SingleMu3,", "L1_SingleMu22,"),
            "line 3: seeds must have different names, not L1_SingleMu22",
        ),
        ('Name,2p0E34\n"a,1', "must be a CSV table in UTF-8"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_prescales(written(tmp_path, text), "2p0E34")


def test_prescales_are_those_of_the_seeds_of_a_menu():
    menu = Menu("mine", tuple(Seed(name, (mu(5.0),)) for name in ("a", "b")))
    known, others = prescaled(menu, {"b": 0.0, "a": 2.5})
    assert [(seed.name, seed.prescale) for seed in known.seeds] == [("a", 2.5), ("b", 0.0)]
    assert others == ()
    assert prescaled(menu, {"b": 0.0, "a": 2.5, "c": 1.0}, subset=True) == (known, ("c",))
    with pytest.raises(ValueError, match="prescales must be of seeds of menu mine, not of c, d; or ask for a subset"):
        prescaled(menu, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0})
    for subset in (False, True):
        with pytest.raises(ValueError, match="prescales must be given for every seed of menu mine, not lack b"):
            prescaled(menu, {"a": 1.0, "c": 1.0}, subset=subset)


def test_a_published_table_becomes_a_menu(tmp_path):
    path = written(tmp_path, TABLE, "L1Menu_v1.csv")
    menu, refused = published_menu(path, "2p0E34")
    assert menu.name == "L1Menu_v1"
    assert [(seed.name, seed.prescale) for seed in menu.seeds] == [
        ("L1_SingleMu3", 22000.0),
        ("L1_SingleMu22", 1.0),
        ("L1_SingleEG36er2p5", 1.5),
    ]
    assert refused == {"L1_ZeroBias": "seed L1_ZeroBias: every part must be one that is understood, not 'ZeroBias'"}
    save_menu(tmp_path / "menu.toml", menu)
    assert load_menu(tmp_path / "menu.toml") == menu
    with pytest.raises(ValueError, match="must have a seed that is understood, not none of 1"):
        published_menu(written(tmp_path, "Name,a\nL1_ZeroBias,1\n"), "a")
