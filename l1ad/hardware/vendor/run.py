"""Vitis HLS and Vivado, run on a project that hls4ml wrote, where they are on the PATH.

Before a step, the reports of that step and of all later ones are removed, and those of a step that fails afterwards:
what lies in the project is of its last successful run.  The Tcl for Vivado, and its co-simulation, follow the manuals
and hls4ml's scripts; no licence was at hand to run them.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from l1ad.hardware.process import run
from l1ad.hardware.resources import COSIMULATION, HLS, LOGIC, ROUTED, Resources
from l1ad.hardware.vendor.cosim import cosim_row, parse_cosim
from l1ad.hardware.vendor.csynth import csynth_row, parse_csynth_xml
from l1ad.hardware.vendor.folder import timing_row, utilisation_row
from l1ad.hardware.vendor.timing import parse_timing
from l1ad.hardware.vendor.utilisation import parse_utilisation

TIMEOUT_S = 86400.0
"""A day: longer than any step of a trigger network should take."""
_CSYNTH = "*_prj/solution1/syn/report/csynth.xml"
_COSIM = "*_prj/solution1/sim/report/*_cosim.rpt"
_REPORTS = {
    HLS: ("*_prj/solution1/syn/report/*csynth.*",),
    COSIMULATION: (_COSIM, "tb_data/csim_results.log", "tb_data/rtl_cosim_results.log"),
    LOGIC: ("vivado_synth.rpt", "l1ad_synthesis_*.rpt", "l1ad_synthesis.dcp"),
    ROUTED: ("l1ad_implementation_*.rpt",),
}
"""What each step leaves in the project."""
_SPOILED = {
    HLS: (HLS, COSIMULATION, LOGIC, ROUTED),
    COSIMULATION: (COSIMULATION,),
    LOGIC: (LOGIC, ROUTED),
    ROUTED: (ROUTED,),
}
"""Steps whose results are of another run once a step is run again."""
_SYNTHESIS_TCL = """source project.tcl
set constraints [open l1ad_clock.xdc w]
puts $constraints "create_clock -name ap_clk -period $clock_period \\[get_ports ap_clk\\]"
close $constraints
add_files ${project_name}_prj/solution1/syn/verilog
read_xdc l1ad_clock.xdc
synth_design -top $project_name -part $part -mode out_of_context
report_utilization -file l1ad_synthesis_utilization.rpt
report_timing_summary -file l1ad_synthesis_timing.rpt
write_checkpoint -force l1ad_synthesis.dcp
"""
_IMPLEMENTATION_TCL = """open_checkpoint l1ad_synthesis.dcp
opt_design
place_design
phys_opt_design
route_design
report_utilization -file l1ad_implementation_utilization.rpt
report_timing_summary -file l1ad_implementation_timing.rpt
"""


def find_vitis() -> list[str] | None:
    """Command that runs a project's ``build_prj.tcl``, or None if Vitis HLS is not on the PATH."""
    if shutil.which("vitis-run"):
        return ["vitis-run", "--mode", "hls", "--tcl", "build_prj.tcl"]
    if shutil.which("vitis_hls"):
        return ["vitis_hls", "-f", "build_prj.tcl"]
    return None


def find_vivado() -> list[str] | None:
    """Command that runs the Tcl script whose name follows it, or None if Vivado is not on the PATH."""
    return ["vivado", "-mode", "batch", "-nolog", "-nojournal", "-source"] if shutil.which("vivado") else None


def synthesise_c(folder: str | Path, command: list[str], timeout_s: float = TIMEOUT_S) -> Resources:
    """Run C synthesis of a project, from the start, and parse its report.

    Parameters
    ----------
    folder : path
        Of the project.
    command : list of str
        From `find_vitis`.
    timeout_s : float
        After which the tool is killed.

    Raises
    ------
    ToolNotFoundError
        If the command is not there.
    RuntimeError
        If the tool fails, takes too long, or writes no report; the text names its log.
    ValueError
        If its report is damaged.
    """
    folder = Path(folder)
    _write_options(folder, reset=1, synth=1)
    (report,) = _run(folder, HLS, command, "vitis.log", (_CSYNTH,), timeout_s)
    return csynth_row(parse_csynth_xml(report))


def cosimulate(folder: str | Path, command: list[str], timeout_s: float = TIMEOUT_S) -> Resources:
    """Simulate the RTL on the project's test bench, demand the scores of C simulation, and parse the latency.

    Parameters
    ----------
    folder : path
        Of a project after `synthesise_c`.
    command : list of str
        From `find_vitis`.
    timeout_s : float
        After which the tool is killed.

    Raises
    ------
    ToolNotFoundError
        If the command is not there.
    RuntimeError
        If the project is not synthesised, the tool fails (as it does when scores differ), takes too long, or writes no
        report; the text names its log.
    ValueError
        If a report is damaged, or says that the simulation failed.
    """
    folder = Path(folder)
    (synthesised,) = _earlier(folder, _CSYNTH, HLS)
    _write_options(folder, csim=1, cosim=1, validation=1)
    (report,) = _run(folder, COSIMULATION, command, "vitis_cosim.log", (_COSIM,), timeout_s)
    return cosim_row(parse_cosim(report), parse_csynth_xml(synthesised))


