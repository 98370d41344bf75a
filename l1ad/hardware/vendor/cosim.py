"""C/RTL co-simulation reports of Vivado HLS and Vitis HLS: ``<top>_cosim.rpt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from l1ad.hardware.resources import COSIMULATION, Resources
from l1ad.hardware.vendor.csynth import CSynthesis
from l1ad.hardware.vendor.tables import Report, integer, read_report

FOREIGN = "give a <top>_cosim.rpt of Vivado HLS or Vitis HLS"
_FIGURES = tuple(f"{what} {which}" for what in ("Latency", "Interval") for which in ("min", "avg", "max"))


@dataclass(frozen=True)
class Cosimulation:
    """Clock cycles counted in a simulation of the RTL that passed; None is what it does not say.

    Parameters
    ----------
    date, solution, simulator : str or None
        As written.
    rtl : str
        ``Verilog`` or ``VHDL``.
    latency_min_cycles, latency_average_cycles, latency_max_cycles : int or None
    interval_min_cycles, interval_average_cycles, interval_max_cycles : int or None
        None after a single transaction.
    total_cycles : int or None
        Of the whole simulation; Vitis HLS only.
    """

    date: str | None
    solution: str | None
    simulator: str | None
    rtl: str
    latency_min_cycles: int | None
    latency_average_cycles: int | None
    latency_max_cycles: int | None
    interval_min_cycles: int | None
    interval_average_cycles: int | None
    interval_max_cycles: int | None
    total_cycles: int | None


def parse_cosim(path: str | Path) -> Cosimulation:
    """Figures of a co-simulation report.

    Raises
    ------
    ValueError
        If the file is another one or cut short, or nothing was simulated, or the simulation failed; the text names
        the file and the line.
    """
    report = read_report(path)
    tool = report.search("Simulation tool *:", 1, len(report.lines) + 1)
    if tool is None:
        raise report.refusal(1, "co-simulation report must name its 'Simulation tool'", FOREIGN)
    said: dict[str, str | None] = {}
    for text in report.lines[:tool]:
        key, colon, value = text.partition(":")
        if colon:
            said[key.strip()] = value.strip().rstrip(".") or None
    ran = [(n, cells) for n, cells in _rows(report, tool) if cells[1] != "NA"]
    if len(ran) != 1:
        raise report.refusal(
            len(report.lines), f"one RTL must have been simulated, not {len(ran)}", "co-simulate again"
        )
    ((line, cells),) = ran
    if cells[1] != "Pass":
        raise report.refusal(
            line, f"Status must be Pass, not {cells[1]!r}", "RTL and C disagree: see the simulation's log"
        )
    figures = [integer(report, line, name, cell) for name, cell in zip(_FIGURES, cells[2:8], strict=True)]
    return Cosimulation(
        date=said.get("Report time"),
        solution=said.get("Solution"),
        simulator=said.get("Simulation tool"),
        rtl=cells[0],
        latency_min_cycles=figures[0],
        latency_average_cycles=figures[1],
        latency_max_cycles=figures[2],
        interval_min_cycles=figures[3],
        interval_average_cycles=figures[4],
        interval_max_cycles=figures[5],
        total_cycles=integer(report, line, "Total Execution Time", cells[8]) if len(cells) == 9 else None,
    )


def _rows(report: Report, start: int) -> list[tuple[int, tuple[str, ...]]]:
    """Rows of the table, whose header mixes borders and cells so that `read_table` does not know it."""
    header = report.find(r"\| .*Latency.*\|.*Interval", start)
    names = report.find(r"\| .*\bmin\b", header)
    cells = report.lines[names - 1].strip()[1:-1].split("|")
    found = [cell.strip() for cell in cells if cell.strip()]
    if found != ["min", "avg", "max"] * 2:
        raise report.refusal(names, f"latency and interval must each have min, avg and max, not {found}", FOREIGN)
    border = report.find(r"\+-+\+", names)
    rows: list[tuple[int, tuple[str, ...]]] = []
    for number in range(border + 1, len(report.lines) + 1):
        line = report.lines[number - 1].strip()
        if line == report.lines[border - 1].strip():
            return rows
        row = tuple(cell.strip() for cell in line[1:-1].split("|"))
        if line[:1] != "|" or line[-1:] != "|" or len(row) not in (8, 9):
            raise report.refusal(number, f"row must have 8 or 9 cells, not {line!r}")
        rows.append((number, row))
    raise report.refusal(len(report.lines), "table must end with a border, not with the file")


def cosim_row(report: Cosimulation, of: CSynthesis | None) -> Resources:
    """Row of the resource table: latency and interval alone, the longest.

    Parameters
    ----------
    report : Cosimulation
        It names neither part nor clock.
    of : CSynthesis or None
        C synthesis of the same project, for part, clock and tool.
    """
    clock = of.clock_ns if of else None
    cycles = report.latency_max_cycles
    version = f"{of.tool or ''} {of.version or ''}".strip() if of else ""
    return Resources(
        stage=COSIMULATION,
        tool=f"{version or 'unknown version'}, {report.simulator}, {report.rtl} (cosim.rpt)",
        part=(of.part if of else None) or "unknown",
        clock_ns=clock,
        lut=None,
        ff=None,
        dsp=None,
        bram=None,
        latency_cycles=cycles,
        interval_cycles=report.interval_max_cycles,
        latency_ns=cycles * clock if cycles is not None and clock is not None else None,
        date=report.date,
    )
