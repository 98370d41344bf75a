"""What firmware is built for; no hls4ml is needed to read it."""

from __future__ import annotations

from dataclasses import dataclass

STRATEGIES = ("Latency", "Resource")


@dataclass(frozen=True)
class Part:
    """What an FPGA has: look-up tables, flip-flops, DSP slices, and block RAMs of 18 kb."""

    lut: int
    ff: int
    dsp: int
    bram: int


PARTS = {
    "xcvu13p": Part(1_728_000, 3_456_000, 12_288, 5_376),
    "xcvu9p": Part(1_182_240, 2_364_480, 6_840, 4_320),
    "xcku15p": Part(522_720, 1_045_440, 1_968, 1_968),
    "xc7vx690t": Part(433_200, 866_400, 3_600, 2_940),
    "xc7a200t": Part(134_600, 269_200, 740, 730),
}
"""Devices of trigger boards, by the beginning of a part's name.

Source: AMD DS890 (UltraScale+) and DS180 (7 series), product tables.
"""


def part_of(name: str) -> Part | None:
    """What a part has, None if it is not in the table."""
    return next((part for device, part in PARTS.items() if name.startswith(device)), None)


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
