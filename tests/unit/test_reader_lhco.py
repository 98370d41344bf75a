import pickle
import re

import h5py
import numpy as np
import pytest

from l1ad.events.readers import open_source
from l1ad.events.schema import load_schema
from l1ad.events.store import concatenate
from l1ad.events.units import to_values

SCHEMA = load_schema("lhco")
NAMES = [f"{name}{jet}" for jet in ("j1", "j2") for name in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")]
ROWS = np.array(
    [  # px, py, pz, m, tau1, tau2, tau3 of each jet, label
        [300, 400, 0, 100.5, 8.25, 4.125, 2, -600, 0, -800, 0.0078125, 1, 0.5, 0.25, 1],
        [0, -1000, 500, 0, 0, 0, 0, 0, 0, 0, 0, np.nan, np.nan, np.nan, 0],
        [100, 0, 0, 50, 5, 4, 3, 0, 200, 0, 60, 7, 6, 5.5, 0],  # the second is harder
        [1500.123, 12.34, -3000.5, -0.02, 812.25, 300, 100, -1500, -12, 2999, 433.3, 250, 99, 33, 1],
    ]
)


def frame(rows=ROWS):
    import pandas as pd

    return pd.DataFrame(rows, columns=[*NAMES, "label"])


def fixed_by_hand(path, rows=ROWS, names=(*NAMES, "label")):
    """What pandas 3.1 writes, as far as it is read."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs.update({"pandas_type": np.bytes_("frame"), "nblocks": 1})
        group["axis0"] = group["block0_items"] = np.array(names, "S")
        group["block0_values"] = rows
    return path


def table_by_hand(path, rows=ROWS, names=(*NAMES, "label"), alone="mj1"):
    """The same of its other layout; one column has a field of its own."""
    together = [name for name in names if name != alone]
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"] = np.bytes_("frame_table")
        data = np.zeros(len(rows), [("index", "i8"), ("values_block_0", "f8", (len(together),)), (alone, "f8")])
        data["values_block_0"] = rows[:, [names.index(name) for name in together]]
        data[alone] = rows[:, names.index(alone)]
        group["table"] = data
        for field, inside in (("values_block_0", together), (alone, [alone])):
            group["table"].attrs[f"{field}_kind"] = np.bytes_(pickle.dumps(inside, 0))
        group["table"].attrs["index_kind"] = np.bytes_("integer")
    return path


def read(path, size=100):
    return concatenate(open_source(path, "lhco", size).chunks)


def check(events):
    v = {name: to_values(events.columns[f"jet.{name}"], SCHEMA.columns()[f"jet.{name}"][1]) for name in COLUMNS}
    assert v["pt"][0].tolist() == [600, 500]  # sorted
    assert v["pt"][1:3].tolist() == [[1000, 0], [200, 100]]
    assert v["mass"][:3].tolist() == [[0.0078125, 100.5], [0, 0], [60, 50]]
    assert v["mass"][3, 0] == 0
    assert v["tau1"].tolist() == [[1, 8.25], [0, 0], [7, 5], [812.25, 250]]
    assert v["tau2"].tolist() == [[0.5, 4.125], [0, 0], [6, 4], [300, 99]]
    assert v["tau3"].tolist() == [[0.25, 2], [0, 0], [5.5, 3], [100, 33]]
    np.testing.assert_allclose(v["eta"][0], [np.arcsinh(-800 / 600), 0], atol=2**-17)
    np.testing.assert_allclose(v["phi"][0], [np.pi, np.arctan2(400, 300)], atol=3e-6)
    np.testing.assert_allclose(v["phi"][1], [1.5 * np.pi, 0], atol=3e-6)
    assert events.meta["label"].tolist() == [1, 0, 0, 1]


COLUMNS = ("pt", "eta", "phi", "mass", "tau1", "tau2", "tau3")


@pytest.mark.parametrize("write", [fixed_by_hand, table_by_hand])
def test_known_answers(tmp_path, write):
    source = open_source(write(tmp_path / "a.h5"), "lhco", 100)
    assert source.n_events == 4
    assert source.attrs == {"simulated": True}
    check(concatenate(source.chunks))


@pytest.mark.filterwarnings("ignore")  # of pandas and PyTables themselves
@pytest.mark.parametrize("label", ["float64", "int64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"format": "table"}, {"format": "table", "data_columns": ["mj1"]}, {"complib": "zlib", "complevel": 9}],
)
def test_what_pandas_writes(require, tmp_path, options, label):
    require("tables")
    frame().astype({"label": label}).to_hdf(tmp_path / "a.h5", key="df", mode="w", **options)
    check(read(tmp_path / "a.h5", 3))


@pytest.mark.filterwarnings("ignore")
def test_what_pandas_compresses_with_blosc(require, tmp_path):
    require("tables")
    require("hdf5plugin")
    frame().to_hdf(tmp_path / "a.h5", key="df", mode="w", complib="blosc", complevel=5)
    check(read(tmp_path / "a.h5", 3))


def test_quantities_are_kept_far_below_resolution(tmp_path, rng):
    n = 500
    p = rng.normal(0, 900, (n, 2, 3))
    tau = np.sort(rng.uniform(0, 500, (n, 2, 3)))[:, :, ::-1]
    m = rng.uniform(0, 800, (n, 2))
    rows = np.concatenate([np.concatenate([p, m[..., None], tau], -1).reshape(n, 14), np.zeros((n, 1))], 1)
    events = read(fixed_by_hand(tmp_path / "a.h5", rows), 77)
    v = {name: to_values(events.columns[f"jet.{name}"], SCHEMA.columns()[f"jet.{name}"][1]) for name in COLUMNS}

    def invariant(pt, eta, phi, mass):
        x, y, z = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
        e = np.sqrt(x**2 + y**2 + z**2 + mass**2)
        return np.sqrt(e.sum(1) ** 2 - x.sum(1) ** 2 - y.sum(1) ** 2 - z.sum(1) ** 2)

    energy = np.sqrt((p**2).sum(-1) + m**2)
    mjj = np.sqrt(energy.sum(1) ** 2 - (p.sum(1) ** 2).sum(-1))
    np.testing.assert_allclose(invariant(v["pt"], v["eta"], v["phi"], v["mass"]), mjj, rtol=2e-5)
    np.testing.assert_allclose(np.sort(v["tau2"] / v["tau1"]), np.sort(tau[:, :, 1] / tau[:, :, 0]), atol=1e-5)


@pytest.mark.parametrize("write", [fixed_by_hand, table_by_hand])
@pytest.mark.parametrize("size", [1, 3])
def test_chunks_are_the_whole(tmp_path, write, size):
    check(read(write(tmp_path / "a.h5"), size))


def test_a_file_without_label(tmp_path):
    events = read(fixed_by_hand(tmp_path / "a.h5", ROWS[:, :14], NAMES))
    assert events.meta["label"].tolist() == [-1] * 4


def changed(column, value):
    rows = ROWS.copy()
    rows[2, (*NAMES, "label").index(column)] = value
    return rows


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("pxj1", np.nan, "jet pt must be finite, not nan (at (0, 0)"),
        ("tau3j2", np.inf, "jet tau3 must be finite, not inf (at (0, 1)"),
        ("mj1", -1.0, "jet mass must be in 0..16384 GeV, not -1.0"),
        ("tau1j1", 4096.0, "jet tau1 must be in 0..4096 GeV, not 4096.0"),
        ("label", 2, "label must be 0 or 1, not 2.0 (event 0); correct the file"),
    ],
)
def test_wrong_values_are_refused(tmp_path, column, value, message):
    path = fixed_by_hand(tmp_path / "a.h5", changed(column, value))
    with pytest.raises(ValueError, match=r"a\.h5 \(events from 2\): " + re.escape(message)):
        read(path, 2)


def test_wrong_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match=r"none\.h5: file must hold one pandas table, not 0; check the format"):
        read(tmp_path / "none.h5")
    path = fixed_by_hand(tmp_path / "a.h5", ROWS[:, 1:14], NAMES[1:])
    with pytest.raises(ValueError, match="not lack pxj1; use a file of features, not of particles"):
        read(path)
    with pytest.raises(ValueError, match="part must not be given"):
        open_source(path, "lhco", 10, "x")
    path = table_by_hand(tmp_path / "b.h5")
    with h5py.File(path, "r+") as file:
        file["df/table"].attrs["mj1_kind"] = np.bytes_(pickle.dumps(print, 0))
    with pytest.raises(ValueError, match=r"b\.h5: names of columns must be plain text \(mj1_kind: .*print\); write"):
        read(path)


def test_a_filter_that_is_not_installed(tmp_path, monkeypatch):
    path = fixed_by_hand(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["df/block0_values"]
        file["df"].create_dataset("block0_values", data=ROWS, chunks=True, compression="lzf")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda _: False)
    with pytest.raises(ValueError, match=r"must be compressed by an installed filter, not lzf \(32000\); pip install"):
        read(path)
