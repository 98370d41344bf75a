from itertools import product

import numpy as np
import pytest

from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import random_network
from l1ad.hardware.resources import ESTIMATE, METHOD, Resources, _cost, _signed_digits, estimate
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Merge


def two_inputs(weights, bias, out):
    """One dense layer on two 8-bit integers: the sum is the score."""
    trigger = Input("trigger", ("a", "b"), np.full(2, -128), np.full(2, 127), FixedPoint(8, 0))
    weight = np.array([[w] for w in weights])
    return Network(
        (trigger, Dense("score", "trigger", weight, FixedPoint(8, 0), np.array([bias]), FixedPoint(4, 0), None, out))
    )


WIDE = FixedPoint(20, 0)


@pytest.mark.parametrize(
    ("weights", "bias", "out", "lut", "levels"),
    [
        # 7 = 8 - 1 and 3 = 4 - 1: one adder each, 8 + 3 and 8 + 2 bits; three terms in 2 adders of the sum's 12
        # bits (-1280 .. 1271); 1 level in the multipliers, 2 in the tree
        ((7, 3), 1, WIDE, 11 + 10 + 2 * 12, 3),
        ((-7, -3), 1, WIDE, 11 + 10 + 2 * 12, 3),
        # powers of two are wires: one adder of 11 bits (-768 .. 762), one level
        ((4, 2), 0, WIDE, 11, 1),
        # 11 = 8 + 4 - 1: two adders of 8 + 4 bits in two levels; a weight of 0 and no bias: no tree
        ((11, 0), 0, WIDE, 2 * 12, 2),
        ((1, 0), 0, WIDE, 0, 0),
        ((0, 0), 0, WIDE, 0, 0),
        # as the first, and a cast of 6 bits that rounds (6 LUT, one level) and saturates (6 LUT, one level)
        ((7, 3), 1, FixedPoint(6, -2, True, "RND", "SAT"), 45 + 12, 5),
        ((7, 3), 1, FixedPoint(6, -2, True, "TRN", "SAT"), 45 + 6, 4),
        ((7, 3), 1, FixedPoint(6, -2, True, "RND_CONV", "WRAP"), 45 + 6, 4),
    ],
)
def test_adders_counted_by_hand(weights, bias, out, lut, levels):
    row = estimate(two_inputs(weights, bias, out), Target(clock_ns=0.9))
    cycles = max(levels, 1)
    assert row == Resources(
        ESTIMATE, METHOD, "xcvu13p-flga2577-2-e", 0.9, lut, None, 0, 0, cycles, 1, pytest.approx(0.9 * cycles)
    )


SHORT = FixedPoint(8, 0)
SEVEN, NOTHING = np.full(2, 7), np.zeros(2, np.int64)


@pytest.mark.parametrize(
    ("operation", "lut", "levels"),
    [
        (Affine("o", "x", SEVEN, SHORT, NOTHING, SHORT, WIDE), 2 * 11, 1),
        (Affine("o", "x", SEVEN, SHORT, np.ones(2, np.int64), SHORT, WIDE), 2 * (11 + 11), 2),  # -895 .. 890
        (Merge("o", "add", "x", "x", WIDE), 2 * 9, 1),
        (Merge("o", "subtract", "x", "x", FixedPoint(8, 0, True, "TRN", "SAT")), 2 * (9 + 8), 2),
        (Merge("o", "multiply", "x", "x", WIDE), 2 * 8 * 8, 3),
        (Cast("o", "x", FixedPoint(4, -1, True, "RND", "SAT")), 2 * (4 + 4), 2),
        (Cast("o", "x", FixedPoint(4, -1)), 0, 0),
        (Lookup("o", "x", np.zeros(256, np.int64), FixedPoint(6, 0)), 2 * 6 * 4, 2),  # 256 entries in 4 LUT a bit
        # one window for each of two pixels
        (
            Convolution("o", "x", (1, 2, 1), np.full((1, 1, 1, 1), 7), SHORT, np.zeros(1, np.int64), SHORT, (1, 1),
                        (0, 0, 0, 0), None, WIDE),
            2 * 11, 1,
        ),
        # squares at half price, and one adder of their sum, of 16 bits
        (Dot("o", "x", "x", None, WIDE), 2 * 8 * 8 // 2 + 16, 4),
    ],
)  # fmt: skip
def test_every_operation_is_counted(operation, lut, levels):
    trigger = Input("x", ("a", "b"), np.full(2, -128), np.full(2, 127), SHORT)
    ends = () if isinstance(operation, Dot) else (Dot("score", "o", "o", None, FixedPoint(8, 0)),)
    assert _cost(operation, Network((trigger, operation, *ends))) == (lut, levels)


def test_latency_is_in_whole_clocks():
    network = two_inputs((7, 3), 1, WIDE)  # 3 levels of 0.9 ns
    assert [estimate(network, Target(clock_ns=clock)).latency_cycles for clock in (5.0, 2.8, 2.6, 1.0)] == [1, 1, 2, 3]
    assert estimate(network, Target(clock_ns=2.6)).latency_ns == 5.2


def test_layers_add_up_along_the_longest_path(rng):
    network = random_network(rng, ROUNDING, OVERFLOW, "reconstruction")
    row = estimate(network, Target(clock_ns=1.0))
    assert row.lut > 0
    assert row.latency_cycles >= len(network.operations) * 0.9 // 2
    assert "not calibrated" not in row.tool
    assert "no sub-expression shared" in row.tool


def test_an_estimate_with_reuse_is_refused():
    with pytest.raises(ValueError, match="resource estimate needs reuse_factor 1, not 2; synthesise instead"):
        estimate(two_inputs((7, 3), 1, WIDE), Target(reuse_factor=2))


@pytest.mark.parametrize(
    ("weight", "digits"),
    [
        *((0, 0), (1, 1), (-1, 1), (2, 1), (3, 2), (-5, 2), (7, 2), (11, 3), (21, 3), (31, 2)),
        *((43, 4), (85, 4), (127, 2), (-128, 1)),
    ],
)
def test_canonical_signed_digits(weight, digits):
    assert _signed_digits(weight) == digits


def test_no_sum_of_signed_powers_of_two_is_shorter():
    powers = [sign << k for sign, k in product((1, -1), range(10))]
    fewest, reached = {0: 0}, {0}
    for n in range(1, 6):
        reached = {value + power for value in reached for power in powers}
        for value in reached:
            fewest.setdefault(value, n)
    assert {w: _signed_digits(w) for w in range(-256, 257)} == {w: fewest[w] for w in range(-256, 257)}


def test_a_stage_that_there_is_not():
    with pytest.raises(ValueError, match=r"stage must be one of .*'place-and-route'.*, not 'guess'"):
        Resources("guess", "tool", "part", None, *[None] * 7)
