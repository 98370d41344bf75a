"""Trigger towers and the codes of positions (CMS trigger towers; CMS TDR)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

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
CALO_ETA_LSB = 0.0435
CALO_PHI_CODES = 144
MUON_ETA_LSB = 0.010875
MUON_PHI_CODES = 576
GEV_PER_CODE = 0.5

GEV_PER_DEPOSIT = 1 / 128  # unit in which deposits are stored and added: integers, so that their order is free
