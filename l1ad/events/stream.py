"""Events of many files as one sequence of equal chunks, read ahead: memory does not grow with their number."""

from __future__ import annotations

import glob
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l1ad.events.schema import Schema
from l1ad.events.store import CHUNK, NAMED, EventFile
from l1ad.events.table import Events, regroup

__all__ = ["Damaged", "EventStream", "expand"]

AHEAD = 2  # blocks read before they are asked for


@dataclass(frozen=True)
class Damaged:
    """A file of which events were left out.

    Attributes
    ----------
    path : the file
    lost : its events that were not delivered; None if the file cannot say how many it has
    reason : what was wrong
    """

    path: Path
    lost: int | None
    reason: str

    def __str__(self) -> str:
        return f"{'all' if self.lost is None else self.lost} events of {self.path} are left out: {self.reason}"


def expand(files: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """Paths and glob patterns to paths, in the order given; the matches of one pattern sorted as text.

    So ``part-10`` comes before ``part-9``, and ``part-09`` before ``part-10``.  ``**`` stands for any folders.  What
    exists is a path, whatever characters are in it.

    Raises
    ------
    ValueError
        If nothing is given, a pattern matches nothing, or a file is there twice, by links too.
    """
    given = [files] if isinstance(files, str | Path) else list(files)
    if not given:
        raise ValueError("files must be event files or patterns, not nothing")
    paths: list[Path] = []
    for item in given:
        if Path(item).exists() or not glob.has_magic(str(item)):
            paths.append(Path(item))
            continue
        matches = sorted(glob.glob(str(item), recursive=True))  # noqa: PTH207 (Path.glob wants a relative pattern)
        if not matches:
            raise ValueError(f"pattern must match an event file, not nothing: {item}; check the path")
        paths.extend(Path(match) for match in matches)
    seen: dict[Path, Path] = {}
    for path in paths:
        first = seen.setdefault(path.resolve(), path)
        if first is not path:
            raise ValueError(f"a file must be given once, not as {first} and as {path}: its events would count twice")
    return tuple(paths)


class EventStream:
    """The events of event files, one after the other; iterate over it as often as you like.

    Every chunk has exactly `size` events, the last one of all fewer; chunks go across the borders of files.  A thread
    reads up to `AHEAD` blocks of 65,536 events ahead, and ends with the iteration, however that ends; its errors arise
    in the loop.

    **Weights** are delivered as they are stored, never rescaled.  The parts of one plan have weights that sum to their
    shares, so that those of all parts sum to 1 and rates are right as they come; a part that is missing or left out as
    damaged makes every rate too low.  Files that are each complete (weights of each sum to 1) sum to their number:
    divide by it.  ``collision`` numbers are local to a file: events of two files are never correlated, even if their
    numbers are equal.

    Parameters
    ----------
    files : paths and glob patterns, see `expand`
    size : events per chunk
    columns, meta : as for `EventFile.read`
    schema : as for `EventFile`
    skip_damaged : leave out what is truncated or cannot be read, from there to the end of the file, and say so: in
        `damaged` and by a warning

    Attributes
    ----------
    paths : the files, in order
    schema : that of all files
    attrs : how the events of each file were made
    lengths : events of each file, None where it is damaged
    damaged : what was left out; complete when the iteration is

    Raises
    ------
    OSError
        If a file is missing, or, unless `skip_damaged`, truncated or damaged.  All files are looked at before the
        first event is read.
    ValueError
        If files differ in schema, in classes or in seeds, or anything in a file is not as it must be.
    """

    def __init__(
        self,
        files: str | Path | Iterable[str | Path],
        size: int = CHUNK,
        columns: Iterable[str] | None = None,
        meta: Iterable[str] | None = None,
        *,
        schema: Schema | None = None,
        skip_damaged: bool = False,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        self.paths = expand(files)
        self.size, self.skip_damaged = size, skip_damaged
        self._columns = None if columns is None else list(columns)
        self._meta = None if meta is None else list(meta)
        self._unopened: dict[Path, str] = {}
        found: list[tuple[Path, Schema, dict[str, Any], int]] = []
        for path in self.paths:
            try:
                with EventFile(path, schema) as file:
                    file.read(0, 0, self._columns, self._meta)  # an unknown name is an error now
                    found.append((path, file.schema, file.attrs, len(file)))
            except FileNotFoundError:
                raise
            except OSError as error:
                if not skip_damaged:
                    raise
                self._unopened[path] = str(error)
        if not found:
            raise OSError(f"a file must be readable, not none of {len(self.paths)}: {self._unopened[self.paths[0]]}")
        first, self.schema, attrs, _ = found[0]
        for path, other, others, _ in found[1:]:
            if other != self.schema:
                raise ValueError(
                    f"{first} and {path} must have one schema, not {self.schema.name!r} and {other.name!r}"
                )
            for name in NAMED.values():
                if attrs.get(name) != others.get(name):
                    raise ValueError(
                        f"{first} and {path} must have the same {name}, not {attrs.get(name)} and {others.get(name)}; "
                        "stream them separately"
                    )
        self.attrs = {path: made for path, _, made, _ in found}
        lengths = {path: length for path, _, _, length in found}
        self.lengths = tuple(lengths.get(path) for path in self.paths)
        self._damaged: list[Damaged] = []

    @property
    def damaged(self) -> tuple[Damaged, ...]:
        """What the latest iteration left out so far."""
        return tuple(self._damaged)

    def __len__(self) -> int:
        """Number of events that the files say they have."""
        return sum(length or 0 for length in self.lengths)

    def __iter__(self) -> Iterator[Events]:
        self._damaged = []
        return regroup(self._ahead(), self.size)

    def _ahead(self) -> Iterator[Events]:
        """Blocks of events; the generator that reads them runs in a thread of its own."""
        blocks = self._blocks()
        waiting: deque[Future[Events | Damaged | None]] = deque()
        with ThreadPoolExecutor(1, "events") as thread:
            try:
                waiting.extend(thread.submit(next, blocks, None) for _ in range(AHEAD))
                while (block := waiting.popleft().result()) is not None:
                    waiting.append(thread.submit(next, blocks, None))
                    if isinstance(block, Damaged):
                        self._damaged.append(block)
                        warnings.warn(f"{block}; weights do not sum to what they should", stacklevel=3)
                    else:
                        yield block
            finally:
                thread.shutdown(cancel_futures=True)
                blocks.close()

    def _blocks(self) -> Generator[Events | Damaged, None, None]:
        for path, length in zip(self.paths, self.lengths, strict=True):
            if length is None:
                yield Damaged(path, None, self._unopened[path])
                continue
            left = length
            try:
                with EventFile(path, self.schema) as file:
                    for block in file.blocks(self._columns, self._meta):
                        left -= len(block)
                        yield block
            except OSError as error:
                if not self.skip_damaged:
                    raise
                yield Damaged(path, left, str(error))
