"""Step 2: deposits of whole crossings -> tower codes -> trigger objects, one crossing at a time, compiled by numba."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from l1ad.events.response.geometry import (
    BARREL_TOWER,
    CALO_ETA_LSB,
    CALO_PHI_CODES,
    CENTRAL,
    ETA_CENTRES,
    ETA_EDGES,
    GEV_PER_CODE,
    GEV_PER_DEPOSIT,
    MUON_ETA_LSB,
    MUON_PHI_CODES,
    N_ETA,
    N_PHI,
    N_TOWERS,
)
from l1ad.events.response.particles import Collisions

__all__ = ["Muons", "Overlay", "TriggerResponse", "digitise", "find_crossings", "find_objects"]

Ints = NDArray[np.int64]
Codes = NDArray[np.int16]


@dataclass(frozen=True)
class TriggerResponse:
    """Constants of the calorimeter trigger; energies in GeV unless a name says otherwise."""

    ecal_min_gev: float = 1.0  # tuned: zero suppression of a barrel tower; wider towers get more in proportion
    hcal_min_gev: float = 2.5  # tuned: same; stands in for the pileup-dependent HCAL thresholds
    tower_max_code: int = 255  # 8 bits of 0.5 GeV per calorimeter (CMS-TDR-012)
    jet_seed_gev: float = 4.0  # Layer 2 jet seed threshold (CMS-TDR-012)
    jet_soft_scale: float = 1.75  # tuned: calibration of soft jets, a line ...
    jet_soft_offset_gev: float = -7.0  # tuned: ... that takes off the pileup which the strips miss
    jet_hard_scale: float = 1.12  # tuned: calibration of hard jets; the smaller of the two lines is taken
    jet_hard_offset_gev: float = 7.0  # tuned
    jet_min_gev: float = 4.5  # tuned: storage and the medians of soft jets
    eg_seed_gev: float = 2.0  # Layer 2 e/gamma seed threshold (CMS-TDR-012)
    eg_min_gev: float = 2.0  # tuned: storage
    eg_hadron_ratio: float = 0.2  # tuned on single e/gamma rates: H/E of the 3x3 cluster
    eg_core_share: float = 0.6  # tuned on single e/gamma rates: seed tower over 3x3 cluster
    eg_iso_ratio: float = 0.15  # tuned: surrounding energy allowed per cluster energy ...
    eg_iso_gev: float = 6.0  # ... plus this much (tuned)
    tau_min_gev: float = 14.0  # tuned: storage
    tau_scale: float = 0.95  # tuned on the rate of single τ above 120 GeV
    tau_core_share: float = 0.7  # tuned: 3x3 core over the pileup-subtracted jet
    tau_iso_gev: float = 8.0  # tuned: (jet - core) below this sets the isolation bit
    tau_eta_max: float = 2.5  # menu practice
    muon_iso_gev: float = 10.0  # tuned: 5x5 towers around the muon
    met_tower_gev: float = 4.0  # tuned: pileup mitigation of the missing energy
    ht_jet_gev: float = 30.0  # jets that count in HT and MHT (CMS L1 practice)
    ht_jet_eta: float = 2.5


class Muons(NamedTuple):
    """Muon candidates of n crossings in codes, flat, those of crossing i at ``first[i]:first[i + 1]``."""

    first: Ints
    pt: Ints
    eta: Ints
    phi: Ints
    charge: Ints
    quality: Ints


class Overlay(NamedTuple):
    """Which collisions make up n crossings: those of crossing i at ``first[i]:first[i + 1]``.

    Attributes
    ----------
    first : (n + 1,) int64
    collision : (k,) index of the collision in its stock
    turn : (k,) towers that it is turned by in phi, 0..71
    mirror : (k,) 1 where it is mirrored in eta, else 0
    """

    first: Ints
    collision: Ints
    turn: Ints
    mirror: Ints


class _Constants(NamedTuple):
    """`TriggerResponse` in the units of the towers: codes, deposits, rows."""

    floor: Ints  # (160,) deposits: the least that a tower of each layer and row must hold
    tower_max: int
    jet_seed: int
    jet_soft_scale: float
    jet_soft_offset: float
    jet_hard_scale: float
    jet_hard_offset: float
    jet_min: int
    eg_seed: int
    eg_min: int
    eg_hadron_ratio: float
    eg_core_share: float
    eg_iso_ratio: float
    eg_iso: int
    tau_min: int
    tau_scale: float
    tau_core_share: float
    tau_iso: int
    tau_eta_max: float
    muon_iso: int
    met_tower: int
    ht_jet: int
    ht_jet_eta: float


def _codes(gev: float) -> int:
    return round(gev / GEV_PER_CODE)


def _constants(r: TriggerResponse) -> _Constants:
    width = np.diff(ETA_EDGES) / BARREL_TOWER
    floor = np.concatenate([r.ecal_min_gev * width, r.hcal_min_gev * width]) / GEV_PER_DEPOSIT
    return _Constants(
        floor=np.ceil(floor - 1e-9).astype(np.int64),
        tower_max=r.tower_max_code,
        jet_seed=_codes(r.jet_seed_gev),
        jet_soft_scale=r.jet_soft_scale,
        jet_soft_offset=r.jet_soft_offset_gev / GEV_PER_CODE,
        jet_hard_scale=r.jet_hard_scale,
        jet_hard_offset=r.jet_hard_offset_gev / GEV_PER_CODE,
        jet_min=_codes(r.jet_min_gev),
        eg_seed=_codes(r.eg_seed_gev),
        eg_min=_codes(r.eg_min_gev),
        eg_hadron_ratio=r.eg_hadron_ratio,
        eg_core_share=r.eg_core_share,
        eg_iso_ratio=r.eg_iso_ratio,
        eg_iso=_codes(r.eg_iso_gev),
        tau_min=_codes(r.tau_min_gev),
        tau_scale=r.tau_scale,
        tau_core_share=r.tau_core_share,
        tau_iso=_codes(r.tau_iso_gev),
        tau_eta_max=r.tau_eta_max,
        muon_iso=_codes(r.muon_iso_gev),
        met_tower=_codes(r.met_tower_gev),
        ht_jet=_codes(r.ht_jet_gev),
        ht_jet_eta=r.ht_jet_eta,
    )


# ---------------------------------------------------------------- the row of one crossing: its columns side by side
_COLUMNS = (
    ("met", 1, ("pt", "phi")),
    ("ht", 1, ("pt",)),
    ("et", 1, ("pt",)),
    ("mht", 1, ("pt", "phi")),
    ("eg", 12, ("pt", "eta", "phi", "iso")),
    ("tau", 12, ("pt", "eta", "phi", "iso")),
    ("mu", 8, ("pt", "eta", "phi", "iso", "quality", "charge")),
    ("jet", 12, ("pt", "eta", "phi")),
    ("region", 252, ("pt",)),
)


def _layout() -> dict[str, slice]:
    out, start = {}, 0
    for name, slots, columns in _COLUMNS:
        for column in columns:
            out[f"{name}.{column}"] = slice(start, start + slots)
            start += slots
    return out


_PLACES = _layout()
_WIDTH = _PLACES["region.pt"].stop
_MET, _HT, _ET, _MHT, _EG, _TAU, _MU, _JET, _REGION = (_PLACES[f"{name}.pt"].start for name, _, _ in _COLUMNS)
_SLOTS = 12  # of jets, e/gamma and tau
_MU_SLOTS = 8
_MAX_EG = _MAX_TAU = 511
_MAX_JET, _MAX_SUM, _MAX_REGION = 2047, 4095, 1023

# ---------------------------------------------------------------- towers of one crossing, with a border
_PAD = 7  # the pileup strips of a jet reach seven towers from its centre
_ROWS, _WIDE = N_ETA + 2 * _PAD, N_PHI + 2 * _PAD
_REGION_TOWERS = 4  # a region is 4 x 4 towers (CMS Layer 1, CICADA)
_REGION_ROWS = (CENTRAL.stop - CENTRAL.start) // _REGION_TOWERS
_FIRST_ROW, _LAST_ROW = CENTRAL.start, CENTRAL.stop

_MIRRORED = np.concatenate([np.arange(N_ETA)[::-1], N_ETA + np.arange(N_ETA)[::-1]])
_DEPOSITS_PER_CODE = round(GEV_PER_CODE / GEV_PER_DEPOSIT)
# An arbitrary fixed order of the towers: ties in energy must not prefer a side of the detector.
_ORDER = np.random.default_rng(0).permutation(N_TOWERS).reshape(N_ETA, N_PHI).astype(np.int64)
_ETA_CODE = np.rint(ETA_CENTRES / CALO_ETA_LSB).astype(np.int64)
_ETA_SIZE = np.abs(ETA_CENTRES)
_MUON_ROW = np.clip(np.digitize(np.arange(-256, 256) * MUON_ETA_LSB, ETA_EDGES) - 1, 0, N_ETA - 1)
_SINE_UNIT = 4096
# sines in integers, as in firmware, so that the sums do not depend on the order of the towers
_COSINE, _SINE = (
    np.rint(_SINE_UNIT * f(np.arange(CALO_PHI_CODES) * (2 * np.pi / CALO_PHI_CODES))).astype(np.int64)
    for f in (np.cos, np.sin)
)


@njit(nogil=True, cache=True)
def _pad(codes: Codes, padded: Codes) -> None:
    """Copy codes (80, 72) into `padded` (94, 86): empty rows beyond eta, wrapped columns in phi."""
    for row in range(N_ETA):
        line, source = padded[row + _PAD], codes[row]
        for column in range(N_PHI):
            line[column + _PAD] = source[column]
        for column in range(_PAD):
            line[column] = source[N_PHI - _PAD + column]
            line[column + _PAD + N_PHI] = source[column]


@njit(nogil=True, cache=True)
def _total(padded: Codes, row: int, column: int, rows: int, columns: int) -> int:
    """Sum over ``(2 rows + 1) x (2 columns + 1)`` towers around a place in the padded array."""
    total = 0
    for i in range(row - rows, row + rows + 1):
        for j in range(column - columns, column + columns + 1):
            total += padded[i, j]
    return total


@njit(nogil=True, cache=True)
def _order(row: int, column: int) -> int:
    """`_ORDER` of a place in the padded array; it must be a tower."""
    order: int = _ORDER[row - _PAD, (column - _PAD) % N_PHI]
    return order


@njit(nogil=True, cache=True)
def _is_maximum(padded: Codes, row: int, column: int, half: int) -> bool:
    """Whether a tower is the largest within `half` towers; of equal ones, the last of `_ORDER`."""
    mine = padded[row, column]
    for i in range(row - half, row + half + 1):
        for j in range(column - half, column + half + 1):
            other = padded[i, j]
            if other > mine or (other == mine and _order(i, j) > _order(row, column)):
                return False
    return True


@njit(nogil=True, cache=True)
def _insert(line: Codes, start: int, slots: int, ties: Ints, tie: int, values: tuple[int, ...]) -> None:
    """Put an object (pT first) into its place in a collection sorted by falling pT; the last one may fall out."""
    place = slots
    while place > 0 and (
        line[start + place - 1] < values[0] or (line[start + place - 1] == values[0] and ties[place - 1] > tie)
    ):
        place -= 1
    if place == slots:
        return
    for i in range(slots - 1, place, -1):
        ties[i] = ties[i - 1]
    ties[place] = tie
    for field in range(len(values)):
        column = line[start + field * slots : start + (field + 1) * slots]
        for i in range(slots - 1, place, -1):
            column[i] = column[i - 1]
        column[place] = values[field]


@njit(nogil=True, cache=True)
def _direction(x: int, y: int) -> int:
    return math.floor(math.atan2(y, x) * (CALO_PHI_CODES / (2 * math.pi))) % CALO_PHI_CODES


@njit(nogil=True, cache=True)
def _jets_and_taus(pad: Codes, c: _Constants, line: Codes, jet_ties: Ints, tau_ties: Ints) -> None:
    """Jets: 9x9 towers around a maximum, less the three quietest strips around; τ: the 3x3 core that holds most."""
    for row in range(_PAD, _PAD + N_ETA):
        for column in range(_PAD, _PAD + N_PHI):
            if pad[row, column] < c.jet_seed or not _is_maximum(pad, row, column, 4):
                continue
            strips = (
                _total(pad, row - 6, column, 1, 4),
                _total(pad, row + 6, column, 1, 4),
                _total(pad, row, column - 6, 4, 1),
                _total(pad, row, column + 6, 4, 1),
            )
            net = _total(pad, row, column, 4, 4) - (sum(strips) - max(strips))
            soft = c.jet_soft_scale * net + c.jet_soft_offset
            hard = c.jet_hard_scale * net + c.jet_hard_offset
            pt = min(int(min(soft, hard)), _MAX_JET)
            eta, phi, tie = _ETA_CODE[row - _PAD], 2 * (column - _PAD) + 1, _order(row, column)
            if pt >= c.jet_min:
                _insert(line, _JET, _SLOTS, jet_ties, tie, (pt, eta, phi))
            core = _total(pad, row, column, 1, 1)
            pt = min(int(core * c.tau_scale), _MAX_TAU)
            if pt >= c.tau_min and core >= c.tau_core_share * net and _ETA_SIZE[row - _PAD] < c.tau_eta_max:
                iso = 1 if net - core < c.tau_iso else 0
                _insert(line, _TAU, _SLOTS, tau_ties, tie, (pt, eta, phi, iso))


@njit(nogil=True, cache=True)
def _egammas(ecal: Codes, hcal: Codes, c: _Constants, line: Codes, ties: Ints) -> None:
    """Compact 3x3 ECAL clusters with little HCAL behind them."""
    for row in range(_PAD + _FIRST_ROW, _PAD + _LAST_ROW):
        for column in range(_PAD, _PAD + N_PHI):
            if ecal[row, column] < c.eg_seed or not _is_maximum(ecal, row, column, 1):
                continue
            em, had = _total(ecal, row, column, 1, 1), _total(hcal, row, column, 1, 1)
            if em < c.eg_min or had > c.eg_hadron_ratio * em or ecal[row, column] < c.eg_core_share * em:
                continue
            around = _total(ecal, row, column, 2, 4) + _total(hcal, row, column, 2, 4) - em - had
            iso = 1 if around < c.eg_iso_ratio * em + c.eg_iso else 0
            values = (min(em, _MAX_EG), _ETA_CODE[row - _PAD], 2 * (column - _PAD) + 1, iso)
            _insert(line, _EG, _SLOTS, ties, _order(row, column), values)


@njit(nogil=True, cache=True)
def _muons(pad: Codes, c: _Constants, muons: Muons, crossing: int, line: Codes, ties: Ints) -> None:
    """Muons, isolated by the towers around them."""
    for i in range(muons.first[crossing], muons.first[crossing + 1]):
        row, column = _MUON_ROW[muons.eta[i] + 256] + _PAD, muons.phi[i] * N_PHI // MUON_PHI_CODES + _PAD
        iso = 1 if _total(pad, row, column, 2, 2) < c.muon_iso else 0
        values = (muons.pt[i], muons.eta[i], muons.phi[i], iso, muons.quality[i], muons.charge[i])
        _insert(line, _MU, _MU_SLOTS, ties, _order(row, column), values)


@njit(nogil=True, cache=True)
def _missing(line: Codes, start: int, x: int, y: int) -> None:
    size = min(int(math.sqrt(x * x + y * y) / _SINE_UNIT + 0.5), _MAX_SUM)
    line[start] = size
    line[start + 1] = _direction(-x, -y) if size > 0 else 0


@njit(nogil=True, cache=True)
def _sums_and_regions(both: Codes, c: _Constants, line: Codes) -> None:
    """Energy sums of the central towers and of jets, and the 18 x 14 regions."""
    total, x, y = 0, 0, 0
    for row in range(_FIRST_ROW, _LAST_ROW):
        for column in range(N_PHI):
            code = both[row, column]
            if code == 0:
                continue
            total += code
            if code >= c.met_tower:
                x += code * _COSINE[2 * column + 1]
                y += code * _SINE[2 * column + 1]
            region = column // _REGION_TOWERS * _REGION_ROWS + (row - _FIRST_ROW) // _REGION_TOWERS
            line[_REGION + region] = min(line[_REGION + region] + code, _MAX_REGION)
    line[_ET] = min(total, _MAX_SUM)
    _missing(line, _MET, x, y)
    scalar, x, y = 0, 0, 0
    for slot in range(_SLOTS):
        pt, eta, phi = line[_JET + slot], line[_JET + _SLOTS + slot], line[_JET + 2 * _SLOTS + slot]
        if pt >= c.ht_jet and abs(eta) * CALO_ETA_LSB < c.ht_jet_eta:
            scalar += pt
            x += pt * _COSINE[phi]
            y += pt * _SINE[phi]
    line[_HT] = min(scalar, _MAX_SUM)
    _missing(line, _MHT, x, y)


@njit(nogil=True, cache=True)
def _find(towers: Codes, muons: Muons, crossing: int, c: _Constants, padded: Codes, ties: Ints, line: Codes) -> None:
    """Objects of one crossing of tower codes (2, 80, 72), to its line; `padded` and `ties` are scratch."""
    both = towers[0] + towers[1]
    _pad(towers[0], padded[0])
    _pad(towers[1], padded[1])
    _pad(both, padded[2])
    _jets_and_taus(padded[2], c, line, ties[0], ties[1])
    _egammas(padded[0], padded[1], c, line, ties[2])
    _muons(padded[2], c, muons, crossing, line, ties[3])
    _sums_and_regions(both, c, line)


@njit(nogil=True, cache=True)
def _digitise(energy: NDArray[np.int32], c: _Constants, towers: Codes) -> None:
    """Tower codes from the summed deposits of one crossing, (160, 72) to (2, 80, 72); clears the sums."""
    codes = towers.reshape(2 * N_ETA, N_PHI)
    for row in range(2 * N_ETA):
        floor = c.floor[row]
        for column in range(N_PHI):
            et = energy[row, column]
            codes[row, column] = min(et // _DEPOSITS_PER_CODE, c.tower_max) if et >= floor else 0
            energy[row, column] = 0


@njit(nogil=True, cache=True)
def _cross(deposits: NDArray[Any], first: Ints, overlay: Overlay, muons: Muons, c: _Constants, out: Codes) -> None:
    """Add up, digitise and look for objects, crossing by crossing."""
    energy = np.zeros((2 * N_ETA, N_PHI), np.int32)
    towers = np.zeros((2, N_ETA, N_PHI), np.int16)
    padded, ties = np.zeros((3, _ROWS, _WIDE), np.int16), np.zeros((4, _SLOTS), np.int64)
    for i in range(len(out)):
        for k in range(overlay.first[i], overlay.first[i + 1]):
            turn, mirror = overlay.turn[k], overlay.mirror[k]
            for d in range(first[overlay.collision[k]], first[overlay.collision[k] + 1]):
                deposit = deposits[d]
                row = _MIRRORED[deposit.row] if mirror else np.int64(deposit.row)
                column = deposit.column + turn
                if column >= N_PHI:
                    column -= N_PHI
                energy[row, column] += deposit.et
        _digitise(energy, c, towers)
        _find(towers, muons, i, c, padded, ties, out[i])


def _columns(out: Codes) -> dict[str, Codes]:
    return {name: out[:, place] for name, place in _PLACES.items()}


def digitise(et_gev: NDArray[np.float64], response: TriggerResponse) -> Codes:
    """Tower codes (n, 2, 80, 72) of 0.5 GeV from transverse energies of the same shape in GeV."""
    towers = np.zeros(et_gev.shape, np.int16)
    constants = _constants(response)
    for energy, codes in zip(et_gev, towers, strict=True):
        deposits = np.rint(energy / GEV_PER_DEPOSIT).astype(np.int32)
        _digitise(deposits.reshape(2 * N_ETA, N_PHI), constants, codes)
    return towers


def find_objects(towers: Codes, muons: Muons, response: TriggerResponse) -> dict[str, Codes]:
    """Trigger objects of n crossings.

    Parameters
    ----------
    towers : (n, 2, 80, 72) int16, codes of `digitise`
    muons : candidates of the crossings
    response : constants

    Returns
    -------
    columns keyed ``"jet.pt"``, each (n, slots) codes: those of the schemas ``cms_run3`` and ``cicada``
    """
    out = np.zeros((len(towers), _WIDTH), np.int16)
    padded, ties = np.zeros((3, _ROWS, _WIDE), np.int16), np.zeros((4, _SLOTS), np.int64)
    for i, line in enumerate(out):
        _find(towers[i], muons, i, _constants(response), padded, ties, line)
    return _columns(out)


def find_crossings(
    collisions: Collisions, overlay: Overlay, muons: Muons, response: TriggerResponse
) -> dict[str, Codes]:
    """As `find_objects`, of crossings made of collisions; runs without the interpreter's lock."""
    out = np.zeros((len(overlay.first) - 1, _WIDTH), np.int16)
    _cross(collisions.deposits, collisions.first_deposit, overlay, muons, _constants(response), out)
    return _columns(out)
