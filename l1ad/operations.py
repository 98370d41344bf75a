"""The operations of a quantised network, and their meaning: the specification of l1ad's integer networks.

A `network.Network` is a tuple of operations.  Each has a `name`, the names of the operations it reads, and
`out`, the `FixedPoint` type of its elements.  The first is the only `Input`; the last has one element, the score.
An operation computes the formula below *exactly*, in integers, and ends in one `fixed.cast` to `out`; where
`product` is a type, each term of the sum is cast to it first; nothing else loses bits.  With ``v(x)`` the value
``raw * 2**-frac`` of an element:

==================  ==========================================================================================
`Input`             the trigger's hardware integers, one per column, each within ``low .. high`` (raw); no cast
`Affine`            ``v(x_i) * v(scale_i) + v(bias_i)``
`Dense`             ``sum_i v(x_i) * v(weight_ij) + v(bias_j)``; the terms are the products and the bias
`Convolution`       the same, filter by filter, for each window of a (height, width, channels) image, padded by 0
`Merge`             ``v(x_i) + v(y_i)``, ``-``, ``*``, the larger or the smaller, by `how`
`Mask`              ``v(x_i)`` where ``raw(by[index_i]) != 0``, else 0: absent objects do not count
`Dot`               ``sum_i v(x_i) * v(y_i)``; of an operation with itself, the sum of squares
`Cast`              ``v(x_i)``
`Lookup`            ``table[raw(x_i) - lowest raw number of x's type]``, raw in `out`; no cast
==================  ==========================================================================================

There is no ReLU operation: a cast to an unsigned saturating type sends negative values to 0, which *is* ReLU
followed by quantisation.  An accumulator that wraps is the `out` of its sum, followed by a `Cast`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l1ad.fixed import FixedPoint, Raw

MERGES = ("add", "subtract", "multiply", "maximum", "minimum")


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    """Trigger integers.  `columns`: names; `low`, `high`: admissible raw range of each, shape (n,)."""

    name: str
    columns: tuple[str, ...]
    low: Raw
    high: Raw
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Affine:
    """``x * scale + bias``, element by element.  `scale`, `bias`: raw, shape (n,)."""

    name: str
    x: str
    scale: Raw
    scale_type: FixedPoint
    bias: Raw
    bias_type: FixedPoint
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Dense:
    """``x @ weight + bias``.  `weight`: raw, shape (n_in, n_out); `bias`: raw, shape (n_out,)."""

    name: str
    x: str
    weight: Raw
    weight_type: FixedPoint
    bias: Raw
    bias_type: FixedPoint
    product: FixedPoint | None
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Convolution:
    """Windows of an image times filters; elements are ordered by row, column, channel (or filter).

    `shape`: (height, width, channels) of `x`; `weight`: raw, shape (kernel height, kernel width, channels, filters);
    `bias`: raw, shape (filters,); `strides`: (down, right); `padding`: (top, bottom, left, right).  A convolution in
    one dimension has height 1.
    """

    name: str
    x: str
    shape: tuple[int, ...]
    weight: Raw
    weight_type: FixedPoint
    bias: Raw
    bias_type: FixedPoint
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    product: FixedPoint | None
    out: FixedPoint

    def windows(self) -> Raw:
        """Element of `x` that each weight of each window meets; -1 in the padding.

        Returns
        -------
        int64 array, shape (windows, kernel height * kernel width * channels)
        """
        height, width, channels = self.shape
        top, bottom, left, right = self.padding
        image = np.arange(height * width * channels, dtype=np.int64).reshape(height, width, channels)
        padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=-1)
        every = np.lib.stride_tricks.sliding_window_view(padded, self.weight.shape[:2], axis=(0, 1))
        chosen = every[:: self.strides[0], :: self.strides[1]]  # (rows, columns, channels, kernel height, width)
        return chosen.transpose(0, 1, 3, 4, 2).reshape(-1, int(np.prod(self.weight.shape[:3])))


@dataclass(frozen=True, eq=False, slots=True)
class Merge:
    """``x`` and ``y``, element by element; `how`: one of `MERGES`."""

    name: str
    how: str
    x: str
    y: str
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Mask:
    """``x_i`` where element ``index_i`` of `by` is not 0, else 0.  `index`: integers, shape (n,)."""

    name: str
    x: str
    by: str
    index: Raw
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Dot:
    """``sum_i x_i * y_i``, one element."""

    name: str
    x: str
    y: str
    product: FixedPoint | None
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Cast:
    """``x`` in another type."""

    name: str
    x: str
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Lookup:
    """A table of one entry for each raw number of the type of `x`, lowest first.  `table`: raw in `out`."""

    name: str
    x: str
    table: Raw
    out: FixedPoint


Operation = Input | Affine | Dense | Convolution | Merge | Mask | Dot | Cast | Lookup
KINDS = {kind.__name__: kind for kind in (Input, Affine, Dense, Convolution, Merge, Mask, Dot, Cast, Lookup)}


def reads(operation: Operation) -> tuple[str, ...]:
    """Names of the operations that `operation` reads."""
    return tuple(getattr(operation, key) for key in ("x", "y", "by") if hasattr(operation, key))


def rescale(name: str, x: str, source: FixedPoint, offset: Raw, shift: Raw, out: FixedPoint) -> Affine:
    """``(x - offset) * 2**-shift``.

    Parameters
    ----------
    source : FixedPoint
        Type of `x`, and of the raw numbers `offset`.
    offset, shift : int64 array, shape (n,)
        A negative shift multiplies.

    Raises
    ------
    ValueError
        If the factors or the constants need more than 63 bits; the text names the operation.
    """
    most = int(shift.max())
    scale = [1 << (most - s) for s in shift.tolist()]
    bias = [-o * factor for o, factor in zip(offset.tolist(), scale, strict=False)]  # `verify` compares the shapes
    try:
        scale_type = FixedPoint.holding(0, max(scale), most)
        bias_type = FixedPoint.holding(min(bias), max(bias), source.frac + most)
    except ValueError as error:
        raise ValueError(f"operation {name!r}: shifts {shift.tolist()} are too far apart or large: {error}") from None
    return Affine(name, x, np.array(scale), scale_type, np.array(bias), bias_type, out)
