import os
import time
from pathlib import Path

import pytest

from l1ad.errors import ToolNotFoundError
from l1ad.hardware.resources import COSIMULATION, HLS, LOGIC, ROUTED
from l1ad.hardware.vendor.csynth import csynth_row, parse_csynth_xml
from l1ad.hardware.vendor.folder import read_folder
from l1ad.hardware.vendor.run import cosimulate, find_vitis, find_vivado, implement, synthesise_c, synthesise_logic

REPORTS = Path(__file__).parents[1] / "reports"
PARSED = csynth_row(parse_csynth_xml(REPORTS / "csynth.xml"))


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Function that puts a program of a name on the PATH, which holds nothing else but a shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def installing(name, script=""):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return installing


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


SYNTHESISES = (
    f'd=l1ad_prj/solution1/syn/report; mkdir -p "$d" && cp "{REPORTS}/csynth.xml" "$d/csynth.xml"; echo "args: $@"'
)
SIMULATES = f'd=l1ad_prj/solution1/sim/report; mkdir -p "$d" && cp "{REPORTS}/cosim.rpt" "$d/l1ad_cosim.rpt"'
VITIS = f"""if grep -q 'synth 1' build_opt.tcl; then {SYNTHESISES}; fi
if grep -q 'cosim 1' build_opt.tcl; then {SIMULATES}; fi"""
VIVADO = f"""for last; do :; done
case $last in
l1ad_synthesis.tcl)
  sed 's/Fully Routed/Synthesized/' {REPORTS}/routed_ultrascale.rpt > l1ad_synthesis_utilization.rpt
  sed 's/: Routed/: Synthesized/' {REPORTS}/timing_failing.rpt > l1ad_synthesis_timing.rpt
  touch l1ad_synthesis.dcp;;
l1ad_implementation.tcl)
  cp {REPORTS}/routed_ultrascale.rpt l1ad_implementation_utilization.rpt
  cp {REPORTS}/timing_failing.rpt l1ad_implementation_timing.rpt;;
esac"""


def test_the_tools_are_found_by_name(tool):
    assert find_vitis() is find_vivado() is None
    tool("vitis_hls")
    assert find_vitis() == ["vitis_hls", "-f", "build_prj.tcl"]
    tool("vitis-run")
    assert find_vitis() == ["vitis-run", "--mode", "hls", "--tcl", "build_prj.tcl"]
    tool("vivado")
    assert find_vivado() == ["vivado", "-mode", "batch", "-nolog", "-nojournal", "-source"]


@pytest.mark.parametrize("name", ["vitis-run", "vitis_hls"])
def test_synthesis_runs_in_the_project_and_is_parsed(tool, project, name):
    tool(name, SYNTHESISES)
    assert synthesise_c(project, find_vitis()) == PARSED
    assert (project / "vitis.log").read_text().startswith(f"args: {' '.join(find_vitis()[1:])}\n")
    options = (project / "build_opt.tcl").read_text()
    assert options == (
        "array set opt {\n reset 1\n csim 0\n synth 1\n cosim 0\n validation 0\n export 0\n vsynth 0\n fifo_opt 0\n}\n"
    )


def test_every_step_gives_its_row(tool, project):
    tool("vitis-run", VITIS)
    tool("vivado", VIVADO)
    hls = synthesise_c(project, find_vitis())
    cosim = cosimulate(project, find_vitis())
    assert (cosim.stage, cosim.latency_cycles, cosim.latency_ns, cosim.part) == (COSIMULATION, 13, 32.5, hls.part)
    options = (project / "build_opt.tcl").read_text()
    assert all(f" {name} 1\n" in options for name in ("csim", "cosim", "validation"))
    assert all(f" {name} 0\n" in options for name in ("reset", "synth", "export", "vsynth", "fifo_opt"))
    logic = synthesise_logic(project, find_vivado())
    routed = implement(project, find_vivado())
    assert [row.stage for row in (logic, routed)] == [LOGIC, ROUTED]
    assert (logic.lut, logic.clock_ns, logic.wns_ns) == (routed.lut, 2.5, -0.421) == (11000, 2.5, -0.421)
    # what the steps left is what the folder tells
    rows = read_folder(project, None)
    assert [row.stage for row in rows] == [HLS, COSIMULATION, LOGIC, ROUTED]
    assert rows[1:] == [cosim, logic, routed]
    assert "create_clock -name ap_clk" in (project / "l1ad_synthesis.tcl").read_text()
    assert "route_design" in (project / "l1ad_implementation.tcl").read_text()


