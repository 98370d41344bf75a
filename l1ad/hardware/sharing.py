"""Laws of what sharing sub-expressions leaves of the adders of a layer: read in its weights, fitted on graphs.

`l1ad.hardware.rtl.adders` shares the pair of digits that comes most often, then the next; here nothing is shared, but
counted how often pairs come again.  ``benchmarks/estimator.py`` fits the laws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.fixed import Raw

Floats = npt.NDArray[np.float64]


def digits(weight: Raw) -> npt.NDArray[np.float32]:
    """Canonical signed digits of integers, -1, 0 or 1: shape (bits, *shape of the integers)."""
    rest, out = weight.copy(), []
    while rest.any():
        digit = np.where(rest & 1, 2 - (rest & 3), 0)
        out.append(digit)
        rest = (rest - digit) >> 1
    return np.array(out or [np.zeros_like(weight)], np.float32)


def count_digits(weight: Raw) -> Raw:
    """Number of digits of each integer that are not 0."""
    size = np.abs(weight)
    counted: Raw = np.bitwise_count(size ^ (3 * size)).astype(np.int64)
    return counted


@dataclass(frozen=True)
class Sharing:
    """What the laws of the sums of a layer read in its weights.

    Parameters
    ----------
    plain : float
        Adders if nothing is shared.
    adders : float array, shape (7,)
        For the share of them that is left, as a logarithm.  Of the pairs of digits in a column, at one distance and of
        one relative sign: how many come a second time, and a third, to each adder; the share that comes again; how
        often a pair comes; and that share times the digits of a column, the rows and the columns.  Logarithms, but for
        shares; 0 where no pair comes again.
    waiting : float array, shape (6,)
        For the nodes that wait between two levels, to what a plain tree has: 1, the share and how often, as before,
        rows, columns and digits to a weight.
    """

    plain: float
    adders: Floats
    waiting: Floats


def sharing(weight: Raw) -> Sharing:
    """What the laws read; `weight`: shape (n, m)."""
    digit = digits(weight)
    length, n, _ = digit.shape
    columns = np.abs(digit).sum(axis=(0, 1))
    plain = float(np.maximum(columns - 1, 0).sum())
    if not plain:
        return Sharing(0.0, np.zeros(7), np.zeros(6))
    above = np.triu(np.ones((n, n), bool), 1)
    by_row = digit.transpose(1, 0, 2)
    pairs = squares = again = thrice = 0.0
    for distance in range(length):
        low, high = by_row[:, : length - distance].reshape(n, -1), by_row[:, distance:].reshape(n, -1)
        signed, every = low @ high.T, np.abs(low) @ np.abs(high).T
        for found in ((every + signed) / 2, (every - signed) / 2):
            times = found[above] if distance == 0 else found
            pairs += float(times.sum())
            squares += float((times * times).sum())
            again += float(np.maximum(times - 1, 0).sum())
            thrice += float(np.maximum(times - 2, 0).sum())
    share, often = again / pairs, float(np.log(squares / pairs))
    rows, outputs = float(np.abs(digit).any(axis=(0, 2)).sum()), float((columns > 0).sum())
    total = float(columns.sum())
    sizes = share * np.log([total / outputs, rows, outputs])
    first = [np.log1p(again / plain), np.log1p(thrice / plain), share, often]
    dense = float(np.log(total / (rows * outputs)))
    return Sharing(
        plain,
        np.array([*first, *sizes]) * (again > 0),
        np.array([1.0, share, often, np.log(rows), np.log(outputs), dense]),
    )


def share_left(found: Sharing, known: Mapping[str, Any]) -> float:
    """Adders after sharing to those before."""
    return float(np.exp(min(found.adders @ known["sharing"]["adders"], 0.0)))


def bits_per_adder(width: float, result: float, signed: float, left: float) -> Floats:
    """What the bits of an adder in which both of its operands vary are a law of.

    Parameters
    ----------
    width, result : float
        Mean bits of the terms, and of the results.
    signed : float
        Share of the terms that can be negative.
    left : float
        By `share_left`: what is shared are the narrow adders of the first levels.
    """
    return np.array([1.0, width, result, signed, left])


def waiting(terms: Raw, level: int, found: Sharing, left: float, known: Mapping[str, Any]) -> float:
    """Nodes that are still to be added after `level` > 0 levels; `terms`: of each column; `left`: by `share_left`."""
    laws = known["sharing"]["waiting"]
    law = np.array(laws[min(level, len(laws)) - 1])
    return plain_waiting(terms, level) * float(np.exp(found.waiting @ law[:-1] + law[-1] * np.log(left)))


def plain_waiting(terms: Raw, level: int) -> float:
    """Nodes that are still to be added after `level` levels, if nothing is shared."""
    return float(np.ceil(terms / 2**level).sum())
