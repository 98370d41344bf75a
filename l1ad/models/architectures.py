"""The two trigger models, quantised by QKeras or as float twins of the same shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np

from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint, Raw
from l1ad.models.config import ModelConfig
from l1ad.models.keras import PresenceMask, SumOfSquares, TriggerScaling, keras, qkeras, tf
from l1ad.models.scaling import Scaling

SCORE_FRAC = 4
"""Fractional bits of the score, as AXOL1TL's ``ufixed<18,14>`` has."""


@dataclass(frozen=True)
class Trainable:
    """A model and what its training minimises.

    Parameters
    ----------
    trigger : keras.Model
        Trigger integers, float32, shape (n_events, n_columns), to the score, float64, shape (n_events, 1).
    training : keras.Model
        Shares the layers of `trigger`, and holds those that only training needs.
    loss : callable
        Scaled loss of a batch of trigger integers: a scalar tensor.
    """

    trigger: Any
    training: Any
    loss: Callable[[Any], Any]


def build(
    config: ModelConfig, columns: tuple[InputColumn, ...], scaling: Scaling, presence: Raw, *, quantised: bool
) -> Trainable:
    """Untrained model.

    Parameters
    ----------
    config : ModelConfig
    columns : tuple of InputColumn
        The trigger integers.
    scaling : Scaling
    presence : int64 array, shape (n_columns,)
        Column that holds the pT of each column's object: absent objects do not count in loss or score.
    quantised : bool
        QKeras if true, else plain Keras with the same shape and names.
    """
    layers = _Layers(config, quantised)
    trigger = keras.Input((len(columns),), name="trigger")
    inputs = TriggerScaling(columns, scaling.offset, scaling.shift, name="scaling")(trigger)
    if quantised:
        inputs = qkeras.QActivation(_bits(config.input_type), name="inputs")(inputs)
    hidden = inputs
    for number, units in enumerate(config.hidden, 1):
        hidden = layers.relu(units, f"encoder{number}")(hidden)
    latent = layers.linear(config.latent, "latent", config.latent_type)(hidden)
    if config.kind == "autoencoder":
        return _autoencoder(config, layers, trigger, inputs, latent, presence)
    return _vae(config, layers, trigger, inputs, hidden, latent, presence)


class _Layers:
    """Makes dense layers, QKeras or plain."""

    def __init__(self, config: ModelConfig, quantised: bool) -> None:
        self.config, self.quantised = config, quantised

    def relu(self, units: int, name: str) -> Any:
        if not self.quantised:
            return keras.layers.Dense(units, activation="relu", name=name)
        kind = FixedPoint.parse(self.config.activation_type)
        return self._quantised(units, name, qkeras.quantized_relu(kind.width, kind.width - kind.frac))

    def linear(self, units: int, name: str, out: str) -> Any:
        if not self.quantised:
            return keras.layers.Dense(units, name=name)
        return self._quantised(units, name, _bits(out))

    def score_type(self, largest: float) -> str | None:
        """Type that holds scores up to `largest`."""
        bits = max(ceil(log2(largest + 1)), 1)
        return str(FixedPoint(bits + SCORE_FRAC, SCORE_FRAC, False, "TRN", "SAT")) if self.quantised else None

    def _quantised(self, units: int, name: str, activation: Any) -> Any:
        return qkeras.QDense(
            units,
            kernel_quantizer=_bits(self.config.weight_type),
            bias_quantizer=_bits(self.config.bias_type),
            activation=activation,
            name=name,
        )


def _bits(kind: str) -> Any:
    """QKeras quantiser of a signed type; its `integer` does not count the sign, and alpha must be stated."""
    fixed = FixedPoint.parse(kind)
    return qkeras.quantized_bits(fixed.width, fixed.width - fixed.frac - 1, alpha=1)


def _bound(kind: str) -> float:
    """Largest magnitude of a signed type."""
    fixed = FixedPoint.parse(kind)
    return -fixed.min_raw * fixed.lsb


def _autoencoder(
    config: ModelConfig, layers: _Layers, trigger: Any, inputs: Any, latent: Any, presence: Raw
) -> Trainable:
    hidden = latent
    for number, units in enumerate(reversed(config.hidden), 1):
        hidden = layers.relu(units, f"decoder{number}")(hidden)
    size = len(presence)
    reconstruction = layers.linear(size, "reconstruction", config.input_type)(hidden)
    difference = keras.layers.Subtract(name="difference")([inputs, reconstruction])
    present = PresenceMask(presence, name="present")([difference, trigger])
    out = layers.score_type(size * (2 * _bound(config.input_type)) ** 2)
    model = keras.Model(trigger, SumOfSquares(out, name="score")(present), name="autoencoder")
    errors = keras.Model(trigger, present)

    def loss(x: Any) -> Any:
        return tf.reduce_mean(tf.square(errors(x, training=True)))

    return Trainable(model, errors, loss)


def _vae(
    config: ModelConfig, layers: _Layers, trigger: Any, inputs: Any, hidden: Any, latent: Any, presence: Raw
) -> Trainable:
    out = layers.score_type(config.latent * _bound(config.latent_type) ** 2)
    model = keras.Model(trigger, SumOfSquares(out, name="score")(latent), name="vae")
    # only the encoder goes to hardware: what follows stays in floating point
    log_variance = keras.layers.Dense(config.latent, name="log_variance", kernel_initializer="zeros")(hidden)
    point = decoded = keras.Input((config.latent,), name="point")
    for number, units in enumerate(reversed(config.hidden), 1):
        decoded = keras.layers.Dense(units, activation="relu", name=f"decoder{number}")(decoded)
    decoder = keras.Model(point, keras.layers.Dense(len(presence), name="reconstruction")(decoded), name="decoder")
    encoder = keras.Model(trigger, [inputs, latent, log_variance])
    training = keras.Model(trigger, [*encoder.outputs, decoder(latent)])

    def loss(x: Any) -> Any:
        scaled, mean, log_var = encoder(x, training=True)
        log_var = tf.clip_by_value(log_var, -10.0, 10.0)
        noise = tf.random.normal(tf.shape(mean))
        difference = scaled - decoder(mean + tf.exp(log_var / 2) * noise, training=True)
        present = tf.gather(x, presence, axis=1) != 0
        error = tf.reduce_mean(tf.square(tf.where(present, difference, 0)))
        divergence = tf.reduce_mean(-0.5 * (1 + log_var - tf.square(mean) - tf.exp(log_var)))
        return (1 - config.beta) * error + config.beta * divergence

    return Trainable(model, training, loss)


def copy_weights(source: Any, target: Any) -> None:
    """Copy the weights of the layers that two models have in common, by name."""
    for layer in source.layers:
        if isinstance(layer, keras.Model):
            copy_weights(layer, target.get_layer(layer.name))
        elif layer.weights:
            target.get_layer(layer.name).set_weights([np.asarray(w) for w in layer.get_weights()])
