"""Weights that make plain and forced crossings one unbiased sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def draw_counts(expected: NDArray[np.float64], n: int, rng: np.random.Generator, forced: int | None = None) -> Ints:
    """Collisions of each class in `n` crossings, (n, classes): Poisson, plus one of class `forced`.

    Parameters
    ----------
    expected : (classes,) mean number per crossing, mu p_j
    """
    counts = rng.poisson(expected, (n, len(expected))).astype(np.int64)
    if forced is not None:
        counts[:, forced] += 1
    return counts


def stitched_weights(counts: Ints, zero_bias: int, forced: Ints, expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that make zero-bias and forced crossings one unbiased sample; their sum is about 1.

    Parameters
    ----------
    counts : (n, classes) collisions of each forced class in the event
    zero_bias : number of unforced crossings in the sample
    forced : (classes,) number of crossings in the sample with one forced collision of each class
    expected : (classes,) mean number per crossing, mu p_j

    Source
    ------
    Ehatäht and Veelken, arXiv 2106.04360
    """
    return 1.0 / (zero_bias + counts @ (forced / expected))
