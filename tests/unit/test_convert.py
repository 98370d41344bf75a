import numpy as np
import pytest

from l1ad.convert.from_qkeras import activation_type, convert
from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint
from l1ad.models.keras import PresenceMask, SumOfSquares, TriggerScaling, keras, qkeras
from l1ad.network import Dense

COLUMNS = (InputColumn("pt", 0, 255, 0.5, "GeV"), InputColumn("eta", -100, 100, 0.1, "1"))
BITS = qkeras.quantized_bits(8, 3, alpha=1)


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
    assert (network["inputs"].offset.tolist(), network["inputs"].shift.tolist()) == ([10, 0], [4, 5])
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


REFUSED = [
    (lambda: "model", "model must be a functional Keras model, not str"),
    (lambda: keras.Sequential([keras.layers.Dense(1)]), "model must be a functional Keras model, not Sequential"),
    (lambda: with_code(kernel=qkeras.quantized_bits(8, 3, alpha=None)),
     "layer 'code': quantized_bits alpha must be 1, not 'auto_po2'; set alpha=1 and retrain"),
    (lambda: with_code(kernel=qkeras.quantized_bits(8, 3, alpha="auto")),
     "layer 'code': quantized_bits alpha must be 1, not 'auto'; set alpha=1 and retrain"),
    (lambda: with_code(kernel=qkeras.quantized_bits(8, 3, alpha="auto_po2")), "alpha must be 1, not 'auto_po2'"),
    (lambda: with_code(bias=qkeras.quantized_bits(8, 3, alpha=0.5)), "layer 'code': .* alpha must be 1, not 0.5"),
    (lambda: with_code(kernel=None),
     "layer 'code': kernel_quantizer must be quantized_bits, not None; use quantized_bits with alpha=1"),
    (lambda: with_code(bias=None), "layer 'code': bias_quantizer must be quantized_bits, not None"),
    (lambda: with_code(kernel=qkeras.ternary(alpha=1)), "kernel_quantizer must be quantized_bits, not ternary"),
    (lambda: with_code(kernel=qkeras.binary(alpha=1)), "kernel_quantizer must be quantized_bits, not binary"),
    (lambda: with_code(kernel=qkeras.quantized_po2(4)), "kernel_quantizer must be quantized_bits, not quantized_po2"),
    (lambda: with_code(use_bias=False), "layer 'code': use_bias must be True; set it and retrain"),
    (lambda: with_code(activation=qkeras.quantized_tanh(8)),
     "layer 'code': quantiser must be quantized_bits or quantized_relu, not quantized_tanh; replace it and retrain"),
    (lambda: with_code(activation=qkeras.ternary()), "quantiser must be quantized_bits or quantized_relu, not ternary"),
    (lambda: with_code(activation="relu"), "layer 'code': quantiser must be quantized_bits or quantized_relu, not"),
    (lambda: with_code(activation=None), "layer 'score': reads 'code' before it is quantised; let a QActivation"),
    (lambda: model(scaling(), inputs(), qdense(activation=None)),
     r"layer 'code': its result must be quantised; let a QActivation\(quantized_bits\) follow"),
    (lambda: model(scaling(), qdense(), score()), "layer 'code': reads 'scaling' before it is quantised"),
    (lambda: model(scaling(), inputs(), keras.layers.Dense(2, name="code"), score()),
     "layer 'code': Dense has no exact counterpart in the network; use QDense with a kernel and a bias quantizer"),
    (lambda: model(scaling(), inputs(), keras.layers.BatchNormalization(name="norm"), qdense(), score()),
     "layer 'norm': BatchNormalization has no exact counterpart in the network; fold it into the layer before"),
    (lambda: model(scaling(), inputs(), qkeras.QBatchNormalization(name="norm"), qdense(), score()),
     "layer 'norm': QBatchNormalization has no exact counterpart in the network; fold it into the layer before"),
    (lambda: model(scaling(), inputs(), keras.layers.Dropout(0.1, name="drop"), qdense(), score()),
     "layer 'drop': Dropout has no exact counterpart in the network; remove it: it does nothing in the trigger"),
    (lambda: model(scaling(), inputs(), keras.layers.ReLU(name="relu"), qdense(), score()),
     "layer 'relu': ReLU has no exact counterpart in the network; use quantized_relu"),
    (lambda: model(scaling(), inputs(), qdense(), keras.layers.Activation("tanh", name="act"), score()),
     "layer 'act': Activation has no exact counterpart in the network; use QActivation"),
    (lambda: model(scaling(), inputs(), keras.layers.Flatten(name="flat"), qdense(), score()),
     "layer 'flat': Flatten has no exact counterpart in the network; retrain without it"),
    (lambda: model(scaling(), inputs(), qkeras.QActivation(BITS, name="again"), qdense(), score()),
     "layer 'again': a QActivation must follow a TriggerScaling or a QDense without activation, not 'inputs'; remove"),
    (lambda: model(scaling(), inputs(), scaling("second"), qkeras.QActivation(BITS), qdense(), score()),
     "layer 'second': TriggerScaling must come first, once"),
    (lambda: model(scaling(), inputs(), qdense(), score(None)),
     "layer 'score': score type must be stated; set out='ap_ufixed<...>'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[text.split(";")[0][:70] for _, text in REFUSED])
def test_what_has_no_exact_counterpart_is_refused(make, text):
    with pytest.raises(UnsupportedError, match=text):
        convert(make())


def test_a_layer_used_twice_is_refused():
    trigger = keras.Input((2,), name="trigger")
    x, dense = inputs()(scaling()(trigger)), qdense()
    twice = keras.Model(trigger, score()(dense(dense(x))))
    with pytest.raises(UnsupportedError, match="layer 'code': must be used once, not 2 times"):
        convert(twice)


def test_a_mask_of_unquantised_results_is_refused():
    trigger = keras.Input((2,), name="trigger")
    masked = PresenceMask((0, 0), name="present")([scaling()(trigger), trigger])
    with pytest.raises(UnsupportedError, match="layer 'present': reads 'scaling' before it is quantised"):
        convert(keras.Model(trigger, score()(masked)))


@pytest.mark.parametrize(
    ("quantiser", "text"),
    [
        (qkeras.quantized_relu(8, 3, use_sigmoid=1), "quantized_relu use_sigmoid must be 0, not 1; set use_sigmoid=0"),
        (qkeras.quantized_relu(8, 3, negative_slope=0.25), r"quantized_relu negative_slope must be 0, not 0\.25; set"),
        (qkeras.quantized_relu(8, 3, use_stochastic_rounding=True), "use_stochastic_rounding must be False, not True"),
        (qkeras.quantized_relu(8, 3, relu_upper_bound=6), "quantized_relu relu_upper_bound must be None, not 6; set"),
        (qkeras.quantized_bits(8, 3, alpha=1, use_stochastic_rounding=True), "use_stochastic_rounding must be False"),
        (None, "quantiser must be quantized_bits or quantized_relu, not None; replace it and retrain"),
    ],
)
def test_options_of_quantisers_that_no_type_has_are_refused(quantiser, text):
    with pytest.raises(UnsupportedError, match=f"layer 'act': .*{text}"):
        activation_type("act", quantiser)
