"""The netlist clock by clock, gate by gate, for many events at once; and the proof that its pipeline is balanced.

A net is a bit of each of many streams of events, 64 of them in a word, so that a cell is a few operations on words.
Every register is one, so that nothing is assumed of the pipeline: latency, reset and the order of events are the
netlist's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l1ad import progress
from l1ad.errors import MismatchError, UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.hardware.rtl.design import Design
from l1ad.hardware.synthesis.netlist import CLOCK, REGISTERS, Cell, Netlist

STREAMS = 2048
"""Of events that are simulated at once."""
STATIC = ("clk", "rst", "threshold")
"""Inputs that are not of an event: `balance` does not look at what depends on nothing else."""

Words = npt.NDArray[np.uint64]
Group = tuple[str, dict[str, npt.NDArray[np.int64]], Words]
"""Kind of cells, nets at each of their pins, contents of each if it is a LUT."""
_NONE, _ALL = np.uint64(0), ~np.uint64(0)


def simulate_gates(netlist: Netlist, design: Design, x: Raw, threshold: int) -> tuple[Raw, npt.NDArray[np.bool_]]:
    """Scores and decisions of the netlist.

    Registers that have no initial value start at random.  After one clock of ``rst``, events enter as fast as the
    design takes them, but for each fifth; where none enters, ``valid_in`` is 0 and the inputs are another event's.

    Parameters
    ----------
    netlist : Netlist
    design : Design
        What it was made of.
    x : int64 array, shape (n_events, n_inputs)
        Raw trigger integers.
    threshold : int
        Raw.

    Returns
    -------
    score : int64 array, shape (n_events,)
        Raw.
    accept : bool array, shape (n_events,)

    Raises
    ------
    TypeError, ValueError
        If `x` or `threshold` does not fit the ports.
    MismatchError
        If ``valid_out`` is not ``valid_in`` of `latency_cycles` ago, or ``accept`` is 1 without it.
    UnsupportedError
        If a cell is not modelled.
    """
    _check(design, x, threshold)
    score, accept = np.empty(len(x), np.int64), np.empty(len(x), bool)
    clocks = np.arange(1, 2 * design.latency_cycles + 1, design.interval_cycles)
    clocks = clocks[np.arange(len(clocks)) % 5 != 4]  # on which events enter
    streams = min(max(-(-len(x) // len(clocks)), 1), STREAMS)
    circuit, at_once = Circuit(netlist, streams), streams * len(clocks)
    with progress.task(f"{design.top} at gate level", len(x)) as task:
        for start in range(0, len(x), at_once):
            order = (start + np.arange(at_once)) % len(x)
            stop = min(start + at_once, len(x))
            made = _streams(circuit, design, x, order.reshape(len(clocks), streams), threshold, clocks)
            score[start:stop], accept[start:stop] = (values.ravel()[: stop - start] for values in made)
            task.advance(stop - start)
    return score, accept


def _check(design: Design, x: Raw, threshold: int) -> None:
    if x.dtype != np.int64:
        raise TypeError(f"{design.top}: raw inputs must be int64, not {x.dtype}")
    if x.ndim != 2 or x.shape[1] != len(design.inputs):
        raise ValueError(f"{design.top}: inputs must be of shape (n_events, {len(design.inputs)}), not {x.shape}")
    columns = [(port, x[:, i]) for i, port in enumerate(design.inputs)]
    for port, column in (*columns, (design.score, np.array([threshold]))):
        kind = FixedPoint(port.width, 0, port.signed)
        if column.size and not kind.min_raw <= column.min() <= column.max() <= kind.max_raw:
            what = "threshold" if port is design.score else port.name
            raise ValueError(
                f"{design.top}: {what} must lie in {kind.min_raw}..{kind.max_raw}, not {column.min()}..{column.max()}"
            )


def _streams(
    circuit: Circuit,
    design: Design,
    x: Raw,
    order: npt.NDArray[np.int64],
    threshold: int,
    clocks: npt.NDArray[np.int64],
) -> tuple[Raw, npt.NDArray[np.bool_]]:
    """Scores and decisions of events ``x[order]``, order being of shape (clocks, streams)."""
    scores, accepts = np.empty(order.shape, np.int64), np.empty(order.shape, bool)
    row = {clock: number for number, clock in enumerate(clocks.tolist())}
    for clock in range(clocks[-1] + design.latency_cycles + 1):
        # while it is reset, an event knocks
        valid = clock == 0 or clock in row
        columns = x[order[row.get(clock, clock % len(order))]].T
        given = {port.name: column for port, column in zip(design.inputs, columns, strict=True)}
        controls = {"rst": clock == 0, "valid_in": valid, "threshold": threshold}
        made = circuit.clock(given | {name: np.array(value, np.int64) for name, value in controls.items()})
        if clock == 0:
            continue  # the registers are not reset yet
        due = row.get(clock - design.latency_cycles)
        accept = made["accept"].astype(bool)
        if (made["valid_out"] != (due is not None)).any() or (due is None and accept.any()):
            raise MismatchError(
                f"{circuit.netlist.source}: at clock {clock}, valid_out must be {int(due is not None)} in all streams, "
                "and accept 0 where it is; the netlist is not the design"
            )
        if due is not None:
            sign = 1 << (design.score.width - 1) if design.score.signed else 0
            scores[due], accepts[due] = (made["score"] ^ sign) - sign, accept
    return scores, accepts


class Circuit:
    """A netlist with the state of its registers.

    Cells of one kind that wait for none of each other are computed together.  A shift register is so many flip-flops.

    Parameters
    ----------
    netlist : Netlist
    streams : int
        How many copies run beside each other.

    Raises
    ------
    UnsupportedError
        If a cell is not modelled.
    """

    def __init__(self, netlist: Netlist, streams: int) -> None:
        self.netlist, self.streams = netlist, streams
        flops, n_nets = _flops(netlist)
        self.logic = _groups(netlist, n_nets)
        self.flops = {key: np.array([getattr(flop, key) for flop in flops], np.int64) for key in _Flop._fields}
        self.nets = np.zeros((n_nets + 1, -(-streams // 64)), np.uint64)
        self.nets[1] = _ALL
        initial = self.flops["initial"]
        self.nets[self.flops["q"]] = np.where(
            initial[:, None] < 0,
            np.random.default_rng(0).integers(0, _ALL, (len(flops), self.nets.shape[1]), np.uint64),
            np.where(initial[:, None] == 1, _ALL, _NONE),
        )

    def clock(self, inputs: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, Raw]:
        """Outputs before a rising edge, as unsigned integers; then the edge.

        Parameters
        ----------
        inputs : mapping of str to integer array of shape (streams,) or ()
            Every input but ``clk``.
        """
        v, flops = self.nets, self.flops
        for name, nets in self.netlist.inputs.items():
            if name != "clk":
                v[list(nets)] = self._packed(inputs[name], len(nets))
        for kind, pins, table in self.logic:
            _evaluate(kind, pins, table, v)
        made = {name: self._unpacked(nets) for name, nets in self.netlist.outputs.items()}
        old, reset = v[flops["q"]], v[flops["reset"]]
        new = old ^ ((old ^ v[flops["d"]]) & v[flops["enable"]])
        v[flops["q"]] = np.where(flops["sets"][:, None] == 1, new | reset, new & ~reset)
        return made

    def _packed(self, values: npt.NDArray[np.int64], width: int) -> Words:
        """Bits of integers, shape (width, words)."""
        whole = np.zeros((width, self.nets.shape[1] * 64), np.uint8)
        whole[:, : self.streams] = (np.asarray(values, np.int64) >> np.arange(width)[:, None]) & 1
        return np.packbits(whole, axis=1, bitorder="little").view(np.uint64)

    def _unpacked(self, nets: tuple[int, ...]) -> Raw:
        bits = np.unpackbits(self.nets[list(nets)].view(np.uint8), axis=1, bitorder="little")[:, : self.streams]
        made: Raw = (bits.astype(np.int64) << np.arange(len(nets))[:, None]).sum(axis=0)
        return made


class _Flop(NamedTuple):
    """Nets of a flip-flop; `sets` is 1 where its reset sets it, `initial` -1 where it starts as it likes."""

    d: int
    q: int
    enable: int
    reset: int
    sets: int
    initial: int


def _flops(netlist: Netlist) -> tuple[list[_Flop], int]:
    """Flip-flops, and how many nets there are with those inside shift registers."""
    flops, free = [], netlist.size
    for cell in netlist.cells:
        if cell.kind not in REGISTERS:
            continue
        _check_register(netlist, cell)
        count = taps(netlist, cell)
        bits = cell.parameters.get("INIT", "x").rjust(count, "x")[::-1]
        chain = [cell.inputs["D"][0], *range(free, free + count - 1), cell.outputs["Q"][0]]
        free += count - 1
        enable, sets = cell.inputs.get("CE", (1,))[0], cell.kind == "FDSE"
        reset = cell.inputs["S" if sets else "R"][0] if cell.kind in ("FDRE", "FDSE") else 0
        for d, q, bit in zip(chain, chain[1:], bits, strict=False):
            flops.append(_Flop(d, q, enable, reset, sets, {"0": 0, "1": 1}.get(bit, -1)))
    return flops, free


def _groups(netlist: Netlist, nowhere: int) -> list[Group]:
    """Cells of the logic, in pieces that fit a cache; outputs that lead to nothing are net `nowhere`."""
    level: dict[int, int] = {}
    found: dict[tuple[int, str], list[Cell]] = {}
    for cell in netlist.logic:
        mine = max((level.get(net, 0) for net in cell.read()), default=0)
        level.update(dict.fromkeys(cell.driven(), mine + 1))
        found.setdefault((mine, cell.kind), []).append(cell)
    groups: list[Group] = []
    for (_, kind), cells in sorted(found.items(), key=lambda item: item[0][0]):
        tables = [_table(cell) for cell in cells]
        step = 8192 // len(tables[0])  # a megabyte of intermediate words
        for start in range(0, len(cells), step):
            piece = cells[start : start + step]
            open_ends = {"O": (nowhere,) * 4, "CO": (nowhere,) * 4} if kind == "CARRY4" else {}
            ends = [{**open_ends, **cell.inputs, **cell.outputs} for cell in piece]
            pins = {pin: np.array([end[pin] for end in ends]).T for pin in ends[0]}
            table = np.where(tables[start : start + step], _ALL, _NONE)
            groups.append((kind, pins, table))
    return groups


def _table(cell: Cell) -> list[bool]:
    """Outputs of a LUT by the number that its inputs make."""
    if not cell.kind.startswith("LUT"):
        return [False]
    size = 1 << int(cell.kind[3:])
    return [bit == "1" for bit in reversed(cell.parameters["INIT"].rjust(size, "0")[-size:])]


def _evaluate(kind: str, pins: Mapping[str, npt.NDArray[np.int64]], table: Words, v: Words) -> None:
    """Compute cells of one kind; `pins` are nets of shape (bits, cells), `v` is of shape (nets, words)."""
    match kind:
        case "INV":
            v[pins["O"][0]] = ~v[pins["I"][0]]
        case "CARRY4":
            carry = v[pins["CI"][0]] | v[pins["CYINIT"][0]]
            for i in range(4):
                select, data = v[pins["S"][i]], v[pins["DI"][i]]
                v[pins["O"][i]] = select ^ carry
                carry = data ^ ((data ^ carry) & select)
                v[pins["CO"][i]] = carry
        case "MUXF7" | "MUXF8" | "MUXF9":
            zero = v[pins["I0"][0]]
            v[pins["O"][0]] = zero ^ ((zero ^ v[pins["I1"][0]]) & v[pins["S"][0]])
        case _:  # a LUT: each input halves its table
            left = table[:, :, None]
            for i in range(int(kind[3:])):
                low, high = left[:, ::2], left[:, 1::2]
                left = low ^ ((low ^ high) & v[pins[f"I{i}"][0]][:, None])
            v[pins["O"][0]] = left[:, 0]


def taps(netlist: Netlist, cell: Cell) -> int:
    """Clocks that a register delays its input by.

    Raises
    ------
    UnsupportedError
        If a shift register's length is not constant.
    """
    if not cell.kind.startswith("SRL"):
        return 1
    address = cell.inputs["A"] if "A" in cell.inputs else tuple(cell.inputs[f"A{i}"][0] for i in range(4))
    if max(address) > 1 or "Q31" in cell.outputs:
        raise UnsupportedError(f"{netlist.source}: {cell} must be of constant length, and not cascaded")
    return 1 + sum(bit << i for i, bit in enumerate(address))


def _check_register(netlist: Netlist, cell: Cell) -> None:
    """Only the rising edge of ``clk``, nothing inverted, nothing asynchronous."""
    clock = {net for pin in CLOCK & cell.inputs.keys() for net in cell.inputs[pin]}
    inverted = [key for key, value in cell.parameters.items() if key.startswith("IS_") and "1" in value]
    sudden = [pin for pin in ("CLR", "PRE") if cell.inputs.get(pin, (0,)) != (0,)]
    if clock != set(netlist.inputs.get("clk", ())) or inverted or sudden:
        raise UnsupportedError(
            f"{netlist.source}: {cell} must be clocked by the rising edge of clk alone; inverted {inverted}, "
            f"asynchronous {sudden}"
        )


def balance(netlist: Netlist, design: Design) -> int:
    """Registers on every path from an input of an event to an output: the latency, proved.

    ``valid_in`` counts as such an input.  ``threshold`` is compared where the score is made, so that paths from it
    are shorter, and ``rst`` reaches many registers: both are exempt.  A shift register counts its taps.

    Raises
    ------
    MismatchError
        If a cell joins paths of different lengths, a register holds its value, or an output's depth is not
        `Design.latency_cycles`; the text names the first.
    UnsupportedError
        If a cell is not modelled, or depends on itself.
    """
    depth = {net: 0 for name, nets in netlist.inputs.items() if name not in STATIC for net in nets}
    _ = netlist.logic  # every cell is known
    for cell in netlist.sort(netlist.cells):
        found = {net: depth[net] for net in cell.read() if net in depth}
        if len(set(found.values())) > 1:
            least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
            raise MismatchError(
                f"{netlist.source}: {cell} must join paths of one length, not {found[least]} registers "
                f"({netlist.net(least)}) and {found[most]} ({netlist.net(most)})"
            )
        more = 0
        if cell.kind in REGISTERS:
            _check_register(netlist, cell)
            if cell.inputs.get("CE", (1,)) != (1,):
                raise MismatchError(f"{netlist.source}: {cell} must take a value at every clock, and has an enable")
            more = taps(netlist, cell)
        if found:
            depth.update(dict.fromkeys(cell.driven(), next(iter(found.values())) + more))
    for name, nets in netlist.outputs.items():
        for index, net in enumerate(nets):
            if net in depth and depth[net] != design.latency_cycles:
                raise MismatchError(
                    f"{netlist.source}: output {name}[{index}] must be {design.latency_cycles} registers behind the "
                    f"inputs, not {depth[net]}"
                )
    if netlist.outputs["valid_out"][0] not in depth:
        raise MismatchError(f"{netlist.source}: valid_out must depend on valid_in")
    return design.latency_cycles
