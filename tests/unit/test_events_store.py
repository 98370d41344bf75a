import json
import subprocess
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from shutil import copy

import h5py
import numpy as np
import pytest
from numcodecs import blosc
from xxhash import xxh3_64_intdigest

from l1ad.events import chunks, store
from l1ad.events.schema import Collection, Column, Schema, load_schema
from l1ad.events.store import (
    EventFile,
    Events,
    EventWriter,
    assert_disjoint,
    concatenate,
    event_hash,
    input_places,
    inputs,
    make_meta,
    split,
    verify,
)
from l1ad.events.table import regroup

SCHEMA = load_schema("cms_run3")


ATTRS = {"classes": ["a", "b"], "seeds": ["s", "t", "u"], "simulated": True, "sigma": {"a": 0.1}}


def make(rng, n):
    columns = {
        name: rng.integers(column.low, column.high + 1, (n, collection.slots)).astype(column.dtype)
        for name, (collection, column) in SCHEMA.columns().items()
    }
    meta = make_meta(
        n,
        weight=rng.random(n),
        event=rng.integers(0, 2**40, n),
        seeds=rng.integers(0, 2, (n, 3)),
        class_counts=rng.integers(0, 9, (n, 2)),
    )
    return Events(SCHEMA, columns, meta)


def assert_same(a, b):
    assert list(a.columns) == list(b.columns)
    for name in a.columns:
        np.testing.assert_array_equal(a.columns[name], b.columns[name])
        assert a.columns[name].dtype == b.columns[name].dtype
    for name in a.meta:
        np.testing.assert_array_equal(a.meta[name], b.meta[name])
        assert a.meta[name].dtype == b.meta[name].dtype


@pytest.fixture
def events():
    return make(np.random.default_rng(1), 50)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "events.h5"
    events = make(np.random.default_rng(1), 50)
    with EventWriter(path, SCHEMA, ATTRS) as out:
        out.append(events[:20])
        out.append(events[20:])
    assert list(path.parent.iterdir()) == [path]
    return path


@pytest.fixture
def path(tmp_path, original):
    return copy(original, tmp_path / "events.h5")


def test_round_trip(path, events):
    with EventFile(path) as file:
        assert len(file) == 50
        assert file.schema == SCHEMA
        assert file.attrs == ATTRS
        assert_same(file.read(), events)
        assert_same(file.read(7, 11), events[7:11])
        assert list(file.read(0, 3, ["jet.pt", "met.phi"]).columns) == ["jet.pt", "met.phi"]
        few = file.read(4, 9, [], ["seeds"])
        assert list(few.meta) == ["weight", "seeds"]
        assert_same(few, Events(SCHEMA, {}, {name: events.meta[name][4:9] for name in ("weight", "seeds")}))
        assert len(file.read(9, 4)) == 0
        assert_same(file.read(-3), events[47:])


def test_chunks_cover_all_events_once(path, events):
    with EventFile(path) as file:
        parts = list(file.chunks(16))
        assert [len(part) for part in parts] == [16, 16, 16, 2]
        assert_same(concatenate(parts), events)
        with pytest.raises(ValueError, match="size must be at least 1, not 0"):
            next(file.chunks(0))


def test_indexing(events):
    assert len(events[3]) == 1
    np.testing.assert_array_equal(events[[4, 2]].columns["mu.eta"], events.columns["mu.eta"][[4, 2]])
    mask = events.columns["met.pt"][:, 0] > 2000
    assert len(events[mask]) == mask.sum()


def test_empty_file_without_classes(tmp_path):
    with EventWriter(tmp_path / "none.h5", SCHEMA, {}) as out:
        out.append(Events(SCHEMA, make(np.random.default_rng(0), 0).columns, make_meta(0)))
    with EventFile(tmp_path / "none.h5") as file:
        assert len(file.read()) == 0