def test_a_step_before_its_earlier_one_is_refused(tool, project):
    tool("vitis-run", VITIS)
    tool("vivado", VIVADO)
    with pytest.raises(RuntimeError, match=r"project must hold one .*csynth\.xml, not 0; run HLS C synthesis first"):
        cosimulate(project, find_vitis())
    synthesise_c(project, find_vitis())
    with pytest.raises(
        RuntimeError, match=r"project must hold one l1ad_synthesis\.dcp, not 0; run logic synthesis first"
    ):
        implement(project, find_vivado())


def reports(project):
    return sorted(path.name for path in project.rglob("*") if path.suffix in (".rpt", ".xml", ".dcp"))


def test_synthesis_that_fails_names_its_log_and_leaves_no_report(tool, project):
    tool("vitis_hls", f"{SYNTHESISES}; echo 'ERROR: no licence' >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"vitis_hls: step 'HLS C .* not 3 \(ERROR: no licence\); see .*vitis\.log"):
        synthesise_c(project, find_vitis())
    assert "ERROR: no licence" in (project / "vitis.log").read_text()
    assert reports(project) == []


def test_synthesis_that_writes_nothing_is_no_success(tool, project):
    tool("vitis_hls", "exit 0")
    with pytest.raises(RuntimeError, match="HLS C synthesis by vitis_hls must leave 1 reports, not 0; see"):
        synthesise_c(project, find_vitis())


def test_an_earlier_report_is_not_taken_for_this_one(tool, project):
    tool("vitis-run", VITIS)
    tool("vivado", VIVADO)
    for step, found in ((synthesise_c, find_vitis), (cosimulate, find_vitis), (synthesise_logic, find_vivado)):
        step(project, found())
    implement(project, find_vivado())
    (project / "vivado_synth.rpt").write_text((REPORTS / "routed_ultrascale.rpt").read_text())
    tool("vivado", "exit 1")
    with pytest.raises(
        RuntimeError, match=r"vivado: step 'place-and-route' must end .*, not 1; see .*l1ad_implementation\.log"
    ):
        implement(project, find_vivado())
    assert "l1ad_synthesis.dcp" in reports(project)
    with pytest.raises(RuntimeError, match="step 'logic synthesis' must end"):
        synthesise_logic(project, find_vivado())
    assert reports(project) == ["csynth.xml", "l1ad_cosim.rpt"]
    tool("vitis-run", "exit 0")
    with pytest.raises(RuntimeError, match="C/RTL co-simulation by vitis-run must leave 1 reports, not 0"):
        cosimulate(project, find_vitis())
    assert reports(project) == ["csynth.xml"]
    with pytest.raises(RuntimeError, match="HLS C synthesis by vitis-run must leave 1 reports, not 0"):
        synthesise_c(project, find_vitis())
    assert reports(project) == []


def test_a_half_written_report_is_refused(tool, project):
    tool("vitis_hls", f"{SYNTHESISES}; head -c 700 {REPORTS}/csynth.xml > $d/csynth.xml")
    with pytest.raises(ValueError, match=r"csynth\.xml:\d+: report must be a whole XML document"):
        synthesise_c(project, find_vitis())


def test_a_failed_cosimulation_is_refused(tool, project):
    tool("vitis_hls", VITIS + "; sed -i s/Pass/Fail/ $d/*_cosim.rpt || true")
    synthesise_c(project, find_vitis())
    with pytest.raises(ValueError, match="Status must be Pass, not 'Fail'"):
        cosimulate(project, find_vitis())


def test_reports_of_another_stage_are_refused(tool, project):
    tool("vitis_hls", VITIS)
    tool("vivado", VIVADO.replace("Fully Routed/Synthesized", "Fully Routed/Fully Placed"))
    synthesise_c(project, find_vitis())
    with pytest.raises(ValueError, match="report must be of logic synthesis, not of 'Fully Placed'"):
        synthesise_logic(project, find_vivado())


def test_a_tool_that_takes_too_long_is_killed_with_its_children(tool, project):
    tool("vitis_hls", f"{SYNTHESISES}; (sleep 1; touch alive) & sleep 60")
    started = time.monotonic()
    with pytest.raises(RuntimeError, match=r"must end within 0\.5 s, and did not in step 'HLS C synthesis'; see"):
        synthesise_c(project, find_vitis(), timeout_s=0.5)
    assert time.monotonic() - started < 30
    assert reports(project) == []
    time.sleep(1)
    assert not (project / "alive").exists()


def test_a_tool_that_is_gone(project):
    with pytest.raises(ToolNotFoundError, match="vitis_gone must be on the PATH"):
        synthesise_c(project, ["vitis_gone"])
