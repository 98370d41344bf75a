"""Crossings to objects: tracks, towers, particle flow, MET, isolated leptons and jets, in the layout of ADC2021.

The formulas are those of Delphes' modules, named where they are used; the constants are `delphes.DelphesResponse`.
Jets are found by FastJet (EPJC 72 (2012) 1896), whose banner is kept off the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from l1ad.events.generation.delphes import DelphesResponse
from l1ad.events.generation.flight import ELECTRON, HADRON, MUON, NEUTRAL, PHOTON, Crossings, offsets_of, wrapped

__all__ = ["CLASSES", "NAMES", "ROWS", "lepton_filter", "reconstruct"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NAMES = ("Pt", "Eta", "Phi", "Class")
CLASSES = ("MET_class_1", "Four_Ele_class_2", "Four_Mu_class_3", "Ten_Jet_class_4")
ROWS = {"met": slice(0, 1), "electron": slice(1, 5), "muon": slice(5, 9), "jet": slice(9, 19)}
"""Rows of an event in ADC2021; the class of a row is the number of its kind, from 1."""


@dataclass(frozen=True)
class _Grid:
    """Towers: symmetric rows in eta, each with its own number of phi bins."""

    edges: Floats  # (rows + 1,)
    columns: Ints  # (rows,)

    @staticmethod
    def of(parts: list[tuple[list[float], int]]) -> _Grid:
        """Rows of positive eta, by upper edges and number of phi bins, mirrored."""
        upper = np.array([edge for edges, _ in parts for edge in edges])
        columns = np.array([bins for edges, bins in parts for _ in edges])
        return _Grid(np.concatenate([-upper[::-1], [0.0], upper]), np.concatenate([columns[::-1], columns]))

    @property
    def first(self) -> Ints:
        """Cell at which each row starts; the last entry is the number of cells."""
        return offsets_of(self.columns)

    def cells(self, event: Ints, eta: Floats, phi: Floats) -> Ints:
        """Number of the cell of each particle, different for each event."""
        row = np.clip(np.searchsorted(self.edges, eta) - 1, 0, len(self.columns) - 1)
        n = self.columns[row]
        column = np.floor(phi * (n / (2 * np.pi))).astype(np.int64) % n
        return np.asarray(event * self.first[-1] + self.first[row] + column)


# card: EtaPhiBins of ECal and HCal (their forward rows made symmetric)
_FORWARD = [3.125, 3.3, 3.475, 3.65, 3.825, 4.0, 4.175, 4.35, 4.525]
_ENDCAP = [1.74, 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 2.868, 2.95]
ECAL_GRID = _Grid.of([([0.0174 * i for i in range(1, 171)], 360), ([*_FORWARD, 4.7, 5.0], 36)])
HCAL_GRID = _Grid.of([([0.087 * i for i in range(1, 20)], 72), (_ENDCAP + _FORWARD, 36), ([4.7, 5.0], 18)])


def _smeared(mean: Floats, sigma: Floats, rng: np.random.Generator) -> Floats:
    """Log-normal of this mean and standard deviation (modules MomentumSmearing, SimpleCalorimeter); 0 stays 0."""
    width = np.sqrt(np.log1p((sigma / np.maximum(mean, 1e-12)) ** 2))
    return np.asarray(mean * np.exp(width * rng.standard_normal(len(mean)) - 0.5 * width**2))


def _quadratic(energy: Floats, terms: tuple[float, float, float]) -> Floats:
    constant, stochastic, noise = terms
    return np.asarray(np.sqrt(constant**2 * energy**2 + stochastic**2 * energy + noise**2))


def _ecal_sigma(eta: Floats, energy: Floats, r: DelphesResponse) -> Floats:
    a = np.abs(eta)
    level, rise = r.ecal_endcap_shape
    shape = np.where(a <= r.barrel_eta, 1 + r.ecal_barrel_shape * a**2, level + rise * (a - 2) ** 2)
    return np.where(a <= 2.5, shape * _quadratic(energy, r.ecal), _quadratic(energy, r.ecal_forward))


def _hcal_sigma(eta: Floats, energy: Floats, r: DelphesResponse) -> Floats:
    return np.where(np.abs(eta) <= 3.0, _quadratic(energy, r.hcal), _quadratic(energy, r.hcal_forward))


@dataclass(frozen=True)
class _Candidates:
    """Particle flow: tracks, and tower energy without a track.  `source` is the particle of a track, else -1."""

    event: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    source: Ints


def _tracks(c: Crossings, r: DelphesResponse, rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
    """Particles with a track, the measured pT of each, and its relative resolution."""
    a = np.abs(c.eta_calo)
    i = np.flatnonzero((c.kind != PHOTON) & (c.kind != NEUTRAL) & (a <= r.track_eta_max) & (c.pt > r.track_min_gev))
    a, pt, kind = a[i], c.pt[i], c.kind[i]
    endcap = (a > r.barrel_eta).astype(np.int64)
    efficiency, resolution = np.zeros(len(i)), np.zeros(len(i))
    momentum_bin, eta_bin = np.digitize(pt, r.efficiency_bins, right=True), np.digitize(a, r.track_bins, right=True)
    for code, efficiencies, resolutions in (
        (HADRON, r.hadron_tracks, r.hadron_resolution),
        (ELECTRON, r.electron_tracks, r.electron_resolution),
        (MUON, r.muon_tracks, r.muon_resolution),
    ):
        mine = kind == code
        table, terms = np.array(efficiencies), np.array(resolutions)[eta_bin[mine]]
        efficiency[mine] = table[endcap[mine], np.minimum(momentum_bin[mine], table.shape[1] - 1)]
        resolution[mine] = np.hypot(terms[:, 0], terms[:, 1] * pt[mine])
    found = rng.random(len(i)) < efficiency
    i, resolution = i[found], np.minimum(resolution[found], 1.0)
    return i, _smeared(c.pt[i], resolution * c.pt[i], rng), resolution


def _towers(
    c: Crossings,
    hits: Bools,
    tracks: Ints,
    track_energy: Floats,
    track_resolution: Floats,
    ecal: bool,
    r: DelphesResponse,
    rng: np.random.Generator,
) -> tuple[_Candidates, Floats]:
    """Energy that no track explains, and the factor by which the tower corrects each track (SimpleCalorimeter).

    Parameters
    ----------
    hits : (m,) particles that leave all their energy here
    tracks : particles with a track, out of those
    track_energy, track_resolution : of each track, GeV and relative
    """
    grid, sigma, least = (ECAL_GRID, _ecal_sigma, r.ecal_min_gev) if ecal else (HCAL_GRID, _hcal_sigma, r.hcal_min_gev)
    i = np.flatnonzero(hits)
    both = np.concatenate([i, tracks])
    cells, where = np.unique(grid.cells(c.event[both], c.eta_calo[both], c.phi_calo[both]), return_inverse=True)
    tower, mine = where[: len(i)], where[len(i) :]
    row = np.searchsorted(grid.first, cells % grid.first[-1], side="right") - 1
    low, high = grid.edges[row], grid.edges[row + 1]
    centre = 0.5 * (low + high)

    truth = np.bincount(tower, weights=c.energy[i], minlength=len(cells)).astype(np.float64)
    energy = _smeared(truth, sigma(centre, truth, r), rng)
    error = sigma(centre, energy, r)
    energy = np.where((energy < least) | (energy < r.significance_min * error), 0.0, energy)
    charged = np.bincount(mine, weights=track_energy, minlength=len(cells))
    charged_variance = np.bincount(mine, weights=(track_resolution * track_energy) ** 2, minlength=len(cells))

    excess = np.maximum(energy - charged, 0.0)
    neutral = (excess > least) & (excess > r.significance_min * np.sqrt(charged_variance + error**2))
    by_tracks, by_tower = 1 / np.maximum(charged_variance, 1e-12), 1 / np.maximum(error**2, 1e-12)
    best = (by_tracks * charged + by_tower * energy) / (by_tracks + by_tower)
    factor = np.where(neutral, 1.0, best / np.maximum(charged, 1e-12))[mine]

    columns = grid.columns[row]
    column = cells % grid.first[-1] - grid.first[row]
    eta = rng.uniform(low, high)  # card: SmearTowerCenter
    phi = (column + rng.random(len(cells))) * (2 * np.pi / columns)
    found = _Candidates(
        event=(cells // grid.first[-1])[neutral],
        pt=(excess / np.cosh(eta))[neutral],
        eta=eta[neutral],
        phi=wrapped(phi[neutral]),
        source=np.full(int(neutral.sum()), -1),
    )
    return found, factor


def _particle_flow(c: Crossings, r: DelphesResponse, rng: np.random.Generator) -> _Candidates:
    """All candidates of all crossings, pileup included, ordered by crossing."""
    tracks, pt, resolution = _tracks(c, r, rng)
    energy = c.energy[tracks] * pt / c.pt[tracks]
    parts = []
    for ecal, kinds in ((True, [PHOTON, ELECTRON]), (False, [HADRON, NEUTRAL])):
        hits = np.isin(c.kind, kinds)
        mine = hits[tracks]
        towers, factor = _towers(c, hits, tracks[mine], energy[mine], resolution[mine], ecal, r, rng)
        pt[mine] *= factor
        parts.append(towers)
    parts.insert(0, _Candidates(c.event[tracks], pt, c.eta[tracks], c.phi[tracks], tracks))
    joined = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(_Candidates)}
    order = np.argsort(joined["event"], kind="stable")
    return _Candidates(**{name: array[order] for name, array in joined.items()})


def _density(flow: _Candidates, keep: Bools, n: int, r: DelphesResponse) -> Floats:
    """Median pT per area of the cells of each region of `DelphesResponse.density_edges`, (n, regions)."""
    out = []
    for low, high, rows in zip(r.density_edges, r.density_edges[1:], r.density_rows, strict=False):
        mine = keep & (flow.eta >= low) & (flow.eta < high)
        row = np.minimum(((flow.eta[mine] - low) * (rows / (high - low))).astype(np.int64), rows - 1)
        column = np.floor(flow.phi[mine] * (r.density_phi_cells / (2 * np.pi))).astype(np.int64) % r.density_phi_cells
        cell = (flow.event[mine] * rows + row) * r.density_phi_cells + column
        pt = np.bincount(cell, weights=flow.pt[mine], minlength=n * rows * r.density_phi_cells)
        area = (high - low) / rows * 2 * np.pi / r.density_phi_cells
        out.append(np.median(pt.reshape(n, rows * r.density_phi_cells), axis=1) / area)
    return np.stack(out, axis=1)


def _region(eta: Floats, r: DelphesResponse) -> Ints:
    """Region of `_density` that each eta is in."""
    return np.digitize(eta, r.density_edges[1:-1])


def _close(i: Ints, j: Ints, a: _Candidates, b: _Candidates, radius: float) -> Bools:
    """Whether a[i] and b[j] are within a cone."""
    return np.asarray((a.eta[i] - b.eta[j]) ** 2 + wrapped(a.phi[i] - b.phi[j]) ** 2 < radius**2)


def _pairs(a: Ints, b: Ints, n: int) -> tuple[Ints, Ints]:
    """All pairs of positions of the same crossing; `a` (any order) and `b` (ascending) are crossings, 0..n-1."""
    offsets = offsets_of(np.bincount(b, minlength=n))
    length = np.diff(offsets)[a]
    j = np.arange(length.sum()) + np.repeat(offsets[a] - (np.cumsum(length) - length), length)
    return np.repeat(np.arange(len(a)), length), j


def _isolated_leptons(
    c: Crossings, flow: _Candidates, density: Floats, r: DelphesResponse, rng: np.random.Generator
) -> Ints:
    """Positions in `flow` of identified, isolated electrons and muons."""
    kind = np.where(flow.source >= 0, c.kind[flow.source], PHOTON)
    pileup = (flow.source >= 0) & c.pileup[flow.source]
    lepton = (kind == ELECTRON) | (kind == MUON)
    i = np.flatnonzero(lepton & ~pileup & (flow.pt > r.lepton_min_gev))
    electron, a = kind[i] == ELECTRON, np.abs(flow.eta[i])
    endcap = (a > r.barrel_eta).astype(np.int64)
    efficiency = np.where(electron, np.array(r.electron_id)[endcap], np.array(r.muon_id)[endcap])
    inside = a < np.where(electron, r.electron_eta_max, r.muon_eta_max)
    i = i[inside & (rng.random(len(i)) < efficiency)]

    counts = np.flatnonzero(~lepton & ~pileup & (flow.pt > r.isolation_min_gev))
    pair, j = _pairs(flow.event[i], flow.event[counts], c.n)
    near = _close(i[pair], counts[j], flow, flow, r.isolation_radius)
    pair, j = pair[near], counts[j[near]]
    charged = flow.source[j] >= 0
    sums = [np.bincount(pair[which], weights=flow.pt[j[which]], minlength=len(i)) for which in (charged, ~charged)]
    area = np.pi * r.isolation_radius**2
    neutral = np.maximum(sums[1] - area * density[flow.event[i], _region(flow.eta[i], r)], 0.0)
    limit = np.where(kind[i] == ELECTRON, r.electron_isolation, r.muon_isolation)
    return np.asarray(i[sums[0] + neutral < limit * flow.pt[i]])


def _jets(flow: _Candidates, keep: Bools, density: Floats, n: int, r: DelphesResponse) -> _Candidates:
    """Anti-kT jets of the candidates `keep`, less pileup, above the threshold and within eta."""
    try:
        import awkward as ak
        import fastjet  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError(f"{error.name} must be installed to find jets; pip install 'l1ad[generate]'") from error

    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    pt, eta, phi = flow.pt[keep], flow.eta[keep], flow.phi[keep]
    momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "E": pt * np.cosh(eta)}
    events = ak.unflatten(
        ak.zip(momenta, with_name="Momentum4D"), np.bincount(flow.event[keep], minlength=n), highlevel=True
    )
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, r.jet_radius)
    found = fastjet.ClusterSequence(events, definition).inclusive_jets(r.jet_min_gev)
    px, py, pz = (ak.to_numpy(ak.flatten(found[name])).astype(np.float64) for name in ("px", "py", "pz"))
    event = np.repeat(np.arange(n), ak.to_numpy(ak.num(found)))
    pt = np.hypot(px, py)
    eta, phi = np.arcsinh(pz / np.maximum(pt, 1e-9)), np.arctan2(py, px)
    pt = (pt - density[event, _region(eta, r)] * np.pi * r.jet_radius**2) * r.jet_scale
    good = (pt > r.jet_min_gev) & (np.abs(eta) < r.jet_eta_max)
    return _Candidates(event[good], pt[good], eta[good], phi[good], np.full(int(good.sum()), -1))


def _fill(out: Floats, kind: str, event: Ints, values: Floats) -> None:
    """Write the hardest objects (m, 3) of each crossing to the rows of `kind`, by falling pT."""
    rows = ROWS[kind]
    order = np.lexsort((-values[:, 0], event))
    event, values = event[order], values[order]
    counts = np.bincount(event, minlength=len(out))
    rank = np.arange(len(event)) - np.repeat(np.cumsum(counts) - counts, counts)
    room = rank < rows.stop - rows.start
    target = event[room], rows.start + rank[room]
    out[(*target, slice(0, 3))] = values[room]
    out[(*target, 3)] = 1 + list(ROWS).index(kind)


def reconstruct(c: Crossings, response: DelphesResponse, rng: np.random.Generator) -> Floats:
    """Objects of crossings in the layout of ADC2021: (n, 19, 4), pT in GeV, eta, phi in -π..π, class.

    Row 0 is MET, then four electrons, four muons, ten jets, each kind by falling pT; absent objects are all zero.
    """
    r = response
    flow = _particle_flow(c, r, rng)
    pileup = (flow.source >= 0) & c.pileup[flow.source]
    density = _density(flow, ~pileup, c.n, r)
    leptons = _isolated_leptons(c, flow, density, r, rng)
    jets = _jets(flow, ~pileup, density, c.n, r)
    pair, j = _pairs(jets.event, flow.event[np.sort(leptons)], c.n)
    lepton = np.sort(leptons)[j]
    overlaps = np.bincount(pair[_close(pair, lepton, jets, flow, r.jet_radius)], minlength=len(jets.event)) > 0

    out = np.zeros((c.n, 19, 4))
    x, y = (-np.bincount(flow.event, weights=flow.pt * f(flow.phi), minlength=c.n) for f in (np.cos, np.sin))
    out[:, 0] = np.stack([np.hypot(x, y), np.zeros(c.n), np.arctan2(y, x), np.ones(c.n)], axis=1)
    for kind, code in (("electron", ELECTRON), ("muon", MUON)):
        i = leptons[c.kind[flow.source[leptons]] == code]
        _fill(out, kind, flow.event[i], np.stack([flow.pt[i], flow.eta[i], flow.phi[i]], axis=1))
    _fill(out, "jet", jets.event[~overlaps], np.stack([jets.pt, jets.eta, jets.phi], axis=1)[~overlaps])
    return out


def lepton_filter(particles: Floats, least_gev: float) -> Bools:
    """Crossings (n,) whose hardest electron or muon has more pT than this, from the objects (n, 19, 4)."""
    hardest = [particles[:, ROWS[kind].start, 0] for kind in ("electron", "muon")]
    return np.asarray(np.maximum(*hardest) > least_gev)
