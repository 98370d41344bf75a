import json
from dataclasses import fields, replace

import numpy as np
import pytest

from l1ad.files import digest
from l1ad.fixed import FixedPoint
from l1ad.network import Network, aligned, flow
from l1ad.operations import (
    KINDS,
    Affine,
    Cast,
    Convolution,
    Dense,
    Dot,
    Input,
    Lookup,
    Mask,
    Merge,
    rescale,
)

HARDWARE = FixedPoint(9, 0)
WIDE = FixedPoint(16, 4)
SCORE = FixedPoint(18, 4, False, "TRN", "SAT")


def ints(*values):
    return np.array(values, np.int64)


def trigger(name="trigger", columns=("pt", "eta"), low=(0, -100), high=(255, 100), out=HARDWARE):
    return Input(name, columns, ints(*low), ints(*high), out)


def scaled(name="scaled", x="trigger", offset=(10, 0), shift=(4, 2), out=WIDE):
    return rescale(name, x, HARDWARE, ints(*offset), ints(*shift), out)


def dense(name="code", x="scaled", weight=((1, -2, 3), (4, 5, -6)), bias=(7, 8, 9), product=None, out=WIDE, **types):
    weight, bias = np.array(weight, np.int64), ints(*bias)
    kinds = {"weight_type": FixedPoint(8, 5), "bias_type": FixedPoint(8, 3)} | types
    return Dense(name, x, weight, kinds["weight_type"], bias, kinds["bias_type"], product, out)


def score(name="score", x="code", out=SCORE):
    return Dot(name, x, x, None, out)


GOOD = (trigger(), scaled(), dense(), score())

# each of the nine operations once; the convolution has two windows, of one row of the image each
EVERY = {
    "trigger": Input("trigger", tuple("abcd"), ints(-1, 0, 0, -4), ints(3, 2, 1, 3), FixedPoint(3, 0)),
    "filters": Convolution(
        "filters", "trigger", (2, 2, 1), np.array([[[[2, -1]], [[0, 3]], [[1, 1]]]]), FixedPoint(3, 1), ints(1, -2),
        FixedPoint(3, 2), (1, 2), (0, 0, 0, 1), FixedPoint(6, 1, True, "RND"), FixedPoint(6, 1),
    ),
    "address": Cast("address", "filters", FixedPoint(3, 0, True, "TRN", "SAT_SYM")),
    "table": Lookup("table", "address", ints(5, -1, 0, 7, 2, -8, 3), FixedPoint(4, 1)),
    "sum": Merge("sum", "add", "table", "address", FixedPoint(4, 0, True, "TRN", "SAT")),
    "shown": Mask("shown", "sum", "trigger", ints(0, 1, 2, 3), FixedPoint(5, 0)),
    "scaled": Affine("scaled", "shown", ints(1, 2, 3, 0), FixedPoint(3, 1), ints(0, 1, 1, -1), FixedPoint(3, 0), WIDE),
    "code": dense(weight=((1, -2), (4, 5), (0, 1), (2, 2)), bias=(7, 8), product=FixedPoint(20, 5), out=WIDE),
    "score": score(),
}  # fmt: skip


def replaced(position, operation):
    return (*GOOD[:position], operation, *GOOD[position + 1 :])


