"""68 % intervals of fractions and rates: exact where events count alike, scaled to effective events where they do not.

Both are central, and cover the truth at least as often as they say where events count alike: discrete counts make them
cover up to 1 / (2 √n) more.  Effective events carry the first two moments of the weights, no more: where a few heavy
events among many light ones make up most of Σw², and fewer than some five of the heavy are expected, an interval covers
64 to 67 %, for it cannot know of those that it did not see.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, gamma

from l1ad.trigger.samples import FloatArray

CONFIDENCE = math.erf(1 / math.sqrt(2))
"""Coverage: one standard deviation, 68.27 %."""
TAIL = (1 - CONFIDENCE) / 2


def clopper_pearson(k: npt.ArrayLike, n: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Exact interval of the probability of which `k` of `n` trials are seen.

    Parameters
    ----------
    k, n : array_like of float
        Events, perhaps effective ones; they are broadcast.

    Returns
    -------
    low, high : ndarray of float64
        Fractions.

    Source
    ------
    Clopper and Pearson, Biometrika 26 (1934) 404.
    """
    k, n = np.asarray(k, np.float64), np.asarray(n, np.float64)
    low = np.where(k > 0, beta.ppf(TAIL, k, n - k + 1), 0.0)
    high = np.where(k < n, beta.isf(TAIL, k + 1, n - k), 1.0)
    return low, high


def interval(
    value: npt.ArrayLike, n_effective: npt.ArrayLike, n_events: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Interval of a sum of weights, or of a rate.

    `value` is scaled by the interval of a count of `n_effective`: Clopper-Pearson's out of `n_events`, and where the
    accepted are a small fraction of those, or their number is not known, Garwood's.  For equal weights either is exact.
    The binomial variance 1 / n_effective - 1 / n_events is that of `n_events` independent weighted events; stitched
    classes of fixed sizes have a smaller one.

    Parameters
    ----------
    value : array_like of float
        Σw of the accepted events, or what is proportional to it.
    n_effective : array_like of float
        (Σw)² / Σw² of these.
    n_events : array_like of int, optional
        Events of the whole sample; None for a sample of which the size itself is random.

    Returns
    -------
    low, high : ndarray of float64
        In the unit of `value`; both 0 where nothing is accepted, for there is then no scale.

    Source
    ------
    Garwood, Biometrika 28 (1936) 437; weights: Bohm and Zech, Nucl. Instrum. Meth. A 748 (2014) 1.
    """
    value, k = np.asarray(value, np.float64), np.asarray(n_effective, np.float64)
    if n_events is None:
        low, high = np.where(k > 0, gamma.ppf(TAIL, k), 0.0), gamma.isf(TAIL, k + 1)
    else:
        n = np.asarray(n_events, np.float64)
        low, high = (n * bound for bound in clopper_pearson(np.minimum(k, n), n))
    scale = np.divide(value, k, out=np.zeros(np.broadcast_shapes(value.shape, k.shape)), where=k > 0)
    return scale * low, scale * high
