"""Random networks of fixed seed to calibrate the resource estimator on: mixed sizes, types, weights and scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log2

import numpy as np
from emulation_networks import encoder

from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Network
from l1ad.operations import Affine, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, Operation

FULL = {
    102: "57-32-16-8",
    103: "57-32-16-8",
    104: "48-24-12-6",
    105: "57-24-3",
    106: "57-32-16-6",
    109: "57-32-16-8",
}
"""Shapes of networks of full size, by number."""
SCORES = ("dense", "dot", "dot", "dot", "product", "product", "difference", "difference", "lookup")
FIXED = {8: ("TRN", 208), 10: ("RND_CONV", 210)}
"""The encoders of `emulation_networks` by bits: their rounding, and their number here."""
NETWORKS = (*(number for number in range(34) if number != 13), *FULL, 208, 210)
"""Numbers of the networks that are synthesised; the score of number 13 is as good as constant."""


@dataclass(frozen=True)
class Layer:
    """A random layer, of integers that use all codes of a type.

    Parameters
    ----------
    number : int
        Seed.
    inputs, outputs : int
    weights : str
        As in `Recipe`.
    weight_bits : int
    sparsity : float
    input_bits : int
    signed : bool
    biased : bool
    """

    number: int
    inputs: int
    outputs: int
    weights: str
    weight_bits: int
    sparsity: float
    input_bits: int
    signed: bool
    biased: bool

    @classmethod
    def of(cls, number: int) -> Layer:
        """Layer of a number: many digits only where rows or columns are few, so that the graph is made in a second."""
        chance = np.random.default_rng((number, 2))
        inputs, outputs = (int(np.exp(chance.uniform(np.log(a), np.log(b)))) for a, b in ((3, 65), (1, 58)))
        kind = ("normal", "normal", "ternary", "power of two")[number % 4]
        width, sparsity = int(chance.integers(2, 9)), round(float(chance.uniform(0, 0.85)), 2)
        width = min(width, max(9_000 // (inputs * outputs), 2))
        return cls(
            *(number, inputs, outputs, kind, width, sparsity),
            *(int(chance.integers(4, 13)), bool(chance.random() < 0.4), bool(chance.random() < 0.8)),
        )

    def weight(self) -> tuple[Raw, Raw]:
        """Weights, shape (inputs, outputs), and biases."""
        chance = np.random.default_rng((self.number, 3))
        weight = random_weights(chance, self.weights, self.weight_bits, self.sparsity, (self.inputs, self.outputs))
        return weight, chance.integers(-100, 100, self.outputs) * self.biased


def random_weights(chance: np.random.Generator, kind: str, width: int, sparsity: float, shape: tuple[int, ...]) -> Raw:
    """Raw weights of so many bits; `sparsity`: the share that is 0 besides."""
    top = 2 ** (width - 1) - 1
    match kind:
        case "ternary":
            raw = chance.integers(-1, 2, shape)
        case "power of two":
            raw = chance.choice([-1, 1], shape) << chance.integers(0, max(width - 1, 1), shape)
        case _:
            raw = np.clip(np.rint(chance.normal(0, top / 2.5, shape)), -top, top).astype(np.int64)
    return np.asarray(raw * (chance.random(shape) >= sparsity), np.int64)


@dataclass(frozen=True)
class Recipe:
    """What a random network is like.

    Parameters
    ----------
    number : int
        Seed.
    layers : str
        Sizes, from the inputs on.
    score : str
        ``dense``: the only output; ``dot``: sum of squares; ``product``: the same, of cast products;
        ``difference``: sum of squares of inputs less outputs, masked; ``lookup``: sum of tables of outputs.
    weights : str
        ``normal``, ``ternary`` or ``power of two``.
    """

    number: int
    layers: str
    score: str
    front: str
    input_bits: int
    bits: int
    weights: str
    weight_bits: int
    sparsity: float
    rounding: str
    overflow: str
    clock_ns: float

    @classmethod
    def of(cls, number: int) -> Recipe:
        """Recipe of a number."""
        for bits, (rounding, fixed) in FIXED.items():
            if number == fixed:
                shape = ("57-32-16-8", "dot", "emulation", 13, bits, "normal", 6, 0.0)
                return cls(number, *shape, rounding, "SAT", 2.8)
        chance = np.random.default_rng(number)
        score = str(chance.choice(SCORES))
        sizes = [int(chance.integers(4, 21)), *chance.integers(3, 15, chance.integers(1, 3)).tolist()]
        return cls(
            number,
            FULL.get(number) or "-".join(map(str, sizes)),
            "dot" if number in FULL else score,
            str(chance.choice(["plain", "plain", "scaled", "convolution"])) if number not in FULL else "scaled",
            int(chance.integers(6, 13)),
            int(chance.integers(4, 13)),
            ("normal", "normal", "normal", "ternary", "power of two")[number % 5],
            int(chance.integers(3, 9)),
            round(float(chance.uniform(0, 0.8)), 2),
            str(chance.choice(["TRN", "RND", "RND_CONV", "RND_CONV", "RND_INF", "RND_ZERO", "TRN_ZERO"])),
            str(chance.choice(["SAT", "SAT", "SAT", "WRAP", "SAT_SYM"])),
            float(chance.choice([2.5, 2.8, 3.5, 5.0])),
        )

    def network(self) -> Network:
        """The network."""
        if self.front == "emulation":
            return encoder(self.bits)
        return _Maker(self).network()


class _Maker:
    """Operations of a recipe, one after the other, with types that neither die nor always saturate."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.chance = recipe, np.random.default_rng((recipe.number, 1))
        self.operations: list[Operation] = []

    def network(self) -> Network:
        recipe = self.recipe
        n_in, *sizes = map(int, recipe.layers.split("-"))
        signed = bool(self.chance.random() < 0.5)
        kind = FixedPoint(recipe.input_bits, 0, signed)
        low, high = np.full(n_in, kind.min_raw), np.full(n_in, kind.max_raw)
        self.operations = [Input("trigger", tuple(f"c{i}" for i in range(n_in)), low, high, kind)]
        size, first = n_in, "trigger"
        if recipe.front == "scaled":
            scale_type = FixedPoint(4, 4, False)
            scale = 1 << self.chance.integers(0, 3, n_in)
            out = self.type(recipe.input_bits + 3, 4, 2.0**recipe.input_bits, signed)
            none = np.zeros(n_in, np.int64)
            self.operations.append(Affine("inputs", "trigger", scale, scale_type, none, scale_type, out))
            first = "inputs"
        elif recipe.front == "convolution":
            size = self.convolution(n_in)
        for i, width in enumerate(sizes):
            size = self.dense(f"layer{i}", size, width, relu=i < len(sizes) - 1)
        last = self.operations[-1]
        score = FixedPoint(24, 2 * last.out.frac - 2, False, "TRN", "SAT")
        match recipe.score:
            case "dense":
                self.dense("score", size, 1, relu=False)
            case "dot":
                self.operations.append(Dot("score", last.name, last.name, None, score))
            case "product":
                product = FixedPoint(2 * last.out.width, 2 * last.out.frac - 3, True, recipe.rounding, "SAT")
                self.operations.append(Dot("score", last.name, last.name, product, replace(score, frac=product.frac)))
            case "lookup":
                table = self.chance.integers(0, 64, last.out.max_raw - last.out.min_raw + 1)
                self.operations.append(Lookup("table", last.name, table, FixedPoint(6, 0, False)))
                self.dense("score", size, 1, relu=False)
            case _:
                self.difference(first, size, n_in)
        return Network(tuple(self.operations))

    def type(self, width: int, frac: int, high: float, signed: bool) -> FixedPoint:
        """Type of `recipe.bits` for raw numbers of `width` bits, mostly below `high`."""
        recipe = self.recipe
        shift = max(min(ceil(log2(max(high, 1))), width) + signed - recipe.bits, 0)
        return FixedPoint(recipe.bits, frac - shift, signed, recipe.rounding, recipe.overflow)

    def weight(self, *shape: int, sparsity: float = 0.0) -> Raw:
        """Raw weights."""
        return random_weights(self.chance, self.recipe.weights, self.recipe.weight_bits, sparsity, shape)

    def dense(self, name: str, n_in: int, n_out: int, relu: bool) -> int:
        """A dense layer on the last operation; returns `n_out`."""
        last, recipe = self.operations[-1], self.recipe
        weight = self.weight(n_in, n_out, sparsity=recipe.sparsity if n_out > 1 else 0.0)
        weight_type = FixedPoint(recipe.weight_bits, recipe.weight_bits - 2)
        spread = float(np.sqrt((weight.astype(float) ** 2).sum(axis=0)).mean())
        frac = last.out.frac + weight_type.frac
        out = self.type(40, frac, spread * last.out.max_raw, not relu)
        bias, bias_type = self.chance.integers(-8, 8, n_out), FixedPoint(5, out.frac - recipe.bits + 5)
        self.operations.append(Dense(name, last.name, weight, weight_type, bias, bias_type, None, out))
        return n_out

    def convolution(self, n_in: int) -> int:
        """Two filters over an image of one row; returns the number of elements."""
        last, recipe = self.operations[-1], self.recipe
        weight, weight_type = self.weight(1, 2, 1, 2), FixedPoint(recipe.weight_bits, recipe.weight_bits - 2)
        frac = last.out.frac + weight_type.frac
        out = self.type(40, frac, 2.0**recipe.weight_bits / 2 * last.out.max_raw, False)
        bias, bias_type = self.chance.integers(-8, 8, 2), FixedPoint(5, out.frac - recipe.bits + 5)
        self.operations.append(
            Convolution(
                *("conv", last.name, (1, n_in, 1), weight, weight_type, bias, bias_type),
                *((1, 2), (0, 0, 0, 0), None, out),
            )
        )
        return n_in // 2 * 2

    def difference(self, first: str, size: int, n_in: int) -> None:
        """Sum of squares of operation `first` less a layer of its size, where an element of the input is not 0."""
        x = next(o.out for o in self.operations if o.name == first)
        self.dense("output", size, n_in, relu=False)
        out = replace(self.operations[-1].out, frac=x.frac, width=x.width)
        self.operations[-1] = replace(self.operations[-1], out=out)
        wrong = FixedPoint(x.width + 1, x.frac)
        index = np.arange(n_in) // 3 * 3
        self.operations += [
            Merge("difference", "subtract", first, "output", wrong),
            Mask("present", "difference", "trigger", index, wrong),
            Dot("score", "present", "present", None, FixedPoint(26, 2 * x.frac - 2, False, "TRN", "SAT")),
        ]
