"""Leptons from heavy hadrons, made affordable: each collision is hadronised once and its heavy hadrons decay often.

QCD passes the lepton filter of ADC2021 less than once in 10,000 collisions, nearly always by the decay of a hadron
with a b or c quark.  Most of the time goes into the collision, not into these decays, so they are repeated.

Every pair (collision, decay) is an equally probable outcome of the plain simulation: all pairs that pass are kept,
with no weights, and the efficiency is passes / (collisions x repeats); both are unbiased.  For pairs of b quarks above
40 GeV, 6,000 collisions with one decay gave 0.0370 +- 0.0024 and 400 with a hundred 0.0377 +- 0.0016.  Two costs:

- Pairs of the same collision share everything but the decays, so the sample holds fewer independent events than
  rows; the number of different collisions is recorded.
- Leptons that do not come from a heavy hadron are seen only in collisions that have one: Dalitz decays of light
  mesons elsewhere are missed.  After isolation these are expected to be rare; the loss was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.pythia import start_pythia
from l1ad.events.response.particles import Particles

__all__ = ["HEAVY", "TRUE_ETA_MAX", "TRUE_MIN_GEV", "Redecayed", "redecayed"]

Floats = NDArray[np.float64]

HEAVY = (411, 421, 431, 4122, 4132, 4232, 4332, 511, 521, 531, 541, 5122, 5132, 5232, 5332)
"""Hadrons that decay by the weak force of a c or b quark (PDG codes)."""
TRUE_MIN_GEV = 18.0  # less than a reconstructed 23 GeV by three times the worst resolution of a track with its tower
TRUE_ETA_MAX = 2.6  # beyond the tracks
_HADRON_ETA_MAX = 3.2  # a lepton flies near its hadron
_CONE = 0.3
_LOOSE = 1.0  # four times the ratio that the reconstructed isolation allows, in a smaller cone
_NEUTRINOS = (12, 14, 16)


@dataclass(frozen=True)
class Redecayed:
    """Outcomes with a hard, loosely isolated lepton.

    Attributes
    ----------
    particles : one "collision" per outcome
    parent : (particles.n,) which generated collision it comes from
    generated : number of generated collisions, each of which decayed `repeats` times
    sigma_mb : cross section of the process
    """

    particles: Particles
    parent: NDArray[np.int64]
    generated: int
    sigma_mb: float


def _rows(record: Any, indices: range | list[int]) -> Floats:
    """Visible final particles at these positions of an event record, (k, 7): code, px, py, pz, E, eta, phi."""
    rows = []
    for i in indices:
        particle = record[i]
        if particle.isFinal() and particle.idAbs() not in _NEUTRINOS:
            momentum = particle.px(), particle.py(), particle.pz(), particle.e()
            rows.append((particle.id(), *momentum, particle.eta(), particle.phi()))
    return np.array(rows, dtype=np.float64).reshape(-1, 7)


def _is_isolated(lepton: Floats, rows: Floats) -> bool:
    """Whether the pT around `lepton`, itself left out, is below the loose limit."""
    turn = np.abs(rows[:, 6] - lepton[6])
    distance2 = (rows[:, 5] - lepton[5]) ** 2 + np.minimum(turn, 2 * np.pi - turn) ** 2
    around = np.hypot(rows[:, 1], rows[:, 2])[distance2 < _CONE**2].sum()
    own = np.hypot(lepton[1], lepton[2])
    return bool(around - own < _LOOSE * own)


def _passes(new: Floats, rest: Floats) -> bool:
    """Whether one of the decay products is a hard electron or muon, loosely isolated from all else."""
    hard = np.isin(np.abs(new[:, 0]), (11, 13)) & (np.hypot(new[:, 1], new[:, 2]) > TRUE_MIN_GEV)
    leptons = new[hard & (np.abs(new[:, 5]) < TRUE_ETA_MAX)]
    return len(leptons) > 0 and any(_is_isolated(lepton, np.concatenate([rest, new])) for lepton in leptons)


def redecayed(commands: tuple[str, ...], n: int, repeats: int, seed: int, energy_gev: float) -> Redecayed:
    """Generate `n` collisions, let the heavy hadrons of each decay `repeats` times, and keep what `_passes`."""
    pythia = start_pythia(commands, seed, energy_gev)
    record, data = pythia.event, pythia.particleData
    found: list[Floats] = []
    parent: list[int] = []
    generated = 0
    while generated < n:
        for code in HEAVY:
            data.mayDecay(code, False)
        if not pythia.next():
            continue
        generated += 1
        for code in HEAVY:
            data.mayDecay(code, True)
        heavy = [i for i in range(record.size()) if record[i].idAbs() in HEAVY and record[i].isFinal()]
        if not any(record[i].pT() > TRUE_MIN_GEV and abs(record[i].eta()) < _HADRON_ETA_MAX for i in heavy):
            continue
        size = record.size()
        record.saveSize()
        rest: Floats | None = None
        for _ in range(repeats):
            pythia.moreDecays()
            leptons = [i for i in range(size, record.size()) if record[i].idAbs() in (11, 13)]
            if any(record[i].pT() > TRUE_MIN_GEV for i in leptons):
                # the heavy hadrons have decayed by now: they are not part of the rest
                rest = _rows(record, range(size)) if rest is None else rest
                new = _rows(record, range(size, record.size()))
                if _passes(new, rest):
                    found.append(np.concatenate([rest, new]))
                    parent.append(generated - 1)
            record.restoreSize()
            for i in heavy:
                record[i].statusPos()
                record[i].daughters(0, 0)
    rows = np.concatenate([np.zeros((0, 7)), *found])
    return Redecayed(
        particles=Particles(
            pid=rows[:, 0].astype(np.int64),
            px=rows[:, 1],
            py=rows[:, 2],
            pz=rows[:, 3],
            energy=rows[:, 4],
            collision=np.repeat(np.arange(len(found)), [len(part) for part in found]),
            n=len(found),
        ),
        parent=np.array(parent, dtype=np.int64),
        generated=generated,
        sigma_mb=float(pythia.infoPython().sigmaGen()),
    )
