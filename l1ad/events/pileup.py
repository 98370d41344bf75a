"""Pileup: the mean number of collisions per crossing, its distribution, and weights from one to another.

Pileup μ is the expected number of inelastic pp collisions in a crossing, the interesting one included, at the
cross-section that the sample states.  CMS quotes μ at 69.2 mb or 80 mb: μ scales with the cross-section.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import truncnorm

__all__ = ["Flat", "Normal", "Profile", "Table", "reweight", "rounded"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Flat:
    """Uniform from `low` to `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high < math.inf:
            raise ValueError(f"pileup must be flat from a smaller to a larger value, not {self.low} to {self.high}")

    def density(self, mu: npt.ArrayLike) -> Floats:
        """Probability per unit of μ at each μ."""
        mu = np.asarray(mu, np.float64)
        return np.where((mu >= self.low) & (mu <= self.high), 1 / (self.high - self.low), 0.0)

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """`n` values of μ."""
        return rng.uniform(self.low, self.high, n)

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest μ."""
        return self.low, self.high


@dataclass(frozen=True)
class Normal:
    """Normal, cut off below `low` and above `high`: a profile ends where no event is generated."""

    mean: float
    sd: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (self.sd > 0 and 0 <= self.low < self.mean < self.high < math.inf):
            raise ValueError(
                f"pileup must be normal with its mean between low and high, not {self.mean} ± {self.sd} "
                f"from {self.low} to {self.high}"
            )

    @property
    def _law(self) -> Any:
        return truncnorm((self.low - self.mean) / self.sd, (self.high - self.mean) / self.sd, self.mean, self.sd)

    def density(self, mu: npt.ArrayLike) -> Floats:
        """Probability per unit of μ at each μ."""
        return np.asarray(self._law.pdf(np.asarray(mu, np.float64)), np.float64)

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """`n` values of μ."""
        return np.asarray(self._law.rvs(size=n, random_state=rng), np.float64)

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest μ."""
        return self.low, self.high


@dataclass(frozen=True)
class Table:
    """A histogram: `content` of any scale between neighbouring `edges`, flat within a bin."""

    edges: tuple[float, ...]
    content: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = len(self.edges) >= 2 and list(self.edges) == sorted(set(self.edges)) and self.edges[0] >= 0
        if not rising or len(self.content) != len(self.edges) - 1:
            raise ValueError(
                f"pileup table must have rising edges and one content for each bin, not {len(self.edges)} edges and "
                f"{len(self.content)} contents"
            )
        if min(self.content) < 0 or not 0 < sum(self.content) < math.inf:
            raise ValueError("pileup table must have contents that are not negative and not all zero")

    def density(self, mu: npt.ArrayLike) -> Floats:
        """Probability per unit of μ at each μ."""
        mu = np.asarray(mu, np.float64)
        content = np.asarray(self.content) / (sum(self.content) * np.diff(self.edges))
        at = np.clip(np.searchsorted(self.edges, mu, "right") - 1, 0, len(content) - 1)
        return np.where((mu >= self.edges[0]) & (mu <= self.edges[-1]), content[at], 0.0)

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """`n` values of μ."""
        at = rng.choice(len(self.content), n, p=np.asarray(self.content) / sum(self.content))
        return rng.uniform(np.asarray(self.edges)[at], np.asarray(self.edges)[at + 1])

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest μ with content."""
        filled = np.flatnonzero(self.content)
        return self.edges[filled[0]], self.edges[filled[-1] + 1]


Profile = Flat | Normal | Table


def reweight(mu: npt.ArrayLike, generated: Profile, target: Profile) -> Floats:
    """Weight of each crossing that turns the generated distribution of μ into the target's: their ratio, mean 1.

    A sample that was weighted to one target goes to another by the ratio of the two, where the first is not zero.

    Parameters
    ----------
    mu : (n,) pileup of each crossing
    generated : profile that `mu` was drawn from
    target : profile wanted

    Raises
    ------
    ValueError
        If the target reaches where nothing was generated: weights cannot make events that are not there.
    """
    low, high = target.support
    grid = np.linspace(low, high, 1001)
    bare = (target.density(grid) > 0) & (generated.density(grid) == 0)
    if bare.any():
        raise ValueError(
            f"target pileup {low:g}..{high:g} must lie where events were generated, {generated.support[0]:g}.."
            f"{generated.support[1]:g}, not reach {grid[bare][0]:g}; generate there, or choose a narrower target"
        )
    have = generated.density(mu)
    if (have == 0).any():
        odd = np.asarray(mu)[have == 0][0]
        raise ValueError(f"mu must have been drawn from the generated profile, which is zero at {odd:g}")
    return np.asarray(target.density(mu) / have, np.float64)


def rounded(mu: Floats, profile: Profile) -> Floats:
    """μ in steps of 1/16 within the support: exact in 32 bits, and cheap to store."""
    low, high = profile.support
    return np.clip(np.rint(mu * 16), np.ceil(low * 16), np.floor(high * 16)) / 16
