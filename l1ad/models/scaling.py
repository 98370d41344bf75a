"""Power-of-two input scaling, fitted on the training sample."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from l1ad.events.schema import InputColumn
from l1ad.fixed import Raw

PT_SPAN, POSITION_SPAN = 4, 1
"""Width of the scaled central 90 % of a pT, and of an eta or phi.  Positions are nearly uniform: no bottleneck can
carry them all, and at the span of pT their irreducible error would be most of a reconstruction score."""

MIN_PRESENT = 200
"""Fewest events with an object that its own scaling can be fitted on."""


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) * 2**-shift`` for trigger integers `x`: exact, only the binary point moves.

    Parameters
    ----------
    offset, shift : int64 array, shape (n_columns,)
    """

    offset: Raw
    shift: Raw


def fit_scaling(x: Raw, columns: tuple[InputColumn, ...], presence: Raw) -> Scaling:
    """Scaling that maps the central 90 % of each pT to about -2 .. 2, and of each eta or phi to about -1/2 .. 1/2.

    Parameters
    ----------
    x : int64 array, shape (n_events, n_columns)
        Trigger integers of the training sample.
    columns : tuple of InputColumn
    presence : int64 array, shape (n_columns,)
        Column that holds the pT of each column's object; events without the object do not count.

    Returns
    -------
    Scaling
        ``offset = round((p5 + p95) / 2)``, ``shift = ceil(log2((p95 - p5) / span))``.  An object that fewer than
        `MIN_PRESENT` events have takes the scaling of the one before it in its collection.  The shift of
        a constant column is 0; both are 0 for a first object that no event has.

    Source
    ------
    The scaling of AXOL1TL (github cms-hls4ml/AXOL1TL, RobustScaler with power-of-two scale), which has span 4 for
    every column.
    """
    offset = np.zeros(x.shape[1], np.int64)
    shift = np.zeros(x.shape[1], np.int64)
    names = {column.name: number for number, column in enumerate(columns)}
    for number, column in enumerate(columns):
        seen = x[x[:, presence[number]] != 0, number]
        before = names.get(_slot_before(column.name))
        if len(seen) < MIN_PRESENT and before is not None:
            offset[number], shift[number] = offset[before], shift[before]
            continue
        low, high = np.percentile(seen, [5, 95]) if len(seen) else (0, 0)
        offset[number] = round((low + high) / 2)
        if high > low:
            span = PT_SPAN if column.name.endswith("_pt") else POSITION_SPAN
            shift[number] = int(np.ceil(np.log2((high - low) / span)))
    return Scaling(offset, shift)


def _slot_before(name: str) -> str:
    """``mu2_pt`` -> ``mu1_pt``; the empty string for a first or only object."""
    match = re.fullmatch(r"(\D+)(\d+)_(\w+)", name)
    return f"{match[1]}{int(match[2]) - 1}_{match[3]}" if match else ""
