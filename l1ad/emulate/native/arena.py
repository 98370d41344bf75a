"""Where values lie while a block of events is computed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from l1ad.emulate.native.structures import I64, PARTS

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Value:
    """Where a value of the network lies in the arena.

    Parameters
    ----------
    format : int
        U8, I16, I32 or I64.
    zero : int
        What is stored is the raw number minus this.
    place : int32 array, shape (size,)
        Position of each element, counted in elements.
    start : int
        First dword.
    """

    format: int
    zero: int
    place: Index
    start: int

    @property
    def dwords(self) -> int:
        """How many."""
        return dwords(self.format, self.place)


def dwords(format: int, place: Index) -> int:
    """Dwords that a value takes, whole groups of four elements."""
    positions = 4 * (int(place.max()) // 4 + 1)
    return 2 * positions if format == I64 else positions // PARTS[format]


@dataclass
class Arena:
    """Dwords given out and taken back."""

    free: list[tuple[int, int]] = field(default_factory=list)
    size: int = 0

    def take(self, count: int) -> int:
        """First of `count` dwords in a row that are free."""
        for i, (start, length) in enumerate(self.free):
            if length >= count:
                self.free[i : i + 1] = [(start + count, length - count)] if length > count else []
                return start
        start, self.size = self.size, self.size + count
        return start

    def give(self, start: int, count: int) -> None:
        """Take back what `take` gave."""
        pieces = sorted([*self.free, (start, count)])
        self.free = pieces[:1]
        for at, length in pieces[1:]:
            last, before = self.free[-1]
            if last + before == at:
                self.free[-1] = (last, before + length)
            else:
                self.free.append((at, length))
