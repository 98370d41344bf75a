import sys

import numpy as np
import pytest
from root_files import cut, scramble, write_trees

from l1ad.events.readers.l1ntuple import read_l1ntuple
from l1ad.events.schema import load_schema
from l1ad.events.store import EventFile, EventWriter, concatenate

SCHEMA = load_schema("cms_run3")
TREE, EMULATED = "l1UpgradeTree/L1UpgradeTree", "l1UpgradeEmuTree/L1UpgradeTree"
EVENT, GENERATOR, SEEDS = "l1EventTree/L1EventTree", "l1GeneratorTree/L1GenTree", "l1uGTTree/L1uGTTree"
CALORIMETER = ("IEt", "IEta", "IPhi", "Iso", "Bx")
MUON = ("IEt", "IEtaAtVtx", "IPhiAtVtx", "IEta", "IPhi", "Qual", "Iso", "Chg", "Bx")
FIELDS = {
    "eg": CALORIMETER,
    "tau": CALORIMETER,
    "jet": tuple(name for name in CALORIMETER if name != "Iso"),
    "muon": MUON,
    "sum": ("Type", "IEt", "IPhi", "Bx"),
}
DTYPES = {"muonIso": "u2", "muonQual": "u2", "sumBx": "f4"}  # the others are int16
# three events: ordinary, empty, crowded and saturated
OBJECTS = {
    "eg": [
        [(20, -5, 143, 3, 0), (50, 7, 0, 1, 0), (60, 1, 1, 1, -1), (20, 6, 9, 0, 0)],
        [],
        [(pt, -pt % 100, pt % 100, 0, 0) for pt in (3, 9, 1, 511, 5, 2, 8, 13, 4, 12, 6, 11, 7, 10)]
        + [(99, 0, 0, 0, 2)],
    ],
    "tau": [[(30, 2, 3, 1, 0)], [(8, 1, 1, 0, 1)], [(510, 0, 0, 1, 0), (511, 127, 5, 0, 0)]],
    "jet": [[(61, -110, 71, 0), (61, 110, 72, 0)], [], [(2046, 0, 0, 0), (2047, 1, 2, 0)]],
    "muon": [
        [
            *((45, -223, 575, 1, 2, 12, 3, -1, 0), (9, 222, 0, 3, 4, 8, 1, 1, 0)),
            *((7, 5, 6, 0, 0, 4, 0, 0, 0), (400, 0, 0, 0, 0, 12, 0, 1, -2)),
        ],
        [(1, 9, 9, 0, 0, 4, 0, 1, 0), (0, 9, 9, 0, 0, 4, 0, 1, 0), (2, 9, 9, 0, 0, 4, 0, 1, 0)],
        [(510, 1, 1, 0, 0, 15, 0, 1, 0), (511, 2, 2, 0, 0, 15, 0, -1, 0)],
    ],
    "sum": [
        [(0, 800, 0, 0), (1, 122, 0, 0), (2, 37, 143, 0), (3, 90, 12, 0), (8, 41, 99, 0), (2, 999, 5, 1)],
        [(kind, 0, 111, 0) for kind in (0, 1, 2, 3, 8)] + [(11, 7, 0, 0)],
        [(kind, 4095, 7 * (kind == 3), 0) for kind in (0, 1, 2, 3, 8)],
    ],
}
NUMBERS = {
    "run": np.array([320040] * 3, "u4"),
    "lumi": np.array([612, 612, 613], "u4"),
    "event": np.array([958997146, 2**40, 1], "u8"),
    "bx": np.array([1732, 0, 2**32 - 1], "u4"),
    "nPV_True": np.array([15913, 0, 3], "i4"),
}
BITS = ("?", [[0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]])
ALIASES = {
    "L1_ZeroBias": "L1uGT.m_algoDecisionInitial[3]",
    "L1_SingleMu22": "L1uGT.m_algoDecisionInitial[1]",
    "somebody's own": "egEt[0] > 3",
}


@pytest.fixture(autouse=True)
def uproot(require):
    require("uproot")


@pytest.fixture
def aliases(monkeypatch):
    """uproot writes no aliases: every tree has these."""
    import uproot

    monkeypatch.setattr(uproot.behaviors.TTree.TTree, "aliases", property(lambda _: ALIASES))


