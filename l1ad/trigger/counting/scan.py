"""Event files to a score histogram, block by block: memory does not grow with their number, and no score is stored."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Any, Literal

import numpy as np

from l1ad.emulate import Histogram, native_emulator, reference
from l1ad.emulate.checked import CHECKED, cores
from l1ad.emulate.native import Native
from l1ad.events.menu import Menu, load_menu, menu_columns, takes
from l1ad.events.schema import Schema, input_columns
from l1ad.events.store import CHUNK, EventFile, inputs
from l1ad.events.stream import EventStream, expand
from l1ad.events.table import Block, Place, input_places
from l1ad.files import digest
from l1ad.network import Network
from l1ad.progress import task
from l1ad.trigger.counting.checkpoint import Count, Part, Piece, check_sum
from l1ad.trigger.histograms import working_point_of
from l1ad.trigger.rates import Collider, check_target
from l1ad.trigger.samples import UNIT, IntArray
from l1ad.trigger.thresholds import Thresholds

PIECE = 4 * CHUNK
"""Events that a thread takes at a time."""
Category = Literal["taken"] | Menu | Sequence[float] | None
"""What sorts events: decisions in the file, decisions of a menu, or edges of pileup bins."""
Fill = Callable[[Network, EventStream, Category], Histogram]
"""What counts the weighted scores of a stream: `fill_stream`, or `farm.fill_stream` with a scheduler."""


def fill(
    network: Network,
    files: str | Path | Iterable[str | Path],
    *,
    category: Category = None,
    weighted: bool = True,
    threads: int | None = None,
) -> Histogram:
    """Histogram of the scores of event files, by the native emulator, or the reference where there is no compiler.

    Threads read and unpack in turn; each scores its blocks on its own, into a histogram of its own.

    Parameters
    ----------
    network : Network
        Reads a selection of the files' schema.
    files : paths and glob patterns
        See `l1ad.events.stream.expand`.
    category : "taken", Menu, sequence of float, or None
        Category 1 (`l1ad.trigger.histograms.TAKEN`) for events that a seed takes, else 0: any as the decisions in the
        files say, or any that is unprescaled, as the menu decides.  Or edges of pileup bins, rising: category i from
        edge i on and below the next, the last bin with its upper edge.  None for one category.
    weighted : bool
        Whether to sum the events' weights, in units of `UNIT`; if not, events count alike.
    threads : int or None
        By default, one for each core that this process may use.

    Raises
    ------
    OSError, ValueError
        As `EventStream` and its iteration do; if the files hold no event, the network reads no selection of their
        schema, an event has no category, or weights sum to 2 or more.
    """
    return fill_stream(network, EventStream(files, columns=(), meta=()), category, weighted=weighted, threads=threads)


def fill_stream(
    network: Network,
    stream: EventStream,
    category: Category = None,
    *,
    weighted: bool = True,
    threads: int | None = None,
    kept: Path | None = None,
) -> Histogram:
    """See `fill`; of files that are looked at already.

    What is counted is kept in the file `kept`, now and then and when the work ends early, and is not counted again if
    it is there at the start.  The caller removes it.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    selection, pieces = planned(network, stream, category)
    count = begun(network, selection, pieces, category, kept, weighted=weighted)
    left = count.todo
    if not left:
        return count.whole
    filler = Filler.of(network, left[0].path, selection, category, weighted=weighted)
    threads = cores() if threads is None else threads
    with task("score", sum(map(len, left))) as progress, count:
        while left:
            parts, n, interrupt = lap(filler, left, min(threads, len(left)), progress.advance, count.lap_seconds)
            count.add(parts, left[:n])
            if interrupt is not None:
                raise interrupt
            left = left[n:]
    return count.whole


def begun(
    network: Network, selection: str, pieces: Sequence[Piece], category: Category, kept: Path | None, *, weighted: bool
) -> Count:
    """The count of what is planned, or what is kept of it."""
    by: object = category
    if isinstance(category, Menu):
        by = digest(asdict(category))
    elif not (category is None or category == "taken"):
        by = [float(edge) for edge in category]
    counted_by = {"network": network.digest, "selection": selection, "menu or set of pileup bins": by}
    return Count(empty(network, category, weighted=weighted), pieces, counted_by, kept)


