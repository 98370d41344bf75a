"""Static timing of a netlist before it is placed: delays of Artix-7 cells, and one figure for every net.

It ranks designs and shows where the longest path lies.  It is no sign-off: nothing is placed or routed, and the
device is older and slower than those of a trigger.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from l1ad.errors import UnsupportedError
from l1ad.hardware.synthesis.netlist import CARRIES, CLOCK, LOGIC, LUTS, REGISTERS, Cell, Netlist

STAGE = "Artix-7 arcs, before routing"
NET_PS = 300
"""Assumed for each net that is routed: a round figure.  Not routed are those from carry cell to carry cell, into a wide
multiplexer's data, and into a register's D, since both ends lie in one slice."""

ULTRASCALE = "extrapolated to UltraScale+ (xcvu13p-2), after routing"
ULTRASCALE_RATIO = (0.46, 0.66)
"""Period after routing on xcvu13p-2 over the period found here; see `extrapolated_ns`."""

Pin = tuple[str, int]
Arcs = dict[str, dict[Pin, list[tuple[Pin, int]]]]


@dataclass(frozen=True)
class Library:
    """Delays of cells in picoseconds.

    Parameters
    ----------
    arcs : mapping of cell to output pin to list of (input pin, delay)
        Of a register's output, the one input is its clock.
    setup : mapping of cell to mapping of input pin to time before the clock's edge
    """

    arcs: Arcs
    setup: dict[str, dict[Pin, int]]


@dataclass(frozen=True)
class Step:
    """A cell on the longest path.

    Parameters
    ----------
    kind : str
        Such as ``LUT6``.
    net : str
        What the Verilog calls its output, or the cell's name.
    at_ps : int
        When its output settles.
    """

    kind: str
    net: str
    at_ps: int


@dataclass(frozen=True)
class Timing:
    """The longest path from register to register.

    Parameters
    ----------
    stage : str
        `STAGE`.
    period_ns : float
        Shortest clock period.
    luts, carries : int
        Cells of either kind on the path.
    path : tuple of Step
        From the first register to the last.
    """

    stage: str
    period_ns: float
    luts: int
    carries: int
    path: tuple[Step, ...]


def library(path: str | Path) -> Library:
    """Delays out of the ``specify`` blocks of Yosys's cells, as it writes them in JSON.

    Source: Yosys's ``xilinx/cells_sim.v``, which has them from Project X-Ray's Artix-7 data.

    Raises
    ------
    ValueError
        If the file is something else.
    """
    try:
        modules = json.loads(Path(path).read_text("utf-8"))["modules"]
        if missing := sorted((LOGIC | REGISTERS) - modules.keys()):
            raise ValueError(f"no {', '.join(missing)}")
        arcs: Arcs = {}
        setup: dict[str, dict[Pin, int]] = {}
        for kind in LOGIC | REGISTERS:
            module = modules[kind]
            pins = {bit: (name, i) for name, port in module["ports"].items() for i, bit in enumerate(port["bits"])}
            out: dict[Pin, list[tuple[Pin, int]]] = defaultdict(list)
            before: dict[Pin, int] = {}
            for cell in module["cells"].values():
                said, ends = cell["parameters"], cell["connections"]
                match cell["type"]:
                    case "$specify2" | "$specify3":
                        delay = _worst(said, "T_RISE_MAX", "T_FALL_MAX")
                        for a in ends["SRC"]:
                            for b in ends["DST"]:
                                out[pins[b]].append((pins[a], delay))
                    case "$specrule" if said["TYPE"] == "$setup":
                        for a in ends["SRC"]:
                            before[pins[a]] = max(before.get(pins[a], 0), _worst(said, "T_LIMIT_MAX"))
            arcs[kind], setup[kind] = dict(out), before
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a cell library in JSON by Yosys ({type(error).__name__}: {error}); synthesise again"
        ) from error
    return Library(arcs, setup)


def _worst(said: dict[str, str], *keys: str) -> int:
    return max(int(said[key], 2) for key in keys)


def analyse(netlist: Netlist, cells: Library) -> Timing:
    """Shortest period at which every path settles; paths from the ports start at 0.

    Raises
    ------
    UnsupportedError
        If the library has no delays of a cell, or there is no register.
    """
    arrival: dict[int, int] = dict.fromkeys((net for nets in netlist.inputs.values() for net in nets), 0)
    before: dict[int, int] = {}
    registers = [cell for cell in netlist.cells if cell.kind in REGISTERS]
    for cell in (*registers, *netlist.logic):
        arcs = cells.arcs.get(cell.kind)
        if not arcs:
            raise UnsupportedError(f"{netlist.source}: {cell} has no delays in Yosys's library of Artix-7 cells")
        for pin, nets in cell.outputs.items():
            for index, net in enumerate(nets):
                for (source, bit), delay in arcs.get((pin, index), ()):
                    start = cell.inputs[source][bit]
                    if source in CLOCK:
                        arrival[net] = delay
                    elif start in arrival and cell.kind in LOGIC:
                        at = arrival[start] + _wire(netlist.driver.get(start), cell, source) + delay
                        if at > arrival.get(net, -1):
                            arrival[net], before[net] = at, start
    ends = [
        (
            arrival[nets[bit]]
            + _wire(netlist.driver.get(nets[bit]), cell, pin)
            + cells.setup[cell.kind].get((pin, bit), 0),
            nets[bit],
            cell,
        )
        for cell in registers
        for pin, nets in cell.inputs.items()
        for bit in range(len(nets))
        if pin not in CLOCK and nets[bit] in arrival
    ]
    if not ends:
        raise UnsupportedError(f"{netlist.source}: must have a register with an input to be timed")
    period, net, last = max(ends, key=lambda end: end[0])
    backwards = [net]
    while backwards[-1] in before:
        backwards.append(before[backwards[-1]])
    path = [Step(_kind(netlist, net), netlist.net(net), arrival[net]) for net in reversed(backwards)]
    path.append(Step(last.kind, netlist.net(next(last.driven())), period))
    kinds = [step.kind for step in path]
    return Timing(
        STAGE,
        period / 1000,
        sum(kind in LUTS for kind in kinds),
        sum(kind in CARRIES for kind in kinds),
        tuple(path),
    )


def extrapolated_ns(timing: Timing, latency_cycles: int) -> tuple[float, float]:
    """Shortest and longest latency to expect on UltraScale+: a guess from other designs, labelled `ULTRASCALE`.

    It is the latency at the period found here times `ULTRASCALE_RATIO`, which rests on two sets of pipelines that one
    program (da4ml) cut by one rule, two levels of adders a clock.  They are not the same networks:

    - six that were published with reports after routing by Vivado on xcvu13p-2, of 36,000 to 62,000 LUTs, need 2.59
      to 3.33 ns (five of them at most 2.88 ns);
    - three of random weights, of 7,000 to 11,000 LUTs, have 5.03 to 5.61 ns here.

    Whole devices route worse: published designs of 100,000 to 300,000 LUTs need up to 4.9 ns.  Only Vivado can say what
    a design has.

    Source: github calad0i/JEDI-linear, ``official_result_reports``.

    Parameters
    ----------
    timing : Timing
    latency_cycles : int
        Of the design.
    """
    low, high = ULTRASCALE_RATIO
    here = latency_cycles * timing.period_ns
    return here * low, here * high


def _kind(netlist: Netlist, net: int) -> str:
    cell = netlist.driver.get(net)
    return cell.kind if cell else "input"


def _wire(driver: Cell | None, cell: Cell, pin: str) -> int:
    """Delay of the net from `driver` to a pin of `cell`."""
    match driver.kind if driver else "", cell.kind, pin:
        case ("CARRY4", "CARRY4", "CI") | ("MUXF7", "MUXF8", "I0" | "I1"):
            return 0
        case kind, "MUXF7", "I0" | "I1" if kind in LUTS:
            return 0
        case kind, "FDRE" | "FDSE" | "FDCE" | "FDPE", "D" if kind in LOGIC:
            return 0
        case _:
            return NET_PS
