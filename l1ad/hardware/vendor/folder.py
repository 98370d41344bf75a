"""Reports of vendor tools in a folder, known by what they say, as rows of the resource table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from l1ad.hardware.resources import STAGES, Resources
from l1ad.hardware.vendor.cosim import Cosimulation, cosim_row, parse_cosim
from l1ad.hardware.vendor.csynth import CSynthesis, csynth_row, parse_csynth_rpt, parse_csynth_xml
from l1ad.hardware.vendor.generation_info import ATTRIBUTE, GenerationInfo, generation_row, parse_generation_info
from l1ad.hardware.vendor.timing import Timing, parse_timing, period_ns
from l1ad.hardware.vendor.utilisation import Site, Utilisation, parse_utilisation

VendorReport: TypeAlias = CSynthesis | Cosimulation | GenerationInfo | Utilisation | Timing
Kind = TypeVar("Kind", CSynthesis, Cosimulation, GenerationInfo, Utilisation, Timing)
_HEAD = 8192
"""Bytes, of which the first lines tell a report: a log may quote one further down."""
_HDL = (".vhd", ".vhdl", ".v", ".sv")
REMEDY = "give a folder with the reports of one design, of one run"


def read_vendor_report(path: str | Path) -> VendorReport:
    """Figures of a report of any kind.

    Raises
    ------
    ValueError
        If it is of no known kind, or damaged; the text names it.
    """
    parse = _parser(Path(path))
    if parse is None:
        raise ValueError(
            f"{path}:1: file must be a report of C synthesis, co-simulation, utilisation or timing, or generated HDL "
            "with CORE_GENERATION_INFO; give one"
        )
    return parse(path)


def _parser(path: Path) -> Callable[[str | Path], VendorReport] | None:
    """What reads the file, by its head; the attribute in HDL comes after the ports."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", "replace")
    except OSError as error:
        raise ValueError(f"{path}: report must be a readable file, not this: {error}; run the tool again") from error
    title = "\n".join(head.split("\n")[:12])
    if "| Tool Version" in title and "Vivado" in title:
        if "| Command" not in head:
            raise ValueError(f"{path}:1: Vivado's report must name its Command; it is half-written: report again")
        if _command(head).startswith("report_utilization"):
            return parse_utilisation
        return parse_timing if _command(head).startswith("report_timing_summary") else None
    if "<profile>" in title:
        return None if "<RunData" in head else parse_csynth_xml
    if "HLS Report for '" in title and "== " in title:
        return parse_csynth_rpt
    if "Simulation tool" in title and "Solution" in title:
        return parse_cosim
    if path.suffix.lower() in _HDL and ATTRIBUTE.search(path.read_text(encoding="utf-8", errors="replace")):
        return parse_generation_info
    return None


def _command(head: str) -> str:
    return head.partition("| Command")[2].partition(":")[2].strip()


def read_folder(folder: str | Path, top: str | None) -> list[Resources]:
    """Rows of the resource table out of all reports in a folder and below, but hidden folders, in order of `STAGES`.

    Files of other kinds are passed over; a known report that is damaged is not.  Figures of several reports of one
    stage are put together, and must not differ where two have them.

    Parameters
    ----------
    folder : path
    top : str or None
        The design.  None: the one that is no part of another.

    Raises
    ------
    ValueError
        If there is no report, a report is damaged, there are several designs, or two reports disagree.
    """
    found = _read_all(Path(folder))
    designs = {path: design for path, report in found.items() if (design := getattr(report, "design", None))}
    parts = {name for report in found.values() if isinstance(report, CSynthesis) for name in report.modules}
    tops = {top} if top else set(designs.values()) - parts
    if len(tops) > 1:
        raise ValueError(f"{folder}: reports must be of one design, not {sorted(tops)}; name the top, or {REMEDY}")
    found = {path: report for path, report in found.items() if designs.get(path, top) in {*tops, top}}
    if not found or (top and top not in designs.values()):
        raise ValueError(f"{folder}: folder must hold reports of {top or 'a design'}, not none; {REMEDY}")
    rows: dict[str, tuple[Path, Resources]] = {}
    for path, row in [*_hls_rows(found), *_vivado_rows(found)]:
        earlier = rows.get(row.stage)
        rows[row.stage] = (path, row if earlier is None else _together(earlier, (path, row)))
    return [rows[stage][1] for stage in STAGES if stage in rows]


