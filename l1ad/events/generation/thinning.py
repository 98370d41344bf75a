"""Fewer events of the bulk: crossings are kept by chance, the more surely the rarer they are, and weigh more for it.

A rate of 1 kHz is one crossing in 30,000: a sample that shall hold many of those, in a small file, cannot keep all
others.  A crossing whose rarest quantity is reached or passed by a share t of zero-bias is kept with probability
``max(floor, min(1, tail / t))``, and its weight is divided by that.  Sums of weights stay unbiased whatever is cut on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1ad.events.store import Events

__all__ = ["Thinning", "kept", "tails"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Thinning:
    """Smallest probability to be kept, and the share of zero-bias below which all are kept; 1 and 1 keep all."""

    floor: float
    tail: float

    def __post_init__(self) -> None:
        if not (0 < self.floor <= 1 and 0 < self.tail <= 1):
            raise ValueError(f"floor and tail must be above 0 and at most 1, not {self.floor} and {self.tail}")


def _quantities(events: Events) -> dict[str, NDArray[np.int64]]:
    """Leading pT and sum of pT of each collection, (n,) codes."""
    out = {}
    for collection in events.schema.collections:
        pt = events.columns[f"{collection.name}.pt"].astype(np.int64)
        out[collection.name] = pt[:, 0]
        if collection.slots > 1:
            out[f"sum {collection.name}"] = pt.sum(axis=1)
    return out


def tails(pilot: Events) -> dict[str, tuple[NDArray[np.int64], Floats]]:
    """For each quantity its values in a plain sample, and the share of zero-bias at or above each."""
    out = {}
    weight = pilot.meta["weight"] / pilot.meta["weight"].sum()
    for name, values in _quantities(pilot).items():
        codes, at = np.unique(values, return_inverse=True)
        per_code: Floats = np.bincount(at.reshape(-1), weight).astype(np.float64)
        out[name] = codes, np.cumsum(per_code[::-1])[::-1]
    return out


def kept(events: Events, shares: dict[str, tuple[NDArray[np.int64], Floats]], thinning: Thinning) -> Floats:
    """Probability to be kept of each crossing, (n,); beyond what the plain sample reached all are kept."""
    rarest = np.ones(len(events))
    for name, values in _quantities(events).items():
        codes, share = shares[name]
        at = np.searchsorted(codes, values)
        rarest = np.minimum(rarest, np.append(share, 0.0)[at])
    with np.errstate(divide="ignore"):
        return np.maximum(thinning.floor, np.minimum(1.0, thinning.tail / rarest))
