"""The native emulator equals the reference: every instruction set, operation, mode, shape, and width of its lanes."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from native_networks import (
    MODES,
    arbitrary_network,
    edges,
    events,
    needs,
    parts,
    random_networks,
    require_equal,
    steps_of,
    wide_input,
)

from l1ad.compare import random_inputs
from l1ad.emulate import reference
from l1ad.emulate.native import Native
from l1ad.emulate.native.library import SETS
from l1ad.errors import UnsupportedError
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.network import Network
from l1ad.operations import MERGES, Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge

N_ARBITRARY = 300
NONE = np.zeros(1, np.int64), FixedPoint(1, 0)
"""No bias of one filter."""

EVERYWHERE = {
    *("ENTRANCE int16", "SUM16 int16", "SUM16 int32", "TERMS16 int16", "TERMS16 int32", "SUM int32", "SUM int64"),
    *(f"{kind} int{lanes}" for kind in ("MAP", "MERGE", "MASK") for lanes in (16, 32, 64)),
    *("DOT16 int32", "DOT int32", "DOT int64", "GATHER", "I16", "I32", "I64"),
    *(f"{kind} -> {format}" for kind in ("SUM", "MAP", "MERGE", "MASK", "DOT") for format in ("I16", "I32", "I64")),
    *(f"{kind} -> {format}" for kind in ("SUM16", "TERMS16") for format in ("I16", "I32")),
    *("ENTRANCE -> I16", "GATHER -> I16", "entrance saturates", "entrance keeps raw"),
    *("entrance goes_up", "entrance goes_down", "entrance turns", "entrance cuts"),
}
WITH_BYTES = {
    *("SUM8 int16", "SUM8 int32", "U8", "ENTRANCE -> U8", "GATHER -> U8", "zero -128", "zero lowest"),
    *(f"{kind} -> U8" for kind in ("SUM8", "SUM16", "TERMS16", "SUM", "MAP", "MERGE", "MASK", "DOT", "DOT16")),
    *("SUM8 -> I16", "SUM8 -> I32"),
}


@pytest.fixture(params=SETS)
def isa(request, require):
    return needs(request.param, require)


@cache
def corpus(group):
    """Networks, their events and the scores of these."""
    if group == "arbitrary":
        named = [(str(seed), arbitrary_network(seed)) for seed in range(N_ARBITRARY)]
    elif group == "shapes":
        named = [*dense_shapes(), *convolutions(), *odd_types()]
    elif group == "scalings":
        named = list(scalings())
    else:
        named = list(random_networks(group))
    every = [(name, network, events(network)) for name, network in named]
    return [(name, network, x, reference.emulate(network, x)) for name, network, x in every]


GROUPS = (12, 20, 28, "arbitrary", "scalings", "shapes")


@pytest.mark.parametrize("group", GROUPS)
def test_every_network_of_the_corpus_equals_the_reference(group, isa):
    refused = 0
    for _, network, x, expected in corpus(group):
        try:
            require_equal(network, x, isa, expected)
        except UnsupportedError as error:
            assert "native emulation has 64 bits, not the " in str(error)  # noqa: PT017
            refused += 1
    assert refused <= (len(corpus(group)) // 100 if group == "arbitrary" else 0)


def test_the_corpus_covers_every_arithmetic_and_every_format(isa):
    found = set()
    for group in GROUPS[:-1]:
        for _, network, _, _ in corpus(group):
            try:
                found |= parts(Native(network, isa))
            except UnsupportedError:
                continue
    assert EVERYWHERE - found == set()
    if isa != "portable":
        assert WITH_BYTES - found == set()


# shapes


def random_numbers(rng, kind, shape):
    return rng.integers(kind.min_raw, kind.max_raw, shape, endpoint=True)


def small(rng, n_in, n_out):
    """Weights and biases of one byte each."""
    kind = FixedPoint(6, 3)
    return random_numbers(rng, kind, (n_in, n_out)), kind, random_numbers(rng, kind, n_out), kind


def dense_shapes():
    """Every number of outputs from 1 to 9 of every number of inputs from 1 to 70, twice: in bytes and in 16 bits."""
    for n_in, n_out in product(range(1, 71), range(1, 10)):
        if n_in > 9 and n_out != 1 + n_in % 9 and n_out != 1 + 4 * n_in % 9:
            continue
        rng = np.random.default_rng([n_in, n_out])
        trigger = wide_input(n_in, -40, 50, FixedPoint(7, 2))
        scaled = FixedPoint(7, 1, True, "RND", "SAT") if n_in % 2 else FixedPoint(12, 4, True, "TRN", "WRAP")
        yield (
            f"dense {n_in} {n_out}",
            Network(
                (
                    trigger,
                    Cast("scaled", "trigger", scaled),
                    Dense("hidden", "scaled", *small(rng, n_in, n_out), None, FixedPoint(8, 2, False, "RND", "SAT")),
                    Dense("score", "hidden", *small(rng, n_out, 1), None, FixedPoint(20, 5)),
                )
            ),
        )


def convolutions():
    """Filters in odd numbers, padding, strides, channels; in one dimension too; what is padded may lie far from 0."""
    geometries = (
        ((4, 5, 1), (2, 3), (1, 1), (1, 1, 1, 1)),
        ((3, 4, 2), (2, 2), (2, 1), (0, 1, 1, 0)),
        ((5, 5, 3), (3, 3), (1, 2), (2, 0, 0, 2)),
        ((1, 17, 1), (1, 4), (1, 3), (0, 0, 2, 1)),
        ((1, 9, 5), (1, 2), (1, 1), (0, 0, 0, 0)),
        ((6, 1, 4), (6, 1), (1, 1), (0, 0, 0, 0)),
        ((2, 2, 7), (1, 1), (1, 1), (1, 1, 1, 1)),
    )
    ranges = ((-40, 50), (0, 200), (100, 300), (-300, -100), (-200, 40), (-3000, 3000))
    for (number, geometry), filters, ends in product(enumerate(geometries), (1, 3, 4, 6), ranges):
        shape, kernel, strides, padding = geometry
        rng = np.random.default_rng([number, filters, ends[1] + 5000])
        trigger = wide_input(int(np.prod(shape)), *ends, FixedPoint(14, 0))
        kind = FixedPoint(6, 3)
        weight = random_numbers(rng, kind, (*kernel, shape[2], filters))
        bias = random_numbers(rng, kind, filters), kind
        dropping = FixedPoint(30, 1, True, "RND", "WRAP") if number % 2 else None
        reader = "trigger" if filters == 3 else "shifted"
        out = FixedPoint(9, 0, True, "RND_CONV", "WRAP" if filters % 2 else "SAT")
        convolved = Convolution("image", reader, shape, weight, kind, *bias, strides, padding, dropping, out)
        n_out = len(convolved.windows()) * filters
        yield (
            f"convolution {geometry} {filters} {ends}",
            Network(
                (
                    trigger,
                    *((Cast("shifted", "trigger", FixedPoint(15, 0)),) if reader == "shifted" else ()),
                    convolved,
                    Dense("score", "image", *small(rng, n_out, 1), None, FixedPoint(24, 5)),
                )
            ),
        )


def odd_types():
    """Types of one bit, symmetric and unsigned ones, casts that drop forty bits."""
    numbers = wide_input(5, -(2**50), 2**50 - 1, FixedPoint(51, 45))
    weight = np.array([[3, -1], [1, 1], [-2, 5], [7, 0], [1, -3]])
    for rounding, overflow in MODES:
        for signed in (True, False):
            one_bit = FixedPoint(1, 5, signed, rounding, overflow)
            seven = FixedPoint(7, 5, signed, rounding, overflow)
            for last in (one_bit, seven):
                yield (
                    f"forty bits to {last}",
                    Network(
                        (
                            numbers,
                            Cast("few", "trigger", seven),
                            Dense(
                                "sums", "few", weight, FixedPoint(5, 2), np.array([0, 3]), FixedPoint(5, 7), None, last
                            ),
                            Dense(
                                "wide",
                                "trigger",
                                weight,
                                FixedPoint(5, 0),
                                np.array([0, 3]),
                                FixedPoint(5, 5),
                                None,
                                last,
                            ),
                            Merge("both", "subtract", "sums", "wide", FixedPoint(8, 5)),
                            Dot("score", "both", "both", None, FixedPoint(17, 10)),
                        )
                    ),
                )


def scalings():
    """What shifts, rounds and saturates the columns, in one or two casts, before a layer of bytes or of 16 bits."""
    chains = (
        (FixedPoint(10, 1), FixedPoint(7, -1, True, "RND_CONV", "SAT")),
        (FixedPoint(12, 0, True, "RND_CONV", "SAT"),),
        (FixedPoint(12, 0, True, "RND_INF", "SAT_SYM"), FixedPoint(8, 0, False, "TRN", "SAT")),
        (FixedPoint(16, 6, True, "TRN", "SAT"),),
        (FixedPoint(9, 3), FixedPoint(8, 0, True, "TRN_ZERO", "WRAP")),
    )
    for number, (chain, masked) in enumerate(product(chains, (False, True))):
        rng = np.random.default_rng(number)
        low, high = np.array([-400, 0, -7, 5, -1000]), np.array([400, 2047, 7, 5, -3])
        casts = [Cast(f"scaled{i}", f"scaled{i - 1}" if i else "trigger", out) for i, out in enumerate(chain)]
        last = casts[-1].name
        present = Mask("present", last, "trigger", np.array([1, 1, 2, 4, 0]), chain[-1])
        dense = Dense("score", "present" if masked else last, *small(rng, 5, 1), None, FixedPoint(30, 6))
        trigger = Input("trigger", tuple(f"column{i}" for i in range(5)), low, high, FixedPoint(12, 3))
        yield f"scaling {number}", Network((trigger, *casts, *((present,) if masked else ()), dense))


def test_rows_of_any_number_of_columns(isa):
    """Vectors have tails of every length, in rows and columns of int16, scaled to bytes, to 16 bits, or raw."""
    for n in range(1, 131):
        rng = np.random.default_rng(n)
        ends = rng.integers(-30, 1, n), rng.integers(0, 30, n)
        trigger = Input("trigger", tuple(f"column{i}" for i in range(n)), *ends, FixedPoint(6, 1))
        bytes_, words = FixedPoint(6, 0, True, "RND_CONV", "SAT"), FixedPoint(16, 9, True, "TRN", "SAT")
        dense = Dense("score", "scaled", *small(rng, n, 1), None, FixedPoint(22, 5))
        wide = Dense("score", "scaled", *small(rng, n, 1), None, FixedPoint(32, 9))
        index = rng.permutation(n)
        networks = {
            "QUADS": (trigger, Cast("scaled", "trigger", bytes_), dense),
            "PAIRS": (trigger, Cast("scaled", "trigger", words), wide),
            "RAW": (trigger, Dense("score", "trigger", *small(rng, n, 1), None, FixedPoint(22, 5))),
            "BOTH": (
                trigger,
                Cast("scaled", "trigger", words),
                Mask("present", "scaled", "trigger", index, words),
                Dense("score", "present", *small(rng, n, 1), None, FixedPoint(32, 9)),
            ),
        }
        for name, operations in networks.items():
            if n > 70 and name != "QUADS":  # which takes twice as many columns at once
                continue
            network = Network(operations)
            x = random_inputs(network, 120)[-129:]
            native = require_equal(network, x, isa)
            if name != "RAW":
                assert native.plan.c.is_scaled
                assert native.plan.c.keeps_raw == (name == "BOTH")


# every number of a column


def networks_of_a_column(trigger, last):
    """Networks that bring a column of integers into a type: at the entrance, by maps, merges, masks, sums."""
    one, exact = np.array([[1]]), FixedPoint(40, 4)
    low, high = int(trigger.low[0]), int(trigger.high[0])
    weight = one, FixedPoint(2, 0), *NONE, None
    far = Affine("far", "trigger", np.array([2**20]), FixedPoint(22, 20), *NONE, FixedPoint(34, 22))
    table = Lookup("table", "trigger", np.arange(low, high + 1), FixedPoint(12, 2))
    other = Mask("other", "trigger", "trigger", np.array([0]), FixedPoint(12, 2))
    pair = Merge("score", "subtract", "made", "other", exact)
    yield (trigger, Cast("score", "trigger", last))
    again = Cast("other", "trigger", FixedPoint(12, 2))  # of two readers, none is at the entrance
    yield (trigger, Cast("made", "trigger", last), again, pair)
    yield (trigger, Affine("made", "trigger", np.array([257]), FixedPoint(10, 8), *NONE, last), again, pair)
    yield (trigger, table, Merge("score", "minimum", "table", "trigger", last))
    yield (trigger, Mask("score", "trigger", "trigger", np.array([0]), last))
    yield (trigger, Dense("score", "trigger", *weight, last))
    yield (trigger, Dense("made", "trigger", *weight, last), other, pair)
    yield (trigger, far, Dense("score", "far", *weight, last))


@pytest.mark.parametrize("rounding", ROUNDING)
def test_every_number_of_one_column_in_every_mode(rounding, isa):
    trigger, found = wide_input(1, -(2**11), 2**11 - 1, FixedPoint(12, 2)), set()
    x = np.arange(-(2**11), 2**11, dtype=np.int16)[:, None]
    types = ((1, True), (5, True), (8, False), (14, True))
    for overflow, frac, (width, signed) in product(OVERFLOW, (-2, 1, 4), types):
        last = FixedPoint(width, frac, signed, rounding, overflow)
        for operations in networks_of_a_column(trigger, last):
            found |= parts(require_equal(Network(operations), x, isa))
    ways = {
        "ENTRANCE int16",
        "MAP int16",
        "MAP int32",
        "MERGE int16",
        "MASK int16",
        "SUM16 int16",
        "SUM int64",
    }
    assert ways - found == set()


def test_every_product_of_two_columns_in_every_mode(isa):
    """Products that are cast before they are summed, and those of a dot."""
    rows = np.stack(np.meshgrid(np.arange(-32, 32), np.arange(-16, 16)), axis=-1).reshape(-1, 2)
    trigger = Input("trigger", ("x", "y"), rows.min(axis=0), rows.max(axis=0), FixedPoint(6, 1))
    weight = np.array([[7, -3, 1, 0, 5], [-8, 5, 2, -1, 6]])
    for rounding, overflow in MODES:
        for width in (4, 9, 20):
            kind = FixedPoint(width, 1, True, rounding, overflow)
            bias = np.array([3, -3, 1, 0, 2]), FixedPoint(4, 3)
            wide = FixedPoint(24, 1)
            network = Network(
                (
                    trigger,
                    Dense("sums", "trigger", weight, FixedPoint(4, 2), *bias, kind, wide),
                    Merge("swapped", "subtract", "sums", "sums", FixedPoint(25, 1)),
                    Merge("both", "add", "swapped", "sums", FixedPoint(25, 1)),
                    Dot("dot", "trigger", "trigger", kind, wide),
                    Dense("sum", "both", np.array([[1], [3], [9], [27], [81]]), FixedPoint(8, 0), *NONE, None, wide),
                    Merge("score", "add", "dot", "sum", FixedPoint(34, 1)),
                )
            )
            require_equal(network, rows, isa)


# what was wrong once, or easily goes wrong


def test_padding_is_zero_where_no_number_of_the_image_is(isa):
    trigger = wide_input(9, 100, 300, FixedPoint(10, 0))
    weight = np.arange(1, 10).reshape(3, 3, 1, 1)
    shape = (3, 3, 1), weight, FixedPoint(8, 0), *NONE, (1, 1), (1, 1, 1, 1), None, FixedPoint(20, 0)
    network = Network(
        (
            trigger,
            Cast("image", "trigger", FixedPoint(9, 0, False, "TRN", "SAT")),
            Convolution("filters", "image", *shape),
            Dot("score", "filters", "filters", None, FixedPoint(60, 0)),
        )
    )
    require_equal(network, events(network), isa)


@pytest.mark.parametrize("n", range(1, 10))
def test_nothing_of_the_block_before_is_seen(n, isa):
    """Behind the last column lies what the block before has left there."""
    rng = np.random.default_rng(n)
    trigger, number = wide_input(n, -4000, 4000, FixedPoint(14, 0)), FixedPoint(16, 0, True, "TRN", "SAT")
    weight = rng.integers(-100, 100, (n, 8)), FixedPoint(10, 0)
    scale = np.ones(n, np.int64), FixedPoint(2, 0), np.full(n, 3), FixedPoint(4, 0)
    for out in (number, FixedPoint(15, 0, True, "TRN", "SAT"), FixedPoint(40, 0), FixedPoint(30, 0)):
        network = Network(
            (
                trigger,
                Affine("scaled", "trigger", *scale, number),
                Dot("squares", "scaled", "scaled", None, FixedPoint(40, 0)),
                Dense("dense", "trigger", *weight, rng.integers(-100, 100, 8), FixedPoint(10, 0), None, out),
                Dot("others", "dense", "dense", None, FixedPoint(60, 0)),
                Merge("score", "add", "squares", "others", FixedPoint(62, 0)),
            )
        )
        require_equal(network, events(network), isa)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("width", [24, 31, 32, 33])
def test_a_number_at_the_end_of_its_lanes_saturates_to_a_byte(width, sign, isa):
    """What is stored is a number less a zero, which the lanes must hold too."""
    kind = FixedPoint(width, 0)
    low, high = kind.min_raw + 1, kind.max_raw
    trigger = wide_input(1, low, high, kind)
    x = np.array([low, low + 1, low + 127, low + 128, low + 129, -129, -128, -1, 0, 1, 127, 128, high - 128, high])
    for start, scale in product(
        (FixedPoint(8, 0, True, "TRN", "SAT"), FixedPoint(9, 2, True, "RND", "SAT_SYM")), (1, -1)
    ):
        if scale == -1:
            first = Affine("byte", "trigger", np.array([sign]), FixedPoint(2, 0), *NONE, start)
        else:
            first = Cast("byte", "trigger", start)
        network = Network(
            (trigger, first, Dense("score", "byte", np.array([[3]]), FixedPoint(8, 0), *NONE, None, FixedPoint(30, 0)))
        )
        require_equal(network, x[:, None], isa)


def test_a_result_whose_partial_sums_are_far_larger_is_still_widened(isa):
    """The network's proof is of the sum: 1000 .. 1001 less 1000 .. 1001 is small."""
    trigger = wide_input(2, 1000, 1001, FixedPoint(12, 0))
    x = np.array([[1000, 1001], [1001, 1000], [1001, 1001]])
    difference = np.array([[1], [-1]]), FixedPoint(2, 0), *NONE, None
    for operations in (
        (Dense("score", "trigger", *difference, FixedPoint(63, 58)),),
        (Dense("few", "trigger", *difference, FixedPoint(12, 0)), Cast("score", "few", FixedPoint(63, 58))),
    ):
        network = Network((trigger, *operations))
        try:
            native = Native(network, isa)
        except UnsupportedError as error:
            assert "native emulation has 64 bits, not the " in str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(native.scores(x), reference.emulate(network, x))


