"""A count that may be interrupted: the histogram so far, which pieces of the files are in it, and where both are kept.

A piece is known by its file, as it was when it was counted, and its events, and sums are of integers: so a count goes
on whoever has done what of it, and ends with the same bits.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad import __version__
from l1ad.emulate import Histogram
from l1ad.emulate.histogram import TABLES
from l1ad.files import digest, replacing
from l1ad.progress import console
from l1ad.trigger.samples import UNIT, IntArray

EVERY_SECONDS = 30.0
"""How often what is counted is kept: so much is lost if the process is killed, or an event is wrong."""


@dataclass(frozen=True)
class Piece:
    """Events ``start:stop`` of a file; `made` tells it from other files of its name."""

    path: Path
    start: int
    stop: int
    made: str

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Part:
    """The bins of a histogram that hold events.

    Attributes
    ----------
    bins : int64 array, shape (k,)
        Their numbers, in all categories, one after the other.
    histogram : Histogram
        Its arrays hold those bins only: ``counts`` and ``sums`` are of shape (k,), ``squares`` of (k, 2), ``cubes`` of
        (k, 3).
    """

    bins: IntArray
    histogram: Histogram

    @classmethod
    def of(cls, histogram: Histogram) -> Part:
        """Copy of what a histogram holds."""
        bins = np.flatnonzero(histogram.counts)
        return cls(bins, _of_bins(histogram, bins))

    def add_to(self, whole: Histogram) -> None:
        """As `Histogram.add`, for the bins that hold events; errors as there."""
        part = _of_bins(whole, self.bins).add(self.histogram)
        whole.total = part.total
        for name in _tables(whole):
            _by_bin(whole, name)[self.bins] = getattr(part, name)


def _of_bins(histogram: Histogram, bins: IntArray) -> Histogram:
    """Copy of some bins."""
    part = copy(histogram)
    for name in _tables(histogram):
        setattr(part, name, _by_bin(histogram, name)[bins])
    return part


def _tables(histogram: Histogram) -> tuple[str, ...]:
    """Those that events without weights fill, or all."""
    return TABLES if histogram.unit is not None else TABLES[:1]


def _by_bin(histogram: Histogram, name: str) -> npt.NDArray[Any]:
    """One of its tables, the bins of all categories one after the other."""
    table: npt.NDArray[Any] = getattr(histogram, name)
    return table.reshape(-1, *table.shape[2:])


class Count:
    """Scores of pieces as they are counted; as a context, it keeps what there is when the work within ends early.

    It keeps them undisturbed: after one Ctrl-C, others wait until the context ends.

    Parameters
    ----------
    whole : Histogram
        Empty.
    pieces : sequence of Piece
        All that are to be counted.
    by : mapping of str to what JSON holds
        How they are counted, by the names of what must be the same to go on.
    kept : Path or None
        File, which is read now, and is there from then on until the caller removes it; None keeps nothing.  What is
        damaged, or of something else, is replaced.

    Attributes
    ----------
    whole : Histogram
        What is counted.
    todo : tuple of Piece
        Those that were not counted before, in order.
    lap_seconds : float
        How long to count before what was counted is added.
    """

    def __init__(self, whole: Histogram, pieces: Sequence[Piece], by: Mapping[str, object], kept: Path | None) -> None:
        self.whole, self._kept = whole, kept
        self._told = {"version of l1ad": __version__, "unit of the weights": whole.unit, **by}
        self._events = sum(len(piece) for piece in pieces)
        self._names = {} if kept is None else dict(zip(pieces, _names(pieces), strict=True))
        self._done: list[str] = []
        self._torn = self._guarded = False
        if kept is not None and kept.exists():
            self._load(kept)
        done = set(self._done)
        self.todo = tuple(piece for piece in pieces if kept is None or self._names[piece] not in done)
        self.lap_seconds = math.inf if kept is None else EVERY_SECONDS
        self._saved, self._clock = len(self._done), time.monotonic()

    def add(self, parts: Sequence[Part], pieces: Sequence[Piece]) -> None:
        """Take in what was counted of some pieces, and keep it, if it is time.

        Raises
        ------
        ValueError
            If weights sum to 2 or more.
        RuntimeError
            If it is another number of events than the pieces have.
        OSError
            If it cannot be kept.
        """
        expected, found = sum(map(len, pieces)), sum(int(part.histogram.counts.sum()) for part in parts)
        if found != expected:
            raise RuntimeError(f"pieces of {expected} events must be counted whole, not {found} of them; report this")
        self._torn = True  # until all is in, whatever comes between
        for part in parts:
            if self.whole.unit is not None:
                check_sum("weights", self.whole.total + part.histogram.total)
            part.add_to(self.whole)
        self._done += [self._names[piece] for piece in pieces if self._kept is not None]
        self._torn = False
        if time.monotonic() - self._clock >= self.lap_seconds:
            self._save()

    def __enter__(self) -> Count:
        if self._kept is not None and threading.current_thread() is threading.main_thread():
            self._guarded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._guarded:
            signal.signal(signal.SIGINT, _interrupt_once)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            self._end(early=kind is not None)
        finally:
            if self._guarded:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def _end(self, *, early: bool) -> None:
        if self._kept is None or not self._done or self._torn or not (early or self._saved):
            return
        if len(self._done) > self._saved:
            self._save()
        if early:
            console.print(f"  {self._kept}: {self.whole.events} of {self._events} events are counted, and kept")

    def _save(self) -> None:
        if self._kept is None:
            return
        part = Part.of(self.whole)
        arrays = {name: getattr(part.histogram, name) for name in ("total", *TABLES)}
        with replacing(self._kept) as aside, aside.open("wb") as file:
            np.savez(file, told=json.dumps(self._told), done=np.array(self._done, np.bytes_), bins=part.bins, **arrays)
        self._saved, self._clock = len(self._done), time.monotonic()

    def _load(self, kept: Path) -> None:
        """Begin with what is in the file, or say why not."""
        try:
            with kept.open("rb") as file, np.load(file) as arrays:  # which checks sums of what it reads
                told, done = json.loads(str(arrays["told"])), arrays["done"].astype(str).tolist()
                part = Part(arrays["bins"], copy(self.whole))
                part.histogram.total = int(arrays["total"])
                for name in TABLES:
                    setattr(part.histogram, name, arrays[name])
            why = next((f"of another {name}" for name, mine in self._told.items() if told.get(name) != mine), "")
            events = {name: len(piece) for piece, name in self._names.items()}
            if not why and not set(done) <= events.keys():
                why = "of other files, or some were written anew since"
            if not why:
                whole = self.whole.empty()
                part.add_to(whole)
                if whole.events != sum(events[name] for name in done):
                    raise ValueError("its events are not those of its pieces")
        except Exception as error:  # a damaged archive raises many
            why = f"damaged ({error})"
        if why:
            console.print(f"  {kept} is {why}: all events are counted anew, and it is replaced")
            return
        self.whole, self._done = whole, done
        console.print(f"  {kept}: {whole.events} of {self._events} events are counted already")


def _interrupt_once(_: int, __: FrameType | None) -> None:
    """Ctrl-C, which is often sent twice; nothing is to interrupt the keeping."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _names(pieces: Iterable[Piece]) -> list[str]:
    """What pieces are kept under: file, place, how and when it was written, and which events."""
    files = dict[Path, str]()
    for piece in pieces:
        if piece.path not in files:
            found = piece.path.stat()
            files[piece.path] = digest([str(piece.path.absolute()), piece.made, found.st_size, found.st_mtime_ns])
    return [f"{files[piece.path]} {piece.start} {piece.stop}" for piece in pieces]


def check_sum(what: str, units: float) -> None:
    """Refuse weights of which the histogram could not hold the sum, before it says so in units.

    Raises
    ------
    ValueError
        If they sum to 2 or more.
    """
    if 2.0**62 <= units < np.inf:
        raise ValueError(
            f"{what} must be probabilities per bunch crossing, which sum to 1 in all files together, not to "
            f"{units * UNIT:g}; give one complete sample at a time, or pass weighted=False if all events are alike"
        )
