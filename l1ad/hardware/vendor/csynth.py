"""C-synthesis reports of Vivado HLS and Vitis HLS: ``<top>_csynth.rpt`` and ``csynth.xml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from l1ad.hardware.resources import HLS, Resources
from l1ad.hardware.vendor.tables import (
    NOTHING,
    Report,
    bounds,
    column,
    duration_ns,
    integer,
    number,
    percent,
    read_report,
    read_table,
)

TITLE = re.compile(r"== (Vivado HLS|Vitis HLS) Report for '(.+)'")
FOREIGN = "give a <top>_csynth.rpt or csynth.xml of Vivado HLS or Vitis HLS"
_COLUMNS = {"bram": ("BRAM_18K",), "dsp": ("DSP", "DSP48E"), "ff": ("FF",), "lut": ("LUT",), "uram": ("URAM",)}
_LATENCY = (
    (("Latency (cycles)", "Latency (absolute)", "Interval", "Pipeline"), ("min", "max", "min", "max", "min", "max")),
    (("Latency", "Interval", "Pipeline"), ("min", "max", "min", "max")),
)
"""Spanning header and columns before the last, of Vivado HLS since 2019.2 and Vitis HLS, and of Vivado HLS before."""


@dataclass(frozen=True)
class Area:
    """One row of the utilisation summary: block RAMs of 18 kb, DSPs, flip-flops, LUTs, UltraRAMs; or percentages."""

    bram: float | None
    dsp: float | None
    ff: float | None
    lut: float | None
    uram: float | None


@dataclass(frozen=True)
class CSynthesis:
    """What C synthesis says of one function; None is what it does not say.

    Parameters
    ----------
    design : str
        The function.
    tool, version, date, part, family, project, solution : str or None
        As written; an xml report has no tool, date, project and solution.
    clock_ns, estimated_ns, uncertainty_ns : float or None
        Clock period: target, estimated, and what was set aside of the target.
    latency_min_cycles, latency_max_cycles, latency_average_cycles : int or None
    latency_min_ns, latency_max_ns, latency_average_ns : float or None
    interval_min_cycles, interval_max_cycles : int or None
    throughput_min_cycles, throughput_max_cycles : int or None
        Initiation interval of the pipeline or dataflow region that the function is (xml).
    pipeline : str or None
        ``dataflow``, ``function``, ``none``, ``yes``, ``no``.
    areas : dict of str to Area
        Rows of the summary by name, as ``Total``, ``Available``, ``Utilization (%)``, ``FIFO``, ``Available SLR``.
    modules : tuple of str
        Functions within it that have reports of their own.
    """

    design: str
    tool: str | None
    version: str | None
    date: str | None
    part: str | None
    family: str | None
    project: str | None
    solution: str | None
    clock_ns: float | None
    estimated_ns: float | None
    uncertainty_ns: float | None
    latency_min_cycles: int | None
    latency_max_cycles: int | None
    latency_average_cycles: int | None
    latency_min_ns: float | None
    latency_max_ns: float | None
    latency_average_ns: float | None
    interval_min_cycles: int | None
    interval_max_cycles: int | None
    throughput_min_cycles: int | None
    throughput_max_cycles: int | None
    pipeline: str | None
    areas: dict[str, Area]
    modules: tuple[str, ...]


def parse_csynth_rpt(path: str | Path) -> CSynthesis:
    """Figures of a ``<top>_csynth.rpt``.

    Raises
    ------
    ValueError
        If the file is another one, or cut short; the text names it and the line.
    """
    report = read_report(path)
    start = report.search(r"== .* Report for '", 1, min(len(report.lines), 10) + 1)
    title = TITLE.match(report.lines[start - 1].strip()) if start else None
    if not start or not title:
        raise report.refusal(
            start or 1, "title must be '== Vivado HLS Report for' or '== Vitis HLS Report for'", FOREIGN
        )
    performance = report.find("== Performance Estimates$", start)
    utilisation = report.find("== Utilization Estimates$", performance)
    interface = report.find("== Interface$", utilisation)
    read_table(report, interface)  # the last table: with it the report is whole
    said = {}
    for line in report.lines[start : performance - 1]:
        key, colon, value = line.strip().removeprefix("* ").partition(":")
        if colon:
            said[key] = value.strip() or None
    target, estimated, uncertainty = _timing(report, performance, utilisation)
    latency = report.find(r"\+ Latency", performance, utilisation)
    cycles, times, interval, pipeline = _latency(report, latency, utilisation)
    return CSynthesis(
        design=title[2],
        tool=title[1],
        version=(said.get("Version") or "").split(" ")[0] or None,
        date=said.get("Date"),
        part=said.get("Target device"),
        family=said.get("Product family"),
        project=said.get("Project"),
        solution=said.get("Solution"),
        clock_ns=target,
        estimated_ns=estimated,
        uncertainty_ns=uncertainty,
        latency_min_cycles=cycles[0],
        latency_max_cycles=cycles[1],
        latency_average_cycles=None,
        latency_min_ns=times[0],
        latency_max_ns=times[1],
        latency_average_ns=None,
        interval_min_cycles=interval[0],
        interval_max_cycles=interval[1],
        throughput_min_cycles=None,
        throughput_max_cycles=None,
        pipeline=pipeline,
        areas=_areas(report, utilisation, interface),
        modules=_modules(report, latency, utilisation),
    )


def _timing(report: Report, start: int, stop: int) -> tuple[float | None, ...]:
    """Clock periods in ns: target, estimated, uncertainty."""
    heading = report.find(r"\+ Timing", start, stop)
    table = read_table(report, heading, stop)
    names = ("Target", "Estimated", "Uncertainty")
    if table.columns != ("Clock", *names) or len(table.rows) != 1:
        raise report.refusal(table.end, f"timing summary must be one clock with {names}, not {table.columns}")
    ((line, cells),) = table.rows.items()
    if "(ns)" in report.lines[heading - 1]:
        return tuple(number(report, line, name, cell) for name, cell in zip(names, cells[1:], strict=True))
    return tuple(duration_ns(report, line, name, cell) for name, cell in zip(names, cells[1:], strict=True))


def _latency(
    report: Report, start: int, stop: int
) -> tuple[tuple[int | None, ...], tuple[float | None, ...], tuple[int | None, ...], str | None]:
    """Latency in cycles and in ns, interval in cycles, each least and most; and the kind of pipeline."""
    table = read_table(report, start, stop)
    spans = (table.header[0], table.columns[:-1])
    if spans not in _LATENCY or len(table.rows) != 1:
        raise report.refusal(table.end, f"latency summary must be one row under {_LATENCY[0][0]}, not {table.header}")
    ((line, cells),) = table.rows.items()
    cycles = tuple(integer(report, line, f"Latency {m}", c) for m, c in zip(("min", "max"), cells[:2], strict=True))
    interval = tuple(
        integer(report, line, f"Interval {m}", c) for m, c in zip(("min", "max"), cells[-3:-1], strict=True)
    )
    times: tuple[float | None, ...] = (None, None)
    if len(cells) == 7:
        times = tuple(duration_ns(report, line, "Latency (absolute)", cell) for cell in cells[2:4])
    return cycles, times, interval, cells[-1] or None


def _areas(report: Report, start: int, stop: int) -> dict[str, Area]:
    table = read_table(report, start, stop)
    known = {name for names in _COLUMNS.values() for name in names}
    if table.columns[0] != "Name" or set(table.columns[1:]) - known:
        raise report.refusal(start, f"utilisation summary must have columns of {sorted(known)}, not {table.columns}")
    areas = {}
    for line, cells in table.rows.items():
        read = percent if "%" in cells[0] else integer
        texts = {field: column(report, table, line, names) for field, names in _COLUMNS.items()}
        said = {f: None if t is None else read(report, line, f"{f.upper()} of {cells[0]}", t) for f, t in texts.items()}
        areas[cells[0]] = Area(**said)
    if "Total" not in areas:
        raise report.refusal(table.end, f"utilisation summary must have a row 'Total', not only {sorted(areas)}")
    return areas


def _modules(report: Report, start: int, stop: int) -> tuple[str, ...]:
    """Names in the table of instances, which stands after the summary of latency."""
    heading = report.search(r"\* Instance:", start, stop)
    if heading is None or report.lines[heading].strip() == "N/A":
        return ()
    table = read_table(report, heading, stop)
    names = (column(report, table, line, ("Module",)) for line in table.rows)
    return tuple(dict.fromkeys(name for name in names if name))


def parse_csynth_xml(path: str | Path) -> CSynthesis:
    """Figures of a ``csynth.xml``.

    Raises
    ------
    ValueError
        If the file is another one, or cut short; the text names it and the line.
    """
    report = read_report(path)
    texts = _leaves(report)
    if "AreaEstimates/Resources" not in texts:
        raise report.refusal(1, "root must be a <profile> with AreaEstimates/Resources", FOREIGN)

    def text(key: str) -> str | None:
        said = texts.get(key, (0, ""))[1]
        return None if said in NOTHING else said

    def whole(key: str) -> int | None:
        return integer(report, texts[key][0], key, texts[key][1]) if key in texts else None

    def decimal(key: str) -> float | None:
        return number(report, texts[key][0], key, texts[key][1]) if key in texts else None

    def time(key: str) -> float | None:
        return duration_ns(report, texts[key][0], key, texts[key][1]) if key in texts else None

    for key in ("UserAssignments/unit", "PerformanceEstimates/SummaryOfTimingAnalysis/unit"):
        if text(key) not in (None, "ns"):
            raise report.refusal(texts[key][0], f"{key} must be ns, not {text(key)!r}", FOREIGN)
    overall = "PerformanceEstimates/SummaryOfOverallLatency/"
    through = [overall + name for name in ("PipelineInitiationInterval", "DataflowPipelineThroughput")]
    throughput: tuple[int | None, int | None] = (None, None)
    for key in through:
        if key in texts:
            throughput = bounds(report, texts[key][0], key, texts[key][1])
    areas = {}
    for name, group in (("Total", "Resources"), ("Available", "AvailableResources")):
        said = {
            field: next((whole(k) for k in (f"AreaEstimates/{group}/{n}" for n in names) if k in texts), None)
            for field, names in _COLUMNS.items()
        }
        areas[name] = Area(**said)
    return CSynthesis(
        design=text("UserAssignments/TopModelName") or "unknown",
        tool=None,
        version=text("ReportVersion/Version"),
        date=None,
        part=text("UserAssignments/Part"),
        family=text("UserAssignments/ProductFamily"),
        project=None,
        solution=None,
        clock_ns=decimal("UserAssignments/TargetClockPeriod"),
        estimated_ns=decimal("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod"),
        uncertainty_ns=decimal("UserAssignments/ClockUncertainty"),
        latency_min_cycles=whole(overall + "Best-caseLatency"),
        latency_max_cycles=whole(overall + "Worst-caseLatency"),
        latency_average_cycles=whole(overall + "Average-caseLatency"),
        latency_min_ns=time(overall + "Best-caseRealTimeLatency"),
        latency_max_ns=time(overall + "Worst-caseRealTimeLatency"),
        latency_average_ns=time(overall + "Average-caseRealTimeLatency"),
        interval_min_cycles=whole(overall + "Interval-min"),
        interval_max_cycles=whole(overall + "Interval-max"),
        throughput_min_cycles=throughput[0],
        throughput_max_cycles=throughput[1],
        pipeline=text("PerformanceEstimates/PipelineType"),
        areas=areas,
        modules=(),
    )


def _leaves(report: Report) -> dict[str, tuple[int, str]]:
    """First text of every path below ``<profile>``, with its line; ElementTree would not tell the line."""
    leaves: dict[str, tuple[int, str]] = {}
    inside: list[str] = []
    parser = expat.ParserCreate()

    def begin(name: str, _: dict[str, str]) -> None:
        if not inside and name != "profile":
            raise report.refusal(parser.CurrentLineNumber, f"root must be <profile>, not <{name}>", FOREIGN)
        inside.append(name)
        pending.setdefault("/".join(inside[1:]), (parser.CurrentLineNumber, []))

    def text(data: str) -> None:
        if inside:
            pending["/".join(inside[1:])][1].append(data)

    def end(_: str) -> None:
        key = "/".join(inside[1:])
        line, parts = pending.pop(key)
        leaves.setdefault(key, (line, "".join(parts).strip()))
        inside.pop()

    pending: dict[str, tuple[int, list[str]]] = {}
    parser.StartElementHandler, parser.CharacterDataHandler, parser.EndElementHandler = begin, text, end
    try:
        parser.Parse("\n".join(report.lines), True)
    except expat.ExpatError as error:
        raise report.refusal(error.lineno, f"report must be a whole XML document: {error}") from error
    return leaves


def csynth_row(report: CSynthesis) -> Resources:
    """Row of the resource table; its latency is the longest."""
    total, available = report.areas["Total"], report.areas.get("Available", Area(None, None, None, None, None))
    cycles, latency_ns = report.latency_max_cycles, report.latency_max_ns
    if latency_ns is None and cycles is not None and report.clock_ns is not None:
        latency_ns = cycles * report.clock_ns
    version = report.version or "unknown version"
    return Resources(
        stage=HLS,
        tool=f"{report.tool} {version} (csynth.rpt)" if report.tool else f"{version} (csynth.xml)",
        part=report.part or "unknown",
        clock_ns=report.clock_ns,
        lut=_whole(total.lut),
        ff=_whole(total.ff),
        dsp=_whole(total.dsp),
        bram=_whole(total.bram),
        latency_cycles=cycles,
        interval_cycles=report.interval_max_cycles,
        latency_ns=latency_ns,
        uram=_whole(total.uram),
        period_ns=report.estimated_ns,
        lut_available=_whole(available.lut),
        ff_available=_whole(available.ff),
        dsp_available=_whole(available.dsp),
        bram_available=_whole(available.bram),
        uram_available=_whole(available.uram),
        date=report.date,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
