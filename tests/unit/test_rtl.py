"""Graphs of integers equal the reference; what the Verilog of them says is in tests/agreement/test_verilog.py."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from l1ad import fixed
from l1ad.emulate import reference
from l1ad.errors import MismatchError, UnsupportedError
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.run import example
from l1ad.hardware.rtl import build
from l1ad.hardware.rtl.adders import digits, sums, total
from l1ad.hardware.rtl.adders import product as multiplied
from l1ad.hardware.rtl.build import rtl
from l1ad.hardware.rtl.graph import Accumulate, Choose, Column, Constant, Digits, Graph, Shift, Sum, operands
from l1ad.hardware.rtl.lower import cast, lower
from l1ad.hardware.rtl.pipeline import REGISTER_NS, cut, delay_ns, overlap, registers
from l1ad.hardware.rtl.verilog import RESERVED, identifiers
from l1ad.network import Network
from l1ad.operations import Dense, Dot, Input

INT = FixedPoint.parse("ap_int<9>")


def encoder(rng, n=6, hidden=4):
    """A dense layer and the sum of squares."""
    trigger = Input("trigger", tuple(f"x{i}" for i in range(n)), np.full(n, -100), np.full(n, 100), INT)
    weight = rng.integers(-31, 32, (n, hidden))
    kinds = FixedPoint.parse("ap_fixed<6,2>"), FixedPoint.parse("ap_fixed<6,3>")
    out = FixedPoint.parse("ap_fixed<8,6,RND_CONV,SAT>")
    layer = Dense("code", "trigger", weight, kinds[0], rng.integers(-32, 32, hidden), kinds[1], None, out)
    return Network((trigger, layer, Dot("score", "code", "code", None, FixedPoint.parse("ap_ufixed<14,12,TRN,SAT>"))))


def added(graph, last):
    return [n for n in graph.needed(last) if isinstance(graph.nodes[n], Sum)]


def test_digits_are_few_and_make_the_integer():
    for weight in range(-600, 601):
        found = digits(weight)
        assert sum(sign << bit for bit, sign in found) == weight
        bits = [bit for bit, _ in found]
        assert all(b - a >= 2 for a, b in pairwise(bits)), "canonical: no two digits meet"


@pytest.mark.parametrize("size", range(12))
def test_sums_are_the_product_of_matrices(rng, size):
    for _ in range(25):
        n, m = (int(k) for k in rng.integers(1, 4 + size, 2))
        weight, bias = rng.integers(-40, 41, (n, m)), rng.integers(-50, 51, m)
        graph = Graph()
        columns = [graph.column(i, -8, 7) for i in range(n)]
        picked = rng.integers(0, n, n)  # a node may come twice, and constants too
        nodes = [columns[i] if i else graph.constant(3) for i in picked]
        out = sums(graph, nodes, weight.tolist(), bias.tolist())
        x = rng.integers(-8, 8, (40, n))
        seen = np.where(picked, x[:, picked], 3)
        for j, number in enumerate(out):
            np.testing.assert_array_equal(graph.evaluate(x, number), seen @ weight[:, j] + bias[j])


def test_what_outputs_have_in_common_is_added_once():
    graph = Graph()
    x = [graph.column(i, 0, 15) for i in range(4)]
    weight = [[1, 3, 1], [1, 3, 2], [0, 5, 1], [1, 0, 1]]  # x0 + x1 is in the first two
    sums(graph, x, weight, [0, 0, 0])
    naive = sum(sum(len(digits(w)) for w in column) - 1 for column in zip(*weight, strict=True))
    assert sum(isinstance(node, Sum) for node in graph.nodes) < naive
    graph = Graph()
    x = [graph.column(i, 0, 15) for i in range(8)]
    one, other = sums(graph, x, [[5, 10]] * 8, [0, 0])
    assert graph.nodes[other] == Shift(one, -1), "a multiple by 2 is no adder"


def test_the_sum_of_nothing_is_a_constant():
    graph = Graph()
    x = [graph.column(0, 0, 7)]
    zero, seven = sums(graph, x, [[0, 0]], [0, 7])
    assert (graph.value(zero), graph.value(seven)) == (0, 7)
    assert graph.nodes[total(graph, x)] == Column(0)


@pytest.mark.parametrize(("a", "b"), [((-8, 7), (-8, 7)), ((0, 30), (-5, 11)), ((-16, 15), (0, 1)), ((3, 9), (2, 2))])
def test_products_are_exact(a, b):
    x = np.array(list(product(range(a[0], a[1] + 1), range(b[0], b[1] + 1))))
    graph = Graph()
    number = multiplied(graph, graph.column(0, *a), graph.column(1, *b))
    np.testing.assert_array_equal(graph.evaluate(x, number), x[:, 0] * x[:, 1])


@pytest.mark.parametrize("low", [0, -1, -700, -1024, 5])
def test_squares_are_exact(low):
    x = np.arange(low, 1024)[:, None]
    graph = Graph()
    column = graph.column(0, low, 1023)
    number = multiplied(graph, column, column)
    np.testing.assert_array_equal(graph.evaluate(x, number), x[:, 0] ** 2)
    assert graph.low[number] >= 0
    assert graph.high[number] >= 1023**2


@pytest.mark.parametrize(("rounding", "overflow"), list(product(ROUNDING, OVERFLOW)))
def test_casts_are_those_of_fixed(rounding, overflow):
    x = np.arange(-300, 301)[:, None]
    for width, frac, signed in product((1, 2, 5, 12), (-1, 0, 2, 3, 6), (False, True)):
        kind = FixedPoint(width, frac, signed, rounding, overflow)
        graph = Graph()
        number = cast(graph, graph.column(0, -300, 300), 3, kind)
        expected = fixed.cast(x[:, 0], 3, kind)
        np.testing.assert_array_equal(graph.evaluate(x, number), expected, err_msg=str(kind))
        assert graph.low[number] <= expected.min() <= expected.max() <= graph.high[number]


@pytest.mark.parametrize(("interval", "first"), [(1, 0), (2, 300), (3, 400), (7, 500)])
def test_random_networks_are_the_reference(interval, first):
    for number in range(first, first + (300 if interval == 1 else 100)):
        network, x = example(7, number)
        graph, last = lower(network, interval)
        np.testing.assert_array_equal(graph.evaluate(x, last), reference.emulate(network, x), err_msg=str(number))


@pytest.mark.parametrize("interval", [1, 3])
def test_every_node_stays_in_its_range(interval):
    for number in range(40):
        network, x = example(8, number)
        graph, last = lower(network, interval)
        for node in graph.needed(last):
            values = graph.evaluate(x, node)
            assert graph.low[node] <= values.min() <= values.max() <= graph.high[node]


def test_what_is_too_wide_is_refused_by_name():
    graph = Graph(where="code")
    wide = graph.column(0, -(2**40), 2**40)
    with pytest.raises(UnsupportedError, match="RTL has 63 bits, not the more that operation 'code' needs"):
        graph.shift(wide, -22)
    assert graph.width(graph.shift(wide, -21)) == 63


def test_constants_are_folded():
    graph = Graph()
    three, x = graph.constant(3), graph.column(0, 0, 5)
    assert graph.value(graph.sum(three, graph.constant(4), 1, 0)) == 10
    assert graph.value(graph.wrap(graph.constant(9), 3, True)) == 1
    assert graph.value(graph.even(three, graph.constant(8), 2)) == 2
    assert graph.value(graph.column(1, 6, 6)) == 6
    assert graph.value(graph.at_least(x, graph.constant(6))) == 0
    assert graph.choose(graph.at_least(x, graph.constant(0)), three, x) == three
    assert (
        graph.sum(x, graph.constant(0)) == x == graph.shift(x, 0) == graph.saturate(x, 0, 5) == graph.wrap(x, 3, False)
    )
    assert all(isinstance(node, Column | Constant) for node in graph.nodes)


@pytest.mark.parametrize("interval", [1, 4])
@pytest.mark.parametrize("clock_ns", [1.8, 2.5, 5.0, 25.0])
def test_nothing_is_read_before_it_is_there(rng, clock_ns, interval):
    graph, last = lower(encoder(rng), interval)
    pipeline = cut(graph, last, clock_ns)
    ready = {}
    for number, stage in pipeline.stage.items():
        node = graph.nodes[number]
        serial = isinstance(node, Digits | Accumulate)
        stage -= registers(node) if serial else 0
        read = [o for o in operands(node) if graph.value(o) is None]
        assert all(pipeline.stage[o] <= stage for o in read)
        assert stage >= 1 or isinstance(node, Column | Constant), "inputs come from registers"
        start = max((ready[o] for o in read if pipeline.stage[o] == stage), default=0.0)
        ready[number] = start + delay_ns(graph, number)
        assert ready[number] <= clock_ns - REGISTER_NS + 1e-9
        ready[number] *= not serial  # those end in registers
    assert pipeline.latency_cycles > pipeline.stage[last]


def test_a_faster_clock_takes_more_clocks_and_may_be_too_fast(rng):
    graph, last = lower(encoder(rng))
    cycles = [cut(graph, last, clock).latency_cycles for clock in (25.0, 5.0, 2.5, 1.8)]
    assert cycles == sorted(cycles)
    assert cycles[0] == 2
    with pytest.raises(
        ValueError, match=r"clock_ns must be at least 1\.\d+ for code_t\d+, not 0\.5; take a slower clock"
    ):
        cut(graph, last, 0.5)


def test_digits_are_accumulated_to_what_they_are_of():
    graph, x = Graph(), np.arange(-37, 30)[:, None]
    for bits, count in ((1, 7), (2, 4), (3, 3), (7, 1)):
        made = graph.accumulate(graph.digits(graph.column(0, -37, 29), bits, count), bits, count, -64)
        np.testing.assert_array_equal(graph.evaluate(x, made), x[:, 0], err_msg=f"{count} of {bits} bits")
    assert graph.value(graph.accumulate(graph.constant(2), 2, 3, 5)) == 2 * (16 + 4 + 1) + 5


def test_logic_that_is_used_again_is_smaller_and_later(rng):
    network = encoder(rng, 20, 10)
    bits, cycles = [], []
    for interval in (1, 2, 4):
        graph, last = lower(network, interval)
        bits.append(sum(overlap(graph, graph.nodes[n], n) for n in added(graph, last)))
        cycles.append(cut(graph, last, 5.0).latency_cycles)
        design = rtl(network, 5.0, interval=interval)
        assert (design.interval_cycles, design.latency_cycles) == (interval, cycles[-1])
    assert bits[0] > 1.3 * bits[1] > 1.3 * bits[2]
    assert cycles == sorted(cycles)
    graph, last = lower(encoder(rng, 6, 1), 2)
    assert not any(isinstance(graph.nodes[n], Digits) for n in graph.needed(last)), "nothing to be saved"
    with pytest.raises(ValueError, match="interval must be at least a clock, not 0"):
        rtl(network, 5.0, interval=0)


def test_what_does_not_overlap_is_no_adder():
    graph = Graph()
    a, b = graph.column(0, 0, 7), graph.column(1, -9, 9)
    beside = graph.sum(a, b, 0, 3)
    assert overlap(graph, graph.nodes[beside], beside) == 0
    assert delay_ns(graph, beside) == 0
    over = graph.sum(a, b, 0, 2)
    assert overlap(graph, graph.nodes[over], over) == graph.width(over) - 2


def test_identifiers_are_legal_and_differ():
    names = identifiers(["a b", "A_b", "wire", "signal", "3x", "jet.pt[0]", "", "clk", "score", "a__b_"])
    assert names == ["a_b", "A_b_2", "wire_2", "signal_2", "x3x", "jet_pt_0", "x", "clk_2", "score_2", "a_b_3"]
    assert {"reg", "entity", "logic"} <= RESERVED


def test_a_design_says_what_it_is(rng):
    network = encoder(rng)
    design = rtl(network, 5.0, "top")
    assert [(port.name, port.width, port.signed) for port in design.inputs] == [(f"x{i}", 8, True) for i in range(6)]
    assert (design.score.width, design.score.signed, design.interval_cycles) == (14, False, 1)
    text = design.files["top.v"]
    assert text.startswith(f"// Network {network.digest}: {design.latency_cycles} clocks of 5 ns")
    assert design == rtl(network, 5.0, "top"), "always the same text"
    assert design.digest() != rtl(network, 4.0, "top").digest()


def test_columns_that_do_not_count_are_ports_all_the_same(rng):
    network = encoder(rng)
    layer = network.operations[1]
    silent = np.array(layer.weight)
    silent[2] = 0
    design = rtl(Network((network.operations[0], replace(layer, weight=silent), network.operations[2])), 5.0)
    assert "wire [7:0] x2," in design.files["l1ad_score.v"]


def test_a_graph_that_is_not_the_network_is_refused(rng, monkeypatch):
    network = encoder(rng)
    layer = network.operations[1]
    other = Network((network.operations[0], replace(layer, bias=layer.bias ^ 1), network.operations[2]))
    monkeypatch.setattr(build, "lower", lambda _, interval: lower(other, interval))
    with pytest.raises(MismatchError, match=r"RTL of [0-9a-f]{12}: event \d+ scores \d+, not \d+"):
        rtl(network, 5.0)


def test_a_choice_is_by_what_is_not_0():
    graph = Graph()
    x = graph.column(0, -4, 4)
    number = graph.choose(x, graph.constant(1), graph.constant(0))
    assert isinstance(graph.nodes[number], Choose)
    np.testing.assert_array_equal(graph.evaluate(np.arange(-4, 5)[:, None], number), np.arange(-4, 5) != 0)
