"""Networks of fixed seed to time emulators on, their events, and what others make of a network.

Weights are random, of 6 bits, and biases small; types are such that hidden layers neither die nor saturate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.compare import random_inputs
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Flow, Network, aligned
from l1ad.operations import (
    Affine,
    Cast,
    Convolution,
    Dense,
    Dot,
    Input,
    Mask,
    Merge,
    Operation,
    rescale,
)

WEIGHT = FixedPoint.parse("ap_fixed<6,2>")
BIAS = FixedPoint.parse("ap_fixed<6,3>")
SCORE = FixedPoint.parse("ap_ufixed<18,14,TRN,SAT>")
N_OBJECTS = 19
"""Of pT, eta and phi: 57 columns."""
TYPES = {
    8: {
        "inputs": FixedPoint.parse("ap_ufixed<8,4,TRN,SAT>"),
        "hidden": FixedPoint.parse("ap_ufixed<8,5,TRN,SAT>"),
        "latent": FixedPoint.parse("ap_fixed<8,6,TRN,SAT>"),
        "narrow": FixedPoint.parse("ap_ufixed<8,5,TRN,SAT>"),
        "reconstruction": FixedPoint.parse("ap_ufixed<8,4,TRN,SAT>"),
    },
    10: {
        "inputs": FixedPoint.parse("ap_fixed<10,6,RND_CONV,SAT>"),
        "hidden": FixedPoint.parse("ap_ufixed<10,5,RND_CONV,SAT>"),
        "latent": FixedPoint.parse("ap_fixed<12,6,RND_CONV,SAT>"),
        "narrow": FixedPoint.parse("ap_fixed<10,5,RND_CONV,SAT>"),
        "reconstruction": FixedPoint.parse("ap_fixed<10,6,RND_CONV,SAT>"),
    },
}
"""By bits of the activations: 8 bits truncate and have no sign in front of a layer, 10 bits are the quickstart's."""
N_EVENTS, MEMORY = 2_000_000, 256_000_000
"""Events, or as many as fit into so many bytes: far more than caches hold."""


def networks() -> dict[str, Network]:
    """The fixed networks, by name."""
    found = {}
    for bits in TYPES:
        found[f"encoder 57-32-16-8, {bits} bits"] = encoder(bits)
        found[f"autoencoder 57-32-16-3-16-32-57, {bits} bits"] = autoencoder(bits)
    return found | {"convolution 18x14 (4 of 2x2), 16, 1": convolution()}


def encoder(bits: int) -> Network:
    """Score: the sum of squares of a latent vector."""
    chance, types = np.random.default_rng(bits), TYPES[bits]
    layers = [
        *_inputs(bits),
        _dense(chance, "encoder1", "inputs", 57, 32, types["hidden"]),
        _dense(chance, "encoder2", "encoder1", 32, 16, types["hidden"]),
        _dense(chance, "latent", "encoder2", 16, 8, types["latent"]),
        Dot("score", "latent", "latent", None, SCORE),
    ]
    return Network(tuple(layers))


def autoencoder(bits: int) -> Network:
    """Score: the sum of squares of what is reconstructed wrongly, of objects that are there."""
    chance, types = np.random.default_rng(bits), TYPES[bits]
    wrong = replace(types["inputs"].bare, width=bits + 1, signed=True)
    present = np.repeat(np.arange(N_OBJECTS), 3) * 3
    layers = [
        *_inputs(bits),
        _dense(chance, "encoder1", "inputs", 57, 32, types["hidden"]),
        _dense(chance, "encoder2", "encoder1", 32, 16, types["hidden"]),
        _dense(chance, "latent", "encoder2", 16, 3, types["narrow"]),
        _dense(chance, "decoder1", "latent", 3, 16, types["hidden"]),
        _dense(chance, "decoder2", "decoder1", 16, 32, types["hidden"]),
        _dense(chance, "reconstruction", "decoder2", 32, 57, types["reconstruction"]),
        Merge("difference", "subtract", "inputs", "reconstruction", wrong),
        Mask("present", "difference", "trigger", present, wrong),
        Dot("score", "present", "present", None, replace(SCORE, width=22)),
    ]
    return Network(tuple(layers))


