from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from synthesis_designs import dense, synthesised, written

from l1ad.errors import MismatchError, UnsupportedError
from l1ad.fixed import FixedPoint
from l1ad.hardware.synthesis.gates import Circuit, balance, simulate_gates
from l1ad.hardware.synthesis.netlist import Cell, Netlist, read

CLOCKED = {"C": (2,), "CE": (1,)}


def events(design, n, rng):
    """Random events, the corners first."""
    kinds = [FixedPoint(port.width, 0, port.signed) for port in design.inputs]
    low, high = (np.array([getattr(kind, end) for kind in kinds]) for end in ("min_raw", "max_raw"))
    x = rng.integers(low, high + 1, (n, len(kinds)))
    x[0], x[1], x[2] = low, high, 0
    return x


def netlist(cells, inputs, outputs):
    return Netlist("n.json", "top", inputs, outputs, tuple(cells), {})


def computed(cell, inputs, outputs, values):
    """What one cell gives for `values` of its inputs, by a circuit of as many streams."""
    circuit = Circuit(netlist([cell], inputs, outputs), len(next(iter(values.values()))))
    return circuit.clock({name: np.array(value) for name, value in values.items()})


@pytest.mark.parametrize("size", range(1, 7))
def test_a_lut_is_its_table(size, rng):
    every = np.arange(1 << size)
    for _ in range(20):
        table = rng.integers(0, 2, 1 << size)
        init = "".join(map(str, table[::-1]))
        cell = Cell("l", f"LUT{size}", {"INIT": init}, {f"I{i}": (2 + i,) for i in range(size)}, {"O": (9,)})
        made = computed(cell, {"a": tuple(range(2, 2 + size))}, {"y": (9,)}, {"a": every})
        np.testing.assert_array_equal(made["y"], table)


def test_a_carry_cell_adds():
    a, b, c = np.array(list(product(range(16), range(16), range(2)))).T
    pins = {"S": (2, 3, 4, 5), "DI": (6, 7, 8, 9), "CI": (10,), "CYINIT": (0,)}
    cell = Cell("c", "CARRY4", {}, pins, {"O": (11, 12, 13, 14), "CO": (15, 16, 17, 18)})
    inputs, outputs = {"s": pins["S"], "d": pins["DI"], "c": (10,)}, {"sum": (11, 12, 13, 14, 18)}
    np.testing.assert_array_equal(computed(cell, inputs, outputs, {"s": a ^ b, "d": a, "c": c})["sum"], a + b + c)
    start = replace(cell, inputs={**pins, "CI": (0,), "CYINIT": (10,)})
    np.testing.assert_array_equal(computed(start, inputs, outputs, {"s": a ^ b, "d": a, "c": c})["sum"], a + b + c)
    blind = replace(cell, outputs={"CO": (15, 16, 17, 18)})
    made = computed(blind, inputs, {"carry": (18,)}, {"s": a ^ b, "d": a, "c": c})
    np.testing.assert_array_equal(made["carry"], (a + b + c) >> 4)


@pytest.mark.parametrize("kind", ["MUXF7", "MUXF8", "MUXF9"])
def test_a_multiplexer_chooses(kind):
    every = np.arange(8)
    cell = Cell("m", kind, {}, {"I0": (2,), "I1": (3,), "S": (4,)}, {"O": (5,)})
    made = computed(cell, {"a": (2, 3, 4)}, {"y": (5,)}, {"a": every})
    np.testing.assert_array_equal(made["y"], np.where(every & 4, every >> 1 & 1, every & 1))


