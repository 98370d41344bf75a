from dataclasses import replace

import numpy as np
import pytest

from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge
from l1ad.prove import minimise as module
from l1ad.prove import minimise_neurons
from l1ad.prove.bounds import bounds
from l1ad.prove.minimise import Proofs, minimise
from l1ad.prove.minimise_neurons import Pair
from l1ad.prove.minimise_types import narrowed
from l1ad.prove.ranges import Range

INT8 = FixedPoint(8, 0)
WIDE = FixedPoint(30, 0)
SCORE = FixedPoint(24, 0)
RELU = FixedPoint(8, 0, False, "TRN", "SAT")


def trigger(*ranges, out=INT8):
    names = tuple(f"column{i}" for i in range(len(ranges)))
    low, high = np.array(ranges).T.copy()
    return Input("trigger", names, low, high, out)


def dense(name, x, weight, bias=None, out=WIDE, product=None, weight_type=INT8):
    weight = np.array(weight)
    bias = np.zeros(weight.shape[1], np.int64) if bias is None else np.array(bias)
    return Dense(name, x, weight, weight_type, bias, FixedPoint(12, 0), product, out)


def require_same(network, found):
    low, high = network.input.low, network.input.high
    rng = np.random.default_rng(1)
    x = rng.integers(low, high, (5000, len(low)), endpoint=True)
    np.testing.assert_array_equal(reference.emulate(found.network, x), reference.emulate(network, x))
    assert found.network.score.out == network.score.out


def smaller(*operations):
    network = Network(operations)
    found = minimise(network)
    require_same(network, found)
    return found


def texts(found):
    return [str(step) for step in found.steps]


def test_a_dead_neuron_goes_into_the_bias_of_its_reader():
    # neuron 1 is never positive, neuron 2 is always above what the ReLU holds
    found = smaller(
        trigger((0, 9), (0, 9)),
        dense("hidden", "trigger", [[1, -1, 1], [2, -2, 1]], [0, 0, 300]),
        Cast("relu", "hidden", RELU),
        dense("score", "relu", [[3], [5], [2]], [7], SCORE),
    )
    assert texts(found)[:2] == [
        "score: 2 weights of what is constant (bounds)",
        "hidden: elements 1, 2 (read by nobody)",
    ]
    assert found.network["hidden"].weight.tolist() == [[1], [2]]
    assert found.network["score"].weight.tolist() == [[3]]
    score = found.network["score"]
    assert score.bias[0] * score.bias_type.lsb == 7 + 2 * 255
    assert (found.before.elements, found.after.elements) == (7, 2)


