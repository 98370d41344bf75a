"""What scales the columns is guessed in 16 bits, and a guess is kept only if it is right for every number."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_networks import MODES, needs, wide_input

from l1ad.emulate import reference
from l1ad.emulate.native import Native, available
from l1ad.emulate.native.entrance import CONSTANTS, Column, constants, find_entrance
from l1ad.emulate.native.library import SETS
from l1ad.fixed import ROUNDING, FixedPoint
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Dense, Input, Lookup, rescale

NONE = np.zeros(1, np.int64), FixedPoint(1, 0)


@pytest.fixture(params=SETS)
def isa(request, require):
    return needs(request.param, require)


def column(low, high, frac=0):
    return wide_input(1, low, high, FixedPoint.holding(low, high, frac))


def summed(trigger, chain):
    """A network with a chain of operations between its columns and a sum."""
    last, n = chain[-1], len(trigger.columns)
    weight = np.array([3**i for i in range(n)])[:, None], FixedPoint(2 * n + 2, 0)
    return Network((trigger, *chain, Dense("score", last.name, *weight, *NONE, None, FixedPoint(62, last.out.frac))))


def every(trigger):
    """Every admissible number of every column, the others at their ends."""
    low, high = trigger.low, trigger.high
    span = np.arange(int((high - low).max()) + 1)[:, None]
    return np.vstack([np.minimum(low + span, high), np.maximum(high - span, low)])


def require_proved(network, chain, zero=0):
    """The columns found, once each gives the number of the reference for each that goes in; None if none are."""
    found = find_entrance(network, chain, zero)
    if found is None:
        return None
    assert len(found) == len(network.input.columns)
    x = every(network.input)
    wanted = reference.trace(network, x)[chain[-1].name] - zero
    for i, c in enumerate(found):
        assert c(x[:, i]).tolist() == wanted[:, i].tolist()
        assert in_sixteen_bits(c, x[:, i])
    return found


def in_sixteen_bits(c, x):
    """Whether no step of the kernel leaves an int16, written out once more."""
    steps = [np.clip(x, c.least, c.most)]
    steps.append(steps[-1] + c.add)
    steps.append(steps[-1] & c.keep)
    steps.append(steps[-1] - ((steps[-1] >> c.turn) & c.even))
    steps.append(steps[-1] >> c.down)
    steps.append(steps[-1] << c.up)
    inside = all(step.min() >= -(2**15) and step.max() < 2**15 for step in steps)
    return inside and all(-(2**15) <= getattr(c, name) < 2**15 for name in CONSTANTS) and max(c.turn, c.down, c.up) < 16


types = st.builds(
    lambda width, frac, signed, modes: FixedPoint(width, frac, signed, *modes),
    st.integers(1, 16),
    st.integers(-6, 6),
    st.booleans(),
    st.sampled_from(MODES),
)


@st.composite
def chains(draw):
    """A column of any range, and one to three operations on it."""
    low = draw(st.integers(-(2**15), 2**15 - 1))
    high = min(low + draw(st.sampled_from([0, 1, 2, 30, 255, 4000, 2**16])), 2**15 - 1)
    trigger = column(low, high, draw(st.integers(-2, 3)))
    operations = []
    for i in range(draw(st.integers(1, 3))):
        x = operations[-1].name if operations else "trigger"
        kind, out = draw(st.sampled_from(["cast", "shift", "affine"])), draw(types)
        if kind == "cast":
            operations.append(Cast(f"o{i}", x, out))
        elif kind == "shift":
            source = operations[-1].out if operations else trigger.out
            offset = np.array([draw(st.integers(low, high))])
            operations.append(rescale(f"o{i}", x, source, offset, np.array([draw(st.integers(-4, 6))]), out))
        else:
            scale = np.array([draw(st.integers(-8, 7))]), FixedPoint(4, draw(st.integers(-1, 3)))
            bias = np.array([draw(st.integers(-512, 511))]), FixedPoint(10, draw(st.integers(-1, 5)))
            operations.append(Affine(f"o{i}", x, *scale, *bias, out))
    return trigger, tuple(operations)


@settings(max_examples=150)
@given(chains())
def test_what_is_found_is_right_for_every_number(drawn):
    trigger, chain = drawn
    network = summed(trigger, chain)
    flow = network.flows[chain[-1].name]
    require_proved(network, chain)
    require_proved(network, chain, int(flow.low.min()))


@settings(max_examples=60)
@given(drawn=chains())
def test_the_kernel_is_right_for_every_number(drawn, isa_of_all):
    trigger, chain = drawn
    network = summed(trigger, chain)
    x = every(trigger)
    expected = reference.emulate(network, x)
    for native in (Native(network, isa) for isa in isa_of_all):
        np.testing.assert_array_equal(native.scores(x.astype(np.int16)), expected)
        np.testing.assert_array_equal(native.scores(x), expected)


@pytest.fixture(scope="module")
def isa_of_all(require):
    require("compiler")
    return available()


@pytest.mark.parametrize("rounding", ["TRN", "RND", "RND_MIN_INF", "RND_CONV"])
@pytest.mark.parametrize("overflow", ["SAT", "SAT_SYM"])
def test_the_usual_scalings_are_found(rounding, overflow, isa):
    """Shifts down and up, offsets, saturation: what hls4ml's projects and ours begin with."""
    for (low, high), shift, offset, width in product(
        ((0, 2047), (-115, 115), (-2048, 2047)), (0, 1, 3, 5, -2), (0, 33), (8, 10, 16)
    ):
        trigger = column(low, high)
        out = FixedPoint(width, 0, True, rounding, overflow)
        chain = (rescale("scaled", "trigger", trigger.out, np.array([offset]), np.array([shift]), out),)
        network = summed(trigger, chain)
        assert require_proved(network, chain) is not None, (low, high, shift, offset, width)
        native, x = Native(network, isa), every(trigger).astype(np.int16)
        assert native.plan.steps[0][1].startswith("ENTRANCE int16 -> ")
        np.testing.assert_array_equal(native.scores(x), reference.emulate(network, x))


