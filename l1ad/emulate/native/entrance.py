"""The entrance: what scales each input column, found again in 16 bits and proved by trying every number.

Between the trigger's integers and the first layer lies, for every column, some function of one integer: shifts,
offsets, roundings, saturations, of whatever types.  Here it becomes ``clip((clip(x) + add) >> down << up)``, rounded
to even if need be, all in 16 bits: a guess, kept only if it is right for every admissible number of the column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from l1ad.emulate import reference
from l1ad.fixed import Raw, cast
from l1ad.network import Network
from l1ad.operations import Operation

CONSTANTS = ("least", "most", "add", "keep", "turn", "even", "down", "up", "bottom", "top")
LOWEST, HIGHEST = -(2**15), 2**15 - 1


@dataclass(frozen=True)
class Column:
    """Constants of one column, as in kernel.cpp."""

    least: int
    most: int
    add: int
    keep: int = -1
    turn: int = 0
    even: int = 0
    down: int = 0
    up: int = 0
    bottom: int = LOWEST
    top: int = HIGHEST

    def __call__(self, x: Raw) -> Raw:
        """What the kernel makes of numbers."""
        return np.clip(self._shifted(x), self.bottom, self.top)

    def _shifted(self, x: Raw) -> Raw:
        y = (np.clip(x, self.least, self.most) + self.add) & self.keep
        y = y - ((y >> self.turn) & self.even)
        return y >> self.down << self.up

    def fits(self, x: Raw) -> bool:
        """Whether it needs no more than 16 bits, of the numbers that it is for."""
        sums = (np.clip(x, self.least, self.most) + self.add) & self.keep
        ends = np.array([sums.min() - self.even, sums.max() + 1])
        reached = np.concatenate([ends, ends >> self.down << self.up, [self.add]])
        return max(self.turn, self.down, self.up) < 16 and LOWEST <= reached.min() <= reached.max() <= HIGHEST


def find_entrance(network: Network, chain: Sequence[Operation], zero: int) -> list[Column] | None:
    """Constants of every column for the operations from the input to the end of `chain`, less `zero`; None if none fit.

    Parameters
    ----------
    network : Network
    chain : operations, each reading the one before, the first the input
    zero : int
        What is stored is the result minus this.
    """
    low, high = network.input.low, network.input.high
    if low.min() < LOWEST or high.max() > HIGHEST:
        return None
    numbers = np.minimum(low + np.arange(int((high - low).max()) + 1)[:, None], high)
    values = {network.input.name: numbers}
    for operation in chain:
        integers, frac = reference.exact(operation, network, values)
        values[operation.name] = cast(integers, frac, operation.out)
    wanted = values[chain[-1].name] - zero
    columns = []
    for c in range(numbers.shape[1]):
        size = int(high[c] - low[c]) + 1
        found = _column(numbers[:size, c], wanted[:size, c])
        if found is None:
            return None
        columns.append(found)
    return columns


def _column(x: Raw, y: Raw) -> Column | None:
    """Constants with which every number of `x` gives that of `y`."""
    change = np.flatnonzero(np.diff(y))
    first, last = (int(change[0]), int(change[-1]) + 1) if len(change) else (0, 0)
    least, most = int(x[first]), int(x[last])
    common = int(np.bitwise_or.reduce(y))
    zeros = (common & -common).bit_length() - 1 if common else 0  # low bits that are 0 in every number
    for up in {0, zeros}:
        rise, run = int(y[last] - y[first]) >> up, max(most - least, 1)
        slope = round(np.log2(rise / run)) if rise > 0 else 0
        for shift in (slope, slope - 1, slope + 1):
            guesses = (
                _shifts_down(x, y >> up, first, last, -shift, up) if shift < 0 else _shifts_up(x, y, first, last, shift)
            )
            for guess in guesses:
                if guess.fits(x) and np.array_equal(guess(x), y):
                    return guess
    return None


def _shifts_up(x: Raw, y: Raw, first: int, last: int, up: int) -> Iterator[Column]:
    """``(x + add) << up``, saturated where it leaves a multiple."""
    least, most, inside = int(x[first]), int(x[last]), min(first + 1, last)
    add = (int(y[inside]) >> up) - int(x[inside])
    yield Column(least, most, add, up=up)
    yield Column(least, most, add, up=up, bottom=int(y[first]), top=int(y[last]))


def _shifts_down(x: Raw, y: Raw, first: int, last: int, down: int, up: int) -> Iterator[Column]:
    """``(x + add) >> down << up``, rounded down, or to even, also after low bits were cut off; y: before ``<< up``."""
    least, most = int(x[first]), int(x[last])
    few = np.unique(np.linspace(0, len(x) - 1, 64).astype(int))
    add = (int(y[first]) << down) - least + np.arange(2 << down)
    sums = np.clip(x[few], least, most)[:, None] + add
    for even, cut in ((0, 0), *((1, cut) for cut in range(down))):
        kept = sums & -(1 << cut)
        right = ((kept - ((kept >> down) & even)) >> down == y[few, None]).all(axis=0)
        for a in add[right].tolist():
            yield Column(least, most, a, -(1 << cut), down, even, down, up)


def constants(network: Network, columns: Sequence[Column] | None, padded: int) -> npt.NDArray[np.int16]:
    """The entrance of kernel.cpp, shape (12, padded): admissible numbers, and `CONSTANTS`."""
    low, high = network.input.low, network.input.high
    out = np.zeros((2 + len(CONSTANTS), padded), np.int16)  # of what is only there to fill up, the result is 0
    out[0, : len(low)] = np.clip(low, LOWEST, HIGHEST)
    out[1] = -1
    out[1, : len(low)] = np.clip(high - low, 0, 2**16 - 1).astype(np.uint16).view(np.int16)
    for row, name in enumerate(CONSTANTS, start=2):
        if columns is not None:
            out[row, : len(low)] = [getattr(column, name) for column in columns]
    return out
