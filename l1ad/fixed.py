"""Fixed-point types and `cast`, the only place in l1ad where bits are lost.

A *raw* number is an integer; its *value* is ``raw * 2**-frac``.  The rounding and overflow modes are those of
the AP types of HLS (AMD UG1399, "Arbitrary Precision Fixed-Point Data Types"), and `cast` equals the C++
headers that hls4ml ships, bit for bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt

Raw = npt.NDArray[np.int64]

ROUNDING = ("TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV")
OVERFLOW = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM")
MAX_BITS = 63
"""Widest raw number, sign included: every intermediate of a network fits an int64 with a bit to spare."""

_AP = re.compile(r"^ap_(u?)(?:int<(\d+)|fixed<(\d+),(-?\d+))((?:,[^<>,]+)*)>$")


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A fixed-point type: ``value = raw * 2**-frac``, `raw` an integer of `width` bits, sign bit included.

    Parameters
    ----------
    width : int
        Bits in all, 1 to 63.
    frac : int
        Fractional bits; may be negative or exceed `width`.
    signed : bool
    rounding : str
        One of `ROUNDING`: what `cast` does with the bits below the least significant one.
    overflow : str
        One of `OVERFLOW`: what `cast` does with values out of range.

    Raises
    ------
    TypeError, ValueError
        If a field is not what is stated above.
    """

    width: int
    frac: int
    signed: bool = True
    rounding: str = "TRN"
    overflow: str = "WRAP"

    def __post_init__(self) -> None:
        for field in ("width", "frac"):
            if type(getattr(self, field)) is not int:
                raise TypeError(f"FixedPoint {field} must be an int, not {getattr(self, field)!r}")
        if type(self.signed) is not bool:
            raise TypeError(f"FixedPoint signed must be a bool, not {self.signed!r}")
        if not 1 <= self.width <= MAX_BITS:
            raise ValueError(f"FixedPoint width must be between 1 and {MAX_BITS} bits, not {self.width}")
        if abs(self.frac) > MAX_BITS:
            raise ValueError(f"FixedPoint frac must be between -{MAX_BITS} and {MAX_BITS}, not {self.frac}")
        if self.rounding not in ROUNDING:
            raise ValueError(f"FixedPoint rounding must be one of {ROUNDING}, not {self.rounding!r}")
        if self.overflow not in OVERFLOW:
            raise ValueError(f"FixedPoint overflow must be one of {OVERFLOW}, not {self.overflow!r}")

    @property
    def lsb(self) -> float:
        """Value of one raw unit."""
        return 2.0**-self.frac

    @property
    def min_raw(self) -> int:
        """Smallest raw number that `cast` returns."""
        if not self.signed:
            return 0
        symmetric = self.overflow == "SAT_SYM" and self.width > 1  # of one bit, the headers make -1 all the same
        return -(1 << (self.width - 1)) + symmetric

    @property
    def max_raw(self) -> int:
        """Largest raw number that `cast` returns."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def bare(self) -> FixedPoint:
        """The same raw numbers, without modes: what tells how bits are laid out."""
        return FixedPoint(self.width, self.frac, self.signed)

    @property
    def unbounded(self) -> FixedPoint:
        """A type that rounds as this one does, and is wide enough for everything."""
        return FixedPoint(MAX_BITS, self.frac, True, self.rounding, "SAT")

    @classmethod
    def holding(cls, low: int, high: int, frac: int) -> FixedPoint:
        """Narrowest type that holds every raw number from `low` to `high`, so that a cast to it is exact."""
        signed = low < 0
        bits = max((-low - 1).bit_length() if signed else 0, max(high, 0).bit_length())
        return cls(max(bits + signed, 1), frac, signed)

    @classmethod
    def parse(cls, text: str) -> FixedPoint:
        """Type written as in C++, such as ``ap_ufixed<8,3,AP_RND_CONV,AP_SAT>`` or ``ap_int<13>``."""
        match = _AP.match(text.replace(" ", ""))
        if not match:
            raise ValueError(f"type must read ap_[u]fixed<width,integer[,rounding[,overflow]]>, not {text!r}")
        unsigned, whole, width, integer, rest = match.groups()
        modes = [mode.removeprefix("AP_") for mode in rest.split(",")[1:]]
        if modes[2:] and modes[2:] != ["0"]:
            raise ValueError(f"saturation bits are not supported, in {text!r}")
        bits = int(whole or width)
        return cls(bits, bits - int(whole or integer), not unsigned, *modes[:2])

    def __str__(self) -> str:
        """C++ spelling; integer bits count the sign."""
        u = "" if self.signed else "u"
        return f"ap_{u}fixed<{self.width},{self.width - self.frac},AP_{self.rounding},AP_{self.overflow}>"


def cast(raw: npt.ArrayLike, frac: int, to: FixedPoint) -> Raw:
    """Raw numbers of the type `to` that stand for the values ``raw * 2**-frac``.

    Parameters
    ----------
    raw : integer array_like, any shape
    frac : int
        Fractional bits of `raw`.
    to : FixedPoint

    Returns
    -------
    int64 array, shape of `raw`

    Raises
    ------
    TypeError
        If `raw` is not of an integer type.
    OverflowError
        If aligning `raw` with `to` would need more than 63 bits.

    Source
    ------
    AMD UG1399 quantisation and overflow modes; checked against ``ap_fixed_base.h`` as shipped with hls4ml 1.3.0.
    """
    given: npt.NDArray[Any] = np.asarray(raw)
    if given.dtype.kind not in "iu" or given.dtype == np.uint64:
        raise TypeError(f"cast needs integer raw numbers of at most 64 bits with sign, not dtype {given.dtype}")
    x = given.astype(np.int64)
    shift = frac - to.frac
    if shift > MAX_BITS - 1:
        raise OverflowError(f"cast from {frac} fractional bits to {to} drops {shift} bits, more than {MAX_BITS - 1}")
    x = _round(x, shift, to.rounding) if shift > 0 else _shift_left(x, -shift, to)
    if to.overflow == "WRAP":
        kept, sign = x & ((1 << to.width) - 1), 1 << (to.width - 1)
        return (kept ^ sign) - sign if to.signed else kept
    if to.overflow == "SAT_ZERO":
        return np.where((x < to.min_raw) | (x > to.max_raw), 0, x)
    return np.clip(x, to.min_raw, to.max_raw)


def from_float(values: npt.ArrayLike, to: FixedPoint) -> Raw:
    """Raw numbers of `to` that C++ makes of doubles: rounded and overflowing as its modes say.

    Parameters
    ----------
    values : float array_like, any shape
    to : FixedPoint

    Returns
    -------
    int64 array, shape of `values`

    Raises
    ------
    ValueError
        If a value is not finite, or so large that its integer needs more than 63 bits.
    """
    given = np.asarray(values, np.float64)
    if not np.isfinite(given).all():
        raise ValueError(f"numbers must be finite to become {to}")
    # two bits below the last are enough to round by, the lower of them set if anything is below it
    exact = [Fraction(value) * Fraction(2) ** (to.frac + 2) for value in given.ravel().tolist()]
    if any(abs(value) >= 1 << (MAX_BITS - 1) for value in exact):
        raise ValueError(f"numbers must need at most {MAX_BITS} bits to become {to}, not {np.abs(given).max()}")
    kept = [floor(value) | (value.denominator != 1) for value in exact]
    return cast(np.array(kept, np.int64).reshape(given.shape), to.frac + 2, to)


def _round(x: Raw, shift: int, rounding: str) -> Raw:
    """Drop `shift` > 0 low bits."""
    floor: Raw = x >> shift
    dropped = x - (floor << shift)
    if rounding == "TRN":
        return floor
    if rounding == "TRN_ZERO":
        return np.where((x < 0) & (dropped != 0), floor + 1, floor)
    half = 1 << (shift - 1)
    tie_up = {
        "RND": np.True_,
        "RND_MIN_INF": np.False_,
        "RND_INF": x >= 0,
        "RND_ZERO": x < 0,
        "RND_CONV": (floor & 1) == 1,
    }[rounding]
    return np.where((dropped > half) | ((dropped == half) & tie_up), floor + 1, floor)


def _shift_left(x: Raw, shift: int, to: FixedPoint) -> Raw:
    """Append `shift` >= 0 zero bits; nothing may leave an int64."""
    if x.size and shift:
        largest = max(abs(int(x.min())), abs(int(x.max())))
        if largest.bit_length() + shift > MAX_BITS - 1:
            raise OverflowError(
                f"cast to {to} needs {largest.bit_length() + shift + 1} bits to append {shift} fractional bits, "
                f"more than {MAX_BITS}"
            )
    return x << shift
