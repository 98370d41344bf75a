"""Utilisation reports of Vivado (``report_utilization``), flat or hierarchical, of any stage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from l1ad.hardware.resources import LOGIC, PLACED, ROUTED
from l1ad.hardware.vendor.tables import Report, Table, column, integer, number, percent, read_report, read_table

FOREIGN = "give a report of Vivado's report_utilization"
STATES = {
    "Synthesized": LOGIC,
    "Optimized": LOGIC,
    "Fully Placed": PLACED,
    "Physopt postPlace": PLACED,
    "Routed": ROUTED,
    "Fully Routed": ROUTED,
    "Physopt postRoute": ROUTED,
}
"""Stage by Vivado's words for the state of the design."""
_HEADER = re.compile(r"\| ([A-Z][A-Za-z ]*?) *: (.*)")
_CONTENTS = re.compile(r"\d+(\.\d+)*\.? \S.*")


@dataclass(frozen=True)
class Site:
    """One row of a utilisation table; None is what it does not say.

    Parameters
    ----------
    used : float
        Halves are block RAM tiles of which one half is used.
    fixed, available : float or None
    percent : float or None
        Of the available.
    """

    used: float
    fixed: float | None
    available: float | None
    percent: float | None


@dataclass(frozen=True)
class Utilisation:
    """What Vivado says of a whole design; None is what it does not say.

    Parameters
    ----------
    design, device, state : str
        As written; `STATES` are known.
    stage : str
        Of the resource table.
    tool, date : str or None
        As written.
    sites : dict of str to Site
        Rows of all tables of sites by name, without the star of a footnote.
    primitives : dict of str to int
        Cells by name.
    lut, ff : Site
    dsp, bram_tiles, uram : Site or None
        None where the part has none, or the report does not tell.
    """

    design: str
    device: str
    state: str
    stage: str
    tool: str | None
    date: str | None
    sites: dict[str, Site]
    primitives: dict[str, int]
    lut: Site
    ff: Site
    dsp: Site | None
    bram_tiles: Site | None
    uram: Site | None


def vivado_header(report: Report, command: str, foreign: str) -> dict[str, str]:
    """What the frame at the head of a Vivado report says, by key.

    Raises
    ------
    ValueError
        If it is no report of `command`; the text names the file and line.
    """
    said: dict[str, str] = {}
    line = 1
    for text in report.lines[:40]:
        found = _HEADER.fullmatch(text.strip())
        if found:
            said[found[1]] = found[2].strip()
        elif said:
            break
        line += 1
    line = min(line, max(len(report.lines), 1))
    if not said.get("Command", "").startswith(command):
        raise report.refusal(line, f"Command must be {command}, not {said.get('Command')!r}", foreign)
    for key in ("Tool Version", "Design", "Device"):
        if not said.get(key):
            raise report.refusal(line, f"head of the report must name the {key}")
    return said


def parse_utilisation(path: str | Path) -> Utilisation:
    """Figures of a report, flat or hierarchical.

    Raises
    ------
    ValueError
        If the file is another one, or cut short, or its design is in no known state; the text names file and line.
    """
    report = read_report(path)
    said = vivado_header(report, "report_utilization", FOREIGN)
    state = said.get("Design State")
    if state not in STATES:
        raise report.refusal(1, f"Design State must be one of {', '.join(STATES)}, not {state!r}", FOREIGN)
    sites, primitives = _sections(report)

    def first(*names: str) -> Site | None:
        return next((sites[name] for name in names if name in sites), None)

    lut, ff = first("CLB LUTs", "Slice LUTs", "Total LUTs"), first("CLB Registers", "Slice Registers", "FFs")
    if lut is None or ff is None:
        raise report.refusal(len(report.lines), "report must tell LUTs and registers of CLBs or slices", FOREIGN)
    tiles = first("Block RAM Tile")
    if tiles is None and "RAMB36" in sites and "RAMB18" in sites:
        tiles = Site(sites["RAMB36"].used + sites["RAMB18"].used / 2, None, None, None)
    return Utilisation(
        design=said["Design"],
        device=said["Device"],
        state=state,
        stage=STATES[state],
        tool=said["Tool Version"],
        date=said.get("Date"),
        sites=sites,
        primitives=primitives,
        lut=lut,
        ff=ff,
        dsp=first("DSPs", "DSP Blocks", "DSP48 Blocks"),
        bram_tiles=tiles,
        uram=first("URAM"),
    )


def _sections(report: Report) -> tuple[dict[str, Site], dict[str, int]]:
    """Tables of every section that the table of contents announces."""
    contents = report.find("Table of Contents$", 1)
    line = contents + 2
    titles = []
    while line <= len(report.lines) and _CONTENTS.fullmatch(report.lines[line - 1].strip()):
        titles.append(report.lines[line - 1].strip())
        line += 1
    if not titles or line > len(report.lines):
        raise report.refusal(len(report.lines), "table of contents must announce sections and end with an empty line")
    sites: dict[str, Site] = {}
    primitives: dict[str, int] = {}
    for title in titles:
        heading = report.find(re.escape(title) + "$", line)
        table = read_table(report, heading)
        line = table.end
        if table.columns[0] == "Site Type" and "Used" in table.columns:
            _read_sites(report, table, sites)
        elif table.columns == ("Ref Name", "Used", "Functional Category"):
            for row, cells in table.rows.items():
                primitives[cells[0]] = _count(report, row, cells[0], cells[1])
        elif table.columns[:2] == ("Instance", "Module"):
            _read_top(report, table, sites)
    return sites, primitives


def _read_sites(report: Report, table: Table, sites: dict[str, Site]) -> None:
    """Add one table of sites; a name that another table had is kept as it was there."""
    for line, cells in table.rows.items():
        name = cells[0].rstrip("*")
        used, fixed, available, share = (
            column(report, table, line, (key,)) for key in ("Used", "Fixed", "Available", "Util%")
        )
        value = number(report, line, f"Used of {name}", used or "")
        if value is None or value < 0:
            raise report.refusal(line, f"Used of {name} must be a number of at least 0, not {used!r}")
        site = Site(
            value,
            number(report, line, f"Fixed of {name}", fixed or ""),
            number(report, line, f"Available of {name}", available or ""),
            percent(report, line, f"Util% of {name}", share or ""),
        )
        sites.setdefault(name, site)


def _read_top(report: Report, table: Table, sites: dict[str, Site]) -> None:
    """Totals of a hierarchical report: its first row, whose module is ``(top)``; cells are ``12`` or ``12(0.5%)``."""
    line, cells = next(iter(table.rows.items()), (table.end, ("", "")))
    if cells[1] != "(top)":
        raise report.refusal(line, f"first module of the hierarchy must be (top), not {cells[1]!r}")
    for name, cell in zip(table.columns[2:], cells[2:], strict=True):
        used, _, share = cell.partition("(")
        text = share.removesuffix(")").removesuffix("%")
        sites[name] = Site(_count(report, line, name, used), None, None, percent(report, line, name, text))


def _count(report: Report, line: int, name: str, text: str) -> int:
    value = integer(report, line, name, text)
    if value is None:
        raise report.refusal(line, f"{name} must be a number, not {text!r}")
    return value