def synthesise_logic(folder: str | Path, command: list[str], timeout_s: float = TIMEOUT_S) -> Resources:
    """Synthesise the RTL out of context, at the project's clock, and parse utilisation and timing.

    Parameters
    ----------
    folder : path
        Of a project after `synthesise_c`.
    command : list of str
        From `find_vivado`.
    timeout_s : float
        After which the tool is killed.

    Raises
    ------
    ToolNotFoundError
        If the command is not there.
    RuntimeError
        If the project is not synthesised, the tool fails, takes too long, or lacks a report; the text names its log.
    ValueError
        If a report is damaged.
    """
    folder = Path(folder)
    _earlier(folder, _CSYNTH, HLS)
    return _vivado(folder, command, LOGIC, "l1ad_synthesis", _SYNTHESIS_TCL, timeout_s)


def implement(folder: str | Path, command: list[str], timeout_s: float = TIMEOUT_S) -> Resources:
    """Place and route the synthesised design, and parse utilisation and timing.

    Parameters
    ----------
    folder : path
        Of a project after `synthesise_logic`.
    command : list of str
        From `find_vivado`.
    timeout_s : float
        After which the tool is killed.

    Raises
    ------
    ToolNotFoundError
        If the command is not there.
    RuntimeError
        If the project is not synthesised, the tool fails, takes too long, or lacks a report; the text names its log.
    ValueError
        If a report is damaged.
    """
    folder = Path(folder)
    _earlier(folder, "l1ad_synthesis.dcp", LOGIC)
    return _vivado(folder, command, ROUTED, "l1ad_implementation", _IMPLEMENTATION_TCL, timeout_s)


def _vivado(folder: Path, command: list[str], stage: str, name: str, tcl: str, timeout_s: float) -> Resources:
    """Run a script that writes utilisation and timing of one stage, and put them in one row."""
    (folder / f"{name}.tcl").write_text(tcl, encoding="utf-8")
    wanted = (f"{name}_utilization.rpt", f"{name}_timing.rpt")
    used, timed = _run(folder, stage, [*command, f"{name}.tcl"], f"{name}.log", wanted, timeout_s)
    utilisation, timing = parse_utilisation(used), parse_timing(timed)
    if utilisation.stage != stage or timing.stage not in (stage, None):
        raise ValueError(f"{used}: report must be of {stage}, not of {utilisation.state!r}; see {folder / name}.log")
    row, slack = utilisation_row(utilisation), timing_row(timing, stage)
    return replace(row, clock_ns=slack.clock_ns, period_ns=slack.period_ns, wns_ns=slack.wns_ns)


def _write_options(folder: Path, **chosen: int) -> None:
    """``build_opt.tcl``, which hls4ml's ``build_prj.tcl`` reads."""
    names = ("reset", "csim", "synth", "cosim", "validation", "export", "vsynth", "fifo_opt")
    lines = "".join(f" {name} {chosen.get(name, 0)}\n" for name in names)
    (folder / "build_opt.tcl").write_text(f"array set opt {{\n{lines}}}\n", encoding="utf-8")


def _earlier(folder: Path, pattern: str, stage: str) -> list[Path]:
    """The one file that an earlier step must have left."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise RuntimeError(f"{folder}: project must hold one {pattern}, not {len(found)}; run {stage} first")
    return found


def _remove(folder: Path, stage: str) -> None:
    for spoiled in _SPOILED[stage]:
        for pattern in _REPORTS[spoiled]:
            for path in folder.glob(pattern):
                path.unlink()


def _run(
    folder: Path, stage: str, command: list[str], log: str, wanted: tuple[str, ...], timeout_s: float
) -> list[Path]:
    """Run a tool in the project; the wanted files, one for each pattern."""
    _remove(folder, stage)
    done = False
    try:
        run(command, folder, folder / log, timeout_s, who=f"{folder}: {command[0]}", step=stage)
        found = [sorted(folder.glob(pattern)) for pattern in wanted]
        if any(len(files) != 1 for files in found):
            raise RuntimeError(
                f"{folder}: {stage} by {command[0]} must leave {len(wanted)} reports, not {sum(map(len, found))}; "
                f"see {folder / log}"
            )
        done = True
        return [files[0] for files in found]
    finally:
        if not done:
            _remove(folder, stage)
