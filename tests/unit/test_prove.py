import dataclasses
import itertools
import json

import numpy as np
import pytest

from l1ad.emulate import reference
from l1ad.fixed import FixedPoint, cast
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Merge
from l1ad.prove import search
from l1ad.prove.bounds import bounds
from l1ad.prove.casts import sites, terms
from l1ad.prove.certificate import check, lines, load, prove, save

INT, BIT = FixedPoint(8, 0), FixedPoint(4, 0)
RELU = FixedPoint(4, 0, False, "TRN", "SAT")


def ints(*values):
    return np.array(values, np.int64)


def trigger(low, high):
    return Input("trigger", tuple(f"c{i}" for i in range(len(low))), ints(*low), ints(*high), INT)


def dense(name, x, weight, bias, out, product=None, weight_type=BIT):
    return Dense(name, x, np.array(weight, np.int64), weight_type, ints(*bias), INT, product, out)


def one_sum(out, product=None, low=(0, -3), high=(5, 4)):
    """``3 a - 2 b + 1``: over a = 0 .. 5, b = -3 .. 4 between -7 (0, 4) and 22 (5, -3)."""
    return Network((trigger(low, high), dense("score", "trigger", [[3], [-2]], [1], out, product)))


def everything(network):
    """Every admissible event."""
    ranges = zip(network.input.low.tolist(), network.input.high.tolist(), strict=True)
    return np.array(list(itertools.product(*(range(low, high + 1) for low, high in ranges))))


def only(certificate):
    (claims,) = certificate.claims
    return claims


def last(certificate):
    return only(certificate).statements[-1]


@pytest.mark.parametrize(
    ("out", "verdict", "element", "limit", "bound", "witness", "bits"),
    [
        (FixedPoint(6, 0), "cannot overflow", 0, 31, 22, (5, -3), 6),
        (FixedPoint(5, 0), "wraps", 0, 15, 22, (5, -3), 6),
        (FixedPoint(5, 0, True, "TRN", "SAT"), "saturates", 0, 15, 22, (5, -3), 6),
        (FixedPoint(5, 0, True, "TRN", "SAT_ZERO"), "saturates", 0, 15, 22, (5, -3), 6),
        (FixedPoint(5, 0, False, "TRN", "SAT"), "cannot overflow", 0, 31, 22, (5, -3), 5),  # the lower end is a ReLU
        (FixedPoint(5, 0, False), "wraps", 0, 0, -7, (0, 4), 6),
        (FixedPoint(5, -1, True, "RND", "SAT"), "cannot overflow", 0, 15, 11, (5, -3), 5),  # in units of 2
        (FixedPoint(5, 1, True, "TRN", "SAT"), "saturates", 0, 15, 44, (5, -3), 7),
    ],
)
def test_verdicts_of_one_sum(out, verdict, element, limit, bound, witness, bits):
    statement = last(prove(one_sum(out)))
    assert statement.exact
    assert statement.verdict == verdict
    assert (statement.element, statement.limit, statement.bound, statement.found) == (element, limit, bound, bound)
    assert statement.witnesses == (witness,)
    assert (statement.bits, statement.removable) == (bits, out.width - bits)


def test_rounding_decides_whether_the_last_number_overflows():
    # -7 .. 22 in units of 8: 22 / 8 = 2.75 is 2, or rounds to 3; the type holds 2 bits, with sign 3
    for rounding, bound in (("TRN", 2), ("RND", 3)):
        statement = last(prove(one_sum(FixedPoint(3, -3, True, rounding, "SAT"))))
        assert (statement.verdict, statement.bound, statement.limit) == ("cannot overflow", bound, 3)
    assert last(prove(one_sum(FixedPoint(2, -3, True, "TRN", "SAT")))).verdict == "saturates"


