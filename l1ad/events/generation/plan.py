"""A sample of simulated Level-1 events, from a plan in TOML to event files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.crossings import Detector, crossings
from l1ad.events.generation.processes import PHOTON_EDGES_GEV, QCD_EDGES_GEV, SIGNALS, Process, rare, soft
from l1ad.events.generation.pythia import CHUNK, ENERGY_GEV, Stock, Warehouse, derived_seed
from l1ad.events.generation.stitching import draw_counts, stitched_weights
from l1ad.events.generation.thinning import Thinning, kept, tails
from l1ad.events.menu import decide, load_menu
from l1ad.events.pileup import Profile, rounded
from l1ad.events.schema import load_schema
from l1ad.events.store import EventFile, Events, EventWriter, concatenate, event_hash, make_meta
from l1ad.files import digest
from l1ad.progress import task

__all__ = ["Plan", "Signal", "Stitched", "ZeroBias", "make"]

PILOT = 20_000
"""Plain crossings that say how rare what is: enough, since a tail that they do not reach is kept whole."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ZeroBias:
    """Plain crossings, each of weight 1 / `events`; those whose content is in another file are left out."""

    events: int
    pool: str
    pileup: Profile


@dataclass(frozen=True)
class Stitched:
    """Zero-bias for rates: `plain` crossings, of which not all are kept, and `forced` ones by class.

    They are weighted to `target`; see `stitching` and `thinning`.
    """

    plain: int
    forced: dict[str, int]
    pool: str
    pileup: Profile
    target: Profile
    thin: Thinning


@dataclass(frozen=True)
class Signal:
    """Crossings with one collision of a process each, of weight 1 / `events`."""

    process: str
    events: int
    pool: str
    pileup: Profile


@dataclass(frozen=True)
class Plan:
    """What to generate.

    Attributes
    ----------
    detector : this kind of plan
    seed : master seed; every other one derives from it
    files : file name without ``.h5`` -> content
    pools : pool -> process -> most collisions to make; a process that is not named gets as many as are used once.
        Files that name the same pool share its collisions, those of different pools share none.
    qcd_edges_gev, photon_edges_gev : lower edges of the pT-hat classes
    processes : name -> Pythia settings, for signals of the user's own
    menu : whose decisions are stored, "" for none
    archive : small files rather than quick ones
    chunk : collisions in one file of the work folder, ten times as many soft ones
    """

    detector: Literal["level1"]
    seed: int
    files: dict[str, ZeroBias | Stitched | Signal]
    pools: dict[str, dict[str, int]]
    energy_gev: float = ENERGY_GEV
    qcd_edges_gev: tuple[float, ...] = QCD_EDGES_GEV
    photon_edges_gev: tuple[float, ...] = PHOTON_EDGES_GEV
    processes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    schema: str = "cms_run3"
    menu: str = "conventional"
    archive: bool = False
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        classes = {process.name for process in self.rare}
        signals = {process.name for process in self.signals}
        for name, file in self.files.items():
            if file.pool not in self.pools:
                raise ValueError(f"files.{name}.pool must be one of {', '.join(self.pools)}, not {file.pool!r}")
            if isinstance(file, Stitched) and not set(file.forced) <= classes:
                odd = ", ".join(sorted(set(file.forced) - classes))
                raise ValueError(f"files.{name}.forced must name classes ({', '.join(sorted(classes))}), not {odd}")
            if isinstance(file, Signal) and file.process not in signals:
                raise ValueError(
                    f"files.{name}.process must be one of {', '.join(sorted(signals))}, not {file.process!r}; "
                    "describe your own under processes"
                )
        for name, pool in self.pools.items():
            if "soft" not in pool:
                raise ValueError(f"pools.{name} must say how many soft collisions to make: soft = ...")

    @property
    def soft(self) -> Process:
        """The soft class."""
        return soft(self.qcd_edges_gev[0])

    @property
    def rare(self) -> tuple[Process, ...]:
        """The rare classes, in the order of ``class_counts``."""
        return rare(self.qcd_edges_gev, self.photon_edges_gev)

    @property
    def signals(self) -> tuple[Process, ...]:
        """Processes that a signal file may name."""
        return (*SIGNALS, *(Process(name, commands) for name, commands in self.processes.items()))

    def scaled(self, factor: float) -> Plan:
        """The same plan with `factor` times the events and collisions."""

        def size(n: int) -> int:
            return max(1, round(n * factor))

        def smaller(file: ZeroBias | Stitched | Signal) -> ZeroBias | Stitched | Signal:
            if isinstance(file, Stitched):
                forced = {name: size(n) for name, n in file.forced.items()}
                return dataclasses.replace(file, plain=size(file.plain), forced=forced)
            return dataclasses.replace(file, events=size(file.events))

        return dataclasses.replace(
            self,
            files={name: smaller(file) for name, file in self.files.items()},
            pools={name: {key: size(n) for key, n in pool.items()} for name, pool in self.pools.items()},
        )


