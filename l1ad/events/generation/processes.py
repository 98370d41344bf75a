"""Kinds of pp collisions: the classes of zero-bias, and the signals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["PHOTON_EDGES_GEV", "QCD_EDGES_GEV", "SIGNALS", "Process", "Thermal", "rare", "soft"]

QCD_EDGES_GEV = (20.0, 30.0, 50.0, 80.0, 120.0, 170.0, 250.0)
"""Lower edges of the pT-hat classes of QCD; above the first HardQCD and SoftQCD agree, see `sample/README.md`."""

PHOTON_EDGES_GEV = (20.0, 40.0)
"""The same for prompt photons; the first edge is that of QCD, where soft collisions end."""


@dataclass(frozen=True)
class Thermal:
    """A mediator that decays to many soft mesons, which Pythia does not do: see `thermal.decay`.

    Attributes
    ----------
    pid : PDG code of the mediator, left undecayed by Pythia
    temperature_gev, meson_gev : of the Boltzmann spectrum in its rest frame, and the mass of the mesons
    """

    pid: int
    temperature_gev: float
    meson_gev: float


@dataclass(frozen=True)
class Process:
    """One kind of pp collision.

    Attributes
    ----------
    name : key of the stock
    commands : Pythia settings beyond the common ones
    pt_hat_max_gev : generated collisions above are dropped (for soft QCD, where Pythia cannot cut)
    particle_max_gev : collisions with a final particle of more pT are dropped, as no scattering below the edge makes
        them: about once in 400,000 times Pythia's hadronisation turns partons of 5 GeV into hadrons of 100 GeV
    thermal : how a mediator decays, if not by Pythia
    """

    name: str
    commands: tuple[str, ...]
    pt_hat_max_gev: float | None = None
    particle_max_gev: float | None = None
    thermal: Thermal | None = None


def soft(edge_gev: float = QCD_EDGES_GEV[0]) -> Process:
    """Inelastic collisions, diffraction included, without a scattering above the edge."""
    return Process("soft", ("SoftQCD:inelastic = on",), pt_hat_max_gev=edge_gev, particle_max_gev=2 * edge_gev)


def _classes(name: str, switch: str, edges_gev: tuple[float, ...]) -> tuple[Process, ...]:
    return tuple(
        Process(
            f"{name}_{low:g}",
            (f"{switch} = on", f"PhaseSpace:pTHatMin = {low}", f"PhaseSpace:pTHatMax = {high}"),
            particle_max_gev=2 * high if high > 0 else None,
        )
        for low, high in pairwise((*edges_gev, -1.0))  # -1: no upper limit (Pythia)
    )


def rare(
    qcd_edges_gev: tuple[float, ...] = QCD_EDGES_GEV, photon_edges_gev: tuple[float, ...] = PHOTON_EDGES_GEV
) -> tuple[Process, ...]:
    """The classes beside the soft one: hard QCD and prompt photons by pT-hat, W, Z and top pairs."""
    for name, edges in (("qcd", qcd_edges_gev), ("photon", photon_edges_gev)):
        if not edges or list(edges) != sorted(set(edges)) or edges[0] <= 0:
            raise ValueError(f"{name} edges must be positive and rise, not {list(edges)} GeV")
    if qcd_edges_gev[0] != photon_edges_gev[0]:
        raise ValueError(
            f"qcd and photon classes must start where soft collisions end, not at {qcd_edges_gev[0]:g} and "
            f"{photon_edges_gev[0]:g} GeV; give both the same first edge"
        )
    return (
        *_classes("qcd", "HardQCD:all", qcd_edges_gev),
        *_classes("photon", "PromptPhoton:all", photon_edges_gev),
        Process("w", ("WeakSingleBoson:ffbar2W = on", "24:onMode = off", "24:onIfAny = 11 13 15")),
        Process("z", ("WeakSingleBoson:ffbar2gmZ = on", "23:onMode = off", "23:onIfAny = 11 13 15")),
        _TTBAR,
    )


_TTBAR = Process("ttbar", ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"))
SIGNALS = (
    Process(
        "a_to_4l",
        (
            *("Higgs:useBSM = on", "HiggsBSM:gg2A3 = on", "HiggsA3:coup2Z = 1.", "36:m0 = 50."),
            *("36:onMode = off", "36:onIfMatch = 23 23"),
            *("23:mMin = 2.", "23:onMode = off", "23:onIfAny = 11 13 15"),
        ),
    ),
    Process(
        "lq_to_btau",
        (
            *("LeptoQuark:gg2LQLQbar = on", "LeptoQuark:qqbar2LQLQbar = on"),
            *("42:m0 = 80.", "42:mMin = 60.", "42:0:products = 5 -15"),
        ),
    ),
    Process("h0_to_tautau", ("HiggsSM:all = on", "25:m0 = 60.", "25:onMode = off", "25:onIfMatch = 15 -15")),
    Process(
        "hplus_to_taunu",
        (
            *("Higgs:useBSM = on", "HiggsBSM:allH+- = on", "37:m0 = 60.", "37:mMin = 50."),
            *("37:onMode = off", "37:onIfAny = 15"),
        ),
    ),
    _TTBAR,
    Process(
        "vbf_h_to_invisible",
        (
            *("HiggsSM:ff2Hff(t:ZZ) = on", "HiggsSM:ff2Hff(t:WW) = on", "25:m0 = 125."),
            *("25:onMode = off", "25:onIfMatch = 23 23", "23:onMode = off", "23:onIfAny = 12 14 16"),
        ),
    ),
    Process(  # a resonance of 450 GeV: Pythia has no pairs of Higgs bosons without one
        "hh_to_4b",
        (
            *("Higgs:useBSM = on", "HiggsBSM:gg2H2 = on", "35:m0 = 450.", "35:onMode = off", "35:onIfMatch = 25 25"),
            *("HiggsH2:coup2H1H1 = 1.", "25:m0 = 125.", "25:onMode = off", "25:onIfMatch = 5 -5"),
        ),
    ),
    Process(
        "h_to_4mu",
        (
            *("HiggsSM:gg2H = on", "25:m0 = 125.", "25:onMode = off", "25:onIfMatch = 23 23"),
            *("23:mMin = 4.", "23:onMode = off", "23:onIfAny = 13"),
        ),
    ),
    Process(  # soft unclustered energy, after Knapen et al., arXiv 1612.00850
        "soft_bomb",
        ("HiggsSM:gg2H = on", "25:m0 = 400.", "25:mMin = 350.", "25:doForceWidth = on", "25:mWidth = 4.",
         "25:mayDecay = off"),
        thermal=Thermal(pid=25, temperature_gev=2.0, meson_gev=2.0),
    ),
)  # fmt: skip
