"""Values in GeV and radians enter the native emulator as `to_codes` makes codes of them."""

import numpy as np
import pytest
from native_networks import needs

from l1ad.compare import random_inputs
from l1ad.emulate import Histogram, checked, emulate, reference
from l1ad.emulate.native import Native
from l1ad.emulate.native.library import SETS
from l1ad.events.schema import InputColumn, input_columns, load_schema
from l1ad.events.units import to_codes, to_values
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.operations import Dense, Dot, Input

COLUMNS = input_columns(load_schema("cms_run3"), "axol1tl")


@pytest.fixture(params=SETS)
def isa(request, require):
    return needs(request.param, require)


def network_of(columns):
    """A hash of all columns, more or less."""
    n = len(columns)
    low, high = (np.array([getattr(c, end) for c in columns]) for end in ("low", "high"))
    trigger = Input("trigger", tuple(c.name for c in columns), low, high, FixedPoint(13, 0))
    weight = np.random.default_rng(n).integers(-31, 32, (n, 5))
    none = np.zeros(5, np.int64), FixedPoint(1, 0)
    hidden = Dense("hidden", "trigger", weight, FixedPoint(6, 2), *none, None, FixedPoint(24, 2))
    return Network((trigger, hidden, Dot("score", "hidden", "hidden", None, FixedPoint(60, 4))))


def layouts(values):
    yield values
    yield np.asfortranarray(values)
    yield values[::-1].copy()[::-1]
    yield [np.ascontiguousarray(column) for column in values.T]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_become_the_nearest_codes(dtype, isa):
    network = network_of(COLUMNS)
    native, chance = Native(network, isa), np.random.default_rng(0)
    codes = random_inputs(network, 700)
    values = np.stack([to_values(column, unit) for column, unit in zip(codes.T, COLUMNS, strict=True)], axis=1)
    values += chance.uniform(-0.7, 0.7, values.shape) * [unit.lsb for unit in COLUMNS]  # to a neighbour, sometimes
    values = values.astype(dtype)
    for c, unit in enumerate(COLUMNS):
        if unit.turn is not None:
            values[:, c] += np.asarray(2 * np.pi * chance.integers(-2, 3, len(values)), dtype)
        else:
            values[:, c] = np.clip(values[:, c], unit.low * unit.lsb, unit.high * unit.lsb)
        if unit.saturated is not None:
            values[chance.random(len(values)) < 0.1, c] = 1e6
    expected = np.stack([to_codes(column, unit, "x") for column, unit in zip(values.T, COLUMNS, strict=True)], axis=1)
    assert (expected != codes).any()
    scores = reference.emulate(network, expected)
    for given in layouts(values):
        np.testing.assert_array_equal(native.scores(given, 2, COLUMNS), scores)
    for n in (1, 63, 65, 511, 513):
        np.testing.assert_array_equal(native.scores(values[:n], units=COLUMNS), scores[:n])
    histogram = native.fill(Histogram.of(network), values, units=COLUMNS)
    assert np.array_equal(histogram.counts, Histogram.of(network).fill(scores).counts)


def test_ties_go_to_even_codes(isa):
    columns = [InputColumn("x", -100, 100, 0.5, "GeV")]
    network = network_of(columns)
    values = np.arange(-99, 100)[:, None] * 0.5 + 0.25
    expected = to_codes(values, columns[0], "x")
    assert set(np.unique(expected) % 2) == {0}
    np.testing.assert_array_equal(
        Native(network, isa).scores(values, units=columns), reference.emulate(network, expected)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9, -1e9])
@pytest.mark.parametrize("event", [0, 63, 64, 600, 699])
def test_values_without_a_code_are_refused(bad, event, isa):
    values = np.zeros((700, len(COLUMNS)))
    values[event, 4] = bad  # an eta
    with pytest.raises(ValueError, match="eg0_eta must be"):
        Native(network_of(COLUMNS), isa).scores(values, units=COLUMNS)


@pytest.mark.parametrize("compiler", [True, False])
def test_emulate_takes_values(compiler, monkeypatch, require):
    require("compiler")
    if not compiler:
        monkeypatch.setattr(checked, "_native", lambda _: None)
    network = network_of(COLUMNS)
    codes = random_inputs(network, 100)
    values = np.stack([to_values(column, unit) for column, unit in zip(codes.T, COLUMNS, strict=True)], axis=1)
    np.testing.assert_array_equal(emulate(network, values, units=COLUMNS), reference.emulate(network, codes))
    np.testing.assert_array_equal(emulate(network, codes), reference.emulate(network, codes))


def test_types_and_units_must_fit(require):
    require("compiler")
    native = Native(network_of(COLUMNS))
    values = np.zeros((3, len(COLUMNS)))
    with pytest.raises(TypeError, match="hardware integers, not dtype float64 in 'met_pt'; quantise"):
        native.scores(values)
    with pytest.raises(TypeError, match="float32 or float64, with units, not dtype int64 in 'met_pt'; leave units out"):
        native.scores(values.astype(int), units=COLUMNS)
    with pytest.raises(TypeError, match="not dtype float16 in 'met_pt'"):
        native.scores(values.astype(np.float16), units=COLUMNS)
    with pytest.raises(ValueError, match="units must be those of the network's 57 columns, in order"):
        native.scores(values, units=COLUMNS[::-1])
