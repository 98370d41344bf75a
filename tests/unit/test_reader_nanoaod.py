import sys
import tracemalloc

import numpy as np
import pytest
from root_files import cut, scramble, write_trees

from l1ad.events.readers.nanoaod import read_nanoaod
from l1ad.events.schema import load_schema
from l1ad.events.store import EventFile, EventWriter, concatenate
from l1ad.events.units import to_values

SCHEMA = load_schema("cms_run3")
FIELDS = {
    "EG": {"hwPt": "i2", "hwEta": "i2", "hwPhi": "i2", "hwIso": "i2", "bx": "i2"},
    "Tau": {"hwPt": "i2", "hwEta": "i2", "hwPhi": "i2", "hwIso": "i2", "bx": "i2"},
    "Jet": {"hwPt": "i2", "hwEta": "i2", "hwPhi": "i2", "hwQual": "i2", "bx": "i2"},
    "Mu": {
        **{"hwPt": "i2", "hwEtaAtVtx": "i2", "hwPhiAtVtx": "i2", "hwQual": "i2", "hwIso": "i2", "hwCharge": "i2"},
        **{"hwEta": "i2", "hwPhi": "i2", "bx": "i2"},
    },
    "EtSum": {"etSumType": "i4", "hwPt": "i4", "hwPhi": "i4", "bx": "i2"},
}
# four events: ordinary, empty, crowded, saturated
OBJECTS = {
    "EG": [
        [(20, -5, 143, 3, 0), (50, 7, 0, 1, 0), (60, 1, 1, 1, -1), (20, 6, 9, 0, 0), (0, 4, 4, 1, 0)],
        [],
        [(pt, pt, pt, 0, 0) for pt in (3, 9, 1, 14, 5, 2, 8, 13, 4, 12, 6, 11, 7, 10)] + [(99, 0, 0, 0, 2)],
        [(511, -128, 5, 2, 0)],
    ],
    "Tau": [[(30, 2, 3, 1, 0)], [], [(8, 1, 1, 0, 1)], [(511, 127, 5, 0, 0), (510, 0, 0, 1, 0)]],
    "Jet": [[(61, -100, 71, 1, 0), (61, 100, 72, 0, 0)], [], [], [(2046, 0, 0, 0, 0), (2047, 1, 2, 0, 0)]],
    "Mu": [
        [(45, -223, 575, 12, 3, 1, 1, 2, 0), (9, 222, 0, 8, 1, 0, 1, 2, 0), (400, 0, 0, 12, 0, 0, 0, 0, -2)],
        [],
        [(pt, pt, pt, 4, 0, pt % 2, 0, 0, 0) for pt in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)],
        [(510, 1, 1, 15, 0, 0, 0, 0, 0), (511, 2, 2, 15, 0, 1, 0, 0, 0)],
    ],
    "EtSum": [
        [(0, 800, 0, 0), (1, 122, 0, 0), (2, 37, 143, 0), (3, 90, 12, 0), (8, 41, 99, 0), (2, 999, 5, 1)],
        [],
        [(kind, 0, 111, 0) for kind in (0, 1, 2, 3, 8)],
        [(0, 4095, 0, 0), (1, 4095, 0, 0), (2, 4095, 0, 0), (3, 4095, 7, 0), (8, 4095, 0, 0)],
    ],
}
SEEDS = {"L1_SingleMu22": [1, 0, 0, 1], "L1_ZeroBias": [1, 1, 1, 1], "L1_Never": [0, 0, 0, 0]}
FLAGS = ("L1_UnprefireableEvent_TriggerRules", "L1_UnprefireableEvent", "L1_FinalOR_BXmin1")
NUMBERS = {
    "run": np.array([380963] * 4, "u4"),
    "luminosityBlock": np.array([104, 104, 105, 105], "u4"),
    "event": np.array([7, 2**40, 9, 1], "u8"),
    "bunchCrossing": np.array([1545, 3563, 0, 2**32 - 1], "u4"),
}


@pytest.fixture(autouse=True)
def uproot(require):
    require("uproot")


