"""Executors of a `Network`: `reference` is the definition, `native` the fast one, and `emulate` chooses."""

from l1ad.emulate.checked import emulate, emulator, native_emulator
from l1ad.emulate.histogram import Histogram

__all__ = ["Histogram", "emulate", "emulator", "native_emulator"]
