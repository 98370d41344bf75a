"""Make the committed sample: simulated zero-bias to train on, a rate sample, four signals.

    python sample/make.py --out sample --work ~/l1ad-pools --seed 2026

``--scale 0.01`` makes a small one.  Collisions are cached under ``--work`` (about 400 MB) and found again,
so that an interrupted run goes on where it stopped.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.crossings import crossings
from l1ad.events.generation.processes import ENERGY_GEV, RARE, SIGNALS, SOFT, Process
from l1ad.events.generation.pythia import cross_sections, derived_seed, stock
from l1ad.events.generation.stitching import draw_counts, stitched_weights
from l1ad.events.menu import decide, load_menu
from l1ad.events.response import Collisions, ParticleResponse, TriggerResponse
from l1ad.events.schema import load_schema
from l1ad.events.store import Events, EventWriter, event_hash, make_meta

PILEUP = 55.0  # mean collisions per crossing, fixed
TRAIN = 52_000
ZERO_BIAS = 30_500
FORCED = {
    "qcd_20": 2500, "qcd_30": 5000, "qcd_50": 3500, "qcd_80": 2000, "qcd_120": 1500, "qcd_170": 1000,
    "qcd_250": 600, "w": 1000, "z": 400, "ttbar": 150,
}  # fmt: skip
SIGNAL = 4_200
SOFT_POOL = {"train": 60_000, "rate": 120_000, "signal": 30_000}  # soft collisions, drawn with random rotations

SCHEMA = load_schema("cms_run3")
MENU = load_menu("conventional")
CLASSES = [process.name for process in RARE]


@dataclass(frozen=True)
class Making:
    """What the command line asked for, and what follows from it."""

    out: Path
    work: Path
    seed: int
    scale: float
    sigma: dict[str, float]

    @property
    def expected(self) -> NDArray[np.float64]:
        """Mean number of collisions of each rare class per crossing."""
        return np.array([PILEUP * self.sigma[name] / self.sigma["soft"] for name in CLASSES])

    def size(self, n: int) -> int:
        """Number of events or collisions at this scale."""
        return max(1, round(n * self.scale))

    def rng(self, *names: str) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng(derived_seed(self.seed, *names))

    def stock(self, process: Process, n: int, sample: str) -> tuple[Collisions, float]:
        """Collisions of a process, and the share that was dropped above the pT-hat edge."""
        made = stock(process, n, self.seed, sample, ParticleResponse(), self.work)
        return made.collisions, 1 - len(made.collisions) / max(made.generated, 1)


def simulate(
    making: Making,
    name: str,
    pool: str,
    counts: NDArray[np.int64],
    weight: NDArray[np.float64],
    forced: NDArray[np.int64] | None = None,
    signal: Process | None = None,
) -> Iterator[Events]:
    """Batches of crossings with `counts` (n, classes) rare collisions, soft pileup, and at most one signal."""
    rng = making.rng(name)
    soft, above = making.stock(SOFT, making.size(SOFT_POOL[pool]), pool)
    every = np.column_stack([rng.poisson(PILEUP * (1 - above), len(counts)), counts])
    stocks = [soft]
    for process, total in zip(RARE, counts.sum(0), strict=True):
        stocks.append(making.stock(process, int(total), name)[0])
    if signal is not None:
        every = np.column_stack([every, np.ones(len(counts), np.int64)])
        stocks.append(making.stock(signal, len(counts), pool)[0])
        forced = np.full(len(counts), len(stocks) - 1)
    start = 0
    for columns, identity in crossings(stocks, every, TriggerResponse(), rng, forced):
        rows = slice(start, start + len(identity))
        start = rows.stop
        meta = make_meta(
            len(identity),
            weight=weight[rows],
            pileup=np.full(len(identity), PILEUP),
            n_collisions=every[rows].sum(1),
            class_counts=counts[rows],
            collision=identity,
        )
        meta["seeds"] = decide(Events(SCHEMA, columns, meta), MENU)
        yield Events(SCHEMA, columns, meta)


def write(making: Making, name: str, batches: Iterator[Events], **attrs: Any) -> NDArray[np.uint64]:
    """Write one file and return the content hashes of its events."""
    record = {
        "sample": name,
        "simulated": True,
        "generator": f"Pythia {version('pythia8mc')}",
        "energy_gev": ENERGY_GEV,
        "pileup": PILEUP,
        "seed": making.seed,
        "scale": making.scale,
        "classes": CLASSES,
        "sigma_mb": making.sigma,
        "expected_per_crossing": dict(zip(CLASSES, making.expected, strict=True)),
        "soft_pool": SOFT_POOL,
        "seeds": [seed.name for seed in MENU.seeds],
        **attrs,
    }
    clock, hashes = time.perf_counter(), []
    path = making.out / f"{name}.h5"
    with EventWriter(path, SCHEMA, record) as file:
        for events in batches:
            file.append(events)
            hashes.append(event_hash(events))
    n = sum(map(len, hashes))
    rate = n / (time.perf_counter() - clock)
    print(f"{path.name}: {n} events at {rate:.0f}/s, {path.stat().st_size / 1e6:.3f} MB", flush=True)
    return np.concatenate(hashes)


def make_rate(making: Making) -> NDArray[np.uint64]:
    """Plain crossings first, then those with a forced collision, class by class."""
    rng = making.rng("rate", "counts")
    plain, n_forced = making.size(ZERO_BIAS), np.array([making.size(FORCED[name]) for name in CLASSES])
    parts = [draw_counts(making.expected, plain, rng)]
    parts += [draw_counts(making.expected, n, rng, j) for j, n in enumerate(n_forced)]
    counts = np.concatenate(parts)
    return write(
        making,
        "rate",
        simulate(
            making,
            "rate",
            "rate",
            counts,
            stitched_weights(counts, plain, n_forced, making.expected),
            # class j of the rare ones is stock j + 1; the first is the soft pool
            np.repeat([-1, *range(1, len(RARE) + 1)], [plain, *n_forced]),
        ),
        description="zero-bias for rates, stitched: plain events first, then forced ones by class",
        weights="expected occurrences per crossing: rate = crossing rate x sum of weights",
        zero_bias_events=plain,
        forced_events=dict(zip(CLASSES, n_forced.tolist(), strict=True)),
        soft_above_edge=making.stock(SOFT, making.size(SOFT_POOL["rate"]), "rate")[1],
    )


def make_signal(making: Making, process: Process) -> NDArray[np.uint64]:
    """One signal collision in each crossing."""
    n, name = making.size(SIGNAL), f"signal_{process.name}"
    counts = draw_counts(making.expected, n, making.rng(name, "counts"))
    return write(
        making,
        name,
        simulate(making, name, "signal", counts, np.full(n, 1 / n), signal=process),
        description=f"{process.name} with pileup, no filter",
        weights="1 / N",
        settings=process.commands,
    )


def make_train(making: Making, others: NDArray[np.uint64]) -> None:
    """Plain crossings; the few (empty ones) whose content is also in another file are left out."""
    n = making.size(TRAIN)
    counts = draw_counts(making.expected, n, making.rng("train", "counts"))
    batches = simulate(making, "train", "train", counts, np.full(n, 1 / n))
    write(
        making,
        "train",
        (events[~np.isin(event_hash(events), others)] for events in batches),
        description="zero-bias for training; shares no collision and no event with the other files",
        weights=f"1 / {n}, the number made before events that are also in another file were left out",
    )


def main() -> None:
    """Read the arguments and write the six files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--work", type=Path, required=True, help="folder of the cached collisions")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the events to make")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    clock = time.perf_counter()
    making = Making(args.out, args.work, args.seed, args.scale, cross_sections(args.seed, args.work))
    hashes = [make_rate(making)] + [make_signal(making, process) for process in SIGNALS]
    make_train(making, np.concatenate(hashes))
    print(f"all done in {time.perf_counter() - clock:.0f} s")


if __name__ == "__main__":
    main()