def planned(network: Network, stream: EventStream, category: Category) -> tuple[str, list[Piece]]:
    """Name of the selection that the network reads, and all events in pieces, in order.

    Raises
    ------
    ValueError
        See `fill`: what can be said before the first event is read.
    """
    _check_edges(category)
    if not len(stream):
        raise ValueError(f"{stream.paths[0]}: must hold at least one event")
    selection = selection_of(network, stream.schema, str(stream.paths[0]))
    if category == "taken" and not stream.attrs[stream.paths[0]].get("seeds"):
        raise ValueError(f"{stream.paths[0]}: must hold decisions of seeds (attribute seeds); pass a menu as category")
    pieces = []
    for path, length in zip(stream.paths, stream.lengths, strict=True):
        made = _made(stream.attrs[path], length or 0)
        pieces += [Piece(path, start, min(start + PIECE, length or 0), made) for start in range(0, length or 0, PIECE)]
    return selection, pieces


def _made(attrs: dict[str, Any], length: int) -> str:
    """Digest of how a file was made, and of its length."""
    return digest([attrs, length])


def selection_of(network: Network, schema: Schema, where: str) -> str:
    """Name of the selection of a schema whose columns the network reads.

    Raises
    ------
    ValueError
        If there is none; `where` is what the text calls the place.
    """
    for selection in schema.selections:
        if tuple(column.name for column in input_columns(schema, selection.name)) == network.input.columns:
            return selection.name
    known = [selection.name for selection in schema.selections]
    raise ValueError(f"{where}: none of the selections {known} has the columns that the network reads")


def thresholds_of(
    network: Network,
    files: str | Path | Iterable[str | Path],
    targets_hz: Iterable[float],
    collider: Collider,
    menu: str | None = None,
    fill: Fill = fill_stream,
) -> Thresholds:
    """Working points of a network on event files that are one sample.

    Parameters
    ----------
    network : Network
    files : paths and glob patterns
        Their weights are probabilities per bunch crossing, and sum to 1 in all together.
    targets_hz : iterable of float
    collider : Collider
    menu : str or None
        Conventional menu of the pure rate, a name or the path of a TOML file; by default the decisions that the files
        hold, or, if they hold none, the menu ``conventional``.
    fill : function
        What counts the scores.

    Raises
    ------
    OSError, ValueError
        As `fill` and `working_point_of`, and if the files do not all say alike whether they are simulated.
    """
    targets = list(targets_hz)
    for target_hz in targets:  # before all events are read
        check_target(target_hz)
    stream = EventStream(files, columns=(), meta=())
    simulated = _simulated(stream)
    name, category = _decisions(stream, menu)
    histogram = fill(network, stream, category)
    return Thresholds(
        digest=network.digest,
        score_type=str(network.score.out),
        sample=_and_more([str(path) for path in stream.paths]),
        provenance=_and_more([str(made.get("sample", path.name)) for path, made in stream.attrs.items()]),
        simulated=simulated,
        menu=name,
        collider=collider,
        working_points=tuple(
            working_point_of(histogram, target_hz, collider.crossing_rate_hz, simulated=simulated)
            for target_hz in targets
        ),
    )


def _simulated(stream: EventStream) -> bool:
    """Whether the files are simulated."""
    said = {path: made.get("simulated") for path, made in stream.attrs.items()}
    for path, simulated in said.items():
        if not isinstance(simulated, bool):
            raise ValueError(f"{path}: attribute simulated must say true or false; write it with EventWriter")
        if simulated != said[stream.paths[0]]:
            raise ValueError(
                f"{stream.paths[0]} and {path} must both be simulated or both data, not one of each; rate them apart"
            )
    return bool(said[stream.paths[0]])


