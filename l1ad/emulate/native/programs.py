"""What is done to the numbers in the lanes of a vector, with the proof that it does not overflow them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Integers

END, ADD, MUL, SHL, SAR, AND, EXTEND, SIGN, EVEN, ZERO, LOOK, CLAMP = range(12)
"""Codes of kernel.cpp."""


@dataclass(frozen=True)
class Op:
    """One step, as kernel.cpp has it; `each`: a constant per element, or the table of a LOOK."""

    code: int
    a: int = 0
    b: int = 0
    each: Raw | None = None


@dataclass
class Program:
    """Steps on the numbers of one value, and between what each number lies.

    Parameters
    ----------
    low, high : object array, shape (size,) or ()
        Python integers, before the first step; the methods that add steps keep them true.
    where : str
        What an error text calls the value.
    """

    low: Integers
    high: Integers
    where: str
    ops: list[Op] = field(default_factory=list)
    bits: int = 16

    def __post_init__(self) -> None:
        self.reach(self.low, self.high)

    def copy(self) -> Program:
        """One that can grow on its own."""
        other = copy.copy(self)
        other.ops = list(self.ops)
        return other

    def reach(self, low: Integers | int, high: Integers | int) -> None:
        """Note numbers that the lanes must hold."""
        needed = 1 + max(int(np.min(low)).bit_length(), int(np.max(high)).bit_length())
        if needed > 64:
            raise UnsupportedError(f"{self.where}: native emulation has 64 bits, not the {needed} that a step needs")
        self.bits = max(self.bits, _lanes(needed))

    def _then(self, op: Op, low: Integers, high: Integers) -> None:
        self.ops.append(op)
        self.low, self.high = np.asarray(low, object), np.asarray(high, object)
        self.reach(self.low, self.high)

    def add(self, constant: Integers) -> None:
        """Add a number to each element; shape (size,), or () for the same to all."""
        if np.any(constant != 0):
            self.reach(constant, constant)
            self._then(_with(ADD, constant), self.low + constant, self.high + constant)

    def multiply(self, constant: Integers) -> None:
        """Multiply each element; shape (size,), or () for the same to all."""
        if np.any(constant != 1):
            self.reach(constant, constant)
            ends = self.low * constant, self.high * constant
            self._then(_with(MUL, constant), np.minimum(*ends), np.maximum(*ends))

    def up(self, bits: int) -> None:
        """Append zero bits."""
        if bits:
            self._then(Op(SHL, bits), self.low << bits, self.high << bits)

    def look(self, table: Raw, lowest: int) -> None:
        """Take the entry of a table, that of the number `lowest` first."""
        self._then(Op(LOOK, lowest, len(table), table), table.min(), table.max())

    def cast(self, frac: int, to: FixedPoint) -> None:
        """Cast of numbers with `frac` fractional bits, as `fixed.cast` does it."""
        shift = frac - to.frac
        if shift > 0:
            self._round(shift, to.rounding)
        else:
            self.up(-shift)
        lowest, highest = int(np.min(self.low)), int(np.max(self.high))
        if lowest < to.min_raw or highest > to.max_raw:
            self.bits = max(self.bits, _lanes(to.width + (not to.signed)))
            low, high = np.array(to.min_raw, object), np.array(to.max_raw, object)
            match to.overflow:
                case "WRAP" if to.signed:
                    op = Op(EXTEND, to.width)
                case "WRAP":
                    op = Op(AND, to.max_raw)
                case "SAT_ZERO":
                    op = Op(ZERO, to.min_raw, to.max_raw)
                case _:
                    op = Op(CLAMP, to.min_raw, to.max_raw)
                    low, high = np.clip(self.low, low, high), np.clip(self.high, low, high)
            self._then(op, low, high)

    def _round(self, shift: int, rounding: str) -> None:
        self.bits = max(self.bits, _lanes(shift + 1))
        half = 1 << (shift - 1)
        match rounding:
            case "RND":
                self.add(_number(half))
            case "RND_MIN_INF":
                self.add(_number(half - 1))
            case "RND_INF":
                self._sign(-1)
                self.add(_number(half))
            case "RND_ZERO":
                self._sign(1)
                self.add(_number(half - 1))
            case "RND_CONV":
                # a half, and back by one where the result would be odd: that matters only to a tie
                self.add(_number(half))
                self._then(Op(EVEN, shift), self.low - 1, self.high)
            case "TRN_ZERO":
                self._sign(2 * half - 1)
        self._then(Op(SAR, shift), self.low >> shift, self.high >> shift)

    def _sign(self, constant: int) -> None:
        """Change negative numbers: -1 adds -1 to them, a positive constant adds itself."""
        if int(np.min(self.low)) < 0:
            self._then(Op(SIGN, constant), self.low + min(constant, 0), self.high + max(constant, 0))

    def started(self) -> tuple[int, list[Op]]:
        """What is added to every number first, and the other steps."""
        if self.ops and self.ops[0].code == ADD and self.ops[0].each is None:
            return self.ops[0].a, self.ops[1:]
        return 0, list(self.ops)

    def narrow(self) -> bool:
        """Whether, behind what `started` adds, numbers may saturate at 16 bits without a change to the result."""
        _, ops = self.started()
        if self.bits == 16:
            return True
        if not ops or ops[-1].code != CLAMP or any(op.code not in (EVEN, SAR) or op.a > 14 for op in ops[:-1]):
            return False  # those two are monotonic: beyond 16 bits all is clamped if the ends are
        ends = [-(2**15), 2**15 - 1]
        for op in ops[:-1]:
            ends = [x - ((x >> op.a) & 1) if op.code == EVEN else x >> op.a for x in ends]
        return ends[0] <= ops[-1].a and ops[-1].b <= ends[1]


def _lanes(bits: int) -> int:
    """Bits of the lanes that hold numbers of `bits`."""
    return 16 if bits <= 16 else 32 if bits <= 32 else 64


def _number(x: int) -> Integers:
    return np.array(x, object)


def _with(code: int, constant: Integers) -> Op:
    first = int(constant.flat[0])
    return Op(code, first) if np.all(constant == first) else Op(code, each=np.asarray(constant, np.int64))
