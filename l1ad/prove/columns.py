"""The first layer, exactly: operations whose element i depends on input column i alone, and sums of such elements.

The columns are independent of each other.  All values that an element of a column-wise operation takes are found by
sweeping every column through its range; the largest sum is the sum of the largest terms, and the inputs that give
those make up its witness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l1ad.emulate import reference
from l1ad.fixed import FixedPoint, Raw, cast
from l1ad.network import Integers, Network, aligned
from l1ad.network import exact as python_integers
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Lookup, Mask, Merge, Operation, reads
from l1ad.prove.casts import cast_integers, gather, sums

MAX_SWEEP = 1 << 24
"""Most numbers per operation in a sweep; columns of wider ranges are left to interval arithmetic."""


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """Column-wise operations, swept.

    Parameters
    ----------
    low, high : int64 array, shape (n_columns,)
        The ranges swept.
    values : dict of str to int64 array, shape (n_steps, n_columns)
        Results of the column-wise operations by name; those of the input are what is swept.
    before : dict of str to (int64 array, shape (n_steps, n_columns))
        The exact integers before the cast, of all but the input.
    """

    low: Raw
    high: Raw
    values: dict[str, Raw]
    before: dict[str, Raw]

    def cover(self, operation: Operation) -> bool:
        """Whether the ranges of `operation` are found exactly here."""
        sourced = bool(reads(operation)) and all(source in self.values for source in reads(operation))
        return operation.name in self.values or (sourced and isinstance(operation, Dense | Convolution | Dot))

    def background(self) -> Raw:
        """An event of zeros, or what is next to zero in a column's range."""
        nearest: Raw = np.clip(0, self.low, self.high)
        return nearest

    def events(self, name: str, rows: Raw) -> Raw:
        """One event for each column: `rows` of the sweep of the operation in that column, else `background`."""
        found = np.tile(self.background(), (len(rows), 1))
        np.fill_diagonal(found, np.take_along_axis(self.values[name], rows[None], axis=0)[0])
        return found


def sweep(network: Network, low: Raw, high: Raw) -> Columns:
    """Take every column of the input through its range, all at once, as far as operations are column-wise."""
    steps = int((high - low).max()) + 1
    columns = Columns(low, high, {}, {})
    if steps * len(low) > MAX_SWEEP:
        return columns
    columns.values[network.input.name] = np.minimum(low + np.arange(steps)[:, None], high)
    for operation in network.operations[1:]:
        elementwise = isinstance(operation, Affine | Cast | Lookup | Merge) or (
            isinstance(operation, Mask) and np.array_equal(operation.index, np.arange(len(low)))
        )
        if elementwise and all(source in columns.values for source in reads(operation)):
            exact, frac = reference.exact(operation, network, columns.values)
            columns.before[operation.name] = exact
            columns.values[operation.name] = cast(exact, frac, operation.out)
    return columns


@dataclass(frozen=True, eq=False, slots=True)
class Ends:
    """Smallest and largest terms of sums, and the steps of the sweep that give them.

    Parameters
    ----------
    low, high : object array, shape (windows, n, filters)
        With as many fractional bits as the sums have.
    low_step, high_step : int64 array, shape (windows, n, filters)
    windows : int64 array, shape (windows, n)
        Column that each term depends on; -1 for none.
    """

    low: Integers
    high: Integers
    low_step: Raw
    high_step: Raw
    windows: Raw


def term_ends(operation: Dense | Convolution | Dot, network: Network, columns: Columns) -> Ends:
    """Terms of sums over column-wise operations, cast to the type of the products if there is one."""
    if isinstance(operation, Dot):
        return _dot_ends(operation, network, columns)
    parts = sums(operation, network)
    seen = columns.values[operation.x]
    if operation.product is not None and not _monotone(operation.product):
        return _enumerated(operation.product, parts.factor, parts.windows, parts.frac, seen)
    rising = parts.factor >= 0
    steps = [gather(pick, parts.windows)[..., None] for pick in (seen.argmin(axis=0), seen.argmax(axis=0))]
    ends = [gather(python_integers(end), parts.windows)[..., None] for end in (seen.min(axis=0), seen.max(axis=0))]
    low, high = (np.where(rising, ends[a], ends[1 - a]) * parts.factor for a in (0, 1))
    if operation.product is not None:
        low, high = (cast_integers(end, parts.frac, operation.product) for end in (low, high))
    low_step, high_step = (np.where(rising, steps[a], steps[1 - a]) for a in (0, 1))
    return Ends(low, high, low_step, high_step, parts.windows)


def _monotone(to: FixedPoint) -> bool:
    return to.overflow in ("SAT", "SAT_SYM")


def _dot_ends(operation: Dot, network: Network, columns: Columns) -> Ends:
    exact = columns.values[operation.x] * columns.values[operation.y]
    if operation.product is not None:
        exact = cast(exact, aligned(operation, network), operation.product)
    windows = np.arange(exact.shape[1])[None]
    low, high = (python_integers(end)[None, :, None] for end in (exact.min(axis=0), exact.max(axis=0)))
    return Ends(low, high, exact.argmin(axis=0)[None, :, None], exact.argmax(axis=0)[None, :, None], windows)


def _enumerated(product: FixedPoint, factor: Integers, windows: Raw, frac: int, seen: Raw) -> Ends:
    """Terms in a type that may wrap: over every value of every column."""
    shape = (*windows.shape, factor.shape[1])
    low, high = np.zeros(shape, object), np.zeros(shape, object)
    low_step, high_step = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    distinct = [np.unique(column, return_index=True) for column in seen.T]
    for k, weights in enumerate(factor):
        for column in np.unique(windows[:, k][windows[:, k] >= 0]):
            values, steps = distinct[column]
            here = windows[:, k] == column
            products = cast_integers(python_integers(values)[:, None] * weights, frac, product)
            low[here, k], high[here, k] = products.min(axis=0), products.max(axis=0)
            low_step[here, k], high_step[here, k] = steps[products.argmin(axis=0)], steps[products.argmax(axis=0)]
    return Ends(low, high, low_step, high_step, windows)


def _together(operation: Operation, columns: Columns, trigger: str) -> list[Raw]:
    """Two events that give every term, before it is cast, its ends: each depends on one column."""
    seen = columns.values[reads(operation)[0]]
    if isinstance(operation, Dot):
        seen = seen * columns.values[operation.y]
    picks = (seen.argmin(axis=0), seen.argmax(axis=0))
    return [np.take_along_axis(columns.values[trigger], pick[None], axis=0)[0] for pick in picks]


def extreme_events(operation: Operation, network: Network, columns: Columns) -> Raw:
    """Witnesses by construction: events that give each element of `operation`, where covered, and each term its ends.

    Returns
    -------
    int64 array, shape (n_events, n_columns)
    """
    trigger = network.input.name
    if operation.name in columns.before:
        before = columns.before[operation.name]
        return np.vstack([columns.events(trigger, pick) for pick in (before.argmin(axis=0), before.argmax(axis=0))])
    ends = term_ends(operation, network, columns)  # type: ignore[arg-type]
    matters = (ends.low != ends.high) & (ends.windows >= 0)[..., None]
    found = _together(operation, columns, trigger)
    for steps in (ends.low_step, ends.high_step):
        for window, step, counts in zip(ends.windows, steps, matters, strict=True):
            for chosen, counted in zip(step.T, counts.T, strict=True):
                event = columns.background()
                which = window[counted]
                event[which] = columns.values[trigger][chosen[counted], which]
                found.append(event)
    return np.array(found)
