"""Pairs in integers: known masses and distances, and equality with a loop over Python's integers."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from l1ad.events.menu import Menu, Pair, Requirement, Seed, decide
from l1ad.events.menu.pairs import angle_table, cos_table, cosh_table, pair_cuts
from l1ad.events.schema import Collection, Column, load_schema
from l1ad.events.store import Events, make_meta

SCHEMA = load_schema("cms_run3")
JETS = Requirement("jet", (1.0, 1.0))
MUONS = Requirement("mu", (1.0, 1.0))
MUON_AND_JET = (Requirement("mu", (1.0,)), Requirement("jet", (1.0,)))
JET_AND_MET = (Requirement("jet", (1.0,)), Requirement("met", (1.0,)))


def make(n, schema=SCHEMA, **objects):
    """Events with the given leading codes, e.g. ``jet_pt=[[60, 40], [30]]``."""
    columns = {name: np.zeros((n, c.slots), np.int32) for name, (c, _) in schema.columns().items()}
    for name, rows in objects.items():
        for i, row in enumerate(rows):
            columns[name.replace("_", ".")][i, : len(row)] = row
    return Events(schema, columns, make_meta(n))


def fires(events, *pairs):
    return (
        decide(events, Menu("m", tuple(Seed(str(i), pairs=(p,)) for i, p in enumerate(pairs)))).T.astype(int).tolist()
    )


def test_the_mass_of_two_objects_back_to_back():
    # pT 100 and 100 GeV, half a turn apart: M = 200 GeV whatever the precision
    events = make(3, jet_pt=[[200, 200], [200, 199], [200]], jet_phi=[[10, 82], [10, 82], [10]])
    for decimals in (1, 3, 6):
        exact = Pair((JETS,), mass_min=200.0, mass_max=200.0, decimals=decimals)
        above = Pair((JETS,), mass_min=200.001, decimals=decimals)
        below = Pair((JETS,), mass_max=199.8, decimals=decimals)
        assert fires(events, exact, above, below) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_phi_goes_the_short_way_round():
    events = make(4, jet_pt=[[200, 200]] * 4, jet_phi=[[0, 143], [143, 0], [2, 142], [0, 72]])
    step = 0.044  # 2 pi / 144 in thousandths, 3.142 for half a turn
    assert fires(
        events,
        Pair((JETS,), dphi_max=step),
        Pair((JETS,), dphi_min=0.175, dphi_max=0.175),
        Pair((JETS,), dphi_min=3.142),
    ) == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_distances_include_their_limits():
    # 0.0435 is 44 thousandths, the half one up; 3 codes are 0.1305: 131; phi: 3 codes are 0.1309: 131
    events = make(2, jet_pt=[[200, 200]] * 2, jet_eta=[[0, 1], [-1, 2]], jet_phi=[[0, 0], [0, 3]])
    assert fires(events, Pair((JETS,), deta_max=0.043), Pair((JETS,), deta_max=0.044)) == [[0, 0], [1, 0]]
    assert fires(events, Pair((JETS,), deta_min=0.131), Pair((JETS,), deta_min=0.132)) == [[0, 1], [0, 0]]
    root = math.sqrt(2) * 0.131
    assert fires(events, Pair((JETS,), dr_min=root - 1e-6), Pair((JETS,), dr_min=root + 1e-6)) == [[0, 1], [0, 0]]


def test_muon_and_calorimeter_codes_share_a_grid():
    # a jet at eta code 10 and phi code 143 lies where muon codes 40 and 572 do
    events = make(
        3,
        mu_pt=[[20]] * 3,
        mu_eta=[[40], [41], [40]],
        mu_phi=[[572], [572], [0]],
        jet_pt=[[100]] * 3,
        jet_eta=[[10]] * 3,
        jet_phi=[[143]] * 3,
    )
    limits = ({"dr_max": 0.0}, {"dr_max": 0.011}, {"dr_min": 0.044})
    assert fires(events, *(Pair(MUON_AND_JET, **each) for each in limits)) == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_sums_have_a_direction_in_phi():
    events = make(2, jet_pt=[[100]] * 2, jet_phi=[[0], [0]], met_pt=[[100]] * 2, met_phi=[[48], [47]])
    assert fires(events, Pair(JET_AND_MET, dphi_min=2.094)) == [[1, 0]]  # a third of a turn


def test_a_pair_is_of_two_objects_that_pass_their_cuts():
    good = Requirement("mu", (10.0, 5.0), quality_min=12)
    events = make(
        5, mu_pt=[[20, 10], [20, 9], [20, 10], [30], [10, 20]], mu_quality=[[12, 12], [12, 12], [12, 8], [12], [12, 12]]
    )
    assert fires(events, Pair((good,), dr_max=0.1)) == [[1, 0, 0, 0, 1]]
    tight, loose = Requirement("mu", (5.0,), quality_min=12), Requirement("mu", (5.0,), quality_min=8)
    assert fires(events, Pair((tight, loose), dr_max=0.1)) == [[1, 0, 1, 0, 1]]
    assert fires(events, Pair((loose, tight), dr_max=0.1)) == [[1, 0, 1, 0, 1]]


def test_one_pair_must_lie_in_all_limits():
    # the first two jets are near, the outer two have the mass
    events = make(1, jet_pt=[[200, 200, 200]], jet_eta=[[0, 5, 40]], jet_phi=[[0, 0, 72]])
    near, heavy = {"deta_max": 0.5}, {"mass_min": 200.0, "decimals": 3}
    assert fires(events, Pair((JETS,), **near), Pair((JETS,), **heavy), Pair((JETS,), **near, **heavy)) == [
        [1],
        [1],
        [0],
    ]


def test_charges():
    events = make(5, mu_pt=[[20, 20]] * 5, mu_charge=[[0, 1], [1, 0], [1, 1], [2, 0], [2, 2]])
    assert fires(events, Pair((MUONS,), charges="opposite"), Pair((MUONS,), charges="same")) == [
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
    ]


def test_a_saturated_code_passes_every_limit_of_mass_and_no_other():
    events = make(2, jet_pt=[[2047, 2], [2046, 2]], jet_eta=[[0, 10], [0, 10]])
    heavy, light = Pair((JETS,), mass_min=1000.0, decimals=3), Pair((JETS,), mass_max=1.0, decimals=3)
    far = Pair((JETS,), mass_min=1000.0, decimals=3, deta_min=0.5)
    assert fires(events, heavy, light, far) == [[1, 0], [1, 0], [0, 0]]


CENTRAL = Requirement("jet", (30.0, 20.0), eta_codes=(-58, 57))
MUON, TWO_MUONS = (Requirement("mu", pt, quality_min=8) for pt in ((3.0,), (3.0, 3.0)))
PAIRS = {
    "masses": Pair((CENTRAL,), mass_min=100.0, mass_max=300.0, decimals=3),
    "near": Pair((TWO_MUONS,), dr_max=1.4, charges="opposite"),
    "light": Pair(
        (MUON, Requirement("mu", (5.0,), 2.1)), mass_min=7.0, mass_max=18.0, deta_min=0.1, charges="same", decimals=4
    ),
    "two": Pair((MUON, Requirement("jet", (40.0,))), mass_max=60.0, dr_min=0.3, decimals=4),
    "sum": Pair((Requirement("jet", (15.0,)), Requirement("met", (5.0,))), dphi_min=2.1),
    "fine": Pair((Requirement("eg", (2.0, 2.0), iso=(1, 3)),), mass_max=20.0, dr_max=0.9, dphi_min=0.1, decimals=9),
}


def random_events(n, seed):
    rng = np.random.default_rng(seed)
    columns = {}
    for name, (collection, column) in SCHEMA.columns().items():
        codes = rng.integers(column.low, column.high + 1, (n, collection.slots))
        if column.name == "pt":  # soft ones, absent ones, saturated ones
            codes = np.minimum(codes, rng.geometric(0.02, codes.shape)) * (rng.random(codes.shape) < 0.6)
            codes[rng.random(codes.shape) < 0.002] = column.saturated
        if column.name == "eta":
            codes //= 2
        columns[name] = codes.astype(np.int32)
    for name, codes in columns.items():
        codes[columns[f"{name.split('.')[0]}.pt"] == 0] = 0
    return Events(SCHEMA, columns, make_meta(n))


def plain(events, event, pair):
    """The same by its definition, in Python's integers and fractions."""
    legs = [(each, pt) for each in pair.objects for pt in each.pt]
    names = [each.collection for each, _ in legs]

    def code(leg, key, slot):
        return int(events.columns[f"{names[leg]}.{key}"][event, slot])

    def lsb(leg, key):
        return SCHEMA.collection(names[leg]).column(key).lsb

    def passes(leg, slot):
        each, pt = legs[leg]
        eta = code(leg, "eta", slot) if each.eta_max or each.eta_codes else 0
        return (
            code(leg, "pt", slot) * lsb(leg, "pt") >= pt
            and (each.eta_max is None or abs(eta) * lsb(leg, "eta") < each.eta_max)
            and (each.eta_codes is None or each.eta_codes[0] <= eta <= each.eta_codes[1])
            and (each.quality_min is None or code(leg, "quality", slot) >= each.quality_min)
            and (each.iso is None or code(leg, "iso", slot) in each.iso)
        )

    def steps(key, i, j):
        fine = min(lsb(0, key), lsb(1, key))
        difference = abs(code(0, key, i) * round(lsb(0, key) / fine) - code(1, key, j) * round(lsb(1, key) / fine))
        if key == "phi":
            turn = round(2 * math.pi / fine)
            difference = min(difference, turn - difference)
        return difference, fine

    def inside(i, j):
        limits = {
            name: pair.limits(name) for name in ("mass", "dr", "deta", "dphi") if pair.limits(name) != (None, None)
        }
        phi, phi_lsb = steps("phi", i, j)
        eta, eta_lsb = steps("eta", i, j) if limits.keys() != {"dphi"} else (0, 0.0435)
        deta, dphi = (int(Fraction(str(x)) * n * 1000 + Fraction(1, 2)) for n, x in ((eta, eta_lsb), (phi, phi_lsb)))
        squares = {"deta": deta**2, "dphi": dphi**2, "dr": deta**2 + dphi**2}
        fine = True
        for name, (low, high) in limits.items():
            if name == "mass":
                a, b = code(0, "pt", i), code(1, "pt", j)
                if any(
                    code(k, "pt", s) == SCHEMA.collection(names[k]).column("pt").saturated for k, s in ((0, i), (1, j))
                ):
                    continue
                unit = 10**pair.decimals
                angular = round(math.cosh(eta * eta_lsb) * unit) - round(math.cos(phi * phi_lsb) * unit)
                square = Fraction(2 * a * b * angular, unit) * Fraction(lsb(0, "pt")) * Fraction(lsb(1, "pt"))
            else:
                square = Fraction(squares[name], 10**6)
            fine &= low is None or square >= Fraction(str(low)) ** 2
            fine &= high is None or square <= Fraction(str(high)) ** 2
        if pair.charges:
            two = sorted((code(0, "charge", i), code(1, "charge", j)))
            fine &= two == [0, 1] if pair.charges == "opposite" else two in ([0, 0], [1, 1])
        return fine

    slots = [SCHEMA.collection(name).slots for name in names]
    return any(
        passes(0, i) and passes(1, j) and inside(i, j)
        for i, j in product(range(slots[0]), range(slots[1]))
        if names[0] != names[1] or i != j
    )


