"""From compressed event files to exact thresholds: events a second, memory, bytes an event.

    python benchmarks/from_disk.py [NETWORK.json] [--events 1e8] [--part 4e6] [--folder FOLDER]

One file of PART events is written (the sample, tiled as storage.py does), and read under as many names as make up
EVENTS: it stays in the page cache, which is what is asked, while EVENTS of their own would not fit many machines.
They are scored by the network, and by the encoder of 8 bits that emulation.py times, with the network's columns.
What is timed is what `l1ad rate NETWORK.json --events ...` does, counting scores and weights: read, check, unpack,
emulate, count, threshold.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from emulation_networks import encoder
from storage import SAMPLE, SCHEMA, packed_bytes, tiled

from l1ad.emulate import emulator
from l1ad.emulate.checked import cores
from l1ad.events.store import EventFile, EventWriter
from l1ad.network import Network
from l1ad.trigger.counting.scan import fill
from l1ad.trigger.histograms import threshold_for
from l1ad.trigger.rates import crossing_rate_hz

NETWORK = Path("runs/quickstart/vae/network.json")
TARGET_HZ = 100e3
ROUNDS = 5


def write(path: Path, rows: int, files: int) -> None:
    """An event file, with weights that sum to 1 in so many of it."""
    with EventFile(SAMPLE / "rate.h5") as file:
        attrs = file.attrs
    with EventWriter(path, SCHEMA, attrs) as writer:
        blocks = tiled(rows)
        total = files * sum(float(events.meta["weight"].sum()) for events in blocks)
        for events in blocks:
            events.meta["weight"][:] /= total
            writer.append(events)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, nargs="?", default=NETWORK)
    parser.add_argument("--events", type=float, default=1e8)
    parser.add_argument("--part", type=float, default=4e6)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    network, small = Network.load(chosen.network), encoder(8)
    trigger = replace(small.input, columns=network.input.columns, low=network.input.low, high=network.input.high)
    networks = {str(chosen.network): network, "encoder, 8 bits": Network((trigger, *small.operations[1:]))}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        part, files = Path(folder, "part-0.h5"), []
        links = max(round(chosen.events / int(chosen.part)), 1)
        writing = get_context("spawn").Process(
            target=write, args=(part, int(chosen.part), links)
        )  # whose memory is its own
        writing.start()
        writing.join()
        for number in range(links):
            files.append(Path(folder, f"link-{number}.h5"))
            files[-1].hardlink_to(part)
        total = len(files) * int(chosen.part)
        size = packed_bytes(part) / int(chosen.part)
        print(f"{emulator(network)}: {total:,} events, {size:.1f} bytes each\n")
        print("| network | threads | weights | M events/s | M events/s and core (CPU time) | seconds |")
        print("|---|---|---|---|---|---|")
        cases = [
            (name, threads, weighted)
            for threads in sorted({1, cores()})
            for weighted in (False, True)
            for name in networks
        ]
        seconds: dict[tuple[str, int, bool], list[tuple[float, float]]] = {case: [] for case in cases}
        for _ in range(ROUNDS):  # in turn: what else the machine does changes by the minute
            for name, threads, weighted in cases:
                wall, cpu = time.perf_counter(), time.process_time()
                histogram = fill(networks[name], files, weighted=weighted, threads=threads)
                threshold = threshold_for(histogram, TARGET_HZ, crossing_rate_hz(), simulated=True)
                took = time.perf_counter() - wall, time.process_time() - cpu
                seconds[name, threads, weighted].append(took)
                if histogram.events != total:
                    raise SystemExit(f"the histogram must hold {total} events, not {histogram.events}")
        for (name, threads, weighted), took in seconds.items():
            wall, cpu = (sorted(column)[ROUNDS // 2] for column in zip(*took, strict=True))
            rates = f"{total / wall / 1e6:.1f} | {total / cpu / 1e6:.1f} | {wall:.2f}"
            print(f"| {name} | {threads} | {'yes' if weighted else 'no'} | {rates} |")
        print(f"\n{threshold}\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