def tree(objects=OBJECTS, fields=FIELDS, prefix="L1", **more):
    out = {f"{prefix}{kind}": (fields[kind], events) for kind, events in objects.items()}
    out |= {name: np.array(bits, np.bool_) for name, bits in SEEDS.items()}
    out |= {name: np.ones(4, np.bool_) for name in FLAGS} | {"L1Reco_step": np.ones(4, np.bool_)} | NUMBERS
    return {name: content for name, content in (out | more).items() if content is not None}


@pytest.fixture(scope="module")
def original(tmp_path_factory, require):
    require("uproot")
    return write_trees(tmp_path_factory.mktemp("nano") / "nano.root", {"Events": tree()})


def read(path, size=100, part=None):
    source = read_nanoaod(path, size, part)
    chunks = list(source.chunks)
    return source, concatenate(chunks) if chunks else None


def test_objects_known_answer(original):
    source, events = read(original)
    assert source.schema == SCHEMA
    assert list(events.columns) == list(SCHEMA.columns())
    assert {array.dtype for array in events.columns.values()} == {np.dtype(np.int32)}
    got = {name: array.tolist() for name, array in events.columns.items()}
    assert [row[:4] for row in got["eg.pt"]] == [[50, 20, 20, 0], [0] * 4, [14, 13, 12, 11], [511, 0, 0, 0]]
    assert [row[:4] for row in got["eg.eta"]] == [[7, -5, 6, 0], [0] * 4, [14, 13, 12, 11], [-128, 0, 0, 0]]
    assert got["eg.phi"][0][:4] == [0, 143, 9, 0]
    assert got["eg.iso"][0][:4] == [1, 3, 0, 0]
    assert got["eg.pt"][2] == [14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert [row[:2] for row in got["tau.pt"]] == [[30, 0], [0, 0], [0, 0], [511, 510]]
    assert [row[:2] for row in got["tau.iso"]] == [[1, 0], [0, 0], [0, 0], [0, 1]]
    assert [row[:2] for row in got["jet.pt"]] == [[61, 61], [0, 0], [0, 0], [2047, 2046]]
    assert got["jet.phi"][0][:2] == [71, 72]


def test_muons_known_answer(original):
    got = {name: array.tolist() for name, array in read(original)[1].columns.items()}
    assert got["mu.pt"][0][:3] == [44, 8, 0]
    assert got["mu.eta"][0][:3] == [-223, 222, 0]
    assert got["mu.phi"][0][:3] == [575, 0, 0]
    assert got["mu.quality"][0][:3] == [12, 8, 0]
    assert got["mu.iso"][0][:3] == [3, 1, 0]
    assert got["mu.charge"][0][:3] == [0, 1, 0]  # negative, positive, absent
    assert got["mu.pt"][2] == [9, 8, 7, 6, 5, 4, 3, 2]  # codes 10 .. 3: 8 slots; 1 is 0 GeV, 0 is no muon
    assert got["mu.pt"][3][:3] == [511, 509, 0]  # the largest code stays: at least 255 GeV
    assert got["mu.eta"][3][:3] == [2, 1, 0]


def test_sums_known_answer(original):
    got = {
        name: array[:, 0].tolist() for name, array in read(original)[1].columns.items() if "et." in name or "ht" in name
    }
    assert got["met.pt"] == [37, 0, 0, 4095]  # type 2 of crossing 0: not 41 (with HF), not 999
    assert got["met.phi"] == [143, 0, 0, 0]  # an absent sum has no direction, whatever the file says
    assert got["ht.pt"] == [122, 0, 0, 4095]
    assert got["et.pt"] == [800, 0, 0, 4095]
    assert got["mht.pt"] == [90, 0, 0, 4095]
    assert got["mht.phi"] == [12, 0, 0, 7]


def test_event_quantities_and_seeds(original):
    source, events = read(original)
    assert source.attrs == {
        "simulated": False,
        "objects": "unpacked",
        "seeds": ["L1_SingleMu22", "L1_ZeroBias", "L1_Never"],
        "seed_decisions": "final",
    }
    assert source.n_events == 4
    assert events.meta["seeds"].T.tolist() == list(SEEDS.values())
    assert events.meta["run"].tolist() == [380963] * 4
    assert events.meta["ls"].tolist() == [104, 104, 105, 105]
    assert events.meta["event"].tolist() == [7, 2**40, 9, 1]
    assert events.meta["bx"].tolist() == [1545, 3563, 0, -1]  # all bits set: unknown
    assert events.meta["pileup"].tolist() == [-1.0] * 4


def test_chunks_are_the_whole(original):
    _, whole = read(original)
    for size in (1, 3, 4):
        source = read_nanoaod(original, size)
        parts = list(source.chunks)
        assert [len(part) for part in parts] == [min(size, 4 - i) for i in range(0, 4, size)]
        got = concatenate(parts)
        for name in whole.columns:
            np.testing.assert_array_equal(got.columns[name], whole.columns[name])
        for name in whole.meta:
            np.testing.assert_array_equal(got.meta[name], whole.meta[name])


def test_the_events_can_be_written(original, tmp_path):
    source, events = read(original)
    with EventWriter(tmp_path / "events.h5", source.schema, source.attrs) as out:
        out.append(events)
    with EventFile(tmp_path / "events.h5") as file:
        np.testing.assert_array_equal(file.read().columns["mu.pt"], events.columns["mu.pt"])
        assert file.attrs["seeds"] == list(SEEDS)


def test_what_a_user_must_know(original):
    texts = read_nanoaod(original, 10).warnings
    assert len(texts) == 2
    assert texts[0].startswith("slots (12 of e/γ, tau and jets, 8 of muons) are filled by falling pT")
    assert texts[1] == "seed decisions in NanoAOD are those of the recorded trigger after prescale and mask"


def values(name):
    """Objects in GeV and radians as CMS software writes them, of the codes in `OBJECTS`."""
    out = []
    for event in OBJECTS[name]:
        rows = []
        for row in event:
            code = dict(zip(FIELDS[name], row, strict=True))
            wrapped = {key: (angle + np.pi) % (2 * np.pi) - np.pi for key, angle in angles(name, code).items()}
            pt = (code["hwPt"] - 1) * 0.5 if name == "Mu" else max(code["hwPt"] * 0.5, 1e-6)
            eta = code.get("hwEtaAtVtx", code.get("hwEta", 0)) * (0.010875 if name == "Mu" else 0.0435)
            rest = {"Mu": ("hwQual", "hwCharge"), "EtSum": ("etSumType",), "Jet": ()}.get(name, ("hwIso",))
            rows.append(
                (pt, *((eta,) if name != "EtSum" else ()), wrapped["phi"], *(code[k] for k in rest), code["bx"])
            )
        out.append(rows)
    return out


def angles(name, code):
    return {"phi": code["hwPhiAtVtx"] * 0.010908 if name == "Mu" else code["hwPhi"] * 0.0435}


REDUCED = {
    "EG": {"pt": "f4", "eta": "f4", "phi": "f4", "hwIso": "i2", "bx": "i2"},
    "Tau": {"pt": "f4", "eta": "f4", "phi": "f4", "hwIso": "i2", "bx": "i2"},
    "Jet": {"pt": "f4", "eta": "f4", "phi": "f4", "bx": "i2"},
    "Mu": {"pt": "f4", "etaAtVtx": "f4", "phiAtVtx": "f4", "hwQual": "i4", "hwCharge": "i2", "bx": "i2"},
    "EtSum": {"pt": "f4", "phi": "f4", "etSumType": "i4", "bx": "i2"},
}


def test_gev_and_radians_give_the_same_codes(tmp_path, original):
    objects = {name: values(name) for name in OBJECTS}
    source, got = read(write_trees(tmp_path / "gev.root", {"Events": tree(objects, REDUCED)}))
    _, expected = read(original)
    for name, array in expected.columns.items():
        if name != "mu.iso":
            np.testing.assert_array_equal(got.columns[name], array, err_msg=name)
    assert not got.columns["mu.iso"].any()
    assert source.warnings[0].startswith("the file is reduced (e/γ from 10 GeV, tau from 24, jets from 30")
    assert source.warnings[0].endswith("thresholds on such data are biased")
    assert source.warnings[2] == "mu.iso have no branch in the file and are 0; a seed that cuts on them never fires"


@pytest.mark.parametrize("name", ["eg", "tau", "jet", "mu", "met"])
def test_every_code_survives_gev_and_radians(tmp_path, name):
    kind = {"eg": "EG", "tau": "Tau", "jet": "Jet", "mu": "Mu", "met": "EtSum"}[name]
    columns = {c.name: c for c in SCHEMA.collection(name).columns}
    muon = name == "mu"
    phi = np.arange(columns["phi"].high + 1)
    turned = phi * (0.010908 if muon else 0.0435)
    turned = np.where(turned >= np.pi, turned - 2 * np.pi, turned).astype("f4")
    pt = (np.arange(len(phi)) % 500 + 1).astype(int)
    eta = np.arange(len(phi)) % 200 - 100
    gev = to_values(pt, columns["pt"])
    events = [[(g, e, p, 0, 0)] for g, e, p in zip(gev, eta * (0.010875 if muon else 0.0435), turned, strict=True)]
    fields = {"pt": "f4", "eta": "f4", "phi": "f4", "hwIso": "i2", "bx": "i2"}
    if muon:
        fields = {"pt": "f4", "etaAtVtx": "f4", "phiAtVtx": "f4", "hwQual": "i2", "bx": "i2"}
    if name == "met":
        fields = {"pt": "f4", "ignored": "f4", "phi": "f4", "hwIso": "i2", "bx": "i2", "etSumType": "i4"}
        events = [[(*row[0], 2)] for row in events]
    n = len(events)
    objects = {k: [[]] * n for k in OBJECTS} | {kind: events}
    content = tree(objects, REDUCED | {kind: fields})
    content = {k: v for k, v in content.items() if isinstance(v, tuple)}
    content |= {k: np.arange(n, dtype="u4") for k in ("run", "luminosityBlock", "event")}
    _, got = read(write_trees(tmp_path / "codes.root", {"Events": content}), 1000)
    np.testing.assert_array_equal(got.columns[f"{name}.pt"][:, 0], pt)
    np.testing.assert_array_equal(got.columns[f"{name}.phi"][:, 0], phi)
    if name != "met":
        np.testing.assert_array_equal(got.columns[f"{name}.eta"][:, 0], eta)


def test_a_reduced_file_is_known_by_its_softest_objects(tmp_path):
    hard = {
        "EG": [[(20, 0, 0, 0, 0)]] * 4,
        "Tau": [[(48, 0, 0, 0, 0)]] * 4,
        "Jet": [[(60, 0, 0, 0, 0)]] * 4,
        "Mu": [[(7, 0, 0, 12, 0, 0, 0, 0, 0)]] * 4,
        "EtSum": [[(1, 200, 0, 0)]] * 4,
    }
    texts = read_nanoaod(write_trees(tmp_path / "cut.root", {"Events": tree(hard)}), 10).warnings
    assert texts[0].startswith("the file is reduced")
    assert texts[1] == "total ET (type 0) is not in the file: et.pt is 0, which no threshold passes"
    hard["Jet"] = [[(59, 0, 0, 0, 0)]] * 4
    texts = read_nanoaod(write_trees(tmp_path / "soft.root", {"Events": tree(hard)}), 10).warnings
    assert not any(text.startswith("the file is reduced") for text in texts)


def test_simulation(tmp_path):
    more = {"genWeight": np.full(4, -2.5, "f4"), "Pileup_nTrueInt": np.array([60.5, 1, 2, 3], "f4")}
    source, events = read(write_trees(tmp_path / "mc.root", {"Events": tree(**more)}))
    assert source.attrs["simulated"] is True
    assert events.meta["pileup"].tolist() == [60.5, 1, 2, 3]
    assert (events.meta["weight"] == 1).all()
    assert "generator weights (genWeight) are not read: every event counts the same" in source.warnings


def test_recorded_and_emulated_objects(tmp_path):
    other = {**OBJECTS, "EG": [[(77, 0, 0, 0, 0)]] * 4}
    both = tree() | {k: v for k, v in tree(other, prefix="L1Emul").items() if k.startswith("L1Emul")}
    path = write_trees(tmp_path / "both.root", {"Events": both})
    with pytest.raises(ValueError, match=r"both\.root: part must be chosen, the file has several: 'unpacked' \(L1EG"):
        read_nanoaod(path, 10)
    assert read(path, part="unpacked")[1].columns["eg.pt"][0, 0] == 50
    source, events = read(path, part="emulated")
    assert events.columns["eg.pt"][0, 0] == 77
    assert source.attrs["objects"] == "emulated"
    with pytest.raises(ValueError, match=r"part must be 'unpacked' or 'emulated', not 'both'"):
        read_nanoaod(path, 10, "both")


def test_old_files_have_muons_at_the_muon_system(tmp_path):
    fields = {k: ("skip" + k if k.endswith("AtVtx") else k) for k in FIELDS["Mu"]}
    renamed = FIELDS | {"Mu": {new: FIELDS["Mu"][old] for old, new in fields.items()}}
    source, events = read(write_trees(tmp_path / "old.root", {"Events": tree(fields=renamed)}))
    assert events.columns["mu.eta"][0, :2].tolist() == [1, 1]
    assert events.columns["mu.phi"][0, :2].tolist() == [2, 2]
    assert "muon directions are those at the muon system (L1Mu_hwEta), not at the vertex as the trigger's" in (
        source.warnings
    )


def test_no_seeds_and_no_events(tmp_path):
    bare = {name: content for name, content in tree().items() if not name.startswith("L1_")}
    source, events = read(write_trees(tmp_path / "bare.root", {"Events": bare}))
    assert "seeds" not in source.attrs
    assert events.meta["seeds"].shape == (4, 0)
    none = {k: v[:0] if isinstance(v, np.ndarray) else (v[0], []) for k, v in tree().items()}
    source, events = read(write_trees(tmp_path / "none.root", {"Events": none}))
    assert (source.n_events, events) == (0, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"L1EG": None}, r"x\.root: branch L1EG_bx must exist; the file lacks Level-1 objects: make it with them"),
        ({"run": None}, r"branch run must exist; the file is not NanoAOD, or was cut down: keep it"),
        ({"luminosityBlock": None}, r"branch luminosityBlock must exist"),
        ({"run": np.full(4, 2**31, "u4")}, r"branch run must be in -2147483648\.\.2147483647, not 2147483648"),
        ({"run": np.full(4, 1.5)}, r"branch run must hold integers, not float64"),
        ({"run": ("i4", [[1]] * 4)}, r"branch run must hold one number per event, not 1 levels of lists"),
        ({"bunchCrossing": np.full(4, 40000, "u4")}, r"bunchCrossing must be in -32768\.\.32767, not 40000"),
        ({"L1Jet": ({"hwPt": "i2"}, [[(1,)]] * 4)}, r"branch L1Jet_bx must exist"),
        ({"L1EG": (FIELDS["EG"], [[(512, 0, 0, 0, 0)]] * 4)}, r"branch L1EG_hwPt must be in 0\.\.511, not 512"),
        ({"L1EG": (FIELDS["EG"], [[(5, 0, 144, 0, 0)]] * 4)}, r"branch L1EG_hwPhi must be in 0\.\.143, not 144"),
        ({"L1EG": (FIELDS["EG"], [[(5, 0, 0, 4, 0)]] * 4)}, r"branch L1EG_hwIso must be in 0\.\.3, not 4"),
        (
            {"L1EG": (REDUCED["EG"], [[(np.nan, 0, 0, 0, 0)]] * 4)},
            r"x\.root: branch L1EG_pt must be finite, not nan \(at \(0,\); 4 such values\)",
        ),
        ({"L1EG": (REDUCED["EG"], [[(5, 9, 0, 0, 0)]] * 4)}, r"branch L1EG_eta must be in .*, not 9"),
        ({"L1Mu": (REDUCED["Mu"], [[(-2, 0, 0, 0, 0, 0)]] * 4)}, r"branch L1Mu_pt must be in 0\.\..*, not -2"),
    ],
)
def test_wrong_files_are_refused(tmp_path, change, message):
    path = write_trees(tmp_path / "x.root", {"Events": tree(**change)})
    with pytest.raises(ValueError, match=message):
        read(path)


