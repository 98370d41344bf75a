"""Sums of integers times constants as adders: signed digits, shared sub-expressions, and trees.

A weight is a sum of signed powers of two, as few as can be (canonical signed digits), so that each output is a sum of
shifted inputs.  Two terms that meet in several outputs, at one distance and of one relative sign, are added once: the
pair that saves most first, until none comes twice.

Source: M. Potkonjak et al., "Multiple constant multiplications" (1996), with pairs of all inputs, as da4ml has them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from l1ad.hardware.rtl.graph import Graph

Term = tuple[int, int, int]  # number of a node, bits that it is shifted up by, sign: 1 or -1
Pair = tuple[int, int, int, int]  # two nodes, bits from one to the other, their relative sign


def digits(weight: int) -> list[tuple[int, int]]:
    """Canonical signed digits of an integer: (bit, sign) of each that is not 0."""
    out, bit = [], 0
    while weight:
        if weight & 1:
            sign = 2 - (weight & 3)  # 1 before ..01, -1 before ..11
            out.append((bit, sign))
            weight -= sign
        weight >>= 1
        bit += 1
    return out


def sums(graph: Graph, x: Sequence[int], weight: Sequence[Sequence[int]], bias: Sequence[int]) -> list[int]:
    """Nodes of ``x @ weight + bias``.

    Parameters
    ----------
    graph : Graph
        Gets the adders.
    x : sequence of int
        Numbers of nodes, n of them.
    weight : sequence of sequences of int, shape (n, m)
    bias : sequence of int, shape (m,)

    Returns
    -------
    list of int
        Numbers of m nodes.
    """
    factors: list[Counter[int]] = [Counter() for _ in bias]  # of each node, which may be there more than once
    constants = list(bias)
    for number, row in zip(x, weight, strict=True):
        fixed = graph.value(number)
        for j, w in enumerate(row):
            if fixed is not None:
                constants[j] += fixed * w
            else:
                factors[j][number] += w
    columns = [{(n, bit, sign) for n, w in factor.items() for bit, sign in digits(w)} for factor in factors]
    depth: defaultdict[int, int] = defaultdict(int)
    _share(graph, columns, depth)
    return [tree(graph, terms, constant, depth) for terms, constant in zip(columns, constants, strict=True)]


def total(graph: Graph, x: Sequence[int], constant: int = 0) -> int:
    """Node of the sum of nodes and a constant."""
    return sums(graph, x, [[1]] * len(x), [constant])[0]


def product(graph: Graph, a: int, b: int) -> int:
    """Node of the product of two nodes: a row for each bit of the narrower, or of tables, if it is a square."""
    if a == b:
        return _square(graph, a)
    if graph.width(a) < graph.width(b):
        a, b = b, a
    zero, top, terms = graph.constant(0), graph.width(b) - 1, set[Term]()
    for bit in range(top + 1):
        row = graph.choose(graph.wrap(graph.shift(b, bit), 1, False), a, zero)
        terms.add((row, bit, -1 if bit == top and graph.signed(b) else 1))
    return tree(graph, terms, 0, defaultdict(int))


def _square(graph: Graph, a: int) -> int:
    """``(high * 2**k + low)**2``; of six bits, a look-up table for each bit of the result."""
    width = graph.width(a)
    if width <= 6:
        entries = tuple(value * value for value in range(graph.low[a], graph.high[a] + 1))
        return graph.table(a, graph.low[a], entries)
    k = width // 2
    low, high = graph.wrap(a, k, False), graph.shift(a, k)
    squares = graph.sum(_square(graph, low), _square(graph, high), 0, 2 * k)
    out = graph.sum(squares, product(graph, high, low), 0, k + 1)
    largest = max(graph.low[a] ** 2, graph.high[a] ** 2)
    graph.narrow(out, 0, largest)
    return out


def _pair(one: Term, other: Term) -> tuple[Pair, Term]:
    """What two terms have in common with others, and the one that is first."""
    first, second = sorted((one, other), key=lambda term: (term[0], term[1]))
    return (first[0], second[0], second[1] - first[1], first[2] * second[2]), first


class _Sharing:
    """Terms of each output, and how often each pair of terms is among them."""

    def __init__(self, graph: Graph, columns: list[set[Term]], depth: defaultdict[int, int]) -> None:
        self.graph, self.columns, self.depth = graph, columns, depth
        self.count: Counter[Pair] = Counter()
        self.where: defaultdict[Pair, set[int]] = defaultdict(set)
        for j, terms in enumerate(columns):
            ordered = sorted(terms)
            for i, term in enumerate(ordered):
                for other in ordered[i + 1 :]:
                    self._see(j, term, other)
        self.heap = [self._rank(pair) for pair, count in self.count.items() if count > 1]
        heapify(self.heap)

    def _rank(self, pair: Pair) -> tuple[int, int, Pair]:
        """First what saves most: an adder of the bits that overlap, each time but the first."""
        a, b, up, _ = pair
        overlap = min(self.graph.width(a), self.graph.width(b) + up) - max(0, up)
        saved = (self.count[pair] - 1) * max(overlap, 1)
        return -saved, max(self.depth[a], self.depth[b]), pair

    def _see(self, j: int, one: Term, other: Term) -> Pair:
        pair, _ = _pair(one, other)
        self.count[pair] += 1
        self.where[pair].add(j)
        return pair

    def best(self) -> Pair | None:
        """The pair that saves most, if any comes twice; of equals, that of the fewest levels."""
        while self.heap:
            rank = heappop(self.heap)
            if self.count[rank[2]] > 1 and rank == self._rank(rank[2]):
                return rank[2]
        return None

    def take(self, pair: Pair) -> None:
        """Put one node for a pair, wherever it is."""
        a, b, up, relative = pair
        spots = [(j, found) for j in sorted(self.where[pair]) if (found := self._found(j, pair))]
        if sum(len(found) for _, found in spots) < 2:
            self.count[pair] = 0  # what is left of it overlaps itself
            return
        before = len(self.graph.nodes)
        node = self.graph.sum(a, b, 0, up, relative < 0) if up >= 0 else self.graph.sum(a, b, -up, 0, relative < 0)
        if node >= before:
            self.depth[node] = max(self.depth[a], self.depth[b]) + 1
        touched: set[Pair] = set()
        for j, found in spots:
            for first, second in found:
                if not {first, second} <= self.columns[j]:
                    continue  # one went into what the pair before it made
                touched |= self._drop(j, first) | self._drop(j, second)
                touched |= self._add(j, (node, first[1] + min(up, 0), first[2]))
        self.count[pair] = 0
        for other in touched:
            if self.count[other] > 1:
                heappush(self.heap, self._rank(other))

    def _found(self, j: int, pair: Pair) -> list[tuple[Term, Term]]:
        """Where a pair is among the terms of an output, each term in one place only."""
        a, b, up, relative = pair
        free = set(self.columns[j])
        out: list[tuple[Term, Term]] = []
        for first in sorted(term for term in self.columns[j] if term[0] == a):
            second = (b, first[1] + up, first[2] * relative)
            if first in free and second in free and first != second:
                free -= {first, second}
                out.append((first, second))
        return out

    def _drop(self, j: int, term: Term) -> set[Pair]:
        terms = self.columns[j]
        terms.discard(term)
        touched = set()
        for other in terms:
            pair, _ = _pair(term, other)
            self.count[pair] -= 1
            touched.add(pair)
        return touched

    def _add(self, j: int, term: Term) -> set[Pair]:
        terms = self.columns[j]
        number, up, sign = term
        if (number, up, -sign) in terms:  # they cancel
            return self._drop(j, (number, up, -sign))
        if term in terms:  # twice: one more shift
            return self._drop(j, term) | self._add(j, (number, up + 1, sign))
        touched = {self._see(j, term, other) for other in terms}
        terms.add(term)
        return touched


def _share(graph: Graph, columns: list[set[Term]], depth: defaultdict[int, int]) -> None:
    sharing = _Sharing(graph, columns, depth)
    while (pair := sharing.best()) is not None:
        sharing.take(pair)


def tree(graph: Graph, terms: Iterable[Term], constant: int, depth: Mapping[int, int]) -> int:
    """Node of a sum of terms and a constant: the two of the fewest levels first, and of those, the lowest bits.

    `depth`: levels of adders before a node.
    """
    heap = [(depth[number], up, number, sign) for number, up, sign in terms]
    if constant or not heap:
        heap.append((0, 0, graph.constant(abs(constant)), 1 if constant >= 0 else -1))
    heapify(heap)
    while len(heap) > 1:
        (level, up, a, sign), (other_level, other_up, b, other_sign) = heappop(heap), heappop(heap)
        if sign < 0 < other_sign:
            (up, a, sign), (other_up, b, other_sign) = (other_up, b, other_sign), (up, a, sign)
        node = graph.sum(a, b, up, other_up, sign != other_sign)
        heappush(heap, (max(level, other_level) + 1, 0, node, sign))
    _, up, number, sign = heap[0]
    return graph.shift(number, -up) if sign > 0 else graph.sum(graph.constant(0), number, 0, up, True)
