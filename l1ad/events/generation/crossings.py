"""From collisions to crossings: overlay, then the trigger's response."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numba import njit
from numpy.typing import NDArray

from l1ad.events.response.geometry import MUON_PHI_CODES, N_PHI
from l1ad.events.response.muons import MuonResponse, detect
from l1ad.events.response.particles import Collisions
from l1ad.events.response.trigger import Muons, Overlay, TriggerResponse, find_crossings

__all__ = ["BATCH", "Detector", "Found", "crossings", "overlay"]

Ints = NDArray[np.int64]
BATCH = 1000
"""Crossings made by one call: each batch has its own random numbers, so the number of threads does not matter."""


@dataclass(frozen=True)
class Detector:
    """Constants of everything that is drawn anew for each crossing."""

    muons: MuonResponse = field(default_factory=MuonResponse)
    trigger: TriggerResponse = field(default_factory=TriggerResponse)


@dataclass(frozen=True)
class Found:
    """Trigger columns of a batch, each (n, slots), and the collision that marks each crossing, (n,), -1 for none."""

    columns: dict[str, NDArray[np.int16]]
    collision: Ints


def _offsets(lengths: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def overlay(
    collisions: Collisions, collision: Ints, first: Ints, detector: Detector, rng: np.random.Generator
) -> dict[str, NDArray[np.int16]]:
    """Trigger objects of n crossings; crossing i contains ``collision[first[i]:first[i + 1]]``.

    Each collision is turned by a random number of towers in phi and mirrored in eta at random; its muons are
    detected anew.
    """
    turn, mirror = rng.integers(N_PHI, size=len(collision)), rng.integers(2, size=len(collision))
    start = collisions.first_track[collision]
    length = collisions.first_track[collision + 1] - start
    tracks = np.arange(length.sum()) + np.repeat(start - _offsets(length)[:-1], length)
    owner = np.repeat(np.arange(len(collision)), length)
    seen, codes = detect(collisions.tracks[tracks], detector.muons, rng)
    owner = owner[seen]
    muons = Muons(
        first=np.searchsorted(owner, first),
        pt=codes["pt"],
        eta=codes["eta"] * (1 - 2 * mirror[owner]),
        phi=(codes["phi"] + turn[owner] * (MUON_PHI_CODES // N_PHI)) % MUON_PHI_CODES,
        charge=codes["charge"],
        quality=codes["quality"],
    )
    return find_crossings(collisions, Overlay(first, collision, turn, mirror), muons, detector.trigger)


@njit(nogil=True, cache=True)
def _marks(first: Ints, collision: Ints, hardness: NDArray[np.float32], special: NDArray[np.bool_]) -> Ints:
    """The hardest of the special collisions of each crossing, of all where none is special, -1 where there is none."""
    marks = np.full(len(first) - 1, -1)
    for i in range(len(marks)):
        best = -1
        for k in range(first[i], first[i + 1]):
            if best < 0 or (special[k], hardness[k]) >= (special[best], hardness[best]):
                best = k
        if best >= 0:
            marks[i] = collision[best]
    return marks


def crossings(
    stocks: list[Collisions],
    counts: Ints,
    detector: Detector,
    seed: int,
    forced: Ints | None = None,
    workers: int = 1,
) -> Iterator[Found]:
    """Crossings in batches of `BATCH`, in order; the same for any number of workers.

    Parameters
    ----------
    stocks : one per class; of the first collisions are drawn at random, the others are used in turn, equally often
    counts : (n, classes) collisions of each class in each crossing
    detector : constants
    seed : of the random numbers
    forced : (n,) the class whose (last) collision marks the crossing, -1 for the hardest of all
    workers : threads
    """
    sizes = np.array([len(stock) for stock in stocks])
    for j, used in enumerate(counts.sum(0)):
        if used and not sizes[j]:
            raise ValueError(f"stock {j} must have collisions, not none: {used} are wanted")
    base = _offsets(sizes)[:-1]
    collisions = Collisions.concatenate(stocks)
    hardness = collisions.hardness()
    before = np.cumsum(counts, axis=0) - counts  # collisions of each class in earlier crossings
    marking = np.full(len(counts), -1) if forced is None else forced

    def batch(start: int) -> Found:
        rng = np.random.default_rng((seed, start))
        rows = slice(start, start + BATCH)
        chosen = counts[rows]
        n, classes = chosen.shape
        group = np.repeat(np.arange(n * classes), chosen.ravel())
        place = np.arange(len(group)) - np.repeat(_offsets(chosen.ravel())[:-1], chosen.ravel())
        crossing, kind = np.divmod(group, classes)
        collision = base[kind] + (before[rows][crossing, kind] + place) % sizes[kind]
        collision[kind == 0] = rng.integers(sizes[0], size=np.count_nonzero(kind == 0))
        first = _offsets(chosen.sum(1))
        marked = _marks(first, collision, hardness[collision], kind == marking[rows][crossing])
        return Found(overlay(collisions, collision, first, detector, rng), marked)

    starts = iter(range(0, len(counts), BATCH))
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Found]] = deque(pool.submit(batch, start) for start in islice(starts, 2 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(batch, start) for start in islice(starts, 1))
