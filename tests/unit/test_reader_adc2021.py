import re

import h5py
import numpy as np
import pytest

from l1ad.events.readers import open_source
from l1ad.events.schema import input_columns, load_schema
from l1ad.events.store import concatenate

CLASSES = [1] + [2] * 4 + [3] * 4 + [4] * 10
TURN = 2 * np.pi


def event(**rows):
    """Nineteen rows of zeros, but those given as ``r9=(pt, eta, phi)``."""
    out = np.zeros((19, 4))
    for name, values in rows.items():
        row = int(name[1:])
        out[row] = (*values, CLASSES[row] if values[0] else 0)
    return out


EVENTS = np.stack(
    [
        event(r0=(20.2, 0, -np.pi), r1=(23.0, -0.435, 0.1), r5=(5.5, 0.10875, -TURN / 576), r9=(30.0, 1, 0)),
        event(),
        # a jet beyond 4 in eta, blanked but for its phi, before a softer one
        event(r9=(80.0, -3.9, 3.1), r10=(0, 0, 2.5), r11=(15.3, 0, -0.02)),
        event(r0=(3000.0, 0, 1), r1=(300.0, 0, 0), r2=(255.5, 0, 0), r5=(256.0, 0, 0), r9=(1023.4, 0, 0)),
        event(r0=(0, 0, 2.0)),
        event(r9=(10.0, 1, 1), r10=(20.0, 2, 2)),  # not sorted
    ]
)


def write(path, particles=EVENTS, **more):
    with h5py.File(path, "w") as file:
        file.create_dataset("Particles", data=particles, compression="gzip")
        file["Particles_Names"] = np.array(["Pt", "Eta", "Phi", "Class"], dtype="S5")
        file["Particles_Classes"] = np.array(["MET_class_1", "Four_Ele_class_2"], dtype="S16")
        for name, data in more.items():
            file[name] = data
    return path


def read(path, size=100):
    return concatenate(open_source(path, "adc2021", size).chunks)


def test_known_answers(tmp_path):
    source = open_source(write(tmp_path / "a.h5"), "adc2021", 100)
    assert source.n_events == 6
    assert source.attrs == {"simulated": True}
    (events,) = source.chunks
    c = events.columns
    assert c["met.pt"].tolist() == [[40], [0], [0], [4095], [0], [0]]
    assert c["met.phi"].tolist() == [[72], [0], [0], [23], [0], [0]]  # of the fifth: pT = 0 has no direction
    assert c["eg.pt"].tolist()[0] == [46, 0, 0, 0]
    assert c["eg.eta"].tolist()[0] == [-10, 0, 0, 0]
    assert c["eg.phi"].tolist()[0] == [2, 0, 0, 0]
    assert c["eg.pt"].tolist()[3] == [511, 511, 0, 0]
    assert c["mu.pt"][:, 0].tolist() == [11, 0, 0, 511, 0, 0]
    assert c["mu.eta"][0, 0] == 10
    assert c["mu.phi"][0, 0] == 575
    assert c["jet.pt"][:, :3].tolist() == [[60, 0, 0], [0, 0, 0], [160, 31, 0], [2047, 0, 0], [0, 0, 0], [40, 20, 0]]
    assert c["jet.phi"][2].tolist() == [71, 0] + 8 * [0]  # not 57, that of the blanked jet
    assert c["jet.eta"][2, 0] == -90
    assert c["jet.eta"][5].tolist() == [46, 23] + 8 * [0]
    assert all(array.dtype == np.int32 for array in c.values())
    assert events.meta["event"].tolist() == [-1] * 6
    assert events.meta["label"].tolist() == [-1] * 6


def test_inputs_are_those_of_cms_run3():
    assert input_columns(load_schema("adc2021")) == input_columns(load_schema("cms_run3"))


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_chunks_are_the_whole(tmp_path, size):
    path = write(tmp_path / "a.h5", EvtId=np.arange(6) + 10**9)
    whole, parts = read(path), read(path, size)
    assert whole.meta["event"].tolist() == [10**9 + i for i in range(6)]
    for name in whole.columns:
        np.testing.assert_array_equal(parts.columns[name], whole.columns[name])
    np.testing.assert_array_equal(parts.meta["event"], whole.meta["event"])
    assert max(len(part) for part in open_source(path, "adc2021", size).chunks) == size


def changed(row, column, value):
    particles = EVENTS.copy()
    particles[3, row, column] = value
    return particles


@pytest.mark.parametrize(
    ("particles", "message"),
    [
        (changed(9, 0, np.nan), "jet.pt must be finite, not nan (at (1, 0); 1 such values)"),
        (changed(1, 1, 6.0), "eg.eta must be in -5.568..5.5245 1, not 6.0"),
        (changed(5, 3, 2.0), "class of row 5 must be 3, not 2 (event 1); check the order of the objects"),
        (EVENTS[:, :18], "dataset /Particles must be (n, 19, 4), not (6, 18, 4); check the format"),
    ],
)
def test_wrong_content_is_refused(tmp_path, particles, message):
    path = write(tmp_path / "a.h5", particles)
    with pytest.raises(ValueError, match=r"a\.h5.*" + re.escape(message)):
        read(path, 2)


def test_wrong_files_are_refused(tmp_path):
    path = write(tmp_path / "a.h5", EvtId=np.arange(5))
    with pytest.raises(ValueError, match=r"/EvtId must be \(6,\) or \(6, 1\), not \(5,\)"):
        read(path)
    with pytest.raises(ValueError, match="part must not be given, not be 'x'; files of this format hold one sample"):
        open_source(path, "adc2021", 10, "x")
    with h5py.File(path, "r+") as file:
        del file["EvtId"], file["Particles_Names"]
        file["Particles_Names"] = np.array(["Eta", "Pt", "Phi", "Class"], dtype="S5")
    with pytest.raises(ValueError, match=r"Particles_Names must be \['Pt', 'Eta', 'Phi', 'Class'\], not \['Eta'"):
        read(path)
    with h5py.File(path, "r+") as file:
        del file["Particles"]
    with pytest.raises(ValueError, match="dataset Particles must exist; the file has Particles_Classes, Particles_Na"):
        read(path)
