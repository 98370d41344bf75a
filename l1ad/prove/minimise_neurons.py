"""Whether one element computes the same in two networks: by trying every input of it, or by z3.

What an element reads counts as independent, each within its range by `bounds`; where both networks have an operation
of a name, its results are one variable.  The exact results on the way are known to lie in their bounds, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from importlib import import_module
from math import prod
from operator import mul
from typing import Any, Protocol

import numpy as np

from l1ad.fixed import MAX_BITS, FixedPoint, Raw, cast
from l1ad.network import Network, aligned
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Lookup, Mask, Merge, Operation
from l1ad.prove.casts import sums
from l1ad.prove.minimise_elements import Bounds
from l1ad.prove.minimise_grids import Grid, grids, zeros

MAX_CASES = 1 << 16
EFFORT = 2_000_000
"""Resources that z3 may use for one element, in its own unit, so that the outcome depends on no clock."""
Leaf = tuple[str, int]
Reach = tuple[int, int, int, int]
"""Lowest and highest number, and how many low bits of 0 its raw numbers have besides, in the old and new network."""
Number = Any
"""An integer, an array of integers, or an expression of z3."""
Assumed = tuple[Number, int, int]


class Arithmetic(Protocol):
    """What is not written alike for arrays and for expressions."""

    def cast(self, exact: Number, frac: int, to: FixedPoint) -> Number:
        """`fixed.cast`."""

    def term(self, x: Number, exact: Callable[[Number], Number], frac: int, product: FixedPoint | None) -> Number:
        """A function of one number, cast to the type of the products if there is one."""

    def choose(self, condition: Number, then: Number, otherwise: Number) -> Number:
        """One or the other."""

    def look_up(self, table: Raw, address: Number) -> Number:
        """Entry of a table."""


class _Integers:
    """Of int64 arrays."""

    def cast(self, exact: Number, frac: int, to: FixedPoint) -> Number:
        return cast(exact, frac, to)

    def term(self, x: Number, exact: Callable[[Number], Number], frac: int, product: FixedPoint | None) -> Number:
        return exact(x) if product is None else cast(exact(x), frac, product)

    def choose(self, condition: Number, then: Number, otherwise: Number) -> Number:
        return np.where(condition, then, otherwise)

    def look_up(self, table: Raw, address: Number) -> Number:
        return table[address]


@dataclass(frozen=True)
class _Solver:
    """Of integer expressions of z3.

    Parameters
    ----------
    z3 : module
    reach : dict of int to (expression, str, int64 array)
        Variables, multiples of one and casts of these, by number of the expression: the variable, and all values.
    tables : dict of (str, bytes) to (expression, int, int)
        Terms of sums, as variables of their own: by variable that they depend on and by all values that they take, but
        for a power of two; and the ends of these.  Terms that are always equal are one variable.
    """

    z3: Any
    reach: dict[int, tuple[Number, str, Raw]] = field(default_factory=dict)
    tables: dict[tuple[str, bytes], Assumed] = field(default_factory=dict)

    def variable(self, leaf: Leaf, reach: Reach) -> Number:
        """A variable with a range."""
        name, (low, high, *bits) = f"{leaf[0]}_{leaf[1]}", reach
        x = self.z3.Int(name)
        if high - low < MAX_CASES:
            values = np.arange(low, high + 1)
            for factor in (1 << n for n in bits):
                self.reach[(x * factor).get_id()] = x * factor, name, values * factor
        return x

    def term(self, x: Number, exact: Callable[[Number], Number], frac: int, product: FixedPoint | None) -> Number:
        if isinstance(x, int) or x.get_id() not in self.reach:
            return exact(x) if product is None else self.cast(exact(x), frac, product)
        _, name, values = self.reach[x.get_id()]
        table = exact(values) if product is None else cast(exact(values), frac, product)
        if not table.any():
            return 0
        bits = int(zeros(table).min())
        key = name, (table >> bits).tobytes()
        if key not in self.tables:
            ends = int(table.min()) >> bits, int(table.max()) >> bits
            self.tables[key] = self.z3.Int(f"term_{len(self.tables)}"), *ends
        return self.tables[key][0] * (1 << bits)

    def cast(self, exact: Number, frac: int, to: FixedPoint) -> Number:
        if isinstance(exact, int):
            return int(cast(exact, frac, to))
        result = self._cast(exact, frac, to)
        if exact.get_id() in self.reach:
            _, name, values = self.reach[exact.get_id()]
            self.reach[result.get_id()] = result, name, cast(values, frac, to)
        return result

    def _cast(self, exact: Number, frac: int, to: FixedPoint) -> Number:
        shift = frac - to.frac
        x = self._rounded(exact, shift, to.rounding) if shift > 0 else exact * (1 << -shift)
        if to.overflow == "WRAP":
            offset = (1 << (to.width - 1)) if to.signed else 0
            return (x + offset) % (1 << to.width) - offset
        low, high = x < to.min_raw, x > to.max_raw
        if to.overflow == "SAT_ZERO":
            return self.z3.If(self.z3.Or(low, high), 0, x)
        return self.z3.If(low, to.min_raw, self.z3.If(high, to.max_raw, x))

    def _rounded(self, x: Number, shift: int, rounding: str) -> Number:
        unit = 1 << shift
        floor = x / unit  # of integers with a positive divisor: rounds down
        dropped = x - floor * unit
        up = {
            "TRN": False,
            "TRN_ZERO": self.z3.And(x < 0, dropped != 0),
            "RND": 2 * dropped >= unit,
            "RND_MIN_INF": 2 * dropped > unit,
            "RND_INF": self.z3.Or(2 * dropped > unit, self.z3.And(2 * dropped == unit, x >= 0)),
            "RND_ZERO": self.z3.Or(2 * dropped > unit, self.z3.And(2 * dropped == unit, x < 0)),
            "RND_CONV": self.z3.Or(2 * dropped > unit, self.z3.And(2 * dropped == unit, floor % 2 == 1)),
        }[rounding]
        return floor + self.z3.If(up, 1, 0)

    def choose(self, condition: Number, then: Number, otherwise: Number) -> Number:
        return self.z3.If(condition, then, otherwise)

    def look_up(self, table: Raw, address: Number) -> Number:
        if isinstance(address, int):
            return int(table[address])
        entries = list(enumerate(table.tolist()))
        return reduce(lambda rest, entry: self.z3.If(address == entry[0], entry[1], rest), entries, 0)


@dataclass(eq=False, slots=True)
class _Expansion:
    """Elements of a network as functions of leaves.

    Parameters
    ----------
    leaves : dict of (str, int) to number
        Elements that are variables, and what they are; raw numbers of this network.
    assumed : list of (number, int, int)
        Exact results, and the bounds they have.
    """

    network: Network
    known: Bounds
    arithmetic: Arithmetic
    leaves: dict[Leaf, Number]
    assumed: list[Assumed] = field(default_factory=list)
    found: dict[Leaf, Number] = field(default_factory=dict)

    def raw(self, name: str, element: int) -> Number:
        """Raw number of an element."""
        leaf = name, element
        if leaf in self.leaves:
            return self.leaves[leaf]
        if leaf not in self.found:
            after = self.known[name].after
            if after.low[element] == after.high[element]:
                self.found[leaf] = int(after.low[element])
            else:
                self.found[leaf] = self.expanded(name, element)
        return self.found[leaf]

    def expanded(self, name: str, element: int) -> Number:
        """Raw number of an element that is neither leaf nor constant."""
        operation, before = self.network[name], self.known[name].before
        exact = self._exact(operation, element)
        self.assumed.append((exact, int(before.low[element]), int(before.high[element])))
        return exact if isinstance(operation, Lookup) else self.arithmetic.cast(exact, before.frac, operation.out)

    def _exact(self, operation: Operation, i: int) -> Number:
        """Exact result, in the fractional bits of its bounds."""
        match operation:
            case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
                frac = aligned(operation, self.network)
                factor = int(scale[i]) << (frac - self.network[x].out.frac - scale_type.frac)
                return self.raw(x, i) * factor + (int(bias[i]) << (frac - bias_type.frac))
            case Dense(x=x, product=product) | Convolution(x=x, product=product):
                parts = sums(operation, self.network)
                window, f = divmod(i, len(parts.constant))
                met = zip(parts.windows[window].tolist(), parts.factor[:, f].tolist(), strict=True)
                read = [(self.raw(x, element), factor) for element, factor in met if element >= 0 and factor]
                constant = int(parts.constant[f])
                if product is None:
                    return sum((a * factor for a, factor in read), constant)
                terms = [self.arithmetic.term(a, partial(mul, factor), parts.frac, product) for a, factor in read]
                return sum(terms, int(cast(constant, parts.frac, product)))
            case Dot(x=x, y=y, product=product):
                frac = aligned(operation, self.network)
                pairs = [(self.raw(x, k), self.raw(y, k)) for k in range(len(self.known[x].after.low))]
                if x == y:
                    return sum(self.arithmetic.term(a, _square, frac, product) for a, _ in pairs)
                terms = [a * b for a, b in pairs]
                return sum(terms if product is None else [self.arithmetic.cast(t, frac, product) for t in terms])
            case Merge(how="multiply", x=x, y=y):
                return self.raw(x, i) * self.raw(y, i)
            case Merge(how=how, x=x, y=y):
                frac = aligned(operation, self.network)
                a, b = (self.raw(name, i) * (1 << (frac - self.network[name].out.frac)) for name in (x, y))
                if how in ("add", "subtract"):
                    return a + b if how == "add" else a - b
                return self.arithmetic.choose(a > b if how == "maximum" else a < b, a, b)
            case Mask(x=x, by=by, index=index):
                return self.arithmetic.choose(self.raw(by, int(index[i])) != 0, self.raw(x, i), 0)
            case Cast(x=x):
                return self.raw(x, i)
            case Lookup(x=x, table=table):
                return self.arithmetic.look_up(table, self.raw(x, i) - self.network[x].out.min_raw)
            case _:
                raise TypeError(f"operation {operation.name!r}: no neuron is a {type(operation).__name__}")


def _square(x: Number) -> Number:
    return x * x


class _Read(dict[Leaf, Number]):
    """Leaves that say which of them are read; each counts as its lowest number."""

    def __init__(self, known: Bounds, stops: Collection[str]) -> None:
        super().__init__()
        self.known, self.stops = known, stops

    def __contains__(self, leaf: object) -> bool:
        if not isinstance(leaf, tuple) or leaf[0] not in self.stops:
            return False
        after = self.known[leaf[0]].after
        if after.low[leaf[1]] != after.high[leaf[1]]:
            self[leaf] = np.array([after.low[leaf[1]]], np.int64)
        return super().__contains__(leaf)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks, of which the second has some of the operations of the first, and some of their elements.

    Parameters
    ----------
    old, new : Network
    old_known, new_known : mapping of str to Bound
        From `bounds`.
    kept : mapping of str to int64 array
        Numbers that the elements of each operation of `new` have in `old`.
    altered : frozenset of str
        Operations of which the results are not the same in both.
    """

    old: Network
    old_known: Bounds
    new: Network
    new_known: Bounds
    kept: Mapping[str, Raw]
    altered: frozenset[str]

    @cached_property
    def grid(self) -> dict[str, Grid]:
        """Low bits of 0 of `old`."""
        return grids(self.old, self.old_known)

    def common(self) -> list[str]:
        """Operations that have to agree, in order, without the input."""
        old = {o.name for o in self.old.operations}
        return [o.name for o in self.new.operations[1:] if o.name in old - self.altered]

    def same(self, name: str, element: int) -> str | None:
        """Argument that an element, as `new` numbers it, has the same value in both, or None if there is none."""
        old_element = int(self.kept[name][element])
        read = self._read(name, old_element, element)
        drops = self.old[name].out.frac - self.new[name].out.frac
        place = self._places(read)

        def both(arithmetic: Arithmetic, variables: Mapping[Leaf, Number]) -> tuple[Number, Number, list[Assumed]]:
            olds = {leaf: variables[leaf] * (1 << bits) for leaf, (_, _, bits, _) in read.items()}
            news = {(leaf[0], place[leaf]): variables[leaf] * (1 << read[leaf][3]) for leaf in place}
            left = _Expansion(self.old, self.old_known, arithmetic, olds)
            right = _Expansion(self.new, self.new_known, arithmetic, news)
            before, after = left.expanded(name, old_element), right.expanded(name, element)
            return before * (1 << max(-drops, 0)), after * (1 << max(drops, 0)), left.assumed + right.assumed

        cases = prod(high - low + 1 for low, high, *_ in read.values())
        if cases <= MAX_CASES:
            return f"exhaustive: {cases} cases" if _exhausted(both, read) else None
        return "z3" if _proved(both, read) else None

    def _places(self, leaves: Collection[Leaf]) -> dict[Leaf, int]:
        """Numbers in `new` of elements of `old` that it has."""
        found = {}
        for name, element in leaves:
            if name in self.kept and len(place := np.flatnonzero(self.kept[name] == element)):
                found[name, element] = int(place[0])
        return found

    def _read(self, name: str, old_element: int, element: int) -> dict[Leaf, Reach]:
        """What an element reads in either network: leaves of `old`, and their ranges."""
        stops = {self.old.input.name, *self.common()} - {name}
        old_leaves, new_leaves = _Read(self.old_known, stops), _Read(self.new_known, stops)
        _Expansion(self.old, self.old_known, _Integers(), old_leaves).expanded(name, old_element)
        _Expansion(self.new, self.new_known, _Integers(), new_leaves).expanded(name, element)
        leaves = dict.fromkeys([*old_leaves, *((s, int(self.kept[s][k])) for s, k in new_leaves)])
        places, read = self._places(leaves), {}
        for leaf in leaves:
            source, o = leaf
            after, drop = self.old_known[source].after, 0
            low, high = int(after.low[o]), int(after.high[o])
            if leaf in places:
                drop = self.old[source].out.frac - self.new[source].out.frac
                after = self.new_known[source].after
                low = max(low, int(after.low[places[leaf]]) << drop)
                high = min(high, int(after.high[places[leaf]]) << drop)
            bits = max(drop, min(int(self.grid[source].after[o]), MAX_BITS))
            read[leaf] = -(-low >> bits), high >> bits, bits, bits - drop
        return read


