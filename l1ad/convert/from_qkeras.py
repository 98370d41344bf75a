"""A trained QKeras model as a `Network`, exactly, or a refusal that names layer, quantiser and remedy.

Understood are functional and sequential models with one input and one number as output, of `QDense`, `QConv1D`,
`QConv2D`, `QActivation`, ReLU, element-wise merges, `Dot`, layers that do nothing at inference, and our
`TriggerScaling`, `PresenceMask` and `SumOfSquares`.  Elements of images are ordered by row, column, channel.

Each operation is called after the Keras layer whose output it equals, so that the two can be compared layer by
layer; what a layer needs on the way has a suffix.  A layer whose result is not quantised gets a type that holds
it exactly; if only a quantiser reads it, the two become one operation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.convert.quantisers import SIGN, activation_type, is_sign, table, weights
from l1ad.errors import UnsupportedError
from l1ad.events.schema import InputColumn
from l1ad.fixed import MAX_BITS, FixedPoint, Raw
from l1ad.models.keras import PresenceMask, SumOfSquares, TriggerScaling, keras, qkeras
from l1ad.network import MAX_TABLE_BITS, Network, aligned, verify
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
    rescale,
)

_MERGES = {
    keras.layers.Add: "add",
    keras.layers.Subtract: "subtract",
    keras.layers.Multiply: "multiply",
    keras.layers.Maximum: "maximum",
    keras.layers.Minimum: "minimum",
}
_NOTHING = (
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
)
"""Layers that leave the elements, and their order, as they are."""
_FOLD = "fold it into the layer before and fine-tune"
_REMEDIES = {
    "BatchNormalization": _FOLD,
    "QBatchNormalization": _FOLD,
    "QDenseBatchnorm": "fold it into a QDense and fine-tune",
    "QConv2DBatchnorm": "fold it into a QConv2D and fine-tune",
    "QDepthwiseConv2DBatchnorm": "fold it into the layer before, as a QConv2D, and fine-tune",
    "Dense": "use QDense with a kernel and a bias quantizer",
    "Conv1D": "use QConv1D with a kernel and a bias quantizer",
    "Conv2D": "use QConv2D with a kernel and a bias quantizer",
    "Functional": "join its layers and those of the model in one model",
    "Sequential": "join its layers and those of the model in one model",
    "TFOpLambda": "use a layer, such as keras.layers.Subtract",
    "Lambda": "use a layer, such as keras.layers.Subtract",
}


def convert(model: Any, columns: tuple[InputColumn, ...] | None = None) -> Network:
    """Network that computes what `model` computes.

    What the integers of its input mean, ``raw``, depends on how the model begins:

    - with `TriggerScaling`: they are the trigger integers that it reads, as they are;
    - `columns` are given: the model reads the trigger integers as they are, value = raw, whatever their unit;
    - with a `QActivation`: they are the numbers that it makes, in units of its last bit, full range: value =
      raw * lsb.  Whoever feeds the network has quantised its input as that layer does.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential model, shape (n,), (n, channels) or (height, width, channels) to one number.
    columns : tuple of InputColumn, optional
        Name, lowest and highest of each trigger integer.

    Raises
    ------
    UnsupportedError
        If any part of it has no exact counterpart.
    """
    if not isinstance(model, keras.Model) or not model.inputs:
        raise UnsupportedError(
            f"model must be a functional or sequential Keras model that knows its input shape, "
            f"not {type(model).__name__}"
        )
    for what, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise UnsupportedError(f"model must have 1 {what}, not {len(tensors)}; make a model of one of them")
    if _size(model.outputs[0].shape) != 1:
        raise UnsupportedError(
            f"model must end in 1 number, the score, not {_size(model.outputs[0].shape)}; "
            "let a Dot(axes=1) or SumOfSquares follow"
        )
    converter = _Converter(columns)
    for layer in keras.Model(model.inputs, model.outputs).layers:  # of a Sequential, its InputLayer too
        converter.add(layer)
    return converter.network()


class _Converter:
    """Operations so far, the operation that holds each layer's result, and operations whose type is left open."""

    def __init__(self, columns: tuple[InputColumn, ...] | None) -> None:
        self.columns = columns
        self.operations: dict[str, Operation] = {}
        self.results: dict[str, str] = {}
        self.open: set[str] = set()
        self.trigger = ""
        self.size = 0

    def network(self) -> Network:
        """All operations, each quantiser one with the sum it quantises, in types as narrow as is exact."""
        readers = Counter(source for o in self.operations.values() for source in reads(o))
        kept: dict[str, Any] = {}
        for o in self.operations.values():
            source = kept.get(o.x) if isinstance(o, Cast) else None
            if source and source.name in self.open and source.out.overflow == "WRAP" and readers[source.name] == 1:
                kept[o.name] = replace(kept.pop(source.name), name=o.name, out=o.out)
            else:
                kept[o.name] = o
        try:
            flows = verify(tuple(kept.values()))
        except ValueError as error:
            raise UnsupportedError(f"model has no exact network: {error}") from error
        for name in self.open & kept.keys():
            low, high, out = min(flows[name].low), max(flows[name].high), kept[name].out
            kept[name] = replace(
                kept[name], out=replace(FixedPoint.holding(low, high, out.frac), overflow=out.overflow)
            )
        return Network(tuple(kept.values()))

    def add(self, layer: Any) -> None:
        """Append the operations of a layer whose sources have been added."""
        name, kind = _identifier(layer.name), type(layer)
        sources = _sources(layer)
        _check(layer)
        if kind is keras.layers.InputLayer:
            self.trigger, self.size = name, _size(layer.output.shape)
            self.results[name] = name
            return
        first = self.results[sources[0]]
        begins = first == self.trigger and not self.operations
        if kind is TriggerScaling:
            self._scale(name, layer, begins)
        elif kind in _NOTHING:
            self.results[name] = first
        elif kind is qkeras.QActivation and begins and self.columns is None:
            self._begin_with(name, layer.quantizer)
        else:
            self._compute(name, layer, tuple(self._read(name, source) for source in sources))

    def _compute(self, name: str, layer: Any, sources: tuple[str, ...]) -> None:
        """Append the operations of a layer that reads operations."""
        kind, first = type(layer), sources[0]
        if kind is qkeras.QActivation:
            self._activate(name, first, layer.quantizer)
        elif kind is keras.layers.Activation:
            self._activate(name, first, layer.activation)
        elif kind is keras.layers.ReLU and (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0):
            self._activate(name, first, keras.activations.relu)
        elif kind in (qkeras.QDense, qkeras.QConv1D, qkeras.QConv2D):
            if keras.activations.linear is layer.activation or layer.activation is None:
                self._append_open(_weighted(name, first, layer))
            else:
                self._append_open(_weighted(f"{name}_sum", first, layer))
                self._activate(name, f"{name}_sum", layer.activation)
        elif kind in _MERGES:
            _same_shape(layer)
            for number, source in enumerate(sources[1:], 1):
                here = name if number == len(sources) - 1 else f"{name}_{number}"
                self._append_open(Merge(here, _MERGES[kind], first, source, SIGN))
                first = here
        elif kind is keras.layers.Dot:
            _same_shape(layer)
            if len(layer.input_shape[0]) != 2 or layer.normalize:
                raise UnsupportedError(
                    f"layer {name!r}: Dot must have inputs of 1 dimension and normalize=False; flatten them before"
                )
            self._append_open(Dot(name, first, sources[1], None, SIGN))
        elif kind is PresenceMask:
            self._append(Mask(name, first, sources[1], layer.index, self.operations[first].out))
            self.open |= {name} if first in self.open else set()
        elif kind is SumOfSquares:
            if layer.out is None:
                raise UnsupportedError(f"layer {name!r}: score type must be stated; set out='ap_ufixed<...>'")
            self._append(Dot(name, first, first, None, FixedPoint.parse(layer.out)))
        else:
            remedy = _REMEDIES.get(kind.__name__, "retrain without it")
            raise UnsupportedError(f"layer {name!r}: {kind.__name__} has no exact counterpart in the network; {remedy}")

    def _activate(self, name: str, source: str, activation: Any) -> None:
        """Append what the function or quantiser `activation` makes of `source`."""
        x = self.operations[source].out
        if activation is keras.activations.linear:
            self.results[name] = source
        elif activation is keras.activations.relu:
            self._append(Cast(name, source, FixedPoint(MAX_BITS, x.frac, False, "TRN", "SAT")))
            self.open.add(name)
        elif is_sign(activation):
            raw, out = table(name, activation, SIGN)
            self._append(Cast(f"{name}_sign", source, SIGN))
            self._append(Lookup(name, f"{name}_sign", raw, out))
        elif type(activation) is qkeras.ternary:
            if source in self.open or x.width > MAX_TABLE_BITS:
                raise UnsupportedError(
                    f"layer {name!r}: ternary must follow a quantiser of at most {MAX_TABLE_BITS} bits; "
                    "let a QActivation(quantized_bits) come before it"
                )
            self._append(Lookup(name, source, *table(name, activation, x)))
        else:
            self._append(Cast(name, source, activation_type(name, activation)))

    def _append(self, operation: Operation) -> None:
        if operation.name in self.operations:
            raise UnsupportedError(f"layer {operation.name!r}: name must be unique among operations; rename the layer")
        self.operations[operation.name] = operation
        self.results[operation.name] = operation.name

    def _append_open(self, operation: Affine | Dense | Convolution | Merge | Dot) -> None:
        """Append what is exact in any type wide enough, which `network` finds."""
        try:
            self._append(replace(operation, out=FixedPoint(MAX_BITS, aligned(operation, self.operations))))
        except ValueError as error:
            raise UnsupportedError(
                f"layer {operation.name!r}: {error}; let a QActivation(quantized_bits) come before it"
            ) from error
        self.open.add(operation.name)

    def _read(self, name: str, source: str) -> str:
        """Operation that holds the result of the layer `source`."""
        found = self.results[source]
        if found == self.trigger and not self.operations:
            if self.columns is None:
                raise UnsupportedError(
                    f"layer {name!r}: reads an input of unknown type; begin with a QActivation(quantized_bits), or "
                    "state the columns of the trigger"
                )
            self._input(self.columns)
        return found

    def _input(self, columns: tuple[InputColumn, ...]) -> Input:
        if len(columns) != self.size:
            raise UnsupportedError(f"model must read the {len(columns)} columns stated, not {self.size}")
        low, high = (np.array([getattr(c, end) for c in columns], np.int64) for end in ("low", "high"))
        kind = FixedPoint.holding(min(int(low.min()), -1), int(high.max()), 0)
        operation = Input(self.trigger, tuple(c.name for c in columns), low, high, kind)
        self._append(operation)
        return operation

    def _scale(self, name: str, layer: Any, begins: bool) -> None:
        if not begins:
            raise UnsupportedError(f"layer {name!r}: TriggerScaling must come first, once")
        if self.columns not in (None, layer.columns):
            raise UnsupportedError(f"layer {name!r}: columns must be those of the model; state them, or none")
        source = self._input(layer.columns)
        self._append_open(rescale(name, source.name, source.out, layer.offset, layer.shift, source.out))

    def _begin_with(self, name: str, quantiser: Any) -> None:
        """The input is what the quantiser makes of it."""
        kind = activation_type(name, quantiser)
        low, high = (np.full(self.size, end) for end in (kind.min_raw, kind.max_raw))
        names = tuple(f"x{number}" for number in range(self.size))
        self._append(Input(self.trigger, names, low, high, kind.bare))
        self.results[name] = self.trigger


