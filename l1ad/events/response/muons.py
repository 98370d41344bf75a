"""The muon trigger: tracks of a crossing -> muon candidates in codes, drawn anew at every use of a collision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.response.geometry import GEV_PER_CODE, MUON_ETA_LSB, MUON_PHI_CODES
from l1ad.events.response.particles import KAON, MUON, PION

__all__ = ["MuonResponse", "detect"]

_MAX_CODE = 511


@dataclass(frozen=True)
class MuonResponse:
    """Constants of the muon trigger and of decays on the way to it."""

    min_gev: float = 2.5  # tuned: reach of the muon system
    efficiency: float = 0.92  # tuned (L1 efficiency plateau about 0.93)
    resolution: float = 0.20  # of 1/pT, Gaussian (L1 muon trigger performance, about 20 %)
    tail_share: float = 0.03  # tuned on the rate of single muons above 22 GeV: so many are measured badly, ...
    tail_resolution: float = 0.50  # ... with this resolution of 1/pT (tuned)
    scale: float = 1.15  # L1 pT is assigned so that the efficiency at a threshold is about 90 %
    quality: tuple[tuple[int, float], ...] = ((12, 0.90), (8, 0.07), (4, 0.03))  # code, share: tuned
    path_m: float = 1.29  # hadrons decay before the ECAL, or not at all (CMS TDR)
    pion_decay_gev_per_m: float = 0.0179  # m / (c tau) (PDG)
    kaon_decay_gev_per_m: float = 0.1331  # m / (c tau) (PDG)
    kaon_to_muon: float = 0.636  # BR(K -> mu nu) (PDG)
    pion_muon_min: float = 0.573  # (m_mu / m_pi)^2: lower end of the muon's momentum share (kinematics)
    kaon_muon_min: float = 0.0458  # (m_mu / m_K)^2


def detect(
    tracks: NDArray[Any], response: MuonResponse, rng: np.random.Generator
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Which tracks are seen as muons, and as what.

    A hadron decays to a muon with probability ``(m / c tau) x path / pT`` and keeps a flat share of its pT.

    Parameters
    ----------
    tracks : (k,) `TRACK`

    Returns
    -------
    indices of the tracks seen, (m,), and their codes, each (m,): ``pt`` (0.5 GeV), ``eta`` (0.010875),
    ``phi`` (2 pi / 576), ``charge`` (0 negative, 1 positive), ``quality``
    """
    r = response
    kind, pt = tracks["kind"], tracks["pt"].astype(np.float64)
    rate = np.select([kind == PION, kind == KAON], [r.pion_decay_gev_per_m, r.kaon_decay_gev_per_m * r.kaon_to_muon])
    u = rng.random(len(tracks))
    seen = np.where(kind == MUON, r.efficiency, r.efficiency * rate * r.path_m / np.maximum(pt, 0.1))
    i = np.flatnonzero(u < seen)
    low = np.select([kind[i] == PION, kind[i] == KAON], [r.pion_muon_min, r.kaon_muon_min], 1.0)
    pt = pt[i] * (low + (1 - low) * rng.random(len(i)))
    above = pt > r.min_gev
    i, pt = i[above], pt[above]
    resolution = np.where(rng.random(len(i)) < r.tail_share, r.tail_resolution, r.resolution)
    curvature = np.maximum(1 + resolution * rng.standard_normal(len(i)), 0.1)  # at most ten times too hard
    codes, shares = zip(*r.quality, strict=True)
    return i, {
        "pt": np.clip(np.floor(pt * r.scale / curvature / GEV_PER_CODE), 1, _MAX_CODE).astype(np.int64),
        "eta": np.rint(tracks["eta"][i] / MUON_ETA_LSB).astype(np.int64),
        "phi": np.floor(tracks["phi"][i] * (MUON_PHI_CODES / (2 * np.pi))).astype(np.int64) % MUON_PHI_CODES,
        "charge": (tracks["charge"][i] > 0).astype(np.int64),
        "quality": rng.choice(np.array(codes), len(i), p=np.array(shares)).astype(np.int64),
    }
