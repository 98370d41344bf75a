"""Soft unclustered energy: a mediator that decays to many mesons with a thermal spectrum, and they to pion pairs.

Source: Knapen, Pagan Griso, Papucci and Robinson, arXiv 1612.00850 (spectrum ``dN/d^3p ~ exp(-E / T)``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.processes import Thermal
from l1ad.events.response.particles import Particles

__all__ = ["decay"]

Floats = NDArray[np.float64]
PION_GEV = 0.13957


def _directions(n: int, rng: np.random.Generator) -> Floats:
    """Isotropic unit vectors, (n, 3)."""
    z, phi = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    flat = np.sqrt(1 - z**2)
    return np.column_stack([flat * np.cos(phi), flat * np.sin(phi), z])


def _boosted(momentum: Floats, energy: Floats, frame: Floats, frame_energy: Floats) -> tuple[Floats, Floats]:
    """Momenta (n, 3) and energies (n,) seen from where the rest frames move with `frame` (n, 3) and its energy."""
    mass = np.sqrt(frame_energy**2 - (frame**2).sum(1))
    along = (frame * momentum).sum(1)
    out = momentum + frame * ((along / (frame_energy + mass) + energy) / mass)[:, None]
    return out, (frame_energy * energy + along) / mass


def _mesons(mass_gev: float, thermal: Thermal, rng: np.random.Generator) -> Floats:
    """Momenta (n, 3) of the mesons in the mediator's rest frame: they sum to zero, their energies to its mass."""
    m, t = thermal.meson_gev, thermal.temperature_gev
    grid = np.linspace(0, 30 * t, 3000)
    density = grid**2 * np.exp(-(np.sqrt(grid**2 + m**2) - m) / t)
    p = np.interp(rng.random(int(mass_gev / m) + 2), np.cumsum(density) / density.sum(), grid)
    n = max(2, int(np.searchsorted(np.cumsum(np.sqrt(p**2 + m**2)), mass_gev)))
    momentum = p[:n, None] * _directions(n, rng)
    momentum -= momentum.mean(0)
    square = (momentum**2).sum(1)
    low, high = 0.0, mass_gev / np.sqrt(square.max())
    for _ in range(60):  # one factor for all brings the energy to the mass
        middle = (low + high) / 2
        low, high = (middle, high) if np.sqrt(m**2 + middle**2 * square).sum() < mass_gev else (low, middle)
    return momentum * low


def decay(particles: Particles, thermal: Thermal, rng: np.random.Generator) -> Particles:
    """The same collisions with every mediator replaced by the pions that come of it.

    Raises
    ------
    ValueError
        If no collision has a mediator: Pythia was not told to leave it undecayed.
    """
    found = np.flatnonzero(np.abs(particles.pid) == thermal.pid)
    if not len(found):
        raise ValueError(f"collisions must have a particle {thermal.pid} that Pythia leaves undecayed, not none")
    pions: list[tuple[int, Floats, Floats, int]] = []  # sign, momenta, energies, collision
    for i in found:
        frame = np.array([particles.px[i], particles.py[i], particles.pz[i]])
        rest = _mesons(float(np.sqrt(particles.energy[i] ** 2 - (frame**2).sum())), thermal, rng)
        n = len(rest)
        energy = np.sqrt((rest**2).sum(1) + thermal.meson_gev**2)
        meson, energy = _boosted(rest, energy, np.tile(frame, (n, 1)), np.full(n, particles.energy[i]))
        half = thermal.meson_gev / 2
        pion = _directions(n, rng) * np.sqrt(half**2 - PION_GEV**2)
        for sign in (1, -1):
            momentum, e = _boosted(sign * pion, np.full(n, half), meson, energy)
            pions.append((sign, momentum, e, int(particles.collision[i])))
    keep = np.ones(len(particles.pid), np.bool_)
    keep[found] = False
    p = np.concatenate([momentum for _, momentum, _, _ in pions])
    pid = np.concatenate([np.full(len(e), sign * 211) for sign, _, e, _ in pions])
    owners = [np.full(len(e), collision) for _, _, e, collision in pions]
    energies = [e for _, _, e, _ in pions]
    owner = np.concatenate([particles.collision[keep], *owners])
    order = np.argsort(owner, kind="stable")
    return Particles(
        np.concatenate([particles.pid[keep], pid])[order],
        np.concatenate([particles.px[keep], p[:, 0]])[order],
        np.concatenate([particles.py[keep], p[:, 1]])[order],
        np.concatenate([particles.pz[keep], p[:, 2]])[order],
        np.concatenate([particles.energy[keep], *energies])[order],
        owner[order],
        particles.n,
    )