@pytest.mark.parametrize(
    ("operations", "error", "text"),
    [
        ((), ValueError, "network must begin with its Input operation"),
        (GOOD[1:], ValueError, "network must begin with its Input operation"),
        (replaced(1, scaled("two words")), ValueError, "operation 'two words': name must be an identifier"),
        (replaced(1, scaled("trigger")), ValueError, "operation 'trigger': name must be unique"),
        ((trigger(), trigger("again"), *GOOD[1:]), ValueError, "'again': only the first operation may be an Input"),
        (replaced(1, scaled(x="nobody")), ValueError, "'scaled': reads 'nobody', which no earlier operation is"),
        (replaced(1, scaled(x="code")), ValueError, "'scaled': reads 'code', which no earlier operation is called"),
        (replaced(1, scaled(x="scaled")), ValueError, "'scaled': reads 'scaled', which no earlier operation is"),
        (replaced(3, score(x="scaled")), ValueError, r"operations \['code'\] are read by no other; remove them"),
        (GOOD[:3], ValueError, "'code': the last operation is the score and must have 1 element, not 3"),
        (replaced(0, trigger(low=(0,))), ValueError, r"'trigger': low must have shape \(2,\) and not be empty"),
        (replaced(0, trigger(high=(1, 2, 3))), ValueError, r"high must have shape \(2,\) .* not \(3,\)"),
        (replaced(0, trigger(columns=(), low=(), high=())), ValueError, r"low must have shape \(0,\) and not be empty"),
        (replaced(0, trigger(low=(0, 101))), ValueError, r"column 'eta' must lie in ap_fixed<9,9.* not 101 \.\. 100"),
        (replaced(0, trigger(high=(256, 0))), ValueError, r"column 'pt' must lie in ap_fixed<9,9.* not 0 \.\. 256"),
        (replaced(0, trigger(low=(-257, 0))), ValueError, r"column 'pt' must lie in ap_fixed<9,9.* not -257 \.\. 255"),
        (replaced(1, scaled(shift=(0, 56), offset=(0, 0))), ValueError, "'scaled': exact result needs 65 bits, more"),
        (replaced(1, scaled(out=FixedPoint(8, -63))), ValueError, r"'scaled': cast from 4 .* drops 67 bits"),
        (replaced(1, scaled(out=FixedPoint(8, 63))), ValueError, r"'scaled': cast to .* to append 59 fractional bits"),
        (replaced(2, dense(weight=((1, 2, 3),))), ValueError, r"'code': weight must have shape \(2, 3\)"),
        (replaced(2, dense(weight=(1, 2))), ValueError, r"'code': weight must have 2 dimensions, not shape \(2,\)"),
        (replaced(2, dense(bias=(1, 2))), ValueError, r"'code': bias must have shape \(3,\) .* not \(2,\)"),
        (replaced(2, dense(weight_type=FixedPoint(3, 5))), ValueError, r"weight must lie in .*<3,-2.* raw -6 \.\. 5"),
        (replaced(2, dense(weight_type=FixedPoint(8, 5, False))), ValueError, r"weight must lie in ap_ufixed<8,3"),
        (replaced(2, dense(bias_type=FixedPoint(4, 3))), ValueError, r"bias must lie in ap_fixed<4,1.* raw 7 \.\. 9"),
        (replaced(2, dense(bias_type=FixedPoint(8, 62))), ValueError, r"'code': exact result needs \d+ bits"),
        (
            (*GOOD[:3], Merge("left", "subtract", "code", "scaled", WIDE), score(x="left")),
            ValueError,
            "'left': operands must be of one size, not 3 and 2",
        ),
        (
            (*GOOD[:3], Mask("shown", "code", "trigger", ints(0, 0), WIDE), score(x="shown")),
            ValueError,
            r"'shown': index must have shape \(3,\) and not be empty, not \(2,\)",
        ),
        (
            (*GOOD[:3], Mask("shown", "code", "trigger", ints(0, 1, 2), WIDE), score(x="shown")),
            ValueError,
            r"'shown': index must be between 0 and 1, not \[0, 1, 2\]",
        ),
        (
            (*GOOD[:3], Mask("shown", "code", "trigger", ints(0, -1, 0), WIDE), score(x="shown")),
            ValueError,
            r"'shown': index must be between 0 and 1, not \[0, -1, 0\]",
        ),
        (
            replaced(1, Affine("scaled", "trigger", np.zeros(2), WIDE, ints(0, 0), WIDE, WIDE)),
            TypeError,
            "'scaled': scale must be int64, not float64",
        ),
        (
            replaced(2, Dense("code", "scaled", np.ones((2, 1), np.int32), WIDE, ints(0), WIDE, None, WIDE)),
            TypeError,
            "'code': weight must be int64, not int32",
        ),
    ],
)  # fmt: skip
def test_faults_are_named(operations, error, text):
    with pytest.raises(error, match=text):
        Network(operations)


