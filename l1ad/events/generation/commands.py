"""Both kinds of plans, as the command line runs them."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from l1ad.documents import decode
from l1ad.events.generation.adc2021 import Adc2021Plan, make_adc2021
from l1ad.events.generation.plan import Plan, make

__all__ = ["generate", "load_plan"]


def load_plan(path: Path) -> Plan | Adc2021Plan:
    """The plan in a TOML file: its ``detector`` says which kind it is.

    Raises
    ------
    ValueError
        If something in the plan is wrong; the text names file and key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: plan must be valid TOML: {error}") from None
    kinds: dict[object, type[Plan] | type[Adc2021Plan]] = {"level1": Plan, "adc2021": Adc2021Plan}
    if table.get("detector") not in kinds:
        raise ValueError(f"{path}.detector must be one of {', '.join(map(str, kinds))}, not {table.get('detector')!r}")
    return decode(kinds[table["detector"]], table, str(path))


def generate(path: Path, out: Path, work: Path, scale: float, workers: int) -> Iterator[str]:
    """Make the files of a plan; yields a line for each.

    Raises
    ------
    ValueError
        If something in the plan is wrong; the text names file and key.
    ImportError
        If what generates is not installed; the text names the remedy.
    """
    if workers < 1 or not scale > 0:
        raise ValueError(f"workers and scale must be positive, not {workers} and {scale:g}")
    clock = time.perf_counter()
    plan = load_plan(path).scaled(scale)
    made = make(plan, out, work, workers) if isinstance(plan, Plan) else make_adc2021(plan, out, work, workers)
    for file in made:
        yield f"{file}: {file.stat().st_size / 1e6:.2f} MB"
    yield f"done in {time.perf_counter() - clock:.0f} s"