def test_networks_of_few_operations(isa):
    """The input alone is a network; so is one that only scales it."""
    trigger = wide_input(1, -7, 7, FixedPoint(4, 0))
    x = np.arange(-7, 8)[:, None]
    require_equal(Network((trigger,)), x, isa)
    native = require_equal(Network((trigger, Cast("score", "trigger", FixedPoint(5, 1)))), x, isa)
    assert steps_of(native, "score") == ["ENTRANCE int16 -> I16"]
    far = wide_input(1, -(2**50), 2**50 - 1, FixedPoint(51, 0))
    require_equal(Network((far,)), np.array([[-(2**50)], [0], [2**50 - 1]]), isa)


@pytest.mark.parametrize("how", MERGES)
def test_numbers_of_sixty_three_bits(how, isa):
    """Merges, dots and sums up to the largest numbers that a network may have."""
    trigger, full = wide_input(2, -(2**30), 2**30 - 1, FixedPoint(31, 5)), FixedPoint(63, 10)
    weight = np.array([[1], [-1]]) if how == "multiply" else np.array([[2**25], [-(2**26)]])
    saturated = FixedPoint(62, 9, True, "RND", "SAT")
    network = Network(
        (
            trigger,
            Merge("merged", how, "trigger", "trigger", full if how == "multiply" else FixedPoint(32, 5)),
            Dense("sum", "merged", weight, FixedPoint(28, 0 if how == "multiply" else 5), *NONE, None, saturated),
            Dot("dot", "trigger", "trigger", None, saturated),
            Merge("score", "minimum", "dot", "sum", FixedPoint(62, 9)),
        )
    )
    native = require_equal(network, edges(network), isa)
    assert steps_of(native, "sum") == ["SUM int64 -> I64"]
    assert steps_of(native, "dot") == ["DOT int64 -> I64"]
    assert steps_of(native, "score") == ["MERGE int64 -> I64"]


