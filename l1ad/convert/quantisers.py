"""Quantisers of QKeras as what a network has: types, tables, and integer weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.errors import UnsupportedError
from l1ad.fixed import MAX_BITS, FixedPoint, Raw
from l1ad.models.keras import qkeras, tf

WEIGHT_BITS = 24
"""Widest weights: the values of a float32 scale need more, and no hardware would want them."""
SIGN = FixedPoint(1, 0, True, "TRN", "SAT")
"""A cast to it makes -1 of negative values and 0 of the others."""

_OF_WEIGHTS = (
    qkeras.quantized_bits,
    qkeras.quantized_relu,
    qkeras.quantized_po2,
    qkeras.quantized_relu_po2,
    qkeras.ternary,
    qkeras.binary,
)


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
    _deterministic(name, quantiser)
    kind = type(quantiser)
    if kind is qkeras.quantized_relu:
        _require(name, quantiser, "use_sigmoid", 0)
        _require(name, quantiser, "negative_slope", 0)
        _require(name, quantiser, "relu_upper_bound", None)
        return FixedPoint(quantiser.bits, quantiser.bits - quantiser.integer, False, "RND_CONV", "SAT")
    if kind is qkeras.quantized_bits and not is_sign(quantiser):
        if quantiser.alpha is not None:  # which is 1, but for kernels
            _require(name, quantiser, "alpha", 1)
        return _bits_type(quantiser)
    raise UnsupportedError(
        f"layer {name!r}: quantiser must be quantized_bits of 2 or more bits or quantized_relu, not "
        f"{_called(quantiser)}; replace it and retrain"
    )


def is_sign(quantiser: Any) -> bool:
    """Whether the quantiser looks at the sign only."""
    one_bit = isinstance(quantiser, qkeras.quantized_bits) and quantiser.bits - bool(quantiser.keep_negative) < 1
    return type(quantiser) is qkeras.binary or one_bit


def table(name: str, quantiser: Any, kind: FixedPoint) -> tuple[Raw, FixedPoint]:
    """What the quantiser makes of each number of the type `kind`, lowest first: raw numbers, and their type."""
    _deterministic(name, quantiser)
    if isinstance(quantiser.alpha, str):
        _require(name, quantiser, "alpha", 1)
    values = np.arange(kind.min_raw, kind.max_raw + 1) * kind.lsb
    return _integers(name, "activation", quantiser, quantiser(tf.constant(values, tf.float32)))


def weights(name: str, role: str, quantiser: Any, values: npt.NDArray[Any]) -> tuple[Raw, FixedPoint]:
    """Raw weights as the quantiser makes them, and their type.

    That is the type of a `quantized_bits` without scale.  Else it is the narrowest that holds the weights: they are
    what they are, whatever threshold, scale or power of 2 made them.

    Raises
    ------
    UnsupportedError
        If the weights are not quantised, or need more than `WEIGHT_BITS` bits.
    """
    if quantiser is None and role == "bias_quantizer" and not values.any():
        return np.zeros(values.shape, np.int64), FixedPoint.holding(0, 0, 0)
    if type(quantiser) not in _OF_WEIGHTS:
        raise UnsupportedError(
            f"layer {name!r}: {role} must be a quantiser of bits or powers of 2, not {_called(quantiser)}; "
            "use quantized_bits with alpha=1 and retrain"
        )
    _deterministic(name, quantiser)
    if isinstance(getattr(quantiser, "alpha", None), str) and quantiser.alpha != "auto_po2":
        _require(name, quantiser, "alpha", 1)  # TensorFlow computes 'auto' to a bit more or less, as it likes
    raw, kind = _integers(name, role, quantiser, quantiser(tf.constant(values)))
    if type(quantiser) is not qkeras.quantized_bits or isinstance(quantiser.alpha, str):
        return raw, kind
    stated = _bits_type(quantiser)
    up = stated.frac - kind.frac
    if up < 0 or (raw << up).min() < stated.min_raw or (raw << up).max() > stated.max_raw:
        return raw, kind  # of one bit, or of another alpha
    return raw << up, stated.bare


def _bits_type(quantiser: Any) -> FixedPoint:
    bits, integer, signed = int(quantiser.bits), int(quantiser.integer), bool(quantiser.keep_negative)
    overflow = "SAT_SYM" if signed and quantiser.symmetric else "SAT"
    return FixedPoint(bits, bits - signed - integer, signed, "RND_CONV", overflow)


def _integers(name: str, role: str, quantiser: Any, values: Any) -> tuple[Raw, FixedPoint]:
    """Float32 numbers, all of them dyadic, in units of the last bit that any of them needs."""
    exact = np.asarray(values, np.float64)
    mantissa, exponent = np.frexp(exact[np.isfinite(exact) & (exact != 0)])
    whole = (mantissa * 2.0**24).astype(np.int64)
    frac = int((24 - exponent - np.log2(whole & -whole)).max()) if whole.size else 0
    scaled = exact * 2.0**frac
    if abs(frac) <= MAX_BITS and np.all(np.abs(scaled) < 1 << WEIGHT_BITS):  # which infinity and NaN are not
        raw = scaled.astype(np.int64)
        kind = FixedPoint.holding(int(raw.min()), int(raw.max()), frac)
        if kind.width <= WEIGHT_BITS:
            return raw, kind
    remedy = "set alpha=1" if isinstance(getattr(quantiser, "alpha", None), str) else "use a quantiser of fewer bits"
    raise UnsupportedError(
        f"layer {name!r}: {role} {quantiser} makes numbers of more than {WEIGHT_BITS} bits; {remedy} and retrain"
    )


def _deterministic(name: str, quantiser: Any) -> None:
    """Refuse what random numbers, or a training that goes on, may change."""
    for option, value in (("use_stochastic_rounding", False), ("use_variables", False), ("qnoise_factor", 1)):
        if hasattr(quantiser, option):
            _require(name, quantiser, option, value)


def _require(name: str, quantiser: Any, option: str, value: Any) -> None:
    found = getattr(quantiser, option)
    if np.any(np.asarray(found) != value):
        raise UnsupportedError(
            f"layer {name!r}: {_called(quantiser)} {option} must be {value}, not {found!r}; "
            f"set {option}={value} and retrain"
        )


def _called(quantiser: Any) -> str:
    return "None" if quantiser is None else str(getattr(quantiser, "__name__", type(quantiser).__name__))
