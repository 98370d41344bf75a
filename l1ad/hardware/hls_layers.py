"""Operations as layers of hls4ml, and the one that it lacks, `Mask`, added through its extension API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.attributes import TypeAttribute, WeightAttribute
from hls4ml.model.layers import Layer, register_layer

from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Network
from l1ad.operations import (
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

DOUBLE_BITS = 53
"""Integers of so many bits are exact in a double."""

_CONFIG = """struct config{index} : nnet::mask_config {{
    static const unsigned n_in = {n_in};
    static const unsigned n_by = {n_by};
    static const unsigned reuse_factor = {reuse};
    typedef {column_t.name} column_t;
}};\n"""
_CALL = "nnet::mask<{x_t}, {by_t}, {output_t}, {config}>({x}, {by}, {output}, {column});"


class L1adMask(Layer):  # type: ignore[misc]
    """Layer of an hls4ml graph: inputs `x` and `by`, constant `column`."""

    _expected_attributes: ClassVar = [WeightAttribute("column"), TypeAttribute("column")]

    def initialize(self) -> None:
        """Declare the output and the constant."""
        self.add_output_variable(self.get_input_variable(self.inputs[0]).shape)
        self.add_weights_variable(name="column", var_name="column{index}")


class _MaskConfig(LayerConfigTemplate):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(L1adMask)
        self.template = _CONFIG

    def format(self, node: Any) -> str:
        params = self._default_config_params(node)
        params["n_in"] = node.get_input_variable(node.inputs[0]).size_cpp()
        params["n_by"] = node.get_input_variable(node.inputs[1]).size_cpp()
        params["column_t"] = node.get_weights("column").type
        return _CONFIG.format(**params)


class _MaskCall(FunctionCallTemplate):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(L1adMask, include_header=["nnet_utils/mask.h"])
        self.template = _CALL

    def format(self, node: Any) -> str:
        x, by = (node.get_input_variable(name) for name in node.inputs)
        output = node.get_output_variable()
        return _CALL.format(
            config=f"config{node.index}",
            x_t=x.type.name,
            by_t=by.type.name,
            output_t=output.type.name,
            x=x.name,
            by=by.name,
            output=output.name,
            column=node.get_weights("column").name,
        )


def register() -> None:
    """Teach hls4ml's Vitis backend the layer; calling it again does nothing."""
    backend = get_backend("Vitis")
    source = Path(__file__).with_name("mask.h")
    if any(Path(known).name == source.name for known in backend.get_custom_source()):
        return
    register_layer("L1adMask", L1adMask)
    backend.register_template(_MaskConfig)
    backend.register_template(_MaskCall)
    backend.register_source(source)


