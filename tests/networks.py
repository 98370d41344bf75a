"""Random networks over every operation and mode, what they compute by fractions, and small QKeras models."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import cycle
from math import ceil, floor
from typing import Any

import numpy as np
from hypothesis import strategies as st

from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint, Raw
from l1ad.network import Dense, Input, Mask, Network, Rescale, Subtract, SumOfSquares

KINDS = ("latent", "reconstruction")


def random_network(
    rng: np.random.Generator,
    rounding: str | Sequence[str],
    overflow: str | Sequence[str],
    kind: str,
    bits: int = 12,
) -> Network:
    """A small network whose casts round and overflow often.

    `rounding` and `overflow` name one mode, or one for each cast in turn.  Results have up to `bits` bits.
    ``latent`` scores the encoder, with four casts; ``reconstruction`` uses all six operations and has seven.
    """
    modes = zip(
        cycle([rounding] if isinstance(rounding, str) else rounding),
        cycle([overflow] if isinstance(overflow, str) else overflow),
        strict=False,
    )

    def out(exact_bits: int, exact_frac: int) -> FixedPoint:
        """A type that drops low bits of an exact result and is up to 2 bits too narrow for the largest."""
        width = int(rng.integers(4, bits + 1))
        dropped = exact_bits - width - int(rng.integers(-1, 3))
        return FixedPoint(width, exact_frac - dropped, bool(rng.random() < 0.75), *next(modes))

    def dense(name: str, x: str, source: FixedPoint, n_in: int, n_out: int) -> Dense:
        weight_type = FixedPoint(int(rng.integers(2, 9)), int(rng.integers(-2, 10)), bool(rng.random() < 0.8))
        bias_type = FixedPoint(int(rng.integers(2, 9)), source.frac + weight_type.frac + int(rng.integers(-4, 3)))
        weight = rng.integers(weight_type.min_raw, weight_type.max_raw, (n_in, n_out), endpoint=True)
        bias = rng.integers(bias_type.min_raw, bias_type.max_raw, n_out, endpoint=True)
        exact = max(source.frac + weight_type.frac, bias_type.frac)
        grown = source.width + weight_type.width + exact - source.frac - weight_type.frac
        return Dense(name, x, weight, weight_type, bias, bias_type, out(grown, exact))

    n, hidden, latent = (int(i) for i in rng.integers((3, 2, 2), (7, 6, 4)))
    hardware = FixedPoint(int(rng.integers(4, 11)), int(rng.integers(-1, 3)))
    ends = np.sort(rng.integers(hardware.min_raw, hardware.max_raw, (2, n), endpoint=True), axis=0)
    ends[0, 0] = min(ends[0, 0], 0)  # one column is a pT: absent objects exist
    ends[1, 0] = max(ends[1, 0], 0)
    columns = tuple(f"column{i}" for i in range(n))
    trigger = Input("trigger", columns, ends[0], ends[1], hardware)
    shift = rng.integers(-3, 5, n)
    offset = rng.integers(ends[0], ends[1], n, endpoint=True)
    spread = int(shift.max() - shift.min())
    scaled_type = out(hardware.width + spread, hardware.frac + int(shift.max()))
    scaled = Rescale("scaled", "trigger", offset, shift, scaled_type)
    encoder = dense("encoder", "scaled", scaled_type, n, hidden)
    code = dense("code", "encoder", encoder.out, hidden, latent)
    if kind == "latent":
        return Network((trigger, scaled, encoder, code, _score("code", code.out, out)))
    decoder = dense("decoder", "code", code.out, latent, n)
    frac = max(scaled_type.frac, decoder.out.frac)
    width = max(kind.width + frac - kind.frac for kind in (scaled_type, decoder.out))
    difference = Subtract("difference", "scaled", "decoder", out(width, frac))
    index, unmasked = rng.integers(0, n, n), difference.out
    present = Mask("present", "difference", "trigger", index, out(unmasked.width, unmasked.frac))
    return Network((trigger, scaled, encoder, code, decoder, difference, present, _score("present", present.out, out)))


def _score(x: str, source: FixedPoint, out: Any) -> SumOfSquares:
    return SumOfSquares("score", x, out(2 * source.width, 2 * source.frac))


def random_events(rng: np.random.Generator, network: Network, n_events: int) -> Raw:
    """Admissible events, uniform in each column's range, with many zeros where zero is admissible."""
    low, high = network.input.low, network.input.high
    x = rng.integers(low, high, (n_events, len(low)), endpoint=True)
    return np.where(rng.random(x.shape) < 0.2, np.clip(0, low, high), x)


@st.composite
def networks(draw: Any, bits: int = 12) -> Network:
    """Strategy of `random_network`: mixed modes, either kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    modes = [st.lists(st.sampled_from(names), min_size=7, max_size=7) for names in (ROUNDING, OVERFLOW)]
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
    """`reference.trace` of one event, as the docstring of `l1ad.network` words it, without NumPy arithmetic."""
    raw: dict[str, list[int]] = {"trigger": [int(x) for x in event]}

    def v(name: str, i: int) -> Fraction:
        return raw[name][i] * _lsb(network[name].out)

    for o in network.operations[1:]:
        match o:
            case Rescale():
                lsb = _lsb(network[o.x].out)
                offset, shift = o.offset.tolist(), o.shift.tolist()
                exact = [(v(o.x, i) - offset[i] * lsb) / Fraction(2) ** shift[i] for i in range(len(shift))]
            case Dense():
                weight = [[w * _lsb(o.weight_type) for w in row] for row in o.weight.tolist()]
                bias = [b * _lsb(o.bias_type) for b in o.bias.tolist()]
                exact = [sum(v(o.x, i) * row[j] for i, row in enumerate(weight)) + bias[j] for j in range(len(bias))]
            case Subtract():
                exact = [v(o.x, i) - v(o.y, i) for i in range(len(raw[o.x]))]
            case Mask():
                exact = [v(o.x, i) if raw[o.by][k] != 0 else Fraction(0) for i, k in enumerate(o.index.tolist())]
            case SumOfSquares():
                exact = [sum((v(o.x, i) ** 2 for i in range(len(raw[o.x]))), Fraction(0))]
        raw[o.name] = [value_in_type(value, o.out) for value in exact]
    return raw


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
