"""From collisions to crossings: overlay, then the trigger's response."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from l1ad.events.response import (
    MUON_PHI_CODES,
    N_CELLS,
    N_ETA,
    N_PHI,
    Collisions,
    TriggerResponse,
    digitise,
    find_objects,
)

Ints = NDArray[np.int64]


def _ranges(offsets: Ints, index: Ints) -> tuple[Ints, Ints]:
    """All positions ``offsets[i]:offsets[i + 1]`` for i in `index`, and the length of each range."""
    length = offsets[index + 1] - offsets[index]
    shift = offsets[index] - (np.cumsum(length) - length)
    return np.arange(length.sum()) + np.repeat(shift, length), length


def overlay(
    collisions: Collisions, picks: Ints, event: Ints, n: int, response: TriggerResponse, rng: np.random.Generator
) -> dict[str, NDArray[np.int16]]:
    """Trigger objects of `n` crossings; crossing ``event[i]`` contains collision ``picks[i]``.

    Each collision is turned by a random number of towers in phi and mirrored in eta at random.
    """
    turn = rng.integers(N_PHI, size=len(picks))
    mirror = rng.integers(2, size=len(picks))

    at, length = _ranges(collisions.deposits, picks)
    row_of = np.arange(2 * N_ETA)
    mirrored = row_of // N_ETA * N_ETA + (N_ETA - 1 - row_of % N_ETA)
    start = np.concatenate([row_of, mirrored]) * N_PHI  # first cell of a row, plain then mirrored
    row = collisions.row[at] + np.repeat((mirror * 2 * N_ETA).astype(np.int16), length)
    column = collisions.column[at] + np.repeat(turn.astype(np.uint8), length)
    column -= (column >= N_PHI) * np.uint8(N_PHI)
    cell = start[row] + column + np.repeat(event * N_CELLS, length)
    et = np.bincount(cell, weights=collisions.et[at], minlength=n * N_CELLS).astype(np.float64)

    at, length = _ranges(collisions.muons, picks)
    quantum = MUON_PHI_CODES // N_PHI
    muons: dict[str, Ints] = {
        "event": np.repeat(event, length),
        "pt": collisions.muon_pt[at].astype(np.int64),
        "eta": collisions.muon_eta[at].astype(np.int64) * np.repeat(1 - 2 * mirror, length),
        "phi": (collisions.muon_phi[at].astype(np.int64) + np.repeat(turn * quantum, length)) % MUON_PHI_CODES,
        "charge": collisions.muon_charge[at].astype(np.int64),
        "quality": collisions.muon_quality[at].astype(np.int64),
    }
    return find_objects(digitise(et.reshape(n, 2, N_ETA, N_PHI), response), muons, response)


def crossings(
    stocks: list[Collisions],
    counts: Ints,
    response: TriggerResponse,
    rng: np.random.Generator,
    forced: Ints | None = None,
    batch: int = 250,
) -> Iterator[tuple[dict[str, NDArray[np.int16]], Ints]]:
    """Batches of trigger columns and the identity of the forced, else hardest, collision of each crossing.

    Parameters
    ----------
    stocks : one per class; of the first collisions are drawn at random, of the others each is used once
    counts : (n, classes) collisions of each class in each crossing
    response : constants
    forced : (n,) the class of the forced collision, -1 for none
    """
    first = np.concatenate([[0], np.cumsum([len(stock) for stock in stocks])])
    used = counts[:, 1:].sum(0)
    for j, stock in enumerate(stocks[1:]):
        if len(stock) < used[j]:
            raise ValueError(f"stock {j + 1} must have {used[j]} collisions, not {len(stock)}")
    collisions = Collisions.concatenate(stocks)
    hardness = collisions.hardness()
    forced = np.full(len(counts), -1) if forced is None else forced
    following = first[:-1].copy()  # next unused collision of each class
    for start in range(0, len(counts), batch):
        chosen = counts[start : start + batch]
        n = len(chosen)
        picks, owners, labels = [], [], []
        identity = np.full(n, -1)
        for j in range(len(stocks)):
            total = int(chosen[:, j].sum())
            owner = np.repeat(np.arange(n), chosen[:, j])
            if j == 0:
                pick = rng.integers(len(stocks[0]), size=total)
            else:
                pick = following[j] + np.arange(total)
                following[j] += total
            picks.append(pick)
            owners.append(owner)
            labels.append(np.full(total, j))
        pick, owner, label = (np.concatenate(parts) for parts in (picks, owners, labels))
        special = label == forced[start : start + batch][owner]
        order = np.lexsort((hardness[pick], special, owner))
        pick, owner = pick[order], owner[order]
        identity[owner] = pick  # the last of each event wins: forced before hardest
        yield overlay(collisions, pick, owner, n, response, rng), identity
