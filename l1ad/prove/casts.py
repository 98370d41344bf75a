"""Where a network casts: the result of every operation, and every product that is cast before it is summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from typing import cast as typed

import numpy as np

from l1ad.emulate import reference
from l1ad.fixed import MAX_BITS, FixedPoint, Raw, cast
from l1ad.network import Integers, Network, aligned
from l1ad.network import exact as python_integers
from l1ad.operations import Convolution, Dense, Dot, Input, Lookup, Operation

RESULT, PRODUCT = "result", "product"


@dataclass(frozen=True)
class Site:
    """A cast of `operation`.  Its elements are those of the result, or the terms of all sums; see `terms`."""

    operation: Operation
    cast: str

    @property
    def type(self) -> FixedPoint:
        """What is cast to."""
        kind = self.operation.out if self.cast == RESULT else typed(Dense, self.operation).product
        return typed(FixedPoint, kind)

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest raw number that overflows not.

        A saturating cast to an unsigned type sends negative numbers to 0, which is how a ReLU is written: no overflow.
        """
        lowest = self.type.min_raw if self.type.signed or self.type.overflow == "WRAP" else -(1 << MAX_BITS)
        return lowest, self.type.max_raw

    def before(self, network: Network, values: Mapping[str, Raw]) -> tuple[Raw, int]:
        """Exact integers before the cast, shape (n_events, n_elements), and their fractional bits."""
        if self.cast == PRODUCT:
            return terms(typed(Dense, self.operation), network, values)
        return reference.exact(self.operation, network, values)


def sites(network: Network) -> tuple[Site, ...]:
    """Every cast, in the order of the network; inputs and tables are not cast."""
    return tuple(
        Site(operation, what)
        for operation in network.operations
        if not isinstance(operation, Input | Lookup)
        for what in ((PRODUCT, RESULT) if getattr(operation, "product", None) is not None else (RESULT,))
    )


@dataclass(frozen=True, eq=False, slots=True)
class Sums:
    """A `Dense` or `Convolution` as windows times a matrix, in integers with `frac` fractional bits.

    Parameters
    ----------
    windows : int64 array, shape (windows, n)
        Element of the operand that each row of `factor` meets; -1 is a zero.
    factor : object array, shape (n, filters)
    constant : object array, shape (filters,)
    frac : int
    """

    windows: Raw
    factor: Integers
    constant: Integers
    frac: int


def sums(operation: Dense | Convolution, network: Network) -> Sums:
    """`operation` as windows times a matrix."""
    frac = aligned(operation, network)
    if isinstance(operation, Convolution):
        windows = operation.windows()
    else:
        windows = np.arange(len(operation.weight), dtype=np.int64)[None]
    factor = python_integers(operation.weight.reshape(windows.shape[1], -1))
    up = frac - network[operation.x].out.frac - operation.weight_type.frac
    constant = python_integers(operation.bias) * (1 << (frac - operation.bias_type.frac))
    return Sums(windows, factor * (1 << up), constant, frac)


Numbers = TypeVar("Numbers", Raw, Integers)


def gather(elements: Numbers, windows: Raw) -> Numbers:
    """Elements, shape (..., size), that each window meets, shape (..., windows, n); zero where it meets none."""
    padded = np.concatenate([elements, np.zeros_like(elements[..., :1])], axis=-1)
    return typed(Numbers, padded[..., windows])


def terms(operation: Dense | Convolution | Dot, network: Network, values: Mapping[str, Raw]) -> tuple[Raw, int]:
    """Every term of every sum, exactly, and their fractional bits.

    Returns
    -------
    int64 array, shape (n_events, n_terms)
        Of a `Dot`, the products.  Else ordered by window, element of the window, filter; then the biases.
    """
    frac = aligned(operation, network)
    if isinstance(operation, Dot):
        return values[operation.x] * values[operation.y], frac
    parts = sums(operation, network)
    seen = gather(values[operation.x], parts.windows)
    up = frac - network[operation.x].out.frac - operation.weight_type.frac
    products = (seen[..., None] * operation.weight.reshape(parts.factor.shape)) << up
    n_events = len(seen)
    biases = np.broadcast_to(parts.constant.astype(np.int64), (n_events, len(parts.constant)))
    return np.concatenate([products.reshape(n_events, -1), biases], axis=1), frac


def cast_integers(exact: Integers, frac: int, to: FixedPoint) -> Integers:
    """`fixed.cast` of Python integers, each of which fits an int64."""
    return python_integers(cast(exact.astype(np.int64), frac, to))


def rounded(exact: Raw | Integers, frac: int, to: FixedPoint) -> Raw:
    """What the cast to `to` would give if `to` were wide enough for everything."""
    return cast(exact.astype(np.int64), frac, to.unbounded)
