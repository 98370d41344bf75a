"""The Verilog of networks, simulated clock by clock, equals the reference: every operation, mode and kind."""

import re
from dataclasses import replace

import numpy as np
import pytest
from native_networks import random_networks

from l1ad.cli import main
from l1ad.compare import corners, random_inputs
from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.fixed import FixedPoint
from l1ad.fuzz.run import EXECUTORS, example
from l1ad.hardware.rtl.build import rtl
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.simulate import lint, simulate
from l1ad.network import Network
from l1ad.operations import Affine, Dense, Dot, Input, Lookup

TOGETHER = 60
"""Networks of one simulation."""
N_EVENTS = 60


def bundle(networks, clock_ns, interval):
    """One design of many: the first column says which network an event is for, the others are that network's."""
    designs = [rtl(network, clock_ns, f"core{i}", interval=interval) for i, network in enumerate(networks)]
    inputs = [[Port(f"x{i}", port.width, port.signed) for i, port in enumerate(design.inputs)] for design in designs]
    width = max(port.width for ports in inputs for port in ports)
    columns = [Port(f"x{i}", width, True) for i in range(max(map(len, inputs)))]
    score = Port("score", max(design.score.width + (not design.score.signed) for design in designs), True)
    latency = max(design.latency_cycles for design in designs) + 1
    lines, choices = [], []
    for i, design in enumerate(designs):
        wide = design.score.width
        wait = latency - 1 - design.latency_cycles
        pins = ", ".join(f".{port.name}(x{j}[{port.width - 1}:0])" for j, port in enumerate(design.inputs))
        lines += [f"wire [{wide - 1}:0] s{i}_0; wire v{i}, a{i};"]
        lines += [
            f"core{i} c{i} (.clk(clk), .rst(rst), .valid_in(valid_in), .threshold({wide}'d0), {pins}, "
            f".valid_out(v{i}), .score(s{i}_0), .accept(a{i}));"
        ]
        lines += [
            f"reg [{wide - 1}:0] s{i}_{k}; always @(posedge clk) s{i}_{k} <= s{i}_{k - 1};" for k in range(1, wait + 1)
        ]
        sign = f"s{i}_{wait}[{wide - 1}]" if design.score.signed else "1'b0"
        extended = f"{{{{{score.width - wide}{{{sign}}}}}, s{i}_{wait}}}" if score.width > wide else f"s{i}_{wait}"
        choices.append(f"which[{latency - 2}] == 16'd{i} ? {extended} :")
    text = f"""
module bundle (input wire clk, input wire rst, input wire valid_in, input wire [{score.width - 1}:0] threshold,
    input wire [15:0] which_in, {", ".join(f"input wire [{width - 1}:0] {port.name}" for port in columns)},
    output wire valid_out, output reg signed [{score.width - 1}:0] score, output reg accept);
    reg [15:0] which [0:{latency - 2}];
    reg [{latency - 1}:0] valid;
    integer k;
    {chr(10).join(lines)}
    wire signed [{score.width - 1}:0] result = {" ".join(choices)} {score.width}'d0;
    assign valid_out = valid[{latency - 1}];
    always @(posedge clk) begin
        which[0] <= which_in;
        for (k = 1; k <= {latency - 2}; k = k + 1) which[k] <= which[k - 1];
        score <= result;
        valid <= rst ? 0 : {{valid[{latency - 2}:0], valid_in}};
        accept <= ~rst & valid[{latency - 2}] & (result >= $signed(threshold));
    end
endmodule
"""
    files = {"bundle.v": text} | {name: each for design in designs for name, each in design.files.items()}
    ports = (Port("which_in", 16, False), *columns)
    return Design("bundle", "", ports, score, clock_ns, latency, interval, files)


