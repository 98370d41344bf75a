"""Training: the float twin first, then the quantised model from the twin's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from l1ad.events.schema import InputColumn
from l1ad.fixed import Raw
from l1ad.models.architectures import Trainable, build, copy_weights
from l1ad.models.config import ModelConfig
from l1ad.models.keras import keras, tf
from l1ad.models.pruning import Pruning, zero_weights
from l1ad.models.scaling import Scaling, fit_scaling

FINE_TUNING = 0.03
"""Learning rate of the quantised model relative to its twin's: it must stay the twin's, not become another model.
A pruned one keeps the twin's rate: what is left must make up for what is gone."""

Progress = Callable[[str, int, int, float], None]
"""Called after each epoch with the model's label, epoch, number of epochs, and validation loss."""


@dataclass(frozen=True)
class Trained:
    """A quantised model, its float twin, and their loss curves.

    Parameters
    ----------
    quantised, twin : keras.Model
        Trigger integers to score.
    scaling : Scaling
    losses : dict of str to list of float
        ``float_train``, ``float_validation``, ``quantised_train``, ``quantised_validation``: one value an epoch.
    sparsity : dict of str to float
        `zero_weights` of the quantised model.
    """

    quantised: Any
    twin: Any
    scaling: Scaling
    losses: dict[str, list[float]]
    sparsity: dict[str, float]


def train(
    config: ModelConfig,
    columns: tuple[InputColumn, ...],
    presence: Raw,
    train_events: Raw,
    validation_events: Raw,
    seed: int,
    progress: Progress,
) -> Trained:
    """Train a float twin, then the quantised model.

    Parameters
    ----------
    config : ModelConfig
    columns : tuple of InputColumn
    presence : int64 array, shape (n_columns,)
    train_events, validation_events : int64 array, shape (n_events, n_columns)
        Trigger integers of zero-bias events.
    seed : int
        Of everything random: same seed, same machine, same weights.
    progress : callable
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    scaling = fit_scaling(train_events, columns, presence)
    twin = build(config, columns, scaling, presence, quantised=False)
    quantised = build(config, columns, scaling, presence, quantised=True)
    losses: dict[str, list[float]] = {}
    tuning = config.learning_rate * (1 if config.sparsity else FINE_TUNING)
    for label, model, epochs, rate, sparsity in (
        ("float", twin, config.float_epochs, config.learning_rate, 0.0),
        ("quantised", quantised, config.quantised_epochs, tuning, config.sparsity),
    ):
        if label == "quantised":
            copy_weights(twin.training, quantised.training)
        losses[f"{label}_train"], losses[f"{label}_validation"] = _fit(
            model,
            config.batch_size,
            epochs,
            rate,
            sparsity,
            train_events,
            validation_events,
            seed,
            lambda *a, label=label: progress(label, *a),
        )
    return Trained(quantised.trigger, twin.trigger, scaling, losses, zero_weights(quantised.trigger))


def _fit(
    model: Trainable,
    batch_size: int,
    epochs: int,
    learning_rate: float,
    sparsity: float,
    train_events: Raw,
    validation_events: Raw,
    seed: int,
    progress: Callable[[int, int, float], None],
) -> tuple[list[float], list[float]]:
    """Adam with a cosine schedule on events held in memory; the best epoch by validation loss, once pruned, is kept."""
    x, validation = (tf.constant(events, tf.float32) for events in (train_events, validation_events))
    batches = max(len(train_events) // batch_size, 1)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * batches)
    optimiser = keras.optimizers.Adam(schedule, clipnorm=1.0)
    variables = model.training.trainable_variables
    pruning = Pruning(model.trigger, sparsity, epochs)

    @tf.function  # type: ignore[untyped-decorator]
    def epoch(order: Any) -> Any:
        total = tf.constant(0.0)
        for batch in tf.range(batches):
            chosen = tf.gather(x, order[batch * batch_size : (batch + 1) * batch_size])
            with tf.GradientTape() as tape:
                loss = model.loss(chosen)
            optimiser.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            pruning.apply()
            total += loss
        return total / tf.cast(batches, tf.float32)

    optimiser.build(variables)
    validate = tf.function(model.loss)
    shuffle = np.random.default_rng(seed)
    curves: tuple[list[float], list[float]] = ([], [])
    best, kept = np.inf, model.training.get_weights()
    for number in range(1, epochs + 1):
        pruning.begin(number)
        curves[0].append(float(epoch(tf.constant(shuffle.permutation(len(train_events))))))
        curves[1].append(float(validate(validation)))
        if not np.isfinite(curves[0][-1] + curves[1][-1]):
            raise ValueError(f"training diverged in epoch {number}; lower learning_rate")
        if number >= pruning.growing_epochs and curves[1][-1] < best:
            best, kept = curves[1][-1], model.training.get_weights()
        progress(number, epochs, curves[1][-1])
    model.training.set_weights(kept)
    return curves


def scores(model: Any, x: Raw, batch_size: int = 16384) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Scores of a model, float64, shape (n_events,), for trigger integers `x`, shape (n_events, n_columns)."""
    return np.concatenate(
        [
            np.asarray(model(tf.constant(x[start : start + batch_size], tf.float32), training=False))[:, 0]
            for start in range(0, len(x), batch_size)
        ]
    )
