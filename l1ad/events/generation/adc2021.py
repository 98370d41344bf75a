"""Files in the format of ADC2021: a mixture of Standard Model processes, and signals, behind a lepton filter.

A stand-in for the published files (arXiv 2107.02157), not a copy: production modes and the detector card of the
signals and of the background were not published; see `delphes`.  Pythia makes the hard collisions and a pool of soft
ones, `flight` puts crossings together, `reconstruction` finds the objects, and crossings whose hardest electron or
muon has more than 23 GeV are kept.  QCD goes through `heavy_flavour`.

The work is cut into chunks of a fixed number of collisions, one file each in a work folder, with their own seeds;
a later run finds them again.  Of each process the first chunks that hold enough events are used, in their order, so
the result depends neither on the number of workers nor on who finishes first.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from l1ad import __version__
from l1ad.events.generation.delphes import DelphesResponse
from l1ad.events.generation.flight import ELECTRON, MUON, Flight, arrive, overlay
from l1ad.events.generation.heavy_flavour import TRUE_ETA_MAX, TRUE_MIN_GEV, redecayed
from l1ad.events.generation.processes import SIGNALS, Process, rare
from l1ad.events.generation.pythia import derived_seed, final_particles, start_pythia
from l1ad.events.generation.reconstruction import CLASSES, NAMES, lepton_filter, reconstruct
from l1ad.files import digest, replacing
from l1ad.progress import task

__all__ = ["PROCESSES", "PUBLISHED_MIXTURE", "Adc2021Plan", "Sample", "make_adc2021", "write_adc2021"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

REVISION = 1  # raise it when the code gives other events for the same plan: old chunks are then not used
PUBLISHED_MIXTURE = {"w": 0.592, "qcd": 0.338, "z": 0.067, "ttbar": 0.003}
"""Shares of the background after the filter (arXiv 2107.02157)."""
POOL = Process("minimum_bias", ("SoftQCD:inelastic = on",))
QCD = Process("qcd", ("HardQCD:all = on", "PhaseSpace:pTHatMin = 30."))
_SIGNALS = ("a_to_4l", "lq_to_btau", "h0_to_tautau", "hplus_to_taunu")
PROCESSES = {p.name: p for p in (QCD, *rare(), *SIGNALS) if p.name in (*PUBLISHED_MIXTURE, *_SIGNALS)}
"""The processes of ADC2021 by name.  Masses are published, modes of production are not: these are our choice."""
_BATCH = 250
_HOPELESS = 100  # chunks without a single event


@dataclass(frozen=True)
class Sample:
    """One file.

    Attributes
    ----------
    name : the file is ``<name>.h5``
    events : number of events after the filter
    mixture : share of each process, by its name in `PROCESSES`; the shares add up to 1
    """

    name: str
    events: int
    mixture: dict[str, float]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.mixture) - set(PROCESSES))
        if unknown:
            raise ValueError(f"mixture must name some of {', '.join(PROCESSES)}, not {', '.join(unknown)}")
        if self.events < 1:
            raise ValueError(f"events must be at least 1, not {self.events}")
        shares = list(self.mixture.values())
        if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"mixture must be positive shares that add up to 1, not {self.mixture}")

    def counts(self) -> dict[str, int]:
        """Events of each process; what rounding leaves over goes to the largest remainders."""
        exact = {name: self.events * share for name, share in self.mixture.items()}
        whole = {name: int(value) for name, value in exact.items()}
        by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
        for name in by_remainder[: self.events - sum(whole.values())]:
            whole[name] += 1
        return whole


@dataclass(frozen=True)
class Adc2021Plan:
    """What to generate.

    Attributes
    ----------
    name : of the set of files
    seed : of everything
    samples : the files
    detector : tells this plan from one of the Level-1 detector
    energy_gev : of the collisions
    pileup : mean number of soft collisions per crossing
    pool : number of different soft collisions, drawn from at random; rounded up to whole chunks
    chunk : collisions of a process that are generated at once
    qcd_chunk : the same of QCD, which passes the filter rarely
    qcd_decays : how often the heavy hadrons of each QCD collision decay
    lepton_min_gev : pT that the hardest electron or muon must exceed
    response : constants of the detector
    """

    name: str
    seed: int
    samples: tuple[Sample, ...]
    detector: Literal["adc2021"] = "adc2021"
    energy_gev: float = 13_000.0
    pileup: float = 20.0
    pool: int = 10_000
    chunk: int = 2_000
    qcd_chunk: int = 5_000
    qcd_decays: int = 400
    lepton_min_gev: float = 23.0
    response: DelphesResponse = field(default_factory=DelphesResponse)

    def __post_init__(self) -> None:
        for name in ("pool", "chunk", "qcd_chunk", "qcd_decays"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.pileup < 0:
            raise ValueError(f"pileup must be at least 0, not {self.pileup}")
        if self.lepton_min_gev < 1.2 * TRUE_MIN_GEV:
            raise ValueError(f"lepton_min_gev must be at least {1.2 * TRUE_MIN_GEV:g}, not {self.lepton_min_gev}")
        names = [sample.name for sample in self.samples]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"samples must be given, each with its own name, not {names}")

    def scaled(self, factor: float) -> Adc2021Plan:
        """The same plan with `factor` times the events and soft collisions."""
        fewer = tuple(replace(sample, events=max(1, round(sample.events * factor))) for sample in self.samples)
        return replace(self, samples=fewer, pool=max(1, round(self.pool * factor)))


@dataclass(frozen=True)
class _Job:
    """One chunk: what makes it, and the file that it becomes.  `pool` is empty for a chunk of the pool itself."""

    process: Process
    size: int
    decays: int
    seed: int
    plan: Adc2021Plan
    pool: tuple[Path, ...]
    path: Path

    @staticmethod
    def of(plan: Adc2021Plan, sample: str, process: Process, index: int, pool: tuple[Path, ...], work: Path) -> _Job:
        """Chunk number `index` of a process; its file name changes with all that it depends on."""
        decays = plan.qcd_decays if process.name == QCD.name else 0
        size = plan.qcd_chunk if decays else plan.chunk
        seed = derived_seed(plan.seed, "adc2021", sample, process.name, index)
        key = [
            REVISION,
            version("pythia8mc"),
            asdict(process),
            size,
            decays,
            seed,
            plan.energy_gev,
            asdict(plan.response),
        ]
        key += [plan.pileup, plan.lepton_min_gev, [path.name for path in pool]] if pool else []
        path = work / f"{sample}-{process.name}-{index}-{digest(key)[:12]}.npz"
        return _Job(process, size, decays, seed, plan, pool, path)


@lru_cache(maxsize=1)
def _load_pool(paths: tuple[Path, ...]) -> Flight:
    parts = []
    for path in paths:
        with np.load(path) as saved:
            parts.append(Flight(**{name: saved[name] for name in saved.files}))
    return Flight.concatenate(parts)


def _has_lepton(flight: Flight) -> NDArray[np.bool_]:
    """Collisions with a true electron or muon that may become one above the threshold of the filter, (n,)."""
    kind = (flight.kind == ELECTRON) | (flight.kind == MUON)
    hard = kind & (flight.pt > TRUE_MIN_GEV) & (np.abs(flight.eta) < TRUE_ETA_MAX)
    return np.bincount(flight.collision[hard], minlength=len(flight)) > 0


def _hard_collisions(job: _Job) -> Iterator[tuple[Flight, Ints, int, float]]:
    """Collisions that may pass, the number of the generated one behind each, how many were generated, and mb."""
    response = job.plan.response
    if job.decays:
        made = redecayed(job.process.commands, job.size, job.decays, job.seed, job.plan.energy_gev)
        yield arrive(made.particles, response), made.parent, made.generated, made.sigma_mb
        return
    pythia = start_pythia(job.process.commands, job.seed, job.plan.energy_gev)
    for start in range(0, job.size, _BATCH):
        flight = arrive(final_particles(pythia.nextBatch(min(_BATCH, job.size - start))), response)
        keep = _has_lepton(flight) if job.pool else np.ones(len(flight), bool)
        yield flight.select(keep), start + np.flatnonzero(keep), len(flight), float(pythia.infoPython().sigmaGen())


def _make_chunk(job: _Job) -> float:
    """Write the file of a job; seconds taken."""
    clock = time.monotonic()
    if not job.pool:
        saved: dict[str, Any] = Flight.concatenate([flight for flight, *_ in _hard_collisions(job)]).arrays()
    else:
        pool, rng = _load_pool(job.pool), np.random.default_rng(job.seed)
        found, parents, generated, sigma = [np.zeros((0, 19, 4))], [np.zeros(0, np.int64)], 0, 0.0
        for flight, parent, number, sigma in _hard_collisions(job):  # noqa: B007  (the last cross section is the best)
            generated += number
            for start in range(0, len(flight), _BATCH):
                mine = np.zeros(len(flight), bool)
                mine[start : start + _BATCH] = True
                crossings = overlay(flight.select(mine), pool, job.plan.pileup, job.plan.response, rng)
                particles = reconstruct(crossings, job.plan.response, rng)
                keep = lepton_filter(particles, job.plan.lepton_min_gev)
                found.append(particles[keep])
                parents.append(parent[mine][keep])
        saved = {"particles": np.concatenate(found), "parent": np.concatenate(parents)}
        saved |= {"generated": generated, "sigma_mb": sigma}
    with replacing(job.path) as aside, aside.open("wb") as file:
        np.savez(file, **saved)
    return time.monotonic() - clock


@dataclass
class _Source:
    """One process of one sample: how far its chunks have come."""

    plan: Adc2021Plan
    sample: str
    process: Process
    wanted: int
    pool: tuple[Path, ...]
    work: Path
    asked: int = 0  # chunks asked for
    events: dict[int, int] = field(default_factory=dict)  # of each finished chunk

    def job(self, index: int) -> _Job:
        """Chunk number `index`."""
        return _Job.of(self.plan, self.sample, self.process, index, self.pool, self.work)

    def used(self) -> int | None:
        """Number of leading chunks that hold enough events, or None while they do not."""
        total = 0
        for index in range(len(self.events)):
            if index not in self.events:
                return None
            total += self.events[index]
            if total >= self.wanted:
                return index + 1
        return None

    def hungry(self) -> bool:
        """Whether the chunks asked for are not expected to be enough."""
        if self.used() is not None:
            return False
        mean = sum(self.events.values()) / len(self.events) if self.events else 0.0
        return sum(self.events.values()) + mean * (self.asked - len(self.events)) < self.wanted

    def finish(self, index: int) -> int:
        """Note a finished chunk; how many of its events count as progress."""
        with np.load(self.job(index).path) as saved:
            events = len(saved["particles"]) if self.pool else len(saved["offsets"]) - 1
        before = sum(self.events.values())
        self.events[index] = events
        if len(self.events) >= _HOPELESS and not any(self.events.values()):
            raise RuntimeError(
                f"process {self.process.name!r} must pass the lepton filter now and then, not never in "
                f"{len(self.events)} chunks; enlarge the chunks or leave it out"
            )
        return min(self.wanted, before + events) - min(self.wanted, before)


class _Here:
    """Stands in for an executor: work is done at once, in this process."""

    def submit(self, function: Any, job: _Job) -> Future[float]:
        """Do it."""
        future: Future[float] = Future()
        future.set_result(function(job))
        return future

    def shutdown(self, **_: bool) -> None:
        """Nothing is left to do."""


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor | _Here]:
    """Processes of their own (Pythia keeps the interpreter lock), or this one if there is to be one worker."""
    if workers == 1:
        executor: ProcessPoolExecutor | _Here = _Here()
    else:
        executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _fill(sources: list[_Source], label: str, workers: int) -> None:
    """Make chunks, or find them in the work folder, until every source has enough."""
    total = sum(source.wanted for source in sources)
    with task(label, total) as progress, _executor(workers) as executor:
        running: dict[Future[float], tuple[_Source, int]] = {}
        while any(source.used() is None for source in sources):
            hungry = [source for source in sources if source.hungry()]
            if hungry and len(running) < workers:
                source = min(hungry, key=lambda one: one.asked - len(one.events))  # fair: the one with least under way
                index, source.asked = source.asked, source.asked + 1
                job = source.job(index)
                if job.path.exists():
                    progress.advance(source.finish(index), f"{source.process.name} found")
                else:
                    running[executor.submit(_make_chunk, job)] = source, index
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                source, index = running.pop(future)
                seconds = future.result()
                new = source.finish(index)
                speed = source.events[index] / max(seconds, 1e-9)
                progress.advance(new, f"{source.process.name} {speed:.1f} events/s per worker")


def _statistics(source: _Source, chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """What the file tells of a process."""
    collisions = sum(int(chunk["generated"]) for chunk in chunks)
    decays = source.plan.qcd_decays if source.process.name == QCD.name else 1
    passed = sum(len(chunk["particles"]) for chunk in chunks)
    distinct = sum(len(np.unique(chunk["parent"])) for chunk in chunks)
    return {
        "commands": source.process.commands,
        "events": source.wanted,
        "collisions": collisions,
        "decays_per_collision": decays,
        "passed": passed,
        "passed_from_different_collisions": distinct,
        "filter_efficiency": passed / (collisions * decays),
        "sigma_mb": float(np.mean([chunk["sigma_mb"] for chunk in chunks])),
    }


def write_adc2021(path: Path, particles: Floats, attributes: dict[str, Any]) -> None:
    """Write events (n, 19, 4) as ADC2021 has them, whole or not at all; `attributes` are numbers, texts or JSON."""
    with replacing(path) as aside, h5py.File(aside, "w") as file:
        data = particles.astype(np.float64)
        file.create_dataset("Particles", data=data, compression="gzip", chunks=(min(len(data), 4096), 19, 4))
        file.create_dataset("Particles_Names", data=np.array([name.encode() for name in NAMES]), compression="gzip")
        file.create_dataset("Particles_Classes", data=np.array([name.encode() for name in CLASSES]), compression="gzip")
        for key, value in attributes.items():
            file.attrs[key] = value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _write_sample(plan: Adc2021Plan, sample: Sample, sources: list[_Source], out: Path) -> Path:
    """Join the chunks of a sample in random order."""
    parts, statistics = [], {}
    for source in sources:
        chunks = []
        for index in range(source.used() or 0):
            with np.load(source.job(index).path) as saved:
                chunks.append({name: saved[name] for name in saved.files})
        parts.append(np.concatenate([chunk["particles"] for chunk in chunks])[: source.wanted])
        statistics[source.process.name] = _statistics(source, chunks)
    particles = np.concatenate(parts)
    order = np.random.default_rng(derived_seed(plan.seed, "adc2021", sample.name, "order")).permutation(len(particles))
    achieved = {source.process.name: source.wanted / sample.events for source in sources}
    background = set(achieved) <= set(PUBLISHED_MIXTURE)
    rates = {name: s["sigma_mb"] * s["filter_efficiency"] for name, s in statistics.items() if background}
    attributes = {
        "simulated": True,
        "stand_in_for": "ADC2021 (arXiv 2107.02157): simulated anew by l1ad, not a copy",
        "plan_name": plan.name,
        "sample": sample.name,
        "seed": plan.seed,
        "energy_gev": plan.energy_gev,
        "pileup_mean": plan.pileup,
        "pileup_pool": -(-plan.pool // plan.chunk) * plan.chunk,
        "lepton_min_gev": plan.lepton_min_gev,
        "mixture": achieved,
        "mixture_of_cross_sections": {name: rate / sum(rates.values()) for name, rate in rates.items()},
        "mixture_published": PUBLISHED_MIXTURE if background else {},
        "processes": statistics,
        "response": asdict(plan.response),
        "versions": {"l1ad": __version__, "revision": REVISION}
        | {name: version(name) for name in ("pythia8mc", "fastjet", "numpy")},
    }
    path = out / f"{sample.name}.h5"
    write_adc2021(path, particles[order], attributes)
    return path


def make_adc2021(plan: Adc2021Plan, out: Path, work: Path, workers: int = 1) -> tuple[Path, ...]:
    """Generate the files of a plan in the folder `out`; their paths.

    Parameters
    ----------
    work : folder of the chunks, which a later run uses again
    workers : processes that generate at the same time; the files do not depend on it

    Raises
    ------
    ImportError
        If Pythia or FastJet is missing; the text has the remedy.
    RuntimeError
        If a process never passes the lepton filter.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    pool = _Source(plan, "pool", POOL, plan.pool, (), work)
    _fill([pool], f"{plan.name}: pileup pool", workers)
    paths = tuple(pool.job(index).path for index in range(pool.used() or 0))
    sources = {
        sample.name: [
            _Source(plan, sample.name, PROCESSES[name], wanted, paths, work)
            for name, wanted in sample.counts().items()
            if wanted
        ]
        for sample in plan.samples
    }
    _fill([source for group in sources.values() for source in group], f"{plan.name}: events", workers)
    return tuple(_write_sample(plan, sample, sources[sample.name], out) for sample in plan.samples)
