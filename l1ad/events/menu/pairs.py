"""Masses and distances of two objects in integers, as the Global Trigger of CMS compares them.

Angles are differences of codes (phi the short way round), looked up in tables of integers:

- Δη and Δφ in units of 10^-3 (`ANGLE_DECIMALS`), the half unit up; ΔR² = Δη² + Δφ² in units of 10^-6;
- cosh Δη and cos Δφ in units of 10^-decimals, the nearest; `decimals` is part of the pair
  (`l1ad.events.menu.Pair`).

The mass is that of massless objects, M²/2 = pT1 pT2 (cosh Δη - cos Δφ), on codes of pT.  Limits are turned into the
integers that say the same, exactly: what is rounded is the tables alone, and M²/2 is within pT1 pT2 10^-decimals of the
exact one.

A saturated code of pT says at least so much: the mass is then unknown, and passes every limit.

Where two collections count angles in steps of different size, the larger must be a multiple of the smaller (calorimeter
and muon: 4), and value = code x LSB as everywhere.  The Global Trigger takes the middle of the calorimeter's cell
against a muon, half a step of it (0.022) further.

Source
------
github.com/cms-l1-globaltrigger, firmware packages: digits of calorimeter-calorimeter 3, calorimeter-muon and muon-muon
4, of Δη and Δφ 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.menu.seeds import LIMITS, Pair
from l1ad.events.schema import Column, Schema

__all__ = ["ANGLE_DECIMALS", "PairCuts", "angle_table", "column_of", "cos_table", "cosh_table", "pair_cuts", "passes"]

ANGLE_DECIMALS = 3
MAX_TABLE = 2**22
"""Entries of a table at most: differences of codes of 21 bits."""
LARGEST = 2**63 - 1

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Integers from `low` to `high`, both included."""

    low: int
    high: int

    def holds(self, values: Ints) -> NDArray[np.bool_]:
        """Whether each value lies in it."""
        return (values >= self.low) & (values <= self.high)


@dataclass(frozen=True)
class Angle:
    """Differences of one angle between two collections, on a common grid.

    Attributes
    ----------
    factors : steps of the grid per code of the first and second collection
    lsb : value of a step
    span : largest difference, in steps
    turn : steps once around, or None
    """

    factors: tuple[int, int]
    lsb: float
    span: int
    turn: int | None

    def between(self, first: NDArray[Any], second: NDArray[Any]) -> Ints:
        """Difference in steps, not negative, of codes (n,) and (n,)."""
        steps = np.abs(first.astype(np.int64) * self.factors[0] - second.astype(np.int64) * self.factors[1])
        return np.asarray(steps if self.turn is None else np.minimum(steps, self.turn - steps))


