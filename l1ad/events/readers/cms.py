"""Level-1 objects as CMS software writes them, to codes of the schema ``cms_run3``.

What the files of different formats have in common:

- *Bunch crossings.*  Most files hold the objects of five crossings; only those of ``bx`` 0, the triggered one, are
  read.
- *Muon pT.*  The global muon trigger counts 0 for no muon, else pT = (code - 1) x 0.5 GeV, and 511 means at least
  255 GeV.  Here a code is 0.5 GeV, so codes go down by one and 511 stays; a muon of code 1 (0 GeV) is absent.
- *Muon direction.*  That extrapolated to the vertex (``AtVtx``), which the Global Trigger receives; files older than
  2017 have only that at the muon system, which is then taken, with a warning.
- *Muon charge.*  1 positive, 0 negative, 2 not measured (NanoAOD does not tell the last from positive).
- *Energy sums*, by `SUMS`.  ``met`` is the missing ET without the forward calorimeter (type 2), because the
  AXOL1TL trigger reads that one; type 8, with it, is not read.
- *Order.*  Slots are filled by falling pT, ties in the order of the file.  The muon trigger's own order also
  weighs quality.
- *phi of calorimeter objects, where a file gives only radians.*  CMS software calculates it as code x 0.0435, the
  schema means 2π/144: at most 0.44 of a code apart, so that the nearest code is the one that was meant.

Source
------
CMSSW (github.com/cms-sw/cmssw), read in the versions a public mirror had: ``DataFormats/L1Trigger/interface/EtSum.h``
(types), ``L1Trigger/L1TMuon/src/MuonRawDigiTranslator.cc`` (muon pT, charge, lsb),
``L1Trigger/L1TGlobal/src/AXOL1TLCondition.cc`` (its MET) and pull request 47564 (its muons are those at the vertex).
Codes and GeV branches of public files of 2018, 2024 and simulation agree with all of it but the code 511 of muons,
which no file seen had.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.readers.codes import as_codes, muon_codes
from l1ad.events.readers.root import Lists
from l1ad.events.readers.slots import fill_slots
from l1ad.events.schema import Column, Schema
from l1ad.events.units import to_codes

__all__ = ["ORDER", "SUMS", "Layout", "Objects", "Origin", "branches_of", "read_columns", "remarks", "resolve"]

Array = NDArray[Any]

SUMS = {"met": 2, "ht": 1, "et": 0, "mht": 3}
"""Collection of the schema -> ``l1t::EtSum::EtSumType``: kMissingEt, kTotalHt, kTotalEt, kMissingHt."""
ORDER = (
    "slots (12 of e/γ, tau and jets, 8 of muons) are filled by falling pT, objects beyond are left out; "
    "the muon trigger's own order also weighs quality"
)
OPTIONAL = ("iso", "quality", "charge")
_NO_MUON_GEV, _LARGEST_MUON_GEV = -0.5, 255.0  # muon codes 0 and 511 in a GeV branch: (code - 1) x 0.5


def _muon_gev(values: Array, column: Column, where: str) -> Array:
    codes = to_codes(np.where(values == _NO_MUON_GEV, 0.0, values), column, where)
    return np.where(values >= _LARGEST_MUON_GEV, column.high, codes)


def _sign(signs: Array, column: Column, where: str) -> Array:
    return np.array([2, 1, 0])[as_codes(signs, replace(column, low=-1, high=1, bits=2, signed=True), where)]


def _sign_bit(bits: Array, column: Column, where: str) -> Array:
    return 1 - as_codes(bits, replace(column, high=1), where)


MEANINGS: dict[str, Callable[[Array, Column, str], Array]] = {
    "code": as_codes,
    "value": to_codes,
    "muon code": muon_codes,
    "muon GeV": _muon_gev,
    "sign": _sign,  # -1, 0, 1
    "sign bit": _sign_bit,  # 1 for negative
}
"""What the numbers of a branch are -> how they become codes of a column."""


@dataclass(frozen=True)
class Origin:
    """A branch, and what its numbers are: a key of `MEANINGS`."""

    branch: str
    meaning: str


@dataclass(frozen=True)
class Objects:
    """Where the objects of one collection come from.

    Attributes
    ----------
    select : an object counts where each of these branches has its value (crossing 0, type of a sum)
    columns : column -> where it may come from, the best first
    """

    select: tuple[tuple[str, int], ...]
    columns: Mapping[str, tuple[Origin, ...]]


Layout = Mapping[str, Objects]
"""Collection of the schema -> its branches."""


def resolve(layout: Layout, present: Collection[str], path: Path, remedy: str) -> Layout:
    """The layout with the best origin that a file has for each column; of `OPTIONAL` columns possibly none.

    Raises
    ------
    ValueError
        If the file lacks a branch that is needed.
    """
    out = {}
    for name, objects in layout.items():
        found = {
            column: next(((origin,) for origin in choices if origin.branch in present), ())
            for column, choices in objects.columns.items()
        }
        needed: dict[str, tuple[str, ...]] = {branch: (branch,) for branch, _ in objects.select}
        needed |= {
            column: tuple(origin.branch for origin in choices)
            for column, choices in objects.columns.items()
            if column not in OPTIONAL
        }
        for choices in needed.values():
            if not any(branch in present for branch in choices):
                raise ValueError(f"{path}: branch {' or '.join(choices)} must exist; {remedy}")
        out[name] = Objects(objects.select, {column: origins for column, origins in found.items() if origins})
    return out


def branches_of(layout: Layout) -> list[str]:
    """Every branch that a resolved layout reads, once."""
    names = [branch for objects in layout.values() for branch, _ in objects.select]
    names += [
        origin.branch for objects in layout.values() for origins in objects.columns.values() for origin in origins
    ]
    return list(dict.fromkeys(names))


def remarks(layout: Layout, resolved: Layout) -> list[str]:
    """What a user must know of the branches that were found."""
    out = [ORDER]
    direction = resolved["mu"].columns["eta"][0].branch
    if "AtVtx" not in direction:
        out.append(f"muon directions are those at the muon system ({direction}), not at the vertex as the trigger's")
    absent = [
        f"{name}.{column}"
        for name, objects in layout.items()
        for column in objects.columns
        if column not in resolved[name].columns
    ]
    if absent:
        out.append(f"{', '.join(absent)} have no branch in the file and are 0; a seed that cuts on them never fires")
    return out


def read_columns(layout: Layout, data: Mapping[str, Lists], schema: Schema, path: Path) -> dict[str, Array]:
    """The trigger columns of some events, raw codes (n, slots) each.

    Parameters
    ----------
    layout : resolved
    data : offsets and entries of each branch
    schema : ``cms_run3``
    path : the file, for error texts

    Raises
    ------
    ValueError
        If numbers have no code, or the branches of one object differ in length.
    """
    out: dict[str, Array] = {}
    for collection in schema.collections:
        objects = layout[collection.name]
        offsets, keep = _selected(objects, data, path)
        codes = {}
        for name, (origin,) in objects.columns.items():
            column = collection.column(name)
            if column is None:
                raise ValueError(f"column must be one of {collection.name} in {schema.name}, not {name!r}")
            entries = _same_length(data, origin.branch, objects, path)[keep]
            codes[name] = MEANINGS[origin.meaning](entries, column, f"{path}: branch {origin.branch}")
        filled = fill_slots(offsets, codes.pop("pt"), codes, collection.slots)
        for column in collection.columns:
            empty = np.zeros((len(offsets) - 1, collection.slots), column.dtype)
            array = filled.get(column.name, empty)
            out[f"{collection.name}.{column.name}"] = array.astype(column.dtype, copy=False)
    return out


def _selected(objects: Objects, data: Mapping[str, Lists], path: Path) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Offsets of the objects that count, (n + 1,), and which of all they are, (objects,)."""
    offsets, _ = data[objects.select[0][0]]
    keep = np.ones(offsets[-1], np.bool_)
    for branch, value in objects.select:
        keep &= _same_length(data, branch, objects, path) == value
    return np.concatenate([[0], np.cumsum(keep)])[offsets].astype(np.int64), keep


def _same_length(data: Mapping[str, Lists], branch: str, objects: Objects, path: Path) -> Array:
    first = objects.select[0][0]
    offsets, entries = data[branch]
    if not np.array_equal(offsets, data[first][0]):
        raise ValueError(f"{path}: branch {branch} must have as many entries per event as {first}; the file is wrong")
    return entries
