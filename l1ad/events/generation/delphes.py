"""A parametrised detector after the CMS cards of Delphes: particles of crossings -> objects of ADC2021.

Delphes itself is not used.  Its card for CMS with pileup and the modules behind it were read for constants and
formulas; what happens here, in this order:

1. `arrive` bends charged particles in the solenoid to the calorimeters' face.
2. `overlay` adds soft collisions from a pool to each hard one, turned in phi and mirrored in eta at random.
3. `reconstruct` finds and smears tracks, adds particles to calorimeter towers and smears these, makes a particle
   flow of tracks and of the tower energy that they do not explain, and from it MET, isolated leptons and jets.

Differences from Delphes, besides coding: particles start at the origin (no displaced or spread vertices); K_S and Λ
are expected to be decayed; the area of a jet is π R²; a jet within R of an accepted lepton is dropped, where Delphes
compares constituents; photons are not objects; the loss of muon efficiency above 1 TeV is left out.

Differences from ADC2021, whose card is not public: the code that selected events for its forerunner (arXiv 1811.10276)
reads a branch which only Delphes' Phase-II cards fill, asks for isolation below 0.45 in a cone of 0.3, and may have
started from leptons already isolated.  Here tracks end at abs(eta) = 2.5 and electrons with them, identification
starts at 10 GeV, and isolation is the card's.  With the looser isolation QCD passes the filter ten times as often
(1.7e-4 instead of 1.7e-5), and the cross sections give W : QCD = 1 : 2.4; with the card's it is 1 : 0.27, and 1 : 0.57
was published.  Jets beyond abs(eta) = 4 are dropped before the ten hardest are chosen; in the published files they
stand as rows with pT = eta = 0 and a phi.

Source
------
Delphes, commit 0ee14ba: ``cards/delphes_card_CMS_PileUp.tcl`` ("card"), its modules by name, and
``cards/CMS_PhaseII/CMS_PhaseII_200PU_v03.tcl`` ("Phase-II card").  Jets by FastJet, EPJC 72 (2012) 1896.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DelphesResponse"]


@dataclass(frozen=True)
class DelphesResponse:
    """Constants of the detector; energies in GeV, lengths in m.

    Tables of tracks hold one row for the barrel and one for the endcap, and efficiencies up to 1 GeV, above, and
    (electrons) above 100 GeV; resolutions are (constant, per GeV) in quadrature, relative, up to each `track_bins`.
    """

    # tracks (card: ParticlePropagator, *TrackingEfficiency, *MomentumSmearing)
    field_t: float = 3.8
    radius_m: float = 1.29
    half_length_m: float = 3.0
    track_eta_max: float = 2.5
    track_min_gev: float = 0.1
    barrel_eta: float = 1.5
    hadron_tracks: tuple[tuple[float, ...], ...] = ((0.70, 0.95), (0.60, 0.85))
    electron_tracks: tuple[tuple[float, ...], ...] = ((0.73, 0.95, 0.99), (0.50, 0.83, 0.90))
    muon_tracks: tuple[tuple[float, ...], ...] = ((0.75, 0.99), (0.70, 0.98))
    efficiency_bins: tuple[float, ...] = (1.0, 100.0)
    track_bins: tuple[float, ...] = (0.5, 1.5)
    hadron_resolution: tuple[tuple[float, float], ...] = ((0.06, 1.3e-3), (0.10, 1.7e-3), (0.25, 3.1e-3))
    electron_resolution: tuple[tuple[float, float], ...] = ((0.03, 1.3e-3), (0.05, 1.7e-3), (0.15, 3.1e-3))
    muon_resolution: tuple[tuple[float, float], ...] = ((0.01, 1.0e-4), (0.015, 1.5e-4), (0.025, 3.5e-4))
    # vertices (card: PileUpMerger, TrackPileUpSubtractor)
    vertex_sigma_m: float = 0.053  # of the Gaussian along the beam
    vertex_resolution_m: float = 1e-4  # a track of a nearer pileup vertex is taken for one of the hard collision
    # calorimeters (card: ECal, HCal); resolution² = constant² E² + stochastic² E + noise²
    calorimeter_eta_max: float = 5.0
    ecal: tuple[float, float, float] = (0.008, 0.11, 0.40)
    ecal_forward: tuple[float, float, float] = (0.107, 2.08, 0.0)  # beyond abs(eta) = 2.5
    ecal_barrel_shape: float = 0.64  # 1 + 0.64 eta² multiplies the resolution
    ecal_endcap_shape: tuple[float, float] = (2.16, 5.6)  # 2.16 + 5.6 (abs(eta) - 2)² does
    hcal: tuple[float, float, float] = (0.05, 1.50, 0.0)
    hcal_forward: tuple[float, float, float] = (0.13, 2.70, 0.0)  # beyond abs(eta) = 3
    ecal_min_gev: float = 0.5
    hcal_min_gev: float = 1.0
    significance_min: float = 2.0
    # leptons (card: ElectronEfficiency, MuonEfficiency), barrel and endcap
    electron_id: tuple[float, float] = (0.95, 0.85)
    muon_id: tuple[float, float] = (0.95, 0.95)
    lepton_min_gev: float = 10.0
    electron_eta_max: float = 2.5
    muon_eta_max: float = 2.1  # ADC2021 (its published loss bounds eta so); the card has 2.4
    # isolation (card: ElectronIsolation, MuonIsolation; module Isolation): pT around over pT, pileup taken off
    isolation_radius: float = 0.5
    electron_isolation: float = 0.12
    muon_isolation: float = 0.25
    isolation_min_gev: float = 0.5  # softer particles do not count (card)
    # pileup density (card: Rho): regions in eta, and the rows of cells of each
    density_edges: tuple[float, ...] = (-5.0, -2.5, 2.5, 5.0)
    density_rows: tuple[int, ...] = (3, 5, 3)
    density_phi_cells: int = 6
    # jets (Phase-II card: FastJetFinder, JetEnergyScale; the card has 0.5 and 20)
    jet_radius: float = 0.4
    jet_min_gev: float = 15.0
    jet_eta_max: float = 4.0  # ADC2021
    jet_scale: float = 1.0
