"""How fast `l1ad.emulate.device` is: networks on a device that JAX finds, beside the reference on the CPU.

    python benchmarks/device.py [NETWORK.json ...] [--platform gpu] [--events 200000] [--rounds 5]

Without networks: those of ``runs/quickstart``, which ``l1ad run configs/quickstart.toml`` makes.  Millions of events a
second, from integers in memory (the narrowest type that holds them) to scores in memory: medians of interleaved runs,
in CPU time of all threads of this process, and by the clock.  On a GPU only the clock tells: its work is not CPU time.
Compilation and the first comparison with the reference are apart.  Scores of all events must be equal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from l1ad.compare import random_inputs
from l1ad.emulate import reference
from l1ad.emulate.device import Device
from l1ad.network import Network

QUICKSTART = Path(__file__).parents[1] / "runs" / "quickstart"


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """CPU time and time of a call."""
    cpu, start = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - start


def row(path: Path, platform: str | None, n_events: int, rounds: int) -> str:
    """One line of the table."""
    network = Network.load(path)
    start = time.perf_counter()
    device = Device(network, platform)
    made = time.perf_counter() - start
    type = np.int16 if network.input.low.min() >= -(2**15) and network.input.high.max() < 2**15 else np.int64
    x = np.ascontiguousarray(random_inputs(network, n_events)[:n_events].astype(type))
    few = x[: max(n_events // 10, 1)]
    if (device.scores(x) != reference.emulate(network, x)).any():
        raise SystemExit(f"{path}: scores differ from the reference's")
    times = [
        (seconds(lambda: device.scores(x)), seconds(lambda: reference.emulate(network, few))) for _ in range(rounds)
    ]
    cpu, clock = (median(len(x) / mine[i] * 1e-6 for mine, _ in times) for i in (0, 1))
    slow = median(len(few) / theirs[0] * 1e-6 for _, theirs in times)
    name = path.parent.name if path.name == "network.json" else path.stem
    how = "/".join(dict.fromkeys(device.arithmetic.values()))
    return (
        f"| {name} | {device.device} | {how} | {slow:.3f} | {cpu:.2f} | {cpu / slow:.0f} | {clock:.2f} | {made:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", type=Path)
    parser.add_argument("--platform", default=None)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print("| network | device | sums | reference, CPU | device, CPU time | ratio | device, clock | made in s |")
    print("|---|---|---|---|---|---|---|---|")
    for path in given.networks or sorted(QUICKSTART.glob("*/network.json")):
        print(row(path, given.platform, given.events, given.rounds), flush=True)


if __name__ == "__main__":
    main()
