import dataclasses

import numpy as np
import pytest
from networks import MODEL_KINDS, small_model

from l1ad.convert.from_qkeras import convert
from l1ad.events.schema import InputColumn
from l1ad.models.architectures import build, copy_weights
from l1ad.models.config import ModelConfig
from l1ad.models.keras import load_model, save_model, tf
from l1ad.models.scaling import Scaling
from l1ad.models.training import scores, train

COLUMNS = tuple(InputColumn(*column, 500, 1.0, "1") for column in (("jet_pt", 0), ("jet_eta", -500), ("met_pt", 0)))
PRESENCE = np.array([0, 0, 2])
FIELDS = {
    "kind": "autoencoder",
    "hidden": (6, 4),
    "latent": 2,
    "input_type": "ap_fixed<8,4>",
    "weight_type": "ap_fixed<6,2>",
    "bias_type": "ap_fixed<8,3>",
    "activation_type": "ap_ufixed<7,3>",
    "latent_type": "ap_fixed<8,3>",
    "float_epochs": 1,
    "quantised_epochs": 1,
    "batch_size": 50,
    "learning_rate": 0.01,
}


def config(kind="autoencoder", **changes):
    return ModelConfig(**(FIELDS | {"kind": kind, "beta": 0.5 if kind == "vae" else 0.0} | changes))


def events(n, seed=1):
    return np.random.default_rng(seed).integers(0, 500, (n, 3), endpoint=True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "transformer"}, r"model kind must be one of \('autoencoder', 'vae'\), not 'transformer'"),
        ({"kind": "vae"}, r"model beta must be between 0 and 1 for a vae and absent for others, not 0\.0"),
        ({"beta": 0.5}, r"model beta must be between 0 and 1 for a vae and absent for others, not 0\.5"),
        ({"kind": "vae", "beta": 1.0}, r"model beta must be between 0 and 1 .* not 1\.0"),
        ({"latent": 0}, "model latent must be at least 1, not 0"),
        ({"float_epochs": 0}, "model float_epochs must be at least 1, not 0"),
        ({"quantised_epochs": -1}, "model quantised_epochs must be at least 1, not -1"),
        ({"batch_size": 0}, "model batch_size must be at least 1, not 0"),
        ({"hidden": ()}, r"model hidden must be positive layer sizes, not \(\)"),
        ({"hidden": (3, 0)}, r"model hidden must be positive layer sizes, not \(3, 0\)"),
        ({"learning_rate": 0.0}, r"model learning_rate must be positive, not 0\.0"),
        ({"input_type": "ap_ufixed<8,4>"}, "model input_type must read ap_fixed<width,integer>, not 'ap_ufixed<8,4>'"),
        ({"activation_type": "ap_fixed<8,4>"}, "model activation_type must read ap_ufixed<width,integer>, not"),
        ({"weight_type": "ap_fixed<8,4,AP_RND>"}, "model weight_type must read ap_fixed<width,integer>, not"),
        ({"weight_type": "ap_fixed<6,0>"}, "model weight_type must have at least 1 integer bits, as QKeras needs, not"),
        ({"latent_type": "fixed<8,4>"}, r"type must read ap_\[u\]fixed"),
    ],
)
def test_configurations_are_checked(changes, text):
    with pytest.raises(ValueError, match=text):
        ModelConfig(**(FIELDS | changes))


def build_small(kind, *, quantised):
    scaling = Scaling(np.array([100, 0, 50]), np.array([5, 6, 4]))
    return build(config(kind), COLUMNS, scaling, PRESENCE, quantised=quantised)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_the_float_twin_has_the_shape_and_names_of_the_quantised_model(kind):
    twin, quantised = (build_small(kind, quantised=q) for q in (False, True))
    names = [layer.name for layer in quantised.trigger.layers]
    assert [layer.name for layer in twin.trigger.layers] == [name for name in names if name != "inputs"]
    copy_weights(twin.training, quantised.training)
    for layer in twin.trigger.layers:
        for one, other in zip(layer.get_weights(), quantised.trigger.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_losses_are_scalars_with_gradients_for_every_weight(kind):
    for quantised in (False, True):
        made = build_small(kind, quantised=quantised)
        with tf.GradientTape() as tape:
            loss = made.loss(tf.constant(events(64), tf.float32))
        assert loss.shape == ()
        gradients = tape.gradient(loss, made.training.trainable_variables)
        assert len(gradients) > 8
        assert all(gradient is not None for gradient in gradients)


def test_absent_objects_neither_lose_nor_score():
    twin = build_small("autoencoder", quantised=False)
    absent = np.array([[0, 77, 0], [0, -500, 0]])
    np.testing.assert_array_equal(scores(twin.trigger, absent), [0.0, 0.0])
    assert float(twin.loss(tf.constant(absent, tf.float32))) == 0.0
    assert (scores(twin.trigger, events(5) + 1) > 0).all()


def test_the_score_is_in_its_type_and_holds_the_largest():
    for kind, bits in (("autoencoder", 4 + 10), ("vae", 4 + 6)):
        network = convert(build_small(kind, quantised=True).trigger)
        assert str(network.score.out) == f"ap_ufixed<{bits},{bits - 4},AP_TRN,AP_SAT>"
        assert network.flows["score"].high[0] <= network.score.out.max_raw


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_saved_model_is_the_same(kind, tmp_path):
    model = small_model(kind, seed=3)
    save_model(model, tmp_path / "model.h5")
    again = load_model(tmp_path / "model.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]
    assert convert(again) == convert(model)
    x = np.zeros((1, 8), np.int64)
    np.testing.assert_array_equal(scores(again, x), scores(model, x))


@pytest.mark.parametrize("content", [None, b"", b"not HDF5"])
def test_files_that_are_no_models_are_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "model.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.h5: not a Keras model that l1ad can read: "):
        load_model(tmp_path / "model.h5")


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_the_same_seed_trains_the_same_weights(kind):
    def once():
        told = []
        trained = train(config(kind), COLUMNS, PRESENCE, events(500), events(100, 2), 7, lambda *a: told.append(a))
        return trained, told

    (one, told), (same, again) = once(), once()
    assert told == again
    assert [entry[:3] for entry in told] == [("float", 1, 1), ("quantised", 1, 1)]
    assert one.losses == same.losses
    assert {name: len(curve) for name, curve in one.losses.items()} == dict.fromkeys(
        ("float_train", "float_validation", "quantised_train", "quantised_validation"), 1
    )
    for model in ("quantised", "twin"):
        for a, b in zip(*(getattr(trained, model).get_weights() for trained in (one, same)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert convert(one.quantised) == convert(same.quantised)


def test_training_lowers_the_loss_and_keeps_the_best_epoch():
    longer = dataclasses.replace(config(), float_epochs=12)
    trained = train(longer, COLUMNS, PRESENCE, events(500), events(100, 2), 7, lambda *_: None)
    curve = trained.losses["float_validation"]
    assert len(curve) == 12
    assert min(curve) < curve[0] / 2


def test_a_diverging_training_is_an_error(monkeypatch):
    from l1ad.models import training

    def broken(*args, **options):
        made = build(*args, **options)
        return dataclasses.replace(made, loss=lambda x: made.loss(x) * np.nan)

    monkeypatch.setattr(training, "build", broken)
    with pytest.raises(ValueError, match="training diverged in epoch 1; lower learning_rate"):
        train(config(), COLUMNS, PRESENCE, events(100), events(100, 2), 7, lambda *_: None)
