"""Quantities of events, on events made by hand."""

import math

import numpy as np
import pytest

from l1ad.events.quantities import event_quantity, known_quantities
from l1ad.events.schema import load_schema
from l1ad.events.table import Events, make_meta


def test_quantities_of_events():
    schema = load_schema()
    columns = {
        f"{c.name}.pt": np.zeros((3, c.slots), np.int32) for c in schema.collections if c.name in ("ht", "met", "jet")
    }
    for name in ("eg", "tau", "mu"):
        columns[f"{name}.pt"] = np.zeros((3, schema.collection(name).slots), np.int32)
    columns["ht.pt"][:, 0] = [100, 0, schema.collection("ht").column("pt").saturated]
    columns["met.pt"][:, 0] = [7, 8, 9]
    columns["jet.pt"][0, :2] = [60, 40]
    columns["mu.pt"][1, 0] = 31
    events = Events(schema, columns, make_meta(3))
    lsb = {name: schema.collection(name).column("pt").lsb for name in ("ht", "met", "jet", "mu")}
    np.testing.assert_array_equal(event_quantity(events, "HT"), [100 * lsb["ht"], 0, math.inf])
    np.testing.assert_array_equal(event_quantity(events, "MET"), np.array([7, 8, 9]) * lsb["met"])
    np.testing.assert_array_equal(event_quantity(events, "multiplicity"), [2, 1, 0])
    np.testing.assert_array_equal(event_quantity(events, "leading pT"), [60 * lsb["jet"], 31 * lsb["mu"], 0])
    with pytest.raises(ValueError, match=r"quantity must be one of HT, ET, .* leading pT, not 'ht'"):
        event_quantity(events, "ht")
    assert list(known_quantities(events)) == ["HT", "MET", "multiplicity", "leading pT"]  # no ET read, pileup unknown
    del columns["met.pt"]
    with pytest.raises(ValueError, match=r"events must hold the column met\.pt for MET"):
        event_quantity(events, "MET")
    assert list(known_quantities(events, ["MET", "HT"])) == ["HT"]


def test_pileup_is_known_of_all_or_not():
    events = Events(load_schema(), {}, make_meta(3, pileup=[50, 0, 60], n_collisions=[41, -1, 7]))
    np.testing.assert_array_equal(event_quantity(events, "pileup"), [50, 0, 60])
    with pytest.raises(ValueError, match=r"collisions must be known of all events, not -1 \(event 1\)"):
        event_quantity(events, "collisions")
    assert list(known_quantities(events)) == ["pileup"]
