"""Files of other formats as streams of `Events`: one module per format, one entry of `READERS` each.

`convert` puts any number of files of one format into one event file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from l1ad import __version__
from l1ad.events.readers.adc2021 import read_adc2021
from l1ad.events.readers.axol1tl import read_axol1tl
from l1ad.events.readers.cicada import read_cicada
from l1ad.events.readers.cmsl1t import read_cmsl1t
from l1ad.events.readers.l1ntuple import read_l1ntuple
from l1ad.events.readers.lhco import read_lhco
from l1ad.events.readers.nanoaod import read_nanoaod
from l1ad.events.readers.source import Reader, Source
from l1ad.events.schema import Schema
from l1ad.events.store import CHUNK, Events, EventWriter
from l1ad.progress import task

__all__ = ["READERS", "Converted", "Reader", "Source", "convert", "open_source"]

READERS: dict[str, Reader] = {
    "adc2021": read_adc2021,
    "axol1tl": read_axol1tl,
    "cicada": read_cicada,
    "cmsl1t": read_cmsl1t,
    "lhco": read_lhco,
    "nanoaod": read_nanoaod,
    "l1ntuple": read_l1ntuple,
}

SHARED = ("simulated", "weighted", "seeds", "classes")
"""Attributes that the files of one sample must agree on."""
TOOLS = ("h5py", "numpy", "pyarrow", "uproot", "awkward")
"""Packages that read; their versions are recorded where they were loaded."""


@dataclass(frozen=True)
class Converted:
    """What `convert` made.

    Attributes
    ----------
    path : the event file
    n_events : events in it
    saturated : for each column with a saturated code, how many objects have it
    damaged : files that were left out
    warnings : what a user must know before using the events
    """

    path: Path
    n_events: int
    saturated: dict[str, int]
    damaged: tuple[Path, ...]
    warnings: tuple[str, ...]


def open_source(path: str | Path, format: str, size: int = CHUNK, part: str | None = None) -> Source:
    """A file of another format as a stream.

    Parameters
    ----------
    path : the file
    format : a key of `READERS`
    size : events at a time
    part : which of several samples in the file

    Raises
    ------
    OSError
        If the file is missing, truncated or damaged; its chunks may raise it too.
    ValueError
        If there is no such format or part, or the content of the file is not what the format says.
    ImportError
        If a package that reads the format is not installed; the text names it.
    """
    if format not in READERS:
        raise ValueError(f"format must be one of {', '.join(READERS)}, not {format!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"event file must exist, not be missing: {path}; check the path")
    return READERS[format](path, size, part)


def convert(
    paths: Iterable[str | Path],
    out: str | Path,
    format: str,
    *,
    part: str | None = None,
    size: int = CHUNK,
    skip_damaged: bool = False,
    report: Callable[[str], None] = print,
) -> Converted:
    """Files of one format, in the order given, as one event file; whole or not at all.

    Every event gets the weight 1 / N, N being all events, unless the format has weights.

    Parameters
    ----------
    paths : the files, each once
    out : event file to make; its folder must exist
    format : a key of `READERS`
    part : which of several samples in each file
    size : events at a time: what memory must hold
    skip_damaged : leave out files that are damaged, name them and record them in the attribute ``damaged``; each
        file is then read twice, so that one that breaks off in the middle gives no event at all
    report : told of damaged files, warnings and the outcome, a line at a time

    Raises
    ------
    OSError, ValueError, ImportError
        As `open_source`; and ``ValueError`` if the files do not belong to one sample or hold no event.
    """
    files = [Path(path) for path in paths]
    if not files or len(set(files)) < len(files):
        raise ValueError(f"paths must be files, each given once, not {', '.join(map(str, files)) or 'none'}")
    sources: dict[Path, Source] = {}
    damaged: list[Path] = []
    for path in files:
        try:
            source = open_source(path, format, size, part)
            if skip_damaged:
                for _ in source.chunks:
                    pass
                source = open_source(path, format, size, part)
        except FileNotFoundError:
            raise
        except OSError as error:
            if not skip_damaged:
                raise _with_remedy(error) from error
            report(f"left out: {error}")
            damaged.append(path)
        else:
            sources[path] = source
    schema, attrs = _together(sources, format, part, damaged)
    n = sum(source.n_events for source in sources.values())
    if not n:
        raise ValueError(f"files must hold events, not 0 ({', '.join(map(str, files))})")
    warnings = tuple(dict.fromkeys(text for source in sources.values() for text in source.warnings))
    for text in warnings:
        report(f"warning: {text}")
    limits = {name: col.saturated for name, (_, col) in schema.columns().items() if col.saturated is not None}
    saturated = dict.fromkeys(limits, 0)
    with task(f"{format} events", n) as progress, EventWriter(out, schema, attrs) as writer:
        for events in _events(sources):
            for name, code in limits.items():
                saturated[name] += int((events.columns[name] == code).sum())
            if not attrs["weighted"]:
                events = replace(events, meta={**events.meta, "weight": np.full(len(events), 1 / n)})
            writer.append(events)
            progress.advance(len(events))
    report(f"{out}: {n} events of {len(sources)} files, {len(damaged)} damaged files left out")
    found = ", ".join(f"{name} {count}" for name, count in saturated.items() if count)
    report(f"saturated objects: {found or 'none'}")
    return Converted(Path(out), n, saturated, tuple(damaged), warnings)


def _with_remedy(error: OSError) -> OSError:
    return OSError(f"{error}, or leave damaged files out (skip_damaged)")


def _events(sources: dict[Path, Source]) -> Iterator[Events]:
    """The events of all files; a file must give as many as it promised, as the weights depend on it."""
    for path, source in sources.items():
        seen = 0
        try:
            for events in source.chunks:
                seen += len(events)
                yield events
        except OSError as error:
            raise _with_remedy(error) from error
        if seen != source.n_events:
            raise ValueError(f"{path}: file must give {source.n_events} events, not {seen}; it changed, try again")


def _together(
    sources: dict[Path, Source], format: str, part: str | None, damaged: list[Path]
) -> tuple[Schema, dict[str, Any]]:
    """Schema and attributes of one sample made of several files."""
    if not sources:
        raise ValueError(f"one file at least must be whole, not 0 of {len(damaged)}; copy them again")
    first_path, first = next(iter(sources.items()))
    unset: dict[str, Any] = {"weighted": False, "seeds": [], "classes": []}
    for path, source in sources.items():
        if source.schema != first.schema:
            raise ValueError(f"{path}: schema must be that of {first_path}, {first.schema.name}")
        for name in SHARED:
            mine, theirs = ((unset | each.attrs)[name] for each in (source, first))
            if mine != theirs:
                raise ValueError(
                    f"{path}: {name} must be as in {first_path}, {theirs!s:.80}, not {mine!s:.80}; "
                    "convert them into two files"
                )
    same = {
        key: value for key, value in first.attrs.items() if all(s.attrs.get(key) == value for s in sources.values())
    }
    samples = list(dict.fromkeys(str(source.attrs.get("sample", path.stem)) for path, source in sources.items()))
    more = f" and {len(samples) - 3} more" if len(samples) > 3 else ""
    return first.schema, {
        **unset,
        **same,
        "sample": ", ".join(samples[:3]) + more,
        "converted_from": format,
        "part": part,
        "files": [
            {
                "path": str(path),
                "bytes": path.stat().st_size,
                "events": source.n_events,
                **{key: value for key, value in source.attrs.items() if key not in same},
            }
            for path, source in sources.items()
        ],
        "damaged": [str(path) for path in damaged],
        "versions": {"l1ad": __version__} | {name: version(name) for name in TOOLS if name in sys.modules},
    }