def test_products_are_casts():
    # 3 a = 0 .. 15 in 4 bits with sign wraps for a > 2; -2 b = -8 .. 6 and the bias fit
    product = FixedPoint(4, 0)
    statements = only(prove(one_sum(FixedPoint(6, 0), product))).statements
    assert [(s.operation, s.cast, s.elements, s.safe, s.overflowing) for s in statements] == [
        ("score", "product", 3, 2, 1),
        ("score", "result", 1, 1, 0),
    ]
    assert statements[0].verdict == "wraps"
    assert (statements[0].element, statements[0].found, statements[0].witnesses[0][0]) == (0, 15, 5)
    # wrapped, 3 a is 0 3 6 -7 -4 -1: at most 6 + 6 + 1, at least -7 - 8 + 1
    assert (statements[1].low, statements[1].high, statements[1].exact) == (-14, 13, True)


def test_a_bias_that_wraps_is_one_number():
    network = Network((
        trigger((0,), (1,)),
        dense("score", "trigger", [[1]], [9], FixedPoint(5, 0), FixedPoint(4, 0)),
    ))  # fmt: skip
    statements = only(prove(network)).statements
    assert (statements[0].verdict, statements[0].element, statements[0].found) == ("wraps", 1, 9)
    assert (statements[1].low, statements[1].high) == (-7, -6)


def test_sums_that_wrap_on_the_way_and_return_are_no_overflow():
    network = Network((
        trigger((15, 15), (15, 15)),
        dense("sum", "trigger", [[7], [-7]], [0], FixedPoint(4, 0)),
        Cast("score", "sum", RELU),
    ))  # fmt: skip
    assert [s.verdict for s in only(prove(network)).statements] == ["cannot overflow"] * 2


def bent(out=None):
    """``relu(a - b) + relu(b - a)`` over 0 .. 15: intervals add up to 30, and the truth is 15."""
    return Network((
        trigger((0, 0), (15, 15)),
        dense("hidden", "trigger", [[1, -1], [-1, 1]], [0, 0], RELU),
        dense("score", "hidden", [[1], [1]], [0], out or FixedPoint(5, 0, True, "TRN", "SAT")),
    ))  # fmt: skip


def test_linear_bounds_know_that_elements_depend_on_each_other():
    found = bounds(bent())["score"]
    assert found.before.high[0] in (15, 16)  # the chord through -15 and 15, doubled, is the constant 15
    assert not found.attained
    statement = last(prove(bent()))
    assert (statement.found, statement.bound) == (15, found.before.high[0])


def test_what_neither_bounds_nor_search_decide_is_counted():
    # relu(a - b) * relu(b - a) is 0; its bound is 15 * 15
    network = Network((
        *bent().operations[:2],
        dense("other", "trigger", [[-1, 1], [1, -1]], [0, 0], RELU),
        Dot("score", "hidden", "other", None, FixedPoint(6, 0, True, "TRN", "SAT")),
    ))  # fmt: skip
    certificate = prove(network)
    statement = last(certificate)
    assert (statement.verdict, statement.undecided, only(certificate).undecided) == ("undecided", 1, 1)
    assert (statement.limit, statement.found) == (31, 0)
    assert 31 < statement.bound <= 450
    text = f"undecided: element 0, bound {statement.bound}, largest value found 0, limit 31"
    assert any(line.endswith(text) for line in lines(certificate))
    assert not check(certificate, network)


def test_ascent_finds_what_random_events_miss(monkeypatch):
    monkeypatch.setattr(search, "RANDOM_EVENTS", 1)
    n = 30
    weight = np.where(np.arange(n) % 3 == 0, 1, -1)[:, None] * np.ones((1, 2), np.int64)
    network = Network((
        trigger((0,) * n, (7,) * n),
        Dense("hidden", "trigger", weight, BIT, ints(0, 0), INT, None, FixedPoint(7, 0, False, "TRN", "SAT")),
        dense("score", "hidden", [[1], [1]], [0], FixedPoint(8, 0)),
    ))  # fmt: skip
    statement = last(prove(network))
    assert (statement.verdict, statement.found, statement.limit) == ("wraps", 140, 127)