def together(networks, clock_ns, interval, rng):
    """Events of all networks in any order, their scores by the design, and those of the reference."""
    design = bundle(networks, clock_ns, interval)
    rows, expected = [], []
    for i, network in enumerate(networks):
        x = np.concatenate([rng.permutation(corners(network))[:N_EVENTS], random_inputs(network, N_EVENTS)[-N_EVENTS:]])
        wide = np.zeros((len(x), len(design.inputs)), np.int64)
        wide[:, 0], wide[:, 1 : 1 + x.shape[1]] = i, x
        rows.append(wide)
        expected.append(reference.emulate(network, x))
    order = rng.permutation(sum(map(len, rows)))
    x, scores = np.concatenate(rows)[order], np.concatenate(expected)[order]
    threshold = int(np.median(scores))
    found = simulate(design, x, threshold)
    np.testing.assert_array_equal(found.accept, found.score >= threshold)
    return x[:, 0], found.score, scores


def require_equal(names, networks, clock_ns, rng, interval=1):
    which, found, expected = together(networks, clock_ns, interval, rng)
    wrong = {names[i] for i in which[found != expected]}
    assert not wrong, f"RTL differs from the reference in {sorted(wrong)}"


NAMED = tuple(random_networks(12))


@pytest.mark.parametrize("part", range(-(-len(NAMED) // TOGETHER)))
def test_every_mode_of_every_kind(part, require, rng):
    require("verilator")
    require("compiler")
    names, networks = zip(*NAMED[part * TOGETHER : (part + 1) * TOGETHER], strict=True)
    require_equal(names, networks, 3.0, rng)


def test_random_networks_at_several_clocks(require, rng):
    require("verilator")
    require("compiler")
    for first, clock_ns in ((0, 2.2), (15, 5.0), (30, 25.0)):
        chosen = range(first, first + 15)
        require_equal([str(n) for n in chosen], [example(11, n)[0] for n in chosen], clock_ns, rng)


@pytest.mark.parametrize(("interval", "clock_ns"), [(2, 5.0), (5, 3.0), (9, 2.5)])
def test_logic_that_is_used_again(interval, clock_ns, require, rng):
    require("verilator")
    require("compiler")
    kinds = NAMED[interval :: 4 * interval]
    chosen = range(20 * interval, 20 * interval + 12)
    names = [*(name for name, _ in kinds), *map(str, chosen)]
    networks = [*(network for _, network in kinds), *(example(11, n)[0] for n in chosen)]
    require_equal(names, networks, clock_ns, rng, interval)


def encoder(rng):
    """Of the shape that triggers have, scaled inputs and rounding to even included, smaller."""
    n, hidden, code = 24, 12, 4
    low, high = np.tile([0, -128, 0], n // 3), np.tile([4095, 127, 143], n // 3)
    trigger = Input("trigger", tuple(f"x{i}" for i in range(n)), low, high, FixedPoint.parse("ap_int<13>"))
    scale, bias = np.tile([1, 8, 8], n // 3), np.zeros(n, np.int64)
    kinds = [FixedPoint.parse(t) for t in ("ap_ufixed<5,-2>", "ap_fixed<6,3>", "ap_fixed<6,2>")]
    inputs = Affine(
        "inputs", "trigger", scale, kinds[0], bias, kinds[1], FixedPoint.parse("ap_fixed<10,6,RND_CONV,SAT>")
    )
    types = [FixedPoint.parse(t) for t in ("ap_ufixed<10,5,RND_CONV,SAT>", "ap_fixed<12,6,RND_CONV,SAT>")]
    sizes, layers = [n, hidden, code], []
    for i, (name, source) in enumerate((("hidden", "inputs"), ("code", "hidden"))):
        weight = rng.integers(-31, 32, sizes[i : i + 2]) * (rng.random(sizes[i : i + 2]) < 0.5)
        layers.append(
            Dense(name, source, weight, kinds[2], rng.integers(-31, 32, sizes[i + 1]), kinds[1], None, types[i])
        )
    score = Dot("score", "code", "code", None, FixedPoint.parse("ap_ufixed<18,14,TRN,SAT>"))
    return Network((trigger, inputs, *layers, score))


@pytest.mark.parametrize("interval", [1, 5])
def test_a_trigger_model_on_many_events(interval, require, rng):
    require("verilator")
    require("compiler")
    network = encoder(rng)
    design = rtl(network, 3.0, interval=interval)
    lint(design)
    x = random_inputs(network, 100_000)
    expected = reference.emulate(network, x)
    threshold = int(np.quantile(expected, 0.9))
    found = simulate(design, x, threshold)
    np.testing.assert_array_equal(found.score, expected)
    np.testing.assert_array_equal(found.accept, expected >= threshold)
    assert found.clocks > len(x)
    assert found.resets
    assert found.lost


@pytest.mark.parametrize("interval", [1, 3])
def test_columns_may_be_called_as_what_is_inside(interval, require, rng):
    require("verilator")
    network = encoder(rng)
    called = ("valid", "result", "x", "x_d1", "x__d1", "x_all", "hidden_0", "hidden_t100", "code_b0", "Score")
    trigger = replace(network.input, columns=(*called, *network.input.columns[len(called) :]))
    lint(rtl(Network((trigger, *network.operations[1:])), 2.5, interval=interval))


def test_what_is_altered_is_seen(require, rng):
    require("verilator")
    require("compiler")
    network = encoder(rng)
    design = rtl(network, 5.0)
    x = random_inputs(network, 2_000)
    expected = reference.emulate(network, x)
    (name, text), *_ = design.files.items()
    tie = next(line for line in text.splitlines() if "wire" in line and " & |" in line)
    for line, other in ((tie, tie.replace(" & |", " | |")), (" score <= result", " score <= result ^ 1")):
        altered = Design(**{**vars(design), "files": {name: text.replace(line, other)}})
        assert (simulate(altered, x, 0).score != expected).any()
    late = text.replace("assign valid_out = valid[", "assign valid_out = valid[-1+")
    with pytest.raises(MismatchError, match="valid_out must be"):
        simulate(Design(**{**vars(design), "files": {name: late}}), x, 0)


def test_a_large_table(require):
    require("verilator")
    require("compiler")
    trigger = Input("trigger", ("x",), np.array([-512]), np.array([511]), FixedPoint.parse("ap_int<10>"))
    table = np.random.default_rng(1).integers(-100, 100, 1024)
    network = Network((trigger, Lookup("score", "trigger", table, FixedPoint.parse("ap_int<9>"))))
    x = np.arange(-512, 512)[:, None]
    np.testing.assert_array_equal(simulate(rtl(network, 5.0), x, 0).score, table)


@pytest.mark.parametrize("interval", [1, 4])
def test_the_verb_writes_simulates_and_synthesises(interval, require, tmp_path, capsys):
    for tool in ("verilator", "compiler", "yosys"):
        require(tool)
    network, _ = example(11, 3)
    network.save(tmp_path / "network.json")
    options = ["--out", str(tmp_path / "rtl"), "--clock-ns", "4", "--interval", str(interval)]
    assert main(["synth", str(tmp_path / "network.json"), *options]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  ")]  # progress
    written, simulated, gates, logic, timing = said
    assert re.fullmatch(rf"{tmp_path}/rtl/l1ad_score\.v: \d+ clocks of 4 ns", written)
    assert re.fullmatch(r"reference = RTL \(Verilator [\d.]+\): 0 mismatches in \d{5} events, \d{5} clocks", simulated)
    assert re.fullmatch(
        rf"reference = netlist \(gate level{', balanced' * (interval == 1)}\): 0 mismatches in \d{{5}} events", gates
    )
    assert re.match(
        r"logic synthesis, UltraScale\+, any: \d+ LUT, \d+ FF, 0 DSP, 0 BRAM, \d+ ns; .*osys .*, fast: ", logic
    )
    assert re.match(r"static timing before routing, Artix-7: [\d.]+ ns a clock, [\d.]+ ns; Artix-7 arcs", timing)


def test_the_fuzzer_runs_it(require, tmp_path):
    require("verilator")
    require("compiler")
    network, x = example(11, 4)
    np.testing.assert_array_equal(EXECUTORS["RTL"](network, x, tmp_path), reference.emulate(network, x))
