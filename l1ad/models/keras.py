"""Keras 2 as QKeras needs it, and the layers of a trigger model that QKeras lacks.

Import Keras from here: QKeras 0.9 runs on Keras 2 (``tf_keras``), which TensorFlow uses only if told so before
it is first imported.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import qkeras
import tensorflow as tf
import tf_keras as keras

from l1ad.events.schema import InputColumn
from l1ad.files import replacing
from l1ad.fixed import FixedPoint

__all__ = ["PresenceMask", "SumOfSquares", "TriggerScaling", "keras", "load_model", "qkeras", "save_model", "tf"]

tf.get_logger().setLevel("ERROR")

if tf.keras.layers.Layer is not keras.layers.Layer:
    raise ImportError(
        "TensorFlow must use Keras 2 (tf_keras) for QKeras; import l1ad.models before TensorFlow, or set "
        "TF_USE_LEGACY_KERAS=1"
    )


class TriggerScaling(keras.layers.Layer):  # type: ignore[misc]
    """Trigger integers to network inputs: ``(x - offset) * 2**-shift``, exact in float32.

    Parameters
    ----------
    columns : tuple of InputColumn, or their fields as dicts
        What the trigger integers are.
    offset, shift : sequence of int, shape (n_columns,)
    """

    def __init__(self, columns: Any, offset: Any, shift: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = tuple(c if isinstance(c, InputColumn) else InputColumn(**c) for c in columns)
        self.offset = np.asarray(offset, np.int64)
        self.shift = np.asarray(shift, np.int64)

    def call(self, x: Any) -> Any:
        """Scaled values, shape (n_events, n_columns)."""
        return (x - self.offset.astype(np.float32)) * np.exp2(-self.shift).astype(np.float32)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make this layer again."""
        columns = [asdict(column) for column in self.columns]
        mine = {"columns": columns, "offset": self.offset.tolist(), "shift": self.shift.tolist()}
        return {**super().get_config(), **mine}


class PresenceMask(keras.layers.Layer):  # type: ignore[misc]
    """``[x, trigger integers] -> x`` where the object's pT is not 0, else 0.

    Parameters
    ----------
    index : sequence of int, shape (n_columns,)
        For each element of `x`, the column that holds the pT of its object.
    """

    def __init__(self, index: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = np.asarray(index, np.int64)

    def call(self, inputs: Any) -> Any:
        """Masked `x`."""
        x, trigger = inputs
        return tf.where(tf.gather(trigger, self.index, axis=1) != 0, x, 0)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make this layer again."""
        return {**super().get_config(), "index": self.index.tolist()}


class SumOfSquares(keras.layers.Layer):  # type: ignore[misc]
    """Anomaly score ``sum_i x_i**2`` in float64, exact, then truncated and saturated to an unsigned type.

    Parameters
    ----------
    out : str or None
        Type of the score, rounding TRN and overflow SAT; None leaves it in floating point.
    """

    def __init__(self, out: str | None, **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"dtype": "float64"}))
        self.out = out

    def call(self, x: Any) -> Any:
        """Score, shape (n_events, 1)."""
        score = tf.reduce_sum(tf.square(x), axis=1, keepdims=True)
        if self.out is None:
            return score
        kind = FixedPoint.parse(self.out)
        return tf.minimum(tf.floor(score / kind.lsb), float(kind.max_raw)) * kind.lsb

    def get_config(self) -> dict[str, Any]:
        """Arguments that make this layer again."""
        return {**super().get_config(), "out": self.out}


CUSTOM_OBJECTS: dict[str, Any] = {
    "TriggerScaling": TriggerScaling,
    "PresenceMask": PresenceMask,
    "SumOfSquares": SumOfSquares,
}


def save_model(model: Any, path: str | os.PathLike[str]) -> None:
    """Write an ``.h5`` file, whole or not at all; QKeras 0.9 cannot read the newer format back."""
    with replacing(Path(path)) as aside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file", UserWarning)
        warnings.filterwarnings("ignore", "The `keras.constraints.serialize", UserWarning)
        model.save(aside, save_format="h5")


def load_model(path: str | os.PathLike[str]) -> Any:
    """Keras model of an ``.h5`` file, as Keras 2 saves it, QKeras layers and ours included.

    Raises
    ------
    ValueError
        If the file cannot be read as a model; the text names it.
    """
    objects: dict[str, Any] = dict(CUSTOM_OBJECTS)
    qkeras.utils._add_supported_quantized_objects(objects)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The `keras.constraints.serialize", UserWarning)
            warnings.filterwarnings("ignore", "The initializer .* is unseeded", UserWarning)  # QKeras calls it twice
            return keras.models.load_model(path, custom_objects=objects, compile=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error)
        if unknown := re.match(r"Unknown [\w ]+: '?(\w+)'?", reason):
            reason = (
                f"it uses {unknown[1]!r}, which is of neither Keras 2 nor QKeras {qkeras.__version__}; "
                "replace it, or strip it off, and save the model again"
            )
        elif "No model config" in reason:
            reason = "it holds weights only; save the whole model, by model.save"
        raise ValueError(f"{path}: not a Keras model that l1ad can read: {reason}") from error
