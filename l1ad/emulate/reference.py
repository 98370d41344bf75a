"""NumPy interpreter of a `Network`: the living definition of every operation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from l1ad.errors import UnsupportedError
from l1ad.fixed import Raw, cast
from l1ad.network import Network, aligned
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, Operation


def emulate(network: Network, x: npt.ArrayLike) -> Raw:
    """Anomaly score of each event.

    Parameters
    ----------
    network : Network
    x : integer array_like, shape (n_events, n_columns)
        Raw trigger integers, in the order of ``network.input.columns``.

    Returns
    -------
    int64 array, shape (n_events,)
        Raw score, in the type ``network.score.out``.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of an integer type, of another shape, or out of a column's range; the text names the first
        offending event and column.
    """
    return trace(network, x)[network.score.name][:, 0]


def trace(network: Network, x: npt.ArrayLike) -> dict[str, Raw]:
    """Raw result of every operation, by name; each of shape (n_events, size).  See `emulate`."""
    values: dict[str, Raw] = {network.input.name: admissible(network, x)}
    for operation in network.operations[1:]:
        integers, frac = exact(operation, network, values)
        values[operation.name] = cast(integers, frac, operation.out)
    return values


def admissible(network: Network, x: npt.ArrayLike) -> Raw:
    """`x` as int64 once it is known to be a valid input of `network`; raises as `emulate` does."""
    raw = np.asarray(x)
    columns = network.input.columns
    if raw.dtype.kind not in "iu":
        raise TypeError(f"network input must be hardware integers, not dtype {raw.dtype}; quantise the events first")
    if raw.ndim != 2 or raw.shape[1] != len(columns):
        raise ValueError(f"network input must have shape (n_events, {len(columns)}), not {raw.shape}")
    outside = (raw < network.input.low) | (raw > network.input.high)
    if outside.any():
        event, column = (int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"network input must lie in its hardware range: event {event}, column {columns[column]!r} is "
            f"{raw[event, column]}, outside {network.input.low[column]} .. {network.input.high[column]} "
            f"({int(outside.any(1).sum())} such events)"
        )
    return raw.astype(np.int64)


def exact(operation: Operation, network: Network, v: Mapping[str, Raw]) -> tuple[Raw, int]:
    """Exact integers before the cast to the result, and their fractional bits; `v`: raw operands, as in `trace`."""
    match operation:
        case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
            frac = aligned(operation, network)
            products = (v[x] * scale) << (frac - network[x].out.frac - scale_type.frac)
            return products + (bias << (frac - bias_type.frac)), frac
        case Dense(x=x, weight=weight):
            return _sums(operation, network, v[x], weight)
        case Convolution(x=x, weight=weight):
            windows = operation.windows()
            padded = np.pad(v[x], ((0, 0), (0, 1)))
            seen = padded[:, windows].reshape(-1, windows.shape[1])
            sums, frac = _sums(operation, network, seen, weight.reshape(windows.shape[1], -1))
            return sums.reshape(len(v[x]), len(windows) * sums.shape[1]), frac
        case Merge(how=how, x=x, y=y):
            frac = aligned(operation, network)
            if how == "multiply":
                return v[x] * v[y], frac
            left, right = (v[name] << (frac - network[name].out.frac) for name in (x, y))
            return _MERGES[how](left, right), frac
        case Mask(x=x, by=by, index=index):
            return np.where(v[by][:, index] != 0, v[x], 0), network[x].out.frac
        case Dot(x=x, y=y, product=product):
            products, frac = v[x] * v[y], aligned(operation, network)
            if product is not None:
                products, frac = cast(products, frac, product), product.frac
            return products.sum(axis=1, keepdims=True), frac
        case Cast(x=x):
            return v[x], network[x].out.frac
        case Lookup(x=x, table=table, out=out):
            return table[v[x] - network[x].out.min_raw], out.frac
        case Input() | _:
            raise UnsupportedError(f"reference emulator does not implement {type(operation).__name__}")


_MERGES = {"add": np.add, "subtract": np.subtract, "maximum": np.maximum, "minimum": np.minimum}


def _sums(operation: Dense | Convolution, network: Network, x: Raw, weight: Raw) -> tuple[Raw, int]:
    """Sums of `x`, shape (..., n), times `weight`, shape (n, m), and the bias."""
    frac = aligned(operation, network)
    up = frac - network[operation.x].out.frac - operation.weight_type.frac
    bias = operation.bias << (frac - operation.bias_type.frac)
    product = operation.product
    if product is None:
        return ((x @ weight) << up) + bias, frac
    sums = [cast((x * column) << up, frac, product).sum(axis=1) for column in weight.T]
    return np.stack(sums, axis=1) + cast(bias, frac, product), product.frac
