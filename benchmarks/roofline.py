"""What one core of this CPU can do at most: multiply-accumulates a second by instruction set, and bytes read.

    python benchmarks/roofline.py

Every figure is a median of interleaved runs, in CPU time.  ``registers``: operands that are there already;
``broadcast loads``: one of them comes from memory in every step, as weights do.
"""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from l1ad.compiler import find_compiler

SOURCE = Path(__file__).with_suffix(".cpp")


class Peak(TypedDict):
    """One figure.

    `kind`: ``cycles`` (giga_per_s is the clock in GHz), ``int16``, ``int8``, ``fp32`` (multiply-accumulates) or
    ``read`` (bytes); `isa`: the instruction set, or what is read; `pattern`: where operands come from.
    """

    kind: str
    isa: str
    pattern: str
    giga_per_s: float


def measure(rounds: int = 9) -> list[Peak]:
    """Compile and run: 20 ms a kernel and round, of those that this CPU has the instructions for.

    Raises
    ------
    ToolNotFoundError
        If there is no C++ compiler.
    """
    with TemporaryDirectory() as folder:
        program = str(Path(folder, "roofline"))
        subprocess.run([*shlex.split(find_compiler()), "-O3", "-w", str(SOURCE), "-o", program], check=True)
        done = subprocess.run([program, str(rounds)], check=True, stdout=subprocess.PIPE, text=True)
    peaks: list[Peak] = json.loads(done.stdout)
    return peaks


def peak(peaks: list[Peak], kind: str, isa: str) -> float | None:
    """The highest of the figures of one kind, multiply-accumulates or bytes a second; None if there is none."""
    found = [p["giga_per_s"] * 1e9 for p in peaks if (p["kind"], p["isa"]) == (kind, isa)]
    return max(found, default=None)


def table(peaks: list[Peak]) -> str:
    """The figures, as Markdown."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    rows = [f"| {p['kind']} | {p['isa']} | {p['pattern']} | {p['giga_per_s']:.3g} |" for p in peaks[1:]]
    head = f"{name}, {peaks[0]['giga_per_s']:.2f} GHz\n\n| one core at most | | | G/s |\n|---|---|---|---|"
    return "\n".join([head, *rows])


if __name__ == "__main__":
    print(table(measure()))
