"""A thousand million events through dask: events a second and core beside the plain loop, and the same counts.

    python benchmarks/farm.py [NETWORK.json] [--events 1e9] [--store 1e8] [--part 4e6] [--workers N] [--folder FOLDER]

A store of STORE events, read so often that it makes EVENTS: one file of PART events (the sample, tiled as storage.py
does) under as many names, which stays in the page cache.  So it is throughput that is found, and no physics.

Weighted scores are counted by `fill` of `l1ad.trigger.counting.scan` with one thread, by that of
`l1ad.trigger.counting.farm` with N processes (as many as cores, by default), and by these again, one of which is killed
midway.  The three must be equal to the last bit.  Seconds are from the call to the threshold, with the start of the
processes, which that of one file shows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from from_disk import NETWORK, TARGET_HZ, write

from l1ad.emulate import Histogram, emulator
from l1ad.emulate.checked import cores
from l1ad.emulate.histogram import TABLES
from l1ad.network import Network
from l1ad.progress import console
from l1ad.trigger.counting import farm, scan
from l1ad.trigger.histograms import threshold_for
from l1ad.trigger.rates import crossing_rate_hz


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def timed(name: str, workers: int, filled: Callable[[], Histogram], *, whole: bool = True) -> tuple[Histogram, float]:
    """Print a row of the table; the histogram, and the seconds until the threshold of a whole sample was found."""
    began, cpu = time.perf_counter(), cpu_seconds()
    histogram = filled()
    if whole:
        threshold_for(histogram, TARGET_HZ, crossing_rate_hz(), simulated=True)
    took, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    n = histogram.events
    rates = " | ".join(f"{n / seconds / 1e6:.1f}" for seconds in (took, took * workers, cpu))
    print(f"| {name} | {n:.3g} | {took:.1f} | {rates} |", flush=True)
    return histogram, took


def kill_a_worker(killed: list[int]) -> None:
    """The first of the processes that dask has started."""
    workers = [child for child in multiprocessing.active_children() if "Dask Worker" in child.name]
    if workers and workers[0].pid is not None:
        os.kill(workers[0].pid, signal.SIGKILL)
        killed.append(workers[0].pid)


def assert_equal(one: Histogram, other: Histogram) -> None:
    """Refuse two histograms that differ in a bit."""
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in TABLES)
    if not arrays or one.total != other.total:
        raise SystemExit("the histograms must be equal, and are not")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, nargs="?", default=NETWORK)
    parser.add_argument("--events", type=float, default=1e9)
    parser.add_argument("--store", type=float, default=1e8)
    parser.add_argument("--part", type=float, default=4e6)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    network, workers = Network.load(chosen.network), chosen.workers
    console.quiet = True  # the lines of progress
    scheduler, parts = f"local:{workers}", max(round(chosen.store / chosen.part), 1)
    times = max(round(chosen.events / chosen.part / parts), 1)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        part, files = Path(folder, "part.h5"), []
        writing = multiprocessing.get_context("spawn").Process(
            target=write, args=(part, int(chosen.part), parts * times)
        )  # whose memory is its own
        writing.start()
        writing.join()
        for number in range(parts * times):
            files.append(Path(folder, f"reading-{number // parts}-part-{number % parts}.h5"))
            files[-1].hardlink_to(part)
        print(f"{emulator(network)}; a store of {parts} files, read {times} times, by {workers} processes\n")
        print("| | events | seconds | M events/s | … and core | … and core (CPU time) |")
        print("|---|---|---|---|---|---|", flush=True)
        timed("dask, one file", workers, lambda: farm.fill(network, files[0], scheduler), whole=False)
        found, took = timed("dask", workers, lambda: farm.fill(network, files, scheduler))
        killed: list[int] = []
        timer = threading.Timer(took / 2, kill_a_worker, [killed])
        timer.start()
        again, _ = timed("dask, a worker killed midway", workers, lambda: farm.fill(network, files, scheduler))
        timer.join()
        plain, _ = timed("plain loop: one thread", 1, lambda: scan.fill(network, files, threads=1))
        if not killed:
            raise SystemExit("a worker must be killed midway, and none was: give more events")
        assert_equal(found, plain)
        assert_equal(again, plain)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"\nall equal to the last bit; peak memory of this process {peak:.0f} MiB")


if __name__ == "__main__":
    main()