def objects(stem="", **change):
    """Branches of the tree of objects, as if `stem` were the name of the branch that was split."""
    out = {}
    for kind, events in OBJECTS.items():
        for i, field in enumerate(FIELDS[kind]):
            name = kind + field
            out[stem + name] = (DTYPES.get(name, "i2"), [[row[i] for row in event] for event in events])
    out[stem + "nEGs"] = np.array([len(event) for event in OBJECTS["eg"]], "u2")
    return {name: content for name, content in (out | change).items() if content is not None}


def ntuple(path, **trees):
    """A file with recorded objects and event numbers; other trees by their variable names above."""
    known = {"TREE": objects(), "EVENT": NUMBERS} | trees
    return write_trees(path, {globals()[name]: content for name, content in known.items() if content is not None})


@pytest.fixture(scope="module")
def original(tmp_path_factory, require):
    require("uproot")
    return ntuple(tmp_path_factory.mktemp("l1ntuple") / "L1Ntuple.root", SEEDS={"m_algoDecisionInitial": BITS})


def read(path, size=100, part=None):
    source = read_l1ntuple(path, size, part)
    chunks = list(source.chunks)
    return source, concatenate(chunks) if chunks else None


def assert_same(a, b):
    for name in a.columns:
        np.testing.assert_array_equal(a.columns[name], b.columns[name])
    for name in a.meta:
        np.testing.assert_array_equal(a.meta[name], b.meta[name])


def test_objects_known_answer(original):
    source, events = read(original)
    assert source.schema == SCHEMA
    assert list(events.columns) == list(SCHEMA.columns())
    assert {array.dtype for array in events.columns.values()} == {np.dtype(np.int32)}
    got = {name: array.tolist() for name, array in events.columns.items()}
    assert got["eg.pt"] == [[50, 20, 20] + [0] * 9, [0] * 12, [511, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3]]
    assert got["eg.eta"] == [[7, -5, 6] + [0] * 9, [0] * 12, [89, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97]]
    assert got["eg.phi"][0][:3] == [0, 143, 9]
    assert got["eg.iso"][0][:3] == [1, 3, 0]
    assert [row[:2] for row in got["tau.pt"]] == [[30, 0], [0, 0], [511, 510]]
    assert [row[:2] for row in got["tau.eta"]] == [[2, 0], [0, 0], [127, 0]]
    assert [row[:3] for row in got["jet.pt"]] == [[61, 61, 0], [0, 0, 0], [2047, 2046, 0]]
    assert got["jet.eta"][0][:2] == [-110, 110]


def test_muons_known_answer(original):
    got = {name: array.tolist() for name, array in read(original)[1].columns.items()}
    assert [row[:4] for row in got["mu.pt"]] == [[44, 8, 6, 0], [1, 0, 0, 0], [511, 509, 0, 0]]
    assert [row[:3] for row in got["mu.eta"]] == [[-223, 222, 5], [9, 0, 0], [2, 1, 0]]
    assert [row[:3] for row in got["mu.phi"]] == [[575, 0, 6], [9, 0, 0], [2, 1, 0]]
    assert got["mu.quality"][0][:3] == [12, 8, 4]
    assert got["mu.iso"][0][:3] == [3, 1, 0]
    assert [row[:3] for row in got["mu.charge"]] == [[0, 1, 2], [1, 0, 0], [0, 1, 0]]  # 2: not measured


def test_sums_known_answer(original):
    got = {name: array[:, 0].tolist() for name, array in read(original)[1].columns.items() if array.shape[1] == 1}
    assert got == {
        "met.pt": [37, 0, 4095],  # type 2 of crossing 0: not 41 (with HF), not 999
        "met.phi": [143, 0, 0],
        "ht.pt": [122, 0, 4095],
        "et.pt": [800, 0, 4095],
        "mht.pt": [90, 0, 4095],
        "mht.phi": [12, 0, 7],
    }


def test_event_quantities(original):
    source, events = read(original)
    assert source.n_events == 3
    assert source.attrs == {"simulated": False, "objects": "unpacked"}
    assert events.meta["run"].tolist() == [320040] * 3
    assert events.meta["ls"].tolist() == [612, 612, 613]
    assert events.meta["event"].tolist() == [958997146, 2**40, 1]
    assert events.meta["bx"].tolist() == [1732, 0, -1]  # all bits set: unknown
    assert events.meta["pileup"].tolist() == [-1.0] * 3  # nPV_True is not filled in data