def of(kind, **changes):
    """The smallest network around one operation of `EVERY`, or rather a change of it, up to where it is refused."""
    operations = list(EVERY.values())
    position = next(i for i, o in enumerate(operations) if isinstance(o, kind))
    return (*operations[:position], replace(operations[position], **changes), *operations[position + 1 :])


@pytest.mark.parametrize(
    ("operations", "error", "text"),
    [
        (of(Convolution, shape=(2, 2)), ValueError, "shape must be 3 integers of at least 1, not (2, 2)"),
        (of(Convolution, shape=(4, 0, 1)), ValueError, "shape must be 3 integers of at least 1, not (4, 0, 1)"),
        (of(Convolution, shape=(2.0, 2, 1)), ValueError, "shape must be 3 integers of at least 1, not (2.0, 2, 1)"),
        (of(Convolution, shape=(2, 3, 1)), ValueError, "shape (2, 3, 1) must have the 4 elements of 'trigger'"),
        (of(Convolution, strides=(1,)), ValueError, "strides must be 2 integers of at least 1, not (1,)"),
        (of(Convolution, strides=(0, 1)), ValueError, "strides must be 2 integers of at least 1, not (0, 1)"),
        (of(Convolution, padding=(0, 0, 1)), ValueError, "padding must be 4 integers of at least 0, not (0, 0, 1)"),
        (
            of(Convolution, padding=(0, 0, 0, -1)),
            ValueError,
            "padding must be 4 integers of at least 0, not (0, 0, 0, -1)",
        ),
        (
            of(Convolution, padding=(0, 0, 0, 0)),
            ValueError,
            "kernel (1, 3) must fit into the padded image of (2, 2, 1)",
        ),
        (
            of(Convolution, weight=np.ones((3, 3, 1, 2), np.int64)),
            ValueError,
            "kernel (3, 3) must fit into the padded image of (2, 2, 1)",
        ),
        (
            of(Convolution, weight=np.ones((1, 3, 2), np.int64)),
            ValueError,
            "weight must have 4 dimensions, not shape (1, 3, 2)",
        ),
        (
            of(Convolution, weight=np.ones((1, 3, 2, 2), np.int64)),
            ValueError,
            "weight must have shape (1, 3, 1, 2) and not be empty, not (1, 3, 2, 2)",
        ),
        (
            of(Convolution, weight=np.ones((0, 3, 1, 2), np.int64)),
            ValueError,
            "weight must have shape (0, 3, 1, 2) and not be empty, not (0, 3, 1, 2)",
        ),
        (of(Convolution, weight=np.ones((1, 3, 1, 2))), TypeError, "weight must be int64, not float64"),
        (
            of(Convolution, bias=ints(1, 2, 3)),
            ValueError,
            "bias must have shape (2,) and not be empty, not (3,)",
        ),
        (
            of(Convolution, weight_type=FixedPoint(2, 1)),
            ValueError,
            "weight must lie in ap_fixed<2,1,AP_TRN,AP_WRAP>, not raw -1 .. 3",
        ),
        (
            of(Convolution, bias_type=FixedPoint(1, 1, False)),
            ValueError,
            "bias must lie in ap_ufixed<1,0,AP_TRN,AP_WRAP>, not raw -2 .. 1",
        ),
        (
            of(Convolution, product=FixedPoint(63, 63)),
            ValueError,
            "cast to ap_fixed<63,0,AP_TRN,AP_WRAP> needs 67 bits to append 61 fractional bits, more than 63",
        ),
        (
            of(Convolution, product=FixedPoint(8, -63)),
            ValueError,
            "cast from 2 fractional bits to ap_fixed<8,71,AP_TRN,AP_WRAP> drops 65 bits, more than 62",
        ),
        (
            of(Dense, bias_type=FixedPoint(8, 63)),
            ValueError,
            "exact result needs 65 bits, more than 63; narrow its operands",
        ),
        (
            of(Affine, bias_type=FixedPoint(8, 60)),
            ValueError,
            "exact result needs 64 bits, more than 63; narrow its operands",
        ),
        (
            of(Affine, scale_type=FixedPoint(2, 1)),
            ValueError,
            "scale must lie in ap_fixed<2,1,AP_TRN,AP_WRAP>, not raw 0 .. 3",
        ),
        (of(Affine, scale=ints(1)), ValueError, "scale must have shape (4,) and not be empty, not (1,)"),
        (of(Affine, bias=ints(1)), ValueError, "bias must have shape (4,) and not be empty, not (1,)"),
        (
            of(Affine, bias_type=FixedPoint(1, 0, False)),
            ValueError,
            "bias must lie in ap_ufixed<1,1,AP_TRN,AP_WRAP>, not raw -1 .. 1",
        ),
        (
            of(Merge, how="divide"),
            ValueError,
            "how must be one of ('add', 'subtract', 'multiply', 'maximum', 'minimum'), not 'divide'",
        ),
        (of(Merge, y="trigger", x="nobody"), ValueError, "reads 'nobody', which no earlier operation is called"),
        (of(Lookup, table=ints(1, 2)), ValueError, "table must have shape (7,) and not be empty, not (2,)"),
        (of(Lookup, table=np.zeros(8, np.int64)), ValueError, "table must have shape (7,) and not be empty, not (8,)"),
        (of(Lookup, table=np.zeros(7)), TypeError, "table must be int64, not float64"),
        (
            of(Lookup, out=FixedPoint(4, 1, False)),
            ValueError,
            "table must lie in ap_ufixed<4,3,AP_TRN,AP_WRAP>, not raw -8 .. 7",
        ),
        (of(Dot, y="trigger"), ValueError, "operands must be of one size, not 2 and 4"),
        (
            of(Dot, product=FixedPoint(8, -60)),
            ValueError,
            "cast from 8 fractional bits to ap_fixed<8,68,AP_TRN,AP_WRAP> drops 68 bits, more than 62",
        ),
        (of(Cast, x="nobody"), ValueError, "reads 'nobody', which no earlier operation is called"),
        (
            of(Cast, out=FixedPoint(3, 63)),
            ValueError,
            "cast to ap_fixed<3,-60,AP_TRN,AP_WRAP> needs 67 bits to append 62 fractional bits, more than 63",
        ),
    ],
)  # fmt: skip
def test_faults_of_every_operation_in_full(operations, error, text):
    with pytest.raises(error) as raised:
        Network(operations)
    faulty = next(o for o in operations if o not in EVERY.values())
    assert str(raised.value) == f"operation {faulty.name!r}: {text}"


