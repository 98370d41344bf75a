"""What every reader gives: one file as a stream of `Events`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l1ad.events.schema import Schema
from l1ad.events.store import Events

__all__ = ["Reader", "Source", "refuse_part"]


@dataclass(frozen=True)
class Source:
    """A file of another format, open for one pass.

    Attributes
    ----------
    schema : what the columns mean
    attrs : attributes for `EventWriter`; at least ``simulated`` (bool), ``format``-specific provenance, and the
        names ``classes`` and ``seeds`` where those quantities have columns.  ``weighted`` is true where the weights
        come from the file; others are set to 1 / N when a sample is put together.  ``absent`` names the
        collections of the schema that the format does not have.
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
"""``(path, chunk size, part)``; `part` names one of several samples in a file, None where there is only one.

A file that is damaged is an ``OSError``, one whose content is wrong a ``ValueError``; both name the file.
"""


def refuse_part(path: Path, part: str | None) -> None:
    """Refuse a part of a file that holds one sample."""
    if part is not None:
        raise ValueError(f"{path}: part must not be given, not be {part!r}; files of this format hold one sample")
