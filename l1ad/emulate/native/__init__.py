"""Bit-exact emulation in machine code: a table-driven kernel for the instruction sets of the processor."""

from l1ad.emulate.native.emulator import Native
from l1ad.emulate.native.library import available

__all__ = ["Native", "available"]