def _read_all(folder: Path) -> dict[Path, VendorReport]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: must be a folder; {REMEDY}")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            if path.suffix == ".rpt" and not path.stat().st_size:
                raise ValueError(f"{path}:1: report must not be empty; run the tool again")
            parse = _parser(path)
            if parse:
                found[path] = parse(path)
    if not found:
        raise ValueError(f"{folder}: folder must hold a report of Vitis HLS, Vivado HLS or Vivado; {REMEDY}")
    return found


def _of_kind(found: dict[Path, VendorReport], kind: type[Kind]) -> list[tuple[Path, Kind]]:
    return [(path, report) for path, report in found.items() if isinstance(report, kind)]


def _hls_rows(found: dict[Path, VendorReport]) -> list[tuple[Path, Resources]]:
    """Rows of C synthesis and co-simulation; the text report first, which says most."""
    synthesised = sorted(_of_kind(found, CSynthesis), key=lambda item: item[1].tool is None)
    rows = [(path, csynth_row(report)) for path, report in synthesised]
    of = synthesised[0][1] if synthesised else None
    for path, info in _of_kind(found, GenerationInfo):
        # of a latency that varies it says one figure, and not which
        hidden = info if of is None else replace(info, latency_cycles=None, interval_cycles=None)
        rows.append((path, generation_row(hidden)))
    return rows + [(path, cosim_row(report, of)) for path, report in _of_kind(found, Cosimulation)]


def _vivado_rows(found: dict[Path, VendorReport]) -> list[tuple[Path, Resources]]:
    rows = [(path, utilisation_row(report)) for path, report in _of_kind(found, Utilisation)]
    for path, timing in _of_kind(found, Timing):
        if timing.stage is None:
            raise ValueError(
                f"{path}:1: timing summary must show the state of its design, by a Design State or paths with nets, "
                "not neither; report it without -no_detailed_paths"
            )
        rows.append((path, timing_row(timing, timing.stage)))
    return rows


def utilisation_row(report: Utilisation) -> Resources:
    """Row of the resource table; a block RAM tile is two block RAMs of 18 kb."""
    return Resources(
        stage=report.stage,
        tool=report.tool or "unknown version",
        part=report.device,
        clock_ns=None,
        lut=_used(report.lut),
        ff=_used(report.ff),
        dsp=_used(report.dsp),
        bram=_used(report.bram_tiles, 2),
        latency_cycles=None,
        interval_cycles=None,
        latency_ns=None,
        uram=_used(report.uram),
        lut_available=_available(report.lut),
        ff_available=_available(report.ff),
        dsp_available=_available(report.dsp),
        bram_available=_available(report.bram_tiles, 2),
        uram_available=_available(report.uram),
        date=report.date,
    )


def _used(site: Site | None, times: int = 1) -> int | None:
    return None if site is None else round(site.used * times)


def _available(site: Site | None, times: int = 1) -> int | None:
    return None if site is None or site.available is None else round(site.available * times)


def timing_row(report: Timing, stage: str) -> Resources:
    """Row of the resource table: clock and slack alone."""
    target, achieved = period_ns(report)
    return Resources(
        stage=stage,
        tool=report.tool or "unknown version",
        part=report.device,
        clock_ns=target,
        lut=None,
        ff=None,
        dsp=None,
        bram=None,
        latency_cycles=None,
        interval_cycles=None,
        latency_ns=None,
        period_ns=achieved,
        wns_ns=report.wns_ns,
        date=report.date,
    )


_LOOSE = ("stage", "tool", "part", "date", "latency_ns")
"""Fields that two reports of one run may spell, or round, differently."""
_ROUNDING_NS = 6e-4
"""Reports round periods to a picosecond; ``CORE_GENERATION_INFO`` does not."""


def _together(one: tuple[Path, Resources], other: tuple[Path, Resources]) -> Resources:
    """Figures of the first report, and of the second where the first has none."""
    changes: dict[str, float | int | str | None] = {}
    for field in fields(Resources):
        mine, theirs = getattr(one[1], field.name), getattr(other[1], field.name)
        if mine is None or (field.name == "part" and mine == "unknown"):
            changes[field.name] = theirs
        elif field.name not in _LOOSE and theirs is not None and abs(mine - theirs) > _ROUNDING_NS:
            raise ValueError(
                f"{other[0]}: {field.name} of {one[1].stage} must be {mine} as in {one[0]}, not {theirs}; {REMEDY}"
            )
    return replace(one[1], **changes)  # type: ignore[arg-type]