@dataclass(frozen=True)
class _Content:
    """The crossings of one file: (n,) or (n, classes) each; `forced` is a class or -1; `record` goes to the file."""

    mu: Floats
    counts: Ints
    forced: Ints
    weight: Floats
    record: dict[str, Any]


def _content(plan: Plan, name: str, share: Floats) -> _Content:
    """Draw what each crossing consists of."""
    file = plan.files[name]
    rng = np.random.default_rng(derived_seed(plan.seed, name, "counts"))
    classes = [process.name for process in plan.rare]
    if isinstance(file, Stitched):
        forced = np.array([file.forced.get(key, 0) for key in classes])
        marks = np.repeat([-1, *range(len(classes))], [file.plain, *forced])
        mu = rounded(file.pileup.draw(len(marks), rng), file.pileup)
        counts = draw_counts(mu, share, rng)
        counts[np.flatnonzero(marks >= 0), marks[marks >= 0]] += 1
        weight = stitched_weights(counts, mu, share, file.plain, forced, file.pileup, file.target)
        record = {
            "description": "simulated zero-bias for rates: plain crossings, thinned, then forced ones class by class",
            "weights": "probability per bunch crossing: rate = crossing rate x sum of weights",
            "plain_events": file.plain,
            "forced_events": dict(zip(classes, forced.tolist(), strict=True)),
            "pileup_target": _described(file.target),
            "thinning": dataclasses.asdict(file.thin),
        }
        return _Content(mu, counts, marks, weight, record)
    mu = rounded(file.pileup.draw(file.events, rng), file.pileup)
    counts = draw_counts(mu, share, rng)
    none, weight = np.full(len(mu), -1), np.full(len(mu), 1 / len(mu))
    if isinstance(file, Signal):
        process = next(process for process in plan.signals if process.name == file.process)
        record = {"description": f"{file.process} with pileup, no filter", "settings": process.commands}
        return _Content(mu, counts, none, weight, record | {"weights": "1 / N"})
    text = f"1 / {len(mu)}, the number made before those whose content is also in another file were left out"
    return _Content(mu, counts, none, weight, {"description": "simulated zero-bias, plain", "weights": text})


def _described(profile: Profile) -> dict[str, Any]:
    return {"profile": type(profile).__name__.lower(), **dataclasses.asdict(profile)}


def make(plan: Plan, out: Path, work: Path, workers: int) -> list[Path]:
    """Make the files of a plan in the folder `out`; collisions are kept in `work` and found again.

    What is there already is not made again: collisions by what made them, event files by the plan.

    Parameters
    ----------
    workers : processes for Pythia, then threads for crossings; the result does not depend on it

    Raises
    ------
    ImportError
        If Pythia or numba is not installed; the text names the remedy.
    """
    house = Warehouse(work, plan.seed, plan.energy_gev, chunk=plan.chunk)
    sigma = house.cross_sections([plan.soft, *plan.rare], workers)
    share = np.array([sigma[process.name] / sigma["soft"] for process in plan.rare])
    contents = {name: _content(plan, name, share) for name in plan.files}
    house.fill(_wanted(plan, contents), workers)
    out.mkdir(parents=True, exist_ok=True)
    made: dict[Path, NDArray[np.uint64]] = {}
    # plain zero-bias last: it leaves out what the others hold
    for name in sorted(plan.files, key=lambda name: isinstance(plan.files[name], ZeroBias)):
        taken = np.sort(np.concatenate([*made.values(), np.zeros(0, np.uint64)]))
        path = out / f"{name}.h5"
        made[path] = _write(_Making(plan, house, name, contents[name], sigma, share), path, taken, workers)
    return list(made)


def _sizes(plan: Plan, name: str, counts: Ints) -> list[tuple[Process, int]]:
    """Collisions to have of each class, soft first, and of a signal, last."""
    file = plan.files[name]
    pool = plan.pools[file.pool]
    sizes = [(plan.soft, pool["soft"])]
    for process, used in zip(plan.rare, counts.sum(0), strict=True):
        sizes.append((process, min(int(used), pool.get(process.name, int(used)))))
    if isinstance(file, Signal):
        process = next(process for process in plan.signals if process.name == file.process)
        sizes.append((process, file.events))
    return sizes


def _wanted(plan: Plan, contents: dict[str, _Content]) -> Iterator[tuple[Process, int, str]]:
    for name, content in contents.items():
        for process, n in _sizes(plan, name, content.counts):
            yield process, n, plan.files[name].pool


