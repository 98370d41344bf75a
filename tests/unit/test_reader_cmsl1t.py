import re
import sys

import numpy as np
import pytest

from l1ad.events.readers import open_source
from l1ad.events.store import concatenate

LISTS = {
    "egammas_egIEt": [[30, 12], [], [511] + 11 * [9]],
    "egammas_egIEta": [[-115, 5], [], 12 * [1]],
    "egammas_egIPhi": [[143, 0], [], 12 * [2]],
    "egammas_egIso": [[3, 0], [], 12 * [1]],
    "taus_tauIEt": [[], [40], [7]],
    "taus_tauIEta": [[], [-3], [0]],
    "taus_tauIPhi": [[], [7], [0]],
    "taus_tauIso": [[], [1], [0]],
    # the muon trigger's count, in its own order: 3 GeV, at least 255 GeV, 0 GeV, 10 GeV
    "muons_muonIEt": [[7, 511, 1, 21], [], [2]],
    "muons_muonIEtaAtVtx": [[-225, 3, 9, 225], [], [0]],
    "muons_muonIPhiAtVtx": [[575, 0, 9, 100], [], [1]],
    "muons_muonQual": [[12, 8, 4, 15], [], [12]],
    "muons_muonChg": [[-1, 1, 1, 0], [], [1]],
    "jets_jetIEt": [[2047, 60, 60], [], [1]],
    "jets_jetIEta": [[1, 2, 3], [], [-128]],
    "jets_jetIPhi": [[4, 5, 6], [], [0]],
    "MET_Et": [[41], [0], [4095]],
    "MET_phi": [[100], [0], [3]],
    "MHT_Et": [[20], [], [5]],  # no sum of this crossing
    "MHT_phi": [[9], [], [1]],
    "HT_Et": [[200], [0], [300]],
    "ET_Et": [[1000], [10], [4095]],
    # not read
    "FET_Et": [[1], [1], [1]],
    "jets_jetRawEt": [[0, 0, 0], [], [0]],
    "muons_muonIEtUnconstrained": [[7, 1, 1, 1], [], [0]],
}
PLAIN = {
    "run": ([398183] * 3, "uint32"),
    "lumi": ([7, 7, 8], "uint32"),
    "event": ([2**33, 5, 6], "uint64"),
    "bx": ([1, 3564, 200], "uint32"),
    "nPV_True": ([60.5, 60.5, 61.0], "float32"),
    "L1bit": ([True, False, True], "bool_"),
    "split": (["train"] * 3, "string"),
    "order": ([4, -1, 0], "int64"),
    "dataset": (["ZB_run398183"] * 3, "string"),
    "label": ([0, 0, 0], "int16"),
}


@pytest.fixture
def write(require, tmp_path):
    """Write the three events, `times` over, with other columns in place of some or without them."""
    require("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(name="train-00000-of-00001.parquet", times=1, group=2, large=False, kind="int16", **other):
        listed = pa.large_list if large else pa.list_
        columns = {key: pa.array(value * times, listed(getattr(pa, kind)())) for key, value in LISTS.items()}
        columns |= {key: pa.array(value * times, getattr(pa, kind)()) for key, (value, kind) in PLAIN.items()}
        columns |= other
        path = tmp_path / name
        pq.write_table(
            pa.table({k: v for k, v in columns.items() if v is not None}),
            path,
            row_group_size=group,
            compression="snappy",
        )
        return path

    return write


def read(path, size=100):
    return concatenate(open_source(path, "cmsl1t", size).chunks)


def padded(values, slots):
    return values + (slots - len(values)) * [0]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["int16", "int32", "int64"])
def test_known_answers(write, large, kind):
    source = open_source(write(large=large, kind=kind), "cmsl1t", 100)
    assert source.n_events == 3
    assert source.attrs == {"simulated": False, "seeds": ["L1bit"], "sample": "ZB_run398183"}
    events = concatenate(source.chunks)
    c = {name: array.tolist() for name, array in events.columns.items()}
    assert c["eg.pt"] == [padded([30, 12], 12), padded([], 12), [511] + 11 * [9]]
    assert c["eg.eta"][0] == padded([-115, 5], 12)
    assert c["eg.phi"][0] == padded([143, 0], 12)
    assert c["eg.iso"][0] == padded([3, 0], 12)
    assert c["tau.pt"] == [padded([], 12), padded([40], 12), padded([7], 12)]
    assert c["mu.pt"] == [padded([511, 20, 6], 8), padded([], 8), padded([1], 8)]
    assert c["mu.eta"][0] == padded([3, 225, -225], 8)
    assert c["mu.phi"][0] == padded([0, 100, 575], 8)
    assert c["mu.quality"][0] == padded([8, 15, 12], 8)
    assert c["mu.charge"][0] == padded([1, 2, 0], 8)
    assert c["mu.iso"] == 3 * [padded([], 8)]
    assert c["jet.pt"] == [padded([2047, 60, 60], 12), padded([], 12), padded([1], 12)]
    assert c["jet.phi"][0] == padded([4, 5, 6], 12)
    assert c["jet.eta"][2] == padded([-128], 12)
    assert c["met.pt"] == [[41], [0], [4095]]
    assert c["met.phi"] == [[100], [0], [3]]
    assert c["mht.pt"] == [[20], [0], [5]]
    assert c["ht.pt"] == [[200], [0], [300]]
    assert c["et.pt"] == [[1000], [10], [4095]]
    m = {name: array.tolist() for name, array in events.meta.items()}
    assert m["run"] == [398183] * 3
    assert m["ls"] == [7, 7, 8]
    assert m["event"] == [2**33, 5, 6]
    assert m["bx"] == [1, 3564, 200]
    assert m["pileup"] == [60.5, 60.5, 61.0]
    assert m["seeds"] == [[1], [0], [1]]
    assert m["label"] == [0, 0, 0]


