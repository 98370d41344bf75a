import re

import h5py
import numpy as np
import pytest

from l1ad.events.readers import open_source
from l1ad.events.store import concatenate


def write(path, regions, **more):
    with h5py.File(path, "w") as file:
        file.create_dataset("CaloRegions", data=regions, maxshape=(None, 18, 14), chunks=True)
        for name, data in more.items():
            file[name] = data
    return path


@pytest.fixture
def regions(rng):
    out = rng.integers(0, 40, (7, 18, 14)).astype(float)
    out[2] = 0
    out[3, 5, 13] = 1023
    out[4, 17, 0] = 1
    return out


def read(path, size=100):
    return concatenate(open_source(path, "cicada", size).chunks)


def test_a_slot_is_a_place(tmp_path, regions):
    flags = np.array([1, 0, 0, 1, 1, 0, 1], bool)
    source = open_source(write(tmp_path / "a.h5", regions, AcceptanceFlag=flags), "cicada", 100)
    (events,) = source.chunks
    pt = events.columns["region.pt"]
    assert pt.shape == (7, 252)
    assert pt[3, 5 * 14 + 13] == 1023
    assert pt[4, 17 * 14 + 0] == 1
    assert not pt[2].any()
    np.testing.assert_array_equal(pt.reshape(7, 18, 14), regions)
    assert source.attrs == {"simulated": True, "seeds": ["AcceptanceFlag"]}
    assert source.warnings == (
        "seeds column AcceptanceFlag says what was generated, not what the trigger decided; "
        "leave it out of a pure rate",
    )
    assert events.meta["seeds"].tolist() == [[1], [0], [0], [1], [1], [0], [1]]


@pytest.mark.parametrize("more", [{}, {"AcceptanceFlag": np.zeros(0)}])
def test_data_have_no_flags(tmp_path, regions, more):
    source = open_source(write(tmp_path / "a.h5", regions.astype(np.int16), **more), "cicada", 100)
    (events,) = source.chunks
    assert source.attrs == {"simulated": False, "seeds": []}
    assert source.warnings == ()
    assert events.meta["seeds"].shape == (7, 0)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_chunks_are_the_whole(tmp_path, regions, size):
    more = {"run": np.full(7, 398183, np.uint32), "lumi": np.arange(7, dtype=np.uint32), "event": np.arange(7) + 2**33}
    path = write(tmp_path / "a.h5", regions, **more, nPV=np.arange(7))
    whole, parts = read(path), read(path, size)
    np.testing.assert_array_equal(parts.columns["region.pt"], whole.columns["region.pt"])
    assert parts.meta["run"].tolist() == [398183] * 7
    assert parts.meta["ls"].tolist() == list(range(7))
    assert parts.meta["event"].tolist() == [2**33 + i for i in range(7)]
    assert parts.meta["n_collisions"].tolist() == [-1] * 7


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1024, "must be in 0..1023, not 1024.0 (at (1, 71); 1 such values)"),
        (-1, "must be in 0..1023, not -1.0"),
        (0.5, "must be integer codes, not 0.5"),
        (np.nan, "must be integer codes, not nan"),
    ],
)
def test_wrong_content_is_refused(tmp_path, regions, value, message):
    regions[5, 5, 1] = value
    with pytest.raises(ValueError, match=r"a\.h5: CaloRegions \(events from 4\) " + re.escape(message)):
        read(write(tmp_path / "a.h5", regions), 4)


def test_wrong_files_are_refused(tmp_path, regions):
    with pytest.raises(ValueError, match=r"dataset /AcceptanceFlag must be \(7,\) or \(0,\), not \(6,\)"):
        read(write(tmp_path / "a.h5", regions, AcceptanceFlag=np.zeros(6)))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["CaloRegions"] = np.zeros((3, 14, 18))
    with pytest.raises(ValueError, match=r"dataset /CaloRegions must be \(n, 18, 14\), not \(3, 14, 18\)"):
        read(tmp_path / "b.h5")
    with pytest.raises(ValueError, match="part must not be given"):
        open_source(tmp_path / "b.h5", "cicada", 10, "x")