@dataclass(frozen=True)
class PairCuts:
    """A pair's limits as integers, for the columns of two collections.

    Attributes
    ----------
    windows : of ``mass``, ``dr``, ``deta``, ``dphi``, those that are limited
    eta, phi : how differences are taken, None where none is needed
    decimals : of cosh and cos, 0 without a mass
    saturated : codes of pT that are limits, not energies, or None
    charges : as in `Pair`
    """

    windows: dict[str, Window]
    eta: Angle | None
    phi: Angle | None
    decimals: int
    saturated: tuple[int | None, int | None]
    charges: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that `passes` wants."""
        used = {"pt": "mass" in self.windows, "eta": self.eta, "phi": self.phi, "charge": self.charges}
        return tuple(name for name, wanted in used.items() if wanted)


@lru_cache(maxsize=64)
def angle_table(lsb: float, span: int) -> Ints:
    """Angle of 0 to `span` steps in units of 10^-3, the half unit up; (span + 1,)."""
    step = Fraction(str(lsb)) * 10**ANGLE_DECIMALS
    top, bottom = step.numerator, step.denominator
    return np.array([(2 * top * i + bottom) // (2 * bottom) for i in range(span + 1)], np.int64)


@lru_cache(maxsize=64)
def cosh_table(lsb: float, span: int, decimals: int) -> Ints:
    """Hyperbolic cosine of 0 to `span` steps in units of 10^-decimals, the nearest; (span + 1,)."""
    return np.array([round(math.cosh(i * lsb) * 10**decimals) for i in range(span + 1)], np.int64)


@lru_cache(maxsize=64)
def cos_table(lsb: float, span: int, decimals: int) -> Ints:
    """Cosine of 0 to `span` steps in units of 10^-decimals, the nearest; (span + 1,)."""
    return np.array([round(math.cos(i * lsb) * 10**decimals) for i in range(span + 1)], np.int64)


def column_of(schema: Schema, collection: str, name: str, where: str) -> Column:
    """The column of that name of a collection.

    Raises
    ------
    ValueError
        If there is no such collection or column; the text starts with `where`.
    """
    try:
        column = schema.collection(collection).column(name)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if column is None:
        raise ValueError(f"{where}: collection {collection} must have the column {name}; schema {schema.name}")
    return column


def pair_cuts(pair: Pair, schema: Schema, where: str) -> PairCuts:
    """The integers that say what a pair says.

    Raises
    ------
    ValueError
        If a collection lacks a column, the angles have no common grid, a limit is beyond what the codes reach, or a
        mass beyond 63 bits; the text starts with `where`.
    """
    names = [each.collection for each in pair.objects for _ in each.pt]

    def both(name: str) -> tuple[Column, Column]:
        return column_of(schema, names[0], name, where), column_of(schema, names[1], name, where)

    limited = {name: pair.limits(name) for name in LIMITS if pair.limits(name) != (None, None)}
    eta = _angle(*both("eta"), f"{where}: eta of {names[0]} and {names[1]}") if limited.keys() - {"dphi"} else None
    phi = _angle(*both("phi"), f"{where}: phi of {names[0]} and {names[1]}") if limited.keys() - {"deta"} else None
    if pair.charges is not None:
        both("charge")
    pt, decimals = both("pt"), pair.decimals or 0
    deta, dphi = (0 if angle is None else int(angle_table(angle.lsb, angle.span)[-1]) for angle in (eta, phi))
    reached = {"deta": deta, "dphi": dphi, "dr": deta**2 + dphi**2}
    if "mass" in limited and eta is not None:
        reached["mass"] = _largest(pt, eta, decimals, where)
    unit = Fraction(10) ** ANGLE_DECIMALS
    powers: dict[str, Callable[[Fraction], Fraction]] = {
        "deta": lambda limit: limit * unit,
        "dphi": lambda limit: limit * unit,
        "dr": lambda limit: (limit * unit) ** 2,
        "mass": lambda limit: limit**2 / 2 * 10**decimals / (_exact(pt[0].lsb) * _exact(pt[1].lsb)),
    }
    windows = {name: _window(name, ends, powers[name], reached[name], where) for name, ends in limited.items()}
    return PairCuts(windows, eta, phi, decimals, (pt[0].saturated, pt[1].saturated), pair.charges)


def passes(cuts: PairCuts, first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Whether two objects lie in the limits together, and have the charges (n,).

    Parameters
    ----------
    cuts : PairCuts
    first, second : raw codes (n,) of each, by the names of ``cuts.columns``
    """
    fine: list[NDArray[np.bool_]] = []
    if cuts.charges is not None:  # 0 and 1 are charges, 2 is none measured
        a, b = first["charge"], second["charge"]
        fine.append((a < 2) & (b < 2) & ((a != b) if cuts.charges == "opposite" else (a == b)))
    eta = None if cuts.eta is None else cuts.eta.between(first["eta"], second["eta"])
    phi = None if cuts.phi is None else cuts.phi.between(first["phi"], second["phi"])
    distances = {
        name: angle_table(angle.lsb, angle.span)[steps]
        for name, angle, steps in (("deta", cuts.eta, eta), ("dphi", cuts.phi, phi))
        if angle is not None and steps is not None
    }
    if "dr" in cuts.windows:
        distances["dr"] = distances["deta"] ** 2 + distances["dphi"] ** 2
    fine += [window.holds(distances[name]) for name, window in cuts.windows.items() if name != "mass"]
    if "mass" in cuts.windows and cuts.eta is not None and cuts.phi is not None:
        a, b = (each["pt"].astype(np.int64) for each in (first, second))
        cosh = cosh_table(cuts.eta.lsb, cuts.eta.span, cuts.decimals)[eta]
        cos = cos_table(cuts.phi.lsb, cuts.phi.span, cuts.decimals)[phi]
        inside = cuts.windows["mass"].holds(a * b * (cosh - cos))
        for codes, saturated in zip((a, b), cuts.saturated, strict=True):
            if saturated is not None:
                inside |= codes >= saturated
        fine.append(inside)
    return np.asarray(np.logical_and.reduce(fine))


