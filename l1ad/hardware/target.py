"""What firmware is built for; no hls4ml is needed to read it."""

from __future__ import annotations

from dataclasses import dataclass

STRATEGIES = ("Latency", "Resource")


@dataclass(frozen=True)
class Target:
    """What the firmware is built for.

    Parameters
    ----------
    part : str
        FPGA part, as Vitis HLS spells it.
    clock_ns : float
        Clock period.
    strategy : str
        One of `STRATEGIES`, for the dense layers.
    reuse_factor : int
        Multiplications per multiplier and event; 1 is fully parallel.
    """

    part: str = "xcvu13p-flga2577-2-e"
    clock_ns: float = 5.0
    strategy: str = "Latency"
    reuse_factor: int = 1

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"firmware strategy must be one of {STRATEGIES}, not {self.strategy!r}")
        if not self.clock_ns > 0:
            raise ValueError(f"firmware clock_ns must be positive, not {self.clock_ns}")
        if self.reuse_factor < 1:
            raise ValueError(f"firmware reuse_factor must be at least 1, not {self.reuse_factor}")
