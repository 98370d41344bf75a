"""QKeras models as users have them, saved, loaded and converted: every layer equals Keras, event by event."""

import numpy as np
import pytest

from l1ad.compare import agree, corners, raw_of, require_float32
from l1ad.convert.from_qkeras import convert, keras_tracer
from l1ad.emulate import reference
from l1ad.events.schema import InputColumn
from l1ad.fuzz.networks import random_events
from l1ad.models.keras import keras, load_model, qkeras, save_model
from l1ad.network import Network

EVENTS = 10_000
LAYERS = keras.layers
BITS = qkeras.quantized_bits(6, 1, alpha=1)
WEIGHTS = {"kernel_quantizer": BITS, "bias_quantizer": BITS}


def bits(width, integer, **options):
    return qkeras.QActivation(qkeras.quantized_bits(width, integer, alpha=1), **options)


def relu(width, integer, **options):
    return qkeras.QActivation(qkeras.quantized_relu(width, integer), **options)


def chain(x, *layers):
    for layer in layers:
        x = layer(x)
    return x


def autoencoder():
    """Embedding and autoencoder in the manner of AXOL1TL, whose error is a Dot."""
    trigger = keras.Input((57,), name="objects")
    x = bits(8, 3, name="inputs")(trigger)
    for number, units in enumerate((29, 10)):
        x = qkeras.QDense(units, name=f"embedding-{number}", **WEIGHTS)(x)
        x = (relu(6, 2) if number == 0 else bits(8, 2, name="embedded"))(x)
    y = x
    for number, units in enumerate((9, 6, 4, 6, 9)):
        y = qkeras.QDense(units, name=f"dense_{number}", **WEIGHTS)(y)
        y = relu(6, 2, name=f"relu_{number}")(y)
    y = bits(8, 2, name="decoded")(qkeras.QDense(10, name="decoder", **WEIGHTS)(y))
    error = LAYERS.Subtract(name="error")([x, y])
    return keras.Model(trigger, LAYERS.Dot(axes=1, name="score")([error, error]))


def student():
    """In the manner of CICADA: a picture of energies, as integers, to one number."""
    return keras.Sequential(
        [
            LAYERS.InputLayer((252,), name="regions"),
            LAYERS.Reshape((18, 14, 1)),
            qkeras.QConv2D(4, 2, strides=2, use_bias=False, kernel_quantizer=BITS, name="conv"),
            qkeras.QActivation("quantized_relu(8, 6)", name="relu0"),
            LAYERS.Flatten(),
            LAYERS.Dropout(0.2),
            qkeras.QDense(16, kernel_quantizer=BITS, use_bias=False, name="dense1"),
            LAYERS.ReLU(name="relu1"),
            qkeras.QActivation("quantized_bits(8, 6, alpha=1)", name="quantised"),
            qkeras.QDense(1, name="dense2", **WEIGHTS),
            relu(12, 8, name="output"),
        ]
    )


def weight_kinds():
    """One layer for each kind of weights, activations as arguments, one layer left unquantised."""

    def dense(units, kernel, **options):
        start = keras.initializers.RandomUniform(-1, 1)
        return qkeras.QDense(units, kernel_quantizer=kernel, kernel_initializer=start, **options)

    return keras.Sequential(
        [
            LAYERS.InputLayer((12,)),
            qkeras.QActivation("quantized_bits(5, 2)"),
            dense(10, qkeras.quantized_po2(4), use_bias=False, activation=qkeras.quantized_relu(6, 2), name="po2"),
            dense(9, qkeras.ternary(alpha=1), use_bias=False, activation="quantized_bits(7, 3)", name="ternary"),
            dense(8, qkeras.binary(alpha=0.5), bias_quantizer="quantized_bits(4, 1)", name="halves"),
            LAYERS.Activation("relu", name="relu"),
            bits(5, 2, name="after_relu"),
            dense(8, qkeras.quantized_relu_po2(3, 1), activation="relu", name="positive"),
            bits(7, 4, name="after_positive"),
            dense(7, qkeras.quantized_bits(4, 0), activation=qkeras.binary(), name="auto_po2"),
            dense(7, qkeras.quantized_bits(1, 0, alpha=1), use_bias=False, name="one_bit"),
            bits(4, 3, name="small"),
            qkeras.QActivation(qkeras.ternary(threshold=1.4), name="three"),
            dense(6, qkeras.ternary(), activation=qkeras.quantized_bits(1, 0, alpha=1), name="auto_ternary"),
            dense(5, qkeras.quantized_bits(4, 0, alpha=2.0), use_bias=False, name="scaled"),
            dense(1, qkeras.binary(), activation="linear", name="score"),
        ]
    )