def test_tables_of_21_bits_are_refused():
    wide = Cast("address", "filters", FixedPoint(21, 0))
    with pytest.raises(ValueError, match=r"^operation 'table': tables have at most 20 bits of input, not 21$"):
        Network((*list(EVERY.values())[:2], wide, EVERY["table"]))


@pytest.mark.parametrize("product", [None, FixedPoint(8, 0)])
@pytest.mark.parametrize("kind", ["dot", "dense"])
def test_products_of_more_than_63_bits_are_refused_even_if_they_are_cast(kind, product):
    high = (1 << 40) - 1
    first = Input("x", ("c",), ints(-high), ints(high), FixedPoint(41, 0))
    if kind == "dot":
        last = Dot("y", "x", "x", product, FixedPoint(8, 0))
    else:
        last = Dense(
            "y", "x", ints(high)[None], FixedPoint(41, 0), ints(0), FixedPoint(1, 0), product, FixedPoint(8, 0)
        )
    with pytest.raises(ValueError, match=r"^operation 'y': exact result needs 81 bits, more than 63; narrow its oper"):
        Network((first, last))


def test_a_binary_point_beyond_63_bits_is_refused():
    first = Input("x", ("c",), ints(0), ints(1), FixedPoint(2, 40))
    with pytest.raises(ValueError, match=r"^operation 'y': exact result has 80 fractional bits, beyond 63; narrow"):
        Network((first, Dot("y", "x", "x", None, FixedPoint(8, 40))))


