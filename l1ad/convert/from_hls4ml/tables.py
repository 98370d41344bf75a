"""Tables of activations, filled as hls4ml fills them: in float32, then cast to the table's type.

Source: ``nnet_activation.h`` of hls4ml 1.3.0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l1ad.fixed import FixedPoint, Raw, cast, from_float

REACH = {"sigmoid": 8, "tanh": 4}
"""A table covers minus to plus so much."""


def address_type(function: str, size: int) -> FixedPoint:
    """Type whose raw numbers are the addresses of a table of `size` entries: a cast to it finds the entry.

    hls4ml scales the input so that the table covers its reach, truncates towards zero, and clips.

    Raises
    ------
    ValueError
        If `size` is no power of 2.
    """
    bits = size.bit_length() - 1
    if size != 1 << bits or bits < 1:
        raise ValueError(f"table_size must be a power of 2, not {size}")
    return FixedPoint(bits, bits - 1 - (REACH[function].bit_length() - 1), True, "TRN_ZERO", "SAT")


def activation_table(function: str, size: int, table_type: FixedPoint, out: FixedPoint) -> Raw:
    """Raw results in `out` for each address, lowest first, shape (size,).

    Parameters
    ----------
    function : str
        One of `REACH`.
    size : int
    table_type : FixedPoint
        Of the entries; each is cast to `out` when it is read.
    out : FixedPoint
    """
    return cast(from_float(_values(function, size), table_type), table_type.frac, out)


def doubtful(function: str, size: int, table_type: FixedPoint) -> npt.NDArray[np.bool_]:
    """Whether each entry may be another by the C library, since its float32 may err by 2 units; shape (size,).

    Zero and a half are exact in all of them.

    Source
    ------
    Manual of the GNU C library, "Errors in Math Functions": ``tanhf`` errs by up to 2 units.
    """
    y = _values(function, size)
    ends = [from_float(y + units * np.spacing(np.abs(y)), table_type) for units in (np.float32(-2), np.float32(2))]
    return np.asarray((ends[0] != ends[1]) & (y != 0) & (y != 0.5))


def _values(function: str, size: int) -> npt.NDArray[np.float32]:
    x = (2.0 * REACH[function] * (np.arange(size) - size / 2.0) / size).astype(np.float32).astype(np.float64)
    if function == "tanh":
        return np.tanh(x).astype(np.float32)
    return (1.0 / (np.float32(1) + np.exp(-x).astype(np.float32)).astype(np.float64)).astype(np.float32)


def top_bits(kind: FixedPoint, size: int) -> FixedPoint:
    """Type of the top bits of `kind` that address a table of `size` entries; a cast to it slices them.

    Raises
    ------
    ValueError
        If `size` is no power of 2, or needs more bits than there are.
    """
    bits = size.bit_length() - 1
    if size != 1 << bits or not 1 <= bits <= kind.width:
        raise ValueError(f"table size must be a power of 2 of at most {kind.width} bits, not {size}")
    return FixedPoint(bits, kind.frac - kind.width + bits, kind.signed)


def softmax_table(function: str, address: FixedPoint, scale: float, table_type: FixedPoint, out: FixedPoint) -> Raw:
    """Raw results in `out` of ``exp(scale * x)`` or of ``1 / x`` for each address, lowest first.

    Parameters
    ----------
    function : str
        ``"exp"`` or ``"inverse"``.
    address : FixedPoint
        From `top_bits`; x is its value.
    scale : float
        Of exponents.
    table_type : FixedPoint
        Of the entries; each is cast to `out` when it is read.
    out : FixedPoint
    """
    x = np.arange(address.min_raw, address.max_raw + 1).astype(np.float32) * np.float32(address.lsb)
    with np.errstate(divide="ignore", over="ignore"):
        y = np.exp((x * np.float32(scale)).astype(np.float64)).astype(np.float32) if function == "exp" else 1 / x
    # what is this large ends in 0 bits in a type of so few, and infinity does too
    large = ~(np.abs(y) < 2.0 ** (60 - table_type.frac)) & (table_type.width <= 36)
    most = np.where(y > 0, table_type.max_raw, table_type.min_raw) if table_type.overflow in ("SAT", "SAT_SYM") else 0
    raw = np.where(large, most, from_float(np.where(large, 0, y), table_type))
    return cast(raw, table_type.frac, out)