def test_registers_hold_reset_set_and_shift():
    def flop(name, kind, q, **pins):
        return Cell(name, kind, {"INIT": "x"}, {**CLOCKED, "D": (3,), **pins}, {"Q": (q,)})

    shift = {"CLK": (2,), "CE": (1,), "D": (3,), "A0": (0,), "A1": (1,), "A2": (0,), "A3": (0,)}
    cells = [
        flop("plain", "FDRE", 6, R=(0,)),
        flop("reset", "FDRE", 7, R=(4,)),
        flop("set", "FDSE", 8, S=(4,)),
        flop("held", "FDRE", 9, CE=(5,), R=(0,)),
        flop("quiet", "FDCE", 10, CLR=(0,)),
        Cell("shift", "SRL16E", {"INIT": "0000000000000101"}, shift, {"Q": (11,)}),
    ]
    inputs = {"clk": (2,), "d": (3,), "rst": (4,), "hold": (5,)}
    circuit = Circuit(netlist(cells, inputs, {"q": (6, 7, 8, 9, 10, 11)}), 1)
    d, rst, hold = [1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0], [1, 0, 0, 1, 1, 1]
    made = [
        circuit.clock({"d": np.array(a), "rst": np.array(b), "hold": np.array(c)})["q"][0]
        for a, b, c in zip(d, rst, hold, strict=True)
    ]
    bits = np.array([[q >> i & 1 for i in range(6)] for q in made]).T
    assert bits[0, 1:].tolist() == [1, 0, 1, 1, 0]
    assert bits[1, 1:].tolist() == [1, 0, 0, 1, 0]
    assert bits[2, 1:].tolist() == [1, 0, 1, 1, 0]
    assert bits[3, 1:].tolist() == [1, 1, 1, 1, 0]
    assert bits[4, 1:].tolist() == [1, 0, 1, 1, 0]
    assert bits[5].tolist() == [1, 0, 1, 1, 0, 1]  # INIT[2], INIT[1], INIT[0], then d of three clocks ago


@pytest.fixture(scope="module")
def small(tmp_path_factory, require):
    """Some hundred adders in three stages: design, what it computes, netlists of both modes."""
    require("yosys")
    design, compute = dense((12, 8, 4), 4)
    folder = tmp_path_factory.mktemp("synthesis")
    made = {fast: synthesised(folder, design, fast=fast) for fast in (True, False)}
    return design, compute, {fast: read(synthesis.netlist, design.top) for fast, synthesis in made.items()}


@pytest.mark.parametrize("fast", [True, False])
def test_the_netlist_is_the_design(small, fast, rng):
    design, compute, netlists = small
    x = events(design, 50_000, rng)
    expected = compute(x)
    for threshold in (0, int(np.median(expected)), int(expected.max()), int(expected.max()) + 1):
        score, accept = simulate_gates(netlists[fast], design, x, threshold)
        np.testing.assert_array_equal(score, expected)
        np.testing.assert_array_equal(accept, expected >= threshold)


@pytest.mark.parametrize("n", [1, 3, 63, 64, 65, 1000])
def test_any_number_of_events(small, n, rng):
    design, compute, netlists = small
    x = events(design, max(n, 3), rng)[:n]
    np.testing.assert_array_equal(simulate_gates(netlists[True], design, x, 0)[0], compute(x))


def test_no_events(small):
    design, _, netlists = small
    score, accept = simulate_gates(netlists[True], design, np.zeros((0, 12), np.int64), 0)
    assert (score.shape, score.dtype, accept.shape, accept.dtype) == ((0,), np.int64, (0,), bool)


@pytest.mark.parametrize("fast", [True, False])
def test_the_pipeline_is_balanced(small, fast):
    design, _, netlists = small
    assert balance(netlists[fast], design) == design.latency_cycles


