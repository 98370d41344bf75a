import os
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from l1ad.events import show, store
from l1ad.events.pictures import draw
from l1ad.events.schema import load_schema
from l1ad.events.show import describe, render
from l1ad.events.store import Events, EventWriter, make_meta

ATTRS = {"classes": ["soft", "hard"], "seeds": ["Jet", "Muon", "Never"], "simulated": True, "generator": "dice 1.0"}


def make(schema, rng, n, **known):
    """Objects in falling pT, about half of the slots filled; absent ones all zero."""
    columns = {}
    for collection in schema.collections:
        present = np.arange(collection.slots) < rng.integers(0, collection.slots + 1, (n, 1))
        for column in collection.columns:
            codes = rng.integers(max(column.low, 1 if column.name == "pt" else column.low), column.high, present.shape)
            codes = -np.sort(-codes, axis=1) if column.name == "pt" else codes
            columns[f"{collection.name}.{column.name}"] = np.where(present, codes, 0).astype(column.dtype)
    return Events(schema, columns, make_meta(n, **known))


def write(path, events, attrs):
    with EventWriter(path, events.schema, attrs) as out:
        out.append(events)
    return path


@pytest.fixture
def sample(tmp_path, rng):
    """1,000 events of a rate sample, of which the last is a copy of the first and carries two saturated jets."""
    n = 1000
    weight = np.where(np.arange(n) < 900, 1e-3, 1e-4)
    known = {
        "weight": weight / weight.sum(),
        "pileup": np.full(n, 55),
        "n_collisions": rng.poisson(55, n),
        "run": np.where(np.arange(n) < 10, -1, 398183),
        "forced": np.where(np.arange(n) < 900, -1, 1),
        "class_counts": np.stack([np.full(n, 2), np.arange(n) >= 900], axis=1),
        "seeds": np.stack([np.arange(n) < 100, np.arange(n) < 50, np.zeros(n)], axis=1),
    }
    events = make(load_schema("cms_run3"), rng, n, **known)
    events.columns["jet.pt"][0] = [2047, 2047, 40, *[0] * 9]
    for array in events.columns.values():
        array[-1] = array[0]
    return events, write(tmp_path / "rate.h5", events, {**ATTRS, "weights": "per crossing"})


def test_numbers_are_those_of_the_events(sample):
    events, path = sample
    d = describe(path, 40_000.0)
    w = events.meta["weight"]
    assert (d.events, d.simulated, d.schema.name, d.crossing_rate_khz) == (1000, True, "cms_run3", 40_000.0)
    assert d.weights.total == pytest.approx(1)
    assert (d.weights.minimum, d.weights.maximum) == (w.min(), w.max())
    assert d.weights.n_effective == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert (d.duplicates.events, d.duplicates.exact) == (1, True)
    jets = next(c for c in d.collections if c.name == "jet")
    pt = events.columns["jet.pt"]
    np.testing.assert_allclose(jets.present, (w @ (pt > 0)) / w.sum())
    np.testing.assert_array_equal(jets.multiplicity.counts, np.bincount((pt > 0).sum(axis=1), minlength=13))
    column = jets.columns[0]
    present = pt[pt > 0]
    assert (column.minimum, column.maximum) == (present.min() * 0.5, present.max() * 0.5)
    assert column.saturated == (pt == 2047).sum() >= 4
    assert column.absent == pytest.approx(1 - (w @ (pt > 0).mean(axis=1)) / w.sum())
    order = np.argsort(present, kind="stable")
    weights = np.repeat(w, (pt > 0).sum(axis=1))[order]
    expected = present[order][np.searchsorted(np.cumsum(weights), weights.sum() / 2)]
    assert column.median == pytest.approx(expected * 0.5)
    assert [(s.name, s.events) for s in d.seeds] == [("Jet", 100), ("Muon", 50), ("Never", 0)]
    assert d.seeds[0].share == pytest.approx(w[:100].sum())
    assert d.any_seed.events == 100
    assert [(c.collisions, c.events, c.forced) for c in d.classes] == [(2000, 1000, 0), (100, 100, 100)]
    run = next(q for q in d.quantities if q.name == "run")
    assert (run.known, run.minimum, run.maximum) == (990, 398183, 398183)
    assert {q.name for q in d.quantities} == {"run", "pileup", "n_collisions"}


def test_tails_are_those_of_the_sum_of_pt(sample):
    events, path = sample
    w = events.meta["weight"]
    total = sum(events.columns[f"{name}.pt"].sum(axis=1) for name in ("eg", "tau", "mu", "jet")) / 2
    d = describe(path, 40.0)
    assert d.summed == ("eg", "tau", "mu", "jet")
    for tail in d.tails:
        taken = w[total >= tail.threshold]
        assert taken.sum() * 40 <= tail.rate_khz < w[total >= tail.threshold - 0.5].sum() * 40
        assert tail.events == len(taken)
        assert tail.n_effective == pytest.approx(taken.sum() ** 2 / (taken**2).sum())


def test_rates_are_given_for_rate_samples_only(sample, tmp_path, rng):
    _, path = sample
    assert describe(path).tails == ()
    signal = make(load_schema("cms_run3"), rng, 40, weight=np.full(40, 1 / 40), seeds=np.ones((40, 1)))
    attrs = {"seeds": ["Jet"], "weights": "1 / N"}
    d = describe(write(tmp_path / "signal.h5", signal, attrs), 40_000.0)
    assert (d.crossing_rate_khz, d.tails, d.simulated) == (None, (), None)
    assert "kHz" not in render(d)
    assert "kHz" in render(describe(path, 40_000.0))


