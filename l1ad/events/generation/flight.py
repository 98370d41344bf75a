"""Particles on their way to the calorimeters, and crossings put together from them.

A `Flight` holds what does not change when a collision is turned in phi or mirrored in eta, so that a pool of soft
collisions is prepared once and used in many crossings.  Every crossing draws its own turns, and its own response
(`reconstruction`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.delphes import DelphesResponse
from l1ad.events.response.particles import Particles

__all__ = [
    "ELECTRON",
    "HADRON",
    "MUON",
    "NEUTRAL",
    "PHOTON",
    "Crossings",
    "Flight",
    "arrive",
    "offsets_of",
    "overlay",
    "wrapped",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PHOTON, ELECTRON, MUON, HADRON, NEUTRAL = range(5)
"""Kinds of particles: HADRON is charged, NEUTRAL any other that the calorimeters see."""
_CHARGED_HADRONS = np.array([211, 321, 2212, 3112, 3222, 3312, 3334])
_INVISIBLE = np.array([12, 14, 16])


@dataclass(frozen=True)
class Flight:
    """Visible particles of n collisions, with the place where each meets the calorimeter.

    Attributes
    ----------
    kind : (m,) int8, `PHOTON`, `ELECTRON`, `MUON`, `HADRON` (charged) or `NEUTRAL`
    pt, eta, phi, energy : (m,) float32, at the vertex, GeV and radians
    eta_calo : (m,) float32
    turn : (m,) float32, phi at the calorimeter less phi at the vertex
    offsets : (n + 1,) int64, collision i owns particles ``offsets[i]:offsets[i + 1]``
    """

    kind: NDArray[np.int8]
    pt: NDArray[np.float32]
    eta: NDArray[np.float32]
    phi: NDArray[np.float32]
    energy: NDArray[np.float32]
    eta_calo: NDArray[np.float32]
    turn: NDArray[np.float32]
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def collision(self) -> Ints:
        """Collision of each particle, (m,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as `numpy.savez` wants them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def select(self, keep: Bools) -> Flight:
        """Only the collisions where `keep` (n,) is true."""
        lengths = np.diff(self.offsets)
        mask = np.repeat(keep, lengths)
        chosen = {name: array[mask] for name, array in self.arrays().items() if name != "offsets"}
        return Flight(**chosen, offsets=offsets_of(lengths[keep]))

    @staticmethod
    def concatenate(flights: list[Flight]) -> Flight:
        """One set of collisions after the other."""
        names = [f.name for f in fields(Flight) if f.name != "offsets"]
        joined = {name: np.concatenate([getattr(flight, name) for flight in flights]) for name in names}
        return Flight(**joined, offsets=offsets_of(np.concatenate([np.diff(flight.offsets) for flight in flights])))


@dataclass(frozen=True)
class Crossings:
    """Particles of n crossings, flat and ordered by crossing; the fields of `Flight`, and where each came from.

    Attributes
    ----------
    event : (m,) int, index of the crossing
    phi_calo : (m,) float, phi at the calorimeter, not reduced to one turn
    pileup : (m,) bool, from a soft collision whose tracks are recognised as such
    n : number of crossings
    """

    event: Ints
    kind: NDArray[np.int8]
    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats
    eta_calo: Floats
    phi_calo: Floats
    pileup: Bools
    n: int


def offsets_of(lengths: Ints) -> Ints:
    """Where each of consecutive runs of these lengths starts, and where the last one ends: (n + 1,) from (n,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def wrapped(phi: Floats) -> Floats:
    """The same angle in -π..π."""
    return np.asarray((phi + np.pi) % (2 * np.pi) - np.pi)


def arrive(particles: Particles, response: DelphesResponse) -> Flight:
    """Visible particles that reach the calorimeters, muons included; they start at the origin.

    A charged particle flies on a helix of radius ``pt / (0.3 B)``: at radius R of the solenoid it has turned by
    ``2 asin(R / 2r)``, at half length L by ``L / (r sinh|eta|)``; what comes first ends the flight (module
    ParticlePropagator).  Its place is turned by half that angle.
    """
    r = response
    pid = np.abs(particles.pid)
    pt = np.hypot(particles.px, particles.py)
    eta = np.arcsinh(particles.pz / np.maximum(pt, 1e-9))
    kind = np.full(len(pid), NEUTRAL, np.int8)
    for code, members in ((PHOTON, [22]), (ELECTRON, [11]), (MUON, [13]), (HADRON, _CHARGED_HADRONS)):
        kind[np.isin(pid, members)] = code
    charged = (kind != PHOTON) & (kind != NEUTRAL)
    sign = np.sign(particles.pid) * np.where((kind == ELECTRON) | (kind == MUON), -1, 1)

    helix = np.maximum(pt, 1e-9) / (0.3 * r.field_t)
    slope = np.abs(np.sinh(eta))
    to_radius = np.where(2 * helix > r.radius_m, 2 * np.arcsin(np.minimum(r.radius_m / (2 * helix), 1.0)), np.inf)
    to_end = r.half_length_m / np.maximum(helix * slope, 1e-12)
    half_angle = 0.5 * np.minimum(to_radius, to_end)
    distance = 2 * helix * np.sin(half_angle)  # negative: on the other side of the beam
    length = np.minimum(2 * helix * half_angle * slope, r.half_length_m)
    bent_eta = np.sign(eta) * np.arcsinh(length / np.maximum(np.abs(distance), 1e-9))
    eta_calo = np.where(charged, bent_eta, eta)
    turn = np.where(charged, -sign * half_angle + np.where(distance < 0, np.pi, 0.0), 0.0)

    seen = ~np.isin(pid, _INVISIBLE) & (np.abs(eta_calo) < r.calorimeter_eta_max) & (pt > 0)
    phi = np.arctan2(particles.py, particles.px)
    floats = {"pt": pt, "eta": eta, "phi": phi, "energy": particles.energy, "eta_calo": eta_calo, "turn": turn}
    return Flight(
        kind=kind[seen],
        offsets=offsets_of(np.bincount(particles.collision[seen], minlength=particles.n)),
        **{name: array[seen].astype(np.float32) for name, array in floats.items()},
    )


def overlay(hard: Flight, pool: Flight, mean: float, response: DelphesResponse, rng: np.random.Generator) -> Crossings:
    """One crossing per hard collision: it and Poisson(`mean`) collisions of the pool, each turned and mirrored."""
    n = len(hard)
    counts = rng.poisson(mean, n)
    picks = rng.integers(len(pool), size=counts.sum()) if counts.any() else np.zeros(0, np.int64)
    turns = rng.uniform(-np.pi, np.pi, len(picks))
    mirrors = rng.choice([-1.0, 1.0], len(picks))
    merged = rng.random(len(picks)) < erf(response.vertex_resolution_m / (2 * response.vertex_sigma_m))

    length = np.diff(pool.offsets)[picks]
    start = np.cumsum(length) - length
    at = np.arange(length.sum()) + np.repeat(pool.offsets[picks] - start, length)
    mirror = np.repeat(mirrors, length)
    soft_phi = pool.phi[at] + np.repeat(turns, length)
    event = np.concatenate([hard.collision, np.repeat(np.repeat(np.arange(n), counts), length)])
    order = np.argsort(event, kind="stable")

    def joined(first: NDArray[Any], second: NDArray[Any]) -> Floats:
        return np.concatenate([first, second]).astype(np.float64)[order]

    return Crossings(
        event=event[order],
        kind=np.concatenate([hard.kind, pool.kind[at]])[order],
        pt=joined(hard.pt, pool.pt[at]),
        eta=joined(hard.eta, pool.eta[at] * mirror),
        phi=wrapped(joined(hard.phi, soft_phi)),
        energy=joined(hard.energy, pool.energy[at]),
        eta_calo=joined(hard.eta_calo, pool.eta_calo[at] * mirror),
        phi_calo=joined(hard.phi + hard.turn, soft_phi + pool.turn[at]),
        pileup=np.concatenate([np.zeros(len(hard.pt), bool), ~np.repeat(merged, length)])[order],
        n=n,
    )