def _exact(number: float) -> Fraction:
    """The decimal fraction that a number of a document stands for."""
    return Fraction(str(number))


def _angle(first: Column, second: Column, what: str) -> Angle:
    fine = min(first.lsb, second.lsb)
    ratios = [column.lsb / fine for column in (first, second)]
    factors = (round(ratios[0]), round(ratios[1]))
    if any(not math.isclose(ratio, factor, rel_tol=1e-6) for ratio, factor in zip(ratios, factors, strict=True)):
        raise ValueError(
            f"{what} must have steps of which one is a multiple of the other, not {first.lsb} and {second.lsb}"
        )
    turn = None
    if first.name == "phi":
        turns = [
            None if column.turn is None else column.turn * f for column, f in zip((first, second), factors, strict=True)
        ]
        if turns[0] is None or turns[0] != turns[1]:
            raise ValueError(f"{what} must go once around, not {turns[0]} and {turns[1]} steps")
        turn = turns[0]
    ends = [
        (column.low * factor, column.high * factor) for column, factor in zip((first, second), factors, strict=True)
    ]
    span = turn // 2 if turn is not None else max(ends[0][1] - ends[1][0], ends[1][1] - ends[0][0])
    if span >= MAX_TABLE:
        raise ValueError(f"{what} must differ by fewer than {MAX_TABLE} steps, not {span}")
    return Angle(factors, fine, span, turn)


def _largest(pt: tuple[Column, Column], eta: Angle, decimals: int, where: str) -> int:
    """The largest M²/2 of codes, in the unit that `passes` has."""
    exponent = eta.span * eta.lsb / math.log(2)  # cosh is below 2 to this
    if exponent + decimals * math.log2(10) < 53:  # else a float64 does not hold the last decimal
        largest: int = pt[0].high * pt[1].high * (int(cosh_table(eta.lsb, eta.span, decimals)[-1]) + 10**decimals)
        if largest <= LARGEST:
            return largest
    raise ValueError(f"{where}: mass with {decimals} decimals must fit 63 bits, as it does not; take fewer decimals")


def _window(
    name: str,
    ends: tuple[float | None, float | None],
    power: Callable[[Fraction], Fraction],
    reached: int,
    where: str,
) -> Window:
    for end, key in zip(ends, (f"{name}_min", f"{name}_max"), strict=True):
        if end is not None and power(_exact(end)) > reached:
            most = math.sqrt(reached / power(Fraction(1))) if name in ("mass", "dr") else reached / power(Fraction(1))
            raise ValueError(
                f"{where}: {key} must be at most {float(most):.6g}, which is all that the codes reach, not {end}"
            )
    low, high = ends
    return Window(
        0 if low is None else math.ceil(power(_exact(low))),
        reached if high is None else math.floor(power(_exact(high))),
    )
