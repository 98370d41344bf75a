"""68 % intervals of fractions and rates: exact where events count alike, scaled to effective events where they do not.

Both are central, and cover the truth at least as often as they say where events count alike: discrete counts make them
cover up to 1 / (2 √n) more.  Effective events carry the first two moments of the weights, no more.  Where a few heavy
events among many light ones make up half of Σw², their intervals cover 66 % only, for Σw² is itself a count of few:
they are widened by what the third moment says of that, and then cover 68 to 70 %.

No interval knows of weights that it did not see.  Where one heavy event weighs three to ten times as much in Σw² as all
light ones together, it covers 52 to 67 % if one or fewer are expected, and up to 80 % if two or more are: as a count of
so few does, however many light events n_eff tells of.
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
    value: npt.ArrayLike,
    n_effective: npt.ArrayLike,
    n_events: npt.ArrayLike | None = None,
    skewness: npt.ArrayLike = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """Interval of a sum of weights, or of a rate.

    `value` is scaled by the interval of a count of `n_effective`: Clopper-Pearson's out of `n_events`, and where the
    accepted are a small fraction of those, or their number is not known, Garwood's.  For equal weights either is exact.
    The binomial variance 1 / n_effective - 1 / n_events is that of `n_events` independent weighted events; stitched
    classes of fixed sizes have a smaller one.

    With γ the skewness, both half-widths are then multiplied by 1 + (γ² - 1/n_eff) / 2: by 1 for equal weights, which
    have γ = 1/√n and the smallest γ of all.  1/γ² is a number of events as n_eff is, of those that make up Σw²; the
    factor was found by toys, and tests hold it.

    Parameters
    ----------
    value : array_like of float
        Σw of the accepted events, or what is proportional to it.
    n_effective : array_like of float
        (Σw)² / Σw² of these.
    n_events : array_like of int, optional
        Events of the whole sample; None for a sample of which the size itself is random.
    skewness : array_like of float
        Σw³/(Σw²)^(3/2); see `l1ad.trigger.samples.Support`.

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
    shape = np.broadcast_shapes(value.shape, k.shape)
    scale = np.divide(value, k, out=np.zeros(shape), where=k > 0)
    equal = np.divide(1.0, k, out=np.zeros(k.shape), where=k > 0)
    wider = np.maximum(np.square(np.asarray(skewness, np.float64)) - equal, 0.0) / 2
    return scale * (low - wider * (k - low)), scale * (high + wider * (high - k))
