"""Raw against raw: whether two executors of one network agree, and where they first differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.errors import MismatchError
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.operations import Convolution, Dense

FLOAT32_BITS = 24
"""Integers of up to so many bits are exact in float32, and so are sums that stay below."""


@dataclass(frozen=True)
class Difference:
    """The first offending event, and the first operation that differs there.

    Parameters
    ----------
    event, element : int
    operation : str
    type : str
        Of the operation's result.
    left, right : float
        Raw results; not integers if an executor is off the type's grid.
    sample : str
        What the event number counts in; may be empty.
    """

    event: int
    operation: str
    element: int
    type: str
    left: float
    right: float
    sample: str = ""


@dataclass(frozen=True)
class Agreement:
    """Outcome of a comparison, event by event.

    Parameters
    ----------
    left, right : str
        The executors.
    n_events, n_mismatches : int
        An event in which any compared operation differs is a mismatch.
    operations : int
        Number of operations compared.
    first : Difference or None
    """

    left: str
    right: str
    n_events: int
    n_mismatches: int
    operations: int
    first: Difference | None

    def __str__(self) -> str:
        text = f"{self.left} = {self.right}: {self.n_mismatches} mismatches in {self.n_events} events"
        if self.first is None:
            return f"{text} ({self.operations} operations each)"
        d = self.first
        where = f"event {d.event} of {d.sample}" if d.sample else f"event {d.event}"
        return (
            f"{text}; first at {where}, operation {d.operation!r}, element {d.element}: raw {d.left:.17g} "
            f"against {d.right:.17g} in {d.type}"
        )

    def require(self) -> Agreement:
        """Return self, or raise MismatchError if anything differed."""
        if self.n_mismatches:
            raise MismatchError(str(self))
        return self


def agree(
    network: Network,
    left: str,
    a: Mapping[str, npt.NDArray[Any]],
    right: str,
    b: Mapping[str, npt.NDArray[Any]],
    *,
    sample: str = "",
    start: int = 0,
) -> Agreement:
    """Compare raw results by operation, with ``==``.

    Parameters
    ----------
    network : Network
    left, right : str
        Names of the executors.
    a, b : mapping of str to array, shape (n_events, size)
        Raw results by operation; the operations that both have are compared, in the network's order.
    sample : str
        Name of the events, for the report of a difference.
    start : int
        Number of the first event.

    Raises
    ------
    ValueError
        If there is nothing to compare, or shapes differ.
    """
    common = [operation.name for operation in network.operations if operation.name in a and operation.name in b]
    if network.score.name not in common or not len(a[network.score.name]):
        raise ValueError(f"{left} and {right} must both have scores of at least one event")
    n_events = len(a[network.score.name])
    wrong = np.zeros(n_events, bool)
    for name in common:
        if a[name].shape != b[name].shape:
            raise ValueError(f"operation {name!r}: shapes must be equal, not {a[name].shape} and {b[name].shape}")
        wrong |= (a[name] != b[name]).any(axis=1)
    first = None
    if wrong.any():
        event = int(np.argmax(wrong))
        name = next(name for name in common if (a[name][event] != b[name][event]).any())
        element = int(np.argmax(a[name][event] != b[name][event]))
        values = float(a[name][event, element]), float(b[name][event, element])
        first = Difference(start + event, name, element, str(network[name].out), *values, sample)
    return Agreement(left, right, n_events, int(wrong.sum()), len(common), first)


def merge(parts: list[Agreement]) -> Agreement:
    """One agreement out of several between the same executors."""
    one = parts[0]
    first = next((part.first for part in parts if part.first), None)
    n_events, n_mismatches = sum(p.n_events for p in parts), sum(p.n_mismatches for p in parts)
    return Agreement(one.left, one.right, n_events, n_mismatches, one.operations, first)


def raw_of(network: Network, values: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, npt.NDArray[np.float64]]:
    """Values as raw numbers, in float64: exact, because only the binary point moves."""
    return {name: value / network[name].out.lsb for name, value in values.items()}


def accumulator_bits(network: Network) -> dict[str, int]:
    """Bits, without sign, that bound every partial sum of each layer with weights, in any order."""
    return {
        o.name: network.flows[o.name].accumulator.width - network.flows[o.name].accumulator.signed
        for o in network.operations
        if isinstance(o, Dense | Convolution)
    }


def require_float32(network: Network) -> None:
    """Refuse a comparison with float32 executors whose own sums may round.

    Raises
    ------
    ValueError
        If a dense layer's sums may exceed 2**24 LSB; the text names it.
    """
    for name, bits in accumulator_bits(network).items():
        if bits > FLOAT32_BITS:
            raise ValueError(
                f"operation {name!r}: sums may need {bits} bits, more than the {FLOAT32_BITS} that float32 holds; "
                "Keras itself is then not exact: use fewer bits for weights or activations"
            )


def corners(network: Network) -> Raw:
    """Corner inputs: all columns at their lowest, zero, highest; each column alone at its lowest and highest.

    Returns
    -------
    int64 array, shape (3 + 4 * n_columns, n_columns)
    """
    low, high = network.input.low, network.input.high
    zero = np.clip(0, low, high)
    rows = [low, zero, high]
    for background, extreme in ((zero, low), (zero, high), (low, high), (high, low)):
        alone = np.tile(background, (len(low), 1))
        np.fill_diagonal(alone, extreme)
        rows.extend(alone)
    return np.array(rows)


def random_inputs(network: Network, n_events: int) -> Raw:
    """Corners, then random inputs: half of them uniform in each column's range, half mostly small as events are.

    The seed is fixed.

    Returns
    -------
    int64 array, shape (n_events + number of corners, n_columns)
    """
    chance, low, high = np.random.default_rng(0), network.input.low, network.input.high
    uniform = chance.integers(low, high, (n_events - n_events // 2, len(low)), endpoint=True)
    spread = np.clip(chance.exponential(0.05, (n_events // 2, len(low))) * (high - low), 0, 2.0**62).astype(np.int64)
    small = np.clip(np.where(chance.random(spread.shape) < 0.5, spread, -spread), low, high)
    return np.concatenate([corners(network), uniform, small])
