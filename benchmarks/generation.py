"""How fast events are made: crossings on one core against the array version, and where a collision's time goes.

    python benchmarks/generation.py --work pools

The array version is the one that the tests hold the compiled trigger against (tests/plain_trigger.py); it is given
the towers ready-made.  The first run makes 40,000 soft collisions in the work folder, a minute on 2 cores.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import plain_trigger

from l1ad.events.generation import pythia
from l1ad.events.generation.crossings import Detector, crossings
from l1ad.events.generation.processes import rare, soft
from l1ad.events.generation.pythia import Warehouse
from l1ad.events.response.geometry import GEV_PER_DEPOSIT, N_ETA, N_PHI
from l1ad.events.response.particles import Collisions, ParticleResponse
from l1ad.events.response.trigger import Muons, TriggerResponse, digitise

PILEUP = 55.0


def spent(function: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def compiled(stock: Collisions, n: int) -> float:
    """Crossings a CPU second, from pooled collisions to objects in codes."""
    counts = np.random.default_rng(1).poisson(PILEUP, (n, 1)).astype(np.int64)
    list(crossings([stock], counts[:10], Detector(), 1))  # compiles
    return n / spent(lambda: list(crossings([stock], counts, Detector(), 1)))


def arrays(stock: Collisions, n: int) -> float:
    """Crossings a CPU second of the array version."""
    rng = np.random.default_rng(1)
    none = np.zeros(0, np.int64)

    def batch(size: int) -> None:
        picks = [rng.integers(len(stock), size=rng.poisson(PILEUP)) for _ in range(size)]
        energy = np.zeros((size, 2, N_ETA, N_PHI))
        for i, pick in enumerate(picks):
            at = np.concatenate([np.arange(*stock.first_deposit[p : p + 2]) for p in pick])
            deposits = stock.deposits[at]
            turn = np.repeat(rng.integers(N_PHI, size=len(pick)), np.diff(stock.first_deposit)[pick])
            cell = deposits["row"].astype(np.int64) * N_PHI + (deposits["column"] + turn) % N_PHI
            energy[i] = np.bincount(cell, deposits["et"], 2 * N_ETA * N_PHI).reshape(2, N_ETA, N_PHI)
        towers = digitise(energy * GEV_PER_DEPOSIT, TriggerResponse())
        plain_trigger.find_objects(towers, Muons(np.zeros(size + 1, np.int64), *(none,) * 5), TriggerResponse())

    batch(10)
    return n / spent(lambda: [batch(250) for _ in range(n // 250)])


def collisions() -> None:
    """Where the time of a collision goes."""
    classes = {process.name: process for process in rare()}
    print("\n| process | collisions/s and core | in Pythia | to arrays | in the response |\n|---|---|---|---|---|")
    for process, n in ((soft(), 2000), (classes["qcd_50"], 500), (classes["ttbar"], 500)):
        seconds = {"final_particles": 0.0, "deposit": 0.0, "hardest_scatter": 0.0}
        kept = {name: getattr(pythia, name) for name in seconds}

        def timed(name: str, function: Callable[..., Any], seconds: dict[str, float] = seconds) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                start = time.process_time()
                try:
                    return function(*args)
                finally:
                    seconds[name] += time.process_time() - start

            return call

        for name, function in kept.items():
            setattr(pythia, name, timed(name, function))
        total = spent(lambda process=process, n=n: pythia.generate(process, n, 1, ParticleResponse()))
        for name, function in kept.items():
            setattr(pythia, name, function)
        arrays = seconds["final_particles"] + seconds["hardest_scatter"]
        inside = total - arrays - seconds["deposit"]
        shares = " | ".join(f"{part / total:.0%}" for part in (inside, arrays, seconds["deposit"]))
        print(f"| {process.name} | {n / total:.0f} | {shares} |", flush=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of collisions, kept and found again")
    args = parser.parse_args()
    house = Warehouse(args.work, 1)
    house.fill([(soft(), 40_000, "benchmark")], workers=2)
    stock = house.stock(soft(), 40_000, "benchmark").collisions
    print(f"{len(stock)} soft collisions, {len(stock.deposits) / len(stock):.0f} deposits each, pileup {PILEUP:g}")
    print("\n| crossings, overlay and response | crossings/s and core |\n|---|---|")
    for _ in range(3):  # side by side, and three times: machines are noisy
        fast, slow = compiled(stock, 10_000), arrays(stock, 500)
        print(f"| compiled | {fast:.0f} |\n| arrays | {slow:.0f} |\n| ratio | {fast / slow:.1f} |", flush=True)
    collisions()


if __name__ == "__main__":
    main()
