"""NumPy interpreter of a `Network`: the living definition of every operation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from l1ad.errors import UnsupportedError
from l1ad.fixed import Raw, cast
from l1ad.network import Dense, Input, Mask, Network, Operation, Rescale, Subtract, SumOfSquares, aligned


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
        exact, frac = _exact(operation, network, values)
        values[operation.name] = cast(exact, frac, operation.out)
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


def _exact(operation: Operation, network: Network, v: Mapping[str, Raw]) -> tuple[Raw, int]:
    """Exact integers before the cast, and their fractional bits."""
    match operation:
        case Rescale(x=x, offset=offset, shift=shift):
            return (v[x] - offset) << (shift.max() - shift), aligned(operation, network)
        case Dense(x=x, weight=weight, weight_type=weight_type, bias=bias, bias_type=bias_type):
            frac = aligned(operation, network)
            products = (v[x] @ weight) << (frac - network[x].out.frac - weight_type.frac)
            return products + (bias << (frac - bias_type.frac)), frac
        case Subtract(x=x, y=y):
            frac = aligned(operation, network)
            return (v[x] << (frac - network[x].out.frac)) - (v[y] << (frac - network[y].out.frac)), frac
        case Mask(x=x, by=by, index=index):
            return np.where(v[by][:, index] != 0, v[x], 0), network[x].out.frac
        case SumOfSquares(x=x):
            return (v[x] ** 2).sum(axis=1, keepdims=True), 2 * network[x].out.frac
        case Input() | _:
            raise UnsupportedError(f"reference emulator does not implement {type(operation).__name__}")
