"""ADC2021: simulated events of an offline reconstruction, in HDF5.

``Particles`` (n, 19, 4) holds pT in GeV, eta, phi in -π..π and a class: row 0 MET (its eta is always 0), 1-4
electrons, 5-8 muons, 9-18 jets, each kind by falling pT, what is absent filled with zeros.  ``EvtId`` numbers
the events of the black box.  There is one sample per file and no truth in it, so ``meta/label`` is unknown.

An object is present where pT is not 0.  phi says nothing: jets beyond abs(eta) = 4 were blanked in pT and eta, but
kept their phi; they are left out here, and softer jets move up.  The events have offline resolution and no
trigger saturation: a pT above the range of a code becomes the saturated code.

Source
------
arXiv 2107.02157, which describes content and units; names and shapes of the datasets are those of the published files.
Assumed: that ``EvtId`` is one integer per event.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.readers.codes import sorted_slots
from l1ad.events.readers.hdf5 import dataset, opened, slices
from l1ad.events.readers.source import Source, refuse_part
from l1ad.events.schema import Schema, load_schema
from l1ad.events.store import Events, make_meta
from l1ad.events.units import to_codes

__all__ = ["read_adc2021"]

Array = NDArray[Any]

ROWS = {"met": slice(0, 1), "eg": slice(1, 5), "mu": slice(5, 9), "jet": slice(9, 19)}
CLASSES = np.repeat([1, 2, 3, 4], [1, 4, 4, 10])
NAMES = ["Pt", "Eta", "Phi", "Class"]


def read_adc2021(path: Path, size: int, part: str | None = None) -> Source:
    """A file of ADC2021; see the module for its content."""
    refuse_part(path, part)
    schema = load_schema("adc2021")
    with opened(path) as file:
        n = len(dataset(file, "Particles", (None, 19, 4)))
        if "Particles_Names" in file:
            names = [name.decode() for name in dataset(file, "Particles_Names", (None,)).asstr()[()].astype("S")]
            if names != NAMES:
                raise ValueError(f"{path}: Particles_Names must be {NAMES}, not {names}; check the format")
        if "EvtId" in file:
            dataset(file, "EvtId", (n,), (n, 1))
    return Source(schema, {"simulated": True}, n, _chunks(path, schema, n, size))


def _chunks(path: Path, schema: Schema, n: int, size: int) -> Iterator[Events]:
    with opened(path) as file:
        for rows in slices(n, size):
            where = f"{path}: Particles (events from {rows.start})"
            columns = _columns(file["Particles"][rows], schema, where)
            known = {"event": file["EvtId"][rows].reshape(-1)} if "EvtId" in file else {}
            yield Events(schema, columns, make_meta(rows.stop - rows.start, **known))


def _columns(particles: Array, schema: Schema, where: str) -> dict[str, Array]:
    present = particles[:, :, 0] != 0
    kinds = particles[:, :, 3]
    wrong = present & (kinds != CLASSES)
    if wrong.any():
        event, row = np.argwhere(wrong)[0]
        raise ValueError(
            f"{where}: class of row {row} must be {CLASSES[row]}, not {kinds[event, row]:g} (event {event}); "
            "check the order of the objects"
        )
    columns = {}
    for collection in schema.collections:
        rows = ROWS[collection.name]
        values = np.where(present[:, rows, None], particles[:, rows, :3], 0.0)
        codes = {
            column.name: to_codes(values[:, :, k], column, f"{where}: {collection.name}.{column.name}")
            for k, name in enumerate(("pt", "eta", "phi"))
            if (column := collection.column(name)) is not None
        }
        for name, array in sorted_slots(codes, collection.slots).items():
            columns[f"{collection.name}.{name}"] = array
    return columns
