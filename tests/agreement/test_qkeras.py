"""QKeras against the reference emulator: every operation of both trigger models, and the quantisers themselves."""

import numpy as np
import pytest
from networks import MODEL_KINDS, small_model

from l1ad.compare import agree, corners, raw_of, require_float32
from l1ad.convert.from_qkeras import convert, keras_tracer
from l1ad.convert.quantisers import activation_type
from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.fixed import FixedPoint, cast
from l1ad.fuzz.networks import random_events
from l1ad.models.keras import load_model, qkeras, save_model, tf
from l1ad.models.training import scores
from l1ad.operations import Affine, Dense, Dot, Input, Mask, Merge


@pytest.fixture(scope="module", params=MODEL_KINDS)
def converted(request, tmp_path_factory):
    """A model that was saved and loaded again, and its network."""
    path = tmp_path_factory.mktemp("model") / "model.h5"
    save_model(small_model(request.param, seed=11), path)
    model = load_model(path)
    return model, convert(model)


@pytest.fixture
def events(converted, rng):
    network = converted[1]
    return np.vstack([corners(network), random_events(rng, network, 20_000)])


def test_every_operation_equals_keras(converted, events):
    model, network = converted
    require_float32(network)
    found = raw_of(network, keras_tracer(model, network)(events))
    assert set(found) == {o.name for o in network.operations[1:]}
    agree(network, "reference", reference.trace(network, events), "keras", found).require()
    np.testing.assert_array_equal(scores(model, events) / network.score.out.lsb, reference.emulate(network, events))


def test_the_comparison_is_not_trivial(converted, events):
    """Casts round, saturate at both ends and clip at zero; scores take many values."""
    _, network = converted
    trace = reference.trace(network, events)
    assert len(np.unique(trace["score"])) > 500
    for name in ("inputs", "encoder1", "latent"):
        out = network[name].out
        assert (trace[name].min(), trace[name].max()) == (out.min_raw, out.max_raw)
    for o in network.operations:
        if isinstance(o, Dense):
            assert network.flows[o.name].accumulator.frac > o.out.frac


def test_a_weight_off_by_one_unit_is_found(converted, events):
    model, network = converted
    layer = model.get_layer("encoder1")
    kept = layer.get_weights()
    weight, bias = (w.copy() for w in kept)
    raw = network["encoder1"].weight[1, 0]
    weight[1, 0] = (raw + (1 if raw < 0 else -1)) * network["encoder1"].weight_type.lsb
    layer.set_weights([weight, bias])
    try:
        found = raw_of(network, keras_tracer(model, network)(events))
        with pytest.raises(MismatchError, match=r"reference = keras: .* operation 'encoder1', element 0"):
            agree(network, "reference", reference.trace(network, events), "keras", found).require()
    finally:
        layer.set_weights(kept)


def test_operations_are_called_after_their_layers(converted):
    model, network = converted
    kinds = [(o.name, type(o)) for o in network.operations]
    encoder = [("trigger", Input), ("inputs", Affine), ("encoder1", Dense), ("encoder2", Dense), ("latent", Dense)]
    decoder = [("decoder1", Dense), ("decoder2", Dense), ("reconstruction", Dense), ("difference", Merge)]
    decoder.append(("present", Mask))
    assert kinds == encoder + (decoder if model.name == "autoencoder" else []) + [("score", Dot)]


def test_types_are_those_of_the_configuration(converted):
    _, network = converted
    assert str(network["inputs"].out) == "ap_fixed<9,4,AP_RND_CONV,AP_SAT>"
    assert str(network["encoder1"].out) == "ap_ufixed<7,3,AP_RND_CONV,AP_SAT>"
    assert str(network["latent"].out) == "ap_fixed<8,3,AP_RND_CONV,AP_SAT>"
    assert network["encoder1"].weight_type == FixedPoint(6, 4)
    assert network["encoder1"].bias_type == FixedPoint(8, 5)


BITS = [
    qkeras.quantized_bits(bits, integer, alpha=1, symmetric=symmetric, keep_negative=keep_negative)
    for bits, integer in ((2, 0), (4, 0), (4, 3), (6, 2), (8, 7), (8, 0), (12, 5))
    for symmetric in (0, 1)
    for keep_negative in (True, False)
]
RELU = [qkeras.quantized_relu(bits, integer) for bits, integer in ((1, 1), (2, 0), (4, 2), (6, 6), (8, 3), (12, 5))]


@pytest.mark.parametrize("quantiser", BITS + RELU, ids=str)
def test_cast_equals_the_quantiser_on_every_tie_and_beyond_its_ends(quantiser):
    kind = activation_type("layer", quantiser)
    finer = 3  # bits below the last one: ties and what lies on either side
    raw = np.arange((kind.min_raw - 9) << finer, (kind.max_raw + 9) << finer)
    raw = np.concatenate([raw, [-(1 << 20), (1 << 20) - 1]])
    values = raw * 2.0 ** -(kind.frac + finer)
    assert (values.astype(np.float32) == values).all()
    with np.errstate(all="ignore"):
        found = np.asarray(quantiser(tf.constant(values, tf.float32)), np.float64) / kind.lsb
    np.testing.assert_array_equal(found, cast(raw, kind.frac + finer, kind))


@pytest.mark.parametrize("text", ["quantized_bits(8, 2, alpha=1)", "quantized_relu(6, 2)"])
def test_quantisers_may_be_spelt_as_strings(text):
    assert activation_type("layer", text) == activation_type("layer", qkeras.get_quantizer(text))
