"""LHC Olympics R&D feature files: two large jets per simulated event, a pandas table in HDF5.

Columns ``pxj1 pyj1 pzj1 mj1 tau1j1 tau2j1 tau3j1``, the same for j2, in GeV, and ``label`` (1 signal, 0 background;
files of one kind may lack it, and their label is unknown).  Momenta become pt, eta and phi; codes are those of the
schema `lhco`, far finer than any resolution.  The jets are sorted by falling pT, as they are in the published
files.  A jet without momentum is absent.  A mass a little below 0 (to -1 GeV) is the rounding of a massless jet, and 0.

pandas writes a table in one of two layouts, *fixed* and *table*, with blocks of columns of one type.  Both are plain
HDF5, which h5py reads in slices; pandas reads a *fixed* table only whole, and neither it nor PyTables is needed here.
The names of columns in *table* are pickled; only lists, numbers and text are unpickled.

Source
------
Names and units (GeV) of the columns: published code that reads the files "features" of the R&D data
(zenodo 6466204).  Layouts: made with pandas 3.1 and PyTables 3.11 and read back.  Assumed: that tau1 to tau3 are not
divided by pT, so that they are GeV too; if they are, they are as exact.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from l1ad.events.readers.codes import sorted_slots
from l1ad.events.readers.hdf5 import dataset, opened, slices
from l1ad.events.readers.source import Source, refuse_part
from l1ad.events.schema import Schema, load_schema
from l1ad.events.store import Events, make_meta
from l1ad.events.units import to_codes

__all__ = ["read_lhco"]

Array = NDArray[Any]

PLAIN = ("px", "py", "pz", "m", "tau1", "tau2", "tau3")
JETS = ("j1", "j2")
FEATURES = tuple(f"{name}{jet}" for jet in JETS for name in PLAIN)

Places = dict[str, tuple[str, str | None, int | None]]
"""Column -> dataset, field of the dataset, column of the field; None where it has none."""


def read_lhco(path: Path, size: int, part: str | None = None) -> Source:
    """A feature file of the LHC Olympics; see the module for its content."""
    refuse_part(path, part)
    schema = load_schema("lhco")
    with opened(path) as file:
        places = _places(file)
        missing = [name for name in FEATURES if name not in places]
        if missing:
            raise ValueError(
                f"{path}: table must have the columns {', '.join(FEATURES)}, not lack {', '.join(missing)}; "
                "use a file of features, not of particles"
            )
        lengths = {len(dataset(file, name, (None,), (None, None))) for name, _, _ in places.values()}
        if len(lengths) != 1:
            raise ValueError(f"{path}: blocks of the table must be equally long, not {sorted(lengths)}")
        n = lengths.pop()
    return Source(schema, {"simulated": True}, n, _chunks(path, places, schema, n, size))


def _places(file: Any) -> Places:
    """Where the columns of the one table in the file are."""
    tables = [
        group for group in file.values() if isinstance(group, h5py.Group) and _text(group, "pandas_type") in _LAYOUTS
    ]
    if len(tables) != 1:
        raise ValueError(f"{file.filename}: file must hold one pandas table, not {len(tables)}; check the format")
    return _LAYOUTS[_text(tables[0], "pandas_type")](tables[0])


def _fixed(group: Any) -> Places:
    places: Places = {}
    for block in range(int(group.attrs["nblocks"])):
        names = dataset(group, f"block{block}_items", (None,))[()]
        values = dataset(group, f"block{block}_values", (None, len(names)))
        for k, name in enumerate(names):
            places[name.decode() if isinstance(name, bytes) else str(name)] = (values.name, None, k)
    return places


def _table(group: Any) -> Places:
    table = dataset(group, "table", (None,))
    places: Places = {}
    for field in table.dtype.names:
        if f"{field}_kind" not in table.attrs or field == "index":
            continue
        within = table.dtype[field].shape != ()
        for k, name in enumerate(_plain(table, f"{field}_kind")):
            places[str(name)] = (table.name, field, k if within else None)
    return places


_LAYOUTS = {"frame": _fixed, "frame_table": _table}


def _text(item: Any, name: str) -> str:
    value = item.attrs.get(name, b"")
    return value.decode() if isinstance(value, bytes) else str(value)


class _Plain(pickle.Unpickler):
    """Lists, numbers and text; nothing that names a class, so nothing that runs code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def _plain(item: Any, name: str) -> Any:
    try:
        return _Plain(io.BytesIO(bytes(item.attrs[name]))).load()
    except (pickle.UnpicklingError, ValueError, EOFError, IndexError, KeyError) as error:
        raise ValueError(
            f"{item.file.filename}: names of columns must be plain text ({name}: {error}); "
            "write the table anew with DataFrame.to_hdf(format='fixed')"
        ) from None


def _chunks(path: Path, places: Places, schema: Schema, n: int, size: int) -> Iterator[Events]:
    wanted = {name: places[name] for name in (*FEATURES, "label") if name in places}
    with opened(path) as file:
        for rows in slices(n, size):
            blocks = {name: file[name][rows] for name in {place[0] for place in wanted.values()}}
            values = {name: _pick(blocks[place[0]], place[1], place[2]) for name, place in wanted.items()}
            where = f"{path} (events from {rows.start})"
            known = {"label": _labels(values["label"], where)} if "label" in values else {}
            yield Events(schema, _columns(values, schema, where), make_meta(rows.stop - rows.start, **known))


def _pick(block: Array, field: str | None, k: int | None) -> Array:
    values = block if field is None else block[field]
    return np.asarray(values if k is None else values[:, k])


def _labels(values: Array, where: str) -> Array:
    wrong = ~np.isin(values, (0, 1))
    if wrong.any():
        event = int(np.argmax(wrong))
        raise ValueError(f"{where}: label must be 0 or 1, not {values[event]} (event {event}); correct the file")
    return values


def _columns(values: dict[str, Array], schema: Schema, where: str) -> dict[str, Array]:
    px, py, pz, mass, *taus = (
        np.stack([values[f"{name}{jet}"] for jet in JETS], axis=1).astype(np.float64) for name in PLAIN
    )
    pt = np.hypot(px, py)
    mass = np.where((mass < 0) & (mass > -1), 0.0, mass)
    physical = {"pt": pt, "eta": np.arcsinh(pz / np.where(pt == 0, 1, pt)), "phi": np.arctan2(py, px), "mass": mass}
    physical |= dict(zip(("tau1", "tau2", "tau3"), taus, strict=True))
    codes = {
        name: to_codes(np.where(pt == 0, 0.0, array), schema.columns()[f"jet.{name}"][1], f"{where}: jet {name}")
        for name, array in physical.items()
    }
    return {f"jet.{name}": array for name, array in sorted_slots(codes, 2).items()}