@pytest.mark.parametrize("name", PAIRS)
def test_vectorised_equals_a_loop_over_integers(name):
    events = random_events(400, sorted(PAIRS).index(name))
    expected = [int(plain(events, event, PAIRS[name])) for event in range(len(events))]
    assert 20 < sum(expected) < 380, "the events must try both answers"
    assert fires(events, PAIRS[name]) == [expected]


@pytest.mark.parametrize("decimals", [1, 3, 4, 9])
def test_a_mass_is_exact_within_the_stated_precision(decimals):
    eta, phi = 0.0435, 2 * math.pi / 144
    cosh, cos = cosh_table(eta, 130, decimals), cos_table(phi, 72, decimals)
    n, m = np.meshgrid(np.arange(131), np.arange(73), indexing="ij")
    halved = np.cosh(n * eta) - np.cos(m * phi)  # M**2 / 2 of pT 1 and 1 GeV
    unit = 10.0**-decimals
    off = abs((cosh[n] - cos[m]) * unit - halved)
    assert off.max() <= unit * (1 + 1e-6)
    assert off.max() > unit / 4  # the precision is not better than what is stated


def test_tables_of_angles():
    assert angle_table(0.0435, 3).tolist() == [0, 44, 87, 131]
    assert angle_table(0.010875, 4).tolist() == [0, 11, 22, 33, 44]
    phi = SCHEMA.collection("mu").column("phi")
    assert angle_table(phi.lsb, 288)[[144, 288]].tolist() == [1571, 3142]


