import json

import numpy as np
import pytest

from l1ad.files import digest
from l1ad.fixed import FixedPoint
from l1ad.network import Dense, Input, Mask, Network, Rescale, Subtract, SumOfSquares, aligned

HARDWARE = FixedPoint(9, 0)
WIDE = FixedPoint(16, 4)
SCORE = FixedPoint(18, 4, False, "TRN", "SAT")


def ints(*values):
    return np.array(values, np.int64)


def trigger(name="trigger", columns=("pt", "eta"), low=(0, -100), high=(255, 100), out=HARDWARE):
    return Input(name, columns, ints(*low), ints(*high), out)


def rescale(name="scaled", x="trigger", offset=(10, 0), shift=(4, 2), out=WIDE):
    return Rescale(name, x, ints(*offset), ints(*shift), out)


def dense(name="code", x="scaled", weight=((1, -2, 3), (4, 5, -6)), bias=(7, 8, 9), out=WIDE, **types):
    weight, bias = np.array(weight, np.int64), ints(*bias)
    kinds = {"weight_type": FixedPoint(8, 5), "bias_type": FixedPoint(8, 3)} | types
    return Dense(name, x, weight, kinds["weight_type"], bias, kinds["bias_type"], out)


def score(name="score", x="code", out=SCORE):
    return SumOfSquares(name, x, out)


GOOD = (trigger(), rescale(), dense(), score())


def replaced(position, operation):
    return (*GOOD[:position], operation, *GOOD[position + 1 :])


@pytest.mark.parametrize(
    ("operations", "error", "text"),
    [
        ((), ValueError, "network must begin with its Input operation"),
        (GOOD[1:], ValueError, "network must begin with its Input operation"),
        (replaced(1, rescale("two words")), ValueError, "operation 'two words': name must be an identifier"),
        (replaced(1, rescale("trigger")), ValueError, "operation 'trigger': name must be unique"),
        ((trigger(), trigger("again"), *GOOD[1:]), ValueError, "'again': only the first operation may be an Input"),
        (replaced(1, rescale(x="nobody")), ValueError, "'scaled': reads 'nobody', which no earlier operation is"),
        (replaced(1, rescale(x="code")), ValueError, "'scaled': reads 'code', which no earlier operation is called"),
        (replaced(1, rescale(x="scaled")), ValueError, "'scaled': reads 'scaled', which no earlier operation is"),
        (replaced(3, score(x="scaled")), ValueError, r"operations \['code'\] are read by no other; remove them"),
        (GOOD[:3], ValueError, "'code': the last operation is the score and must have 1 element, not 3"),
        (replaced(0, trigger(low=(0,))), ValueError, r"'trigger': low must have shape \(2,\) and not be empty"),
        (replaced(0, trigger(high=(1, 2, 3))), ValueError, r"high must have shape \(2,\) .* not \(3,\)"),
        (replaced(0, trigger(columns=(), low=(), high=())), ValueError, r"low must have shape \(0,\) and not be empty"),
        (replaced(0, trigger(low=(0, 101))), ValueError, r"column 'eta' must lie in ap_fixed<9,9.* not 101 \.\. 100"),
        (replaced(0, trigger(high=(256, 0))), ValueError, r"column 'pt' must lie in ap_fixed<9,9.* not 0 \.\. 256"),
        (replaced(0, trigger(low=(-257, 0))), ValueError, r"column 'pt' must lie in ap_fixed<9,9.* not -257 \.\. 255"),
        (replaced(1, rescale(offset=(1, 2, 3))), ValueError, r"'scaled': offset must have shape \(2,\)"),
        (replaced(1, rescale(shift=(1,))), ValueError, r"'scaled': shift must have shape \(2,\) .* not \(1,\)"),
        (replaced(1, rescale(shift=(0, 64))), ValueError, r"shift must be between -63 and 63, not \[0, 64\]"),
        (replaced(1, rescale(shift=(-64, 0))), ValueError, r"shift must be between -63 and 63, not \[-64, 0\]"),
        (replaced(1, rescale(shift=(0, 60))), ValueError, r"'scaled': exact result needs 69 bits, more than 63"),
        (replaced(1, rescale(out=FixedPoint(8, -63))), ValueError, r"'scaled': cast from 4 .* drops 67 bits"),
        (replaced(1, rescale(out=FixedPoint(8, 63))), ValueError, r"'scaled': cast to .* to append 59 fractional bits"),
        (replaced(2, dense(weight=((1, 2, 3),))), ValueError, r"'code': weight must have shape \(2, 3\)"),
        (replaced(2, dense(weight=(1, 2))), ValueError, r"'code': weight must have 2 dimensions, not shape \(2,\)"),
        (replaced(2, dense(bias=(1, 2))), ValueError, r"'code': bias must have shape \(3,\) .* not \(2,\)"),
        (replaced(2, dense(weight_type=FixedPoint(3, 5))), ValueError, r"weight must lie in .*<3,-2.* raw -6 \.\. 5"),
        (replaced(2, dense(weight_type=FixedPoint(8, 5, False))), ValueError, r"weight must lie in ap_ufixed<8,3"),
        (replaced(2, dense(bias_type=FixedPoint(4, 3))), ValueError, r"bias must lie in ap_fixed<4,1.* raw 7 \.\. 9"),
        (replaced(2, dense(bias_type=FixedPoint(8, 62))), ValueError, r"'code': exact result needs \d+ bits"),
        (
            (*GOOD[:3], Subtract("left", "code", "scaled", WIDE), score(x="left")),
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
            replaced(1, Rescale("scaled", "trigger", np.zeros(2), ints(0, 0), WIDE)),
            TypeError,
            "'scaled': offset must be int64, not float64",
        ),
        (
            replaced(2, Dense("code", "scaled", np.ones((2, 1), np.int32), WIDE, ints(0), WIDE, WIDE)),
            TypeError,
            "'code': weight must be int64, not int32",
        ),
    ],
)  # fmt: skip
def test_faults_are_named(operations, error, text):
    with pytest.raises(error, match=text):
        Network(operations)


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


