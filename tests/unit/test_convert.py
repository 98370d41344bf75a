import numpy as np
import pytest

from l1ad.convert.from_qkeras import convert
from l1ad.convert.quantisers import SIGN, activation_type, weights
from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint
from l1ad.models.keras import PresenceMask, SumOfSquares, TriggerScaling, keras, load_model, qkeras, save_model
from l1ad.operations import Cast, Dense, Dot, Input, Merge

COLUMNS = (InputColumn("pt", 0, 255, 0.5, "GeV"), InputColumn("eta", -100, 100, 0.1, "1"))
BITS = qkeras.quantized_bits(8, 3, alpha=1)
FIXED = {"kernel_quantizer": BITS, "kernel_initializer": "ones"}
"""Of few weights: QKeras draws random ones again if they happen to be close, and Keras then warns."""


def scaling(name="scaling"):
    return TriggerScaling(COLUMNS, (10, 0), (4, 5), name=name)


def inputs():
    return qkeras.QActivation(BITS, name="inputs")


def qdense(name="code", kernel=BITS, bias=BITS, activation=BITS, **options):
    options |= {"kernel_quantizer": kernel, "bias_quantizer": bias, "activation": activation}
    return qkeras.QDense(2, name=name, kernel_initializer="zeros", **options)


def score(out="ap_ufixed<18,14,AP_TRN,AP_SAT>"):
    return SumOfSquares(out, name="score")


def model(*layers):
    x = trigger = keras.Input((2,), name="trigger")
    for layer in layers:
        x = layer(x)
    return keras.Model(trigger, x)


def with_code(**options):
    return model(scaling(), inputs(), qdense(**options), score())


def test_a_small_model_by_hand():
    network = convert(model(scaling(), inputs(), qdense(), score()))
    assert [o.name for o in network.operations] == ["trigger", "inputs", "code", "score"]
    assert network.input.columns == ("pt", "eta")
    assert network.input.out == FixedPoint(9, 0)
    assert (network.input.low.tolist(), network.input.high.tolist()) == ([0, -100], [255, 100])
    scaled = network["inputs"]  # (x - 10) / 16 and x / 32, in thirty-seconds
    assert (scaled.scale * scaled.scale_type.lsb).tolist() == [1 / 16, 1 / 32]
    assert (scaled.bias * scaled.bias_type.lsb).tolist() == [-10 / 16, 0]
    assert network["inputs"].out == FixedPoint(8, 4, True, "RND_CONV", "SAT")
    assert network.score.out == FixedPoint(18, 4, False, "TRN", "SAT")


def test_weights_are_what_the_quantiser_makes_of_them():
    small = with_code()
    small.get_layer("code").set_weights([np.array([[0.03, 0.04], [-99, 99]]), np.array([0.09375, -0.03])])
    dense = convert(small)["code"]
    # in sixteenths: 0.48 -> 0, 0.64 -> 1, both ends; 1.5 -> 2 (to even), -0.48 -> 0
    np.testing.assert_array_equal(dense.weight, [[0, 1], [-128, 127]])
    np.testing.assert_array_equal(dense.bias, [2, 0])
    assert dense.weight_type == dense.bias_type == FixedPoint(8, 4)


def test_activation_in_the_layer_and_after_it_are_the_same():
    inside = with_code()
    after = model(scaling(), inputs(), qdense("dense", activation=None), qkeras.QActivation(BITS, name="code"), score())
    after.get_layer("dense").set_weights(inside.get_layer("code").get_weights())
    assert convert(inside) == convert(after)


def test_weights_of_symmetric_and_unsigned_quantisers():
    symmetric = qkeras.quantized_bits(4, 0, alpha=1, symmetric=True)
    unsigned = qkeras.quantized_bits(4, 0, alpha=1, keep_negative=False)
    small = with_code(kernel=symmetric, bias=unsigned)
    small.get_layer("code").set_weights([np.full((2, 2), -9.0), np.array([-9.0, 9.0])])
    network = convert(small)
    dense = network["code"]
    assert isinstance(dense, Dense)
    np.testing.assert_array_equal(dense.weight, np.full((2, 2), -7))
    np.testing.assert_array_equal(dense.bias * dense.bias_type.lsb, [0.0, 0.9375])
    reference.emulate(network, [[0, 0]])


