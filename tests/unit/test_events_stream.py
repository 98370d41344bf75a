import shutil
import threading
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from l1ad.events import store
from l1ad.events.schema import load_schema
from l1ad.events.store import EventFile, Events, EventWriter, concatenate, make_meta
from l1ad.events.stream import Damaged, EventStream, expand

SCHEMA = load_schema("cms_run3")
ATTRS = {"classes": ["a"], "seeds": ["s", "t"], "simulated": True}


def make(rng, n, first=0, schema=SCHEMA):
    columns = {
        name: rng.integers(column.low, column.high + 1, (n, collection.slots)).astype(column.dtype)
        for name, (collection, column) in schema.columns().items()
    }
    seeds, counts = rng.integers(0, 2, (n, 2)), np.zeros((n, 1))
    return Events(schema, columns, make_meta(n, event=np.arange(first, first + n), seeds=seeds, class_counts=counts))


def write(path, events, attrs=ATTRS):
    with EventWriter(path, events.schema, attrs) as out:
        out.append(events)
    return path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Files of a few blocks, as if they were big."""
    monkeypatch.setattr(store, "CHUNK", 64)


@pytest.fixture
def files(tmp_path):
    """200, 0, 10 and 90 events."""
    rng, first, paths = np.random.default_rng(3), 0, []
    for number, n in enumerate((200, 0, 10, 90)):
        paths.append(write(tmp_path / f"part-{number}.h5", make(rng, n, first)))
        first += n
    return paths


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def numbers(chunks):
    return np.concatenate([chunk.meta["event"] for chunk in chunks])


@pytest.mark.parametrize("size", [1, 7, 64, 150, 299, 300, 301])
def test_chunks_have_the_size_across_files(files, size):
    stream = EventStream(files, size)
    assert len(stream) == 300
    assert stream.lengths == (200, 0, 10, 90)
    for _ in range(2):  # an epoch, and another
        chunks = list(stream)
        assert [len(chunk) for chunk in chunks] == [size] * (300 // size) + [300 % size] * (300 % size > 0)
        np.testing.assert_array_equal(numbers(chunks), np.arange(300))
    whole = []
    for path in files:
        with EventFile(path) as file:
            whole.append(file.read())
    got, expected = concatenate(chunks), concatenate(whole)
    for name, array in expected.columns.items():
        np.testing.assert_array_equal(got.columns[name], array)
    for name, array in expected.meta.items():
        np.testing.assert_array_equal(got.meta[name], array)
    assert stream.damaged == ()


def test_columns_and_quantities_are_selected(files):
    chunk = next(iter(EventStream(files[0], 10, ["jet.pt"], ["seeds"])))
    assert list(chunk.columns) == ["jet.pt"]
    assert list(chunk.meta) == ["weight", "seeds"]
    with pytest.raises(ValueError, match=r"part-0\.h5: column must be one of .* not 'jet\.mass'"):
        EventStream(files, columns=["jet.mass"])
    with pytest.raises(ValueError, match=r"part-0\.h5: meta must be one of .* not 'npv'"):
        EventStream(files, meta=["npv"])
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        EventStream(files, 0)


def test_order_of_files(files, tmp_path):
    assert expand(tmp_path / "part-*.h5") == tuple(files)
    assert expand([files[3], str(tmp_path / "part-[12].h5")]) == (files[3], files[1], files[2])
    stream = EventStream([files[3], str(tmp_path / "part-[02].h5")], 50)
    assert numbers(stream).tolist() == [*range(210, 300), *range(210)]
    odd = files[0].rename(tmp_path / "part[x].h5")
    assert expand(odd) == (odd,)


def test_files_that_are_not_there_or_twice(files, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="files must be event files or patterns, not nothing"):
        EventStream([])
    with pytest.raises(ValueError, match=r"pattern must match an event file, not nothing: .*\*\.root"):
        EventStream(tmp_path / "*.root")
    for skip in (False, True):
        with pytest.raises(FileNotFoundError, match=r"event file must exist, not be missing: .*absent\.h5"):
            EventStream([files[0], tmp_path / "absent.h5"], skip_damaged=skip)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"a file must be given once, not as .*part-0\.h5 and as part-0\.h5"):
        EventStream([tmp_path / "*.h5", Path("part-0.h5")])


def test_files_must_agree(files, tmp_path, rng):
    other = write(tmp_path / "seeds.h5", make(rng, 5), {**ATTRS, "seeds": ["s", "u"]})
    with pytest.raises(ValueError, match=r"part-0\.h5 and .*seeds\.h5 must have the same seeds, not \['s', 't'\] and"):
        EventStream([*files, other])
    other = write(tmp_path / "classes.h5", make(rng, 5), {**ATTRS, "classes": ["b"]})
    with pytest.raises(ValueError, match=r"classes\.h5 must have the same classes, not \['a'\] and \['b'\]"):
        EventStream([*files, other])
    other = write(tmp_path / "schema.h5", make(rng, 5, schema=load_schema("adc2021")))
    with pytest.raises(ValueError, match=r"schema\.h5 must have one schema, not 'cms_run3' and 'adc2021'"):
        EventStream([*files, other])


def test_a_schema_of_ones_own(tmp_path, rng):
    schema = replace(SCHEMA, name="mine")
    path = write(tmp_path / "mine.h5", make(rng, 5, schema=schema))
    assert len(next(iter(EventStream(path, schema=schema)))) == 5


def test_a_consumer_may_stop_or_fail(files):
    for chunk in EventStream(files, 10):
        assert len(chunk) == 10
        break

    def fail():
        for _ in EventStream(files, 10):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    chunks = iter(EventStream(files, 10))
    next(chunks)
    del chunks


def cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def damage(path, row):
    """Make a HDF5 chunk unreadable."""
    with h5py.File(path) as file:
        place = file["jet/pt"].id.get_chunk_info_by_coord((row, 0))
    whole = bytearray(path.read_bytes())
    whole[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(whole)


def test_damage_is_an_error(files):
    damage(files[0], 130)
    stream, got = EventStream(files, 50), []
    with pytest.raises(OSError, match=r"part-0\.h5: events 128\.\.192 must be readable .*; copy the file again"):
        got.extend(stream)
    np.testing.assert_array_equal(numbers(got), np.arange(100))
    EventStream(files, 50, ["met.pt"], [])  # what is not read does no harm
    cut(files[2])
    with pytest.raises(OSError, match=r"must be complete, not truncated or damaged: .*part-2\.h5 .*; copy it again"):
        EventStream(files, 50)


def test_damage_is_skipped_on_request_and_reported(files):
    damage(files[0], 130)
    cut(files[2])
    stream = EventStream(files, 50, skip_damaged=True)
    assert len(stream) == 290
    assert stream.lengths == (200, 0, None, 90)
    for _ in range(2):
        with pytest.warns(UserWarning, match="events of .* are left out") as said:
            chunks = list(stream)
        assert numbers(chunks).tolist() == [*range(128), *range(210, 300)]
        assert [len(chunk) for chunk in chunks] == [50, 50, 50, 50, 18]
        first, second = stream.damaged
        assert (first.path, first.lost) == (files[0], 72)
        assert "events 128..192 must be readable" in first.reason
        assert (second.path, second.lost) == (files[2], None)
        assert [str(w.message).split("; weights")[0] for w in said] == [str(first), str(second)]
    assert str(Damaged(Path("x.h5"), 7, "cut")) == "7 events of x.h5 are left out: cut"


def test_nothing_readable_is_an_error_even_so(files):
    cut(files[0])
    with pytest.raises(OSError, match=r"a file must be readable, not none of 1: .*part-0\.h5"):
        EventStream(files[0], skip_damaged=True)


def test_wrong_content_is_an_error_even_so(files):
    with EventFile(files[3]) as file:
        codes = file.read().columns["jet.pt"].copy()
    codes[80, 2] = 2048
    with h5py.File(files[3], "r+") as file:
        del file["jet/pt"]
        file["jet/pt"] = codes
    with pytest.raises(ValueError, match=r"part-3\.h5: jet\.pt must be .* not 2048 \(event 80, slot 2\)"):
        list(EventStream(files, 50, skip_damaged=True))


def test_warnings_name_the_loop(files):
    damage(files[0], 130)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in EventStream(files, 50, skip_damaged=True):
            pass
    assert [Path(w.filename).name for w in said] == [Path(__file__).name]


def test_reading_is_bounded_and_ahead(files, monkeypatch):
    read, original = [], EventFile._read

    def noted(self, start, stop, *chosen):
        read.append(start)
        return original(self, start, stop, *chosen)

    monkeypatch.setattr(EventFile, "_read", noted)
    stream = EventStream(files[0], 64)
    read.clear()
    chunks = iter(stream)
    assert read == []
    next(chunks)
    for _ in range(100):
        threading.Event().wait(0.01)
    assert read == [0, 64, 128]  # two ahead, not more
    chunks.close()


def test_memory_does_not_grow(tmp_path, rng):
    first, peaks = write(tmp_path / "00.h5", make(rng, 500)), []
    paths = [first, *(tmp_path / f"{number:02d}.h5" for number in range(1, 20))]
    for path in paths[1:]:
        shutil.copy(first, path)
    for some in (paths[:3], paths):
        stream = EventStream(some, 100)
        tracemalloc.start()
        assert sum(len(chunk) for chunk in stream) == 500 * len(some)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