def test_numbers_of_other_crossings_are_not_looked_at(tmp_path):
    change = {"L1EG": (REDUCED["EG"], [[(np.nan, 99, 99, 9, 1)], [], [], []])}
    _, events = read(write_trees(tmp_path / "x.root", {"Events": tree(**change)}))
    assert not events.columns["eg.pt"].any()


def test_branches_of_one_object_must_be_of_equal_length(tmp_path):
    more = {"L1EG": None, **{f"L1EG_{name}": ("i2", [[1]] * 4) for name in ("hwEta", "hwPhi", "hwIso")}}
    more |= {"L1EG_hwPt": ("i2", [[1], [1, 2], [1], [1]]), "L1EG_bx": ("i2", [[0]] * 4)}
    path = write_trees(tmp_path / "x.root", {"Events": tree(**more)})
    with pytest.raises(ValueError, match=r"branch L1EG_hwPt must have as many entries per event as L1EG_bx"):
        read(path)
    more["L1EG_hwPt"] = np.ones(4, "i2")
    with pytest.raises(ValueError, match=r"branch L1EG_hwPt must hold one list per event, not 0 levels of lists"):
        read(write_trees(tmp_path / "x.root", {"Events": tree(**more)}))


def test_other_files_are_refused(tmp_path, original):
    with pytest.raises(FileNotFoundError, match=r"event file must exist, not be missing: .*none\.root"):
        read_nanoaod(tmp_path / "none.root", 10)
    (tmp_path / "text.root").write_text("pt,eta,phi")
    with pytest.raises(OSError, match=r"text\.root: event file must be a ROOT file; its first four bytes"):
        read_nanoaod(tmp_path / "text.root", 10)
    other = write_trees(tmp_path / "other.root", {"Runs": {"run": np.ones(2, "u4")}})
    with pytest.raises(ValueError, match=r"other\.root: tree Events must exist; the file is not NanoAOD"):
        read_nanoaod(other, 10)
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        read_nanoaod(original, 0)