def test_an_unknown_operation_is_refused():
    class Softmax:
        name, x, out = "soft", "code", WIDE

    with pytest.raises(TypeError, match="operation 'soft': unknown operation Softmax"):
        Network((*GOOD[:3], Softmax(), score(x="soft")))


def test_sums_of_exactly_63_bits_are_taken_and_of_64_refused():
    def of(bits):
        """The square of a number of `bits` bits and sign."""
        high, square = (1 << bits) - 1, score(x="x", out=FixedPoint(63, 0, False))
        return Network((Input("x", ("c",), ints(-high), ints(high), FixedPoint(bits + 1, 0)), square))

    assert of(31).flows["score"].accumulator == FixedPoint(62, 0, False)
    with pytest.raises(ValueError, match="operation 'score': exact result needs 65 bits, more than 63; narrow"):
        of(32)


def test_ranges_of_a_network_worked_out_by_hand():
    network = Network(GOOD)
    scaled, code, total = (network.flows[name] for name in ("scaled", "code", "score"))
    # pt: (0 .. 255 - 10) / 16, eta: (-100 .. 100) / 4; exact in 1/16: pt -10 .. 245, eta -400 .. 400
    assert (scaled.low.tolist(), scaled.high.tolist()) == ([-10, -400], [245, 400])
    assert scaled.accumulator == FixedPoint(10, 4)
    # exact in 2**-9, the bias there times 64: element 0 is 1 * pt + 4 * eta + 7 * 64, and so on
    assert aligned(network["code"], network) == 9
    exact_low = [-10 - 1600 + 448, -490 - 2000 + 512, -30 - 2400 + 576]
    exact_high = [245 + 1600 + 448, 20 + 2000 + 512, 735 + 2400 + 576]
    assert code.low.tolist() == [x >> 5 for x in exact_low]
    assert code.high.tolist() == [x >> 5 for x in exact_high]
    # partial sums: -490 - 2000 at the lowest, 735 + 2400 + 576 at the highest
    assert code.accumulator == FixedPoint.holding(-2490, 3711, 9) == FixedPoint(13, 9)
    assert total.low.tolist() == [0]
    assert code.low.tolist() == [-37, -62, -58]
    assert code.high.tolist() == [71, 79, 115]
    assert total.high.tolist() == [(71**2 + 79**2 + 115**2) >> 4]


def ranges(last):
    """Accumulator, lowest and highest of one operation on three integers, the first network's `x`."""
    first = Input("x", tuple("abc"), ints(-1, 0, -2), ints(3, 2, 1), FixedPoint(3, 0))
    found = flow(last, {"x": first}, {"x": flow(first, {}, {})})
    return found.accumulator, found.low.tolist(), found.high.tolist()


NARROW = FixedPoint(4, 0, True, "TRN", "SAT")


@pytest.mark.parametrize(
    ("how", "low", "high", "accumulator"),
    [
        ("add", [-2, 0, -4], [6, 4, 2], FixedPoint(4, 0)),
        ("subtract", [-4, -2, -3], [4, 2, 3], FixedPoint(4, 0)),
        ("multiply", [0, 0, 0], [7, 4, 4], FixedPoint(4, 0, False)),  # squares, of at most 9, saturated
        ("maximum", [-1, 0, -2], [3, 2, 1], FixedPoint(3, 0)),
        ("minimum", [-1, 0, -2], [3, 2, 1], FixedPoint(3, 0)),
    ],
)
def test_ranges_of_merges_worked_out_by_hand(how, low, high, accumulator):
    assert ranges(Merge("y", how, "x", "x", NARROW)) == (accumulator, low, high)


