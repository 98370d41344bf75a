import re

import h5py
import numpy as np
import pytest

from l1ad.events.readers import open_source
from l1ad.events.store import concatenate

BKG, SIG = "Background_data/Test", "Signal_data/haa-4b-ma15"


def codes():
    """Five events as codes of the Global Trigger, muons in the muon trigger's count."""
    x = np.zeros((5, 19, 3))
    x[0, 0] = 41, 0, 100
    x[0, 1:3] = [(30, -20, 143), (12, 5, 1)]
    x[0, 5:9] = [(1, 3, 4), (7, -224, 575), (511, 2, 2), (21, 1, 1)]  # 0 GeV, 3 GeV, saturated, 10 GeV; not sorted
    x[1, 9:11] = [(2047, 114, 143), (60, -115, 0)]
    x[2, 0] = 4095, 0, 0
    x[3, 9:19, 0] = np.arange(50, 40, -1)
    return x


def norms(pow2):
    scale = np.ones((19, 3))
    bias = np.zeros((19, 3))
    scale[:, 0] = 16 if pow2 else 13.7
    scale[:, 1] = 64 if pow2 else 51.3
    scale[1:, 2] = 32 if pow2 else 40.1
    bias[:, 0] = 22 if pow2 else 21.625
    bias[:, 2] = 72 if pow2 else 71.9
    return bias, scale


def write(path, pow2=True, dtype=np.float64, flat=False, x=None, **drop):
    x = codes() if x is None else x
    bias, scale = norms(pow2)
    data = ((x - bias) / scale).astype(dtype)
    shape = (-1, 57) if flat else (-1, 19, 3)
    info = np.array([[398183, 12, 10**6 + i, 3000, 7, 99, 60.5] for i in range(len(x))])
    with h5py.File(path, "w") as file:
        for part in ("Background_data/Train", BKG, SIG):
            group = file.create_group(part)
            group["DATA"] = data.reshape(shape)
            group["ET"] = np.arange(len(x)) + 1000
            group["HT"] = np.arange(len(x)) + 200
            group["PU"] = info if part == BKG else np.full(len(x), 55.0)
            group["L1bits"] = np.arange(len(x)) % 2 == 0
        file["Normalisation/norm_bias"] = bias.reshape(shape[1:])
        file["Normalisation/norm_scale"] = scale.reshape(shape[1:])
        for name, value in drop.items():
            del file[name]
            if value is not None:
                file[name] = value
    return path


def read(path, part=BKG, size=100):
    return concatenate(open_source(path, "axol1tl", size, part).chunks)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(("pow2", "dtype"), [(True, np.float64), (False, np.float64), (False, np.float32)])
def test_known_answers(tmp_path, pow2, dtype, flat):
    events = read(write(tmp_path / "a.h5", pow2, dtype, flat))
    c = events.columns
    assert c["met.pt"][:, 0].tolist() == [41, 0, 4095, 0, 0]
    assert c["met.phi"][:, 0].tolist() == [100, 0, 0, 0, 0]
    assert c["eg.pt"][0].tolist() == [30, 12] + 10 * [0]
    assert c["eg.eta"][0].tolist() == [-20, 5] + 10 * [0]
    assert c["eg.phi"][0].tolist() == [143, 1] + 10 * [0]
    assert c["mu.pt"][0].tolist() == [511, 20, 6, 0, 0, 0, 0, 0]
    assert c["mu.eta"][0].tolist() == [2, 1, -224, 0, 0, 0, 0, 0]
    assert c["mu.phi"][0].tolist() == [2, 1, 575, 0, 0, 0, 0, 0]
    assert c["jet.pt"][1].tolist() == [2047, 60] + 10 * [0]
    assert c["jet.eta"][1].tolist() == [114, -115] + 10 * [0]
    assert c["jet.pt"][3].tolist() == [*range(50, 40, -1), 0, 0]
    assert c["et.pt"][:, 0].tolist() == [1000, 1001, 1002, 1003, 1004]
    assert c["ht.pt"][:, 0].tolist() == [200, 201, 202, 203, 204]
    assert not c["tau.pt"].any()
    m = events.meta
    assert m["seeds"][:, 0].tolist() == [1, 0, 1, 0, 1]
    assert m["pileup"].tolist() == [60.5] * 5
    assert m["run"].tolist() == [398183] * 5
    assert m["ls"].tolist() == [12] * 5
    assert m["bx"].tolist() == [3000] * 5
    assert m["event"].tolist() == [10**6 + i for i in range(5)]
    assert m["label"].tolist() == [0] * 5


