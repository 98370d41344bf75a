"""Values in GeV, radians and pseudorapidity to hardware codes, and back: the only place that converts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l1ad.events.schema import Column, InputColumn

__all__ = ["to_codes", "to_values"]


def to_codes(values: npt.ArrayLike, column: Column | InputColumn, where: str) -> npt.NDArray[np.int32]:
    """The nearest code of each value; exact for every value that `to_values` gives.

    A value above the range of a column that saturates gets its saturated code (count them by comparing with it);
    an angle that goes once around wraps, so that phi may be given in -π..π or 0..2π.

    Parameters
    ----------
    values : array_like of float, any shape
        In `Column.unit`.
    column : Column or InputColumn
        What the codes mean.
    where : str
        What an error text calls the values: file and branch.

    Raises
    ------
    ValueError
        If a value is not finite, or beyond a range that neither saturates nor wraps.
    """
    array = np.asarray(values, np.float64)
    _refuse(~np.isfinite(array), array, where, "finite")
    codes = np.rint(array / column.lsb)
    if column.turn is not None:
        codes = codes % column.turn
    elif column.saturated is not None:
        codes = np.where(codes > column.saturated, column.saturated, codes)
    outside = (codes < column.low) | (codes > column.high)
    _refuse(outside, array, where, f"in {column.low * column.lsb:g}..{column.high * column.lsb:g} {column.unit}")
    return codes.astype(np.int32)


def to_values(codes: npt.ArrayLike, column: Column | InputColumn) -> npt.NDArray[np.float64]:
    """Value of each raw code in `Column.unit`: code x lsb; that of a saturated code is a lower limit."""
    return np.asarray(codes, np.float64) * column.lsb


def _refuse(wrong: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], where: str, expected: str) -> None:
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{where} must be {expected}, not {values[first]} (at {first}; {int(wrong.sum())} such values); "
            "correct the file or leave those events out"
        )
