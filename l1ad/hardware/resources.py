"""Latency and resources, each number with its stage; what a tool did not say is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

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
COSIMULATION = "C/RTL co-simulation"
LOGIC = "logic synthesis"
PLACED = "placement"
ROUTED = "place-and-route"
STAGES = (ESTIMATE, HLS, COSIMULATION, LOGIC, PLACED, ROUTED)
"""In the order of the work, from the least certain numbers to the most."""

LEVEL_NS = 0.9
"""Assumed delay of one level of carry-chain adders with routing, UltraScale+ speed grade 2: a round figure, not
calibrated against any synthesis."""

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
        One of `STAGES`.
    tool : str
        What made the numbers, with version; for an estimate, its method.
    part : str
    clock_ns : float or None
        Target clock period.
    lut, ff, dsp, bram : int or None
        Used; block RAMs of 18 kb, so that one of 36 kb counts twice.
    latency_cycles, interval_cycles : int or None
        Of one event, and between events; the longest.
    latency_ns : float or None
    uram : int or None
    period_ns : float or None
        Clock period that the stage reaches: estimated by C synthesis, target less `wns_ns` afterwards.
    wns_ns : float or None
        Worst negative slack of setup.
    lut_available, ff_available, dsp_available, bram_available, uram_available : int or None
        On the whole part.
    date : str or None
        When the tool made the numbers, as it wrote it.
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
    uram: int | None = None
    period_ns: float | None = None
    wns_ns: float | None = None
    lut_available: int | None = None
    ff_available: int | None = None
    dsp_available: int | None = None
    bram_available: int | None = None
    uram_available: int | None = None
    date: str | None = None

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {STAGES}, not {self.stage!r}")


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