def describe(operation: Operation, network: Network) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Layers of hls4ml that compute `operation`, and their types other than the result's.

    Raises
    ------
    UnsupportedError
        If hls4ml has no layer that computes exactly this; the text names the operation.
    """
    name, size = operation.name, network.flows[operation.name].size
    if name == "input":
        raise UnsupportedError("operation 'input': hls4ml keeps this name for itself; rename the operation")
    layer, kinds = _describe(operation, network)
    types = {role: str(kind) for role, kind in kinds.items()}
    layer = {"name": name, "inputs": list(reads(operation)), "outputs": [name]} | layer
    if not isinstance(operation, Convolution):
        return [layer], types
    # between other layers an image is a row of numbers; no operation can have a name with a point
    before, after = f"{name}.image", f"{name}.row"
    return [
        _reshape(before, operation.x, before, list(operation.shape)),
        layer | {"inputs": [before], "outputs": [after]},
        _reshape(after, after, name, [size]),
    ], types


def _reshape(name: str, x: str, output: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "class_name": "Reshape", "inputs": [x], "outputs": [output], "target_shape": shape}


def _describe(operation: Operation, network: Network) -> tuple[dict[str, Any], dict[str, FixedPoint]]:
    match operation:
        case Input(columns=columns):
            return {"class_name": "InputLayer", "input_shape": [len(columns)]}, {}
        case Affine(scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
            layer = {
                "class_name": "BatchNormalization",
                "n_in": len(scale),
                "n_filt": -1,
                "use_gamma": True,
                "use_beta": True,
                "scale_data": _doubles(operation, scale, scale_type),
                "bias_data": _doubles(operation, bias, bias_type),
            }
            return layer, {"scale": scale_type, "bias": bias_type}
        case Dense(weight=weight):
            layer, types = _weights(operation, network)
            return layer | {"class_name": "Dense", "n_in": weight.shape[0], "n_out": weight.shape[1]}, types
        case Convolution(shape=shape, weight=weight, strides=strides, padding=padding):
            layer, types = _weights(operation, network)
            return layer | _image(shape, weight.shape, strides, padding), types
        case Merge(how=how):
            return {"class_name": "Merge", "op": how}, {}
        case Mask(index=index):
            column = FixedPoint.holding(0, int(index.max()), 0)
            return {"class_name": "L1adMask", "column_data": index}, {"column": column}
        case Dot(x=x):
            layer = {"class_name": "Dot", "op": "dot1d", "axes": 1, "n_in": network.flows[x].size, "n_out": 1}
            return layer, {"accum": _accumulator(operation, network)}
        case Cast(x=x, out=out):
            if out == network[x].out:
                raise UnsupportedError(
                    f"operation {operation.name!r}: hls4ml drops a cast to the type {out} of {x!r} itself; "
                    f"read {x!r} instead"
                )
            return {"class_name": "Activation", "activation": "linear", "n_in": network.flows[x].size}, {}
        case Lookup(x=x, table=table, out=out):
            source = network[x].out
            by_bits = np.zeros(2**source.width, np.int64)
            by_bits[np.arange(source.min_raw, source.max_raw + 1)] = table  # the address is the bits of x
            layer = {
                "class_name": "UnaryLUT",
                "activation": "unary_lut",
                "table_data": _doubles(operation, by_bits, out),
            }
            return layer, {"table": out}
        case _:
            raise UnsupportedError(f"hls4ml backend does not implement {type(operation).__name__}")


def _weights(operation: Dense | Convolution, network: Network) -> tuple[dict[str, Any], dict[str, FixedPoint]]:
    layer = {
        "weight_data": _doubles(operation, operation.weight, operation.weight_type),
        "bias_data": _doubles(operation, operation.bias, operation.bias_type),
        "weight_quantizer": None,
        "bias_quantizer": None,
    }
    types = {"weight": operation.weight_type, "bias": operation.bias_type}
    return layer, types | {"accum": _accumulator(operation, network)}


def _doubles(operation: Operation, raw: Raw, kind: FixedPoint) -> npt.NDArray[np.float64]:
    if max(-int(raw.min()), int(raw.max())) > 1 << DOUBLE_BITS:
        raise UnsupportedError(
            f"operation {operation.name!r}: hls4ml takes constants as doubles, of {DOUBLE_BITS} bits, "
            f"which do not hold those of {kind}; narrow them"
        )
    return raw.astype(np.float64) * kind.lsb


def _accumulator(operation: Dense | Convolution | Dot, network: Network) -> FixedPoint:
    """Type of the accumulator, to which hls4ml casts each term and every partial sum."""
    exact, product, out = network.flows[operation.name].accumulator, operation.product, operation.out
    if product is None:
        return exact
    wraps_alike = "WRAP" == product.overflow == out.overflow and product.frac == out.frac and product.width >= out.width
    if wraps_alike or (product.min_raw <= exact.min_raw and exact.max_raw <= product.max_raw):
        return product
    raise UnsupportedError(
        f"operation {operation.name!r}: hls4ml sums in the type of the products, {product}, which cannot hold the sum; "
        f"widen it to {exact.width} bits"
    )


def _image(shape: Any, kernel: Any, strides: Any, padding: Any) -> dict[str, Any]:
    ends = ("top", "bottom", "left", "right")
    (height, width, channels), (top, bottom, left, right) = shape, padding
    return {
        "class_name": "Conv2D",
        "data_format": "channels_last",
        "in_height": height,
        "in_width": width,
        "n_chan": channels,
        "n_filt": kernel[3],
        "filt_height": kernel[0],
        "filt_width": kernel[1],
        "stride_height": strides[0],
        "stride_width": strides[1],
        "out_height": (height + top + bottom - kernel[0]) // strides[0] + 1,
        "out_width": (width + left + right - kernel[1]) // strides[1] + 1,
    } | {f"pad_{end}": amount for end, amount in zip(ends, padding, strict=True)}
