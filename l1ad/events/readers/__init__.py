"""Files of other formats as streams of `Events`: one module per format, one entry of `READERS` each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l1ad.events.schema import Schema
from l1ad.events.store import Events

__all__ = ["READERS", "Source"]


@dataclass(frozen=True)
class Source:
    """A file of another format, open for one pass.

    Attributes
    ----------
    schema : what the columns mean
    attrs : attributes for `EventWriter`; at least ``simulated`` (bool), ``format``-specific provenance, and the
        names ``classes`` and ``seeds`` where those quantities have columns
    n_events : number of events in the file
    chunks : the events in order, read lazily, at most as many at a time as was asked for
    warnings : what a user must know before using the events, e.g. thresholds of a reduced file
    """

    schema: Schema
    attrs: dict[str, Any]
    n_events: int
    chunks: Iterator[Events]
    warnings: tuple[str, ...] = ()


Reader = Callable[[Path, int, str | None], Source]
"""``(path, chunk size, part)``; `part` names one of several samples in a file, None where there is only one."""

READERS: dict[str, Reader] = {}