ONE, HALVES, WHOLE = FixedPoint(2, 0), FixedPoint(3, 1), FixedPoint(8, 0)


@pytest.mark.parametrize(
    ("last", "accumulator", "low", "high"),
    [
        # 1/2 a + 1, -1/2 b, 3/2 c - 2 in halves
        (
            Affine("y", "x", ints(1, -1, 3), HALVES, ints(1, 0, -2), FixedPoint(3, 0), FixedPoint(8, 1)),
            FixedPoint(5, 1), [1, -2, -10], [5, 0, -1],
        ),
        # a - b + c / 2 in whole numbers: each term is rounded down before the sum; the bias of 1/2 becomes 0
        (
            Dense("y", "x", ints(2, -2, 1)[:, None], HALVES, ints(1), HALVES, FixedPoint(5, 0), WHOLE),
            FixedPoint(3, 0), [-1 - 2 - 1], [3],
        ),
        # products that wrap at 2 bits, -2 .. 1, may become any of these
        (
            Dense("y", "x", ints(1, 1, 1)[:, None], ONE, ints(0), ONE, FixedPoint(2, 0), WHOLE),
            FixedPoint(4, 0), [-2 - 2 - 2], [1 + 1 + 1],
        ),
        # (0, a), (a, b), (b, c), (c, 0) times (1, -1), and one more
        (
            Convolution(
                "y", "x", (1, 3, 1), ints(1, -1).reshape(1, 2, 1, 1), ONE, ints(1), ONE, (1, 1), (0, 0, 1, 1),
                None, WHOLE,
            ),
            FixedPoint(4, 0), [-2, -2, 0, -1], [2, 4, 5, 2],
        ),
        # squares of 9, 4 and 4 saturate at 7, and their partial sums end at 7 + 4 + 4
        (Dot("y", "x", "x", NARROW, FixedPoint(5, 0)), FixedPoint(4, 0, False), [0], [15]),
        (Cast("y", "x", FixedPoint(2, 0)), FixedPoint(3, 0), [-2, -2, -2], [1, 1, 1]),  # wraps, but for c
        (Cast("y", "x", FixedPoint(2, 0, False, "TRN", "SAT")), FixedPoint(3, 0), [0, 0, 0], [3, 2, 1]),
        # raw -4 .. 3 of x stand for 9 .. 2 but for one: of -1 .. 3, 0 .. 2, -2 .. 1
        (
            Lookup("y", "x", ints(9, 8, 7, 6, -5, 4, 3, 2), WHOLE), FixedPoint(4, 0), [-5, -5, -5], [6, 4, 7],
        ),
    ],
)  # fmt: skip
def test_ranges_of_every_new_operation_worked_out_by_hand(last, accumulator, low, high):
    assert ranges(last) == (accumulator, low, high)


def test_operations_are_found_by_name():
    network = Network(GOOD)
    assert network["code"] is GOOD[2]
    assert network.input is GOOD[0]
    assert network.score is GOOD[3]
    with pytest.raises(KeyError, match=r"network has no operation 'kode'; it has \['trigger', 'scaled'"):
        network["kode"]


def test_equality_and_hash_follow_the_content():
    assert Network(GOOD) == Network((trigger(), scaled(), dense(), score()))
    assert hash(Network(GOOD)) == hash(Network((trigger(), scaled(), dense(), score())))
    assert Network(GOOD) != Network(replaced(2, dense(bias=(7, 8, 10))))
    assert Network(GOOD) != GOOD


