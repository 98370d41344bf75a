"""What open tools say of a design, as rows of the resource table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l1ad.errors import ToolNotFoundError
from l1ad.fixed import Raw
from l1ad.hardware.resources import LOGIC, ROUTED, TIMED, Resources
from l1ad.hardware.rtl.design import Design
from l1ad.hardware.synthesis.gates import balance, simulate_gates
from l1ad.hardware.synthesis.netlist import read
from l1ad.hardware.synthesis.place import DEVICE, find_nextpnr, place_and_route
from l1ad.hardware.synthesis.timing import ULTRASCALE, analyse, extrapolated_ns, library
from l1ad.hardware.synthesis.yosys import FAMILIES, synthesise

DECLARED = "latency: clocks of the period that the pipeline was cut for, which no tool has confirmed"


def open_synthesis(design: Design, *, full: bool) -> list[Resources]:
    """Rows of logic synthesis for UltraScale+, and of static timing with Artix-7 delays.

    Parameters
    ----------
    design : Design
    full : bool
        Whether to run all of Yosys's passes.

    Raises
    ------
    ToolNotFoundError, RuntimeError, OSError
        As `synthesise`.
    """
    found = synthesise(design, fast=not full)
    timing = analyse(read(found.netlist, design.top), library(found.cells))
    low, high = extrapolated_ns(timing, design.latency_cycles)
    cycles, interval = design.latency_cycles, design.interval_cycles
    counted = Resources(
        stage=LOGIC,
        tool=f"{found.tool}, {found.method}; {DECLARED}",
        part=f"{FAMILIES[found.family]}, any",
        clock_ns=design.clock_ns,
        lut=found.lut + found.lut_memory,
        ff=found.ff,
        dsp=found.dsp,
        bram=found.bram,
        latency_cycles=cycles,
        interval_cycles=interval,
        latency_ns=cycles * design.clock_ns,
    )
    timed = Resources(
        stage=TIMED,
        tool=(
            f"{timing.stage}; longest path: {timing.luts} LUTs and {timing.carries} carry cells; latency {ULTRASCALE}: "
            f"{low:.0f} to {high:.0f} ns"
        ),
        part="Artix-7",
        clock_ns=design.clock_ns,
        lut=None,
        ff=None,
        dsp=None,
        bram=None,
        latency_cycles=cycles,
        interval_cycles=interval,
        latency_ns=round(cycles * timing.period_ns, 3),
        period_ns=timing.period_ns,
    )
    return [counted, timed]


def router() -> str:
    """Version of nextpnr, or why there is none."""
    try:
        return find_nextpnr().version
    except (ToolNotFoundError, RuntimeError) as error:
        return str(error)


def open_routing(design: Design) -> tuple[list[Resources], str]:
    """Row of place-and-route on an open device, and a sentence: what it is, or why there is none.

    Parameters
    ----------
    design : Design

    Raises
    ------
    OSError
        If the cache cannot be written to.
    """
    try:
        found = place_and_route(design)
    except (ToolNotFoundError, RuntimeError) as error:
        return [], f"No place-and-route on an open device: {error}."
    if found.period_ns is None:
        return [], f"No place-and-route: on {DEVICE}, {found.result}."
    none = (None, None)
    lut, lut_available = found.used.get("TRELLIS_COMB", none)
    ff, ff_available = found.used.get("TRELLIS_FF", none)
    dsp, dsp_available = found.used.get("MULT18X18D", none)
    bram, bram_available = found.used.get("DP16KD", none)
    routed = Resources(
        stage=ROUTED,
        tool=f"{found.tool}; not the trigger's device; with the shift registers that stand for the pins",
        part=DEVICE,
        clock_ns=design.clock_ns,
        lut=lut,
        ff=ff,
        dsp=dsp,
        bram=bram,
        latency_cycles=design.latency_cycles,
        interval_cycles=design.interval_cycles,
        latency_ns=round(design.latency_cycles * found.period_ns, 3),
        period_ns=found.period_ns,
        lut_available=lut_available,
        ff_available=ff_available,
        dsp_available=dsp_available,
        bram_available=bram_available,
    )
    return [routed], (
        f"Place-and-route is on another device than the trigger's, {DEVICE}: its LUTs have four inputs, and its period "
        "says that the design can be routed, not how fast it is in the trigger."
    )


def gate_level(design: Design, x: Raw, threshold: int, *, full: bool) -> tuple[Raw, npt.NDArray[np.bool_]]:
    """Scores and decisions of the netlist of a design, whose pipeline is shown balanced first.

    If events come several clocks apart, registers feed back: then that the netlist keeps events apart is only seen in
    the simulation, of which every register begins at random and other inputs come between the events.

    Parameters
    ----------
    design : Design
    x : int64 array, shape (n_events, n_columns)
        Raw.
    threshold : int
        Raw.
    full : bool
        As for `open_synthesis`.

    Raises
    ------
    MismatchError
        If paths from inputs to outputs cross different numbers of registers, or not as many as declared.
    ToolNotFoundError, RuntimeError, OSError
        As `synthesise`.
    """
    netlist = read(synthesise(design, fast=not full).netlist, design.top)
    if design.interval_cycles == 1:
        balance(netlist, design)
    return simulate_gates(netlist, design, x, threshold)