def convolution() -> Network:
    """The shape of CICADA's students: an image of 18 x 14 regions, 4 filters of 2 x 2, 16 hidden units, one output."""
    chance = np.random.default_rng(0)
    kind, relu = FixedPoint.parse("ap_uint<10>"), FixedPoint.parse("ap_ufixed<10,6,RND_CONV,SAT>")
    names = tuple(f"region{number}" for number in range(252))
    filters = chance.integers(-128, 128, (2, 2, 1, 4))
    narrow, wide = FixedPoint.parse("ap_fixed<8,0>"), FixedPoint.parse("ap_fixed<30,22>")
    layers = [
        Input("regions", names, np.zeros(252, np.int64), np.full(252, 1023), kind),
        Convolution(
            *("conv", "regions", (18, 14, 1), filters, narrow, np.zeros(4, np.int64), BIAS),
            *((2, 2), (0, 0, 0, 0), None, wide),
        ),
        Cast("relu0", "conv", relu),
        _dense(chance, "dense1", "relu0", 252, 16, relu),
        _dense(chance, "dense2", "dense1", 16, 1, FixedPoint.parse("ap_ufixed<16,8,RND_CONV,SAT>")),
    ]
    return Network(tuple(layers))


def _inputs(bits: int) -> list[Operation]:
    """Objects in hardware integers, and their scaling to the type of the inputs."""
    names = tuple(f"object{n}_{what}" for n in range(N_OBJECTS) for what in ("pt", "eta", "phi"))
    low, high = (np.tile(np.array(ends), N_OBJECTS) for ends in ((0, -128, 0), (4095, 127, 143)))
    kind = TYPES[bits]["inputs"]
    # all 8 bits are used, without sign: the lowest code becomes 0
    offset, shift = (low, np.array((8, 4, 4))) if bits == 8 else (np.zeros_like(low), np.array((7, 5, 5)))
    trigger = Input("trigger", names, low, high, FixedPoint.parse("ap_int<13>"))
    return [trigger, rescale("inputs", "trigger", trigger.out, offset, np.tile(shift, N_OBJECTS), kind)]


def _dense(chance: np.random.Generator, name: str, x: str, n_in: int, n_out: int, out: FixedPoint) -> Dense:
    weight = np.clip(np.rint(chance.normal(0, 20 / np.sqrt(n_in), (n_in, n_out))), -31, 31).astype(np.int64)
    return Dense(name, x, weight, WEIGHT, chance.integers(-4, 12, n_out), BIAS, None, out)


def multiplications(network: Network) -> int:
    """Multiply-accumulates of an event: Dense inputs x outputs, Convolution windows x kernel x filters, Dot elements.

    Weights that are 0 count, and so does the padding; scaling, merges and masks do not.
    """
    total = 0
    for operation in network.operations:
        match operation:
            case Dense(weight=weight):
                total += weight.size
            case Convolution(weight=weight):
                total += len(operation.windows()) * weight.size
            case Dot(x=x):
                total += network.flows[x].size
    return total


