"""CICADA: calorimeter regions of the CMS trigger, in HDF5.

``CaloRegions`` (n, 18, 14) holds the ET of each region as phi times eta, in counts of 0.5 GeV, capped at 1023 (so
1023 is "at least that much"), as floats or integers.  Slot ``phi * 14 + eta`` of ``region.pt`` is region
(phi, eta), with no sorting: a region is a place.

``AcceptanceFlag`` (n,) says whether a simulated event has a generated jet above 30 GeV within abs(eta) < 2.4; where
the file was made from data it has length 0 or is missing.  So a file with flags is called simulated and one without
is called data.  The flag is kept as a column of ``meta/seeds``, because that is the one place for a yes or no per
event, and has a name there.  It is *not* a decision of the trigger: leave it out of a pure rate.

``run``, ``lumi`` and ``event`` are read where a file has them.  ``nPV``, the number of reconstructed vertices, is not:
it is neither the mean pileup nor the number of collisions.

Source
------
Layout, axes, cap and flag: convert-root-to-h5.py and convert-root-to-h5-npv.py of github Princeton-AD/cicada.
That a count is 0.5 GeV is the scale of the calorimeter trigger towers that these sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from l1ad.events.readers.codes import as_codes
from l1ad.events.readers.hdf5 import dataset, opened, slices
from l1ad.events.readers.root import integers
from l1ad.events.readers.source import Source, refuse_part
from l1ad.events.schema import Schema, load_schema
from l1ad.events.store import Events, make_meta

__all__ = ["read_cicada"]

FLAG = "AcceptanceFlag"
NUMBERS = {"run": ("run", "i4"), "lumi": ("ls", "i4"), "event": ("event", "i8")}  # dataset -> meta, its type
WARNING = f"seeds column {FLAG} says what was generated, not what the trigger decided; leave it out of a pure rate"


def read_cicada(path: Path, size: int, part: str | None = None) -> Source:
    """A file of CICADA regions; see the module for its content."""
    refuse_part(path, part)
    schema = load_schema("cicada")
    with opened(path) as file:
        n = len(dataset(file, "CaloRegions", (None, 18, 14)))
        flagged = FLAG in file and dataset(file, FLAG, (n,), (0,)).shape != (0,)
        numbers = [name for name in NUMBERS if name in file and len(dataset(file, name, (n,), (0,)))]
    attrs: dict[str, Any] = {"simulated": flagged, "seeds": [FLAG] if flagged else []}
    chunks = _chunks(path, schema, n, size, flagged, numbers)
    return Source(schema, attrs, n, chunks, (WARNING,) if flagged else ())


def _chunks(path: Path, schema: Schema, n: int, size: int, flagged: bool, numbers: list[str]) -> Iterator[Events]:
    column = schema.columns()["region.pt"][1]
    with opened(path) as file:
        for rows in slices(n, size):
            length = rows.stop - rows.start
            where = f"{path}: CaloRegions (events from {rows.start})"
            codes = as_codes(file["CaloRegions"][rows].reshape(length, 252), column, where)
            known = {}
            for name in numbers:
                key, dtype = NUMBERS[name]
                known[key] = integers(file[name][rows], dtype, f"{path}: {name}")
            if flagged:
                known["seeds"] = file[FLAG][rows].astype(bool)[:, None]
            yield Events(schema, {"region.pt": codes}, make_meta(length, **known))