def _decisions(stream: EventStream, menu: str | None) -> tuple[str, Category]:
    """Name of the conventional menu, and what sorts events by it."""
    if menu is not None:
        return menu, load_menu(menu)
    made = list(stream.attrs.values())
    seeds = made[0].get("seeds")
    if not seeds:
        return "conventional", load_menu("conventional")
    names = {str(each.get("menu") or "") for each in made} - {""}
    return names.pop() if len(names) == 1 else f"decisions in the files: {', '.join(seeds)}", "taken"


def _and_more(names: list[str]) -> str:
    """The first three of a list that may be long, each once."""
    names = list(dict.fromkeys(names))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def may_share_collisions(files: str | Path | Iterable[str | Path]) -> Path | None:
    """First of the files whose events may share collisions, None if none do.

    They do not where no collision is identified, or numbers rise from event to event: what memory allows to tell.
    """
    for path in expand(files):
        last = -1
        with EventFile(path) as file:
            for block in file.raw((), ["collision"]):
                known = block.meta["collision"][block.meta["collision"] >= 0].astype(np.int64)
                if len(known) and (np.diff(known, prepend=last) <= 0).any():
                    return path
                last = int(known[-1]) if len(known) else last
    return None


@dataclass(frozen=True)
class Filler:
    """What is done with a block of events; see `fill`."""

    network: Network
    native: Native | None
    places: list[Place | None]
    category: Category
    weighted: bool

    @classmethod
    def of(cls, network: Network, path: Path, selection: str, category: Category, *, weighted: bool) -> Filler:
        """For files like that at `path`; the native emulator is checked on its first events."""
        with EventFile(path) as file:
            native = native_emulator(network, inputs(file.read(0, CHECKED), selection))
            return cls(network, native, input_places(file.schema, selection), category, weighted)

    def empty(self) -> Histogram:
        """A histogram to fill."""
        return empty(self.network, self.category, weighted=self.weighted)

    def take(self, histogram: Histogram, file: EventFile, piece: Piece) -> Iterator[int]:
        """Events of a piece into the histogram; how many, block by block."""
        blocks = file.raw(self.places, _quantities(self.category, self.weighted), piece.start, piece.stop)
        for block in blocks:
            self.count(histogram, file, block)
            done = len(block)
            del block  # its memory is for the next
            yield done

    def count(self, histogram: Histogram, file: EventFile, block: Block) -> None:
        """Events of a block into the histogram."""
        weight = block.meta["weight"] if self.weighted else None
        if weight is not None:
            check_sum(f"{file.path}: weights", histogram.total + float(weight.sum()) / UNIT)
        category = self.sorted(file, block)
        try:
            if self.native is not None:
                self.native.fill(histogram, block.columns, category, weight)
            else:
                x = np.stack([column.astype(np.int64) for column in block.columns], axis=1)
                histogram.fill(reference.emulate(self.network, x), category, weight)
        except (TypeError, ValueError) as error:
            named = list(dict.fromkeys(place[0] for place in self.places if place))
            file.read(block.start, block.stop, named, ())  # which checks values, and says better where one is wrong
            raise ValueError(f"{file.path}: events {block.start}..{block.stop}: {error}") from error

    def sorted(self, file: EventFile, block: Block) -> IntArray | None:
        """Category of each event."""
        if self.category is None:
            return None
        if self.category == "taken":
            return np.asarray(block.meta["seeds"].any(axis=1), np.int64)
        if isinstance(self.category, Menu):
            events = file.read(block.start, block.stop, menu_columns(self.category, file.schema), ())
            return np.asarray(takes(events, self.category), np.int64)
        edges, pileup = np.asarray(self.category, np.float64), block.meta["pileup"].astype(np.float64)
        bad = ~((pileup >= edges[0]) & (pileup <= edges[-1]))
        if bad.any():
            at = int(np.argmax(bad))
            unknown = pileup[at] == -1
            expected = "known" if unknown else f"in {edges[0]:g}..{edges[-1]:g}, the edges of the bins"
            remedy = "leave out the category" if unknown else "choose wider edges"
            raise ValueError(
                f"{file.path}: pileup must be {expected}, not {pileup[at]:g} (event {block.start + at}); {remedy}"
            )
        return np.minimum(np.searchsorted(edges, pileup, "right") - 1, len(edges) - 2)