def test_operations_are_found_by_name():
    network = Network(GOOD)
    assert network["code"] is GOOD[2]
    assert network.input is GOOD[0]
    assert network.score is GOOD[3]
    with pytest.raises(KeyError, match=r"network has no operation 'kode'; it has \['trigger', 'scaled'"):
        network["kode"]


def test_equality_and_hash_follow_the_content():
    assert Network(GOOD) == Network((trigger(), rescale(), dense(), score()))
    assert hash(Network(GOOD)) == hash(Network((trigger(), rescale(), dense(), score())))
    assert Network(GOOD) != Network(replaced(2, dense(bias=(7, 8, 10))))
    assert Network(GOOD) != GOOD


@pytest.mark.parametrize("element", [(0, 0), (1, 2)])
@pytest.mark.parametrize("bit", range(7))
def test_digest_changes_with_any_bit_of_a_weight(element, bit):
    weight = np.array(GOOD[2].weight)
    weight[element] ^= 1 << bit
    assert Network(replaced(2, dense(weight=weight))).digest != Network(GOOD).digest


@pytest.mark.parametrize(
    ("position", "operation"),
    [
        (0, trigger(columns=("pt", "phi"))),
        (0, trigger(high=(254, 100))),
        (1, rescale(offset=(11, 0))),
        (1, rescale(shift=(4, 3))),
        (2, dense(bias=(7, 8, 8))),
        (2, dense(weight_type=FixedPoint(8, 4))),
        (2, dense(out=FixedPoint(16, 4, True, "RND"))),
        (3, score(out=FixedPoint(18, 4, False, "TRN", "WRAP"))),
    ],
)
def test_digest_changes_with_every_field(position, operation):
    assert Network(replaced(position, operation)).digest != Network(GOOD).digest


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


@pytest.mark.parametrize("wrong", [None, "l1ad-network/0", "l1ad-network/2"])
def test_another_format_is_refused(document, wrong):
    content, load = document
    content["format"] = wrong
    with pytest.raises(ValueError, match=r"network\.json: not a network file: format must be 'l1ad-network/1'"):
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


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", '{"format": "l1ad-network/1"}', '{"format": NaN}'])
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
