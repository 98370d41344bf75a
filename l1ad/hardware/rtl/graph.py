"""A network as a graph of integers: what hardware computes, bit by bit, before it is cut into clocks.

Each node is one integer with the range that it is proved to stay in, so that its width is known; nodes that compute
the same are one.  `Graph.evaluate` says what a node means; `verilog` writes the same.

Where logic is used more than once for an event, a number passes as `Digits`, one at each clock, through sums that are
so much narrower, and `Accumulate` puts the sums of the digits together.  All nodes between these two hold a digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from l1ad.errors import UnsupportedError
from l1ad.fixed import MAX_BITS, FixedPoint, Raw


@dataclass(frozen=True, slots=True)
class Column:
    """A trigger integer: column `index` of the network's input."""

    index: int


@dataclass(frozen=True, slots=True)
class Constant:
    """The same integer always."""

    value: int


@dataclass(frozen=True, slots=True)
class Sum:
    """``a * 2**up_a + b * 2**up_b``, or ``-`` if `minus`."""

    a: int
    up_a: int
    b: int
    up_b: int
    minus: bool


@dataclass(frozen=True, slots=True)
class Shift:
    """``floor(a / 2**down)``; a negative `down` multiplies."""

    a: int
    down: int


@dataclass(frozen=True, slots=True)
class Wrap:
    """The last `width` bits of ``a``, in two's complement if `signed`."""

    a: int
    width: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Saturate:
    """``a``, or the nearer of `low` and `high`."""

    a: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Even:
    """``a``, less 1 if it is odd and the last `bits` bits of `of` are 0: of a tie, the even neighbour."""

    a: int
    of: int
    bits: int


@dataclass(frozen=True, slots=True)
class AtLeast:
    """1 where ``a >= b``, else 0."""

    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Choose:
    """``a`` where `where` is not 0, else ``b``."""

    where: int
    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Table:
    """``entries[a - first]``."""

    a: int
    first: int
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Digits:
    """``a + offset``, which is not negative, as so many digits of `bits` bits, the highest first, one a clock."""

    a: int
    offset: int
    bits: int
    count: int


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Of `count` digits, the highest first: ``sum(a * 2**bits, ...) + constant``."""

    a: int
    bits: int
    count: int
    constant: int


Node = Column | Constant | Sum | Shift | Wrap | Saturate | Even | AtLeast | Choose | Table | Digits | Accumulate


def operands(node: Node) -> tuple[int, ...]:
    """Numbers of the nodes that a node reads."""
    return tuple(getattr(node, key) for key in ("a", "b", "of", "where") if hasattr(node, key))


def bits(low: int, high: int) -> int:
    """Width of the integers from `low` to `high`: in two's complement if `low` is negative."""
    return FixedPoint.holding(low, high, 0).width