def damage(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def make_group(file):
    del file["jet/eta"]
    file.create_group("jet/eta")


def replace(name, array):
    def change(file):
        del file[name]
        file[name] = array

    return change


def spoil(path, name, value):
    """Another value in row 30, by a program that packs nothing."""
    with EventFile(path) as file:
        events = file.read()
    group, _, key = name.partition("/")
    array = np.array(events.meta[key] if group == "meta" else events.columns[f"{group}.{key}"])
    array[30] = value
    damage(path, replace(name, array))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.__delitem__("jet/eta"), r"events\.h5: dataset jet/eta must exist; the file is not complete"),
        (replace("jet/eta", np.zeros((50, 11), np.int8)), r"jet/eta must be \(50, 12\), not shape \(50, 11\)"),
        (make_group, r"jet/eta must be \(50, 12\), not shape \(\)"),
        (replace("mu/pt", np.zeros((49, 8), np.int16)), r"mu/pt must be \(50, 8\), not shape \(49, 8\)"),
        (replace("eg/pt", np.zeros((50, 12))), r"dataset eg/pt must be integer, not float64"),
        (replace("meta/weight", np.zeros(50, int)), r"dataset meta/weight must be floating point, not int64"),
        (replace("meta/run", np.zeros((50, 1), int)), r"meta/run must be 1 axes and 50 rows, not shape \(50, 1\)"),
        (
            lambda f: f.__delitem__("checksums"),
            r"dataset checksums must be uint64 \(1, 201\); the file is not complete",
        ),
        (lambda f: f.attrs.__setitem__("schema_digest", '"0"'), r"schema must be the 'cms_run3' that it was written"),
        (lambda f: f.attrs.__setitem__("schema", '"atlas"'), r"schema must be one of .*cms_run3.* not 'atlas'"),
        (lambda f: f.attrs.__setitem__("format", "1"), r"format must be 2, not 1"),
        (lambda f: f.attrs.__delitem__("schema"), r"attributes must be those of an l1ad event file"),
    ],
)
def test_a_wrong_file_is_refused_on_opening(path, change, message):
    damage(path, change)
    with pytest.raises(ValueError, match=message):
        EventFile(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("meta/weight", np.nan, r"events\.h5: weight must be finite and not negative, not nan \(event 30\)"),
        ("meta/weight", -1.0, r"weight must be finite and not negative, not -1.0"),
        ("jet/pt", 2048, r"jet\.pt must be in 0\.\.2047, not 2048 \(event 30, slot 0\); 12 codes are outside"),
        ("met/phi", 144, r"met\.phi must be in 0\.\.143, not 144"),
    ],
)
def test_wrong_values_are_refused_on_reading(path, name, value, message):
    spoil(path, name, value)
    with EventFile(path) as file:
        assert len(file.read(0, 30)) == 30
        with pytest.raises(ValueError, match=message):
            file.read()


def test_files_that_are_not_there_or_not_whole(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"event file must exist, not be missing: .*absent.h5"):
        EventFile(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("pt,eta,phi")
    with pytest.raises(OSError, match=r"event file must be HDF5: .*text\.h5"):
        EventFile(tmp_path / "text.h5")
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:-500])
    with pytest.raises(OSError, match=r"must be complete, not truncated or damaged: .*cut\.h5"):
        EventFile(tmp_path / "cut.h5")
    with EventFile(path) as file:
        with pytest.raises(ValueError, match=r"column must be one of .* not 'jet\.mass'"):
            file.read(columns=["jet.mass"])
        with pytest.raises(ValueError, match=r"meta must be one of weight, .* not 'npv'"):
            file.read(meta=["npv"])


def test_a_failed_writer_leaves_nothing(tmp_path, events):
    def fail():
        with EventWriter(tmp_path / "x.h5", SCHEMA, ATTRS) as out:
            out.append(events)
            assert len(list(tmp_path.iterdir())) == 1
            assert not (tmp_path / "x.h5").exists()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_writer_keeps_the_old_file(path, events):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="class_counts must have 0 columns"), EventWriter(path, SCHEMA, {}) as out:
        out.append(events)
    assert path.read_bytes() == before