@pytest.mark.usefixtures("aliases")
def test_seeds_by_the_aliases_of_the_tree(original, tmp_path):
    source, events = read(original, 2)
    assert source.attrs["seeds"] == ["L1_SingleMu22", "L1_ZeroBias"]
    assert source.attrs["seed_decisions"] == "initial"
    assert events.meta["seeds"].tolist() == [[1, 1], [0, 1], [0, 1]]
    assert len(source.warnings) == 1
    with EventWriter(tmp_path / "events.h5", source.schema, source.attrs) as out:
        out.append(events)
    with EventFile(tmp_path / "events.h5") as file:
        assert_same(file.read(), events)


@pytest.mark.usefixtures("aliases")
def test_seeds_without_their_bits(tmp_path):
    path = ntuple(tmp_path / "x.root", SEEDS={"m_algoDecisionInitial": ("?", [[1] * 4, [1] * 3, [1] * 4])})
    with pytest.raises(ValueError, match=r"m_algoDecisionInitial must have more than 3 decisions .* not 3 \(event 1"):
        read(path)
    source, events = read(ntuple(tmp_path / "x.root", SEEDS={"m_finalOR": np.ones(3, "?")}))
    assert events.meta["seeds"].shape == (3, 0)
    assert (
        source.warnings[1] == "tree l1uGTTree/L1uGTTree with decisions and names is not in the file: there are no seeds"
    )


def test_bits_without_names_are_no_seeds(original):
    source, events = read(original)
    assert events.meta["seeds"].shape == (3, 0)
    assert source.warnings[0].startswith("slots (12 of e/γ, tau and jets, 8 of muons) are filled by falling pT")
    assert source.warnings[1].endswith("with decisions and names is not in the file: there are no seeds")


def test_chunks_are_the_whole(original):
    _, whole = read(original)
    for size in (1, 2, 3):
        parts = list(read_l1ntuple(original, size).chunks)
        assert [len(part) for part in parts] == [min(size, 3 - i) for i in range(0, 3, size)]
        assert_same(concatenate(parts), whole)


@pytest.mark.parametrize("stem", ["L1Upgrade.", "L1Upgrade/"])
def test_branches_of_a_split_object(tmp_path, original, stem):
    # uproot writes no split branches: the name of one in a real file is L1Upgrade/egIEt
    _, events = read(ntuple(tmp_path / "split.root", TREE=objects(stem)))
    assert_same(events, read(original)[1])


def test_recorded_and_emulated_objects(tmp_path):
    other = {"egIEt": ("i2", [[77, 1, 1, 1], [], [1] * 15])}
    path = ntuple(tmp_path / "both.root", EMULATED=objects(**other))
    with pytest.raises(ValueError, match=r"part must be chosen, the file has several: 'unpacked' \(l1UpgradeTree/L1"):
        read_l1ntuple(path, 10)
    assert read(path, part="unpacked")[1].columns["eg.pt"][0, 0] == 50
    source, events = read(path, part="emulated")
    assert events.columns["eg.pt"][0, 0] == 77
    assert source.attrs["objects"] == "emulated"
    with pytest.raises(ValueError, match=r"both\.root: part must be 'unpacked' or 'emulated', not 'both'"):
        read_l1ntuple(path, 10, "both")
    alone = ntuple(tmp_path / "alone.root", TREE=None, EMULATED=objects(**other))
    assert read(alone)[1].columns["eg.pt"][0, 0] == 77
    with pytest.raises(ValueError, match=r"alone\.root: part must be 'emulated', not 'unpacked'"):
        read_l1ntuple(alone, 10, "unpacked")


@pytest.mark.parametrize(
    "trees",
    [{"GENERATOR": {"weight": np.ones(3)}}, {"EVENT": NUMBERS | {"run": np.ones(3, "u4")}}],
)
def test_simulation(tmp_path, trees):
    source, events = read(ntuple(tmp_path / "mc.root", **trees))
    assert source.attrs["simulated"] is True
    assert events.meta["pileup"].tolist() == [15913, 0, 3]


