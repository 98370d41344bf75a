import re

import h5py
import numpy as np
import pytest

from l1ad.events.readers import READERS, convert, open_source
from l1ad.events.schema import load_schema
from l1ad.events.store import EventFile, Events, make_meta


def adc(path, jets):
    """One event per jet pT in GeV."""
    particles = np.zeros((len(jets), 19, 4))
    particles[:, 9, 0] = jets
    particles[:, 9, 3] = 4
    with h5py.File(path, "w") as file:
        file.create_dataset("Particles", data=particles, maxshape=(None, 19, 4), chunks=(2, 19, 4), compression="gzip")
    return path


@pytest.fixture
def files(tmp_path):
    (tmp_path / "in").mkdir()
    jets = {"a": [10, 20, 3000], "b": [40.5], "c": [50, 60, 5000, 70]}
    return [adc(tmp_path / "in" / f"{name}.h5", values) for name, values in jets.items()]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_files_become_one_sample(tmp_path, files, size):
    said = []
    out = tmp_path / "out.h5"
    done = convert(files, out, "adc2021", size=size, report=said.append)
    assert (done.path, done.n_events, done.damaged, done.warnings) == (out, 8, (), ())
    assert done.saturated == {"met.pt": 0, "eg.pt": 0, "mu.pt": 0, "jet.pt": 2}
    with EventFile(out) as file:
        events, attrs = file.read(), file.attrs
    assert events.columns["jet.pt"][:, 0].tolist() == [20, 40, 2047, 81, 100, 120, 2047, 140]
    assert events.meta["weight"].tolist() == [1 / 8] * 8
    assert attrs.pop("versions").keys() >= {"l1ad", "h5py", "numpy"}
    assert attrs == {
        "weighted": False,
        "seeds": [],
        "classes": [],
        "simulated": True,
        "sample": "a, b, c",
        "converted_from": "adc2021",
        "part": None,
        "files": [
            {"path": str(path), "bytes": path.stat().st_size, "events": n}
            for path, n in zip(files, (3, 1, 4), strict=True)
        ],
        "damaged": [],
    }
    assert said == [f"{out}: 8 events of 3 files, 0 damaged files left out", "saturated objects: jet.pt 2"]


def truncated(path):
    path.write_bytes(path.read_bytes()[:-200])


def garbled(path):
    """Whole, but the compressed events of its second chunk make no sense."""
    with h5py.File(path, "r") as file:
        place = file["Particles"].id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncated, garbled])
def test_a_damaged_file(tmp_path, files, damage):
    damage(files[2])
    out = tmp_path / "out.h5"
    with pytest.raises(OSError, match=r"c\.h5: file must be complete.*copy it again, or leave damaged files out"):
        convert(files, out, "adc2021", size=2)
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    said = []
    done = convert(files, out, "adc2021", size=2, skip_damaged=True, report=said.append)
    assert done.damaged == (files[2],)
    assert said[0].startswith(f"left out: {files[2]}: file must be complete")
    assert said[1] == f"{out}: 4 events of 2 files, 1 damaged files left out"
    with EventFile(out) as file:
        assert file.attrs["damaged"] == [str(files[2])]
        assert file.read().meta["weight"].tolist() == [1 / 4] * 4
    with pytest.raises(ValueError, match="one file at least must be whole, not 0 of 1; copy them again"):
        convert(files[2:], out, "adc2021", skip_damaged=True, report=said.append)


def test_what_is_wrong_is_never_skipped(tmp_path, files):
    out = tmp_path / "out.h5"
    adc(files[1], [np.nan])
    for skip in (False, True):
        with pytest.raises(ValueError, match=r"b\.h5.*jet\.pt must be finite"):
            convert(files, out, "adc2021", skip_damaged=skip)
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"event file must exist, not be missing: .*b\.h5; check the path"):
        convert(files, out, "adc2021", skip_damaged=True)
    files[1].write_text("pt,eta,phi")
    with pytest.raises(OSError, match=r"b\.h5: file must be complete HDF5, not truncated or of another format"):
        convert(files, out, "adc2021")
    assert not out.exists()


def test_arguments_are_checked(tmp_path, files):
    with pytest.raises(ValueError, match=f"format must be one of {', '.join(READERS)}, not 'csv'"):
        open_source(files[0], "csv")
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        open_source(files[0], "adc2021", 0)
    with pytest.raises(ValueError, match="paths must be files, each given once, not none"):
        convert([], tmp_path / "out.h5", "adc2021")
    with pytest.raises(ValueError, match="each given once"):
        convert([files[0], str(files[0])], tmp_path / "out.h5", "adc2021")
    with pytest.raises(ValueError, match="files must hold events, not 0"):
        convert([adc(tmp_path / "empty.h5", [])], tmp_path / "out.h5", "adc2021")


def region(path, flags):
    with h5py.File(path, "w") as file:
        file["CaloRegions"] = np.full((3, 18, 14), 1023)
        file["AcceptanceFlag"] = flags
    return path


def test_data_and_simulation_do_not_mix(tmp_path):
    paths = [region(tmp_path / "a.h5", np.ones(3)), region(tmp_path / "b.h5", np.ones(0))]
    with pytest.raises(ValueError, match=r"b\.h5: simulated must be as in .*a\.h5, True, not False; convert them into"):
        convert(paths, tmp_path / "out.h5", "cicada")


def test_warnings_are_said_once(tmp_path):
    paths = [region(tmp_path / f"{name}.h5", np.ones(3)) for name in "ab"]
    said = []
    done = convert(paths, tmp_path / "out.h5", "cicada", report=said.append)
    assert done.saturated == {"region.pt": 6 * 252}
    assert [text for text in said if text.startswith("warning: ")] == [f"warning: {done.warnings[0]}"]
    with EventFile(tmp_path / "out.h5") as file:
        assert file.attrs["seeds"] == ["AcceptanceFlag"]
        assert file.read().meta["seeds"].tolist() == [[1]] * 6


def given(n_events, weighted):
    """A reader of one event of weight 3, whatever the file."""
    from l1ad.events.readers import Source

    schema = load_schema("cicada")

    def read(_path, _size, part):
        columns = {"region.pt": np.zeros((1, 252), np.int32)}
        chunk = Events(schema, columns, make_meta(1, weight=np.array([3.0])))
        return Source(schema, {"simulated": True, "weighted": weighted, "part": part}, n_events, iter([chunk]))

    return read


def test_weights_of_a_format_are_kept(tmp_path, files, monkeypatch):
    monkeypatch.setitem(READERS, "given", given(1, True))
    convert(files[:2], tmp_path / "out.h5", "given", report=lambda _: None)
    with EventFile(tmp_path / "out.h5") as file:
        assert file.read().meta["weight"].tolist() == [3, 3]


def test_a_file_gives_what_it_promised(tmp_path, files, monkeypatch):
    monkeypatch.setitem(READERS, "given", given(2, False))
    with pytest.raises(
        ValueError, match=re.escape(f"{files[0]}: file must give 2 events, not 1; it changed, try again")
    ):
        convert(files[:1], tmp_path / "out.h5", "given")
    assert not (tmp_path / "out.h5").exists()
