from math import ceil

import numpy as np
import pytest
from networks import small_model
from test_models import COLUMNS, PRESENCE, config, events

from l1ad.convert.from_qkeras import convert
from l1ad.models import training
from l1ad.models.keras import tf
from l1ad.models.pruning import Pruning, zero_weights
from l1ad.models.training import train


def trained(kind="vae", **changes):
    return train(config(kind, **changes), COLUMNS, PRESENCE, events(500), events(100, 2), 7, lambda *_: None)


@pytest.fixture(scope="module")
def dense():
    return trained(sparsity=0.0)


def dense_layers(network):
    """Integer weights as hardware has them, by layer."""
    return {o.name: o.weight for o in network.operations if hasattr(o, "weight")}


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_sparsity_is_checked(sparsity):
    with pytest.raises(ValueError, match=f"model sparsity must be at least 0 and below 1, not {sparsity}"):
        config(sparsity=sparsity)


@pytest.mark.parametrize(
    ("kind", "sparsity", "epochs"), [("vae", 0.3, 1), ("autoencoder", 0.5, 2), ("vae", 0.8, 5), ("autoencoder", 0.8, 5)]
)
def test_every_layer_in_hardware_has_the_zeros_asked_for(kind, sparsity, epochs):
    made = trained(kind, sparsity=sparsity, quantised_epochs=epochs)
    weights = dense_layers(convert(made.quantised))
    assert weights.keys() == made.sparsity.keys()
    assert weights.keys() >= {"encoder1", "encoder2", "latent"}
    for name, weight in weights.items():
        pruned = made.quantised.get_layer(name).kernel.numpy() == 0
        assert pruned.sum() >= ceil(sparsity * weight.size)
        assert not weight[pruned].any()
        assert made.sparsity[name] == np.mean(weight == 0) >= sparsity


def test_nothing_is_pruned_unless_asked_for(dense):
    assert config().sparsity == 0
    for name in dense.sparsity:
        assert dense.quantised.get_layer(name).kernel.numpy().all()
        assert dense.twin.get_layer(name).kernel.numpy().all()


def test_neither_the_float_twin_nor_what_is_no_hardware_is_pruned(monkeypatch, dense):
    built = []

    def remembered(*args, **options):
        built.append(build(*args, **options))
        return built[-1]

    build = training.build
    monkeypatch.setattr(training, "build", remembered)
    made = trained(sparsity=0.5)
    for one, other in zip(made.twin.get_weights(), dense.twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.all() or one.ndim == 1
    assert made.sparsity.keys() == {"encoder1", "encoder2", "latent"}
    decoder = built[-1].training.get_layer("decoder")
    assert [layer.name for layer in decoder.layers if layer.weights] == ["decoder1", "decoder2", "reconstruction"]
    assert all(layer.kernel.numpy().all() for layer in decoder.layers if layer.weights)


def test_the_smallest_weights_go_first_and_the_share_grows_to_half_time():
    model = small_model("autoencoder", seed=3)
    layer = model.get_layer("encoder1")
    before = np.abs(layer.kernel.numpy())
    pruning = Pruning(model, 0.5, epochs=5)
    assert pruning.growing_epochs == 3
    shares = []
    for epoch in range(1, 6):
        pruning.begin(epoch)
        gone = layer.kernel.numpy() == 0
        assert before[gone].max() < before[~gone].min()
        shares.append(gone.mean())
    assert shares == [ceil(share * gone.size) / gone.size for share in (0.5 * 19 / 27, 0.5 * 26 / 27, 0.5, 0.5, 0.5)]


def test_what_is_pruned_stays_pruned_whatever_training_does():
    model = small_model("autoencoder", seed=3)
    layer = model.get_layer("latent")
    pruning = Pruning(model, 0.4, epochs=1)
    pruning.begin(1)
    kept = layer.kernel.numpy()
    layer.kernel.assign_add(tf.ones_like(layer.kernel))
    pruning.apply()
    np.testing.assert_array_equal(layer.kernel.numpy(), np.where(kept == 0, 0, kept + 1))


def test_weights_too_small_for_their_type_count_as_zeros():
    model = small_model("vae", seed=3)
    layer = model.get_layer("encoder1")
    kernel = np.full(layer.kernel.shape, 0.5, np.float32)
    kernel[:2] = 0.01
    layer.kernel.assign(kernel)
    assert zero_weights(model)["encoder1"] == 2 / len(kernel)


def test_a_layer_is_not_pruned_away():
    text = "model sparsity must leave at least one weight of 'encoder1', which has 18, unlike 0.99"
    with pytest.raises(ValueError, match=text):
        trained(sparsity=0.99)