@pytest.mark.parametrize("element", [(0, 0), (1, 2)])
@pytest.mark.parametrize("bit", range(7))
def test_digest_changes_with_any_bit_of_a_weight(element, bit):
    weight = np.array(GOOD[2].weight)
    weight[element] ^= 1 << bit
    assert Network(replaced(2, dense(weight=weight))).digest != Network(GOOD).digest


OTHER = FixedPoint(7, 1)
CHANGES = [
    ("trigger", {"columns": tuple("abce")}),
    ("trigger", {"low": ints(-1, 0, 0, -3)}),
    ("trigger", {"high": ints(3, 2, 2, 3)}),
    ("trigger", {"out": FixedPoint(4, 0)}),
    ("filters", {"shape": (1, 4, 1)}),
    ("filters", {"weight": np.array([[[[2, -1]], [[0, 3]], [[1, 0]]]])}),
    ("filters", {"weight_type": OTHER}),
    ("filters", {"bias": ints(1, -1)}),
    ("filters", {"bias_type": OTHER}),
    ("filters", {"strides": (1, 1)}),
    ("filters", {"padding": (0, 0, 1, 0)}),
    ("filters", {"product": OTHER}),
    ("filters", {"product": None}),
    ("filters", {"out": OTHER}),
    ("address", {"out": FixedPoint(3, 0, True, "RND", "SAT_SYM")}),
    ("table", {"table": ints(5, -1, 0, 7, 2, -8, 4)}),
    ("table", {"out": OTHER}),
    *(("sum", {"how": how}) for how in ("subtract", "multiply", "maximum", "minimum")),
    ("sum", {"x": "address", "y": "table"}),
    ("sum", {"out": OTHER}),
    ("shown", {"index": ints(0, 1, 2, 2)}),
    ("shown", {"by": "table"}),
    ("shown", {"out": OTHER}),
    ("scaled", {"scale": ints(1, 2, 3, 1)}),
    ("scaled", {"scale_type": FixedPoint(4, 1)}),
    ("scaled", {"bias": ints(0, 1, 1, 1)}),
    ("scaled", {"bias_type": OTHER}),
    ("scaled", {"out": OTHER}),
    ("code", {"weight": np.ones((4, 2), np.int64)}),
    ("code", {"weight_type": OTHER}),
    ("code", {"bias": ints(7, 9)}),
    ("code", {"bias_type": OTHER}),
    ("code", {"product": None}),
    ("code", {"out": OTHER}),
    ("score", {"name": "total"}),
    ("score", {"product": OTHER}),
    ("score", {"out": OTHER}),
]


def test_every_operation_and_field_is_among_the_changes():
    assert {type(o).__name__ for o in EVERY.values()} == set(KINDS)
    changed = {(type(EVERY[name]).__name__, key) for name, change in CHANGES for key in change}
    names = {"name", "x", "y", "by"}
    assert changed >= {(kind, f.name) for kind, cls in KINDS.items() for f in fields(cls) if f.name not in names}


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_digest_changes_with_every_field(name, change):
    changed = Network(tuple({**EVERY, name: replace(EVERY[name], **change)}.values()))
    assert changed.digest != Network(tuple(EVERY.values())).digest


@pytest.fixture
def document(tmp_path):
    """The file of a network as JSON, and a function that writes it back and loads it."""
    path = tmp_path / "network.json"
    Network(GOOD).save(path)
    content = json.loads(path.read_text())

    def load(*, renewed=False):
        if renewed:
            content["digest"] = digest(content["operations"])
        path.write_text(json.dumps(content))
        return Network.load(path)

    return content, load


def test_every_operation_survives_a_file(tmp_path):
    network = Network(tuple(EVERY.values()))
    network.save(tmp_path / "network.json")
    again = Network.load(tmp_path / "network.json")
    assert again == network
    for one, other in zip(network.operations, again.operations, strict=True):
        for f in fields(one):
            a, b = getattr(one, f.name), getattr(other, f.name)
            assert type(a) is type(b), f.name
            np.testing.assert_array_equal(a, b)