def _weighted(name: str, x: str, layer: Any) -> Dense | Convolution:
    """Weighted sums of a `QDense`, `QConv1D` or `QConv2D`; a QDense of an image is a convolution, point by point."""
    kernel = layer.get_weights()[0]
    bias = layer.get_weights()[1] if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)
    weight, weight_type = weights(layer.name, "kernel_quantizer", layer.kernel_quantizer_internal, kernel)
    quantiser = layer.bias_quantizer_internal if layer.use_bias else None
    added, bias_type = weights(layer.name, "bias_quantizer", quantiser, bias)
    shape = tuple(layer.input_shape[1:])
    constants = weight_type, added, bias_type
    if type(layer) is qkeras.QDense:
        if len(shape) == 1:
            return Dense(name, x, weight, *constants, None, SIGN)
        points = (1, int(np.prod(shape[:-1])), shape[-1])
        return Convolution(name, x, points, weight[None, None], *constants, (1, 1), (0, 0, 0, 0), None, SIGN)
    if type(layer) is qkeras.QConv1D:
        shape, weight = (1, *shape), weight[None]
    strides = (1, *layer.strides)[-2:]
    padding = [side for n, k, s in zip(shape, weight.shape, strides, strict=False) for side in _padding(layer, n, k, s)]
    return Convolution(name, x, shape, weight, *constants, strides, tuple(padding), None, SIGN)