def test_text(sample):
    _, path = sample
    d = describe(path, 40_000.0)
    lines = render(d).splitlines()
    head = f"{path}: 1000 events, schema cms_run3, simulated, {path.stat().st_size / 1e6:.3g} MB, content "
    assert lines[0] == head + d.content_digest[:12]
    assert "  generator: dice 1.0" in lines
    assert not any(line.startswith("  seeds:") for line in lines)
    assert f"weights: sum 1, 0.00011 to 0.0011; n_eff {d.weights.n_effective:.0f} of 1000" in lines
    assert "events with the content of an earlier one: 1" in lines
    words = [line.split() for line in lines]
    assert ["run", "990", "398183", "398183", "398183"] in words
    assert ["Jet", "100", "0.11", "4396"] in words
    assert ["hard", "100", "100", "100"] in words
    assert next(row for row in words if row[:1] == ["jet"])[1] == "12"
    pt = next(row for row in words if row[:1] == ["jet.pt"])
    assert (pt[1], pt[4]) == ("GeV", "1024")
    assert next(row for row in words if row[:1] == ["mu.charge"])[-2] == "-"
    assert all(line == line.rstrip() for line in lines)
    few = render(d, top=1).splitlines()
    assert any(line.startswith("and 2 more") for line in few)
    assert not any(line.startswith("Muon") for line in few)


def assert_page(path, panels_high):
    png = path.read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1650, int((3.7 * panels_high + 0.5) * 110))
    assert len(png) > 30_000


def test_page(sample, tmp_path):
    _, path = sample
    d = describe(path, 40_000.0)
    draw(d, tmp_path / "page.png")
    assert_page(tmp_path / "page.png", 4)
    with pytest.raises(ValueError, match=r"picture must end in \.png, \.pdf, \.svg, not 'page\.doc'"):
        draw(d, tmp_path / "page.doc")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write into folder"):
        draw(d, tmp_path / "file" / "page.png")


@pytest.mark.parametrize(("name", "rows"), [("adc2021", 3), ("cicada", 2), ("lhco", 3)])
def test_every_schema_can_be_described_and_drawn(tmp_path, rng, name, rows):
    events = make(load_schema(name), rng, 300, weight=np.zeros(300), label=np.arange(300) % 2)
    d = describe(write(tmp_path / "x.h5", events, {}), 40_000.0)
    text = render(d)
    assert "weights: sum 0, all equal, 300 of them 0; n_eff 0 of 300" in text
    assert ["label", "all", "0", "1", "0.5"] in [line.split() for line in text.splitlines()]
    for collection in d.collections:
        filled = events.columns[f"{collection.name}.pt"] > 0
        np.testing.assert_allclose(collection.present, filled.mean(axis=0))
        for column in collection.columns:
            codes = events.columns[column.name][filled]
            lsb = events.schema.columns()[column.name][1].lsb
            assert (column.minimum, column.maximum) == (codes.min() * lsb, codes.max() * lsb)
            assert column.median == pytest.approx(np.median(codes) * lsb, abs=2 * column.histogram.width)
    draw(d, tmp_path / "page.png")
    assert_page(tmp_path / "page.png", rows)
    if name == "cicada":
        draw(d, tmp_path / "page.pdf")
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_files_with_little_in_them(tmp_path):
    schema = load_schema("cms_run3")
    none = {name: np.zeros((0, c.slots), np.int32) for name, (c, _) in schema.columns().items()}
    d = describe(write(tmp_path / "none.h5", Events(schema, none, make_meta(0)), {"simulated": False}), 40_000.0)
    assert "none.h5: 0 events, schema cms_run3, data" in render(d)
    with pytest.raises(ValueError, match=r"none\.h5: events to be drawn must be at least one, not 0"):
        draw(d, tmp_path / "page.png")
    empty = {name: np.zeros((3, c.slots), np.int32) for name, (c, _) in schema.columns().items()}
    d = describe(write(tmp_path / "empty.h5", Events(schema, empty, make_meta(3)), {}))
    assert ["jet.pt", "GeV", "-", "-", "-", "0", "1.0000"] in [line.split() for line in render(d).splitlines()]
    assert "earlier one: 2" in render(d)
    draw(d, tmp_path / "page.png")


def test_duplicates_are_estimated_where_they_are_many(monkeypatch, rng):
    monkeypatch.setattr(show, "_DISTINCT", 1000)
    counted = show._DuplicateCount()
    hashes = rng.integers(0, 2**64, 20_000, np.uint64)
    for part in np.array_split(np.concatenate([hashes, hashes[:10_000]]), 30):
        counted.add(part)
    found = counted.result()
    assert not found.exact
    assert found.events == pytest.approx(10_000, rel=0.2)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(store, "CHUNK", 500)
    monkeypatch.setattr(show, "_DISTINCT", 1000)
    part, peaks = make(load_schema("adc2021"), rng, 2000), []
    for times in (2, 20):
        with EventWriter(tmp_path / "x.h5", part.schema, {}) as out:
            for _ in range(times):
                out.append(part)
        tracemalloc.start()
        assert describe(tmp_path / "x.h5").events == 2000 * times
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_describing_loads_no_plots():
    code = "import sys, l1ad.events.show, l1ad.events.pictures; print({'matplotlib', 'rich'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "set()\n"
