from pathlib import Path

import numpy as np
import pytest

from l1ad.events import schema as module
from l1ad.events.schema import input_columns, load_schema, presence_index

TABLE = (Path(module.__file__).parent / "schemas" / "cms_run3.toml").read_text(encoding="utf-8")


def test_cms_objects():
    schema = load_schema("cms_run3")
    assert {c.name: c.slots for c in schema.collections} == {
        **dict.fromkeys(("met", "ht", "et", "mht"), 1), "eg": 12, "tau": 12, "mu": 8, "jet": 12,
    }  # fmt: skip
    jet, muon = schema.collection("jet"), schema.collection("mu")
    assert (jet.column("pt").high, jet.column("pt").saturated, jet.column("pt").lsb) == (2047, 2047, 0.5)
    assert (jet.column("eta").low, jet.column("eta").high) == (-128, 127)
    assert jet.column("phi").high == 143
    assert (muon.column("eta").low, muon.column("phi").high) == (-256, 575)
    assert 144 * jet.column("phi").lsb == pytest.approx(2 * np.pi, rel=1e-15)
    assert 576 * muon.column("phi").lsb == pytest.approx(2 * np.pi, rel=1e-15)
    assert jet.column("charge") is None
    assert [str(jet.column(name).stored_dtype) for name in ("pt", "eta", "phi")] == ["uint16", "int8", "uint8"]
    assert muon.column("eta").stored_dtype == np.int16
    assert muon.column("pt").dtype == np.int32


def test_axol1tl_inputs():
    schema = load_schema()
    columns = input_columns(schema, "axol1tl")
    assert [c.name for c in columns[:6]] == ["met_pt", "met_eta", "met_phi", "eg0_pt", "eg0_eta", "eg0_phi"]
    assert [columns[i].name for i in (15, 27, 56)] == ["mu0_pt", "jet0_pt", "jet9_phi"]
    assert len(columns) == 57
    assert (columns[1].low, columns[1].high) == (0, 0)  # MET has no eta
    assert (columns[0].low, columns[0].high, columns[0].lsb, columns[0].unit) == (0, 4095, 0.5, "GeV")
    np.testing.assert_array_equal(presence_index(schema, "axol1tl"), np.arange(57) // 3 * 3)


def test_digest_is_of_the_content():
    assert (
        load_schema("cms_run3").digest()
        == load_schema(str(Path(module.__file__).parent / "schemas/cms_run3.toml")).digest()
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "cms_run3"', "", r"bad\.toml: name must be given"),
        ('name = "cms_run3"', 'title = "x"', r"bad\.toml: key must be one of .* not 'title'"),
        ('name = "cms_run3"', "name = ", r"bad\.toml: schema must be valid TOML"),
        ("bits = 11", "bits = 40", r"bad\.toml: collections\.jet\.pt: bits must be between 1 and 31, not 40"),
        ("bits = 11", "bit = 11", r"collections\.jet\.pt: key must be one of .* not 'bit'"),
        ("saturated = 2047", "saturated = 2048", r"jet\.pt: saturated must lie in 0\.\.2047, not be 2048"),
        ("high = 575", "high = 1024", r"mu\.phi: low and high must lie in 0\.\.1023, not be 0\.\.1024"),
        ("lsb = 0.010875", "lsb = 0", r"mu\.eta: lsb must be positive and finite, not 0"),
        ("lsb = 0.010875, ", "", r"collections\.mu\.eta\.lsb must be given"),
        ("quality = {", "colour = {", r"mu\.colour: column must be one of .* not 'colour'"),
        ("slots = 8", "slots = 0", r"collections\.mu: slots must be at least 1, not 0"),
        ("slots = 8", "", r"collections\.mu\.slots must be an integer"),
        ('["jet", 10]', '["jet", 13]', r"selections\.axol1tl: slots of jet must be between 1 and 12, not 13"),
        ('["jet", 10]', '["jat", 10]', r"collection must be one of .* not 'jat'"),
        ('["jet", 10]', '"jet"', r"selections\.axol1tl must have objects = \[\[collection, slots\]"),
        ('columns = ["pt"', 'columns = ["p"', r"selections\.axol1tl\.columns must include pt"),
    ],
)
def test_a_wrong_table_names_file_and_key(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    assert old in TABLE
    path.write_text(TABLE.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_schema(str(path))


def test_unknown_names():
    with pytest.raises(
        ValueError, match=r"schema must be one of .*cms_run3.* or the path of a .toml file, not 'atlas'"
    ):
        load_schema("atlas")
    with pytest.raises(ValueError, match=r"selection must be one of axol1tl .schema cms_run3., not 'cicada'"):
        input_columns(load_schema(), "cicada")