def test_a_network_of_every_columnwise_operation_is_exact():
    table = np.arange(16)[::-1] ** 2 % 11
    network = Network((
        trigger((-5, -8), (6, 3)),
        Affine("scaled", "trigger", ints(3, -2), BIT, ints(1, 2), INT, FixedPoint(4, 0)),  # wraps
        Cast("address", "scaled", RELU),
        Lookup("table", "address", table, FixedPoint(5, 0)),
        Merge("square", "multiply", "table", "scaled", FixedPoint(5, -1, True, "RND_CONV", "SAT_ZERO")),
        Dense("sums", "square", np.array([[3, -2], [1, 5]]), BIT, ints(1, 0), INT, None, FixedPoint(9, 0)),
        Dot("dot", "square", "scaled", FixedPoint(5, 0), FixedPoint(7, 0)),
        dense("summed", "sums", [[1], [1]], [0], FixedPoint(9, 0)),
        Merge("score", "add", "dot", "summed", FixedPoint(10, 0)),
    ))  # fmt: skip
    x, known = everything(network), bounds(network)
    values = reference.trace(network, x)
    for site in sites(network):
        bound = known[site.operation.name]
        exact, frac = site.before(network, values)
        reach = bound.terms if site.cast == "product" else bound.before
        assert frac == reach.frac
        assert bound.attained == (site.operation.name not in ("summed", "score"))
        if bound.attained:
            np.testing.assert_array_equal(reach.low, exact.min(axis=0), err_msg=str(site))
            np.testing.assert_array_equal(reach.high, exact.max(axis=0), err_msg=str(site))
    for name in ("scaled", "address", "table", "square"):
        np.testing.assert_array_equal(known[name].after.low, values[name].min(axis=0))
        np.testing.assert_array_equal(known[name].after.high, values[name].max(axis=0))
    assert not check(prove(network), network)


@pytest.mark.parametrize("overflow", ["WRAP", "SAT", "SAT_ZERO", "SAT_SYM"])
def test_first_layer_equals_brute_force(overflow, rng):
    for rounding in ("TRN", "RND_CONV"):
        product = FixedPoint(4, 1, True, rounding, overflow)
        convolution = Convolution(
            "image", "trigger", (2, 2, 1), rng.integers(-8, 8, (2, 1, 1, 2)), FixedPoint(4, 3), rng.integers(-9, 9, 2),
            INT, (1, 1), (1, 0, 0, 1), product, FixedPoint(5, 0, True, rounding, overflow),
        )  # fmt: skip
        n = 6 * 2
        network = Network((
            trigger((-3, 0, 1, -2), (3, 4, 3, 2)),
            convolution,
            Dense("score", "image", np.ones((n, 1), np.int64), BIT, ints(0), INT, None, FixedPoint(9, 0)),
        ))  # fmt: skip
        values, bound = reference.trace(network, everything(network)), bounds(network)["image"]
        exact, _ = reference.exact(convolution, network, values)
        assert bound.attained
        np.testing.assert_array_equal(bound.before.low, exact.min(axis=0))
        np.testing.assert_array_equal(bound.before.high, exact.max(axis=0))
        parts, frac = terms(convolution, network, values)
        summed = cast(parts, frac, product)
        np.testing.assert_array_equal(
            summed[:, :-2].reshape(len(parts), 6, 2, 2).sum(axis=2) + summed[:, None, -2:], exact.reshape(-1, 6, 2)
        )
        found = {s.operation: s for s in only(prove(network)).statements if s.cast == "result"}["image"]
        lowest, highest = convolution.out.min_raw, convolution.out.max_raw
        wide = dataclasses.replace(convolution.out, width=30, overflow="WRAP")
        rounded = cast(exact, product.frac, wide)
        assert found.overflowing == ((rounded < lowest) | (rounded > highest)).any(axis=0).sum()
        assert not found.undecided


def test_columns_too_wide_to_sweep_are_left_to_intervals(monkeypatch):
    monkeypatch.setattr("l1ad.prove.columns.MAX_SWEEP", 4)
    statement = last(prove(one_sum(FixedPoint(5, 0))))
    assert (statement.verdict, statement.exact, statement.bound, statement.found) == ("wraps", False, 22, 22)


