"""Plain scores that a detector must beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.trigger.samples import IntArray


def sum_pt(inputs: npt.ArrayLike, pt_index: Sequence[int]) -> IntArray:
    """Baseline score: scalar sum of the transverse momenta of an event.

    Parameters
    ----------
    inputs : array_like of int, shape (n, inputs)
        Hardware integers.
    pt_index : sequence of int
        Columns that hold a transverse momentum; the caller says which objects count.

    Returns
    -------
    ndarray of int64, shape (n,)
        Raw, in units of the pT code.
    """
    total: IntArray = _pt(inputs, pt_index).sum(axis=1)
    return total


def multiplicity(inputs: npt.ArrayLike, pt_index: Sequence[int]) -> IntArray:
    """Baseline score: number of objects present, that is of non-zero transverse momenta.

    Parameters
    ----------
    inputs : array_like of int, shape (n, inputs)
        Hardware integers; absent objects have zero pT.
    pt_index : sequence of int
        Columns that hold a transverse momentum; the caller says which objects count.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    present: IntArray = (_pt(inputs, pt_index) > 0).sum(axis=1, dtype=np.int64)
    return present


def _pt(inputs: npt.ArrayLike, pt_index: Sequence[int]) -> IntArray:
    """Columns of transverse momenta, shape (n, len(pt_index))."""
    array: npt.NDArray[Any] = np.asarray(inputs)
    if array.dtype.kind not in "iu" or not np.can_cast(array.dtype, np.int64):
        raise TypeError(f"inputs must be integers that fit int64, not {array.dtype}; pass hardware integers")
    if array.ndim != 2:
        raise ValueError(f"inputs must have shape (n, inputs), not {array.shape}; pass one row per event")
    columns = [int(i) for i in pt_index]
    if not columns or len(set(columns)) != len(columns) or not all(0 <= i < array.shape[1] for i in columns):
        raise ValueError(
            f"pt_index must be distinct columns from 0 to {array.shape[1] - 1}, not {columns}; "
            "take them from the schema"
        )
    pt: IntArray = array[:, columns].astype(np.int64)
    if (pt < 0).any():
        row, column = (int(i) for i in np.argwhere(pt < 0)[0])
        raise ValueError(
            f"pT must be non-negative, not {pt[row, column]}; at event {row}, column {columns[column]}; "
            "check pt_index against the schema"
        )
    return pt