def test_a_decision_at_the_limit_is_that_of_the_exact_limit():
    # limits become integers once, exactly: M**2 / 2 = 2 x 4 x 5 / 4 GeV**2 of codes 4 and 5 back to back, M = sqrt(20)
    events = make(1, jet_pt=[[4, 5]], jet_phi=[[0, 72]])
    below, above = math.nextafter(math.sqrt(20), 0), math.nextafter(math.sqrt(20), 9)
    assert Fraction(str(below)) ** 2 < 20 < Fraction(str(above)) ** 2
    limits = ({"mass_min": below}, {"mass_min": above}, {"mass_max": below}, {"mass_max": above})
    assert fires(events, *(Pair((JETS,), **each, decimals=3) for each in limits)) == [[1], [0], [0], [1]]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"dr_max": 1.0, "objects": (Requirement("mu", (3.0,)),)},
            r"must have two thresholds in its objects, not \[3\.0\]",
        ),
        (
            {"dr_max": 1.0, "objects": (JETS, JETS)},
            r"must have two thresholds in its objects, not \[1\.0, 1\.0, 1\.0, 1\.0\]",
        ),
        ({}, r"pair must have a limit \(mass_min, dr_max, \.\.\.\) or charges, not none"),
        ({"dr_max": -1.0}, "dr_min and dr_max must be finite and not negative, not None and -1.0"),
        ({"dr_max": math.inf}, "must be finite and not negative, not None and inf"),
        ({"deta_min": 2.0, "deta_max": 1.0}, "deta_min must be at most deta_max, 1.0, not 2.0"),
        ({"mass_min": 2.0}, "decimals must be given with a limit of mass and only then, not be None"),
        ({"dr_max": 2.0, "decimals": 3}, "decimals must be given with a limit of mass and only then, not be 3"),
        ({"mass_min": 2.0, "decimals": 0}, "decimals must be between 1 and 9, not 0"),
        ({"charges": "OS"}, "charges must be one of opposite, same, not 'OS'"),
    ],
)
def test_a_wrong_pair_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Pair(**{"objects": (JETS,), **keys})


