"""Step 1: particles of single collisions -> tower deposits and what may become a muon."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.response.geometry import (
    ETA_EDGES,
    GEV_PER_DEPOSIT,
    N_CELLS,
    N_ETA,
    N_PHI,
)

__all__ = ["DEPOSIT", "KAON", "MUON", "PION", "TRACK", "Collisions", "ParticleResponse", "Particles", "deposit"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_CHARGED = np.array([11, 13, 211, 321, 2212, 3112, 3222, 3312, 3334])
_NEUTRINOS = np.array([12, 14, 16])

DEPOSIT = np.dtype([("row", "u1"), ("column", "u1"), ("et", "<u2")])
"""Row is ``layer * 80 + eta row`` (layer 0 ECAL, 1 HCAL), column the phi tower, et in `GEV_PER_DEPOSIT`."""

MUON, PION, KAON = 0, 1, 2
TRACK = np.dtype([("pt", "<f4"), ("eta", "<f4"), ("phi", "<f4"), ("charge", "i1"), ("kind", "u1")])
"""What may be seen as a muon, before the detector: a muon, or a charged pion or kaon that may decay to one."""


@dataclass(frozen=True)
class ParticleResponse:
    """Constants of the passage of one particle through the detector."""

    bend_gev: float = 0.735  # 0.3 x 3.8 T x 1.29 m / 2: pT of a track that just curls up (CMS solenoid)
    barrel_radius_m: float = 1.29  # ECAL front face (CMS TDR)
    endcap_z_m: float = 3.17  # ECAL endcap front face (CMS TDR)
    em_scale: float = 0.97  # tuned
    em_stochastic: float = 0.05  # sqrt(GeV); test beam 0.028, tuned for trigger primitives
    em_constant: float = 0.01  # tuned
    hadron_em_fraction: float = 0.30  # mean share of a hadron's energy in the ECAL (typical of test beams)
    hadron_em_spread: float = 0.25  # tuned
    hadron_scale: float = 0.90  # tuned: the calorimeter is not compensating
    hadron_stochastic: float = 1.0  # sqrt(GeV); test beam about 1.0
    hadron_constant: float = 0.09  # tuned
    deposit_min_gev: float = 0.02  # smaller deposits are dropped: they cannot lift a tower over its threshold
    track_min_gev: float = 2.5  # tuned: reach of the muon system
    track_eta_max: float = 2.4  # CMS muon system


@dataclass(frozen=True)
class Particles:
    """Visible and invisible final-state particles of n collisions, flat.

    Attributes
    ----------
    pid : (m,) int, PDG code
    px, py, pz, energy : (m,) float, GeV
    collision : (m,) int, index of the collision, ascending
    n : number of collisions
    """

    pid: Ints
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    collision: Ints
    n: int


@dataclass(frozen=True)
class Collisions:
    """A stock of n pp collisions.

    Attributes
    ----------
    deposits : (m,) `DEPOSIT`
    first_deposit : (n + 1,) int64, collision i owns ``deposits[first_deposit[i]:first_deposit[i + 1]]``
    tracks : (k,) `TRACK`
    first_track : (n + 1,) int64, as `first_deposit`
    """

    deposits: NDArray[Any]
    first_deposit: Ints
    tracks: NDArray[Any]
    first_track: Ints

    def __len__(self) -> int:
        return len(self.first_deposit) - 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as `numpy.savez` wants them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def hardness(self) -> NDArray[np.float32]:
        """Largest single deposit or muon of each collision, (n,) GeV; 0 for an empty one."""
        out = np.zeros(len(self), np.float32)
        et = self.deposits["et"] * np.float32(GEV_PER_DEPOSIT)
        np.maximum.at(out, np.repeat(np.arange(len(self)), np.diff(self.first_deposit)), et)
        muon = np.where(self.tracks["kind"] == MUON, self.tracks["pt"], 0)
        np.maximum.at(out, np.repeat(np.arange(len(self)), np.diff(self.first_track)), muon)
        return out

    @staticmethod
    def concatenate(stocks: list[Collisions]) -> Collisions:
        """One stock after the other; index of a collision = its own plus the lengths before it."""
        if not stocks:
            raise ValueError("stocks must be given to concatenate, not nothing")

        def joined(name: str) -> NDArray[Any]:
            if not name.startswith("first"):
                return np.concatenate([getattr(s, name) for s in stocks])
            sizes = np.concatenate([np.diff(getattr(s, name)) for s in stocks])
            return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

        return Collisions(**{f.name: joined(f.name) for f in fields(Collisions)})


def _offsets(owner: Ints, n: int) -> Ints:
    return np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)


def deposit(particles: Particles, response: ParticleResponse, rng: np.random.Generator) -> Collisions:
    """Tower deposits and tracks of single collisions.

    Charged particles bend in the solenoid, those below its reach never arrive.  Electrons and photons deposit in the
    ECAL; hadrons share their energy between ECAL and HCAL at random.
    """
    r = response
    pid = np.abs(particles.pid)
    pt = np.hypot(particles.px, particles.py)
    eta = np.arcsinh(particles.pz / np.maximum(pt, 1e-9))
    visible = ~np.isin(pid, _NEUTRINOS) & (np.abs(eta) < ETA_EDGES[-1])
    pid, pt, eta = pid[visible], pt[visible], eta[visible]
    phi = np.arctan2(particles.py, particles.px)[visible]
    energy, owner = particles.energy[visible], particles.collision[visible]
    charged = np.isin(pid, _CHARGED)
    sign = np.sign(particles.pid[visible]) * np.where((pid == 11) | (pid == 13), -1, 1)

    # the path to the calorimeter: shorter in the endcaps
    radius = np.minimum(r.barrel_radius_m, r.endcap_z_m / np.maximum(np.sinh(np.abs(eta)), 1e-9))
    reach = r.bend_gev * radius / r.barrel_radius_m
    sine = np.where(charged, reach / np.maximum(pt, 1e-9), 0.0)
    arrives = (sine < 1.0) & (pid != 13)
    phi_calo = phi - sign * np.arcsin(np.minimum(sine, 1.0))

    electromagnetic = (pid == 11) | (pid == 22)
    share = np.clip(rng.normal(r.hadron_em_fraction, r.hadron_em_spread, len(pid)), 0.0, 1.0)
    share = np.where(electromagnetic, 1.0, share)
    e, h = r.em_scale * share * energy, r.hadron_scale * (1.0 - share) * energy
    e += rng.standard_normal(len(e)) * np.sqrt(r.em_stochastic**2 * e + (r.em_constant * e) ** 2)
    h += rng.standard_normal(len(h)) * np.sqrt(r.hadron_stochastic**2 * h + (r.hadron_constant * h) ** 2)
    row = np.clip(np.digitize(eta, ETA_EDGES) - 1, 0, N_ETA - 1)
    column = np.floor(phi_calo * (N_PHI / (2 * np.pi))).astype(np.int64) % N_PHI
    et = np.concatenate([e, h]) / np.tile(np.cosh(eta), 2)
    keep = (et > r.deposit_min_gev) & np.tile(arrives, 2)
    layer_row = np.concatenate([row, row + N_ETA])
    cell = ((np.tile(owner, 2) * 2 * N_ETA + layer_row) * N_PHI + np.tile(column, 2))[keep]
    cell, where = np.unique(cell, return_inverse=True)
    summed = np.bincount(where, weights=et[keep], minlength=len(cell))
    deposits = np.zeros(len(cell), DEPOSIT)
    deposits["row"] = cell // N_PHI % (2 * N_ETA)
    deposits["column"] = cell % N_PHI
    # more than 16 bits is far above what a tower can say
    deposits["et"] = np.minimum(np.rint(summed / GEV_PER_DEPOSIT), np.iinfo(np.uint16).max)

    candidate = np.isin(pid, (13, 211, 321)) & (pt > r.track_min_gev) & (np.abs(eta) < r.track_eta_max)
    i = np.flatnonzero(candidate)
    tracks = np.zeros(len(i), TRACK)
    tracks["pt"], tracks["eta"], tracks["phi"], tracks["charge"] = pt[i], eta[i], phi[i], sign[i]
    tracks["kind"] = np.select([pid[i] == 13, pid[i] == 211], [MUON, PION], KAON)
    return Collisions(deposits, _offsets(cell // N_CELLS, particles.n), tracks, _offsets(owner[i], particles.n))
