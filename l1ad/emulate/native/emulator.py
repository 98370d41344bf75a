"""The native emulator of one network."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.emulate.histogram import Histogram
from l1ad.emulate.native.library import SETS, available, kernel
from l1ad.emulate.native.plan import EVENTS, GROUP, Plan
from l1ad.emulate.native.structures import CHistogram, CSource
from l1ad.events.schema import InputColumn
from l1ad.events.units import to_codes
from l1ad.fixed import Raw
from l1ad.network import Network

Numbers = npt.NDArray[Any]
DWORD = 4 * EVENTS
"""Bytes of a dword of a block."""
LEAST = 16_384
"""Events for which a thread is worth its start."""


@dataclass(frozen=True)
class Source:
    """Where events lie: each column's array, address, bytes from event to event, type, see kernel.cpp, and unit."""

    columns: Sequence[Numbers] | Numbers
    start: Raw
    stride: Raw
    type: npt.NDArray[np.int32]
    events: int
    units: Sequence[InputColumn] | None


class Native:
    """A network, planned for an instruction set of this processor.

    Parameters
    ----------
    network : Network
    isa : str or None
        One of `available`; by default the best.

    Raises
    ------
    ToolNotFoundError, RuntimeError
        If there is no C++ compiler, or it fails.
    UnsupportedError
        If an intermediate needs more than 64 bits.
    ValueError
        If this processor lacks the instruction set.
    """

    def __init__(self, network: Network, isa: str | None = None) -> None:
        known = available()
        if isa is not None and isa not in known:
            raise ValueError(f"instruction set must be one of {', '.join(known)} on this processor, not {isa!r}")
        self.network, self.isa = network, isa or known[0]
        self.plan = Plan(network, SETS[self.isa][1])
        self._kernel = kernel(self.isa)

    def scores(
        self, x: npt.ArrayLike | Sequence[Numbers], threads: int = 1, units: Sequence[InputColumn] | None = None
    ) -> Raw:
        """Raw anomaly score of each event, in `threads` threads, on which nothing depends.

        Parameters
        ----------
        x : integer array_like, shape (n_events, n_columns), or a sequence of one array of shape (n_events,) a column
            Raw trigger integers of any type and layout; nothing is copied.
        units : sequence of InputColumn, optional
            Those of `l1ad.events.schema.input_columns`: `x` is then of floats, in GeV and radians, and each becomes the
            nearest code, as `l1ad.events.units.to_codes` has it.

        Returns
        -------
        int64 array, shape (n_events,)

        Raises
        ------
        TypeError, ValueError
            As `reference.emulate` and `to_codes`.
        """
        source = self._source(x, units)
        scores = np.empty(source.events, np.int64)
        self._each(threads, len(scores), lambda part: self._run(source, part, scores[part], None))
        return scores

    def fill(
        self,
        histogram: Histogram,
        x: npt.ArrayLike | Sequence[Numbers],
        category: npt.ArrayLike | None = None,
        weight: npt.ArrayLike | None = None,
        threads: int = 1,
        units: Sequence[InputColumn] | None = None,
    ) -> Histogram:
        """Count the scores of events, as `Histogram.fill` does, without storing them; returns the histogram.

        Raises
        ------
        TypeError, ValueError
            As `scores` and `Histogram.fill`; the histogram is then to be thrown away.
        """
        if histogram.digest != self.network.digest:
            raise ValueError(f"histogram must be of network {self.network.digest}, not of {histogram.digest}")
        source = self._source(x, units)
        numbers, weights = histogram.taken(source.events, category, weight)
        parts = [histogram] + [histogram.empty() for _ in range(threads - 1)]
        free = list(parts)

        def count(part: slice) -> None:
            mine = free.pop()
            to = CHistogram(mine.low, mine.shift, mine.counts.shape[1], mine.counts.ctypes.data)
            to.sums, to.squares, to.cubes = (a.ctypes.data for a in (mine.sums, mine.squares, mine.cubes))
            to.category = None if numbers is None else numbers[part].ctypes.data
            to.weight = None if weights is None else weights[part].ctypes.data
            self._run(source, part, None, to)
            free.append(mine)

        self._each(threads, source.events, count)
        for other in parts[1:]:
            histogram.add(other)
        return histogram

    def _source(self, x: npt.ArrayLike | Sequence[Numbers], units: Sequence[InputColumn] | None) -> Source:
        """Where the numbers of `x` lie."""
        names = self.network.input.columns
        given = x if isinstance(x, list | tuple) else ()
        columns = [column for column in given if isinstance(column, np.ndarray) and column.ndim == 1]
        if columns and len(columns) == len(given):
            lengths = {len(column) for column in columns}
            if len(columns) != len(names) or len(lengths) != 1:
                raise ValueError(
                    f"network input must have {len(names)} columns of one length, not {len(columns)} of "
                    f"{sorted(lengths)}"
                )
            columns = [_native(column) for column in columns]
            source = Source(
                columns,
                np.array([column.__array_interface__["data"][0] for column in columns], np.int64),
                np.array([column.strides[0] for column in columns], np.int64),
                np.array([_type(column.dtype) for column in columns], np.int32),
                len(columns[0]),
                units,
            )
        else:
            array = np.asarray(x)
            if array.ndim != 2 or array.shape[1] != len(names):
                raise ValueError(f"network input must have shape (n_events, {len(names)}), not {array.shape}")
            array = _native(array)
            start = array.ctypes.data + np.arange(len(names), dtype=np.int64) * array.strides[1]
            stride = np.full(len(names), array.strides[0], np.int64)
            kinds = np.full(len(names), _type(array.dtype), np.int32)
            source = Source(array.T, start, stride, kinds, len(array), units)
        self._require_types(source)
        return source

    def _require_types(self, source: Source) -> None:
        """Refuse what are no numbers, or floats without units, or integers with them."""
        names = self.network.input.columns
        if source.units is not None and tuple(unit.name for unit in source.units) != names:
            raise ValueError(f"units must be those of the network's {len(names)} columns, in order")
        wanted, what = ("iu", "hardware integers") if source.units is None else ("f", "float32 or float64, with units")
        for column, name, kind in zip(source.columns, names, source.type, strict=True):
            if column.dtype.kind not in wanted or not kind:
                remedy = "quantise the events first, or say their units" if source.units is None else "leave units out"
                raise TypeError(f"network input must be {what}, not dtype {column.dtype} in {name!r}; {remedy}")

    def _each(self, threads: int, events: int, work: Callable[[slice], None]) -> None:
        """Do the work for slices of whole blocks."""
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        share = max(-(-events // (threads * EVENTS)) * EVENTS, LEAST)
        parts = [slice(start, min(start + share, events)) for start in range(0, events, share)]
        if len(parts) < 2:
            for part in parts:
                work(part)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, parts))

    def _run(self, source: Source, part: slice, scores: Raw | None, histogram: CHistogram | None) -> None:
        before, size = ((GROUP - 1) * self.plan.c.entered * DWORD, self.plan.dwords * DWORD)
        room = 2 * EVENTS * (len(source.type) + 32)  # of int16, and for the vector that ends a row
        arena = np.zeros(before + size + room + 64, np.uint8)
        base = arena.ctypes.data + -arena.ctypes.data % 64 + before
        start = source.start + part.start * source.stride
        rows = (
            source.units is None and (source.type == source.type[0]).all() and (source.stride == source.stride[0]).all()
        )
        rows = rows and (np.diff(start) == abs(int(source.type[0]))).all()
        given = CSource(int(start[0]) if rows else None, int(source.stride[0]), start.ctypes.data)
        given.stride, given.type = source.stride.ctypes.data, source.type.ctypes.data
        if source.units is not None:
            turn = [unit.turn or 0 for unit in source.units]
            most = [np.inf if unit.saturated is None else unit.saturated for unit in source.units]
            counts = np.array([[unit.lsb for unit in source.units], turn, most], np.float64)
            given.units = counts.ctypes.data
        bad = self._kernel.l1ad_run(
            ctypes.addressof(self.plan.c),
            ctypes.addressof(given),
            part.stop - part.start,
            base,
            base + size,
            None if scores is None else scores.ctypes.data,
            None if histogram is None else ctypes.addressof(histogram),
        )
        if bad >= 0:
            self._refuse(source, part.start + int(bad))

    def _refuse(self, source: Source, event: int) -> None:
        """Raise for the first number that is not admissible, in the blocks that begin with `event`."""
        trigger, stop = self.network.input, min(event + GROUP * EVENTS, source.events)
        codes = [np.asarray(column[event:stop]) for column in source.columns]
        if source.units is not None:
            both = zip(codes, source.units, strict=True)
            codes = [to_codes(values, unit, f"events from {event}, {unit.name}") for values, unit in both]
        for at in range(stop - event):
            for code, name, low, high in zip(codes, trigger.columns, trigger.low, trigger.high, strict=True):
                if not low <= int(code[at]) <= high:
                    raise ValueError(
                        f"network input must lie in its hardware range: event {event + at}, column {name!r} is "
                        f"{code[at]}, outside {low} .. {high}"
                    )
        raise RuntimeError(f"native emulator ({self.isa}) refused event {event} without a reason; report this")


def _native(array: Numbers) -> Numbers:
    """In the byte order of this processor."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _type(dtype: np.dtype[Any]) -> int:
    """As kernel.cpp has it; 0 if it has no such type."""
    size = dtype.itemsize
    known = {"i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (4, 8)}.get(dtype.kind, ())
    return {"i": -size, "u": size}.get(dtype.kind, 100 + size) if size in known else 0