def test_the_sample_makes_a_weaker_claim():
    network = one_sum(FixedPoint(5, 0))
    certificate = prove(network, sample=ints(1, 0, 2, 1).reshape(2, 2))
    hardware, sample = certificate.claims
    assert (hardware.scope, sample.scope) == ("hardware ranges", "ranges of the sample")
    assert (sample.low, sample.high) == ((1, 0), (2, 1))
    assert (hardware.statements[0].verdict, sample.statements[0].verdict) == ("wraps", "cannot overflow")
    assert (sample.score.low, sample.score.high, sample.score.found, sample.score.witness) == (2, 7, 7, (2, 0))
    assert not check(certificate, network)
    with pytest.raises(ValueError, match="sample must have events"):
        prove(network, sample=np.zeros((0, 2), np.int64))
    with pytest.raises(ValueError, match=r"column 'c0' is 9, outside 0 \.\. 5"):
        prove(network, sample=ints(9, 0)[None])


@pytest.mark.parametrize(("low", "high"), [((0, -4), (5, 4)), ((0, -3), (6, 4)), ((3, 0), (2, 4))])
def test_ranges_outside_the_hardware_are_refused(low, high):
    with pytest.raises(ValueError, match="ranges of the columns must not be empty and must lie inside"):
        bounds(one_sum(INT), ints(*low), ints(*high))


def test_certificates_round_trip_and_print(tmp_path):
    network = one_sum(FixedPoint(5, 0))
    certificate = prove(network)
    save(certificate, tmp_path / "certificate.json")
    assert load(tmp_path / "certificate.json") == certificate
    assert certificate.network == network.digest
    text = "\n".join(lines(certificate))
    assert "wraps for some input: element 0 reaches 22, limit 15\n    input: c0=5 c1=-3\n" in text
    assert "score: raw -16 .. 15 in ap_fixed<5,5,AP_TRN,AP_WRAP>; largest found 15" in text


def test_tampered_certificates_are_refused(tmp_path):
    network = one_sum(FixedPoint(5, 0))
    path = tmp_path / "certificate.json"
    save(prove(network), path)
    document = json.loads(path.read_text())
    document["claims"][0]["statements"][0]["verdict"] = "cannot overflow"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"digest must be .*prove it again"):
        load(path)
    document["format"] = "other/1"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="format must be 'l1ad-certificate/1', not 'other/1'"):
        load(path)


def test_check_says_what_differs():
    network = one_sum(FixedPoint(5, 0))
    certificate = prove(network)
    assert check(certificate, one_sum(FixedPoint(6, 0)))[0].startswith("certificate is about network")
    (claims,) = certificate.claims
    (statement,) = claims.statements
    assert (claims.score.found, statement.found) == (15, 22)

    def changed(**fields):
        statements = (dataclasses.replace(statement, **fields),)
        return dataclasses.replace(certificate, claims=(dataclasses.replace(claims, statements=statements),))

    where = "hardware ranges: score result:"
    assert check(changed(bound=23), network) == (f"{where} bound must be 22, not 23",)
    assert check(changed(witnesses=((5, -2),)), network) == (f"{where} found must be 20, not 22",)
    assert check(changed(witnesses=((6, -3),)), network) == (f"{where} a witness is out of range",)
    narrower = dataclasses.replace(claims, high=(4, 4))
    differences = check(dataclasses.replace(certificate, claims=(narrower,)), network)
    assert differences[0] == "hardware ranges: not those of the network"
    silent = dataclasses.replace(certificate, claims=(dataclasses.replace(claims, statements=()),))
    assert check(silent, network) == ("hardware ranges: statements are not about the casts of the network",)
    higher = dataclasses.replace(claims, score=dataclasses.replace(claims.score, high=16))
    assert check(dataclasses.replace(certificate, claims=(higher,)), network) == (
        "hardware ranges: score must be as replayed",
    )


def test_searches_repeat():
    one, other = (only(prove(bent(out=FixedPoint(4, 0)), seed=3)) for _ in range(2))
    assert [dataclasses.replace(s, seconds=0.0) for s in one.statements] == [
        dataclasses.replace(s, seconds=0.0) for s in other.statements
    ]


def test_a_witness_that_does_not_replay_is_a_bug(monkeypatch):
    honest = search.Found.add

    def boasting(self, exact, events):
        honest(self, exact + (len(events) > 100), events)

    monkeypatch.setattr(search.Found, "add", boasting)
    with pytest.raises(RuntimeError, match="witnesses of 'score' must show"):
        prove(one_sum(FixedPoint(5, 0)))
