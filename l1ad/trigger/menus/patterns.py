"""Events by decision word: what the rates of a menu are made of, exact however it is filled."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations_with_replacement, permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.emulate.histogram import MAX_SUM, whole_units
from l1ad.fixed import Raw


@dataclass
class Patterns:
    """Events by pattern of fired seeds, of any number of seeds: the seeds of a menu, working points beside them.

    Sums are Python integers, so that any split of a sample merges bit for bit.  Memory grows with the patterns that
    occur (and with the groups that fire), not with events.

    Parameters
    ----------
    names : tuple of str
        Seeds, in the order of their bits.
    unit : float or None
        What a weight of 1 stands for, e.g. `l1ad.trigger.samples.UNIT`; None for events without weights.

    Attributes
    ----------
    total : int
        Σw of all events, in units; without weights, their number.
    table : dict
        By pattern, packed as by `numpy.packbits`: number of events, Σw, and Σw² and Σw³ of those that are in no group.
    shared : dict
        By group and pattern: Σw of the group's events, of patterns that fire.

    Raises
    ------
    ValueError
        If there is no seed, two have one name, or `unit` is not positive.
    """

    names: tuple[str, ...]
    unit: float | None = None
    total: int = 0
    table: dict[bytes, tuple[int, int, int, int]] = field(default_factory=dict, repr=False)
    shared: dict[tuple[int, bytes], int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"seeds must have different names, and there must be one, not {list(self.names)}")
        if self.unit is not None and not (np.isfinite(self.unit) and self.unit > 0):
            raise ValueError(f"unit of the weights must be positive, not {self.unit}")

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(count for count, *_ in self.table.values())

    def fill(
        self, fired: npt.ArrayLike, weight: npt.ArrayLike | None = None, groups: npt.ArrayLike | None = None
    ) -> Patterns:
        """Count events, and return the patterns.

        Parameters
        ----------
        fired : bool array_like, shape (n_events, seeds)
            Decisions before prescales.
        weight : float array_like, shape (n_events,), if and only if there is a unit
            Rounded to whole units.
        groups : integer array_like, shape (n_events,), optional
            Equal for events that share a collision, in all parts of the sample; negative for those that share none.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what is stated, or weights sum to too much.
        """
        bits: npt.NDArray[Any] = np.asarray(fired)
        if bits.dtype != np.bool_ or bits.ndim != 2 or bits.shape[1] != len(self.names):
            raise TypeError(f"fired must be bool of shape (n, {len(self.names)}), not {bits.dtype} {bits.shape}")
        numbers: npt.NDArray[Any] = np.full(len(bits), -1) if groups is None else np.asarray(groups)
        if numbers.dtype.kind not in "iu" or numbers.shape != (len(bits),):
            raise TypeError(f"groups must be {len(bits)} integers, not {numbers.dtype} {numbers.shape}")
        units, self.total = whole_units(len(bits), weight, self.unit, self.total)
        if units is None:
            units = np.ones(len(bits), np.int64)
        words, index, fires = _words(bits)
        grouped = np.flatnonzero((numbers >= 0) & fires)
        alone = units.copy()
        alone[grouped] = 0
        order = np.argsort(index, kind="stable")
        starts = np.searchsorted(index[order], np.arange(len(words)))
        counts, sums = np.diff(starts, append=len(bits)), _sums(units[order], starts)
        powers = [_power_sums(alone[order], starts, power) for power in (2, 3)]
        for word, count, w, squares, cubes in zip(words, counts, sums, *powers, strict=True):
            self._take(word, int(count), int(w), squares, cubes)
        for event in grouped:
            self._share((int(numbers[event]), words[index[event]]), int(units[event]))
        return self

    def add(self, other: Patterns) -> Patterns:
        """Take another's events in, and return this one.

        Raises
        ------
        ValueError
            If it is of other seeds or units, or weights sum to too much.
        """
        for name in ("names", "unit"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"patterns must have the same {name}, not {getattr(self, name)} and {getattr(other, name)}"
                )
        if self.total + other.total >= MAX_SUM:
            raise ValueError(f"weights must sum to less than 2**62 units of {self.unit:g}; choose a larger unit")
        self.total += other.total
        for word, found in other.table.items():
            self._take(word, *found)
        for key, units in other.shared.items():
            self._share(key, units)
        return self

    def _take(self, word: bytes, count: int, units: int, squares: int, cubes: int) -> None:
        before = self.table.get(word, (0, 0, 0, 0))
        self.table[word] = before[0] + count, before[1] + units, before[2] + squares, before[3] + cubes

    def _share(self, key: tuple[int, bytes], units: int) -> None:
        self.shared[key] = self.shared.get(key, 0) + units


def _words(bits: npt.NDArray[np.bool_]) -> tuple[list[bytes], Raw, npt.NDArray[np.bool_]]:
    """Patterns that occur, which of them each event has, and whether it fires at all: only those that do are sorted."""
    n_bytes = -(-bits.shape[1] // 8)
    packed = np.zeros((len(bits), -(-n_bytes // 8) * 8), np.uint8)
    packed[:, :n_bytes] = np.packbits(bits, axis=1)
    columns = packed.view(np.uint64).T
    fires = np.logical_or.reduce([column != 0 for column in columns])
    number = np.zeros(int(fires.sum()), np.int64)
    for column in columns:
        found, inverse = np.unique(column[fires], return_inverse=True)
        number = np.unique(number * len(found) + inverse, return_inverse=True)[1]
    first = np.unique(number, return_index=True)[1]
    silent = int(not fires.all())
    index = np.zeros(len(bits), np.int64)
    index[fires] = number + silent
    return [bytes(n_bytes)] * silent + [row.tobytes() for row in packed[fires][first, :n_bytes]], index, fires


def _sums(units: Raw, starts: Raw) -> Raw:
    """Sum of the events from each start to the next."""
    return np.asarray(np.add.reduceat(units, starts)) if len(units) else units


def _power_sums(units: Raw, starts: Raw, power: int) -> list[int]:
    """Σw² or Σw³ of the events from each start to the next, exact: w < 2**62 is cut in three parts of 21 bits.

    A product of three parts has 63 bits; its lower 32 and the rest are summed apart.
    """
    parts = [units >> 21 * i & (2**21 - 1) for i in range(3)]
    sums = [0] * len(starts)
    for chosen in combinations_with_replacement(range(3), power):
        times, term = len(set(permutations(chosen))), np.prod([parts[i] for i in chosen], axis=0)
        for half, shift in ((term & (2**32 - 1), 0), (term >> 32, 32)):
            for i, part in enumerate(_sums(half, starts).tolist()):
                sums[i] += times * part << 21 * sum(chosen) + shift
    return sums
