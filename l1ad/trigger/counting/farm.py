"""The scores of `scan` counted by many processes, on one machine or many, and equal to the last bit.

A task counts some consecutive pieces of the files, which its worker reads by itself, and sends back the bins that hold
events; they are added as they come in.  Sums are of integers, so that neither the division into tasks nor their order
can matter.  When a worker is lost, dask gives its tasks to others.

What came in is kept as `scan.fill_stream` keeps what it has counted, and either goes on from where the other was
interrupted; tasks that are under way then are done again.
"""

from __future__ import annotations

import ctypes
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from l1ad import __version__
from l1ad.emulate import Histogram
from l1ad.events.menu import Menu
from l1ad.events.stream import EventStream
from l1ad.network import Network
from l1ad.progress import task
from l1ad.trigger.counting.checkpoint import Count, Part, Piece
from l1ad.trigger.counting.scan import Category, Filler, begun, lap, planned
from l1ad.trigger.counting.schedulers import connected

TASK_SECONDS = 2.0
"""What a task should take: a thousand times what dask needs for it, and little to lose."""


def fill(
    network: Network,
    files: str | Path | Iterable[str | Path],
    scheduler: str,
    *,
    category: Category = None,
    weighted: bool = True,
) -> Histogram:
    """Histogram of the scores of event files, equal to that of `scan.fill`.

    A script that calls it for local processes does so below ``if __name__ == "__main__":``, since these import it.

    Parameters
    ----------
    network, files, category, weighted
        See `scan.fill`.  All workers see the files under the same absolute paths.
    scheduler : str
        See `schedulers.connected`.  Its workers have this version of l1ad.

    Raises
    ------
    ToolNotFoundError, OSError, ValueError, RuntimeError
        As `scan.fill` and `schedulers.connected` do; if a worker does not see a file, workers
        die again and again of the same events or have another version of l1ad, or the scheduler is lost.
    """
    stream = EventStream(files, columns=(), meta=())
    return fill_stream(network, stream, category, weighted=weighted, scheduler=scheduler)


def fill_stream(
    network: Network,
    stream: EventStream,
    category: Category = None,
    *,
    scheduler: str,
    weighted: bool = True,
    kept: Path | None = None,
) -> Histogram:
    """See `fill`; of files that are looked at already, and `kept` as by `scan.fill_stream`."""
    selection, pieces = planned(network, stream, category)
    pieces = [replace(piece, path=piece.path.absolute()) for piece in pieces]  # a worker stands elsewhere
    if not (category is None or category == "taken" or isinstance(category, Menu)):
        category = tuple(float(edge) for edge in category)
    job = _Job(_document(network), __version__, pieces[0].path, selection, category, weighted)
    count = begun(network, selection, pieces, category, kept, weighted=weighted)
    if not count.todo:
        return count.whole
    with connected(scheduler) as client, task("score", sum(map(len, count.todo))) as progress, count:
        _count_all(client, job, count, progress.advance)
    return count.whole


@dataclass(frozen=True)
class _Job:
    """What all tasks have in common; the network as it is in its file, and a file to check its emulator on."""

    document: str
    version: str
    path: Path
    selection: str
    category: Category
    weighted: bool


def _document(network: Network) -> str:
    with TemporaryDirectory() as folder:
        network.save(Path(folder, "network.json"))
        return Path(folder, "network.json").read_text(encoding="utf-8")


def _count_all(client: Any, job: _Job, count: Count, advance: Callable[[int], None]) -> None:
    """Have tasks done, two for each thread of the workers at a time, and add up.

    Of errors, that of the first task in order is raised, which holds that of the first piece.
    """
    from distributed import Future, KilledWorker, as_completed

    pieces = count.todo
    shared = client.submit(_Job, *vars(job).values(), pure=False)  # if lost, it is made again
    done, waiting = as_completed(with_results=True, raise_errors=False), dict[Future, tuple[int, int]]()
    errors = dict[int, Exception]()
    begun, speed = 0, 0.0
    while True:
        try:
            threads = max(sum(client.nthreads().values()), 1)
        except OSError as error:
            raise _lost(error) from error
        while begun < len(pieces) and not errors and len(waiting) < 2 * threads:
            share = (len(pieces) - begun) // (2 * threads)
            some = pieces[begun : begun + max(min(int(speed * TASK_SECONDS), share), 1)]
            future = client.submit(_count, shared, some, pure=False)
            waiting[future] = begun, begun + len(some)
            done.add(future)
            begun += len(some)
        if errors and min(errors) < min((first for first, _ in waiting.values()), default=len(pieces)):
            raise errors[min(errors)]
        if not waiting:
            return
        future, result = next(done)
        first, last = waiting.pop(future)
        if isinstance(result, tuple) and isinstance(result[1], KilledWorker):
            between = f"{pieces[first].path}, event {pieces[first].start}, and {pieces[last - 1].path}, event " + str(
                pieces[last - 1].stop
            )
            raise RuntimeError(
                f"workers died {result[1].allowed_failures + 1} times while they counted between {between}; look at "
                "what they print, and give them more memory"
            )
        if future.status != "finished":
            raise _lost(result)
        if isinstance(result, Exception):
            errors[first] = result
            continue
        part, seconds = result
        count.add([part], pieces[first:last])
        speed = (last - first) / seconds
        advance(sum(len(piece) for piece in pieces[first:last]))


def _lost(result: Any) -> Exception:
    """What is to be said of a task that dask could not do."""
    if isinstance(result, tuple):
        return RuntimeError(f"a worker could not do its task: {result[1]}; have l1ad {__version__} on all workers")
    return ConnectionError("the scheduler must be there until the end, and was lost; start again")


def _count(job: _Job, pieces: Sequence[Piece]) -> tuple[Part, float] | Exception:
    """Task of a worker, and the seconds it took; an error is given back, for dask would print it in its own way."""
    try:
        filler = _filler(job)
        began = time.monotonic()
        (part,), *_ = lap(filler, pieces, 1, lambda _: None)
        return part, time.monotonic() - began
    except FileNotFoundError as error:
        path = next((piece.path for piece in pieces if not piece.path.exists()), job.path)
        return FileNotFoundError(
            f"{path}: must be seen by all workers, not be missing for {_worker()}; put it on a file system that they "
            f"share ({error})"
        )
    except Exception as error:
        error.add_note(f"of {_worker()}")
        return error


def _worker() -> str:
    """Name and machine of the worker that this is."""
    from distributed import get_worker

    return f"worker {get_worker().name} on {platform.node()}"


@lru_cache(maxsize=4)
def _filler(job: _Job) -> Filler:
    """Once in a process; the emulator is checked once on a machine."""
    if job.version != __version__:
        raise RuntimeError(f"{_worker()} must have l1ad {job.version}, not {__version__}; install the same")
    _keep_memory()
    with TemporaryDirectory() as folder:
        Path(folder, "network.json").write_text(job.document, encoding="utf-8")
        network = Network.load(Path(folder, "network.json"))
    return Filler.of(network, job.path, job.selection, job.category, weighted=job.weighted)


def _keep_memory() -> None:
    """Use the memory of a block for the next, as glibc does unless told otherwise, which dask does: a third of time."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
        mallopt(-1, 1 << 26)  # M_TRIM_THRESHOLD
