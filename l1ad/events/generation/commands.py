"""Both kinds of plans, as the command line runs them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from l1ad.events.generation.plan import load_plan, make

__all__ = ["generate"]


def generate(plan: Path, out: Path, work: Path, scale: float, workers: int) -> Iterator[str]:
    """Make the files of a plan; yields a line for each.

    Raises
    ------
    ValueError
        If something in the plan is wrong; the text names file and key.
    """
    if workers < 1 or not scale > 0:
        raise ValueError(f"workers and scale must be positive, not {workers} and {scale:g}")
    clock = time.perf_counter()
    for path in make(load_plan(plan).scaled(scale), out, work, workers):
        yield f"{path}: {path.stat().st_size / 1e6:.2f} MB"
    yield f"done in {time.perf_counter() - clock:.0f} s"