class _Files:
    """The files of pieces, each open from the first of its pieces to the last; threads share them."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._left = Counter(piece.path for piece in pieces)
        self._open: dict[Path, EventFile] = {}
        self._lock = Lock()

    @contextmanager
    def of(self, piece: Piece) -> Iterator[EventFile]:
        """The file of a piece, which is taken once."""
        with self._lock:
            if piece.path not in self._open:
                self._open[piece.path] = _opened(piece)
            file = self._open[piece.path]
        try:
            yield file
        finally:
            with self._lock:
                self._left[piece.path] -= 1
                if not self._left[piece.path]:
                    self._open.pop(piece.path).close()

    def close(self) -> None:
        """Those of which pieces were left."""
        for file in self._open.values():
            file.close()


def _opened(piece: Piece) -> EventFile:
    """The file of a piece, if it is that which was planned with."""
    file = EventFile(piece.path)
    if _made(file.attrs, len(file)) != piece.made:
        file.close()
        raise OSError(f"{piece.path}: must be the file that was there at the start, not another; start again")
    return file


def lap(
    filler: Filler, pieces: Sequence[Piece], threads: int, advance: Callable[[int], None], seconds: float = math.inf
) -> tuple[list[Part], int, KeyboardInterrupt | None]:
    """Let threads take pieces in turn for some time, at least one each; what each counted, and of how many pieces.

    Of errors, that of the first piece in order is raised.  An interrupt is given back, when the pieces that were begun
    are counted, for the caller to raise; another, if it comes, is raised at once.
    """
    todo: SimpleQueue[tuple[int, Piece]] = SimpleQueue()
    for numbered in enumerate(pieces):
        todo.put(numbered)
    ended, lost, lock, errors = Event(), Event(), Lock(), dict[int, Exception]()
    until = time.monotonic() + seconds

    def work(files: _Files) -> Part:
        histogram = filler.empty()
        while not ended.is_set():
            try:
                number, piece = todo.get_nowait()
            except Empty:
                break
            try:
                with files.of(piece) as file:
                    for done in filler.take(histogram, file, piece):
                        with lock:
                            advance(done)
                        if lost.is_set() or number > min(errors, default=number):
                            break
            except Exception as error:
                errors[number] = error
                ended.set()
            if time.monotonic() >= until:
                break
        return Part.of(histogram)

    interrupt = None
    with closing(_Files(pieces)) as files, ThreadPoolExecutor(threads, "score") as pool:
        try:
            working = [pool.submit(work, files) for _ in range(threads)]
            try:
                wait(working, return_when=FIRST_EXCEPTION)
            except KeyboardInterrupt as error:
                interrupt = error
                ended.set()
                wait(working, return_when=FIRST_EXCEPTION)
        finally:
            ended.set()
            lost.set()
    if errors:
        raise errors[min(errors)]
    return [each.result() for each in working], len(pieces) - todo.qsize(), interrupt


def empty(network: Network, category: Category, *, weighted: bool) -> Histogram:
    """The histogram that `fill` begins with."""
    if category is None:
        categories = 1
    else:
        categories = 2 if category == "taken" or isinstance(category, Menu) else len(category) - 1
    return Histogram.of(network, categories, UNIT if weighted else None)


def _quantities(category: Category, weighted: bool) -> list[str]:
    """Event quantities to read."""
    by = [] if category is None or isinstance(category, Menu) else ["seeds" if category == "taken" else "pileup"]
    return ["weight", *by] if weighted else by


def _check_edges(category: Category) -> None:
    if category is None or category == "taken" or isinstance(category, Menu):
        return
    if isinstance(category, str):
        raise ValueError(f"category must be 'taken', a menu or edges of pileup bins, not {category!r}")
    edges = np.asarray(category, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError(f"category must be two rising edges of pileup bins, or more, not {list(category)}")
