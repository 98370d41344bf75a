"""Collisions from Pythia 8, reduced to deposits and cached."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.processes import ENERGY_GEV, RARE, SIGNALS, SOFT, Process
from l1ad.events.response import Collisions, ParticleResponse, Particles, deposit


def start_pythia(commands: tuple[str, ...], seed: int) -> Any:
    """A Pythia generator with these settings, ready for events; ``ImportError`` names the remedy."""
    try:
        import awkward  # noqa: F401  (pythia8mc hands events over as awkward arrays)
        import pythia8mc
    except ImportError as error:
        raise ImportError(f"{error.name} must be installed to generate events; pip install 'l1ad[generate]'") from error
    pythia = pythia8mc.Pythia("", False)
    common = ("Print:quiet = on", f"Beams:eCM = {ENERGY_GEV}", "Random:setSeed = on", f"Random:seed = {seed}")
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
    """Collisions of one process with the numbers of the run that made them.

    Attributes
    ----------
    collisions : the collisions kept
    generated : number generated, including those above `Process.pt_hat_max_gev`
    sigma_mb : cross section of the process as generated, before that cut
    """

    collisions: Collisions
    generated: int
    sigma_mb: float


def generate(process: Process, n: int, seed: int, response: ParticleResponse, batch: int = 250) -> Stock:
    """Generate `n` collisions of `process` and reduce them to deposits; deterministic in `seed`."""
    pythia = start_pythia(process.commands, seed)
    rng = np.random.default_rng(seed)
    kept: list[Collisions] = []
    for start in range(0, n, batch):
        made = pythia.nextBatch(min(batch, n - start))
        particles = final_particles(made)
        if process.pt_hat_max_gev is not None:
            particles = _keep(particles, hardest_scatter(made) < process.pt_hat_max_gev)
        kept.append(deposit(particles, response, rng))
    return Stock(Collisions.concatenate(kept), n, float(pythia.infoPython().sigmaGen()))


def derived_seed(master: int, *names: str | int) -> int:
    """A Pythia seed (1 .. 900,000,000) that is a fixed function of the master seed and the names."""
    text = "/".join(str(part) for part in (master, *names))
    return 1 + int.from_bytes(sha256(text.encode()).digest()[:8]) % 900_000_000


_NOTHING = Particles(*(np.zeros(0, np.int64), *(np.zeros(0),) * 4, np.zeros(0, np.int64)), n=0)


def stock(
    process: Process,
    n: int,
    master: int,
    sample: str,
    response: ParticleResponse,
    folder: Path,
    report: Callable[[str], None] = print,
) -> Stock:
    """`generate` in chunks that are kept in `folder` and found again by a later run.

    A cached chunk is used only if process, size, seed, and every constant of the response are the same;
    after a change of the code that reduces collisions, empty the folder.
    """
    chunks = [Stock(deposit(_NOTHING, response, np.random.default_rng(0)), 0, 0.0)]
    for start in range(0, n, process.chunk):
        size = min(process.chunk, n - start)
        seed = derived_seed(master, sample, process.name, start)
        parts = [asdict(process), asdict(response), size, seed, ENERGY_GEV]
        key = json.dumps(parts, sort_keys=True)
        path = folder / f"{sample}-{process.name}-{start}-{sha256(key.encode()).hexdigest()[:12]}.npz"
        if not path.exists():
            clock = time.perf_counter()
            made = generate(process, size, seed, response)
            aside = path.with_suffix(".part.npz")
            numbers: dict[str, Any] = {"generated": made.generated, "sigma_mb": made.sigma_mb}
            np.savez(aside, **(numbers | made.collisions.arrays()))
            aside.rename(path)
            report(f"{sample} {process.name}: {size} collisions, {size / (time.perf_counter() - clock):.0f}/s")
        with np.load(path) as saved:
            arrays = {name: saved[name] for name in saved.files}
        generated, sigma = int(arrays.pop("generated")), float(arrays.pop("sigma_mb"))
        chunks.append(Stock(Collisions(**arrays), generated, sigma))
    return Stock(
        Collisions.concatenate([chunk.collisions for chunk in chunks]),
        sum(chunk.generated for chunk in chunks),
        chunks[-1].sigma_mb,
    )


def cross_sections(master: int, folder: Path, tries: int = 200_000) -> dict[str, float]:
    """Cross section of every process in mb, by name, to about 0.1 %; stops before the shower, so it is quick."""
    path = folder / f"cross-sections-{master}-{tries}.json"
    if not path.exists():
        sigma = {}
        for process in (SOFT, *RARE, *SIGNALS):
            commands = (*process.commands, "PartonLevel:all = off")
            pythia = start_pythia(commands, derived_seed(master, "sigma", process.name))
            pythia.nextBatch(tries)
            sigma[process.name] = float(pythia.infoPython().sigmaGen())
        path.write_text(json.dumps(sigma, indent=1))
    loaded: dict[str, float] = json.loads(path.read_text())
    return loaded
