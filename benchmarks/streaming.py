"""Streaming of 1e8 events: speed and peak memory of `EventStream`, beside reading without it.

    python benchmarks/streaming.py [--rows 1e8] [--folder FOLDER]

Writes one file of 4 million events (the rate sample, drawn with replacement; 0.25 GB in a temporary folder under
FOLDER, removed afterwards) and reads it under as many names as the rows need.  Every reader selects pT of jets, e/γ,
muons and MET, and the weight, and fills a weighted histogram of Σ pT; each runs in a process of its own, whose peak
memory is printed.  The figures are events per second; those without a consumer only read.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (h5py's own way to read Blosc)
import numpy as np
from numpy.typing import NDArray

from l1ad.events.store import CHUNK, EventFile, EventWriter
from l1ad.events.stream import EventStream

SAMPLE = Path(__file__).parents[1] / "sample" / "rate.h5"
ROWS = 4_000_000
COLUMNS = ["jet.pt", "eg.pt", "mu.pt", "met.pt"]
Chunk = tuple[NDArray[np.float64], list[NDArray[Any]]]
Checkpoint = tuple[int, float, float]


def write(path: Path) -> tuple[float, int]:
    """Write the file; events per second, and bytes."""
    chance = np.random.default_rng(0)
    with EventFile(SAMPLE) as file:
        events, attrs, schema = file.read(), file.attrs, file.schema
    start = time.perf_counter()
    with EventWriter(path, schema, attrs) as out:
        for first in range(0, ROWS, CHUNK):
            part = events[chance.integers(0, len(events), min(CHUNK, ROWS - first))]
            part.meta["weight"][:] *= len(events) / ROWS
            part.meta["event"][:] = first + np.arange(len(part))
            out.append(part)
    return ROWS / (time.perf_counter() - start), path.stat().st_size


def stream(paths: list[Path]) -> Iterator[Chunk]:
    """`EventStream`: files read ahead."""
    for events in EventStream(paths, 100_000, COLUMNS, []):
        yield events.meta["weight"], list(events.columns.values())


def one_by_one(paths: list[Path]) -> Iterator[Chunk]:
    """`EventFile.chunks` of one file after the other, nothing read ahead."""
    for path in paths:
        with EventFile(path) as file:
            for events in file.chunks(100_000, COLUMNS, []):
                yield events.meta["weight"], list(events.columns.values())


def by_hand(paths: list[Path], size: int = 100_000) -> Iterator[Chunk]:
    """Plain h5py, as one would write it: slices of datasets, no checks, the types of the file."""
    for path in paths:
        with h5py.File(path) as file:
            for first in range(0, len(file["meta/weight"]), size):
                rows = slice(first, first + size)
                yield file["meta/weight"][rows], [file[name.replace(".", "/")][rows] for name in COLUMNS]


def consume(chunk: Chunk, histogram: NDArray[np.float64]) -> None:
    """Fill Σ pT of all objects and MET, in counts, by weight."""
    weight, arrays = chunk
    total = sum(array.sum(axis=1, dtype=np.int64) for array in arrays)
    histogram += np.bincount(np.minimum(total, len(histogram) - 1), weight, len(histogram))


def measure(
    reader: Callable[[list[Path]], Iterator[Chunk]], paths: list[Path], consuming: bool
) -> tuple[list[Checkpoint], float]:
    """Rows, seconds and peak memory in MB at each power of ten and at the end; mean Σ pT, which must agree."""
    start, rows, target, passed = time.perf_counter(), 0, 1_000_000, []
    histogram = np.zeros(1 << 15)
    for chunk in reader(paths):
        rows += len(chunk[0])
        if consuming:
            consume(chunk, histogram)
        if rows >= target:
            passed.append((rows, time.perf_counter() - start, peak()))
            target *= 10
    if passed[-1][0] != rows:
        passed.append((rows, time.perf_counter() - start, peak()))
    return passed, float(histogram @ np.arange(len(histogram)) / max(histogram.sum(), 1e-300))


def peak() -> float:
    """Peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def alone(task: Callable[[], Any]) -> Any:
    """Result of a task in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(task).result()


def main() -> None:
    """Write, read, print, remove."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=1e8)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "0000.h5"
        speed, size = alone(partial(write, path))
        print(f"written: {ROWS:,} events, {speed:,.0f} events/s, {size / 1e6:.0f} MB ({size / ROWS:.0f} B/event)")
        paths = [path, *(Path(folder) / f"{n:04d}.h5" for n in range(1, -(-int(options.rows) // ROWS)))]
        for other in paths[1:]:
            os.link(path, other)
        print(f"{'reader':10s}  {'consumer':8s}  {'rows':>11s}  {'events/s':>10s}  peak MB")
        for reader, chosen, consuming in (
            (stream, paths, True),
            (stream, paths[:2], False),
            (stream, paths[:2], True),
            (one_by_one, paths[:2], False),
            (one_by_one, paths[:2], True),
            (by_hand, paths[:2], False),
            (by_hand, paths[:2], True),
        ):
            checkpoints, mean = alone(partial(measure, reader, chosen, consuming))
            for rows, seconds, memory in checkpoints:
                what = f"{reader.__name__:10s}  {'Σ pT' if consuming else 'none':8s}"
                print(f"{what}  {rows:11,d}  {rows / seconds:10,.0f}  {memory:7.0f}")
            if consuming:
                print(f"{'':10s}  mean Σ pT {mean / 2:.6f} GeV")


if __name__ == "__main__":
    main()
