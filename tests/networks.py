"""What networks compute by fractions, a strategy of random networks, and small QKeras models."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor
from operator import add, mul, sub
from typing import Any

import numpy as np
from hypothesis import strategies as st

from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import KINDS, random_network
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Lookup, Mask, Merge


@st.composite
def networks(draw: Any, bits: int = 12) -> Network:
    """Strategy of `random_network`: mixed modes, any kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    modes = [st.lists(st.sampled_from(names), min_size=12, max_size=12) for names in (ROUNDING, OVERFLOW)]
    return random_network(rng, draw(modes[0]), draw(modes[1]), draw(st.sampled_from(KINDS)), bits)


def value_in_type(value: Fraction, to: FixedPoint) -> int:
    """Raw number that stands for `value` in a type, as AMD UG1399 words it, without a shift or a mask."""
    value = value / _lsb(to)
    down, up = floor(value), ceil(value)
    to_zero, away = (down, up) if value >= 0 else (up, down)
    even = down if down % 2 == 0 else up
    nearest = round(value)
    if value - down == Fraction(1, 2):
        nearest = {"RND": up, "RND_ZERO": to_zero, "RND_INF": away, "RND_MIN_INF": down, "RND_CONV": even}.get(
            to.rounding, nearest
        )
    result = {"TRN": down, "TRN_ZERO": to_zero}.get(to.rounding, nearest)
    highest = 2 ** (to.width - 1) - 1 if to.signed else 2**to.width - 1
    lowest = -(2 ** (to.width - 1)) if to.signed else 0
    if to.overflow == "SAT_SYM" and to.signed and to.width > 1:
        lowest = -highest
    if lowest <= result <= highest:
        return result
    match to.overflow:
        case "WRAP":
            result %= 2**to.width
            return result - 2**to.width if result > highest else result
        case "SAT_ZERO":
            return 0
        case _:
            return lowest if result < lowest else highest


def trace_in_fractions(network: Network, event: Sequence[int]) -> dict[str, list[int]]:
    """`reference.trace` of one event, as the docstring of `l1ad.operations` words it, without NumPy arithmetic."""
    raw: dict[str, list[int]] = {"trigger": [int(x) for x in event]}

    def v(name: str, i: int) -> Fraction:
        return raw[name][i] * _lsb(network[name].out)

    def products(o: Any, pairs: list[tuple[Fraction, Fraction]], constant: Fraction) -> Fraction:
        terms = [x * w for x, w in pairs] + [constant]
        if o.product is None:
            return sum(terms, Fraction(0))
        return sum((value_in_type(term, o.product) * _lsb(o.product) for term in terms), Fraction(0))

    for o in network.operations[1:]:
        match o:
            case Affine():
                scale, bias = (
                    [n * _lsb(kind) for n in raws.tolist()]
                    for raws, kind in ((o.scale, o.scale_type), (o.bias, o.bias_type))
                )
                exact = [v(o.x, i) * scale[i] + bias[i] for i in range(len(scale))]
            case Dense():
                weight = [[w * _lsb(o.weight_type) for w in row] for row in o.weight.tolist()]
                bias = [b * _lsb(o.bias_type) for b in o.bias.tolist()]
                exact = [
                    products(o, [(v(o.x, i), row[j]) for i, row in enumerate(weight)], bias[j])
                    for j in range(len(bias))
                ]
            case Convolution():
                exact = _convolved(o, lambda i, o=o: v(o.x, i), products)
            case Merge():
                pairs = [(v(o.x, i), v(o.y, i)) for i in range(len(raw[o.x]))]
                merge = {"add": add, "subtract": sub, "multiply": mul, "maximum": max, "minimum": min}[o.how]
                exact = [merge(x, y) for x, y in pairs]
            case Mask():
                exact = [v(o.x, i) if raw[o.by][k] != 0 else Fraction(0) for i, k in enumerate(o.index.tolist())]
            case Dot():
                exact = [products(o, [(v(o.x, i), v(o.y, i)) for i in range(len(raw[o.x]))], Fraction(0))]
            case Cast():
                exact = [v(o.x, i) for i in range(len(raw[o.x]))]
            case Lookup():
                lowest = network[o.x].out.min_raw
                exact = [o.table.tolist()[x - lowest] * _lsb(o.out) for x in raw[o.x]]
        raw[o.name] = [value_in_type(value, o.out) for value in exact]
    return raw


def _convolved(o: Convolution, value: Any, products: Any) -> list[Fraction]:
    """Pixel by pixel, as it is taught: no windows, no matrix."""
    height, width, channels = o.shape
    rows, columns, _, filters = o.weight.shape
    top, bottom, left, right = o.padding
    weight = o.weight.tolist()
    result = []
    for row in range(-top, height + bottom - rows + 1, o.strides[0]):
        for column in range(-left, width + right - columns + 1, o.strides[1]):
            for f in range(filters):
                pairs = []
                for i in range(rows):
                    for j in range(columns):
                        for c in range(channels):
                            y, x = row + i, column + j
                            inside = 0 <= y < height and 0 <= x < width
                            pixel = value((y * width + x) * channels + c) if inside else Fraction(0)
                            pairs.append((pixel, weight[i][j][c][f] * _lsb(o.weight_type)))
                result.append(products(o, pairs, o.bias.tolist()[f] * _lsb(o.bias_type)))
    return result


def _lsb(kind: FixedPoint) -> Fraction:
    return Fraction(2) ** -kind.frac


def small_model(kind: str, seed: int) -> Any:
    """Quantised trigger model of `kind` on eight columns, with random weights, many of which saturate."""
    from l1ad.events.schema import InputColumn
    from l1ad.models.architectures import build
    from l1ad.models.config import ModelConfig
    from l1ad.models.scaling import Scaling

    rng = np.random.default_rng(seed)
    jet = (("pt", 0, 2047), ("eta", -115, 115), ("phi", 0, 143))
    ranges = [(f"jet{slot}_{name}", *ends) for slot in (0, 1) for name, *ends in jet]
    ranges += [("met_pt", 0, 511), ("met_phi", 0, 143)]
    columns = tuple(InputColumn(*column, 1.0, "1") for column in ranges)
    scaling = Scaling(np.array([60, 0, 71, 30, 0, 71, 25, 71]), np.array([5, 5, 6, 4, 5, 6, -1, 6]))
    presence = np.array([0, 0, 0, 3, 3, 3, 6, 6])
    types = dict(zip(("input", "weight", "bias", "activation", "latent"), TYPES, strict=True))
    config = ModelConfig(
        kind=kind,
        hidden=(7, 5),
        latent=3,
        **{f"{name}_type": text for name, text in types.items()},
        float_epochs=1,
        quantised_epochs=1,
        batch_size=100,
        learning_rate=1e-3,
        beta=0.5 if kind == "vae" else 0.0,
    )
    model = build(config, columns, scaling, presence, quantised=True).trigger
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([rng.normal(0, 0.7, weight.shape) for weight in layer.get_weights()])
    return model


TYPES = ("ap_fixed<9,4>", "ap_fixed<6,2>", "ap_fixed<8,3>", "ap_ufixed<7,3>", "ap_fixed<8,3>")
MODEL_KINDS = ("autoencoder", "vae")
