"""``CORE_GENERATION_INFO``: the figures that Vivado HLS and Vitis HLS leave in the VHDL or Verilog of the top."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from l1ad.hardware.resources import HLS, Resources
from l1ad.hardware.vendor.tables import Report, integer, number, read_report

FOREIGN = "give the VHDL or Verilog of the top, as Vivado HLS or Vitis HLS wrote it"
ATTRIBUTE = re.compile(r"CORE_GENERATION_INFO\s*(?:of\s+(\w+)\s*:\s*\w+\s+is|=)\s*", re.IGNORECASE)
_VALUE = re.compile(r'"([^",]+),(\w+),\{([^"{}]*)\}"')


@dataclass(frozen=True)
class GenerationInfo:
    """The attribute of one top; None is what it does not say.

    Parameters
    ----------
    design : str
    ip : str
        As ``hls_ip_2019_1``.
    version : str or None
        As ``2019.1``.
    part, architecture, input_type : str or None
        The architecture is ``dataflow``, ``pipeline`` or ``others``.
    clock_ns, estimated_ns : float or None
        Clock period: target and estimated.
    latency_cycles, interval_cycles : int or None
    bram, dsp, ff, lut : int or None
        Estimates of C synthesis, block RAMs of 18 kb.
    """

    design: str
    ip: str
    version: str | None
    part: str | None
    architecture: str | None
    input_type: str | None
    clock_ns: float | None
    estimated_ns: float | None
    latency_cycles: int | None
    interval_cycles: int | None
    bram: int | None
    dsp: int | None
    ff: int | None
    lut: int | None


def parse_generation_info(path: str | Path) -> GenerationInfo:
    """Figures of the attribute in a VHDL or Verilog file.

    Raises
    ------
    ValueError
        If the file has no such attribute, more than one, or one that is cut short; the text names file and line.
    """
    report = read_report(path)
    text = "\n".join(report.lines)
    found = list(ATTRIBUTE.finditer(text))
    if len(found) != 1:
        raise report.refusal(1, f"file must have one CORE_GENERATION_INFO, not {len(found)}", FOREIGN)
    line = text.count("\n", 0, found[0].end()) + 1
    value = _VALUE.match(text, found[0].end())
    if not value:
        raise report.refusal(line, 'CORE_GENERATION_INFO must be "name,hls_ip,{KEY=value,...}"')
    end = rf"^end\s+(architecture\s+)?{found[0][1]}\s*;" if found[0][1] else r"^endmodule\b"
    if not re.search(end, text[value.end() :], re.MULTILINE | re.IGNORECASE):
        raise report.refusal(len(report.lines), f"file must end with the end of its design, as {end!r}")
    return _decode(report, line, value[1], value[2], value[3])


def _decode(report: Report, line: int, name: str, ip: str, pairs: str) -> GenerationInfo:
    said: dict[str, str] = {}
    for pair in pairs.split(","):
        key, equals, text = pair.partition("=")
        if not equals or key in said:
            raise report.refusal(line, f"CORE_GENERATION_INFO must hold distinct KEY=value, not {pair!r}")
        said[key] = text

    def whole(key: str) -> int | None:
        # -1 is a latency that the tool does not know
        return None if said.get(key, "-1") == "-1" else integer(report, line, key, said[key])

    def decimal(key: str) -> float | None:
        return number(report, line, key, said.get(key, ""))

    version = said.get("HLS_VERSION")
    return GenerationInfo(
        design=_design(name),
        ip=ip,
        version=version.replace("_", ".") if version else None,
        part=said.get("HLS_INPUT_PART") or None,
        architecture=said.get("HLS_INPUT_ARCH") or None,
        input_type=said.get("HLS_INPUT_TYPE") or None,
        clock_ns=decimal("HLS_INPUT_CLOCK"),
        estimated_ns=decimal("HLS_SYN_CLOCK"),
        latency_cycles=whole("HLS_SYN_LAT"),
        interval_cycles=whole("HLS_SYN_TPT"),
        bram=whole("HLS_SYN_MEM"),
        dsp=whole("HLS_SYN_DSP"),
        ff=whole("HLS_SYN_FF"),
        lut=whole("HLS_SYN_LUT"),
    )


def _design(name: str) -> str:
    """Vitis HLS writes the name of the top twice, with ``_`` between."""
    half = len(name) // 2
    return name[:half] if name == f"{name[:half]}_{name[:half]}" else name


def generation_row(info: GenerationInfo) -> Resources:
    """Row of the resource table."""
    cycles, clock = info.latency_cycles, info.clock_ns
    return Resources(
        stage=HLS,
        tool=f"{info.version or info.ip} (CORE_GENERATION_INFO)",
        part=info.part or "unknown",
        clock_ns=clock,
        lut=info.lut,
        ff=info.ff,
        dsp=info.dsp,
        bram=info.bram,
        latency_cycles=cycles,
        interval_cycles=info.interval_cycles,
        latency_ns=cycles * clock if cycles is not None and clock is not None else None,
        period_ns=info.estimated_ns,
    )
