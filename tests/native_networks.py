"""Networks for the native emulator, of all shapes and of up to 63 bits, and what their plans consist of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, product
from math import prod

import numpy as np
import pytest

from l1ad.compare import corners, random_inputs
from l1ad.emulate import reference
from l1ad.emulate.native import Native, available
from l1ad.emulate.native.structures import CStep
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint, Raw
from l1ad.fuzz.networks import random_network
from l1ad.network import Flow, Network, aligned, flow
from l1ad.operations import (
    MERGES,
    Affine,
    Cast,
    Convolution,
    Dense,
    Dot,
    Input,
    Lookup,
    Mask,
    Merge,
    Operation,
    reads,
)

MODES = tuple(product(ROUNDING, OVERFLOW))
WIDTHS = (1, 2, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 62, 63)
DROPPED = (0, 0, 0, 1, 2, 3, 5, 8, 14, 15, 16, 20, 31, 40, -1, -3, -9)


def needs(isa: str, require: Callable[[str], None]) -> str:
    """The instruction set, or a skip that names it where this processor lacks it."""
    require("compiler")
    if isa not in available():
        pytest.skip(f"this processor lacks the instruction set {isa}: its kernel is not tested here")
    return isa


def events(network: Network, n_events: int = 200) -> Raw:
    """Corners first; never a whole number of blocks."""
    x = random_inputs(network, n_events)
    return x if len(x) % 64 else x[:-1]


def layouts(x: Raw) -> list[np.ndarray]:
    """The same events as each way into the kernel takes them: numbers one by one, rows and columns of int16.

    Of events that are not int64, only themselves.
    """
    if x.dtype != np.int64 or x.min() < -(2**15) or x.max() >= 2**15:
        return [x]
    return [x, x.astype(np.int16), np.asfortranarray(x.astype(np.int16))]


def require_equal(network: Network, x: Raw, isa: str, expected: Raw | None = None) -> Native:
    """The native emulator of a network once its scores equal the reference's in every layout."""
    native = Native(network, isa)
    wanted = reference.emulate(network, x) if expected is None else expected
    for given in layouts(x):
        scores = native.scores(given)
        wrong = np.flatnonzero(scores != wanted)
        assert not len(wrong), (
            f"{isa}: {len(wrong)} of {len(x)} scores differ, first of event {wrong[0]} ({given.dtype}, strides "
            f"{given.strides}): {scores[wrong[0]]}, not {wanted[wrong[0]]}; input {x[wrong[0]].tolist()}; "
            f"steps {native.plan.steps}; {[str(operation) for operation in network.operations]}"
        )
    return native


def parts(native: Native) -> set[str]:
    """What a plan consists of: arithmetics with lanes, formats of results, numbers that are stored less a zero."""
    found = set()
    for _, step in native.plan.steps:
        how, format = step.split(" -> ")
        found |= {how, format, f"{how.split()[0]} -> {format}"}
    c = native.plan.c
    steps = (CStep * c.steps).from_address(c.step) if c.steps else ()
    values = [c.input, c.scaled, *(value for step in steps for value in (step.x, step.out))]
    found |= {f"zero {'-128' if value.zero == -128 else 'lowest'}" for value in values if value.zero}
    if c.is_scaled:
        found |= {f"entrance {what}" for what in ("cuts", "turns", "goes_down", "goes_up") if getattr(c, what)}
        found |= {"entrance saturates"} if c.saturates else set()
        found |= {"entrance keeps raw"} if c.keeps_raw else set()
    return found


# of the fuzzer


def random_networks(bits: int) -> Iterator[tuple[str, Network]]:
    """Every kind of network of the fuzzer in every pair of modes, alone and mixed."""
    for kind in ("latent", "reconstruction", "image", "mixed"):
        for number, modes in enumerate(MODES):
            rng = np.random.default_rng([bits, number, len(kind)])
            yield f"{kind} {modes}", random_network(rng, *modes, kind, bits)
        for number in range(4):
            rng = np.random.default_rng([bits, 100 + number, len(kind)])
            mixed = (rng.choice(ROUNDING, 12).tolist(), rng.choice(OVERFLOW, 12).tolist())
            yield f"{kind} mixed {number}", random_network(rng, *mixed, kind, bits)


# of any operations and types


def arbitrary_network(seed: int) -> Network:
    """A network of any operations, shapes and types, its integers of any size that a network may have."""
    return _Arbitrary(np.random.default_rng([7, seed])).network()