def test_parts(tmp_path):
    path = write(tmp_path / "a.h5")
    source = open_source(path, "axol1tl", 9, SIG)
    assert source.attrs == {
        "sample": "a Signal_data/haa-4b-ma15",
        "simulated": True,
        "seeds": ["L1bits"],
        "absent": ["tau", "mht"],
    }
    assert "rates and efficiencies of high thresholds are biased" in source.warnings[0]
    (events,) = source.chunks
    assert events.meta["label"].tolist() == [1] * 5
    assert events.meta["pileup"].tolist() == [55.0] * 5
    assert events.meta["run"].tolist() == [-1] * 5
    assert not open_source(path, "axol1tl", 9, BKG).attrs["simulated"]
    for part in (None, "Signal_data/none", "Background_data"):
        expected = (
            f"must be one of those in the file (Background_data/Test, Background_data/Train, {SIG}), not {part!r}"
        )
        with pytest.raises(ValueError, match=r"a\.h5: part " + re.escape(expected)):
            open_source(path, "axol1tl", 9, part)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_chunks_are_the_whole(tmp_path, size):
    path = write(tmp_path / "a.h5")
    whole, parts = read(path), read(path, size=size)
    for name in whole.columns:
        np.testing.assert_array_equal(parts.columns[name], whole.columns[name])
    for name in whole.meta:
        np.testing.assert_array_equal(parts.meta[name], whole.meta[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"{BKG}/ET": None}, "dataset ET must exist; /Background_data/Test of the file has DATA, HT, L1bits, PU"),
        ({f"{BKG}/HT": np.zeros(4)}, "dataset /Background_data/Test/HT must be (5,) or (5, 1), not (4,)"),
        ({f"{BKG}/DATA": np.zeros((5, 20, 3))}, "DATA must be (n, 19, 3) or (n, 57), not (5, 20, 3)"),
        ({f"{BKG}/ET": np.full(5, 4096)}, "Test/ET (events from 0) must be in 0..4095, not 4096"),
        ({f"{BKG}/PU": np.full(5, np.nan)}, "Test/PU (events from 0) must be finite, not [nan] (event 0)"),
        ({"Normalisation/norm_bias": None}, "dataset Normalisation/norm_bias must exist"),
        ({"Normalisation/norm_scale": np.zeros((19, 3))}, "Normalisation must be finite and norm_scale positive"),
        ({f"{BKG}/DATA": np.full((5, 57), 0.3)}, "met.pt, scaled back, must be integer codes, not 26.8"),
        ({f"{BKG}/DATA": np.full((5, 57), np.nan)}, "met.pt, scaled back, must be integer codes, not nan"),
        ({f"{BKG}/DATA": np.full((5, 57), 512.0)}, "met.pt, scaled back, must be in 0..4095, not 8214.0"),
    ],
)
def test_wrong_content_is_refused(tmp_path, change, message):
    path = write(tmp_path / "a.h5", **change)
    with pytest.raises(ValueError, match=r"a\.h5.*" + re.escape(message)):
        read(path)


def test_a_file_without_parts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match=r"one of those in the file \(none: check the format\), not None"):
        open_source(tmp_path / "a.h5", "axol1tl", 9)