def chain(*layers, shape=(4,)):
    """Sequential model that does not know our layers."""
    return keras.Sequential([keras.layers.InputLayer(shape, name="in"), *layers])


def one(**options):
    options |= {"kernel_initializer": "zeros", "name": "one"}
    return qkeras.QDense(1, **{**FIXED, "bias_quantizer": BITS, **options})


def test_the_first_quantiser_is_the_type_of_the_input():
    first = qkeras.QActivation(qkeras.quantized_bits(5, 2, symmetric=1), name="first")
    network = convert(chain(keras.layers.Flatten(), first, one(), shape=(2, 2)))
    assert [o.name for o in network.operations] == ["in", "one"]
    assert network.input.columns == ("x0", "x1", "x2", "x3")
    assert network.input.out == FixedPoint(5, 2)
    assert (network.input.low.tolist(), network.input.high.tolist()) == ([-15] * 4, [15] * 4)


def test_columns_are_read_as_they_are():
    network = convert(chain(inputs(), one(), shape=(2,)), COLUMNS)
    assert [type(o) for o in network.operations] == [Input, Cast, Dense]
    assert (network.input.columns, network.input.out) == (("pt", "eta"), FixedPoint(9, 0))
    assert [type(o) for o in convert(chain(one(), shape=(2,)), COLUMNS).operations] == [Input, Dense]
    trigger = model(scaling(), inputs(), qdense(), score())
    assert convert(trigger, COLUMNS) == convert(trigger)


def test_results_without_quantiser_get_the_type_that_holds_them():
    small = chain(inputs(), one(), shape=(2,))
    small.get_layer("one").set_weights([np.array([[1.0], [-2.0]]), np.array([0.5])])
    dense = convert(small)["one"]
    # x in eighths of 16: 1 x (-128 .. 127) - 2 x (-128 .. 127) sixteenths, and 0.5
    assert dense.out == FixedPoint.holding((-128 - 254 + 8) * 16, (127 + 256 + 8) * 16, 8)
    np.testing.assert_array_equal(reference.emulate(convert(small), [[16, 32], [-128, 127]]).ravel(), [-640, -5984])


def test_a_relu_is_a_saturating_cast_and_becomes_one_with_its_sum():
    layers = (inputs(), one(), keras.layers.ReLU(name="relu"), qkeras.QActivation(BITS, name="out"))
    network = convert(chain(*layers))
    assert [o.name for o in network.operations] == ["in", "relu", "out"]
    assert isinstance(network["relu"], Dense)
    assert (network["relu"].out.signed, network["relu"].out.overflow) == (False, "SAT")
    inside = convert(chain(inputs(), one(activation="relu"), qkeras.QActivation(BITS, name="out")))
    assert [o.out for o in inside.operations] == [o.out for o in network.operations]


def test_a_sum_that_two_layers_read_stays():
    trigger = keras.Input((2,), name="trigger")
    total = qdense("total", activation=None)(inputs()(trigger))
    cut = qkeras.QActivation(BITS, name="cut")(total)
    rest = keras.layers.Subtract(name="rest")([total, cut])
    network = convert(keras.Model(trigger, keras.layers.Dot(1, name="score")([rest, rest])))
    assert [(o.name, type(o)) for o in network.operations[1:]] == [
        ("total", Dense), ("cut", Cast), ("rest", Merge), ("score", Dot)
    ]  # fmt: skip


def test_a_sign_is_a_bit_and_a_table():
    network = convert(chain(inputs(), one(activation=qkeras.binary(alpha=1))))
    assert [o.name for o in network.operations] == ["in", "one_sign", "one"]
    assert network["one_sign"].out == SIGN
    np.testing.assert_array_equal(network["one"].table, [-1, 1])
    assert network["one"].out == FixedPoint(2, 0)