RESIDUAL_INPUTS = (
    FixedPoint(8, 0, True, "RND", "SAT"),  # bytes, less a zero
    FixedPoint(7, 1, False, "TRN", "SAT"),  # bytes
    FixedPoint(11, 2, True, "RND_CONV", "SAT"),
)


@pytest.mark.parametrize("scaled", RESIDUAL_INPUTS, ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["everywhere", "masked"])
@pytest.mark.parametrize("how", ["add", "subtract"])
def test_a_residual_and_its_squares_are_one_step(how, masked, scaled, isa):
    for n in (1, 2, 3, 4, 5, 7, 8, 9, 31, 57):
        rng = np.random.default_rng([n, masked])
        trigger = wide_input(n, -40, 50, FixedPoint(7, 0))
        decoded = FixedPoint(9, 3, True, "RND", "SAT")
        wide = FixedPoint(15, 3)
        operations = [
            trigger,
            Cast("scaled", "trigger", scaled),
            Dense("decoded", "scaled", *small(rng, n, n), None, decoded),
            Merge("difference", how, "scaled", "decoded", wide),
        ]
        if masked:
            operations.append(Mask("present", "difference", "trigger", rng.integers(0, n, n), wide))
        last = operations[-1].name
        operations.append(Dot("squares", last, last, None, FixedPoint(40, 6)))
        operations.append(Cast("score", "squares", FixedPoint(18, 0, False, "RND", "SAT")))
        network = Network(tuple(operations))
        native = require_equal(network, edges(network), isa)
        assert [name for name, step in native.plan.steps if step.startswith("RESIDUAL")] == ["score"]
