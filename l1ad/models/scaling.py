"""Power-of-two input scaling, fitted on the training sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l1ad.fixed import Raw


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) * 2**-shift`` for trigger integers `x`: exact, only the binary point moves.

    Parameters
    ----------
    offset, shift : int64 array, shape (n_columns,)
    """

    offset: Raw
    shift: Raw


def fit_scaling(x: Raw, presence: Raw) -> Scaling:
    """Scaling that maps the central 90 % of each column to about -2 .. 2.

    Parameters
    ----------
    x : int64 array, shape (n_events, n_columns)
        Trigger integers of the training sample.
    presence : int64 array, shape (n_columns,)
        Column that holds the pT of each column's object; events without the object do not count.

    Returns
    -------
    Scaling
        ``offset = round((p5 + p95) / 2)``, ``shift = ceil(log2((p95 - p5) / 4))``; both 0 for a column that is
        constant or never present.

    Source
    ------
    The scaling of AXOL1TL (github cms-hls4ml/AXOL1TL, RobustScaler with power-of-two scale).
    """
    offset = np.zeros(x.shape[1], np.int64)
    shift = np.zeros(x.shape[1], np.int64)
    for column in range(x.shape[1]):
        seen = x[x[:, presence[column]] != 0, column]
        if len(seen) == 0:
            continue
        low, high = np.percentile(seen, [5, 95])
        offset[column] = round((low + high) / 2)
        if high > low:
            shift[column] = int(np.ceil(np.log2((high - low) / 4)))
    return Scaling(offset, shift)