def test_a_constant_is_cast_to_the_type_of_the_products_before_it_joins_the_bias():
    product = FixedPoint(8, -2)  # drops two bits of each product
    found = smaller(
        trigger((5, 5), (-9, 9)),
        dense("score", "trigger", [[7], [3]], [6], SCORE, product),
    )
    score = found.network["score"]
    assert score.weight.ravel().tolist() == [0, 3]
    assert score.bias[0] * score.bias_type.lsb == 4 * (35 // 4 + 6 // 4)


def test_a_constant_stays_where_the_bias_would_leave_the_type_of_the_products():
    product = FixedPoint(4, 0, overflow="SAT")
    found = smaller(trigger((5, 5), (-9, 9)), dense("score", "trigger", [[1], [1]], [6], SCORE, product))
    assert np.count_nonzero(found.network["score"].weight) == 2


def test_what_nobody_reads_goes_through_chains_of_element_wise_operations():
    table = np.arange(256, dtype=np.int64) * 3 - 100
    found = smaller(
        trigger((0, 100), (-100, 100)),
        dense("left", "trigger", [[1, 1, 2], [0, 1, 1]], out=SCORE),
        dense("right", "trigger", [[0, 1, 3], [1, 0, 0]], out=SCORE),
        Merge("both", "add", "left", "right", SCORE),
        dense("gate", "trigger", [[1, 0, 1], [0, 1, 1]], out=SCORE),
        Mask("present", "both", "gate", np.array([2, 0, 1]), SCORE),
        Affine("scaled", "present", np.array([1, 2, 3]), INT8, np.array([4, 5, 6]), INT8, SCORE),
        Cast("address", "scaled", FixedPoint(8, 0, False, "TRN", "SAT")),
        Lookup("table", "address", table, FixedPoint(11, 0)),
        dense("score", "table", [[1], [0], [2]], out=SCORE),
    )
    network = found.network
    for name in ("left", "right", "both", "present", "scaled", "address", "table"):
        assert f"{name}: element 1 (read by nobody)" in texts(found)
    assert "gate: element 0 (read by nobody)" in texts(found)
    assert network["present"].index.tolist() == [1, 0]
    assert network.input.columns == ("column0", "column1")


def test_columns_of_the_input_stay_and_are_reported():
    found = smaller(
        trigger((0, 9), (0, 9), (3, 3)),
        Affine("scaled", "trigger", np.array([2, 2, 2]), INT8, np.array([1, 1, 1]), INT8, INT8),
        dense("score", "scaled", [[1], [0], [1]], out=SCORE),
    )
    assert found.unused == ("column1", "column2")
    assert found.network.flows["scaled"].size == 3
    assert str(found).endswith("; unused columns: column1, column2")


def test_a_filter_goes_only_if_it_is_dead_in_every_window():
    kernel = np.array([[[[1, -1, 1]]]])  # of one pixel and one channel, three filters
    image = Convolution(
        "image", "trigger", (1, 2, 1), kernel, INT8, np.array([0, 0, -9]), INT8, (1, 1), (0, 0, 0, 0), None, RELU
    )
    score = dense("score", "image", np.arange(1, 7)[:, None], out=SCORE)
    found = smaller(trigger((0, 9), (0, 50)), image, score)
    # filter 1 is negative; filter 2 is dead in the first window alone, whose weight is 0 now
    assert found.network["image"].weight.shape == (1, 1, 1, 2)
    assert found.network["score"].weight.ravel().tolist() == [1, 0, 4, 6]


def test_channels_of_an_image_go_together():
    first = Convolution(
        "first",
        "trigger",
        (1, 3, 1),
        np.array([[[[1, 2]]]]),
        INT8,
        np.zeros(2, np.int64),
        INT8,
        (1, 1),
        (0, 0, 0, 0),
        None,
        RELU,
    )
    kernel = np.array([[[[1], [0]], [[2], [0]]]])  # two pixels of two channels, of which it reads one
    second = Convolution(
        "second", "first", (1, 3, 2), kernel, INT8, np.zeros(1, np.int64), INT8, (1, 1), (0, 0, 1, 0), None, WIDE
    )
    found = smaller(
        trigger((0, 9), (0, 9), (0, 9)), first, second, dense("score", "second", [[1], [1], [1]], out=SCORE)
    )
    assert found.network["second"].shape == (1, 3, 1)
    assert "first: elements 1, 3, 5 (read by nobody)" in texts(found)


def test_padding_counts_as_zero_where_a_channel_is_constant():
    kernel = np.array([[[[1]], [[1]]]])
    image = Convolution(
        "image", "trigger", (1, 1, 1), kernel, INT8, np.zeros(1, np.int64), INT8, (1, 1), (0, 0, 1, 1), None, WIDE
    )
    found = smaller(trigger((4, 4)), image, dense("score", "image", [[1], [2]], out=SCORE))
    assert found.network["score"].x == "trigger"  # a constant score


def test_products_that_are_always_zero_leave_a_sum_of_products():
    found = smaller(
        trigger((0, 9), (0, 9)),
        dense("hidden", "trigger", [[1, -1], [1, -1]], out=RELU),
        Dot("score", "hidden", "hidden", None, SCORE),
    )
    assert found.network.flows["hidden"].size == 1
    assert found.after.weights == 2


def test_a_constant_score_reads_nothing():
    found = smaller(
        trigger((0, 9), (0, 9)),
        dense("hidden", "trigger", [[-1], [-1]], out=RELU),
        Cast("score", "hidden", SCORE),
    )
    assert "score: what 1 constant element read (bounds)" in texts(found)
    assert [type(o) for o in found.network.operations] == [Input, Dense]
    assert found.after.weights == 0
    assert found.unused == ("column0", "column1")


def test_a_weight_below_what_the_cast_keeps_is_found_by_trying_everything():
    found = smaller(
        trigger((0, 3), (0, 15)), dense("score", "trigger", [[1], [4]], out=FixedPoint(8, -2))
    )  # x / 4 + y, rounded down
    assert "score: what neuron 0 makes of element 0 (exhaustive: 64 cases)" in texts(found)
    assert found.network["score"].weight.ravel().tolist() == [0, 1]


def test_a_weight_is_looked_at_behind_the_cast_that_follows():
    found = smaller(
        trigger((0, 3), (0, 15)),
        dense("hidden", "trigger", [[1], [4]], out=FixedPoint(7, 0, False)),
        Cast("rounded", "hidden", FixedPoint(8, -2, overflow="SAT")),
        dense("score", "rounded", [[5]], out=SCORE),
    )
    assert found.after.weights == 2


def test_a_weight_is_found_by_z3_where_there_are_too_many_cases(require):
    require("z3")
    columns = [(0, 3), *[(-99, 99)] * 9]
    weight = [[1], *[[4 * n] for n in range(1, 10)]]
    found = smaller(trigger(*columns), dense("score", "trigger", weight, out=FixedPoint(20, -2)))
    assert "score: what neuron 0 makes of element 0 (z3)" in texts(found)


def test_a_weight_that_changes_one_event_stays():
    found = smaller(trigger((0, 4), (0, 15)), dense("score", "trigger", [[1], [4]], out=FixedPoint(8, -2)))
    assert found.after.weights == 2


def ends(low, high, frac=0):
    return Range(np.array([low], object), np.array([high], object), frac)


@pytest.mark.parametrize(
    ("kind", "low", "high", "bits", "expected"),
    [
        (FixedPoint(8, 0, True, "RND", "SAT"), -3, 3, 0, FixedPoint(3, 0)),  # nothing rounds, nothing saturates
        (FixedPoint(8, 0), 0, 3, 0, FixedPoint(2, 0, False)),
        (FixedPoint(8, 0), -8, -1, 0, FixedPoint(4, 0)),
        (FixedPoint(8, 2), -3, 3, 0, FixedPoint(3, 0)),  # low bits that are always 0
        (FixedPoint(8, 0), -40, 40, 3, FixedPoint(4, -3)),
        # the limit at which it saturates stays
        (FixedPoint(8, 0, overflow="SAT"), -3, 200, 0, FixedPoint(8, 0, overflow="SAT")),
        (FixedPoint(8, 0, overflow="SAT"), 0, 200, 0, FixedPoint(7, 0, False, overflow="SAT")),
        (FixedPoint(8, 0, overflow="SAT"), 0, 200, 3, FixedPoint(7, 0, False, overflow="SAT")),  # 127 is no multiple
        (FixedPoint(8, 0, overflow="SAT"), -200, 40, 3, FixedPoint(5, -3, overflow="SAT")),  # -128 is
        (FixedPoint(8, 0, overflow="SAT_SYM"), -200, 40, 3, FixedPoint(8, 0, overflow="SAT_SYM")),
        # a ReLU stays one
        (FixedPoint(8, 0, False, "RND", "SAT"), -99, 9, 0, FixedPoint(4, 0, False, "TRN", "SAT")),
        (FixedPoint(8, 0, False, "RND", "SAT_ZERO"), -99, 9, 0, FixedPoint(4, 0, False, "TRN", "SAT_ZERO")),
        # what wraps keeps its modulus, and may lose low bits
        (FixedPoint(8, 0), -3, 200, 0, FixedPoint(8, 0)),
        (FixedPoint(8, 0), -3, 200, 2, FixedPoint(6, -2)),
        (FixedPoint(8, 0, overflow="SAT_ZERO"), 0, 200, 2, FixedPoint(5, -2, False, overflow="SAT_ZERO")),
        # SAT_SYM changes its own lowest number
        (FixedPoint(4, 0, overflow="SAT_SYM"), -8, 7, 0, FixedPoint(4, 0, overflow="SAT_SYM")),
        (FixedPoint(4, 0, overflow="SAT_SYM"), -4, 3, 0, FixedPoint(3, 0)),
        # every multiple but 0 overflows
        (FixedPoint(5, 0, overflow="SAT_ZERO"), -32, 32, 5, FixedPoint(5, 0, overflow="SAT_ZERO")),
        # bits that are rounded away keep their mode
        (FixedPoint(8, -2, rounding="RND"), 0, 9, 0, FixedPoint(2, -2, False, "RND")),
    ],
)
def test_types_narrow_to_what_is_used(kind, low, high, bits, expected):
    assert narrowed(kind, ends(low, high), bits) == expected


def test_types_of_constants_and_results_narrow_but_not_of_input_and_score():
    found = smaller(
        trigger((-3, 3)),
        dense("hidden", "trigger", [[4, -8]], [-16, 0], out=FixedPoint(30, 2)),
        Affine("scaled", "hidden", np.array([1, 3]), INT8, np.array([2, 2]), INT8, WIDE),
        Dot("score", "scaled", "scaled", None, FixedPoint(40, 5)),
    )
    hidden, score = found.network["hidden"], found.network["score"]
    assert hidden.weight.tolist() == [[1, -2]]
    assert hidden.weight_type == FixedPoint(2, -2)
    assert hidden.bias_type == FixedPoint(1, -4)
    assert hidden.out == FixedPoint(4, -2)  # -28 .. 24, in fours
    assert found.network["scaled"].scale_type == FixedPoint(2, 0, False)
    assert found.network.input.out == INT8
    assert score.out == FixedPoint(40, 5)
    assert "hidden: weight ap_fixed<8,8,AP_TRN,AP_WRAP> -> ap_fixed<2,4,AP_TRN,AP_WRAP> (bounds)" in texts(found)


def test_products_lose_their_type_only_if_they_lose_nothing_by_it():
    layer = dense("score", "trigger", [[5], [7]], [3], SCORE, FixedPoint(16, 0, overflow="SAT"))
    assert smaller(trigger((-9, 9), (-9, 9)), layer).network["score"].product is None
    for lossy in (FixedPoint(16, -1), FixedPoint(6, 0, overflow="SAT"), FixedPoint(6, 0)):
        found = smaller(trigger((-9, 9), (-9, 9)), replace(layer, product=lossy))
        assert found.network["score"].product is not None


def test_a_table_follows_the_type_of_its_address():
    table = np.arange(256, dtype=np.int64) % 7 * 4
    found = smaller(
        trigger((-9, 9)),
        dense("address", "trigger", [[4]], out=INT8),
        Lookup("table", "address", table, INT8),
        dense("score", "table", [[3]], out=SCORE),
    )
    address, lookup = found.network["address"], found.network["table"]
    assert address.out == FixedPoint(5, -2)
    assert lookup.table.shape == (32,)
    assert lookup.out == FixedPoint(3, -2, False)


def test_an_accumulator_that_loses_nothing_becomes_the_cast_after_it():
    found = smaller(
        trigger((-9, 9)),
        dense("hidden", "trigger", [[3, 5]]),
        Cast("relu", "hidden", FixedPoint(3, -1, False, "RND", "SAT")),
        Dot("score", "relu", "relu", None, SCORE),
    )
    assert texts(found)[0] == "hidden: the cast to ap_fixed<30,30,AP_TRN,AP_WRAP>, which loses nothing (bounds)"
    assert [o.name for o in found.network.operations] == ["trigger", "relu", "score"]


@pytest.mark.parametrize("accumulator", [FixedPoint(5, 0), FixedPoint(5, 0, overflow="SAT"), FixedPoint(9, -1)])
def test_an_accumulator_that_loses_something_stays(accumulator):
    found = smaller(
        trigger((-9, 9)),
        dense("hidden", "trigger", [[3, 5]], out=accumulator),
        Cast("relu", "hidden", FixedPoint(3, -2, False, "RND", "SAT")),
        Dot("score", "relu", "relu", None, SCORE),
    )
    assert {"hidden", "relu"} <= set(found.network.flows)


def test_a_cast_that_loses_nothing_goes_unless_a_table_reads_it():
    layer, cast = dense("hidden", "trigger", [[3, 7]], out=FixedPoint(5, 0, overflow="SAT")), FixedPoint(12, 2)
    product = Dot("score", "cast", "hidden", None, SCORE)
    found = smaller(trigger((-9, 9)), layer, Cast("cast", "hidden", cast), product)
    assert [o.name for o in found.network.operations] == ["trigger", "hidden", "score"]
    table = Lookup("table", "cast", np.arange(1 << 12), FixedPoint(13, 0))
    found = smaller(
        trigger((-9, 9)), layer, Cast("cast", "hidden", cast), table, Dot("score", "table", "hidden", None, SCORE)
    )
    assert "cast" in found.network.flows


def test_an_operation_that_only_casts_is_one():
    ones = np.ones(2, np.int64)
    found = smaller(
        trigger((1, 9), (-9, 9)),
        Mask("present", "trigger", "trigger", np.array([0, 0]), FixedPoint(12, 2)),
        Affine("same", "present", 4 * ones, FixedPoint(4, 2), 0 * ones, INT8, FixedPoint(12, 2)),
        dense("score", "same", [[1], [2]], out=SCORE),
    )
    assert "present: the Mask, which only casts (bounds)" in texts(found)
    assert "same: the Affine, which only casts (bounds)" in texts(found)
    assert [o.name for o in found.network.operations] == ["trigger", "score"]


def test_a_network_without_anything_to_drop_stays():
    network = Network((trigger((-128, 127)), Cast("score", "trigger", FixedPoint(4, 0))))
    found = minimise(network)
    assert found.network == network
    assert not found.steps
    assert found.before == found.after
    assert found.proofs == Proofs(0, 0, 0)


def test_a_faulty_rewrite_is_noticed(monkeypatch):
    def faulty(draft, _known):
        operations = [replace(o, bias=o.bias + 1) if isinstance(o, Dense) else o for o in draft.network.operations]
        return draft.then(operations, [module.Step("score", "a mistake", "none")] if not draft.steps else [])

    monkeypatch.setattr(module, "REWRITES", (faulty,))
    network = Network((trigger((-9, 9)), dense("score", "trigger", [[3]], out=SCORE)))
    with pytest.raises(MismatchError, match=r"network = minimised network: .* first at event 0, operation 'score'"):
        minimise(network)


def pair_of(network, other):
    numbers = {o.name: np.arange(network.flows[o.name].size) for o in network.operations}
    return Pair(network, bounds(network), other, bounds(other), numbers, frozenset())


@pytest.mark.parametrize("columns", [1, 20])
@pytest.mark.parametrize("product", [None, FixedPoint(12, -1)])
def test_neurons_are_told_apart(columns, product, require):
    weight = np.arange(1, 2 * columns + 1).reshape(columns, 2)
    layer = dense("hidden", "trigger", weight, out=RELU, product=product)
    wrong = replace(layer, weight=weight + np.eye(columns, 2, dtype=np.int64))  # neuron 0 or both
    tail = dense("score", "hidden", [[1], [1]], out=SCORE)
    networks = [Network((trigger(*[(-99, 99)] * columns), each, tail)) for each in (layer, wrong)]
    same, other = pair_of(networks[0], networks[0]), pair_of(*networks)
    if columns > 1:
        require("z3")
        assert same.same("hidden", 0) == "z3"
    else:
        assert same.same("hidden", 0) == "exhaustive: 199 cases"
    assert other.same("hidden", 0) is None
    assert other.same("score", 0).startswith("exhaustive: ")  # what it reads is compared by itself


def test_without_z3_the_bounds_remain(monkeypatch, require):
    operations = (
        trigger(*[(-99, 99)] * 5),
        dense("hidden", "trigger", np.arange(1, 6)[:, None]),
        Cast("score", "hidden", FixedPoint(8, -3, False, "RND", "SAT")),
    )
    require("z3")
    assert minimise(Network(operations)).proofs == Proofs(0, 1, 0)
    monkeypatch.setattr(minimise_neurons, "solver", lambda: None)
    found = minimise(Network(operations))
    assert found.proofs == Proofs(0, 0, 1)
    assert "1 elements rewritten, of which 0 proved equal exhaustively, 0 by z3, 1 by the bounds only" in str(found)