@pytest.mark.parametrize(("label", "truth"), [(-1, 0), (7, 1)])
def test_simulation(write, label, truth):
    import pyarrow as pa

    path = write(
        label=pa.array([label] * 3, pa.int16()),
        bx=pa.array([2**32 - 1] * 3, pa.uint32()),
        nPV_True=pa.array([40, 50, 60], pa.int32()),
        dataset=pa.array(["haa-4b-ma15"] * 3),
    )
    source = open_source(path, "cmsl1t", 9)
    assert source.attrs == {"simulated": True, "seeds": ["L1bit"], "sample": "haa-4b-ma15"}
    meta = concatenate(source.chunks).meta
    assert meta["label"].tolist() == [truth] * 3
    assert meta["bx"].tolist() == [-1] * 3
    assert meta["pileup"].tolist() == [40, 50, 60]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_chunks_are_the_whole(write, size):
    path = write(times=5, group=4)
    whole, parts = read(path), read(path, size)
    assert len(parts) == 15
    assert max(len(part) for part in open_source(path, "cmsl1t", size).chunks) <= size
    for name in whole.columns:
        np.testing.assert_array_equal(parts.columns[name], whole.columns[name])
    for name in whole.meta:
        np.testing.assert_array_equal(parts.meta[name], whole.meta[name])


def lists(*values, kind="int16"):
    def make():
        import pyarrow as pa

        return pa.array(values, pa.list_(getattr(pa, kind)()))

    return make


def plain(*values):
    def make():
        import pyarrow as pa

        return pa.array(values)

    return make


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jets_jetIEt": None}, "columns must include jets_jetIEt; check the format, seeds/ has no events"),
        ({"L1bit": None}, "columns must include L1bit"),
        ({"ET_Et": plain(1, 2, 3)}, "column ET_Et must be a list of integers, not int64"),
        ({"HT_Et": lists([1], [2], [3], kind="float32")}, "column HT_Et must be a list of integers, not list<"),
        ({"L1bit": lists([1], [2], [3])}, "column L1bit must be one value an event, not list<"),
        ({"HT_Et": lists([1], [2, 3], [4])}, "ht must be at most 1 per event, not 2"),
        ({"egammas_egIso": lists([3], [], 12 * [1])}, "egammas_egIso must have as many entries as egammas_egIEt"),
        ({"HT_Et": lists([1], [4096], [4])}, "HT_Et must be in 0..4095, not 4096 (at (1,); 1 such values)"),
        ({"MET_phi": lists([144], [0], [4])}, "MET_phi must be in 0..143, not 144"),
        ({"muons_muonIEt": lists([7, 512, 1, 21], [], [2])}, "muons_muonIEt must be in 0..511, not 512"),
        ({"muons_muonChg": lists([1, 2, 1, 1], [], [1])}, "muons_muonChg must be -1, 0 or 1, not 2"),
        ({"HT_Et": lists([1], [None], [4])}, "HT_Et must have a number in each entry, not 1 nulls"),
        ({"run": plain(1, None, 3)}, "run must have a value in each event, not 1 nulls"),
        ({"label": plain(0, 0, 1)}, "label must be the same in a file (0), as data and simulation must not mix"),
    ],
)
def test_wrong_content_is_refused(write, change, message):
    path = write(group=3, **{name: make and make() for name, make in change.items()})
    with pytest.raises(ValueError, match=r"\.parquet.*" + re.escape(message)):
        read(path)


def test_more_objects_than_the_trigger_has(write):
    more = {name: lists([1], [1], [1] * 13)() for name in LISTS if name.startswith("jets_")}
    with pytest.raises(ValueError, match="jet must be at most 12 per event, not 13; check the format"):
        read(write(**more))


def test_null_lists_are_empty(write):
    empty = {name: lists(None, [1], [1])() for name in LISTS if name.startswith("taus_")}
    assert read(write(**empty)).columns["tau.pt"][:, 0].tolist() == [0, 1, 1]


def test_damaged_files(write, tmp_path):
    whole = write(times=400, group=100).read_bytes()
    path = tmp_path / "cut.parquet"
    path.write_bytes(whole[:-100])
    with pytest.raises(OSError, match=r"cut\.parquet: file must be complete parquet, not truncated, damaged"):
        read(path)
    path.write_bytes(whole[:2000] + bytes(3000) + whole[5000:])
    with pytest.raises(OSError, match=r"cut\.parquet: file must be complete parquet"):
        read(path)
    with pytest.raises(ValueError, match="file must hold events, not 0"):
        read(write(times=0))
    with pytest.raises(ValueError, match="part must not be given"):
        open_source(write(), "cmsl1t", 10, "train")


def test_pyarrow_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pyarrow must be installed .* pip install 'l1ad\[readers\]'"):
        open_source(tmp_path / "a.parquet", "cmsl1t", 10)
