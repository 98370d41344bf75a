"""Lists of objects, as many per event as there were, to the fixed slots of a collection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_slots", "offsets_of"]

Array = NDArray[Any]


def offsets_of(counts: Array) -> NDArray[np.int64]:
    """Where each event starts in the flat arrays, and where the last one ends: (n + 1,) from (n,) counts."""
    out = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=out[1:])
    return out


def fill_slots(offsets: Array, pt: Array, others: dict[str, Array], slots: int) -> dict[str, Array]:
    """Objects by falling pT, those of equal pT in the order of the file; what does not fit is left out.

    Parameters
    ----------
    offsets : (n + 1,) integers
        Objects of event i are ``offsets[i]:offsets[i + 1]`` of the flat arrays.
    pt : (objects,) integers, raw
        An object of 0 (or less) is absent: it takes no slot.
    others : dict of (objects,) integers, raw
        The other columns, by name.
    slots : int
        Objects that an event has room for.

    Returns
    -------
    dict of (n, slots) integers
        ``pt`` and the names of `others`, each of the dtype that it had; 0 where there is no object.

    Raises
    ------
    ValueError
        If the arrays do not fit together.
    """
    flat = {"pt": pt, **others}
    n = len(offsets) - 1
    if n < 0 or offsets[0] != 0 or offsets[-1] != len(pt) or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must rise from 0 to {len(pt)}, the number of objects")
    for name, array in flat.items():
        if array.shape != pt.shape:
            raise ValueError(f"{name} must have {len(pt)} objects as pt, not shape {array.shape}")
    present = pt > 0
    event = np.repeat(np.arange(n), np.diff(offsets))[present]
    kept = {name: array[present] for name, array in flat.items()}
    top = int(kept["pt"].max(initial=0))
    key = event * (top + 1) + (top - kept["pt"].astype(np.int64))
    order = np.argsort(key, kind="stable")  # quick on what is sorted already, as most files are
    first = offsets_of(np.bincount(event, minlength=n))
    slot = np.arange(len(event)) - first[:-1][event]  # sorting moves nothing across events
    fits = slot < slots
    out = {}
    for name, array in kept.items():
        out[name] = np.zeros((n, slots), array.dtype)
        out[name][event[fits], slot[fits]] = array[order][fits]
    return out