def test_old_files(tmp_path):
    old = objects(muonIEtaAtVtx=None, muonIPhiAtVtx=None, muonQual=None)
    source, events = read(ntuple(tmp_path / "old.root", TREE=old, EVENT=None))
    assert events.columns["mu.eta"][0, :3].tolist() == [1, 3, 0]
    assert events.columns["mu.phi"][0, :3].tolist() == [2, 4, 0]
    assert events.meta["run"].tolist() == [-1] * 3
    assert source.attrs["simulated"] is False
    assert source.warnings[1:4] == (
        "muon directions are those at the muon system (muonIEta), not at the vertex as the trigger's",
        "mu.quality have no branch in the file and are 0; a seed that cuts on them never fires",
        "tree l1EventTree/L1EventTree is not in the file: run, ls, event and bx are unknown",
    )


def test_no_events(tmp_path):
    empty = {name: ("i2", []) for name in objects() if name != "nEGs"}
    source, events = read(ntuple(tmp_path / "none.root", TREE=empty, EVENT={k: v[:0] for k, v in NUMBERS.items()}))
    assert (source.n_events, events, source.attrs["simulated"]) == (0, None, False)


LONG = {name: np.resize(array, 4) for name, array in NUMBERS.items()}


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ({"TREE": objects(egIEt=None)}, r"x\.root: branch egIEt must exist; make the L1Ntuple with a CMSSW that"),
        ({"TREE": objects(muonIEta=None, muonIEtaAtVtx=None)}, r"branch muonIEtaAtVtx or muonIEta must exist"),
        ({"TREE": objects(sumType=None)}, r"branch sumType must exist"),
        ({"EVENT": {"run": NUMBERS["run"]}}, r"branch lumi of l1EventTree/L1EventTree must exist; make the L1Ntuple"),
        ({"EVENT": LONG}, r"x\.root: tree l1EventTree/L1EventTree must have 3 entries as the objects, not 4"),
        (
            {"TREE": None},
            r"tree l1UpgradeTree/L1UpgradeTree or l1UpgradeEmuTree/L1UpgradeTree must exist; the file is no",
        ),
        ({"TREE": objects(jetIEt=("i2", [[2048, 0], [], [1, 1]]))}, r"branch jetIEt must be in 0\.\.2047, not 2048"),
        ({"TREE": objects(muonChg=("i2", [[2] * 4, [1] * 3, [1] * 2]))}, r"branch muonChg must be in -1\.\.1, not 2"),
        ({"TREE": objects(egBx=("i2", [[0], [], [0]]))}, r"branch egIEt must have as many entries per event as egBx"),
        (
            {"EVENT": NUMBERS | {"event": np.full(3, 2**63, "u8")}},
            r"branch event must be in .*, not 9223372036854775808",
        ),
        ({"EVENT": NUMBERS | {"bx": np.full(3, 2**16, "u4")}}, r"branch bx must be in -32768\.\.32767, not 65536"),
    ],
)
def test_wrong_files_are_refused(tmp_path, trees, message):
    with pytest.raises(ValueError, match=message):
        read(ntuple(tmp_path / "x.root", **trees))


def test_other_files_are_refused(tmp_path, original):
    with pytest.raises(FileNotFoundError, match=r"event file must exist, not be missing: .*none\.root"):
        read_l1ntuple(tmp_path / "none.root", 10)
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        read_l1ntuple(original, 0)


@pytest.mark.parametrize("keep", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, original, keep):
    with pytest.raises(OSError, match=r"cut\.root: file must be a complete ROOT file, not truncated or damaged"):
        read(cut(original, tmp_path / "cut.root", keep))


def test_damage_in_the_middle_is_found_on_reading(tmp_path):
    long = {k: v[0:1].repeat(300) if isinstance(v, np.ndarray) else (v[0], v[1] * 100) for k, v in objects().items()}
    path = ntuple(tmp_path / "bad.root", TREE=long, EVENT=None)  # long enough to be compressed
    assert len(read(path)[1]) == 300
    scramble(path, TREE, "egIEt")
    with pytest.raises(OSError, match=r"bad\.root: file must be a complete ROOT file, .*; copy it again"):
        read(path)


def test_uproot_is_named_where_it_is_missing(monkeypatch, original):
    monkeypatch.setitem(sys.modules, "uproot", None)
    with pytest.raises(ImportError, match=r"pip install 'l1ad\[readers\]'"):
        read_l1ntuple(original, 10)
