"""A trained QKeras model as a `Network`, exactly, or a refusal that names layer, quantiser and remedy.

Understood: `TriggerScaling`, `QActivation`, `QDense`, `Subtract`, `PresenceMask` and `SumOfSquares`, with
`quantized_bits` and `quantized_relu` quantisers of alpha 1.  Each operation is called after the Keras layer whose
output it equals, so that the two can be compared layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.models.keras import PresenceMask, SumOfSquares, TriggerScaling, keras, qkeras
from l1ad.network import Dense, Input, Mask, Network, Operation, Rescale, Subtract
from l1ad.network import SumOfSquares as SumOfSquaresOperation

_REMEDIES = {
    "BatchNormalization": "fold it into the layer before and fine-tune",
    "QBatchNormalization": "fold it into the layer before and fine-tune",
    "QDenseBatchnorm": "fold it into a QDense and fine-tune",
    "Dense": "use QDense with a kernel and a bias quantizer of alpha=1",
    "Activation": "use QActivation, or the activation argument of QDense",
    "ReLU": "use quantized_relu",
    "Dropout": "remove it: it does nothing in the trigger",
}


def convert(model: Any) -> Network:
    """Network that computes what `model` computes.

    Parameters
    ----------
    model : keras.Model
        Functional model, trigger integers to score.

    Raises
    ------
    UnsupportedError
        If any part of it has no exact counterpart.
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "_network_nodes"):
        raise UnsupportedError(f"model must be a functional Keras model, not {type(model).__name__}")
    converter = _Converter()
    for layer in model.layers:
        converter.add(layer)
    if converter.pending:
        name = next(iter(converter.pending))
        raise UnsupportedError(
            f"layer {name!r}: its result must be quantised; let a QActivation(quantized_bits) follow"
        )
    return Network(tuple(converter.operations.values()))


