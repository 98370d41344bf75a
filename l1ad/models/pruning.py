"""Pruning: in every dense layer that becomes hardware the smallest weights turn 0, and stay 0."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.models.keras import keras, tf


class Pruning:
    """What training has set to 0 and keeps at 0: a mask for the weights of each dense layer, biases left out.

    Parameters
    ----------
    model : keras.Model
        What becomes hardware.
    sparsity : float
        Share of the weights of each layer that are 0 in the end; 0 prunes nothing.
    epochs : int
        Of the training.  The share grows in the first half, fast at first, so that what is left can adapt.

    Raises
    ------
    ValueError
        If nothing would be left of a layer.

    Source
    ------
    The growth along a cubic is that of Zhu and Gupta, arXiv:1710.01878.
    """

    def __init__(self, model: Any, sparsity: float, epochs: int) -> None:
        self.sparsity = sparsity
        self.growing_epochs = ceil(epochs / 2) if sparsity else 0
        self.kernels = [layer.kernel for layer in _dense_layers(model)] if sparsity else []
        self.masks = [tf.Variable(tf.ones_like(kernel), trainable=False) for kernel in self.kernels]
        for kernel in self.kernels:
            if _n_pruned(kernel, sparsity) == np.size(kernel):
                raise ValueError(
                    f"model sparsity must leave at least one weight of {kernel.name.split('/')[0]!r}, which has "
                    f"{np.size(kernel)}, unlike {sparsity}"
                )

    def begin(self, epoch: int) -> None:
        """Choose the weights that are 0 in epoch number `epoch`, from 1, and after the last choice."""
        if epoch > self.growing_epochs:
            return
        share = self.sparsity * (1 - (1 - epoch / self.growing_epochs) ** 3)
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            mask.assign(_mask(kernel.numpy(), share))
        self.apply()

    def apply(self) -> None:
        """Set to 0 what the masks say; it follows each step of training."""
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            kernel.assign(kernel * mask)


def zero_weights(model: Any) -> dict[str, float]:
    """Share of the weights that are 0 once quantised, of each QKeras dense layer, by its name."""
    return {
        layer.name: float(np.mean(np.asarray(layer.kernel_quantizer_internal(layer.kernel)) == 0))
        for layer in _dense_layers(model)
    }


def _dense_layers(model: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def _n_pruned(kernel: Any, share: float) -> int:
    return ceil(share * np.size(kernel))


def _mask(kernel: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """0 for the weights that are smallest by magnitude, the first of equals first, else 1."""
    mask = np.ones(kernel.size, np.float32)
    mask[np.argsort(np.abs(kernel), axis=None, kind="stable")[: _n_pruned(kernel, share)]] = 0
    return mask.reshape(kernel.shape)