class _Arbitrary:
    """Operations so far; what does not fit 63 bits is thrown again."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.modes = cycle([MODES[i] for i in rng.permutation(len(MODES))])
        self.known: dict[str, Operation] = {}
        self.flows: dict[str, Flow] = {}

    def network(self) -> Network:
        rng = self.rng
        self.input()
        adders = (self.affine, self.dense, self.dense, self.convolution, self.merge, self.mask, self.dot, self.cast)
        for add in rng.permutation((*adders, self.lookup, self.cast))[: rng.integers(2, 9)]:
            for _ in range(10):
                if self.tried(add):
                    break
        unread = self.unread()
        for name in unread:
            self.reduced(name)
        while len(unread := self.unread()) > 1:
            how = MERGES[rng.choice([0, 1, 3, 4])]
            assert self.put(Merge(self.name(), how, *unread[:2], FixedPoint(60, 0, True, "TRN", "WRAP")))
        if rng.random() < 0.5:
            self.tried(lambda: self.ended(Cast(self.name(), unread[0], self.any())))
        return Network(tuple(self.known.values()))

    def name(self) -> str:
        return f"o{len(self.known)}"

    def any(self) -> FixedPoint:
        return FixedPoint(1, 0)

    def pick(self) -> str:
        """An operation, most often one of the last."""
        names = list(self.known)
        return names[-1 - min(int(self.rng.geometric(0.6)) - 1, len(names) - 1)]

    def unread(self) -> list[str]:
        read = {name for operation in self.known.values() for name in reads(operation)}
        return [name for name in self.known if name not in read]

    def input(self) -> None:
        rng = self.rng
        n = int(rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 18, 33]))
        width = int(rng.choice([1, 4, 8, 8, 10, 12, 16, 16, 17, 32, 40, 60]))
        out = FixedPoint(width, int(rng.integers(-2, 4)), bool(rng.random() < 0.8))
        ends = np.sort(rng.integers(out.min_raw, out.max_raw, (2, n), endpoint=True), axis=0)
        if rng.random() < 0.3:
            ends[:] = [[out.min_raw], [out.max_raw]]
        assert self.put(Input("trigger", tuple(f"column{i}" for i in range(n)), *ends, out))

    def put(self, operation: Operation) -> bool:
        """Add an operation if no number of it needs more than 63 bits."""
        try:
            self.flows[operation.name] = flow(operation, self.known, self.flows)
        except ValueError:
            return False
        self.known[operation.name] = operation
        return True

    def tried(self, add: Callable[[], bool | None]) -> bool:
        try:
            return bool(add())
        except ValueError:
            return False

    def ended(self, operation: Operation) -> bool:
        """Add an operation with an end of its own: rounded, cut, widened, of any width."""
        rng = self.rng
        match operation:
            case Dense(product=kind) | Convolution(product=kind) | Dot(product=kind) if kind is not None:
                frac = kind.frac
            case Affine() | Dense() | Convolution() | Merge() | Dot():
                frac = aligned(operation, self.known)
            case _:
                frac = self.known[operation.x].out.frac
        exact = flow(replace(operation, out=FixedPoint(63, frac, True, "TRN", "SAT")), self.known, self.flows)
        dropped = int(rng.choice(DROPPED))
        near = exact.accumulator.width - dropped - int(rng.integers(-1, 4))
        width = near if rng.random() < 0.6 else int(rng.choice(WIDTHS))
        signed = bool(rng.random() < 0.6)  # of 63 bits, nothing could read an unsigned number
        out = FixedPoint(min(max(width, 1), 62 + signed), frac - dropped, signed, *next(self.modes))
        return self.put(replace(operation, out=out))

    def numbers(self, shape: tuple[int, ...]) -> tuple[Raw, FixedPoint]:
        rng = self.rng
        kind = FixedPoint(int(rng.choice([2, 4, 6, 7, 8, 8, 10, 15, 20, 30])), int(rng.integers(-3, 9)))
        return rng.integers(kind.min_raw, kind.max_raw, shape, endpoint=True), kind

    def biases(self, shape: tuple[int, ...], frac: int) -> tuple[Raw, FixedPoint]:
        kind = FixedPoint(int(self.rng.choice([1, 4, 9, 16, 30])), frac + int(self.rng.integers(-3, 2)))
        return self.rng.integers(kind.min_raw, kind.max_raw, shape, endpoint=True), kind

    def product(self, frac: int) -> FixedPoint | None:
        rng = self.rng
        if rng.random() < 0.6:
            return None
        if rng.random() < 0.5:  # nothing but low bits is dropped
            return FixedPoint(63, frac - int(rng.integers(1, 5)), True, str(rng.choice(["TRN", "RND"])), "SAT")
        return FixedPoint(int(rng.integers(4, 40)), frac - int(rng.integers(-1, 9)), True, *next(self.modes))

    def affine(self) -> bool:
        x = self.pick()
        shape = (self.flows[x].size,)
        scale, scale_type = self.numbers(shape if self.rng.random() < 0.7 else (1,))
        frac = self.known[x].out.frac + scale_type.frac
        scale = np.broadcast_to(scale, shape).copy()
        return self.ended(Affine(self.name(), x, scale, scale_type, *self.biases(shape, frac), self.any()))

    def dense(self) -> bool:
        x, n_out = self.pick(), int(self.rng.integers(1, 10))
        weight, weight_type = self.numbers((self.flows[x].size, n_out))
        weight *= self.rng.random(weight.shape) < self.rng.choice([0.3, 1])
        frac = self.known[x].out.frac + weight_type.frac
        bias = self.biases((n_out,), frac)
        return self.ended(Dense(self.name(), x, weight, weight_type, *bias, self.product(frac), self.any()))

    def convolution(self) -> bool:
        rng, x = self.rng, self.pick()
        size = self.flows[x].size
        shapes = [s for s in product(range(1, size + 1), repeat=3) if prod(s) == size] if size < 40 else [(1, size, 1)]
        shape = shapes[rng.integers(len(shapes))]
        padding = tuple(int(p) for p in rng.integers(0, 2, 4))
        kernel = [
            int(rng.integers(1, 1 + min(3, n + padding[2 * i] + padding[2 * i + 1]))) for i, n in enumerate(shape[:2])
        ]
        filters = int(rng.integers(1, 7))
        weight, weight_type = self.numbers((*kernel, shape[2], filters))
        frac = self.known[x].out.frac + weight_type.frac
        strides = tuple(int(s) for s in rng.integers(1, 3, 2))
        bias = self.biases((filters,), frac)
        return self.ended(
            Convolution(
                self.name(), x, shape, weight, weight_type, *bias, strides, padding, self.product(frac), self.any()
            )
        )

    def merge(self) -> bool:
        x = self.pick()
        same = [name for name in self.known if self.flows[name].size == self.flows[x].size]
        how = MERGES[self.rng.integers(len(MERGES))]
        return self.ended(Merge(self.name(), how, x, same[self.rng.integers(len(same))], self.any()))

    def mask(self) -> bool:
        x, by = self.pick(), list(self.known)[self.rng.integers(len(self.known))]
        index = self.rng.integers(0, self.flows[by].size, self.flows[x].size)
        return self.ended(Mask(self.name(), x, by, index, self.any()))

    def dot(self) -> bool:
        x = self.pick()
        same = [name for name in self.known if self.flows[name].size == self.flows[x].size]
        y = x if self.rng.random() < 0.5 else same[self.rng.integers(len(same))]
        frac = self.known[x].out.frac + self.known[y].out.frac
        return self.ended(Dot(self.name(), x, y, self.product(frac), self.any()))

    def cast(self) -> bool:
        return self.ended(Cast(self.name(), self.pick(), self.any()))

    def lookup(self) -> bool:
        x = self.pick()
        source = self.known[x].out
        if source.width > 10:
            return False
        out = FixedPoint(int(self.rng.choice([1, 6, 8, 14, 30, 50])), int(self.rng.integers(-3, 9)))
        size = source.max_raw - source.min_raw + 1
        return self.put(Lookup(self.name(), x, self.rng.integers(out.min_raw, out.max_raw, size, endpoint=True), out))

    def reduced(self, name: str) -> None:
        """Bring one operation to one element of which every bit can still be seen."""
        rng, out = self.rng, self.known[name].out
        if out.width > 40:
            kind = FixedPoint(40, max(out.frac - int(rng.integers(0, 12)), -63), True, "TRN", "WRAP")
            name, before = self.name(), name
            if not self.put(Cast(name, before, kind)):
                name = before
            out = self.known[name].out
        size = self.flows[name].size
        weight = 2 * rng.integers(-8, 8, (size, 1)) + 1
        no_bias = np.zeros(1, np.int64), FixedPoint(1, 0)
        wide = FixedPoint(52, 0, True, "TRN", "WRAP")
        if size > 1 or out.frac:
            put = self.put(Dense(self.name(), name, weight, FixedPoint(6, -out.frac), *no_bias, None, wide))
            assert put, f"{out} cannot be reduced"


# of one shape


def wide_input(n: int, low: int, high: int, out: FixedPoint) -> Input:
    """`n` columns of one range."""
    return Input("trigger", tuple(f"column{i}" for i in range(n)), np.full(n, low), np.full(n, high), out)


def steps_of(native: Native, name: str) -> list[str]:
    """What is done for an operation."""
    return [step for operation, step in native.plan.steps if operation == name]


def kinds(found: set[str]) -> set[str]:
    """Only the arithmetics with their lanes."""
    return {part for part in found if re.fullmatch(r"[A-Z0-9]+ int\d+|GATHER", part)}


def edges(network: Network) -> Raw:
    """Corners and few random events."""
    return np.vstack([corners(network), random_inputs(network, 70)])
