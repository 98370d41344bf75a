"""Quantities of a whole event, that rates and efficiencies are shown against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from l1ad.events.table import Events

Quantity = Literal["HT", "ET", "MET", "MHT", "pileup", "collisions", "multiplicity", "leading pT"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
_SUMS: dict[Quantity, str] = {"HT": "ht", "ET": "et", "MET": "met", "MHT": "mht"}
_META: dict[Quantity, str] = {"pileup": "pileup", "collisions": "n_collisions"}


def event_quantity(events: Events, quantity: Quantity) -> npt.NDArray[np.float64]:
    """A quantity of each event, shape (n,): a sum of the trigger or the leading pT in GeV, or a number.

    Objects are those of collections that have more than one slot.  What saturates is infinite: it lies above all edges.

    Raises
    ------
    ValueError
        If the quantity is none of `QUANTITIES`, the events lack its columns, or it is unknown of one.
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity must be one of {', '.join(QUANTITIES)}, not {quantity!r}")
    if quantity in _META:
        known = events.meta[_META[quantity]].astype(np.float64)
        if (known < 0).any():
            raise ValueError(f"{quantity} must be known of all events, not {known.min():g} (event {known.argmin()})")
        return known
    schema = events.schema
    named = [_SUMS[quantity]] if quantity in _SUMS else [c.name for c in schema.collections if c.slots > 1]
    values = []
    for name in named:
        column = next((c.column("pt") for c in schema.collections if c.name == name), None)
        if column is None or f"{name}.pt" not in events.columns:
            raise ValueError(f"events must hold the column {name}.pt for {quantity}, not only {list(events.columns)}")
        codes = events.columns[f"{name}.pt"]
        values.append(np.where(codes == column.saturated, np.inf, codes * column.lsb))
    pt = np.concatenate(values, axis=1)
    return np.asarray((pt > 0).sum(axis=1) if quantity == "multiplicity" else pt.max(axis=1), np.float64)


def known_quantities(
    events: Events, wanted: Iterable[Quantity] = QUANTITIES
) -> dict[Quantity, npt.NDArray[np.float64]]:
    """Those that all events have, each as `event_quantity` gives it."""
    found = {}
    for quantity in wanted:
        try:
            found[quantity] = event_quantity(events, quantity)
        except ValueError:  # not in this schema, not read, or not known
            continue
    return found
