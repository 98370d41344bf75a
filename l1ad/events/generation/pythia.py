"""Collisions from Pythia 8, reduced to deposits and cached."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.processes import Process
from l1ad.events.generation.thermal import decay
from l1ad.events.response.particles import Collisions, ParticleResponse, Particles, deposit
from l1ad.files import canonical_json, replacing, write_text
from l1ad.progress import task

ENERGY_GEV = 13600.0
CHUNK = 1_000
"""Collisions made by one run of Pythia and kept in one file, ten times as many soft ones: half a minute or less."""
TRIES = 200_000
"""Phase-space points from which a cross section is found, to about 0.1 %."""


def start_pythia(commands: tuple[str, ...], seed: int, energy_gev: float = ENERGY_GEV) -> Any:
    """A Pythia generator with these settings, ready for events; ``ImportError`` names the remedy."""
    try:
        import awkward  # noqa: F401  (pythia8mc hands events over as awkward arrays)
        import pythia8mc
    except ImportError as error:
        raise ImportError(f"{error.name} must be installed to generate events; pip install 'l1ad[generate]'") from error
    pythia = pythia8mc.Pythia("", False)
    common = ("Print:quiet = on", f"Beams:eCM = {energy_gev}", "Random:setSeed = on", f"Random:seed = {seed}")
    for command in common + commands:
        if not pythia.readString(command):
            raise ValueError(f"Pythia setting must be known, not {command!r}")
    if not pythia.init():
        raise RuntimeError(f"Pythia must accept the settings, not refuse {commands}")
    return pythia


def final_particles(batch: Any) -> Particles:
    """Final-state particles of a Pythia batch."""
    import awkward as ak

    record = batch.prt
    final = record.status > 0

    def flat(field: Any) -> NDArray[Any]:
        return np.asarray(ak.to_numpy(ak.flatten(field[final])))

    counts = ak.to_numpy(ak.sum(final, axis=1))
    return Particles(
        pid=flat(record.id).astype(np.int64),
        px=flat(record.p.px),
        py=flat(record.p.py),
        pz=flat(record.p.pz),
        energy=flat(record.p.e),
        collision=np.repeat(np.arange(len(counts)), counts),
        n=len(counts),
    )


def hardest_scatter(batch: Any) -> NDArray[np.float64]:
    """Largest pT of a parton scattering in each event of a Pythia batch, (n,) GeV.

    Pythia's own pT-hat misses the jets of diffractive events (one in 7,000 is above 20 GeV so), which
    HardQCD, being inclusive, contains: the partons leaving any scattering are looked at too.
    """
    import awkward as ak

    record = batch.prt
    status = abs(record.status)
    leaving = (status == 23) | (status == 33)  # the hardest scattering of a system, and further ones
    pt2 = ak.max((record.p.px**2 + record.p.py**2)[leaving], axis=1)
    found = ak.to_numpy(ak.fill_none(pt2, 0.0))
    return np.asarray(np.sqrt(np.maximum(ak.to_numpy(batch.info.pT2Hat), found)))


def _hardest_particle(particles: Particles) -> NDArray[np.float64]:
    """Largest pT of a particle in each collision, (n,) GeV."""
    out = np.zeros(particles.n)
    np.maximum.at(out, particles.collision, np.hypot(particles.px, particles.py))
    return out


def _keep(particles: Particles, keep: NDArray[np.bool_]) -> Particles:
    """Only the collisions where `keep` (n,) is true, renumbered."""
    mask = keep[particles.collision]
    new = np.cumsum(keep) - 1
    return Particles(
        particles.pid[mask],
        particles.px[mask],
        particles.py[mask],
        particles.pz[mask],
        particles.energy[mask],
        new[particles.collision[mask]],
        int(keep.sum()),
    )


@dataclass(frozen=True)
class Stock:
    """Collisions of one process.

    Attributes
    ----------
    collisions : the collisions kept
    generated : number generated, including those that the limits of `Process` drop
    """

    collisions: Collisions
    generated: int


def generate(
    process: Process, n: int, seed: int, response: ParticleResponse, energy_gev: float = ENERGY_GEV, batch: int = 250
) -> Stock:
    """Generate `n` collisions of `process` and reduce them to deposits; deterministic in `seed`."""
    pythia = start_pythia(process.commands, seed, energy_gev)
    rng = np.random.default_rng(seed)
    kept: list[Collisions] = []
    for start in range(0, n, batch):
        made = pythia.nextBatch(min(batch, n - start))
        particles = final_particles(made)
        keep = np.ones(particles.n, np.bool_)
        if process.pt_hat_max_gev is not None:
            keep &= hardest_scatter(made) < process.pt_hat_max_gev
        if process.particle_max_gev is not None:
            keep &= _hardest_particle(particles) < process.particle_max_gev
        if not keep.all():
            particles = _keep(particles, keep)
        if process.thermal is not None:
            particles = decay(particles, process.thermal, rng)
        kept.append(deposit(particles, response, rng))
    return Stock(Collisions.concatenate(kept), n)


def derived_seed(master: int, *names: str | int) -> int:
    """A Pythia seed (1 .. 900,000,000) that is a fixed function of the master seed and the names."""
    text = "/".join(str(part) for part in (master, *names))
    return 1 + int.from_bytes(sha256(text.encode()).digest()[:8]) % 900_000_000


@dataclass(frozen=True)
class Warehouse:
    """A folder of collisions that is filled once and found again by a later run.

    A file is used again only if process, seed, energy, Pythia's version and every constant of the response are the
    same; after a change of the code that reduces collisions, empty the folder.
    """

    folder: Path
    seed: int
    energy_gev: float = ENERGY_GEV
    response: ParticleResponse = field(default_factory=ParticleResponse)
    chunk: int = CHUNK

    def fill(self, wanted: Iterable[tuple[Process, int, str]], workers: int) -> None:
        """Make what is missing of `wanted`: (process, at least so many collisions, sample they are for)."""
        _work(
            "collisions",
            {
                _Job(self, process, sample, start)
                for process, n, sample in wanted
                for start in range(0, n, self.size(process))
            },
            workers,
        )

    def stock(self, process: Process, n: int, sample: str) -> Stock:
        """At least `n` collisions, of whole files that `fill` has made."""
        chunks = [Stock(deposit(_NOTHING, self.response, np.random.default_rng(0)), 0)]
        for start in range(0, n, self.size(process)):
            with np.load(_Job(self, process, sample, start).path) as saved:
                chunks.append(Stock(Collisions(**{name: saved[name] for name in saved.files}), self.size(process)))
        return Stock(
            Collisions.concatenate([chunk.collisions for chunk in chunks]), sum(chunk.generated for chunk in chunks)
        )

    def cross_sections(self, processes: Iterable[Process], workers: int) -> dict[str, float]:
        """Cross section of each process in mb, by name; stops before the shower, so it is quick."""
        every = [_Measurement(self, process) for process in processes]
        _work("cross sections", set(every), workers)
        return {job.process.name: float(json.loads(job.path.read_text())) for job in every}

    def size(self, process: Process) -> int:
        """Collisions in one file."""
        return self.chunk * (10 if process.pt_hat_max_gev is not None else 1)

    def path(self, kind: str, process: Process, *parts: str | int) -> Path:
        """Where something about a process is kept: the name says what made it."""
        key = [asdict(process), self.seed, self.energy_gev, version("pythia8mc"), parts]
        if kind == "collisions":
            key.append(asdict(self.response))
        name = "-".join(str(part) for part in (kind, process.name, *parts))
        return self.folder / f"{name}-{sha256(canonical_json(key).encode()).hexdigest()[:12]}"


def _work(label: str, jobs: set[Any], workers: int) -> None:
    """Do the jobs whose file is missing, in processes of their own."""
    # the long ones first, so that the last to end are short
    missing = sorted((job for job in jobs if not job.path.exists()), key=lambda job: (-job.size, job.path))
    if not missing:
        return
    with (
        task(label, sum(job.size for job in missing)) as progress,
        ProcessPoolExecutor(workers, get_context("spawn")) as pool,
    ):
        running = {pool.submit(job): job for job in missing}
        try:
            for done in as_completed(running):
                done.result()
                progress.advance(running[done].size, running[done].process.name)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # what runs is kept, the rest is left for next time
            raise


@dataclass(frozen=True)
class _Job:
    """One file of collisions to make."""

    house: Warehouse
    process: Process
    sample: str
    start: int

    @property
    def size(self) -> int:
        return self.house.size(self.process)

    @property
    def path(self) -> Path:
        return self.house.path("collisions", self.process, self.sample, self.start, self.size).with_suffix(".npz")

    def __call__(self) -> None:
        seed = derived_seed(self.house.seed, self.sample, self.process.name, self.start)
        made = generate(self.process, self.size, seed, self.house.response, self.house.energy_gev)
        with replacing(self.path) as aside, aside.open("wb") as file:
            np.savez(file, **made.collisions.arrays())  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Measurement:
    """One cross section to find."""

    house: Warehouse
    process: Process
    size = TRIES

    @property
    def path(self) -> Path:
        return self.house.path("cross-section", self.process, TRIES).with_suffix(".json")

    def __call__(self) -> None:
        commands = (*self.process.commands, "PartonLevel:all = off")
        pythia = start_pythia(
            commands, derived_seed(self.house.seed, "sigma", self.process.name), self.house.energy_gev
        )
        for _ in range(TRIES // 10_000):
            pythia.nextBatch(10_000)
        write_text(self.path, json.dumps(float(pythia.infoPython().sigmaGen())))


_NOTHING = Particles(*(np.zeros(0, np.int64), *(np.zeros(0),) * 4, np.zeros(0, np.int64)), n=0)
