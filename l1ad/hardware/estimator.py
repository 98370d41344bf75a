"""Resources and latency of a network before any synthesis: counted on its weights and types, calibrated on Yosys.

What `l1ad.hardware.rtl` would build is counted without building it: adder bits after sub-expressions are shared,
saturation, rounding, gates, tables, and registers where the pipeline is cut.  How much sharing saves is a fitted law of
how often pairs of digits come again in the weights; what a counted bit costs in LUT is fitted on synthesised networks.
``benchmarks/estimator.py`` fits both and writes ``estimator.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.hardware.rtl.lower import HALVES, half
from l1ad.hardware.rtl.pipeline import BIT_NS, LUT_NS, REGISTER_NS
from l1ad.hardware.sharing import bits_per_adder, count_digits, share_left, sharing, waiting
from l1ad.network import Flow, Network, aligned
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, Operation, reads

CALIBRATION = Path(__file__).with_name("estimator.toml")
KINDS = ("adder", "invert", "saturate", "choose", "table")
"""What costs LUT, in bits: of adders, those in which both operands vary; of sums with a constant, those that it inverts
(a carry chain passes the others on); of tables, 64 entries."""
SHORT = 3
"""Clocks; what waits longer Yosys keeps in shift registers, which are no flip-flops."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """Resources before synthesis.

    Parameters
    ----------
    clock_ns : float
        Period that the pipeline is cut for.
    lut, ff : int
        As `l1ad.hardware.synthesis` counts them: LUTs as logic, without shift registers; flip-flops.
    latency_cycles : int
    latency_ns : float
    lut_error, ff_error : (float, float)
        Relative error on networks that the calibration has not seen: the median, and what 90 % are within.
    """

    clock_ns: float
    lut: int
    ff: int
    latency_cycles: int
    latency_ns: float
    lut_error: tuple[float, float]
    ff_error: tuple[float, float]


@dataclass
class Counts:
    """What a network has.

    Parameters
    ----------
    bits : dict of str to float
        Of each of `KINDS`.
    registers : float
        Bits that wait up to `SHORT` clocks, each once a clock.
    delayed : float
        Bits that wait longer: shift registers.
    latency_cycles : int
    """

    bits: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    registers: float = 0.0
    delayed: float = 0.0
    latency_cycles: int = 0


@dataclass(frozen=True)
class Step:
    """One node of the longest path of an operation: its delay, and the bits that a register in front of it holds."""

    ns: float
    waiting: float


@cache
def calibration() -> Mapping[str, Any]:
    """What ``benchmarks/estimator.py`` has fitted."""
    return tomllib.loads(CALIBRATION.read_text(encoding="utf-8"))


def estimate(network: Network, clock_ns: float) -> Estimate:
    """Resources of the pipelined RTL of a network.

    Parameters
    ----------
    network : Network
    clock_ns : float
        Period that the pipeline is cut for.

    Raises
    ------
    UnsupportedError
        If an operation is not known here.
    ValueError
        If the clock is too fast for some part.
    """
    known = calibration()
    counts = count(network, clock_ns, known)
    lut = sum(known["lut"][kind] * counts.bits[kind] for kind in KINDS)
    error = known["error"]
    return Estimate(
        clock_ns,
        round(lut),
        round(known["ff"]["register"] * counts.registers + known["ff"]["delayed"] * counts.delayed),
        counts.latency_cycles,
        counts.latency_cycles * clock_ns,
        (error["lut_median"], error["lut_90"]),
        (error["ff_median"], error["ff_90"]),
    )


def method() -> str:
    """What the numbers of `estimate` are, in a line: how they are made, and how wrong they are."""
    known = calibration()["error"]
    lut, ff = (
        f"median error {known[f'{key}_median']:.0%}, 90 % within {known[f'{key}_90']:.0%}" for key in ("lut", "ff")
    )
    return (
        f"count of l1ad's RTL, calibrated against Yosys {known['yosys']} on {known['fitted']} networks; on "
        f"{known['held_out']} others LUT: {lut}; FF: {ff}; latency within a clock for {known['latency_within_one']:.0%}"
    )


def count(network: Network, clock_ns: float, known: Mapping[str, Any]) -> Counts:
    """Bits of each kind, registers and latency; `known`: the laws, as `calibration` has them."""
    counts, room = Counts(), clock_ns - REGISTER_NS
    alive = needed(network)
    ends: dict[str, tuple[int, float]] = {}
    last_read: dict[str, int] = {}
    for operation in network.operations:
        if isinstance(operation, Input):
            ends[operation.name] = (0, 0.0)
            continue
        steps = _steps(operation, network, alive, counts.bits, known)
        sources = reads(operation)
        stage = max(ends[source][0] for source in sources)
        ready = max(ends[source][1] for source in sources if ends[source][0] == stage)
        begin = None
        for step in steps:
            if step.ns > room:
                raise ValueError(
                    f"clock_ns must be at least {step.ns + REGISTER_NS:.2f} for operation {operation.name!r}, not "
                    f"{clock_ns:g}; take a slower clock"
                )
            late = stage == 0 or ready + step.ns > room
            stage, ready = (stage + 1, step.ns) if late else (stage, ready + step.ns)
            if begin is not None and late:
                counts.registers += step.waiting
            begin = stage if begin is None else begin
        for source in sources:
            last_read[source] = max(last_read.get(source, 0), stage if begin is None else begin)
        ends[operation.name] = (stage, ready)
    for name, read in last_read.items():
        waits, held = read - ends[name][0], float(_flow_widths(network.flows[name])[alive[name]].sum())
        if waits > SHORT:
            counts.delayed += held
        else:
            counts.registers += waits * held
    stage, ready = ends[network.score.name]
    width = network.score.out.width
    compares = 2 * LUT_NS + width * BIT_NS
    late = stage == 0 or ready + compares > room
    counts.latency_cycles = stage + 1 + late
    counts.registers += width * (1 + late) + counts.latency_cycles + 1
    counts.bits["adder"] += width
    return counts


def needed(network: Network) -> dict[str, Flags]:
    """Which elements of each operation the score depends on, and are not constant."""
    wanted = {o.name: np.zeros(network.flows[o.name].size, bool) for o in network.operations}
    wanted[network.score.name][:] = True
    for operation in reversed(network.operations):
        flow, mine = network.flows[operation.name], wanted[operation.name]
        mine &= np.not_equal(flow.low, flow.high).astype(bool)
        match operation:
            case Input():
                pass
            case Dense(x=x, weight=weight):
                wanted[x] |= (weight[:, mine] != 0).any(axis=1)
            case Convolution(x=x):
                windows, weight = operation.windows(), operation.weight.reshape(-1, operation.weight.shape[-1])
                used = (mine.reshape(len(windows), -1) @ (weight != 0).T) & (windows >= 0)
                wanted[x][windows[used]] = True
            case Mask(x=x, by=by, index=index):
                wanted[x] |= mine
                wanted[by][index[mine]] = True
            case Dot():
                for source in reads(operation):
                    wanted[source] |= mine.any()
            case _:
                for source in reads(operation):
                    wanted[source] |= mine
    return wanted


def _steps(
    operation: Operation, network: Network, alive: Mapping[str, Flags], bits: dict[str, float], known: Mapping[str, Any]
) -> list[Step]:
    """Nodes on the longest path of an operation; what all its nodes take is added to `bits`."""
    flow, mine = network.flows[operation.name], alive[operation.name]
    if not mine.any():
        return []
    low, high = (end[mine].astype(np.int64) for end in (flow.exact_low, flow.exact_high))
    frac = flow.accumulator.frac
    match operation:
        case Affine(x=x, scale=scale, bias=bias):
            widths = _flow_widths(network.flows[x])[mine]
            constants = _constants(bias[mine], frac - operation.bias_type.frac, frac, operation.out)
            number = count_digits(scale[mine])
            bits["adder"] += float((np.maximum(number - 1, 0) * widths).sum())
            bits["invert"] += _inverted(constants, widths)
            levels = _levels(int((number + (constants != 0)).max()))
            steps = [_adder(float(widths.max()) + 2, float((widths + 2).sum()))] * levels
            return steps + _cast(low, high, frac, operation.out, bits, halved=True)
        case Dense(x=x, weight=weight, bias=bias, product=None):
            used = alive[x]
            widths = _flow_widths(network.flows[x])[used]
            constants = _constants(bias[mine], frac - operation.bias_type.frac, frac, operation.out)
            signed = _signed(network.flows[x])[used]
            steps = _shared(weight[np.ix_(used, mine)], constants, widths, signed, _widths(low, high), bits, known)
            return steps + _cast(low, high, frac, operation.out, bits, halved=True)
        case Dense(x=x, weight=weight, bias=bias):
            used = alive[x]
            widths = _flow_widths(network.flows[x])[used]
            return _cast_products(operation, weight[np.ix_(used, mine)], widths, 1, (low, high), network, bits)
        case Convolution(x=x, bias=bias):
            windows = operation.windows()
            seen = np.append(alive[x], False)[windows]
            widths = np.append(_flow_widths(network.flows[x]), 0)[windows].max(axis=0)
            weight = operation.weight.reshape(windows.shape[1], -1)
            if operation.product is not None:
                repeats = float(seen.any(axis=1).sum())
                return _cast_products(operation, weight, widths, repeats, (low, high), network, bits)
            filters = mine.reshape(len(windows), -1).any(axis=0)
            constants = _constants(bias[filters], frac - operation.bias_type.frac, frac, operation.out)
            results = np.full(int(filters.sum()), float(_widths(low, high).mean()))
            one = dict.fromkeys(KINDS, 0.0)
            signs: Flags = np.append(_signed(network.flows[x]), False)[windows].max(axis=0)
            steps = _shared(weight[:, filters], constants, widths, signs, results, one, known)
            repeats = float(seen.mean()) * len(windows)
            for kind in KINDS:
                bits[kind] += one[kind] * repeats
            steps = [Step(step.ns, step.waiting * repeats) for step in steps]
            return steps + _cast(low, high, frac, operation.out, bits, halved=True)
        case Merge(how="multiply", x=x, y=y):
            steps = _products(network, x, y, mine, bits)
        case Merge(how=how, x=x, y=y):
            width = _widths(low, high)
            total = float(width.sum())
            if how in ("add", "subtract"):
                bits["adder"] += _overlap(network, x, y, mine)
                steps = [_adder(float(width.max()), 2 * total)]
            else:
                bits["adder"] += total
                bits["choose"] += total
                steps = [_adder(float(width.max()), 2 * total), Step(LUT_NS, 2 * total)]
        case Mask(by=by, index=index):
            total = float(_widths(low, high).sum())
            tested = _flow_widths(network.flows[by])[np.unique(index[mine])]
            bits["choose"] += total + float(tested.sum()) / 5
            steps = [Step(LUT_NS * (1 + (tested.max(initial=0) > 4)), total)]
        case Dot(x=x, y=y, product=product):
            used = alive[x] | alive[y]
            steps = _products(network, x, y, used, bits)
            widths = _flow_widths(network.flows[x])[used] + _flow_widths(network.flows[y])[used]
            if product is not None:
                ends = _product_ends(network.flows[x], network.flows[y], used, x == y)
                steps = steps + _cast(*ends, aligned(operation, network), product, bits)
                widths = np.minimum(widths, product.width)
            constants = _constants(np.zeros(1, np.int64), 0, frac, operation.out)
            steps = steps + _tree(len(widths) + bool(constants[0]), float(widths.mean()), 1, bits)
            return steps + _cast(low, high, frac, operation.out, bits, halved=True)
        case Cast():
            steps = []
        case Lookup(x=x):
            widths = _flow_widths(network.flows[x])[mine]
            bits["table"] += float((operation.out.width * 2.0 ** np.maximum(widths - 6, 0)).sum())
            return [Step(LUT_NS * (1 + max(float(widths.max()) - 6, 0) / 2), float(widths.sum()))]
        case _:
            raise UnsupportedError(f"resource estimate does not cover {type(operation).__name__} ({operation.name!r})")
    return steps + _cast(low, high, frac, operation.out, bits)


def _shared(
    weight: Raw,
    constants: Raw,
    widths: Floats,
    signed: Flags,
    results: Floats,
    bits: dict[str, float],
    known: Mapping[str, Any],
) -> list[Step]:
    """Levels of adders of ``x @ weight + constants``; `widths`, `signed`: of x, (n,); `results`: of the sums, (m,)."""
    number = count_digits(weight)
    terms = number.sum(axis=0) + (constants != 0)
    found = sharing(weight)
    left = share_left(found, known)
    rows = number.sum(axis=1)
    width, result = float(np.average(widths, weights=rows)) if rows.any() else 0.0, float(results.mean())
    share = float(np.average(signed, weights=rows)) if rows.any() else 0.0
    bits["invert"] += _inverted(constants[terms > 1], width)
    size = float(bits_per_adder(width, result, share, left) @ known["sharing"]["bits"])
    bits["adder"] += found.plain * left * max(size, 1.0)
    levels = _levels(int(terms.max()))
    steps = []
    for level in range(levels):
        size = width + (result - width) * (level + 1) / levels
        held = waiting(terms, level, found, left, known) * size if level else float(widths.sum())
        steps.append(_adder(size + 1, held))
    return steps


def _cast_products(
    operation: Dense | Convolution,
    weight: Raw,
    widths: Floats,
    repeats: float,
    ends: tuple[Raw, Raw],
    network: Network,
    bits: dict[str, float],
) -> list[Step]:
    """Products that are cast one by one, each weight of a row once, and their sums."""
    product = operation.product
    if product is None:
        raise ValueError(f"operation {operation.name!r}: products must be cast")
    frac = aligned(operation, network)
    rounds = half(frac, product) != 0
    found = [np.unique(row[row != 0]) for row in weight]
    once = np.concatenate(found)
    width = np.repeat(widths, [len(row) for row in found])
    extra = count_digits(once) - 1 + rounds
    bits["adder"] += repeats * float(((count_digits(once) - 1) * width).sum())
    steps = [_adder(float(width.max(initial=0)) + 4, repeats * float(width.sum()))] * _levels(
        int(extra.max(initial=0)) + 1
    )
    reach = np.abs(once) << width.astype(np.int64)
    one = dict.fromkeys(KINDS, 0.0)
    steps = steps + _cast(-reach, reach, frac, product, one, halved=True)
    for kind in KINDS:
        bits[kind] += repeats * one[kind]
    terms = (weight != 0).sum(axis=0) + 1
    tree: list[Step] = []
    for n in terms.tolist():
        longest = _tree(n, float(product.width), repeats, bits)
        tree = max(tree, longest, key=len)
    return steps + tree + _cast(*ends, network.flows[operation.name].accumulator.frac, operation.out, bits, halved=True)


def _tree(terms: int, width: float, repeats: float, bits: dict[str, float]) -> list[Step]:
    """Levels of a tree of adders of terms that share nothing."""
    steps, n = [], terms
    while n > 1:
        bits["adder"] += repeats * (n // 2) * width
        width += 1
        steps.append(_adder(width, repeats * n * width))
        n -= n // 2
    return steps


def _products(network: Network, x: str, y: str, used: Flags, bits: dict[str, float]) -> list[Step]:
    """Products of elements; the longest of them."""
    longest: list[Step] = []
    one, other = (_flow_widths(network.flows[name])[used] for name in (x, y))
    pairs, numbers = np.unique(np.stack([one, other]), axis=1, return_counts=True)
    signed = bool(_signed(network.flows[x])[used].any() or _signed(network.flows[y])[used].any())
    for (a, b), repeats in zip(pairs.T.astype(int).tolist(), numbers.tolist(), strict=True):
        steps = _square(a, repeats, signed, bits) if x == y else _multiplier(a, b, repeats, signed, bits)
        longest = max(longest, steps, key=lambda found: sum(step.ns for step in found))
    return longest


def _multiplier(a: int, b: int, repeats: int, signed: bool, bits: dict[str, float]) -> list[Step]:
    """Rows of the wider operand, one for each bit of the narrower."""
    wide, narrow = max(a, b), min(a, b)
    bits["choose"] += repeats * wide * narrow
    return [Step(LUT_NS, repeats * (a + b)), *_tree(narrow, wide + signed, repeats, bits)]


def _square(width: int, repeats: int, signed: bool, bits: dict[str, float]) -> list[Step]:
    """Tables of 6 bits, and of wider numbers the squares of two halves and their product."""
    if width <= 6:
        bits["table"] += repeats * 2 * max(width - 1, 0)
        return [Step(LUT_NS, repeats * width)]
    below = width // 2
    low, high = _square(below, repeats, False, bits), _square(width - below, repeats, signed, bits)
    product = _multiplier(width - below, below, repeats, signed, bits)
    bits["adder"] += repeats * (2 * width - below - 2 if signed else width)
    squares = [*max(low, high, key=len), _adder(2 * width, repeats * 2 * width)]
    return [*max(squares, product, key=len), _adder(2 * width, repeats * 3 * width)]


def _cast(
    low: Raw, high: Raw, frac: int, to: FixedPoint, bits: dict[str, float], *, halved: bool = False
) -> list[Step]:
    """Rounding and saturation of numbers of the ranges given, raw; `halved`: half of a unit is added already."""
    shift, steps, widths = frac - to.frac, [], _widths(low, high)
    total, most = float(widths.sum()), float(widths.max())
    if shift > 0:
        if HALVES[to.rounding] and not halved:
            steps.append(_adder(most, total))
        if to.rounding == "RND_CONV":
            steps.append(Step(LUT_NS * (1 + (shift > 6)), total))
        elif to.rounding in ("RND_INF", "RND_ZERO", "TRN_ZERO"):
            bits["invert"] += total * (to.rounding == "RND_ZERO")
            signed = low < 0
            bits["adder"] += float(signed.sum()) * (shift if to.rounding == "TRN_ZERO" else 1)
            if signed.any():
                steps += [_adder(most, total), _adder(most, total)]
        low, high = ((end + half(frac, to)) >> shift for end in (low, high))
    else:
        low, high = (end << -shift for end in (low, high))
    beyond = (low < to.min_raw) | (high > to.max_raw)
    if to.overflow == "WRAP" or not beyond.any():
        return steps
    widths = _widths(low, high)
    total = float(widths.sum())
    bits["saturate"] += float(to.width * beyond.sum())
    if to.overflow == "SAT_ZERO":
        return [*steps, _adder(float(widths.max()), total), Step(2 * LUT_NS, total)]
    return [*steps, Step(LUT_NS * (1 + (float(widths.max()) - to.width > 4)), total)]


def _constants(bias: Raw, up: int, frac: int, out: FixedPoint) -> Raw:
    """Constants of sums: the bias, and what rounding adds."""
    return (bias << up) + half(frac, out)


def _inverted(constants: Raw, widths: Floats | float) -> float:
    """Bits of terms that constants invert: by the ones of what is added, by the zeros of what is taken off."""
    ones = np.bitwise_count(np.abs(constants)).astype(np.int64)
    return float(np.where(constants < 0, np.maximum(widths - ones, 0), np.minimum(ones, widths)).sum())


def _product_ends(x: Flow, y: Flow, used: Flags, same: bool) -> tuple[Raw, Raw]:
    """Ranges of products of elements."""
    corners = np.stack([a[used] * b[used] for a in (x.low, x.high) for b in (y.low, y.high)]).astype(np.int64)
    return np.maximum(corners.min(axis=0), 0 if same else corners.min()), corners.max(axis=0)


def _widths(low: npt.ArrayLike, high: npt.ArrayLike) -> Floats:
    """Bits of integers from `low` to `high`; 0 of a constant."""
    lowest, highest = (np.asarray(end).astype(np.int64) for end in (low, high))
    magnitude = np.maximum(np.where(lowest < 0, -lowest - 1, 0), np.maximum(highest, 0))
    exponent = np.frexp(magnitude.astype(np.float64))[1]
    return np.where(lowest == highest, 0, np.maximum(exponent + (lowest < 0), 1)).astype(np.float64)


def _flow_widths(flow: Flow) -> Floats:
    return _widths(flow.low, flow.high)


def _signed(flow: Flow) -> Flags:
    return (flow.low < 0).astype(bool)


def _overlap(network: Network, x: str, y: str, used: Flags) -> float:
    """Bits of sums of elements in which both vary; a sign goes on to the top."""
    frac = max(network[x].out.frac, network[y].out.frac)
    ups = [frac - network[name].out.frac for name in (x, y)]
    widths = [_flow_widths(network.flows[name])[used] for name in (x, y)]
    signed = [_signed(network.flows[name])[used] for name in (x, y)]
    ends = [up + width for up, width in zip(ups, widths, strict=True)]
    top = np.minimum(*(np.where(sign, np.maximum(*ends), end) for sign, end in zip(signed, ends, strict=True)))
    return float(np.where(np.minimum(*widths) > 0, np.maximum(top - max(ups), 0), 0).sum())


def _adder(width: float, held: float) -> Step:
    return Step(2 * LUT_NS + width * BIT_NS, held)


def _levels(n: float) -> int:
    """Levels of a balanced tree."""
    return max(int(np.ceil(np.log2(n))), 0) if n > 1 else 0