def test_columns_of_their_own_shifts_side_by_side(isa):
    """Of each a shift, an offset, a range; every number of each."""
    rng = np.random.default_rng(4)
    n = 37
    low, high = rng.integers(-300, 1, n), rng.integers(0, 300, n)
    trigger = Input("trigger", tuple(f"column{i}" for i in range(n)), low, high, FixedPoint(10, 0))
    for width, rounding in product((8, 9, 16), ("TRN", "RND_CONV")):
        out = FixedPoint(width, 2, True, rounding, "SAT")
        chain = (rescale("scaled", "trigger", trigger.out, rng.integers(low, high), rng.integers(-2, 5, n), out),)
        weight = rng.integers(-31, 31, (n, 1)), FixedPoint(6, 0)
        dense = Dense("score", "scaled", *weight, *NONE, None, FixedPoint(40, 2))
        network = Network((trigger, *chain, dense))
        assert require_proved(network, chain) is not None
        native, x = Native(network, isa), every(trigger)
        assert native.plan.c.is_scaled
        expected = reference.emulate(network, x)
        for events in (x, x.astype(np.int16), np.asfortranarray(x.astype(np.int16))):
            np.testing.assert_array_equal(native.scores(events), expected)


@pytest.mark.parametrize("rounding", ROUNDING)
def test_what_is_not_found_is_still_right(rounding, isa):
    """A table, a product by 3, a wrap, a column of 17 bits."""
    trigger = column(-200, 200)
    table = np.random.default_rng(5).integers(-100, 100, 512)
    wide = column(-(2**16), 2**16 - 1)
    wrapped = FixedPoint(5, -2, True, rounding, "WRAP")
    for each, chain in (
        (trigger, (Lookup("looked", "trigger", table, FixedPoint(8, 0)),)),
        (
            trigger,
            (
                Affine(
                    "scaled",
                    "trigger",
                    np.array([3]),
                    FixedPoint(3, 0),
                    *NONE,
                    FixedPoint(10, -1, True, rounding, "SAT"),
                ),
            ),
        ),
        (trigger, (Cast("scaled", "trigger", wrapped),)),
        (wide, (Cast("scaled", "trigger", FixedPoint(14, -3, True, rounding, "SAT")),)),
    ):
        network = summed(each, chain)
        assert find_entrance(network, chain, 0) is None
        native, x = Native(network, isa), every(each)
        assert not native.plan.c.is_scaled
        np.testing.assert_array_equal(native.scores(x), reference.emulate(network, x))


def test_a_guess_that_is_wrong_for_one_number_is_not_kept():
    """One entry of the table differs from a shift."""
    trigger = column(0, 255)
    shift = np.arange(256) >> 3
    for wrong in (0, 1, 7, 8, 100, 254, 255):
        table = shift.copy()
        table[wrong] += 1
        for entries, right in ((shift, True), (table, wrong in (7, 255))):  # at those two it is a step that comes early
            chain = (Lookup("looked", "trigger", entries, FixedPoint(7, 0)),)
            found = require_proved(summed(trigger, chain), chain)
            if not right:
                assert found is None
            elif entries is shift:
                assert found is not None


def test_constants_lie_by_row_and_do_nothing_where_no_column_is():
    low, high = np.array([-5, 0, 7]), np.array([-5, 2**15 - 1, 9])
    trigger = Input("trigger", ("a", "b", "c"), low, high, FixedPoint(16, 0))
    chain = (Cast("scaled", "trigger", FixedPoint(16, 0)),)
    network = summed(trigger, chain)
    columns = [Column(-5, -5, 1), Column(0, 9, -3, -2, 1, 1, 2, 3, -4, 5), Column(7, 9, 0)]
    found = constants(network, columns, 64)
    assert found.shape == (2 + len(CONSTANTS), 64)
    assert found[0, :3].tolist() == low.tolist()
    assert found[1].view(np.uint16).tolist() == [0, 2**15 - 1, 2, *61 * [2**16 - 1]]
    for row, name in enumerate(CONSTANTS, 2):
        assert found[row].tolist() == [*(getattr(c, name) for c in columns), *61 * [0]]
    assert not found[0, 3:].any()
    assert not constants(network, None, 64)[2:].any()
