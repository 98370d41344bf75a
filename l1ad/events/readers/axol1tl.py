"""AXOL1TL training files: Level-1 objects of CMS, scaled for training, in HDF5.

A file holds several samples: ``Background_data/Train``, ``Background_data/Test`` (zero-bias data) and
``Signal_data/<name>`` (simulated); `part` names one.  Each has

- ``DATA`` (n, 19, 3), or flat (n, 57): (pT, eta, phi) of MET, 4 e/gamma, 4 muons and 10 jets, each scaled as
  ``(code - norm_bias) / norm_scale`` with ``Normalisation/norm_bias`` and ``norm_scale`` (19, 3) of the same file.
  The reader undoes this and refuses what does not come out as an integer;
- ``ET``, ``HT`` (n,): codes of the two sums;
- ``L1bits`` (n,): whether any seed of the menu fired, kept as the seed ``L1bits``;
- ``PU``: of signals (n,), the pileup; of background (n, 7), run, luminosity section, event, crossing, orbit, time and
  pileup.

The codes are those of the Global Trigger.  Muon pT is in the count of the muon trigger, (code - 1) x 0.5 GeV, and
becomes ours, code x 0.5 GeV, by subtracting 1: see `muon_codes`.  A published AXOL1TL was trained on the former.
Objects are sorted by falling pT.  Taus, missing HT, isolation, quality and charge are not in the files, nor are
objects beyond the 4, 4 and 10: those columns are empty, and a seed on them never fires.

Whoever prepared a file removed events with saturated ET and blanked or dropped saturated objects, and may have clipped
scaled values to the range of the training quantiser: a pT there is a lower limit that looks like a pT.

Source
------
Groups, datasets and scaling as written by the preparation code published with AXOL1TL studies, and read by its
training code (both on github; neither comes with a specification).  Assumed: that the order of the seven columns
of ``PU`` is that of the ntuple converter before it (root2h5.py of github bb511/adl1t_datamaker), and that muon pT
keeps the count of the muon trigger, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from l1ad.events.readers.codes import absent_columns, as_codes, muon_codes, sorted_slots
from l1ad.events.readers.hdf5 import dataset, opened, slices
from l1ad.events.readers.source import Source
from l1ad.events.schema import Schema, load_schema
from l1ad.events.store import Events, make_meta

__all__ = ["read_axol1tl"]

Array = NDArray[Any]

ROWS = {"met": slice(0, 1), "eg": slice(1, 5), "mu": slice(5, 9), "jet": slice(9, 19)}
PILEUP = ("run", "ls", "event", "bx", None, None, "pileup")  # columns of PU where it has seven
TOLERANCE = 0.02  # a code that was scaled in float32 comes back this close to an integer
WARNING = (
    "events with saturated ET were removed and saturated objects blanked when the file was made, and large pT may have "
    "been clipped: rates and efficiencies of high thresholds are biased"
)


def read_axol1tl(path: Path, size: int, part: str | None = None) -> Source:
    """One part of an AXOL1TL training file, e.g. ``"Background_data/Test"``; see the module for its content."""
    schema = load_schema("cms_run3")
    with opened(path) as file:
        parts = _parts(file)
        if part not in parts:
            known = ", ".join(parts) or "none: check the format"
            raise ValueError(f"{path}: part must be one of those in the file ({known}), not {part!r}")
        group = file[part]
        n = len(dataset(group, "DATA", (None, 19, 3), (None, 57)))
        for name in ("ET", "HT", "L1bits"):
            dataset(group, name, (n,), (n, 1))
        dataset(group, "PU", (n,), (n, 1), (n, 7))
        bias, scale = (
            dataset(group.parent.parent, f"Normalisation/{name}", (19, 3), (57,))[()].reshape(19, 3).astype(np.float64)
            for name in ("norm_bias", "norm_scale")
        )
    if not (np.isfinite(bias).all() and (scale > 0).all()):
        raise ValueError(f"{path}: Normalisation must be finite and norm_scale positive; check the file")
    signal = "Signal_data" in part.split("/")
    attrs = {"sample": f"{path.stem} {part}", "simulated": signal, "seeds": ["L1bits"], "absent": ["tau", "mht"]}
    return Source(schema, attrs, n, _chunks(path, part, schema, n, size, bias, scale), (WARNING,))


def _parts(file: Any) -> list[str]:
    """Groups with a dataset DATA."""
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and "DATA" in item:
            found.append(name)

    file.visititems(visit)
    return found


def _chunks(path: Path, part: str, schema: Schema, n: int, size: int, bias: Array, scale: Array) -> Iterator[Events]:
    with opened(path) as file:
        group = file[part]
        for rows in slices(n, size):
            length = rows.stop - rows.start
            where = f"{path}: {part}/{{}} (events from {rows.start})"
            data = group["DATA"][rows].reshape(length, 19, 3).astype(np.float64)
            columns = _columns(data * scale + bias, schema, where.format("DATA"))
            for name in ("ET", "HT"):
                key = f"{name.lower()}.pt"
                columns[key] = as_codes(
                    group[name][rows].reshape(length, 1), schema.columns()[key][1], where.format(name)
                )
            known = _pileup(group["PU"][rows].reshape(length, -1), where.format("PU"))
            known["seeds"] = group["L1bits"][rows].astype(bool).reshape(length, 1)
            known["label"] = np.full(length, int("Signal_data" in part.split("/")))
            yield Events(schema, absent_columns(schema, length, columns), make_meta(length, **known))


def _columns(codes: Array, schema: Schema, where: str) -> dict[str, Array]:
    columns = {}
    for name, rows in ROWS.items():
        collection = schema.collection(name)
        raw = {}
        for k, key in enumerate(("pt", "eta", "phi")):
            column = collection.column(key)
            if column is not None:
                raw[key] = as_codes(codes[:, rows, k], column, f"{where}: {name}.{key}, scaled back,", TOLERANCE)
        if name == "mu":
            raw["pt"] = muon_codes(raw["pt"], schema.columns()["mu.pt"][1], where)
        for key, array in sorted_slots(raw, collection.slots).items():
            columns[f"{name}.{key}"] = array
    return columns


def _pileup(values: Array, where: str) -> dict[str, Array]:
    if not np.isfinite(values).all():
        event = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ValueError(f"{where} must be finite, not {values[event]} (event {event}); correct the file")
    names = ("pileup",) if values.shape[1] == 1 else PILEUP
    return {name: values[:, k] for k, name in enumerate(names) if name is not None}
