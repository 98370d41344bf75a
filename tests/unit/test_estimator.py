import importlib
import time
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from l1ad.errors import UnsupportedError
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import KINDS, random_network
from l1ad.hardware import estimator
from l1ad.hardware.estimator import calibration, count, estimate, needed
from l1ad.hardware.rtl.lower import lower
from l1ad.hardware.rtl.pipeline import cut
from l1ad.hardware.sharing import count_digits, digits, share_left, sharing
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Dense, Dot, Input, Lookup, Merge

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BYTE, WIDE = FixedPoint(8, 0), FixedPoint(24, 0)


@pytest.fixture(scope="module")
def script():
    """The script that calibrates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("estimator")


@pytest.fixture(scope="module")
def rows(script):
    return script.read(script.NETWORKS_CSV)


@pytest.fixture(scope="module")
def networks(script, rows):
    """Every synthesised network, with its clock and its row."""
    recipes = [script.Recipe.of(int(row["number"])) for row in rows]
    return [(recipe.network(), recipe.clock_ns, row) for recipe, row in zip(recipes, rows, strict=True)]


def encoder(keep=1.0, bits=8):
    """57-32-16-8, of which a share of the weights is kept: of less, a part of those of more."""
    chance = np.random.default_rng(3)
    names = tuple(f"x{i}" for i in range(57))
    relu = FixedPoint(bits, bits - 5, False, "RND_CONV", "SAT")
    operations = [Input("in0", names, np.zeros(57, np.int64), np.full(57, 255), FixedPoint(8, 4, False))]
    for i, (n, m) in enumerate([(57, 32), (32, 16), (16, 8)]):
        weight = np.clip(np.rint(chance.normal(0, 8, (n, m))), -31, 31).astype(np.int64)
        weight *= chance.random((n, m)) < keep
        bias = np.zeros(m, np.int64)
        operations.append(Dense(f"in{i + 1}", f"in{i}", weight, FixedPoint(6, 5), bias, FixedPoint(6, 3), None, relu))
    return Network((*operations, Dot("score", "in3", "in3", None, FixedPoint(24, 4, False, "TRN", "SAT"))))


def test_the_calibration_is_what_the_script_fits(script, rows):
    known = script.fit(script.read(script.LAYERS), rows)
    assert known.keys() == calibration().keys()
    for section, entries in known.items():
        assert entries.keys() == calibration()[section].keys()
        for key, value in entries.items():
            written = calibration()[section][key]
            same = value == written if isinstance(value, str) else np.allclose(value, written, atol=2e-3)
            assert same, f"[{section}] {key}: {value} fitted, {written} written"


def test_networks_that_were_not_fitted(script, networks):
    assert {int(row["number"]) for *_, row in networks} == set(script.NETWORKS)
    found = [(estimate(n, clock), row) for n, clock, row in networks if int(row["number"]) % script.HELD_OUT == 0]
    assert len(found) >= 10
    for key, median, most in (("lut", 0.15, 0.25), ("ff", 0.2, 0.4)):
        off = [abs(getattr(e, key) / int(row[key]) - 1) for e, row in found]
        assert np.median(off) <= median
        assert np.quantile(off, 0.9) <= most
        # what is quoted is what is measured
        assert getattr(found[0][0], f"{key}_error") == pytest.approx((np.median(off), np.quantile(off, 0.9)), abs=5e-3)
    cycles = np.array([e.latency_cycles - int(row["latency_cycles"]) for e, row in found])
    assert np.mean(abs(cycles) <= 1) >= 0.8


def test_full_size_is_among_them(script, networks):
    sizes = [int(row["lut"]) for *_, row in networks if int(row["number"]) % script.HELD_OUT == 0]
    assert max(sizes) > 15_000
    assert min(sizes) < 300


def test_the_smallest_network_synthesised_again(script, rows, require, tmp_path, monkeypatch):
    require("yosys")
    monkeypatch.setattr("l1ad.hardware.synthesis.yosys.cache_folder", lambda: tmp_path)
    row = min(rows, key=lambda row: int(row["lut"]))
    again = script.synthesised(int(row["number"]))
    if again["yosys"] != row["yosys"]:
        pytest.skip(f"Yosys is {again['yosys']}, and the table was made with {row['yosys']}")
    assert {key: str(again[key]) for key in row if key != "seconds"} == {k: v for k, v in row.items() if k != "seconds"}


def test_a_full_network_takes_less_than_50_ms():
    network, took = encoder(), []
    for _ in range(5):
        start = time.perf_counter()
        estimate(network, 2.8)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.05


def test_latency_is_that_of_the_pipeline_but_for_a_clock():
    off = []
    for seed in range(40):
        chance = np.random.default_rng(seed)
        modes = chance.choice(ROUNDING, 12).tolist(), chance.choice(OVERFLOW, 12).tolist()
        network = random_network(chance, *modes, KINDS[seed % len(KINDS)])
        off.append(estimate(network, 5.0).latency_cycles - cut(*lower(network), 5.0).latency_cycles)
    assert np.mean(np.abs(off) <= 1) >= 0.9


def test_fewer_weights_cost_less():
    found = [estimate(encoder(keep), 2.8) for keep in (1, 0.8, 0.6, 0.4, 0.2, 0.1)]
    for key in ("lut", "ff", "latency_cycles"):
        numbers = [getattr(e, key) for e in found]
        assert numbers == sorted(numbers, reverse=True), key
    assert found[-1].lut < found[0].lut / 5


def test_fewer_bits_cost_less():
    found = [estimate(encoder(bits=bits), 2.8).lut for bits in (12, 10, 8, 6)]
    assert found == sorted(found, reverse=True)


def test_a_slower_clock_takes_fewer_registers():
    found = [estimate(encoder(), clock) for clock in (2.0, 2.8, 4.0, 6.0)]
    assert [e.latency_ns for e in found] == [e.latency_cycles * e.clock_ns for e in found]
    for key in ("ff", "latency_cycles"):
        numbers = [getattr(e, key) for e in found]
        assert numbers == sorted(numbers, reverse=True)
        assert numbers[0] > numbers[-1]
    assert len({e.lut for e in found}) == 1


def two_inputs(operation, *others):
    trigger = Input("x", ("a", "b"), np.full(2, -128), np.full(2, 127), BYTE)
    ends = others or (() if operation.name == "score" else (Dot("score", "o", "o", None, WIDE),))
    return Network((trigger, operation, *ends))


def weights(*columns):
    return np.array(columns, np.int64).T


def dense(weight, out=WIDE, bias=None, name="o"):
    bias = np.zeros(weight.shape[1], np.int64) if bias is None else bias
    return Dense(name, "x", weight, BYTE, bias, BYTE, None, out)


@pytest.mark.parametrize(
    ("operation", "bits"),
    [
        # a wire
        (dense(weights((4, 0)), name="score"), {"adder": 24}),  # the comparison with the threshold, alone
        # of 0 .. 255 in 8 bits both ends are cut: a gate for each bit
        (dense(weights((4, 0)), FixedPoint(6, 0, True, "TRN", "SAT"), name="score"), {"adder": 6, "saturate": 6}),
        # what never leaves the range is not saturated
        (dense(weights((4, 0)), FixedPoint(24, 0, True, "TRN", "SAT"), name="score"), {"adder": 24}),
        # a constant is carried: its ones invert
        (dense(weights((4, 0)), bias=np.array([5]), name="score"), {"adder": 24, "invert": 2}),
        (dense(weights((4, 0)), bias=np.array([-5]), name="score"), {"adder": 24, "invert": 6}),
    ],
)
def test_parts_counted_by_hand(operation, bits):
    found = count(two_inputs(operation), 5.0, calibration()).bits
    assert {kind: n for kind, n in found.items() if n} == bits


@pytest.mark.parametrize(
    ("operation", "adder", "choose", "table"),
    [
        (Merge("o", "add", "x", "x", WIDE), 2 * 8, 0, 0),
        (Merge("o", "maximum", "x", "x", WIDE), 2 * 8, 2 * 8, 0),
        (Merge("o", "multiply", "x", "x", WIDE), None, 2 * 4 * 4, None),  # the product of two halves
        (Affine("o", "x", np.full(2, 7), BYTE, np.zeros(2, np.int64), BYTE, WIDE), 2 * 8, 0, 0),  # 8 - 1
        (Affine("o", "x", np.full(2, 8), BYTE, np.ones(2, np.int64), BYTE, WIDE), 0, 0, 0),
        (Lookup("o", "x", np.arange(256), FixedPoint(8, 0, False)), 0, 0, 2 * 8 * 4),  # 256 entries in 4 x 64
        (Cast("o", "x", FixedPoint(4, -2)), 0, 0, 0),
    ],
)
def test_operations_counted_by_hand(operation, adder, choose, table):
    bits = dict.fromkeys(estimator.KINDS, 0.0)
    network = two_inputs(operation)
    estimator._steps(operation, network, needed(network), bits, calibration())
    for kind, expected in (("adder", adder), ("choose", choose), ("table", table)):
        assert expected is None or bits[kind] == expected, kind


def test_what_the_score_does_not_need_costs_nothing():
    full, short = weights((3, 5), (7, 9), (11, 13)), weights((3, 5), (11, 13))
    last = {"name": "score", "x": "o", "weight_type": BYTE, "bias": np.zeros(1, np.int64), "bias_type": BYTE}
    dead = two_inputs(dense(full), Dense(weight=weights((1, 0, 3)), product=None, out=WIDE, **last))
    alive = two_inputs(dense(short), Dense(weight=weights((1, 3)), product=None, out=WIDE, **last))
    assert needed(dead)["o"].tolist() == [True, False, True]
    assert estimate(dead, 5.0) == estimate(alive, 5.0)


def test_a_clock_that_is_too_fast():
    network = encoder()
    with pytest.raises(
        ValueError, match=r"clock_ns must be at least 1\.\d\d for operation 'in1', not 1; take a slower"
    ):
        estimate(network, 1)


def test_an_operation_that_is_not_covered():
    network = two_inputs(dense(weights((1, 2)), name="score"))
    unknown = SimpleNamespace(name="score", x="x", out=WIDE)
    with pytest.raises(UnsupportedError, match=r"resource estimate does not cover SimpleNamespace \('score'\)"):
        estimator._steps(unknown, network, needed(network), dict.fromkeys(estimator.KINDS, 0.0), calibration())


@pytest.mark.parametrize(
    ("weight", "number"),
    [
        *((0, 0), (1, 1), (-1, 1), (2, 1), (3, 2), (-5, 2), (7, 2), (11, 3), (21, 3), (31, 2)),
        *((43, 4), (85, 4), (127, 2), (-128, 1)),
    ],
)
def test_canonical_signed_digits(weight, number):
    found = digits(np.array([weight]))
    assert np.abs(found).sum() == count_digits(np.array([weight]))[0] == number
    assert sum(int(digit) << bit for bit, (digit,) in enumerate(found.tolist())) == weight


def test_no_sum_of_signed_powers_of_two_is_shorter():
    powers = [sign << k for sign, k in product((1, -1), range(10))]
    fewest, reached = {0: 0}, {0}
    for n in range(1, 6):
        reached = {value + power for value in reached for power in powers}
        for value in reached:
            fewest.setdefault(value, n)
    every = np.arange(-256, 257)
    assert dict(zip(every.tolist(), count_digits(every).tolist(), strict=True)) == {
        w: fewest[w] for w in range(-256, 257)
    }


def test_pairs_that_come_again_are_counted():
    once = sharing(weights((1, 1, 0, 0), (0, 0, 1, -1)))  # no pair comes twice
    assert once.plain == 2
    assert not once.adders.any()
    twice = sharing(weights((1, 1, 0), (2, 2, 0), (-1, -1, 1)))  # one pair three times, and two more pairs
    again, thrice, share, often = twice.adders[:4]
    assert twice.plain == 4
    assert np.expm1([again, thrice]) == pytest.approx([2 / 4, 1 / 4])
    assert share == pytest.approx(2 / 5)
    assert np.exp(often) == pytest.approx((9 + 1 + 1) / 5)


def test_random_layers_share_what_the_graph_shares(script):
    off = []
    for row in script.read(script.LAYERS):
        weight, bias = script.Layer.of(int(row["number"])).weight()
        found = sharing(weight)
        if found.plain > 100:
            constants = ((bias != 0) & weight.any(axis=0)).sum()
            off.append(found.plain * share_left(found, calibration()) / (int(row["adders"]) - constants) - 1)
    assert len(off) > 80
    assert np.median(np.abs(off)) < 0.05
    assert abs(np.median(off)) < 0.02


def test_a_recipe_that_has_changed_is_noticed(script, rows):
    changed = [rows[0] | {"digest": "f" * 64}]
    with pytest.raises(ValueError, match=r"network 0 must be f+, not .*; its recipe has changed: delete the file"):
        script.fit(script.read(script.LAYERS), changed)