class _Converter:
    """Operations so far, and layers whose exact result waits for the QActivation that casts it."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.pending: dict[str, Any] = {}
        self.trigger: str | None = None

    def add(self, layer: Any) -> None:
        name = layer.name
        sources = _sources(layer)
        match layer:
            case keras.layers.InputLayer():
                self.trigger = name
            case TriggerScaling():
                self._input(layer)
                self.pending[name] = layer
            case qkeras.QDense() if type(layer) is qkeras.QDense:
                if layer.activation is None or getattr(layer.activation, "__name__", "") == "linear":
                    self.pending[name] = layer
                else:
                    self._dense(name, layer, activation_type(name, layer.activation))
            case qkeras.QActivation():
                waiting = self.pending.pop(sources[0], None)
                out = activation_type(name, layer.quantizer)
                match waiting:
                    case TriggerScaling(offset=offset, shift=shift):
                        self.operations[name] = Rescale(name, _sources(waiting)[0], offset, shift, out)
                    case qkeras.QDense():
                        self._dense(name, waiting, out)
                    case _:
                        raise UnsupportedError(
                            f"layer {name!r}: a QActivation must follow a TriggerScaling or a QDense without "
                            f"activation, not {sources[0]!r}; remove it"
                        )
            case keras.layers.Subtract():
                x, y = (self._read(name, source).out for source in sources)
                frac = max(x.frac, y.frac)
                low = (x.min_raw << (frac - x.frac)) - (y.max_raw << (frac - y.frac))
                high = (x.max_raw << (frac - x.frac)) - (y.min_raw << (frac - y.frac))
                self.operations[name] = Subtract(name, sources[0], sources[1], FixedPoint.holding(low, high, frac))
            case PresenceMask():
                x = self._read(name, sources[0]).out
                self.operations[name] = Mask(name, sources[0], sources[1], layer.index, x)
            case SumOfSquares():
                self._read(name, sources[0])
                if layer.out is None:
                    raise UnsupportedError(f"layer {name!r}: score type must be stated; set out='ap_ufixed<...>'")
                self.operations[name] = SumOfSquaresOperation(name, sources[0], FixedPoint.parse(layer.out))
            case _:
                kind = type(layer).__name__
                remedy = _REMEDIES.get(kind, "retrain without it")
                raise UnsupportedError(f"layer {name!r}: {kind} has no exact counterpart in the network; {remedy}")

    def _read(self, name: str, source: str) -> Operation:
        if source in self.pending:
            raise UnsupportedError(
                f"layer {name!r}: reads {source!r} before it is quantised; let a QActivation(quantized_bits) follow it"
            )
        return self.operations[source]

    def _input(self, layer: Any) -> None:
        low = np.array([c.low for c in layer.columns])
        high = np.array([c.high for c in layer.columns])
        if self.trigger is None or self.operations:
            raise UnsupportedError(f"layer {layer.name!r}: TriggerScaling must come first, once")
        names = tuple(c.name for c in layer.columns)
        kind = FixedPoint.holding(min(int(low.min()), -1), int(high.max()), 0)
        self.operations[self.trigger] = Input(self.trigger, names, low, high, kind)

    def _dense(self, name: str, layer: Any, out: FixedPoint) -> None:
        source = _sources(layer)[0]
        self._read(name, source)
        weights = layer.get_weights()
        if not layer.use_bias:
            raise UnsupportedError(f"layer {layer.name!r}: use_bias must be True; set it and retrain")
        weight, weight_type = _quantised(layer.name, "kernel_quantizer", layer.kernel_quantizer_internal, weights[0])
        bias, bias_type = _quantised(layer.name, "bias_quantizer", layer.bias_quantizer_internal, weights[1])
        self.operations[name] = Dense(name, source, weight, weight_type, bias, bias_type, out)


def _sources(layer: Any) -> tuple[str, ...]:
    """Names of the layers that `layer` reads."""
    if len(layer.inbound_nodes) != 1:
        raise UnsupportedError(f"layer {layer.name!r}: must be used once, not {len(layer.inbound_nodes)} times")
    return tuple(tensor._keras_history.layer.name for tensor in layer.inbound_nodes[0].keras_inputs)


def activation_type(name: str, quantiser: Any) -> FixedPoint:
    """Type whose `cast` equals the quantiser.

    `quantized_bits` rounds half to even and saturates; so does `quantized_relu`, whose unsigned type turns
    negative values to 0.

    Raises
    ------
    UnsupportedError
        If the quantiser has no such type; the text names layer, quantiser and remedy.
    """
    if isinstance(quantiser, str):
        quantiser = qkeras.get_quantizer(quantiser)
    match quantiser:
        case qkeras.quantized_bits():
            return _bits_type(name, quantiser)
        case qkeras.quantized_relu():
            _require(name, quantiser, "use_sigmoid", 0)
            _require(name, quantiser, "negative_slope", 0)
            _require(name, quantiser, "use_stochastic_rounding", False)
            _require(name, quantiser, "relu_upper_bound", None)
            bits, integer = int(quantiser.bits), int(quantiser.integer)
            return FixedPoint(bits, bits - integer, False, "RND_CONV", "SAT")
        case _:
            raise UnsupportedError(
                f"layer {name!r}: quantiser must be quantized_bits or quantized_relu, not {_called(quantiser)}; "
                "replace it and retrain"
            )


def _bits_type(name: str, quantiser: Any) -> FixedPoint:
    alpha = quantiser.alpha
    if isinstance(alpha, str) or alpha is None or np.any(np.asarray(alpha) != 1):
        origin = " (QKeras makes 'auto_po2' of a kernel's alpha=None)" if str(alpha) == "auto_po2" else ""
        raise UnsupportedError(
            f"layer {name!r}: quantized_bits alpha must be 1, not {alpha!r}; set alpha=1 and retrain{origin}"
        )
    _require(name, quantiser, "use_stochastic_rounding", False)
    bits, integer, signed = int(quantiser.bits), int(quantiser.integer), bool(quantiser.keep_negative)
    overflow = "SAT_SYM" if signed and quantiser.symmetric else "SAT"
    return FixedPoint(bits, bits - signed - integer, signed, "RND_CONV", overflow)


def _quantised(name: str, role: str, quantiser: Any, values: Any) -> tuple[Raw, FixedPoint]:
    """Raw weights as the quantiser makes them, and their type."""
    if not isinstance(quantiser, qkeras.quantized_bits):
        raise UnsupportedError(
            f"layer {name!r}: {role} must be quantized_bits, not {_called(quantiser)}; use quantized_bits with alpha=1"
        )
    kind = _bits_type(name, quantiser)
    scaled = np.asarray(quantiser(values), np.float64) / kind.lsb
    raw = scaled.astype(np.int64)
    if not np.array_equal(raw, scaled) or raw.min() < kind.min_raw or raw.max() > kind.max_raw:
        raise UnsupportedError(f"layer {name!r}: {role} gives weights off the grid of {kind}; retrain with alpha=1")
    return raw, FixedPoint(kind.width, kind.frac, kind.signed)


def _require(name: str, quantiser: Any, option: str, value: Any) -> None:
    if getattr(quantiser, option) != value:
        raise UnsupportedError(
            f"layer {name!r}: {_called(quantiser)} {option} must be {value}, not {getattr(quantiser, option)}; "
            f"set {option}={value} and retrain"
        )


def _called(quantiser: Any) -> str:
    return "None" if quantiser is None else str(getattr(quantiser, "__name__", type(quantiser).__name__))


def keras_tracer(model: Any, network: Network) -> Callable[[Raw], dict[str, npt.NDArray[np.float64]]]:
    """Make a function of trigger integers that gives what Keras predicts for each operation.

    Parameters
    ----------
    model : keras.Model
        The model that `network` was converted from.
    network : Network

    Returns
    -------
    callable
        From int64 array, shape (n_events, n_columns), to values by operation name, each of shape (n_events, size).
    """
    names = [operation.name for operation in network.operations[1:]]
    every = keras.Model(model.input, [model.get_layer(name).output for name in names])

    def values(x: Raw) -> dict[str, npt.NDArray[np.float64]]:
        outputs = every.predict(x.astype(np.float32), batch_size=16384, verbose=0)
        return {name: np.asarray(value, np.float64) for name, value in zip(names, outputs, strict=True)}

    return values