@pytest.mark.parametrize(
    ("quantiser", "values", "raw", "kind"),
    [
        (qkeras.quantized_po2(4), [1.1, -0.3, 0.06], [16, -4, 1], FixedPoint(6, 4)),
        (qkeras.ternary(alpha=1), [0.5, -0.3, -0.4], [1, 0, -1], FixedPoint(2, 0)),
        (qkeras.ternary(alpha=0.25), [0.5, -0.3, -0.4], [1, 0, -1], FixedPoint(2, 2)),
        (qkeras.binary(alpha=4), [0.5, -0.3, 0], [1, -1, 1], FixedPoint(2, -2)),
        (qkeras.quantized_bits(4, 0, alpha=2), [0.5, -0.3, -9], [2, -1, -4], FixedPoint(3, 1)),
        (qkeras.quantized_bits(1, 0, alpha=1), [0.5, -0.3, 0], [1, -1, 1], FixedPoint(2, 0)),
        (qkeras.quantized_bits(8, 3), [1, 2, 0.25], [16, 32, 4], FixedPoint(8, 4)),
        (qkeras.quantized_bits(8, 3), [0, 0, 0], [0, 0, 0], FixedPoint(8, 4)),
        (qkeras.quantized_bits(4, 0, alpha="auto_po2"), [0.75, -3, 0], [1, -3, 0], FixedPoint(3, 0)),
        (qkeras.ternary(alpha=1), [0, 0, 0], [0, 0, 0], FixedPoint(1, 0, False)),
    ],
    ids=str,
)
def test_weights_of_every_quantiser(quantiser, values, raw, kind):
    found, found_type = weights("layer", "kernel_quantizer", quantiser, np.array(values, np.float32)[:, None])
    assert (found.ravel().tolist(), str(found_type)) == (raw, str(kind))