def events(network: Network) -> npt.NDArray[Any]:
    """Corners and random events, over and over, in the narrowest integers that hold the network's columns."""
    low, high = int(network.input.low.min()), int(network.input.high.max())
    kind = next(k for k in (np.int16, np.int32, np.int64) if np.iinfo(k).min <= low <= high <= np.iinfo(k).max)
    some = random_inputs(network, 50_000)
    n = min(N_EVENTS, MEMORY // (some.shape[1] * np.dtype(kind).itemsize))
    return np.resize(some.astype(kind), (n, some.shape[1]))


def plain_cpp(network: Network) -> str:
    """What a physicist writes by hand: arrays of AP types, a loop over the outputs of a layer and one over its inputs.

    A program ``plain EVENTS SCORES`` of int64 numbers; it prints the CPU seconds that the loop over events took, with
    the events in arrays of the input's type before the clock starts.

    Raises
    ------
    UnsupportedError
        If an operation is none of a dense network.
    """
    name, size = network.input.name, len(network.input.columns)
    types = "".join(f"typedef {o.out} {o.name}_t;\n" for o in network.operations)
    body, constants = [], []
    for operation in network.operations[1:]:
        flow, o = network.flows[operation.name], operation.name
        constants += _cpp_constants(operation)
        body += [f"    {o}_t {o}[{flow.size}];", *_cpp_loops(operation, flow)]
    kind = network.input.out
    extend = f"raw << {64 - kind.width}"
    assert kind.signed or kind.width < 63  # raw numbers pass through int64
    last = network.score
    return f"""#include "ap_fixed.h"
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <vector>
{types}{"".join(constants)}
{last.name}_t score_of(const {name}_t {name}[{size}]) {{
{chr(10).join(body)}
    return {last.name}[0];
}}
int main(int, char **arguments) {{
    std::FILE *given = std::fopen(arguments[1], "rb"), *made = std::fopen(arguments[2], "wb");
    std::vector<{name}_t> events;
    for (std::int64_t raw; std::fread(&raw, 8, 1, given) == 1;) {{
        {name}_t x;
        x.range({kind.width - 1}, 0) = (std::uint64_t({extend})) >> {64 - kind.width};
        events.push_back(x);
    }}
    const std::size_t n = events.size() / {size};
    std::vector<{last.name}_t> scores(n);
    timespec start, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    for (std::size_t i = 0; i < n; i++)
        scores[i] = score_of(&events[i * {size}]);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    std::printf("%.9f", end.tv_sec - start.tv_sec + 1e-9 * (end.tv_nsec - start.tv_nsec));
    for (auto &score : scores) {{
        std::uint64_t bits = score.range({last.out.width - 1}, 0).to_uint64() << {64 - last.out.width};
        std::int64_t raw = {"std::int64_t(bits)" if last.out.signed else "bits"} >> {64 - last.out.width};
        std::fwrite(&raw, 8, 1, made);
    }}
    return std::fclose(made);
}}
"""


def _cpp_constants(operation: Operation) -> list[str]:
    """Arrays of weights, as numbers."""
    lines = []
    for what in ("weight", "scale", "bias"):
        raw: Raw | None = getattr(operation, what, None)
        if raw is not None:
            kind: FixedPoint = getattr(operation, f"{what}_type")
            numbers = ", ".join(repr(float(value)) for value in (raw * kind.lsb).ravel())
            size = " * ".join(map(str, raw.shape))
            lines.append(f"static const {kind.bare} {operation.name}_{what}[{size}] = {{{numbers}}};\n")
    return lines


def _cpp_loops(operation: Operation, flow: Flow) -> list[str]:
    o, n, total = operation.name, flow.size, flow.accumulator
    outer = f"    for (int j = 0; j < {n}; j++)"
    match operation:
        case Affine(x=x):
            return [f"{outer} {o}[j] = {x}[j] * {o}_scale[j] + {o}_bias[j];"]
        case Dense(x=x, weight=weight, product=product):
            kept = product or ""  # a type, if each product is cast to one
            start = f"{outer} {{ {total} sum = {kept}({o}_bias[j]);"
            term = f"sum += {kept}({x}[i] * {o}_weight[i * {n} + j]);"
            return [start, f"        for (int i = 0; i < {len(weight)}; i++) {term}", f"        {o}[j] = sum; }}"]
        case Merge(how="add" | "subtract" | "multiply" as how, x=x, y=y):
            sign = {"add": "+", "subtract": "-", "multiply": "*"}[how]
            return [f"{outer} {o}[j] = {x}[j] {sign} {y}[j];"]
        case Mask(x=x, by=by, index=index):
            picks = ", ".join(map(str, index))
            test = f"if ({by}[at[j]] != 0) {o}[j] = {x}[j]; else {o}[j] = 0;"
            return [f"    static const int at[{n}] = {{{picks}}};", f"{outer} {{ {test} }}"]
        case Dot(x=x, y=y, product=product):
            term = f"sum += {product or ''}({x}[i] * {y}[i]);"
            loop = f"    for (unsigned i = 0; i < sizeof {x} / sizeof *{x}; i++) {term}"
            return [f"    {total} sum_{o} = 0;", loop.replace("sum +=", f"sum_{o} +="), f"    {o}[0] = sum_{o};"]
        case Cast(x=x):
            return [f"{outer} {o}[j] = {x}[j];"]
        case _:
            raise UnsupportedError(f"the plain loop is for dense networks, without {type(operation).__name__}")


def in_floats(network: Network, tf: Any) -> Callable[[Any], Any]:
    """The network without quantisation as a TensorFlow function of float32; a type without sign is a ReLU.

    Raises
    ------
    UnsupportedError
        If the network has a table.
    """

    def constant(raw: Raw, kind: FixedPoint) -> Any:
        return tf.constant(raw * kind.lsb, tf.float32)

    def function(x: Any) -> Any:
        v = {network.input.name: x * np.float32(network.input.out.lsb)}
        for o in network.operations[1:]:
            match o:
                case Affine():
                    y = v[o.x] * constant(o.scale, o.scale_type) + constant(o.bias, o.bias_type)
                case Dense():
                    y = tf.matmul(v[o.x], constant(o.weight, o.weight_type)) + constant(o.bias, o.bias_type)
                case Convolution():
                    image = tf.reshape(v[o.x], (-1, *o.shape))
                    top, bottom, left, right = o.padding
                    around = [[0, 0], [top, bottom], [left, right], [0, 0]]
                    y = tf.nn.conv2d(image, constant(o.weight, o.weight_type), o.strides, around)
                    y = tf.reshape(y + constant(o.bias, o.bias_type), (-1, network.flows[o.name].size))
                case Merge():
                    y = getattr(tf, o.how)(v[o.x], v[o.y])
                case Mask():
                    y = tf.where(tf.gather(v[o.by], o.index, axis=1) != 0, v[o.x], 0.0)
                case Dot():
                    y = tf.reduce_sum(v[o.x] * v[o.y], axis=1, keepdims=True)
                case Cast():
                    y = v[o.x]
                case _:
                    raise UnsupportedError(f"the float network is one without {type(o).__name__}")
            v[o.name] = y if o.out.signed else tf.nn.relu(y)
        return v[network.score.name]

    return function


def in_da4ml(network: Network) -> Any:
    """The network as da4ml's adder graph, exactly; its ``predict`` interprets it.

    Raises
    ------
    ModuleNotFoundError
        If da4ml is not installed.
    UnsupportedError
        If the network has operations or modes that are not translated here.
    """
    from da4ml.trace import FixedVariableArray, comb_trace

    low, high, lsb = network.input.low, network.input.high, network.input.out.lsb
    start = FixedVariableArray.from_lhs(low * lsb, high * lsb, np.full(len(low), lsb))
    v: dict[str, list[Any]] = {network.input.name: list(start)}

    def array(name: str) -> Any:
        return FixedVariableArray(np.array(v[name], object), start.solver_options)

    for o in network.operations[1:]:
        if getattr(o, "product", None):
            raise UnsupportedError("da4ml is given no network that casts products")
        match o:
            case Affine():
                pairs = zip(v[o.x], o.scale * o.scale_type.lsb, o.bias * o.bias_type.lsb, strict=True)
                exact = [x * scale + bias for x, scale, bias in pairs]
            case Dense():
                exact = list(array(o.x) @ (o.weight * o.weight_type.lsb) + o.bias * o.bias_type.lsb)
            case Convolution(weight=weight):
                padded, kernel = [*v[o.x], 0], (weight * o.weight_type.lsb).reshape(-1, weight.shape[-1])
                exact = []
                for window in o.windows():
                    seen = FixedVariableArray(np.array([padded[i] for i in window], object), start.solver_options)
                    exact += list(seen @ kernel + o.bias * o.bias_type.lsb)
            case Merge(how="add"):
                exact = [x + y for x, y in zip(v[o.x], v[o.y], strict=True)]
            case Merge(how="subtract"):
                exact = [x - y for x, y in zip(v[o.x], v[o.y], strict=True)]
            case Mask(by=by) if (network.flows[by].low[o.index] >= 0).all():
                below = network[by].out.lsb  # less it, only 0 has a sign
                exact = [(v[by][i] - below).msb_mux(0, x) for i, x in zip(o.index, v[o.x], strict=True)]
            case Dot():
                exact = [sum((x * y for x, y in zip(v[o.x], v[o.y], strict=True)), 0)]
            case Cast():
                exact = v[o.x]
            case _:
                raise UnsupportedError(f"{type(o).__name__} is not translated for da4ml")
        frac = network[o.x].out.frac if isinstance(o, Mask | Cast) else aligned(o, network)
        v[o.name] = [_da4ml_cast(x, frac, o.out) for x in exact]
    return comb_trace(start, array(network.score.name))


def _da4ml_cast(x: Any, frac: int, to: FixedPoint) -> Any:
    """`fixed.cast` of a variable with `frac` fractional bits, of what da4ml has: TRN, and sums."""
    if to.overflow not in ("WRAP", "SAT", "SAT_SYM") or to.rounding not in ("TRN", "RND", "RND_CONV"):
        raise UnsupportedError(f"da4ml is given no cast to {to}")
    if to.rounding != "TRN" and frac > to.frac:
        half = 2.0 ** -(to.frac + 1)
        if to.rounding == "RND_CONV":  # a tie goes up where the last bit is 1
            last = x.quantize(0, 1 - to.frac, to.frac)
            x = x + last * 2.0 ** (to.frac - frac) + (half - 2.0**-frac)
        else:
            x = x + half
    return x.quantize(to.signed, to.width - to.frac - to.signed, to.frac, to.overflow, "TRN")
