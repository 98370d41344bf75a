"""Latency and resources, each number with its stage; what a tool did not say is None, never 0."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import (
    Affine,
    Cast,
    Convolution,
    Dense,
    Dot,
    Input,
    Lookup,
    Mask,
    Merge,
    Operation,
    reads,
)

ESTIMATE = "estimate"
HLS = "HLS C synthesis"

LEVEL_NS = 0.9
"""Assumed delay of one level of carry-chain adders with routing, UltraScale+ speed grade 2: a round figure, not
calibrated against any synthesis."""

_REPORT = "*_prj/solution1/syn/report/csynth.xml"

METHOD = (
    "adder count: a constant multiplier costs one adder per non-zero digit of the weight's canonical signed-digit "
    "form beyond the first, sums are balanced trees, an adder bit is one LUT, saturation one LUT per bit, no "
    f"sub-expression shared; {LEVEL_NS} ns per adder level, in whole clocks; FF not estimated"
)


@dataclass(frozen=True)
class Resources:
    """One row of the resource table.

    Parameters
    ----------
    stage : str
        `ESTIMATE` or `HLS`.
    tool : str
        What made the numbers, with version; for an estimate, its method.
    part : str
    clock_ns : float or None
        Target clock period.
    lut, ff, dsp, bram : int or None
    latency_cycles, interval_cycles : int or None
        Of one event, and between events.
    latency_ns : float or None
    """

    stage: str
    tool: str
    part: str
    clock_ns: float | None
    lut: int | None
    ff: int | None
    dsp: int | None
    bram: int | None
    latency_cycles: int | None
    interval_cycles: int | None
    latency_ns: float | None


def estimate(network: Network, target: Target) -> Resources:
    """Resources before any synthesis, by `METHOD`.

    Raises
    ------
    ValueError
        If the target reuses multipliers, which the count does not cover.
    """
    if target.reuse_factor != 1:
        raise ValueError(f"resource estimate needs reuse_factor 1, not {target.reuse_factor}; synthesise instead")
    lut = 0
    ready: dict[str, int] = {}
    for operation in network.operations:
        adder_bits, levels = _cost(operation, network)
        lut += adder_bits
        start = max((ready[source] for source in reads(operation)), default=0)
        ready[operation.name] = start + levels
    total_ns = ready[network.score.name] * LEVEL_NS
    cycles = max(ceil(total_ns / target.clock_ns), 1)
    return Resources(
        ESTIMATE, METHOD, target.part, target.clock_ns, lut, None, 0, 0, cycles, 1, cycles * target.clock_ns
    )


def _cost(operation: Operation, network: Network) -> tuple[int, int]:
    """LUT of one operation and its depth in adder levels, final cast included."""
    flow = network.flows[operation.name]
    accumulator = flow.accumulator.width
    cast_luts, cast_levels = _cast_cost(operation.out, flow.accumulator, flow.size)
    match operation:
        case Input():
            return 0, 0
        case Affine(x=x, scale=scale, bias=bias):
            luts, depth = _sum_cost(np.diag(scale), bias, network[x].out.width, accumulator)
            return luts + cast_luts, depth + cast_levels
        case Dense(x=x, weight=weight, bias=bias):
            luts, depth = _sum_cost(weight, bias, network[x].out.width, accumulator)
            return luts + cast_luts, depth + cast_levels
        case Convolution(x=x, weight=weight, bias=bias):
            windows = operation.windows()
            luts, depth = _sum_cost(weight.reshape(windows.shape[1], -1), bias, network[x].out.width, accumulator)
            return len(windows) * luts + cast_luts, depth + cast_levels
        case Merge(how="multiply", x=x, y=y):
            luts, depth = _multiplier(network[x].out.width, network[y].out.width)
            return flow.size * luts + cast_luts, depth + cast_levels
        case Merge():
            return flow.size * accumulator + cast_luts, 1 + cast_levels
        case Mask():
            # each object's pT is compared with 0, then gates its elements
            objects = len(set(operation.index.tolist()))
            return objects * ceil(network[operation.by].out.width / 6) + flow.size * accumulator, 1
        case Dot(x=x, y=y):
            size = network.flows[x].size
            luts, depth = _multiplier(network[x].out.width, network[y].out.width)
            luts //= 1 + (x == y)  # half of a square's partial products are the other half
            return size * luts + (size - 1) * accumulator + cast_luts, depth + _log2(size) + cast_levels
        case Cast():
            return cast_luts, cast_levels
        case Lookup(x=x):
            # a LUT holds 64 entries of one bit
            width = network[x].out.width
            return flow.size * operation.out.width * ceil(2**width / 64), max(ceil(width / 6), 1)
        case _:
            raise UnsupportedError(f"resource estimate does not cover {type(operation).__name__}")


def _sum_cost(weight: Raw, bias: Raw, source: int, accumulator: int) -> tuple[int, int]:
    """LUT and levels of all columns of constant multipliers and their adder trees; `source`: bits of the inputs."""
    luts = depth = 0
    for column, constant in zip(weight.T, bias, strict=True):
        digits = [_signed_digits(int(w)) for w in column]
        terms = sum(1 for d in digits if d) + bool(constant)
        products = sum((d - 1) * (source + int(abs(w)).bit_length()) for d, w in zip(digits, column, strict=True) if d)
        luts += products + max(terms - 1, 0) * accumulator
        depth = max(depth, _log2(max(digits, default=1)) + _log2(terms))
    return luts, depth


def _multiplier(one: int, other: int) -> tuple[int, int]:
    """LUT and levels of a multiplier of two variables, as a tree of adders."""
    return one * other, _log2(min(one, other))


def _cast_cost(out: FixedPoint, source: FixedPoint, size: int) -> tuple[int, int]:
    """Rounding is an adder, saturation a multiplexer; truncation and wrap are wires."""
    rounds = source.frac > out.frac and out.rounding != "TRN"
    saturates = out.overflow != "WRAP" and source.width - source.frac > out.width - out.frac
    return size * out.width * (rounds + saturates), int(rounds) + int(saturates)


def _signed_digits(weight: int) -> int:
    """Non-zero digits of the canonical signed-digit form."""
    return (abs(weight) ^ (3 * abs(weight))).bit_count()


def _log2(n: int) -> int:
    return max(n - 1, 0).bit_length()


def find_vitis() -> list[str] | None:
    """Command that runs a project's ``build_prj.tcl``, or None if Vitis HLS is not on the PATH."""
    if shutil.which("vitis-run"):
        return ["vitis-run", "--mode", "hls", "--tcl", "build_prj.tcl"]
    if shutil.which("vitis_hls"):
        return ["vitis_hls", "-f", "build_prj.tcl"]
    return None


