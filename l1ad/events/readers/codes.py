"""Arrays of a reader, checked and shaped into columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.events.readers.slots import fill_slots
from l1ad.events.schema import Column, Schema

__all__ = ["absent_columns", "as_codes", "muon_codes", "sorted_slots"]

Array = npt.NDArray[Any]
Codes = npt.NDArray[np.int32]


def as_codes(raw: npt.ArrayLike, column: Column, where: str, tolerance: float = 0.0) -> Codes:
    """Numbers that are codes already, as integers.

    Parameters
    ----------
    raw : array_like, any shape
        Integers, in any type.
    column : Column
        What the codes mean.
    where : str
        What an error text calls them: file and branch.
    tolerance : float
        Largest distance from an integer, for codes that went through a float calculation.

    Raises
    ------
    ValueError
        If a number is not an integer, or not a code of the column.
    """
    array = np.asarray(raw)
    codes = array
    if array.dtype.kind not in "iub":
        array = array.astype(np.float64)
        codes = np.rint(array)
        _refuse(~(np.abs(array - codes) <= tolerance), array, where, "integer codes")
    _refuse((codes < column.low) | (codes > column.high), array, where, f"in {column.low}..{column.high}")
    return codes.astype(np.int32)


def muon_codes(raw: npt.ArrayLike, column: Column, where: str) -> Codes:
    """Codes of muon pT in our count, from those of the muon trigger.

    The muon trigger says 0 for no muon and else pT = (code - 1) x 0.5 GeV; a `column` says pT = code x 0.5 GeV.
    So codes go down by one, but the largest stays: it means "at least this much".  A muon of 0 GeV
    (code 1, below every threshold) becomes 0, which is no muon.
    """
    codes = as_codes(raw, column, where)
    return np.where(codes == column.saturated, codes, np.maximum(codes - 1, 0)).astype(np.int32)


def sorted_slots(columns: dict[str, Array], slots: int) -> dict[str, Array]:
    """Objects in fixed places, by falling pT in `slots` places; where pt is 0 every column is 0.

    Parameters
    ----------
    columns : dict of (n, places) integers, raw
        ``pt`` and others.
    slots : int
        Places of the result; what does not fit is left out.
    """
    n, places = columns["pt"].shape
    flat = {name: array.ravel() for name, array in columns.items()}
    pt = flat.pop("pt")
    return fill_slots(np.arange(n + 1) * places, pt, flat, slots)


def absent_columns(schema: Schema, n: int, columns: dict[str, Array]) -> dict[str, Array]:
    """Every column of the schema in order: those given, and empty ones for what a format does not have."""
    return {
        name: columns.get(name, np.zeros((n, collection.slots), column.dtype))
        for name, (collection, column) in schema.columns().items()
    }


def _refuse(wrong: Array, values: Array, where: str, expected: str) -> None:
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{where} must be {expected}, not {values[first]} (at {first}; {int(wrong.sum())} such values); "
            "correct the file or leave those events out"
        )