def test_writing_is_refused(tmp_path, events):
    (tmp_path / "nowhere").touch()
    with pytest.raises(OSError, match=r"x\.h5: cannot write into folder .*nowhere"):
        EventWriter(tmp_path / "nowhere" / "x.h5", SCHEMA, {})
    with pytest.raises(ValueError, match=r"x\.h5: attribute pileup must be JSON, not nan"):
        EventWriter(tmp_path / "x.h5", SCHEMA, {"pileup": np.nan})
    assert [file.name for file in tmp_path.iterdir()] == ["nowhere"]
    with EventWriter(tmp_path / "x.h5", SCHEMA, ATTRS) as out:
        part = Events(SCHEMA, {"jet.pt": events.columns["jet.pt"]}, events.meta)
        with pytest.raises(ValueError, match=r"events must have every column of the schema, not lack met.pt, met.phi"):
            out.append(part)
        wrong = {**events.meta, "weight": np.full(50, np.inf)}
        with pytest.raises(ValueError, match=r"x\.h5: weight must be finite"):
            out.append(Events(SCHEMA, events.columns, wrong))
        with pytest.raises(ValueError, match="events must have every quantity of META, not lack pileup, n_collisions"):
            out.append(Events(SCHEMA, events.columns, {"weight": np.ones(50)}))
    far = {**events.meta, "run": np.full(50, 2**40)}
    with (
        pytest.raises(ValueError, match="meta/run must fit int32"),
        EventWriter(tmp_path / "y.h5", SCHEMA, ATTRS) as out,
    ):
        out.append(Events(SCHEMA, events.columns, far))


def test_every_flipped_bit_is_noticed_or_harmless(path, events, rng):
    whole = path.read_bytes()
    with h5py.File(path) as file:
        places = [file["jet/pt"].id.get_chunk_info(slot) for slot in range(12)]
    for place in places:
        copied = bytearray(whole)
        copied[place.byte_offset + rng.integers(place.size)] ^= 1 << int(rng.integers(8))
        path.write_bytes(copied)
        try:
            with EventFile(path) as file:
                read = file.read()
        except OSError as error:
            assert f"{path}: events 0..50 must be readable" in str(error)  # noqa: PT017
        else:
            assert_same(read, events)  # a bit of the filter that it does not look at


def write(path, parts, attrs=ATTRS, **options):
    with EventWriter(path, SCHEMA, attrs, **options) as out:
        for part in parts:
            out.append(part)
    with EventFile(path) as file:
        return file.content_digest


def test_the_content_digest_is_that_of_the_content(tmp_path, path, events):
    expected = verify(path)
    assert write(tmp_path / "a.h5", [events], archive=True) == expected
    assert write(tmp_path / "b.h5", [events[i : i + 7] for i in range(0, 50, 7)]) == expected
    fortran = {name: np.asfortranarray(array) for name, array in events.columns.items()}
    assert write(tmp_path / "c.h5", [Events(SCHEMA, fortran, events.meta)]) == expected
    others = {
        "fewer": write(tmp_path / "d.h5", [events[:49]]),
        "order": write(tmp_path / "e.h5", [events[::-1]]),
        "attrs": write(tmp_path / "f.h5", [events], {**ATTRS, "simulated": False}),
        "meta": write(tmp_path / "g.h5", [Events(SCHEMA, events.columns, events.meta | {"bx": np.full(50, 3, "i2")})]),
    }
    assert len({expected, *others.values()}) == 5


