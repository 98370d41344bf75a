"""Latency and resources, each number with its stage; what a tool did not say is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass

from l1ad.hardware import estimator
from l1ad.hardware.target import Target
from l1ad.network import Network

ESTIMATE = "estimate"
HLS = "HLS C synthesis"
COSIMULATION = "C/RTL co-simulation"
LOGIC = "logic synthesis"
TIMED = "static timing before routing"
PLACED = "placement"
ROUTED = "place-and-route"
STAGES = (ESTIMATE, HLS, COSIMULATION, LOGIC, TIMED, PLACED, ROUTED)
"""In the order of the work, from the least certain numbers to the most, of the part that they are for."""


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
    """Resources before any synthesis, as `l1ad.hardware.estimator` counts them.

    Raises
    ------
    UnsupportedError
        If the estimate does not cover an operation.
    ValueError
        If the target reuses multipliers, which the count does not cover, or its clock is too fast for some part.
    """
    if target.reuse_factor != 1:
        raise ValueError(f"resource estimate needs reuse_factor 1, not {target.reuse_factor}; synthesise instead")
    found = estimator.estimate(network, target.clock_ns)
    return Resources(
        *(ESTIMATE, estimator.method(), target.part, target.clock_ns, found.lut, found.ff, 0, 0),
        *(found.latency_cycles, 1, found.latency_ns),
    )