def test_every_altered_table_is_seen(small, rng):
    design, compute, netlists = small
    found = netlists[True]
    x = events(design, 5000, rng)
    expected = compute(x)
    luts = [i for i, cell in enumerate(found.cells) if cell.kind == "LUT2"]
    seen = 0
    for i in rng.choice(luts, 20, replace=False):
        cell = found.cells[i]
        init = "".join("10"[int(bit)] for bit in cell.parameters["INIT"])
        broken = replace(cell, parameters={"INIT": init})
        altered = replace(found, cells=(*found.cells[:i], broken, *found.cells[i + 1 :]))
        try:
            score, accept = simulate_gates(altered, design, x, int(np.median(expected)))
        except MismatchError:  # it was a gate of valid_out
            seen += 1
            continue
        seen += bool((score != expected).any() or (accept != (expected >= np.median(expected))).any())
    assert seen == 20


def test_latency_is_the_netlists_own(small, rng):
    design, _, netlists = small
    for wrong in (-1, 1):
        other = replace(design, latency_cycles=design.latency_cycles + wrong)
        with pytest.raises(MismatchError, match=r"valid_out must be [01] in all streams"):
            simulate_gates(netlists[True], other, events(design, 100, rng), 0)
        with pytest.raises(MismatchError, match=rf"must be {other.latency_cycles} registers behind the inputs"):
            balance(netlists[True], other)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda x: x.astype(np.int32), TypeError, "raw inputs must be int64, not int32"),
        (lambda x: x[:, :-1], ValueError, r"inputs must be of shape \(n_events, 12\), not \(100, 11\)"),
        (lambda x: x + 1, ValueError, r"x\d must lie in -128..127, not -?\d+..128"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(small, rng, change, error, text):
    design, _, netlists = small
    with pytest.raises(error, match=text):
        simulate_gates(netlists[True], design, change(events(design, 100, rng)), 0)


def test_a_threshold_that_does_not_fit_is_refused(small, rng):
    design, _, netlists = small
    with pytest.raises(ValueError, match="threshold must lie in"):
        simulate_gates(netlists[True], design, events(design, 100, rng), 1 << design.score.width)


PIPELINE = """
  {data}
  reg [{last}:0] valid;
  always @(posedge clk) begin
    valid <= rst ? 0 : {{valid, valid_in}};
    valid_out <= !rst && valid[{last}];
    score <= {score};
    accept <= !rst && valid[{last}] && $signed({score}) >= threshold;
  end
"""


def pipeline(data, score, latency, inputs, width):
    return written(PIPELINE.format(data=data, score=score, last=latency - 2), inputs, width, latency)


@pytest.mark.parametrize("fast", [True, False])
def test_tables_products_shift_registers_and_resets(tmp_path, require, rng, fast):
    require("yosys")
    table = rng.integers(-30, 31, 64)
    cases = "".join(f"6'd{i}: looked <= {entry};" for i, entry in enumerate(table))
    data = f"""
      reg signed [5:0] a, b; reg signed [5:0] looked; reg signed [11:0] product; reg signed [6:0] kept;
      reg signed [5:0] l1, l2, l3, l4, l5; reg signed [11:0] p1, p2, p3, p4, p5; reg signed [6:0] k1, k2, k3, k4, k5;
      always @(posedge clk) begin
        a <= x; b <= y;
        case (a) {cases} endcase
        product <= b * b;
        kept <= a + b < 0 ? 0 : a + b;
        {{l5, l4, l3, l2, l1}} <= {{l4, l3, l2, l1, looked}};
        {{p5, p4, p3, p2, p1}} <= {{p4, p3, p2, p1, product}};
        {{k5, k4, k3, k2, k1}} <= {{k4, k3, k2, k1, kept}};
      end"""
    design = pipeline(data, "(l5 + p5 + k5)", 8, {"x": 6, "y": 6}, 14)
    synthesis = synthesised(tmp_path, design, fast=fast)
    assert (synthesis.lut_memory > 0) == (not fast)
    found = read(synthesis.netlist, design.top)
    assert balance(found, design) == 8
    x = events(design, 4096, rng)
    expected = table[x[:, 0] & 63] + x[:, 1] ** 2 + np.maximum(x.sum(1), 0)
    score, accept = simulate_gates(found, design, x, 300)
    np.testing.assert_array_equal(score, expected)
    np.testing.assert_array_equal(accept, expected >= 300)


def refused(tmp_path, require, data, score, latency=3):
    require("yosys")
    design = pipeline(data, score, latency, {"x": 6, "y": 6}, 8)
    return read(synthesised(tmp_path, design, fast=True).netlist, design.top), design


def test_an_unbalanced_cell_is_named(tmp_path, require):
    data = "reg signed [5:0] a, b, late; always @(posedge clk) begin a <= x; b <= y; late <= b; end"
    found, design = refused(tmp_path, require, data, "(a + late)")
    with pytest.raises(
        MismatchError, match=r"cell '.*' \((LUT\d|CARRY4)\) must join paths of one length, not 1 .*and 2"
    ):
        balance(found, design)


def test_data_that_overtakes_valid_is_named(tmp_path, require):
    data = "reg signed [5:0] a, b; always @(posedge clk) begin a <= x; b <= y; end"
    found, design = refused(tmp_path, require, data, "(a + b)")
    with pytest.raises(MismatchError, match=r"must join paths of one length|score.* must be 3 registers behind"):
        balance(found, design)


def test_a_register_with_an_enable_is_named(tmp_path, require):
    data = """reg signed [5:0] a, b, c, d; always @(posedge clk) begin
      a <= x; b <= y; if (valid_in) c <= a; d <= b; end"""
    found, design = refused(tmp_path, require, data, "(c + d)")
    with pytest.raises(MismatchError, match=r"\(FDRE\) must take a value at every clock, and has an enable|one length"):
        balance(found, design)


def test_a_sum_over_clocks_is_named(tmp_path, require):
    data = "reg signed [5:0] a; reg signed [7:0] s; always @(posedge clk) begin a <= x + y; s <= s + a; end"
    found, design = refused(tmp_path, require, data, "s")
    with pytest.raises(UnsupportedError, match="must not depend on its own output"):
        balance(found, design)


@pytest.mark.parametrize(
    ("event", "reset"), [("negedge clk", "rst"), ("posedge clk or posedge rst", "rst"), ("posedge valid_in", "0")]
)
def test_other_clocks_are_refused(tmp_path, require, event, reset):
    data = f"reg signed [5:0] a; always @({event}) if ({reset}) a <= 0; else a <= x + y;"
    found, design = refused(tmp_path, require, data, "a", 2)
    with pytest.raises(UnsupportedError, match=r"must be clocked by the rising edge of clk alone|is not modelled"):
        balance(found, design)
    with pytest.raises(UnsupportedError, match=r"must be clocked by the rising edge of clk alone|is not modelled"):
        simulate_gates(found, design, np.zeros((4, 2), np.int64), 0)


def test_a_valid_chain_without_reset_is_seen(tmp_path, require, rng):
    require("yosys")
    body = """reg signed [5:0] a; reg v; always @(posedge clk) begin
      a <= x; v <= valid_in; score <= a; valid_out <= v; accept <= v && a >= threshold; end"""
    design = written(body, {"x": 6}, 6, 2)
    found = read(synthesised(tmp_path, design, fast=True).netlist, design.top)
    assert balance(found, design) == 2
    with pytest.raises(MismatchError, match="at clock 1, valid_out must be 0"):
        simulate_gates(found, design, events(design, 100, rng), 0)


def test_a_shift_register_of_variable_length_is_refused():
    pins = {"CLK": (2,), "CE": (1,), "D": (3,), "A0": (4,), "A1": (0,), "A2": (0,), "A3": (0,)}
    cell = Cell("s", "SRL16E", {}, pins, {"Q": (5,)})
    with pytest.raises(UnsupportedError, match=r"cell 's' \(SRL16E\) must be of constant length"):
        Circuit(netlist([cell], {"clk": (2,), "d": (3,), "a": (4,)}, {"q": (5,)}), 64)