@dataclass(frozen=True)
class _Making:
    """One file being made."""

    plan: Plan
    house: Warehouse
    name: str
    content: _Content
    sigma_mb: dict[str, float]
    share: Floats

    def made_from(self, taken: NDArray[np.uint64]) -> str:
        """Digest of all that decides the content of the file."""
        plan = dataclasses.asdict(self.plan)
        parts = [plan.pop("files")[self.name], plan, self.name, dataclasses.asdict(self.house.response)]
        parts += [dataclasses.asdict(Detector()), version("pythia8mc"), self.sigma_mb, int(taken.sum())]
        return digest(parts)

    def record(self, soft_above: float, taken: NDArray[np.uint64]) -> dict[str, Any]:
        """Attributes of the file."""
        plan, classes = self.plan, [process.name for process in self.plan.rare]
        return {
            "sample": self.name,
            "simulated": True,
            "generator": f"Pythia {version('pythia8mc')}",
            "versions": {name: version(name) for name in ("l1ad", "numpy", "numba")},
            "energy_gev": plan.energy_gev,
            "seed": plan.seed,
            "pool": plan.files[self.name].pool,
            "classes": classes,
            "class_probability": dict(zip(classes, self.share.tolist(), strict=True)),
            "cross_sections_mb": self.sigma_mb,
            "pileup_cross_section_mb": self.sigma_mb["soft"],
            "pileup_generated": _described(plan.files[self.name].pileup),
            "soft_above_edge": soft_above,
            "menu": plan.menu,
            "seeds": [seed.name for seed in load_menu(plan.menu).seeds] if plan.menu else [],
            "made_from": self.made_from(taken),
            **self.content.record,
        }

    def stocks(self) -> list[Stock]:
        """Collisions of each class, soft first, and of a signal, last."""
        pool = self.plan.files[self.name].pool
        return [self.house.stock(process, n, pool) for process, n in _sizes(self.plan, self.name, self.content.counts)]

    def batches(self, stocks: list[Stock], workers: int, most: int | None = None) -> Iterator[Events]:
        """The crossings, or the first `most` of them."""
        plan, content, file = self.plan, self.content, self.plan.files[self.name]
        schema = load_schema(plan.schema)
        menu = load_menu(plan.menu) if plan.menu else None
        rng = np.random.default_rng(derived_seed(plan.seed, self.name, "soft"))
        every = np.column_stack([rng.poisson(content.mu * (1 - _above_edge(stocks))), content.counts])
        marked = np.where(content.forced >= 0, content.forced + 1, -1)  # the first stock is the soft one
        if isinstance(file, Signal):
            every = np.column_stack([every, np.ones(len(every), np.int64)])
            marked = np.full(len(every), every.shape[1] - 1)
        start = 0
        seed = derived_seed(plan.seed, self.name, "crossings")
        collisions = [stock.collisions for stock in stocks]
        for found in crossings(collisions, every[:most], Detector(), seed, marked[:most], workers):
            rows = slice(start, start + len(found.collision))
            start = rows.stop
            columns = {name: found.columns[name].astype(c.dtype) for name, (_, c) in schema.columns().items()}
            meta = make_meta(
                len(found.collision),
                weight=content.weight[rows],
                pileup=content.mu[rows],
                n_collisions=every[rows].sum(1),
                class_counts=content.counts[rows],
                forced=content.forced[rows],
                collision=found.collision,
            )
            events = Events(schema, columns, meta)
            if menu is not None:
                events = Events(schema, columns, meta | {"seeds": decide(events, menu).astype(np.uint8)})
            yield events


def _write(making: _Making, path: Path, taken: NDArray[np.uint64], workers: int) -> NDArray[np.uint64]:
    """Make one file, or find it made; the content hashes of its events."""
    plan, file = making.plan, making.plan.files[making.name]
    if path.exists():
        with EventFile(path) as old:
            if old.attrs.get("made_from") == making.made_from(taken):
                return np.concatenate([event_hash(chunk) for chunk in old.chunks()])
    stocks = making.stocks()
    record = making.record(_above_edge(stocks), taken)
    hashes = []
    thin = _thinning(making, stocks, workers)
    with (
        EventWriter(path, load_schema(plan.schema), record, archive=plan.archive) as out,
        task(making.name, len(making.content.mu)) as progress,
    ):
        for events in making.batches(stocks, workers):
            left = thin(events)
            found = event_hash(left)
            if isinstance(file, ZeroBias) and len(taken):  # which is long, and sorted once
                new = taken.take(np.searchsorted(taken, found), mode="clip") != found
                left, found = left[new], found[new]
            out.append(left)
            hashes.append(found)
            progress.advance(len(events))
    return np.concatenate(hashes)


def _above_edge(stocks: list[Stock]) -> float:
    """Share of the soft collisions that was dropped."""
    return 1 - len(stocks[0].collisions) / stocks[0].generated


def _thinning(making: _Making, stocks: list[Stock], workers: int) -> Callable[[Events], Events]:
    """What leaves out crossings of the bulk: nothing, if the plan says so."""
    file = making.plan.files[making.name]
    if not isinstance(file, Stitched) or file.thin.floor == 1:
        return lambda events: events
    most = min(file.plain, PILOT)
    shares = tails(concatenate(making.batches(stocks, workers, most)))
    rng = np.random.default_rng(derived_seed(making.plan.seed, making.name, "thinning"))
    thinning = file.thin

    def thin(events: Events) -> Events:
        probability = np.where(events.meta["forced"] < 0, kept(events, shares, thinning), 1.0)
        # 24 bits are more than enough, and half of the storage
        weight = (events.meta["weight"] / probability).astype(np.float32).astype(np.float64)
        weighed = Events(events.schema, events.columns, {**events.meta, "weight": weight})
        return weighed[rng.random(len(events)) < probability]

    return thin
