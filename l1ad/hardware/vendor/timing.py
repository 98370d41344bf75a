"""Timing summaries of Vivado (``report_timing_summary``), of any stage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from l1ad.hardware.resources import LOGIC, PLACED, ROUTED
from l1ad.hardware.vendor.tables import Report, integer, number, read_report
from l1ad.hardware.vendor.utilisation import STATES, vivado_header

FOREIGN = "give a report of Vivado's report_timing_summary"
MET, FAILED = "All user specified timing constraints are met.", "Timing constraints are not met."
UNCONSTRAINED = "There are no user specified timing constraints."
_SECTIONS = (
    "Design Timing Summary",
    "Clock Summary",
    "Intra Clock Table",
    "Inter Clock Table",
    "Other Path Groups Table",
)
_NETS = {"routed": ROUTED, "estimated": PLACED, "unplaced": LOGIC}
"""Stage by what Vivado says of the nets along a path, of the furthest first."""
_FIGURES = {
    "WNS(ns)": "wns_ns",
    "TNS(ns)": "tns_ns",
    "TNS Failing Endpoints": "tns_failing",
    "TNS Total Endpoints": "tns_endpoints",
    "WHS(ns)": "whs_ns",
    "THS(ns)": "ths_ns",
    "THS Failing Endpoints": "ths_failing",
    "THS Total Endpoints": "ths_endpoints",
    "WPWS(ns)": "wpws_ns",
    "TPWS(ns)": "tpws_ns",
    "TPWS Failing Endpoints": "tpws_failing",
    "TPWS Total Endpoints": "tpws_endpoints",
}


@dataclass(frozen=True)
class Timing:
    """Slacks of a whole design; None is what the report does not say.

    Parameters
    ----------
    design, device : str
    state : str or None
        Vivado's word, where it gives one.
    stage : str or None
        Of the resource table, by the state or else by the nets of the paths.
    tool, date : str or None
    met : bool or None
        Vivado's verdict; None where nothing was constrained.
    clocks : dict of str to float
        Period in ns of every constrained clock.
    wns_ns, whs_ns, wpws_ns : float or None
        Worst slack of setup, of hold, of pulse width; negative if it fails.
    tns_ns, ths_ns, tpws_ns : float or None
        Sums of the negative ones.
    tns_failing, ths_failing, tpws_failing, tns_endpoints, ths_endpoints, tpws_endpoints : int or None
        Endpoints that fail, and all.
    """

    design: str
    device: str
    state: str | None
    stage: str | None
    tool: str | None
    date: str | None
    met: bool | None
    clocks: dict[str, float]
    wns_ns: float | None
    tns_ns: float | None
    tns_failing: int | None
    tns_endpoints: int | None
    whs_ns: float | None
    ths_ns: float | None
    ths_failing: int | None
    ths_endpoints: int | None
    wpws_ns: float | None
    tpws_ns: float | None
    tpws_failing: int | None
    tpws_endpoints: int | None


def parse_timing(path: str | Path) -> Timing:
    """Figures of a timing summary.

    The tool marks no end: a report that is cut between two whole paths, after the last table, is taken; its figures
    stand before that.

    Raises
    ------
    ValueError
        If the file is another one, or cut short before that; the text names the file and the line.
    """
    report = read_report(path)
    said = vivado_header(report, "report_timing_summary", FOREIGN)
    state = said.get("Design State")
    if state is not None and state not in STATES:
        raise report.refusal(1, f"Design State must be one of {', '.join(STATES)}, not {state!r}", FOREIGN)
    starts: list[int] = []
    for section in _SECTIONS:
        starts.append(report.find(rf"\| {section}$", starts[-1] if starts else 1))
    summary, clock, intra, _, last = starts
    _check_end(report, last)
    figures, verdict = _summary(report, summary, clock)
    clocks = _clocks(report, clock, intra)
    if (verdict is None) != (not clocks):
        raise report.refusal(clock, f"clocks and constraints must go together, not {list(clocks)} and {verdict}")
    return Timing(
        design=said["Design"],
        device=said["Device"],
        state=state,
        stage=STATES[state] if state else _stage_of_nets(report, last),
        tool=said["Tool Version"],
        date=said.get("Date"),
        met=verdict,
        clocks=clocks,
        **figures,  # type: ignore[arg-type]
    )


def _check_end(report: Report, last: int) -> None:
    """The last table must have its header, and every path its slack."""
    report.find("-+  ", report.find("Path Group ", last))
    opened = 0
    for line in range(last, len(report.lines) + 1):
        text = report.lines[line - 1].strip()
        if re.match(r"Slack \((MET|VIOLATED)\) :", text):
            if opened:
                raise report.refusal(line, f"path of line {opened} must end with its slack, before the next path")
            opened = line
        elif re.fullmatch(r"slack +-?\d+\.\d+", text):
            opened = 0
    if opened or report.lines[-1].strip():
        raise report.refusal(len(report.lines), "report must end with a whole path and an empty line")


def _summary(report: Report, start: int, stop: int) -> tuple[dict[str, float | int | None], bool | None]:
    """Figures of the design, and whether its constraints are met."""
    header = report.find(r"WNS\(ns\)|WHS\(ns\)|WPWS\(ns\)", start, stop)
    names = re.split(r"\s{2,}", report.lines[header - 1].strip())
    if set(names) - set(_FIGURES) or len(set(names)) != len(names):
        raise report.refusal(header, f"timing summary must have columns of {', '.join(_FIGURES)}, not {names}", FOREIGN)
    row = header + 2
    cells = report.lines[row - 1].split() if row < stop else []
    if len(cells) != len(names):
        raise report.refusal(
            row, f"timing summary must have a figure for each of {len(names)} columns, not {len(cells)}"
        )
    figures: dict[str, float | int | None] = dict.fromkeys(_FIGURES.values())
    for name, cell in zip(names, cells, strict=True):
        read = integer if name.endswith("Endpoints") else number
        figures[_FIGURES[name]] = read(report, row, name, cell)
    verdicts = {MET: True, FAILED: False, UNCONSTRAINED: None}
    found = [line for line in report.lines[row : stop - 1] if line.strip() in verdicts]
    if len(found) != 1:
        raise report.refusal(row, f"timing summary must say one of {', '.join(verdicts)}, not {len(found)} of them")
    return figures, verdicts[found[0].strip()]


def _clocks(report: Report, start: int, stop: int) -> dict[str, float]:
    clocks = {}
    header = report.search(r"Clock +Waveform\(ns\) +Period\(ns\)", start, stop)
    for line in range(header + 2, stop) if header else ():
        text = report.lines[line - 1].strip()
        if not text or text.startswith("---"):
            break
        found = re.fullmatch(r"(\S+) +\{[^{}]*\} +(\S+) +(\S+)", text)
        period = number(report, line, "Period", found[2]) if found else None
        if found is None or period is None or not period > 0:
            raise report.refusal(line, f"clock must have a name, waveform, period and frequency, not {text!r}")
        clocks[found[1]] = period
    return clocks


def _stage_of_nets(report: Report, start: int) -> str | None:
    states = {state for line in report.lines[start:] for state in re.findall(r"net \(fo=\d+, (\w+)\)", line)}
    return next((stage for state, stage in _NETS.items() if state in states), None)


def period_ns(timing: Timing) -> tuple[float | None, float | None]:
    """Target and achieved period of the design's clock, the achieved one being target - WNS; None if it has not one."""
    if len(timing.clocks) != 1:
        return None, None
    (target,) = timing.clocks.values()
    return target, None if timing.wns_ns is None else round(target - timing.wns_ns, 6)