def test_ntuples_of_the_new_kind_are_refused(tmp_path):
    import uproot

    with uproot.recreate(tmp_path / "new.root") as file:
        file.mkrntuple("Events", {"run": np.ones(2, "u4")})
    with pytest.raises(ValueError, match=r"Events must be a TTree, not ROOT::RNTuple; convert the file"):
        read_nanoaod(tmp_path / "new.root", 10)


@pytest.mark.parametrize("keep", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, original, keep):
    path = cut(original, tmp_path / "cut.root", keep)
    with pytest.raises(OSError, match=r"cut\.root: file must be a complete ROOT file, not truncated or damaged \("):
        read(path)


def test_damage_in_the_middle_is_found_on_reading(tmp_path):
    path = write_trees(tmp_path / "bad.root", {"Events": tree()})
    scramble(path, "Events", "L1EG_hwPt")
    with pytest.raises(OSError, match=r"bad\.root: file must be a complete ROOT file, .*; copy it again"):
        read(path)


def test_uproot_is_named_where_it_is_missing(monkeypatch, original):
    monkeypatch.setitem(sys.modules, "uproot", None)
    with pytest.raises(
        ImportError, match=r"uproot must be installed to read ROOT files; pip install 'l1ad\[readers\]'"
    ):
        read_nanoaod(original, 10)


def test_memory_does_not_grow_with_the_file(tmp_path):
    n = 8000
    content = {
        f"L1{kind}": (FIELDS[kind], [event for _ in range(n // 4) for event in events])
        for kind, events in OBJECTS.items()
    }
    content |= {name: np.resize(array, n) for name, array in NUMBERS.items()}
    path = write_trees(tmp_path / "long.root", {"Events": content})

    def peak(size):
        source = read_nanoaod(path, size)
        tracemalloc.start()
        assert sum(len(events) for events in source.chunks) == n
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    peak(n)
    assert peak(500) < 0.5 * peak(n)
