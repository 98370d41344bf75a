"""The calorimeter trigger again, as array operations on all crossings at once: what the compiled one must equal."""

from dataclasses import dataclass

import numpy as np

from l1ad.events.response.geometry import (
    CALO_ETA_LSB,
    CALO_PHI_CODES,
    CENTRAL,
    ETA_CENTRES,
    ETA_EDGES,
    GEV_PER_CODE,
    MUON_ETA_LSB,
    MUON_PHI_CODES,
    N_ETA,
    N_PHI,
    N_TOWERS,
)

PAD = 7
STRIDE = N_PHI + 2 * PAD
_ORDER = np.random.default_rng(0).permutation(N_TOWERS).astype(np.int32)


def _padded(towers):
    """Towers (n, 80, 72) with `PAD` empty rows at both ends in eta and wrapped columns in phi, flat."""
    out = np.zeros((len(towers), N_ETA + 2 * PAD, STRIDE), np.int32)
    out[:, PAD:-PAD, PAD:-PAD] = towers
    out[:, :, :PAD] = out[:, :, -2 * PAD : -PAD]
    out[:, :, -PAD:] = out[:, :, PAD : 2 * PAD]
    return out.reshape(-1)


def _window(rows, columns):
    """Offsets of a window of towers, relative to its centre, in the padded flat array."""
    return (np.array(rows)[:, None] * STRIDE + np.array(columns)).reshape(-1)


def _square(rows, columns):
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

    event: np.ndarray
    row: np.ndarray
    column: np.ndarray
    centre: np.ndarray

    def where(self, mask):
        return _Sites(self.event[mask], self.row[mask], self.column[mask], self.centre[mask])

    def total(self, padded, window):
        """Sum of `padded` over the window around each site, (k,) codes."""
        return padded[self.centre[:, None] + window].sum(1, dtype=np.int64)


def _sites(event, row, column):
    return _Sites(event, row, column, (event * (N_ETA + 2 * PAD) + row + PAD) * STRIDE + column + PAD)


def _local_maxima(towers, least, window):
    """Towers of at least `least` codes that are the largest of their window; ties go by `_ORDER`."""
    event, row, column = np.nonzero(towers >= least)
    found = _sites(event, row, column)
    ranked = _padded(np.where(towers > 0, towers * N_TOWERS + _ORDER.reshape(N_ETA, N_PHI), 0))
    return found.where(ranked[found.centre[:, None] + window].max(1) == ranked[found.centre])


def _codes(gev):
    return round(gev / GEV_PER_CODE)


def _ranked(events, slots, owner, pt, tie, **columns):
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


def _direction(x, y):
    return np.floor(np.arctan2(y, x) * (CALO_PHI_CODES / (2 * np.pi))).astype(np.int64) % CALO_PHI_CODES


def find_objects(towers, muons, response):
    """What `l1ad.events.response.trigger.find_objects` must find, all crossings at once."""
    r, n = response, len(towers)
    ecal, hcal = towers[:, 0].astype(np.int32), towers[:, 1].astype(np.int32)
    both = ecal + hcal
    pad_ecal, pad_hcal, pad = _padded(ecal), _padded(hcal), _padded(both)
    eta_codes = np.rint(ETA_CENTRES / CALO_ETA_LSB).astype(np.int64)
    objects = {}

    def place(at):
        return {
            "owner": at.event,
            "tie": _ORDER[at.row * N_PHI + at.column].astype(np.int64),
            "eta": eta_codes[at.row],
            "phi": at.column * 2 + 1,
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
    event = np.repeat(np.arange(n), np.diff(muons.first))
    row = np.clip(np.digitize(muons.eta * MUON_ETA_LSB, ETA_EDGES) - 1, 0, N_ETA - 1)
    column = muons.phi * N_PHI // MUON_PHI_CODES
    around = _sites(event, row, column).total(pad, _MUON_CONE)
    objects["mu"] = _ranked(
        n,
        8,
        owner=event,
        pt=muons.pt,
        tie=_ORDER[row * N_PHI + column].astype(np.int64),
        eta=muons.eta,
        phi=muons.phi,
        charge=muons.charge,
        quality=muons.quality,
        iso=(around < _codes(r.muon_iso_gev)).astype(np.int64),
    )

    # energy sums, with sines in units of 1 / 4096
    angle = np.arange(CALO_PHI_CODES) * (2 * np.pi / CALO_PHI_CODES)
    cosine, sine = (np.rint(4096 * f(angle)).astype(np.int64) for f in (np.cos, np.sin))
    central = both[:, CENTRAL].sum(1)
    loud = np.where(both >= _codes(r.met_tower_gev), both, 0)[:, CENTRAL].sum(1).astype(np.int64)
    jet = objects["jet"]
    counted = (jet["pt"] >= _codes(r.ht_jet_gev)) & (np.abs(jet["eta"]) * CALO_ETA_LSB < r.ht_jet_eta)
    scalar = np.where(counted, jet["pt"], 0).astype(np.int64)
    for name, x, y in (
        ("met", loud @ cosine[1::2], loud @ sine[1::2]),
        ("mht", (scalar * cosine[jet["phi"]]).sum(1), (scalar * sine[jet["phi"]]).sum(1)),
    ):
        size = np.minimum((np.sqrt((x**2 + y**2).astype(float)) / 4096 + 0.5).astype(np.int64), 4095)
        objects[name] = {"pt": size[:, None], "phi": np.where(size > 0, _direction(-x, -y), 0)[:, None]}
    objects["ht"] = {"pt": np.minimum(scalar.sum(1), 4095)[:, None]}
    objects["et"] = {"pt": np.minimum(central.sum(1), 4095)[:, None]}
    # 14 regions in eta of 4 towers, 18 in phi; the slot runs fastest in eta
    regions = both[:, CENTRAL].reshape(n, 14, 4, 18, 4).sum((2, 4)).transpose(0, 2, 1)
    objects["region"] = {"pt": np.minimum(regions.reshape(n, 252), 1023)}
    return {
        f"{name}.{column}": values.astype(np.int16)
        for name, columns in objects.items()
        for column, values in columns.items()
    }
