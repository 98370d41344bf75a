"""Published results after place-and-route, as a CSV table."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class PostRoute:
    """One published design.

    Parameters
    ----------
    design : str
    target_clock_ns : float
    latency_cycles : int
    da4ml_cost : float
        da4ml's own estimate, in LUT.
    lut, ff, dsp : int
    wns_ns : float
        Worst negative slack; the period achieved is ``target_clock_ns - wns_ns``.
    """

    design: str
    target_clock_ns: float
    latency_cycles: int
    da4ml_cost: float
    lut: int
    ff: int
    dsp: int
    wns_ns: float


def read_post_route(path: str | Path) -> tuple[PostRoute, ...]:
    """Rows of a table whose columns are the fields of `PostRoute`.

    Raises
    ------
    ValueError
        If a column is missing or unknown, or a cell is no number; the text names file and line.
    """
    names = [field.name for field in fields(PostRoute)]
    kinds = {"str": str, "int": int, "float": float}
    types = {field.name: kinds[str(field.type)] for field in fields(PostRoute)}
    rows = []
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header != names:
            raise ValueError(f"{path}:1: columns must be {names}, not {header}; give a table of published designs")
        for cells in reader:
            try:
                values = {name: types[name](cell) for name, cell in zip(names, cells, strict=True)}
            except ValueError as error:
                raise ValueError(
                    f"{path}:{reader.line_num}: row must hold one value for each of {names}, not {cells} ({error}); "
                    "mend the row"
                ) from error
            rows.append(PostRoute(**values))
    return tuple(rows)