def test_a_saved_network_is_the_same(document):
    content, load = document
    assert load() == Network(GOOD)
    assert content["digest"] == Network(GOOD).digest


def test_an_edited_file_is_refused(document):
    content, load = document
    content["operations"][2]["weight"][0][0] += 1
    with pytest.raises(ValueError, match=r"network\.json: digest must be \w{64}, not \w{64}: the file was edited or"):
        load()
    assert load(renewed=True)["code"].weight[0, 0] == 2


@pytest.mark.parametrize("wrong", [None, "l1ad-network/1", "l1ad-network/3"])
def test_another_format_is_refused(document, wrong):
    content, load = document
    content["format"] = wrong
    with pytest.raises(ValueError, match=r"network\.json: not a network file: format must be 'l1ad-network/2'"):
        load()


def _set(key, value):
    return lambda operation: operation.update({key: value})


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (_set("op", "Softmax"), r"operation must be one of \['Input', .* not 'Softmax'"),
        (lambda o: o.pop("op"), r"operation must be one of .* not None"),
        (_set("alpha", 1), r"Dense must have the keys \['bias', .* not \['alpha', 'bias'"),
        (lambda o: o.pop("bias"), r"Dense must have the keys \['bias', .* not \['bias_type'"),
        (_set("bias", [0.5, 1, 2]), "Dense bias must be integers"),
        (_set("bias", [True, False, True]), "Dense bias must be integers"),
        (_set("bias", [2**70, 1, 2]), "Dense bias must be integers"),
        (_set("bias", []), "Dense bias must be integers"),
        (_set("weight", [[1, 2], [3]]), "not a network file"),
        (_set("weight", [1, 2]), "operation 'code': weight must have 2 dimensions"),
        (_set("weight", None), "not a network file"),
        (_set("out", "fixed<8,3>"), r"type must read ap_\[u\]fixed"),
        (_set("out", "ap_fixed<8>"), r"type must read ap_\[u\]fixed"),
        (_set("out", 8), "not a network file"),
        (_set("name", 8), "not a network file"),
        (_set("x", "nobody"), "operation 'code': reads 'nobody'"),
    ],
)
def test_damaged_operations_are_refused(document, edit, text):
    content, load = document
    edit(content["operations"][2])
    with pytest.raises(ValueError, match=rf"network\.json: not a network file: .*{text}|network\.json: {text}"):
        load(renewed=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", '{"format": "l1ad-network/2"}', '{"format": NaN}'])
def test_files_that_are_no_networks_are_refused(tmp_path, text):
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(ValueError, match=r"network\.json: not a network file"):
        Network.load(tmp_path / "network.json")


@pytest.mark.parametrize("operations", [None, 3, [3], ["Dense"], {}])
def test_operations_of_another_kind_are_refused(document, operations):
    content, load = document
    content["operations"] = operations
    with pytest.raises(ValueError, match=r"network\.json: not a network file"):
        load()


def test_operands_of_a_merge_fit_when_aligned():
    trigger = Input("trigger", ("x", "y"), np.array([-100, -5]), np.array([0, 5]), FixedPoint(8, 0))
    zero = np.zeros(1, np.int64)
    operations = (
        trigger,
        Dense(
            "a", "trigger", np.array([[1], [0]]), FixedPoint(2, -60), zero, FixedPoint(1, -60), None, FixedPoint(8, -60)
        ),
        Dense("b", "trigger", np.array([[0], [1]]), FixedPoint(2, 0), zero, FixedPoint(1, 0), None, FixedPoint(8, 0)),
        Merge("score", "maximum", "a", "b", FixedPoint(8, 0)),
    )
    with pytest.raises(ValueError, match=r"operation 'score': exact result needs 68 bits, more than 63"):
        Network(operations)