def synthesise(folder: str | Path, command: list[str]) -> Resources:
    """Run C synthesis of a Vitis HLS project and parse its report.

    Parameters
    ----------
    folder : path
        Of the project.
    command : list of str
        From `find_vitis`.

    Raises
    ------
    RuntimeError
        If the tool fails or writes no report; the text names its log.
    """
    folder = Path(folder)
    (folder / "build_opt.tcl").write_text(
        "array set opt {\n reset 1\n csim 0\n synth 1\n cosim 0\n validation 0\n export 0\n vsynth 0\n fifo_opt 0\n}\n"
    )
    for earlier in folder.glob(_REPORT):
        earlier.unlink()
    log = folder / "vitis.log"
    with log.open("w") as out:
        code = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT).returncode
    reports = sorted(folder.glob(_REPORT))
    if code or not reports:
        raise RuntimeError(f"{folder}: {command[0]} ended with status {code} and {len(reports)} reports; see {log}")
    return parse_csynth(reports[-1])


def parse_csynth(path: str | Path) -> Resources:
    """Resources out of ``csynth.xml`` of Vivado HLS or Vitis HLS.

    Raises
    ------
    ValueError
        If the file is damaged or something else; the text names it.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise ValueError(f"{path}: not a whole csynth report: {error}; synthesise again") from error
    if root.tag != "profile" or root.find("AreaEstimates/Resources") is None:
        raise ValueError(f"{path}: not a csynth report of Vivado or Vitis HLS; synthesise again")

    def text(key: str) -> str | None:
        found = root.findtext(key)
        return found.strip() if found and found.strip() not in ("", "undef", "N/A") else None

    def number(key: str) -> float | None:
        said = text(key)
        try:
            return None if said is None else float(said)
        except ValueError:
            raise ValueError(f"{path}: {key} must be a number, not {said!r}; synthesise again") from None

    def integer(*keys: str) -> int | None:
        return next((int(value) for value in map(number, keys) if value is not None), None)

    area, overall = "AreaEstimates/Resources/", "PerformanceEstimates/SummaryOfOverallLatency/"
    clock = number("UserAssignments/TargetClockPeriod")
    cycles = integer(overall + "Worst-caseLatency")
    return Resources(
        stage=HLS,
        tool=f"{text('ReportVersion/Version') or 'unknown version'} (csynth.xml)",
        part=text("UserAssignments/Part") or "unknown",
        clock_ns=clock,
        lut=integer(area + "LUT"),
        ff=integer(area + "FF"),
        dsp=integer(area + "DSP", area + "DSP48E"),
        bram=integer(area + "BRAM_18K"),
        latency_cycles=cycles,
        interval_cycles=integer(overall + "Interval-max"),
        latency_ns=cycles * clock if cycles is not None and clock is not None else None,
    )