def series():
    """Convolutions in one dimension, of every padding, and a dense layer point by point."""
    return keras.Sequential(
        [
            LAYERS.InputLayer((20, 3)),
            bits(5, 2),
            qkeras.QConv1D(4, 3, padding="same", activation="quantized_relu(5, 2)", name="same", **WEIGHTS),
            qkeras.QConv1D(3, 4, strides=3, padding="same", name="strided", **WEIGHTS),
            bits(5, 2, name="strided_bits"),
            qkeras.QDense(3, activation="quantized_bits(5, 2, alpha=1)", name="points", **WEIGHTS),
            qkeras.QConv1D(3, 2, padding="causal", activation="quantized_relu(5, 2)", name="causal", **WEIGHTS),
            LAYERS.Flatten(),
            qkeras.QDense(1, name="score", **WEIGHTS),
        ]
    )


def picture():
    """Same padding that is uneven, a kernel that is no square, and an exact convolution."""
    return keras.Sequential(
        [
            LAYERS.InputLayer((7, 6, 2)),
            bits(5, 2),
            qkeras.QConv2D(3, 3, padding="same", activation="quantized_relu(5, 2)", name="square", **WEIGHTS),
            qkeras.QConv2D(3, (3, 2), strides=(2, 3), padding="same", name="strided", **WEIGHTS),
            qkeras.QConv2D(1, (4, 2), name="score", **WEIGHTS),
        ]
    )


def merges():
    """Every merge, of quantised and of exact operands, and a Dot of two different ones."""
    trigger = keras.Input((6,), name="trigger")
    x = bits(5, 2, name="x")(trigger)
    y = qkeras.QDense(6, name="y", **WEIGHTS)(x)
    z = relu(5, 2, name="z")(qkeras.QDense(6, name="z_sum", **WEIGHTS)(x))
    three = LAYERS.Add(name="added")([x, y, z])
    product = bits(6, 2, name="product_bits")(LAYERS.Multiply(name="product")([x, z]))
    larger = LAYERS.Maximum(name="larger")([y, product])
    smaller = LAYERS.Minimum(name="smaller")([three, bits(6, 2, name="y_bits")(y)])
    error = bits(6, 3, name="error_bits")(LAYERS.Subtract(name="error")([larger, smaller]))
    return keras.Model(trigger, LAYERS.Dot(axes=-1, name="score")([error, z]))


COLUMNS = tuple(InputColumn(f"et{number}", 0, 1023, 0.5, "GeV") for number in range(252))
MODELS = {make.__name__: make for make in (autoencoder, student, weight_kinds, series, picture, merges)}


@pytest.fixture(scope="module", params=MODELS)
def converted(request, tmp_path_factory):
    """A model of random weights that was saved and loaded again, and its network."""
    keras.utils.set_random_seed(3)
    model = MODELS[request.param]()
    rng = np.random.default_rng(5)
    for layer in (layer for layer in model.layers if layer.weights):
        kernel, *bias = (w + rng.normal(0, 0.15, w.shape).astype(np.float32) for w in layer.get_weights())
        layer.set_weights([kernel, *(b * (layer.bias_quantizer is not None) for b in bias)])
    path = tmp_path_factory.mktemp("model") / "model.h5"
    save_model(model, path)
    model = load_model(path)
    return request.param, model, convert(model, COLUMNS if request.param == "student" else None)


@pytest.fixture(scope="module")
def events(converted):
    network = converted[2]
    return np.vstack([corners(network), random_events(np.random.default_rng(7), network, EVENTS)])


def test_every_layer_equals_keras(converted, events):
    _, model, network = converted
    require_float32(network)
    found = raw_of(network, keras_tracer(model, network)(events))
    agreement = agree(network, "reference", reference.trace(network, events), "keras", found).require()
    assert agreement.n_events >= EVENTS
    traced = {"autoencoder": 10, "student": 4, "weight_kinds": 12, "series": 5, "picture": 3, "merges": 9}
    assert agreement.operations == traced[converted[0]], sorted(found)
    score = model.predict((events * network.input.out.lsb).reshape(-1, *model.input_shape[1:]), verbose=0)
    np.testing.assert_array_equal(score.ravel() / network.score.out.lsb, reference.emulate(network, events).ravel())


def test_the_comparison_is_not_trivial(converted, events):
    network = converted[2]
    trace = reference.trace(network, events)
    assert len(np.unique(trace[network.score.name])) > 5
    constant = [name for name, raw in trace.items() if (raw == raw[0]).all()]
    assert not constant


def test_networks_survive_their_file(converted, tmp_path):
    network = converted[2]
    network.save(tmp_path / "network.json")
    assert Network.load(tmp_path / "network.json") == network
