"""Weights that make plain and forced crossings one unbiased sample.

A rate sample has plain crossings and, for each rare class j, crossings with one *forced* collision of that class.  With
q the profile that the pileup μ of every crossing is drawn from, p the profile that is wanted, p_j the probability that
a collision is of class j, N_j the number of forced crossings and n_j the collisions of class j in a crossing, such a
crossing is drawn with density ``(N_zb + sum_j N_j n_j / (μ p_j)) q(μ) Poisson(n | μ)``, for a forced one is the plain
density times n_j / (μ p_j).  The weight

    w = p(μ) / q(μ) / (N_zb + sum_j N_j n_j / (μ p_j))

therefore adds up to the probability per crossing of whatever is selected (Ehatäht and Veelken, arXiv 2106.04360, with
pileup).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.pileup import Profile, reweight
from l1ad.events.store import Events

__all__ = ["draw_counts", "stitched_weights", "weights_without"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def draw_counts(mu: Floats, share: Floats, rng: np.random.Generator, forced: int | None = None) -> Ints:
    """Collisions of each class in crossings, (n, classes): Poisson, plus one of class `forced`.

    Parameters
    ----------
    mu : (n,) pileup of each crossing
    share : (classes,) p_j, the probability that a collision is of class j
    """
    counts = rng.poisson(mu[:, None] * share).astype(np.int64)
    if forced is not None:
        counts[:, forced] += 1
    return counts


def stitched_weights(
    counts: Ints, mu: Floats, share: Floats, plain: int, forced: Ints, generated: Profile, target: Profile
) -> Floats:
    """Weights of plain and forced crossings together; their sum is about 1.

    Parameters
    ----------
    counts : (n, classes) collisions of each rare class in each crossing
    mu : (n,) pileup of each crossing
    share : (classes,) p_j, the probability that a collision is of class j
    plain : number of unforced crossings in the sample
    forced : (classes,) number of crossings in the sample with one forced collision of each class
    generated, target : profiles of μ, drawn and wanted
    """
    return reweight(mu, generated, target) / (plain + counts @ (forced / share) / mu)


def weights_without(events: Events, attrs: dict[str, Any], left_out: Iterable[str]) -> Floats:
    """Weights that the events of a stitched file would have, had nothing been forced in some classes, (n,).

    Of the events that are then left, those not forced in these classes, they make an unbiased sample again: its rates
    must agree with those of the whole, if the classes are what they claim.  Without any forced class it is plain
    zero-bias.  The variance of such a rate is the sum of weight times new weight over *all* accepted events of the
    whole sample, so that it is known even where few or none are left.

    Parameters
    ----------
    events, attrs : of a stitched event file that `l1ad.events.generation.plan` made
    left_out : names of classes
    """
    classes, left_out = attrs["classes"], set(left_out)
    if not left_out <= set(classes):
        raise ValueError(f"left_out must be of {', '.join(classes)}, not {', '.join(sorted(left_out))}")
    share = np.array([attrs["class_probability"][name] for name in classes])
    forced = np.array([attrs["forced_events"][name] for name in classes])
    fewer = np.array([0 if name in left_out else attrs["forced_events"][name] for name in classes])
    expected = events.meta["class_counts"] / (events.meta["pileup"].astype(np.float64)[:, None] * share)
    plain = attrs["plain_events"]
    return np.asarray(events.meta["weight"] * (plain + expected @ forced) / (plain + expected @ fewer), np.float64)