def test_content_digest_known_answer(tmp_path):
    from hashlib import sha256
    from json import dumps

    columns = {name: np.zeros((1, c.slots), np.int32) for name, (c, _) in SCHEMA.columns().items()}
    columns["jet.pt"][0, 1] = 258
    got = write(tmp_path / "one.h5", [Events(SCHEMA, columns, make_meta(1))], {})
    wide = ("ht.pt", "et.pt", "met.pt", "mht.pt", "eg.pt", "tau.pt", "jet.pt", "mu.pt", "mu.eta", "mu.phi")
    raw = {name.replace(".", "/"): bytes(len(a[0]) * (2 if name in wide else 1)) for name, a in columns.items()}
    raw["jet/pt"] = b"\0\0\2\1" + bytes(20)
    raw |= {"meta/class_counts": b"", "meta/seeds": b"", "meta/weight": b"\0\0\0\0\0\0\xf0\x3f"}
    raw |= {f"meta/{n}": b"\xff" * k for k, names in _SIZES.items() for n in names}
    raw["meta/pileup"] = b"\0\0\x80\xbf"
    document = {
        "attrs": {},
        "datasets": {name: sha256(data).hexdigest() for name, data in raw.items()},
        "events": 1,
        "schema_digest": SCHEMA.digest(),
    }
    assert got == sha256(dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_SIZES = {1: ("label", "forced"), 2: ("n_collisions", "bx"), 4: ("run", "ls", "collision"), 8: ("event",)}


def test_verify_refuses_another_content(path):
    spoil(path, "meta/run", 7)
    with pytest.raises(ValueError, match=r"events\.h5: content must be that which was written \(content_digest"):
        verify(path)
    damage(path, lambda file: file.attrs.__delitem__("content_digest"))
    with pytest.raises(ValueError, match="attribute content_digest must exist; write the file again"):
        verify(path)


def test_regrouping_keeps_all_events_in_order(events):
    cuts = [0, 0, 1, 2, 19, 19, 40, 50]
    parts = [events[a:b] for a, b in pairwise(cuts)]
    for size in (1, 3, 20, 49, 50, 51):
        got = list(regroup(parts, size))
        assert [len(part) for part in got] == [size] * (50 // size) + [50 % size] * (50 % size > 0)
        assert_same(concatenate(got), events)
    assert list(regroup([], 3)) == []


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(store, "CHUNK", 256)
    peaks = []
    for n in (2_000, 20_000):
        index = 24 * -(-n // 256) * 260  # place, size, checksum of each chunk: here of 256 events only
        part = make(rng, 500)
        write(tmp_path / "many.h5", [part] * (n // 500))
        tracemalloc.start()
        with EventFile(tmp_path / "many.h5") as file:
            assert sum(len(chunk) for chunk in file.chunks(100)) == n
        del file
        verify(tmp_path / "many.h5")
        peaks.append(tracemalloc.get_traced_memory()[1] - index)
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_events_are_checked_when_made(events):
    with pytest.raises(ValueError, match=r"column must be one of the schema cms_run3, not 'jet\.mass'"):
        Events(SCHEMA, {"jet.mass": np.zeros((50, 12), int)}, events.meta)
    with pytest.raises(ValueError, match=r"jet\.pt must be integers \(50, 12\), not float64 \(50, 12\)"):
        Events(SCHEMA, {"jet.pt": np.zeros((50, 12))}, events.meta)
    with pytest.raises(ValueError, match="meta run must have 1 axes and 50 rows"):
        Events(SCHEMA, {}, {**events.meta, "run": np.zeros(49)})
    with pytest.raises(ValueError, match="meta must hold the weight, not only run"):
        Events(SCHEMA, {}, {"run": np.ones(3)})
    with pytest.raises(ValueError, match=r"meta must be of weight, pileup, .* not weight, npv"):
        Events(SCHEMA, {}, {"weight": np.ones(3), "npv": np.ones(3)})
    with pytest.raises(ValueError, match=r"meta must be of .* not npv"):
        make_meta(3, npv=np.zeros(3))
    with pytest.raises(ValueError, match="same schema, columns and quantities"):
        concatenate([events, Events(SCHEMA, {}, events.meta)])
    with pytest.raises(ValueError, match="same schema, columns and quantities"):
        concatenate([events, Events(SCHEMA, events.columns, {"weight": np.ones(50)})])


def test_inputs_follow_the_selection(events):
    x = inputs(events, "axol1tl")
    assert x.shape == (50, 57)
    assert x.dtype == np.int64
    np.testing.assert_array_equal(x[:, 0], events.columns["met.pt"][:, 0])
    np.testing.assert_array_equal(x[:, 1], 0)
    np.testing.assert_array_equal(x[:, 3:15:3], events.columns["eg.pt"][:, :4])
    np.testing.assert_array_equal(x[:, 16:27:3], events.columns["mu.eta"][:, :4])
    np.testing.assert_array_equal(x[:, 29:57:3], events.columns["jet.phi"][:, :10])


def test_event_hash_known_answer():
    # made with Python integers from the definition in the docstring of event_hash
    zero = {name: np.zeros((2, c.slots), np.int64) for name, (c, _) in SCHEMA.columns().items()}
    zero["jet.pt"][1, 3] = 60
    zero["mu.eta"][1, 0] = -7
    got = event_hash(Events(SCHEMA, zero, make_meta(2)))

    from hashlib import sha256

    def constant(text):
        return int.from_bytes(sha256(text.encode()).digest()[:8], "little") | 1

    x = (60 * constant("jet.pt/3") - 7 * constant("mu.eta/0")) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    assert got.tolist() == [0, x ^ x >> 31]


def test_split_and_disjointness(rng):
    a, b = event_hash(make(rng, 4000)), event_hash(make(rng, 100))
    chosen = split(a, 0.25)
    assert abs(chosen.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)
    assert not split(a, 0.0).any()
    assert split(a, 1.0).all()
    assert_disjoint(a[chosen], a[~chosen], ("train", "validation"))
    assert_disjoint(a, b)
    with pytest.raises(ValueError, match="train and rate must share no event, not 3 of 103"):
        assert_disjoint(np.concatenate([b, a[:3]]), a, ("train", "rate"))
    with pytest.raises(ValueError, match=r"fraction must be between 0 and 1, not 1.5"):
        split(a, 1.5)


ROOT = Path(__file__).parents[2]
PLACES = [(name, slot) for name, (c, _) in SCHEMA.columns().items() for slot in range(c.slots)]


def assert_raw_is(block, events, places, meta):
    """The same numbers as `read`, and the arrays that a kernel may take as they are."""
    assert len(block) == len(events)
    for place, array in zip(places, block.columns, strict=True):
        expected = 0 if place is None else events.columns[place[0]][:, place[1]]
        np.testing.assert_array_equal(array, np.broadcast_to(expected, len(events)))
        assert array.dtype == (np.int8 if place is None else SCHEMA.columns()[place[0]][1].stored_dtype)
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    assert list(block.meta) == list(meta)
    for name, array in block.meta.items():
        np.testing.assert_array_equal(array, events.meta[name])
        assert array.dtype == events.meta[name].dtype


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 150, 192])
def test_raw_is_what_read_is(tmp_path, monkeypatch, rng, n, archive):
    monkeypatch.setattr(store, "CHUNK", 64)
    events = make(rng, n)
    write(tmp_path / "events.h5", [events[i : i + 37] for i in range(0, n, 37)] or [events], archive=archive)
    verify(tmp_path / "events.h5")
    with EventFile(tmp_path / "events.h5") as file:
        assert_same(file.read(), events)
        blocks = list(file.raw(PLACES, store.META))
        assert [(b.start, b.stop) for b in blocks] == [(i, min(i + 64, n)) for i in range(0, n, 64)]
        for block in blocks:
            assert_raw_is(block, events[block.start : block.stop], PLACES, store.META)
        some = list(file.raw([None, ("mu.eta", 7)], start=60, stop=130))
        assert [(b.start, b.stop) for b in some] == [
            (a, min(b, n)) for a, b in ((60, 64), (64, 128), (128, 130)) if a < n
        ]
        for block in some:
            assert_raw_is(block, events[block.start : block.stop], [None, ("mu.eta", 7)], [])
        assert list(file.raw(PLACES, start=5, stop=3)) == []


def test_raw_of_every_stored_type(tmp_path, rng):
    bits = {"pt": 16, "eta": 8, "phi": 31, "iso": 4, "mass": 17}
    columns = tuple(Column(name, n, name == "eta", 1.0, "1", *_range(n, name == "eta")) for name, n in bits.items())
    schema = Schema("wide", (Collection("x", 2, columns),), ())
    codes = {f"x.{c.name}": rng.integers(c.low, c.high + 1, (70, 2)).astype(c.dtype) for c in columns}
    with EventWriter(tmp_path / "x.h5", schema, {}) as out:
        out.append(Events(schema, codes, make_meta(70)))
    with EventFile(tmp_path / "x.h5", schema) as file:
        (block,) = file.raw([(name, 1) for name in codes])
    assert [array.dtype.str[1:] for array in block.columns] == ["u2", "i1", "u4", "u1", "u4"]
    for array, expected in zip(block.columns, codes.values(), strict=True):
        np.testing.assert_array_equal(array, expected[:, 1])


def _range(bits, signed):
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


@pytest.mark.parametrize("name", ["train.h5", "signal_ttbar.h5"])
def test_files_packed_by_gzip_are_read(name):
    places = input_places(SCHEMA)
    with EventFile(ROOT / "sample" / name) as file:
        events = file.read()
        (block,) = file.raw(places, ["weight", "seeds"])
    np.testing.assert_array_equal(np.stack(block.columns, axis=1), inputs(events))
    assert block.columns[2].dtype == np.uint8
    for key, array in block.meta.items():
        np.testing.assert_array_equal(array, events.meta[key])


def test_input_places_follow_the_selection(events):
    places = input_places(SCHEMA, "axol1tl")
    assert len(places) == 57
    assert places[:4] == [("met.pt", 0), None, ("met.phi", 0), ("eg.pt", 0)]
    assert places[-1] == ("jet.phi", 9)
    stacked = np.stack([events.columns[p[0]][:, p[1]] if p else np.zeros(50, int) for p in places], axis=1)
    np.testing.assert_array_equal(stacked, inputs(events))


def test_raw_checks_what_is_asked(path):
    with EventFile(path) as file:
        with pytest.raises(ValueError, match=r"column must be one of .* not 'jet\.mass'"):
            file.raw([("jet.mass", 0)])
        with pytest.raises(ValueError, match=r"events\.h5: slot of jet\.pt must be in 0\.\.11, not 12"):
            file.raw([("jet.pt", 12)])
        with pytest.raises(ValueError, match=r"meta must be one of weight, .* not 'npv'"):
            file.raw([], ["npv"])


@pytest.fixture(params=["at once", "one by one"])
def unpacking(request, monkeypatch):
    if request.param == "at once":
        assert chunks.batches() is not None, "numcodecs must show C-Blosc's function, or reading is slow"
    else:
        monkeypatch.setattr(chunks, "batches", lambda: None)


@pytest.mark.usefixtures("unpacking")
def test_raw_chunks_are_the_events(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(store, "CHUNK", 64)
    events = make(rng, 200)
    write(tmp_path / "x.h5", [events])
    with EventFile(tmp_path / "x.h5") as file:
        blocks = list(file.raw([("jet.phi", 4), None, ("mu.pt", 0)], ["weight", "seeds", "pileup"], 30, 150))
    assert [(block.start, block.stop) for block in blocks] == [(30, 64), (64, 128), (128, 150)]
    for block in blocks:  # of which each keeps its own memory
        part = slice(block.start, block.stop)
        np.testing.assert_array_equal(block.columns[0], events.columns["jet.phi"][part, 4])
        np.testing.assert_array_equal(block.columns[1], np.zeros(len(block)))
        np.testing.assert_array_equal(block.columns[2], events.columns["mu.pt"][part, 0])
        for name in ("weight", "seeds", "pileup"):
            np.testing.assert_array_equal(block.meta[name], events.meta[name][part])
        with pytest.raises(ValueError, match="read-only"):
            block.columns[0][0] = 1


def test_raw_does_not_look_at_values(path):
    spoil(path, "jet/pt", 4000)
    with EventFile(path) as file:
        (block,) = file.raw([("jet.pt", 3)])
        assert block.columns[0][30] == 4000
        with pytest.raises(ValueError, match=r"jet\.pt must be in 0\.\.2047, not 4000"):
            file.read()


@pytest.mark.usefixtures("unpacking")
def test_a_damaged_chunk_is_named(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(store, "CHUNK", 64)
    write(tmp_path / "x.h5", [make(rng, 200)])
    whole = (tmp_path / "x.h5").read_bytes()
    with h5py.File(tmp_path / "x.h5") as file:
        place = file["jet/phi"].id.get_chunk_info_by_coord((128, 4))
    what = r"\(dataset jet/phi, slot 4, chunk 2: not the checksum that was written\); copy the file again"
    for offset in (0, 5, 16, 40, place.size - 1):  # the header, a size in it, the table of blocks, the codes
        copied = bytearray(whole)
        copied[place.byte_offset + offset] ^= 16
        (tmp_path / "x.h5").write_bytes(copied)
        with EventFile(tmp_path / "x.h5") as file:
            blocks = file.raw([("jet.phi", 4)])
            assert [len(next(blocks)), len(next(blocks))] == [64, 64]
            with pytest.raises(OSError, match=r"x\.h5: events 128\.\.192 must be readable " + what):
                next(blocks)
            with pytest.raises(OSError, match=r"x\.h5: events 0\.\.200 must be readable " + what):
                file.read()
            assert len(list(file.raw([("jet.phi", 3)]))) == 4  # what is not read does no harm
        with pytest.raises(OSError, match="copy the file again"):
            verify(tmp_path / "x.h5")


@pytest.mark.usefixtures("unpacking")
def test_chunks_that_are_not_ours_are_refused(path):
    def swap(file):
        data = file["jet/pt"].id
        data.write_direct_chunk((0, 0), data.read_direct_chunk((0, 1))[1])

    def small(file):
        packed = blosc.compress(np.zeros(3, np.int16), b"lz4", 1)
        file["mu/pt"].id.write_direct_chunk((0, 0), packed)
        file["checksums"][0, 102] = xxh3_64_intdigest(packed)

    def hollow(file):  # the header and the checksum are right
        packed = blosc.compress(np.arange(50, dtype=np.int16), b"lz4", 1)
        packed = packed[:2] + b"\x21" + packed[3:16] + bytes(255 for _ in packed[16:])  # LZ4 it says, and is none
        file["mu/pt"].id.write_direct_chunk((0, 1), packed)
        file["checksums"][0, 103] = xxh3_64_intdigest(packed)

    damage(path, swap)
    damage(path, small)
    damage(path, hollow)
    with EventFile(path) as file:
        with pytest.raises(OSError, match="dataset jet/pt, slot 0, chunk 0: not the checksum"):
            list(file.raw([("jet.pt", 0)]))
        with pytest.raises(OSError, match="dataset mu/pt, slot 0, chunk 0: must unpack to 100 bytes"):
            list(file.raw([("mu.pt", 0)]))
        with pytest.raises(OSError, match="dataset mu/pt, slot 1, chunk 0: must unpack, it is not what Blosc wrote"):
            list(file.raw([("met.pt", 0), ("mu.pt", 1)]))


@pytest.mark.parametrize("there", [[], [1], [0, 2, 3, 4, 5, 6, 7]])
def test_chunks_that_are_not_there_are_noticed(path, events, there):
    def lose(file):
        old = file["mu/pt"]
        packed = {slot: old.id.read_direct_chunk((0, slot))[1] for slot in there}
        dtype = old.dtype
        del old, file["mu/pt"]
        chunks.create(file, "mu/pt", dtype, 8, 50, archive=False)
        file["mu/pt"].resize(50, axis=0)
        for slot, chunk in packed.items():
            file["mu/pt"].id.write_direct_chunk((0, slot), chunk)

    damage(path, lose)
    with EventFile(path) as file:
        for slot in range(8):
            if slot in there:
                (block,) = file.raw([("mu.pt", slot)])
                np.testing.assert_array_equal(block.columns[0], events.columns["mu.pt"][:, slot])
            else:
                with pytest.raises(OSError, match=f"dataset mu/pt, slot {slot}, chunk 0: not the checksum"):
                    list(file.raw([("mu.pt", slot)]))


def test_any_program_with_the_filter_reads_the_file(path, events, require):
    require("hdf5plugin")
    code = "import sys, h5py, hdf5plugin; print(h5py.File(sys.argv[1])[sys.argv[2]][:].tolist())"
    for name, expected in (("mu/eta", events.columns["mu.eta"]), ("meta/weight", events.meta["weight"])):
        done = subprocess.run([sys.executable, "-c", code, path, name], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == expected.tolist()