def wanted(collection, *pt):
    return (Requirement(collection, pt),)


@pytest.mark.parametrize(
    ("schema", "pair", "message"),
    [
        ("cms_run3", Pair(wanted("jat", 1.0, 1.0), dr_max=1.0), "seed 0: collection must be one of .* not 'jat'"),
        ("cms_run3", Pair(JET_AND_MET, dr_max=1.0), "seed 0: collection met must have the column eta; schema cms_run3"),
        ("cms_run3", Pair(JET_AND_MET, mass_min=1.0, decimals=3), "collection met must have the column eta"),
        ("cms_run3", Pair((JETS,), charges="opposite"), "seed 0: collection jet must have the column charge"),
        ("adc2021", Pair((MUONS,), charges="same"), "collection mu must have the column charge; schema adc2021"),
        ("cms_run3", Pair(wanted("met", 1.0, 1.0), dphi_min=1.0), r"pt must have at most 1 thresholds \(met\), not 2"),
        ("cms_run3", Pair(wanted("met", 1.0) * 2, dphi_min=1.0), r"pt must have at most 1 thresholds \(met\), not 2"),
        ("cms_run3", Pair(wanted("mu", 256.0, 1.0), dr_max=1.0), r"pt must be at most 255\.5 GeV, not 256\.0"),
        ("cms_run3", Pair((JETS,), dphi_min=3.15), r"dphi_min must be at most 3\.142, .* the codes reach, not 3\.15"),
        ("cms_run3", Pair((JETS,), dr_min=12.0), r"dr_min must be at most 11\.5\d+, which is all that the codes reach"),
        ("cms_run3", Pair((JETS,), mass_min=1e6, decimals=3), r"mass_min must be at most \d+\.?\d*, .* not 1000000\.0"),
        ("cms_run3", Pair((JETS,), mass_max=1e300, decimals=3), r"mass_max must be at most .* not 1e\+300"),
        ("lhco", Pair((JETS,), mass_min=1.0, decimals=9), "seed 0: mass with 9 decimals must fit 63 bits"),
        ("cicada", Pair(wanted("region", 1.0, 1.0), dr_max=1.0), "collection region must have the column eta"),
    ],
)
def test_a_pair_must_suit_the_schema(schema, pair, message):
    with pytest.raises(ValueError, match=message):
        fires(make(1, load_schema(schema)), pair)


def test_a_mass_must_fit_63_bits():
    def of_bits(bits):
        pt = Column("pt", bits, signed=False, lsb=0.5, unit="GeV", low=0, high=2**bits - 1)
        jets = SCHEMA.collection("jet").columns
        return replace(SCHEMA, collections=(Collection("jet", 2, (pt, *jets[1:])),), selections=())

    narrow = Pair((JETS,), mass_min=1.0, decimals=1)  # cosh - cos is below 2**19, in tenths
    assert pair_cuts(narrow, of_bits(22), "seed x").windows["mass"].high < 2**63
    with pytest.raises(ValueError, match="seed x: mass with 1 decimals must fit 63 bits, as it does not; take fewer"):
        pair_cuts(narrow, of_bits(23), "seed x")


def test_angles_must_share_a_grid():
    collections = {each.name: each for each in SCHEMA.collections}
    columns = tuple(
        replace(column, lsb=column.lsb * 1.3) if column.name in ("eta", "phi") else column
        for column in collections["jet"].columns
    )
    schema = replace(
        SCHEMA, collections=(collections["mu"], replace(collections["jet"], columns=columns)), selections=()
    )
    for angle in ("eta", "phi"):
        message = f"seed x: {angle} of mu and jet must have steps of which one is a multiple of the other, not 0.01"
        with pytest.raises(ValueError, match=message):
            pair_cuts(Pair(MUON_AND_JET, **{f"d{angle}_max": 1.0}), schema, "seed x")
    with pytest.raises(ValueError, match="seed x: phi of jet and jet must go once around, not None and None steps"):
        pair_cuts(Pair((JETS,), dphi_max=1.0), schema, "seed x")