@dataclass
class Graph:
    """Nodes in an order in which each reads earlier ones only.

    Attributes
    ----------
    nodes : list of Node
    low, high : list of int, the range of each
    names : list of str, identifiers: what the network calls a node, or the operation that it is a part of and a number
    where : str, name of the operation that new nodes are a part of
    """

    nodes: list[Node] = field(default_factory=list)
    low: list[int] = field(default_factory=list)
    high: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    where: str = ""
    _known: dict[Node, int] = field(default_factory=dict)

    def width(self, number: int) -> int:
        """Bits of a node."""
        return bits(self.low[number], self.high[number])

    def signed(self, number: int) -> bool:
        """Whether a node can be negative."""
        return self.low[number] < 0

    def constant(self, value: int) -> int:
        """A constant."""
        return self._put(Constant(value), value, value)

    def column(self, index: int, low: int, high: int) -> int:
        """A trigger integer within its admissible range."""
        return self._put(Column(index), low, high)

    def sum(self, a: int, b: int, up_a: int = 0, up_b: int = 0, minus: bool = False) -> int:
        """See `Sum`."""
        if self.value(b) == 0:
            return self.shift(a, -up_a)
        if self.value(a) == 0 and not minus:
            return self.shift(b, -up_b)
        if (common := min(up_a, up_b)) > 0:
            return self.shift(self.sum(a, b, up_a - common, up_b - common, minus), -common)
        if not minus and (up_b, b) < (up_a, a):
            a, up_a, b, up_b = b, up_b, a, up_a
        low, high = (self.low[b] << up_b, self.high[b] << up_b)
        low, high = (-high, -low) if minus else (low, high)
        return self._put(Sum(a, up_a, b, up_b, minus), (self.low[a] << up_a) + low, (self.high[a] << up_a) + high)

    def shift(self, a: int, down: int) -> int:
        """See `Shift`."""
        if down == 0:
            return a
        node = self.nodes[a]
        if isinstance(node, Shift) and (node.down >= 0) == (down > 0):  # floors of floors; of the other kind, zeros
            return self.shift(node.a, node.down + down)
        if down > 0:
            return self._put(Shift(a, down), self.low[a] >> down, self.high[a] >> down)
        return self._put(Shift(a, down), self.low[a] << -down, self.high[a] << -down)

    def wrap(self, a: int, width: int, signed: bool) -> int:
        """See `Wrap`."""
        kind = FixedPoint(width, 0, signed)
        if kind.min_raw <= self.low[a] and self.high[a] <= kind.max_raw:
            return a
        return self._put(Wrap(a, width, signed), kind.min_raw, kind.max_raw)

    def saturate(self, a: int, low: int, high: int) -> int:
        """See `Saturate`."""
        if low <= self.low[a] and self.high[a] <= high:
            return a
        ends = [min(max(end, low), high) for end in (self.low[a], self.high[a])]
        return self._put(Saturate(a, low, high), *ends)

    def even(self, a: int, of: int, bits: int) -> int:
        """See `Even`."""
        return self._put(Even(a, of, bits), self.low[a] & ~1, self.high[a])

    def at_least(self, a: int, b: int) -> int:
        """See `AtLeast`."""
        if self.low[a] >= self.high[b]:
            return self.constant(1)
        if self.high[a] < self.low[b]:
            return self.constant(0)
        return self._put(AtLeast(a, b), 0, 1)

    def choose(self, where: int, a: int, b: int) -> int:
        """See `Choose`."""
        if a == b or self.low[where] > 0 or self.high[where] < 0:
            return a
        if self.value(where) == 0:
            return b
        return self._put(Choose(where, a, b), min(self.low[a], self.low[b]), max(self.high[a], self.high[b]))

    def table(self, a: int, first: int, entries: tuple[int, ...]) -> int:
        """See `Table`; of the entries, only those that can be read are kept."""
        start, stop = self.low[a] - first, self.high[a] - first + 1
        kept = entries[start:stop]
        return self._put(Table(a, first + start, kept), min(kept), max(kept))

    def digits(self, a: int, bits: int, count: int) -> int:
        """See `Digits`; of a number that can be negative, the sign bit is turned."""
        offset = 1 << (self.width(a) - 1) if self.signed(a) else 0
        return self._put(Digits(a, offset, bits, count), 0, (1 << min(bits, self.width(a))) - 1)

    def accumulate(self, a: int, bits: int, count: int, constant: int) -> int:
        """See `Accumulate`."""
        ones = sum(1 << (bits * digit) for digit in range(count))
        return self._put(
            Accumulate(a, bits, count, constant), *(end * ones + constant for end in (self.low[a], self.high[a]))
        )

    def value(self, number: int) -> int | None:
        """The integer that a node always is, or None."""
        return self.low[number] if self.low[number] == self.high[number] else None

    def narrow(self, number: int, low: int, high: int) -> None:
        """Take over a range that is proved elsewhere."""
        self.low[number], self.high[number] = max(self.low[number], low), min(self.high[number], high)

    def _put(self, node: Node, low: int, high: int) -> int:
        if low == high and not isinstance(node, Constant):
            return self.constant(low)
        if (read := operands(node)) and all(self.value(number) is not None for number in read):
            alone = {number: np.array([self.low[number]]) for number in read}
            return self.constant(int(_meaning(node, alone, np.empty((0, 1), np.int64))[0]))
        if low < -(1 << MAX_BITS - 1) or high >= 1 << MAX_BITS - (low < 0):
            raise UnsupportedError(f"RTL has {MAX_BITS} bits, not the more that operation {self.where!r} needs")
        if node not in self._known:
            self._known[node] = len(self.nodes)
            self.nodes.append(node)
            self.names.append(f"{self.where}_t{self._known[node]}")
            self.low.append(low)
            self.high.append(high)
        return self._known[node]

    def needed(self, last: int) -> list[int]:
        """Numbers of the nodes that a node depends on, and its own, in order."""
        wanted = {last}
        for number in range(last, -1, -1):
            if number in wanted:
                wanted.update(operands(self.nodes[number]))
        return sorted(wanted)

    def evaluate(self, x: npt.ArrayLike, last: int) -> Raw:
        """The definition of every node: integers of node `last`.

        Parameters
        ----------
        x : integer array_like, shape (n_events, n_columns)
        last : int

        Returns
        -------
        int64 array, shape (n_events,)
        """
        columns = np.asarray(x, np.int64).T
        v: dict[int, Raw] = {}
        for number in self.needed(last):
            v[number] = _meaning(self.nodes[number], v, columns)
        return v[last]


def _meaning(node: Node, v: Mapping[int, Raw], columns: Raw) -> Raw:
    """Integers of a node; `v`: those of its operands, ([n_digits,] n_events); `columns`: (n_columns, n_events)."""
    match node:
        case Column(index):
            return np.asarray(columns[index])
        case Constant(value):
            return np.full(columns.shape[1], value)
        case Sum(a, up_a, b, up_b, minus):
            other = v[b] << up_b
            return (v[a] << up_a) + (-other if minus else other)
        case Shift(a, down):
            return v[a] >> down if down > 0 else v[a] << -down
        case Wrap(a, width, signed):
            sign = 1 << (width - 1) if signed else 0
            return ((v[a] & ((1 << width) - 1)) ^ sign) - sign
        case Saturate(a, low, high):
            return np.clip(v[a], low, high)
        case Even(a, of, bits):
            odd: Raw = v[a] & (v[of] & ((1 << bits) - 1) == 0)
            return v[a] - odd
        case AtLeast(a, b):
            return (v[a] >= v[b]).astype(np.int64)
        case Choose(where, a, b):
            return np.where(v[where] != 0, v[a], v[b])
        case Table(a, first, entries):
            return np.array(entries, np.int64)[v[a] - first]
        case Digits(a, offset, bits, count):  # an axis for the clocks, before that of the events
            places = np.arange(count - 1, -1, -1)[:, None] * bits
            return ((v[a] + offset) >> places) & ((1 << bits) - 1)
        case Accumulate(a, bits, count, constant):
            made: Raw = (v[a] << np.arange(count - 1, -1, -1)[:, None] * bits).sum(axis=0) + constant
            return made