def _exhausted(both: Any, read: Mapping[Leaf, Reach]) -> bool:
    axes = [np.arange(low, high + 1) for low, high, *_ in read.values()]
    mesh = [m.ravel() for m in np.meshgrid(*axes, indexing="ij")] if axes else []
    before, after, assumed = both(_Integers(), dict(zip(read, mesh, strict=True)))
    possible = reduce(np.logical_and, [(low <= exact) & (exact <= high) for exact, low, high in assumed])
    return bool(((before == after) | ~possible).all())


def solver() -> Any | None:
    """The module z3, if it is installed."""
    try:
        return import_module("z3")
    except ImportError:
        return None


def _proved(both: Any, read: Mapping[Leaf, Reach]) -> bool:
    z3 = solver()
    if z3 is None:
        return False
    arithmetic = _Solver(z3)
    variables = {leaf: arithmetic.variable(leaf, reach) for leaf, reach in read.items()}
    before, after, assumed = both(arithmetic, variables)
    s = z3.Solver()
    s.set("rlimit", EFFORT)
    ranges = [(variables[leaf], low, high) for leaf, (low, high, *_) in read.items()]
    for exact, low, high in [*ranges, *arithmetic.tables.values(), *assumed]:
        s.add(low <= exact, exact <= high)
    s.add(before != after)
    return bool(s.check() == z3.unsat)
