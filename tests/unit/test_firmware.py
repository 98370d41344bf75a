"""The board-side firmware: files, ports and scripts."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_designs import ONE, PART, THREE, core, write

from l1ad.files import file_digest
from l1ad.hardware import firmware
from l1ad.hardware.firmware import FILES, latency_bx, latency_cycles
from l1ad.hardware.rtl.design import Port

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