def _padding(layer: Any, size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, as TensorFlow adds them."""
    if layer.padding == "valid":
        return 0, 0
    if layer.padding == "causal":
        return kernel - 1, 0
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _check(layer: Any) -> None:
    """Refuse options, of whatever layer, that change order or precision."""
    for option, value in (("data_format", "channels_last"), ("groups", 1), ("dilation_rate", 1)):
        found = getattr(layer, option, value)
        if any(one != value for one in (found if isinstance(found, tuple) else (found,))):
            raise UnsupportedError(f"layer {layer.name!r}: {option} must be {value}, not {found}; retrain without it")
    if layer.compute_dtype not in ("float32", "float64"):
        raise UnsupportedError(
            f"layer {layer.name!r}: dtype must be float32, not {layer.compute_dtype}, which is not exact; "
            "save the model in float32"
        )


def _same_shape(layer: Any) -> None:
    if len(set(layer.input_shape)) != 1:
        raise UnsupportedError(f"layer {layer.name!r}: inputs must be of one shape, not {layer.input_shape}")


def _sources(layer: Any) -> tuple[str, ...]:
    """Names of the layers that `layer` reads."""
    if len(layer.inbound_nodes) != 1:
        raise UnsupportedError(f"layer {layer.name!r}: must be used once, not {len(layer.inbound_nodes)} times")
    return tuple(_identifier(tensor._keras_history.layer.name) for tensor in layer.inbound_nodes[0].keras_inputs)


def _identifier(name: str) -> str:
    """Name of a layer as an operation may have it."""
    return re.sub(r"\W|^(?=\d)", "_", name)


def _size(shape: Any) -> int:
    """Elements of one event."""
    if None in shape[1:]:
        raise UnsupportedError(f"model must have an input of known shape, not {tuple(shape)}")
    return int(np.prod(shape[1:]))


def keras_tracer(model: Any, network: Network) -> Callable[[Raw], dict[str, npt.NDArray[np.float64]]]:
    """Make a function of the network's integers that gives what Keras predicts for each operation.

    Parameters
    ----------
    model : keras.Model
        The model that `network` was converted from.
    network : Network

    Returns
    -------
    callable
        From int64 array, shape (n_events, n_columns), to values by operation name, each of shape (n_events, size).
        Operations that no layer is called after are left out.
    """
    outputs = {_identifier(layer.name): layer.output for layer in model.layers}
    names = [operation.name for operation in network.operations[1:] if operation.name in outputs]
    every = keras.Model(model.inputs, {name: outputs[name] for name in names})
    shape = model.inputs[0].shape[1:]

    def values(x: Raw) -> dict[str, npt.NDArray[np.float64]]:
        given = (x * network.input.out.lsb).astype(np.float32).reshape(-1, *shape)
        found = every.predict(given, batch_size=16384, verbose=0)
        return {name: np.asarray(found[name], np.float64).reshape(len(x), -1) for name in names}

    return values
