"""A parametrised Level-1 calorimeter and muon trigger: particles -> tower deposits -> objects in codes.

It is a *stand-in* for the CMS Phase-1 trigger, tuned by hand on published medians: calibration, not
validation.  Two steps, so that a collision is reduced once and used in many crossings:

1. `deposit` smears the particles of single pp collisions into trigger-tower energies and muon candidates
   (`ParticleResponse`).
2. `find_objects` digitises the towers of whole crossings (the sum over their collisions) and finds jets,
   e/γ, τ, muons and energy sums (`TriggerResponse`).

Every constant is a field of one of the two dataclasses below, with its source; *tuned* marks those chosen
by hand so that the zero-bias sample resembles the published AXOL1TL input scaling.  Sources without an
address were named from memory and not read again.  Left out: out-of-time
pileup, dead channels, electronics noise, muon punch-through, the real calibration tables.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HALF_TOWER",
    "N_ETA",
    "N_PHI",
    "Collisions",
    "ParticleResponse",
    "Particles",
    "TriggerResponse",
    "deposit",
    "digitise",
    "find_objects",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# ---------------------------------------------------------------- geometry (CMS trigger towers; CMS TDR)
N_PHI = 72  # towers of 2 pi / 72; the hadron forward calorimeter is treated at the same granularity
BARREL_TOWER = 0.087  # its width in eta
_BARREL_ENDCAP = [*BARREL_TOWER * np.arange(21), 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 3.0]
_FORWARD = [3.139, 3.314, 3.489, 3.664, 3.839, 4.013, 4.191, 4.363, 4.538, 4.716, 4.889, 5.191]
_HALF = np.array(_BARREL_ENDCAP + _FORWARD)
ETA_EDGES: Floats = np.concatenate([-_HALF[:0:-1], _HALF])
N_ETA = len(ETA_EDGES) - 1  # 80 rows: 12 forward, 56 barrel and endcap, 12 forward
ETA_CENTRES: Floats = 0.5 * (ETA_EDGES[1:] + ETA_EDGES[:-1])
CENTRAL = slice(12, 68)  # |eta| < 3
N_TOWERS = N_ETA * N_PHI
N_CELLS = 2 * N_TOWERS  # layer 0 is ECAL, layer 1 is HCAL
HALF_TOWER = 2  # a tower is two codes of 2 pi / 144
CALO_ETA_LSB = 0.0435
CALO_PHI_CODES = 144
MUON_ETA_LSB = 0.010875
MUON_PHI_CODES = 576
GEV_PER_CODE = 0.5

_CHARGED = np.array([11, 13, 211, 321, 2212, 3112, 3222, 3312, 3334])
_NEUTRINOS = np.array([12, 14, 16])


@dataclass(frozen=True)
class ParticleResponse:
    """Constants of step 1, the passage of one particle through the detector."""

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
    muon_min_gev: float = 2.5  # tuned: reach of the muon system
    muon_eta_max: float = 2.4  # CMS muon system
    muon_efficiency: float = 0.92  # tuned (L1 efficiency plateau about 0.93)
    muon_resolution: float = 0.20  # of 1/pT (L1 muon trigger performance, about 20 %)
    muon_scale: float = 1.15  # L1 pT is assigned so that the efficiency at a threshold is about 90 %
    muon_quality: tuple[tuple[int, float], ...] = ((12, 0.90), (8, 0.07), (4, 0.03))  # code, share: tuned
    pion_decay_gev_per_m: float = 0.0179  # m / (c tau) (PDG)
    kaon_decay_gev_per_m: float = 0.1331  # m / (c tau) (PDG)
    kaon_to_muon: float = 0.636  # BR(K -> mu nu) (PDG)
    pion_muon_min: float = 0.573  # (m_mu / m_pi)^2: lower end of the muon's momentum share (kinematics)
    kaon_muon_min: float = 0.0458  # (m_mu / m_K)^2


@dataclass(frozen=True)
class TriggerResponse:
    """Constants of step 2; energies in GeV unless a name says otherwise."""

    ecal_min_gev: float = 1.0  # tuned: zero suppression of a barrel tower; wider towers get more in proportion
    hcal_min_gev: float = 2.5  # tuned: same; stands in for the pileup-dependent HCAL thresholds
    tower_max_code: int = 255  # 8 bits of 0.5 GeV per calorimeter (CMS-TDR-012)
    jet_seed_gev: float = 4.0  # Layer 2 jet seed threshold (CMS-TDR-012)
    jet_soft_scale: float = 1.6  # tuned: calibration of soft jets, a line ...
    jet_soft_offset_gev: float = -6.0  # tuned: ... that takes off the pileup which the strips miss
    jet_hard_scale: float = 1.15  # tuned: calibration of hard jets; the smaller of the two lines is taken
    jet_hard_offset_gev: float = 5.0  # tuned
    jet_min_gev: float = 6.0  # tuned: storage and the medians of soft jets
    eg_seed_gev: float = 2.0  # Layer 2 e/gamma seed threshold (CMS-TDR-012)
    eg_min_gev: float = 3.0  # tuned: storage
    eg_hadron_ratio: float = 0.05  # tuned: H/E of the 3x3 cluster
    eg_core_share: float = 0.75  # tuned: seed tower over 3x3 cluster
    eg_iso_ratio: float = 0.15  # tuned: surrounding energy allowed per cluster energy ...
    eg_iso_gev: float = 6.0  # ... plus this much (tuned)
    tau_min_gev: float = 14.0  # tuned: storage
    tau_scale: float = 1.2  # tuned
    tau_core_share: float = 0.55  # tuned: 3x3 core over the pileup-subtracted jet
    tau_iso_gev: float = 8.0  # tuned: (jet - core) below this sets the isolation bit
    tau_eta_max: float = 2.5  # menu practice
    muon_iso_gev: float = 10.0  # tuned: 5x5 towers around the muon
    met_tower_gev: float = 4.0  # tuned: pileup mitigation of the missing energy
    ht_jet_gev: float = 30.0  # jets that count in HT and MHT (CMS L1 practice)
    ht_jet_eta: float = 2.5


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
    """A stock of pp collisions, each reduced to tower deposits and muon candidates.

    Attributes
    ----------
    row : (m,) uint8, ``layer * 80 + eta row``; layer 0 is ECAL, 1 is HCAL
    column : (m,) uint8, phi tower 0..71
    et : (m,) float32, transverse energy in GeV
    deposits : (n + 1,) int64, collision i owns deposits ``deposits[i]:deposits[i + 1]``
    muon_pt, muon_eta, muon_phi : (k,) int16, codes of 0.5 GeV, 0.010875, 2 pi / 576
    muon_charge, muon_quality : (k,) int16, charge code 0 (negative) or 1; quality code
    muons : (n + 1,) int64, as `deposits`
    """

    row: NDArray[np.uint8]
    column: NDArray[np.uint8]
    et: NDArray[np.float32]
    deposits: Ints
    muon_pt: NDArray[np.int16]
    muon_eta: NDArray[np.int16]
    muon_phi: NDArray[np.int16]
    muon_charge: NDArray[np.int16]
    muon_quality: NDArray[np.int16]
    muons: Ints

    def __len__(self) -> int:
        return len(self.deposits) - 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as `numpy.savez` wants them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def hardness(self) -> NDArray[np.float32]:
        """Largest single deposit or muon of each collision, (n,) GeV; 0 for an empty one."""
        out = np.zeros(len(self), np.float32)
        np.maximum.at(out, np.repeat(np.arange(len(self)), np.diff(self.deposits)), self.et)
        muon = self.muon_pt.astype(np.float32) * np.float32(GEV_PER_CODE)
        np.maximum.at(out, np.repeat(np.arange(len(self)), np.diff(self.muons)), muon)
        return out

    @staticmethod
    def concatenate(stocks: list[Collisions]) -> Collisions:
        """One stock after the other; index of a collision = its own plus the lengths before it."""
        if not stocks:
            raise ValueError("stocks must be given to concatenate, not nothing")

        def joined(name: str) -> NDArray[Any]:
            if name not in ("deposits", "muons"):
                return np.concatenate([getattr(s, name) for s in stocks])
            sizes = np.concatenate([np.diff(getattr(s, name)) for s in stocks])
            return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

        return Collisions(**{f.name: joined(f.name) for f in fields(Collisions)})


def _offsets(owner: Ints, n: int) -> Ints:
    return np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)


def deposit(particles: Particles, response: ParticleResponse, rng: np.random.Generator) -> Collisions:
    """Tower deposits and muon candidates of single collisions.

    Charged particles bend in the solenoid, those below its reach never arrive.  Electrons and photons
    deposit in the ECAL; hadrons share their energy between ECAL and HCAL at random.  Charged pions and
    kaons may decay to a muon before the calorimeter, and prompt muons are muons.
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

    muons, muon_owner = _muons(pid, sign, pt, eta, phi, owner, r, rng)
    return Collisions(
        row=(cell // N_PHI % (2 * N_ETA)).astype(np.uint8),
        column=(cell % N_PHI).astype(np.uint8),
        et=summed.astype(np.float32),
        deposits=_offsets(cell // N_CELLS, particles.n),
        muons=_offsets(muon_owner, particles.n),
        **muons,
    )


def _muons(
    pid: Ints,
    sign: Ints,
    pt: Floats,
    eta: Floats,
    phi: Floats,
    owner: Ints,
    r: ParticleResponse,
    rng: np.random.Generator,
) -> tuple[dict[str, NDArray[np.int16]], Ints]:
    """Prompt muons and decays in flight as muon candidates in codes, and the collision of each."""
    u = rng.random(len(pid))
    pion, kaon = pid == 211, pid == 321
    constant = np.where(pion, r.pion_decay_gev_per_m, r.kaon_decay_gev_per_m * r.kaon_to_muon)
    decays = (pion | kaon) & (u < constant * r.barrel_radius_m / np.maximum(pt, 0.1))
    low = np.where(pion, r.pion_muon_min, r.kaon_muon_min)
    pt = pt * np.where(decays, low + (1 - low) * rng.random(len(pid)), 1.0)
    good = ((pid == 13) | decays) & (pt > r.muon_min_gev) & (np.abs(eta) < r.muon_eta_max)
    i = np.flatnonzero(good & (rng.random(len(pid)) < r.muon_efficiency))
    curvature = np.maximum(1 + r.muon_resolution * rng.standard_normal(len(i)), r.muon_resolution)
    codes, shares = zip(*r.muon_quality, strict=True)
    muons = {
        "muon_pt": np.clip(np.floor(pt[i] * r.muon_scale / curvature / GEV_PER_CODE), 1, 511).astype(np.int16),
        "muon_eta": np.rint(eta[i] / MUON_ETA_LSB).astype(np.int16),
        "muon_phi": (np.floor(phi[i] * MUON_PHI_CODES / (2 * np.pi)) % MUON_PHI_CODES).astype(np.int16),
        "muon_charge": (sign[i] > 0).astype(np.int16),
        "muon_quality": rng.choice(np.array(codes), len(i), p=np.array(shares)).astype(np.int16),
    }
    return muons, owner[i]


# ---------------------------------------------------------------- step 2: from towers to objects
_PAD = 7  # the pileup strips of a jet reach seven towers from its centre
_STRIDE = N_PHI + 2 * _PAD
# An arbitrary fixed order of the towers: ties in energy must not prefer a side of the detector.
_ORDER = np.random.default_rng(0).permutation(N_TOWERS).astype(np.int32)


def digitise(et: Floats, response: TriggerResponse) -> NDArray[np.int32]:
    """Tower codes (n, 2, 80, 72) of 0.5 GeV from transverse energies of the same shape in GeV."""
    area = np.diff(ETA_EDGES) / BARREL_TOWER
    floor = np.outer([response.ecal_min_gev, response.hcal_min_gev], area)[None, :, :, None]
    codes = np.minimum((et * (1 / GEV_PER_CODE)).astype(np.int32), response.tower_max_code)
    return np.where(et < floor, 0, codes).astype(np.int32)


def _padded(towers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Towers (n, 80, 72) with `_PAD` empty rows at both ends in eta and wrapped columns in phi, flat."""
    out = np.zeros((len(towers), N_ETA + 2 * _PAD, _STRIDE), np.int32)
    out[:, _PAD:-_PAD, _PAD:-_PAD] = towers
    out[:, :, :_PAD] = out[:, :, -2 * _PAD : -_PAD]
    out[:, :, -_PAD:] = out[:, :, _PAD : 2 * _PAD]
    return out.reshape(-1)


def _window(rows: range, columns: range) -> Ints:
    """Offsets of a window of towers, relative to its centre, in the padded flat array."""
    offsets: Ints = (np.array(rows)[:, None] * _STRIDE + np.array(columns)).reshape(-1)
    return offsets


def _square(rows: int, columns: int) -> Ints:
    """Window of ``(2 rows + 1) x (2 columns + 1)`` towers around the centre."""
    return _window(range(-rows, rows + 1), range(-columns, columns + 1))


_CLUSTER = _square(1, 1)
_ISOLATION = _square(2, 4)
_MUON_CONE = _square(2, 2)
_JET = _square(4, 4)
_STRIPS = np.stack(
    [
        *(_window(range(-4, 5), range(c - 1, c + 2)) for c in (-6, 6)),
        *(_window(range(c - 1, c + 2), range(-4, 5)) for c in (-6, 6)),
    ]
)  # (4, 27): the strips around a jet, for its pileup


@dataclass(frozen=True)
class _Sites:
    """Towers picked in a batch of events, flat (k,): event, eta row, phi column, index in the padded array."""

    event: Ints
    row: Ints
    column: Ints
    centre: Ints

    def where(self, mask: NDArray[np.bool_]) -> _Sites:
        return _Sites(self.event[mask], self.row[mask], self.column[mask], self.centre[mask])

    def total(self, padded: NDArray[np.int32], window: Ints) -> Ints:
        """Sum of `padded` over the window around each site, (k,) codes."""
        total: Ints = padded[self.centre[:, None] + window].sum(1, dtype=np.int64)
        return total


def _sites(event: Ints, row: Ints, column: Ints) -> _Sites:
    return _Sites(event, row, column, (event * (N_ETA + 2 * _PAD) + row + _PAD) * _STRIDE + column + _PAD)


def _local_maxima(towers: NDArray[np.int32], least: float, window: Ints) -> _Sites:
    """Towers of at least `least` codes that are the largest of their window; ties go by `_ORDER`."""
    event, row, column = np.nonzero(towers >= least)
    found = _sites(event, row, column)
    ranked = _padded(np.where(towers > 0, towers * N_TOWERS + _ORDER.reshape(N_ETA, N_PHI), 0))
    return found.where(ranked[found.centre[:, None] + window].max(1) == ranked[found.centre])


def _codes(gev: float) -> int:
    return round(gev / GEV_PER_CODE)


def _ranked(events: int, slots: int, owner: Ints, pt: Ints, tie: Ints, **columns: Ints) -> dict[str, NDArray[np.int16]]:
    """Objects sorted by falling pT into (events, slots) arrays, zero where there is none."""
    order = np.lexsort((tie, -pt, owner))
    counts = np.bincount(owner, minlength=events)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    order, rank = order[rank < slots], rank[rank < slots]
    out = {}
    for name, values in {"pt": pt, **columns}.items():
        out[name] = np.zeros((events, slots), np.int16)
        out[name][owner[order], rank] = values[order]
    return out


def _direction(x: Floats, y: Floats) -> Ints:
    return np.floor(np.arctan2(y, x) * (CALO_PHI_CODES / (2 * np.pi))).astype(np.int64) % CALO_PHI_CODES


def find_objects(
    towers: NDArray[np.int32], muons: dict[str, Ints], response: TriggerResponse
) -> dict[str, NDArray[np.int16]]:
    """Trigger objects of a batch of crossings.

    Parameters
    ----------
    towers : (n, 2, 80, 72) codes of `digitise`
    muons : flat candidates of the batch: ``event``, ``pt``, ``eta``, ``phi``, ``charge``, ``quality``, codes
    response : constants

    Returns
    -------
    columns keyed ``"jet.pt"``, each (n, slots) int16 codes of the schema ``cms_run3``
    """
    r, n = response, len(towers)
    ecal, hcal = towers[:, 0], towers[:, 1]
    both = ecal + hcal
    pad_ecal, pad_hcal, pad = _padded(ecal), _padded(hcal), _padded(both)
    eta_codes = np.rint(ETA_CENTRES / CALO_ETA_LSB).astype(np.int64)
    objects: dict[str, dict[str, NDArray[np.int16]]] = {}

    def place(at: _Sites) -> dict[str, Ints]:
        return {
            "owner": at.event,
            "tie": _ORDER[at.row * N_PHI + at.column].astype(np.int64),
            "eta": eta_codes[at.row],
            "phi": at.column * HALF_TOWER + 1,
        }

    # jets: 9x9 towers around a local maximum, less the three quietest of the four strips around it
    jets = _local_maxima(both, _codes(r.jet_seed_gev), _JET)
    strips = np.sort(np.stack([jets.total(pad, strip) for strip in _STRIPS]), axis=0)[:3].sum(0)
    net = jets.total(pad, _JET) - strips
    soft = r.jet_soft_scale * net + r.jet_soft_offset_gev / GEV_PER_CODE
    hard = r.jet_hard_scale * net + r.jet_hard_offset_gev / GEV_PER_CODE
    pt = np.minimum(np.minimum(soft, hard).astype(np.int64), 2047)
    kept = pt >= _codes(r.jet_min_gev)
    objects["jet"] = _ranked(n, 12, pt=pt[kept], **place(jets.where(kept)))

    # tau: the 3x3 core of a jet that holds most of it
    core = jets.total(pad, _CLUSTER)
    pt = np.minimum((core * r.tau_scale).astype(np.int64), 511)
    narrow = (core >= r.tau_core_share * net) & (np.abs(ETA_CENTRES[jets.row]) < r.tau_eta_max)
    narrow &= pt >= _codes(r.tau_min_gev)
    iso = (net - core < _codes(r.tau_iso_gev)).astype(np.int64)
    objects["tau"] = _ranked(n, 12, pt=pt[narrow], iso=iso[narrow], **place(jets.where(narrow)))

    # e/gamma: a compact 3x3 ECAL cluster with little HCAL behind it
    clusters = _local_maxima(ecal, _codes(r.eg_seed_gev), _CLUSTER)
    clusters = clusters.where((clusters.row >= CENTRAL.start) & (clusters.row < CENTRAL.stop))
    em, had = clusters.total(pad_ecal, _CLUSTER), clusters.total(pad_hcal, _CLUSTER)
    good = (had <= r.eg_hadron_ratio * em) & (pad_ecal[clusters.centre] >= r.eg_core_share * em)
    good &= em >= _codes(r.eg_min_gev)
    clusters, em, had = clusters.where(good), em[good], had[good]
    around = clusters.total(pad, _ISOLATION) - em - had
    iso = (around < r.eg_iso_ratio * em + _codes(r.eg_iso_gev)).astype(np.int64)
    objects["eg"] = _ranked(n, 12, pt=np.minimum(em, 511), iso=iso, **place(clusters))

    # muons, isolated in the calorimeter
    row = np.clip(np.digitize(muons["eta"] * MUON_ETA_LSB, ETA_EDGES) - 1, 0, N_ETA - 1)
    column = muons["phi"] * N_PHI // MUON_PHI_CODES
    around = _sites(muons["event"], row, column).total(pad, _MUON_CONE)
    objects["mu"] = _ranked(
        n,
        8,
        owner=muons["event"],
        pt=muons["pt"],
        tie=_ORDER[row * N_PHI + column].astype(np.int64),
        eta=muons["eta"],
        phi=muons["phi"],
        charge=muons["charge"],
        quality=muons["quality"],
        iso=(around < _codes(r.muon_iso_gev)).astype(np.int64),
    )

    # energy sums
    phi = (np.arange(N_PHI) + 0.5) * (2 * np.pi / N_PHI)
    central = both[:, CENTRAL].sum(1)
    loud = np.where(both >= _codes(r.met_tower_gev), both, 0)[:, CENTRAL].sum(1)
    jet = objects["jet"]
    counted = (jet["pt"] >= _codes(r.ht_jet_gev)) & (np.abs(jet["eta"]) * CALO_ETA_LSB < r.ht_jet_eta)
    scalar = np.where(counted, jet["pt"], 0).astype(np.int64)
    angle = jet["phi"] * (2 * np.pi / CALO_PHI_CODES)
    for name, x, y in (
        ("met", -loud @ np.cos(phi), -loud @ np.sin(phi)),
        ("mht", -(scalar * np.cos(angle)).sum(1), -(scalar * np.sin(angle)).sum(1)),
    ):
        size = np.minimum(np.hypot(x, y).astype(np.int64), 4095)
        objects[name] = {"pt": size[:, None], "phi": np.where(size > 0, _direction(x, y), 0)[:, None]}
    objects["ht"] = {"pt": np.minimum(scalar.sum(1), 4095)[:, None]}
    objects["et"] = {"pt": np.minimum(central.sum(1), 4095)[:, None]}
    return {
        f"{name}.{column}": values.astype(np.int16)
        for name, columns in objects.items()
        for column, values in columns.items()
    }