BITS_OR_RELU = "quantiser must be quantized_bits of 2 or more bits or quantized_relu"
KERNEL = "a quantiser of bits or powers of 2"
REMEDY = "use quantized_bits with alpha=1 and retrain"
NONE = "has no exact counterpart in the network"
FOLD = "fold it into the layer before and fine-tune"
LAYERS = keras.layers
REFUSED = [
    (lambda: "model",
     "model must be a functional or sequential Keras model that knows its input shape, not str"),
    (lambda: keras.Sequential([LAYERS.Dense(1)]),
     "model must be a functional or sequential Keras model that knows its input shape, not Sequential"),
    (lambda: model(scaling(), inputs(), qdense()),
     "model must end in 1 number, the score, not 2; let a Dot(axes=1) or SumOfSquares follow"),
    (lambda: keras.Model([(x := keras.Input((1,))), (y := keras.Input((1,)))], LAYERS.Add()([x, y])),
     "model must have 1 input, not 2; make a model of one of them"),
    (lambda: keras.Model((x := keras.Input((1,))), [inputs()(x), x]),
     "model must have 1 output, not 2; make a model of one of them"),
    (lambda: chain(inputs(), qkeras.QConv1D(1, 2, **FIXED), LAYERS.GlobalMaxPool1D(), shape=(None, 1)),
     "model must have an input of known shape, not (None, None, 1)"),
    (lambda: chain(one()),
     "layer 'one': reads an input of unknown type; begin with a QActivation(quantized_bits), or state the columns of "
     "the trigger"),
    (lambda: chain(qkeras.QActivation(qkeras.binary(), name="sign"), one()),
     f"layer 'sign': {BITS_OR_RELU}, not binary; replace it and retrain"),
    (lambda: with_code(kernel=qkeras.quantized_tanh(8)),
     f"layer 'code': kernel_quantizer must be {KERNEL}, not quantized_tanh; {REMEDY}"),
    (lambda: with_code(kernel=None), f"layer 'code': kernel_quantizer must be {KERNEL}, not None; {REMEDY}"),
    (lambda: with_code(kernel=qkeras.stochastic_ternary()),
     f"layer 'code': kernel_quantizer must be {KERNEL}, not stochastic_ternary; {REMEDY}"),
    (lambda: with_code(kernel=qkeras.quantized_bits(8, 3, alpha=1, qnoise_factor=0.5)),
     "layer 'code': quantized_bits qnoise_factor must be 1, not 0.5; set qnoise_factor=1 and retrain"),
    (lambda: with_code(activation=qkeras.quantized_tanh(8)),
     f"layer 'code': {BITS_OR_RELU}, not quantized_tanh; replace it and retrain"),
    (lambda: with_code(activation=qkeras.quantized_sigmoid(8)),
     f"layer 'code': {BITS_OR_RELU}, not quantized_sigmoid; replace it and retrain"),
    (lambda: with_code(activation=qkeras.quantized_po2(4)),
     f"layer 'code': {BITS_OR_RELU}, not quantized_po2; replace it and retrain"),
    (lambda: with_code(activation=qkeras.quantized_bits(8, 3, alpha=2)),
     "layer 'code': quantized_bits alpha must be 1, not 2; set alpha=1 and retrain"),
    (lambda: with_code(activation=qkeras.quantized_bits(8, 3, alpha="auto_po2")),
     "layer 'code': quantized_bits alpha must be 1, not 'auto_po2'; set alpha=1 and retrain"),
    (lambda: with_code(activation=qkeras.binary(alpha="auto")),
     "layer 'code': binary alpha must be 1, not 'auto'; set alpha=1 and retrain"),
    (lambda: with_code(activation=qkeras.binary(alpha=0.1)),
     "layer 'code': activation binary(alpha=0.1) makes numbers of more than 24 bits; use a quantiser of fewer bits and "
     "retrain"),
    (lambda: with_code(activation=qkeras.ternary()),
     "layer 'code': ternary must follow a quantiser of at most 20 bits; let a QActivation(quantized_bits) come before "
     "it"),
    (lambda: with_code(activation="tanh"), f"layer 'code': {BITS_OR_RELU}, not tanh; replace it and retrain"),
    (lambda: model(scaling(), inputs(), qdense(), LAYERS.Activation("tanh", name="act"), score()),
     f"layer 'act': {BITS_OR_RELU}, not tanh; replace it and retrain"),
    (lambda: chain(inputs(), LAYERS.ReLU(6, name="relu"), one()), f"layer 'relu': ReLU {NONE}; retrain without it"),
    (lambda: model(scaling(), inputs(), LAYERS.Dense(2, name="code"), score()),
     f"layer 'code': Dense {NONE}; use QDense with a kernel and a bias quantizer"),
    (lambda: chain(inputs(), LAYERS.BatchNormalization(name="norm"), one()),
     f"layer 'norm': BatchNormalization {NONE}; {FOLD}"),
    (lambda: chain(inputs(), qkeras.QBatchNormalization(name="norm"), one()),
     f"layer 'norm': QBatchNormalization {NONE}; {FOLD}"),
    (lambda: chain(inputs(), qkeras.QConv2DBatchnorm(1, 2, kernel_quantizer=BITS, name="fold"), shape=(2, 2, 1)),
     f"layer 'fold': QConv2DBatchnorm {NONE}; fold it into a QConv2D and fine-tune"),
    (lambda: chain(inputs(), qkeras.QDepthwiseConv2D(2, depthwise_quantizer=BITS, name="deep"), shape=(2, 2, 1)),
     f"layer 'deep': QDepthwiseConv2D {NONE}; retrain without it"),
    (lambda: chain(inputs(), LAYERS.LSTM(1, name="lstm"), shape=(2, 2)),
     f"layer 'lstm': LSTM {NONE}; retrain without it"),
    (lambda: chain(inputs(), chain(one()), shape=(4,)),
     f"layer 'sequential': Sequential {NONE}; join its layers and those of the model in one model"),
    (lambda: chain(inputs(), LAYERS.Lambda(lambda x: x, name="own"), one()),
     f"layer 'own': Lambda {NONE}; use a layer, such as keras.layers.Subtract"),
    (lambda: chain(inputs(), qkeras.QConv1D(1, 2, dilation_rate=2, name="wide", **FIXED), shape=(3, 1)),
     "layer 'wide': dilation_rate must be 1, not (2,); retrain without it"),
    (lambda: chain(inputs(), LAYERS.Flatten("channels_first", name="flat"), one(), shape=(2, 2)),
     "layer 'flat': data_format must be channels_last, not channels_first; retrain without it"),
    (lambda: chain(inputs(), LAYERS.ReLU(dtype="float16", name="half"), one()),
     "layer 'half': dtype must be float32, not float16, which is not exact; save the model in float32"),
    (lambda: model(scaling(), inputs(), scaling("second"), qkeras.QActivation(BITS), qdense(), score()),
     "layer 'second': TriggerScaling must come first, once"),
    (lambda: model(scaling(), inputs(), qdense(), score(None)),
     "layer 'score': score type must be stated; set out='ap_ufixed<...>'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[text[:70] for _, text in REFUSED])
def test_what_has_no_exact_counterpart_is_refused(make, text):
    keras.backend.reset_uids()
    with pytest.raises(UnsupportedError) as found:
        convert(make())
    assert str(found.value) == text


@pytest.mark.parametrize(
    ("quantiser", "text"),
    [
        (qkeras.quantized_bits(8, 3, alpha="auto"), "quantized_bits alpha must be 1, not 'auto'; set alpha=1"),
        (qkeras.ternary(alpha="auto"), "ternary alpha must be 1, not 'auto'; set alpha=1"),
        (qkeras.quantized_po2(8), "kernel_quantizer quantized_po2(8) makes numbers of more than 24 bits; use a "
         "quantiser of fewer bits"),
        (qkeras.binary(alpha=0.1), "kernel_quantizer binary(alpha=0.1) makes numbers of more than 24 bits; use a "
         "quantiser of fewer bits"),
    ],
)  # fmt: skip
def test_weights_that_are_not_exact_or_too_wide_are_refused(quantiser, text):
    small = with_code(kernel=quantiser)
    small.get_layer("code").set_weights([np.array([[0.9, 1.5e-7], [-0.9, 1.5e-7]]), np.zeros(2)])
    with pytest.raises(UnsupportedError) as found:
        convert(small)
    assert str(found.value) == f"layer 'code': {text} and retrain"


def test_a_bias_without_quantiser_must_be_zero():
    small = with_code(bias=None)
    assert convert(small)["code"].bias.tolist() == [0, 0]
    small.get_layer("code").set_weights([np.zeros((2, 2)), np.array([0, 0.5])])
    with pytest.raises(UnsupportedError) as found:
        convert(small)
    assert str(found.value) == f"layer 'code': bias_quantizer must be {KERNEL}, not None; {REMEDY}"


def test_columns_must_be_those_of_the_model():
    with pytest.raises(UnsupportedError) as found:
        convert(chain(one()), COLUMNS)
    assert str(found.value) == "model must read the 2 columns stated, not 4"
    with pytest.raises(UnsupportedError) as found:
        convert(with_code(), COLUMNS[::-1])
    assert str(found.value) == "layer 'scaling': columns must be those of the model; state them, or none"


def test_merges_and_dots_of_other_shapes_are_refused():
    trigger = keras.Input((2,), name="trigger")
    x = inputs()(trigger)
    wide = LAYERS.Add(name="wide")([x, one()(x)])
    with pytest.raises(UnsupportedError) as found:
        convert(keras.Model(trigger, LAYERS.Dot(1)([wide, wide])))
    assert str(found.value) == "layer 'wide': inputs must be of one shape, not [(None, 2), (None, 1)]"
    for dot, of in (
        (LAYERS.Dot(1, normalize=True, name="dot"), x),
        (LAYERS.Dot(1, name="dot"), LAYERS.Reshape((2, 1))(x)),
    ):
        with pytest.raises(UnsupportedError) as found:
            convert(keras.Model(trigger, dot([of, of])))
        expected = "layer 'dot': Dot must have inputs of 1 dimension and normalize=False; flatten them before"
        assert str(found.value) == expected


def test_exact_results_of_too_many_bits_are_refused():
    trigger = keras.Input((2,), name="trigger")
    x = inputs()(trigger)
    for number in range(4):
        x = LAYERS.Multiply(name=f"square{number}")([x, x])
    with pytest.raises(UnsupportedError, match=r"layer 'square3': .*; let a QActivation\(quantized_bits\) come before"):
        convert(keras.Model(trigger, LAYERS.Dot(1)([x, x])))
    whole = qkeras.QActivation(qkeras.quantized_bits(20, 19), name="whole")(trigger)
    y = LAYERS.Multiply(name="square")([whole, whole])
    with pytest.raises(UnsupportedError) as found:
        convert(keras.Model(trigger, LAYERS.Dot(1, name="dot")([y, y])))
    assert str(found.value) == (
        "model has no exact network: operation 'dot': exact result needs 79 bits, more than 63; narrow its operands"
    )


def test_names_are_made_identifiers_and_must_not_clash():
    network = convert(chain(inputs(), one(), qkeras.QActivation(BITS, name="1/out-put")))
    assert network.score.name == "_1_out_put"
    with pytest.raises(UnsupportedError) as found:
        convert(chain(inputs(), one(), qkeras.QActivation(BITS, name="a-b"), qkeras.QActivation(BITS, name="a_b")))
    assert str(found.value) == "layer 'a_b': name must be unique among operations; rename the layer"


def test_a_layer_used_twice_is_refused():
    trigger = keras.Input((2,), name="trigger")
    x, dense = inputs()(scaling()(trigger)), qdense()
    twice = keras.Model(trigger, score()(dense(dense(x))))
    with pytest.raises(UnsupportedError, match="layer 'code': must be used once, not 2 times"):
        convert(twice)


def test_a_mask_of_an_exact_result_is_exact():
    trigger = keras.Input((2,), name="trigger")
    masked = PresenceMask((0, 0), name="present")([scaling()(trigger), trigger])
    network = convert(keras.Model(trigger, score()(masked)))
    assert network["present"].out == FixedPoint.holding(-100, 490, 5)  # pt: (0 .. 255 - 10) / 16; eta: / 32


@pytest.mark.parametrize(
    ("quantiser", "text"),
    [
        (qkeras.quantized_relu(8, 3, use_sigmoid=1), "quantized_relu use_sigmoid must be 0, not 1; set use_sigmoid=0"),
        (qkeras.quantized_relu(8, 3, negative_slope=0.25), r"quantized_relu negative_slope must be 0, not 0\.25; set"),
        (qkeras.quantized_relu(8, 3, use_stochastic_rounding=True), "use_stochastic_rounding must be False, not True"),
        (qkeras.quantized_relu(8, 3, relu_upper_bound=6), "quantized_relu relu_upper_bound must be None, not 6; set"),
        (qkeras.quantized_bits(8, 3, alpha=1, use_stochastic_rounding=True), "use_stochastic_rounding must be False"),
        (
            None,
            "quantiser must be quantized_bits of 2 or more bits or quantized_relu, not None; replace it and retrain",
        ),
    ],
)
def test_options_of_quantisers_that_no_type_has_are_refused(quantiser, text):
    with pytest.raises(UnsupportedError, match=f"layer 'act': .*{text}"):
        activation_type("act", quantiser)


def test_files_that_hold_no_model_that_we_know(tmp_path):
    class Own(keras.layers.Layer):
        pass

    path = tmp_path / "model.h5"
    beginning = f"{path}: not a Keras model that l1ad can read: "

    def fault():
        with pytest.raises(ValueError, match="not a Keras model") as found:
            load_model(path)
        return str(found.value).removeprefix(beginning)

    save_model(chain(inputs(), one(), Own()), path)
    assert fault() == (
        "it uses 'Own', which is of neither Keras 2 nor QKeras 0.9.0; replace it, or strip it off, and save the "
        "model again"
    )
    chain(inputs(), one()).save_weights(path)
    assert fault() == "it holds weights only; save the whole model, by model.save"
    save_model(chain(inputs(), one()), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated file" in fault()
