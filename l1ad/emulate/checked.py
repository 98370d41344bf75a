"""The native emulator where there is a compiler, checked against the reference before it is believed."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from l1ad.compare import agree, random_inputs
from l1ad.emulate import reference
from l1ad.emulate.native import Native
from l1ad.emulate.native.library import code_digest
from l1ad.errors import MismatchError, ToolNotFoundError, UnsupportedError
from l1ad.events.schema import InputColumn
from l1ad.events.units import to_codes
from l1ad.files import cache_folder, digest, write_text
from l1ad.fixed import Raw
from l1ad.network import Network

CHECKED = 2_000
"""Random events of the check, after the corners; and as many, at most, of those to be emulated."""


def emulate(
    network: Network, x: npt.ArrayLike, threads: int | None = None, units: Sequence[InputColumn] | None = None
) -> Raw:
    """Anomaly score of each event: by the native emulator, or the reference where there is no C++ compiler.

    Parameters
    ----------
    network : Network
    x : integer array_like, shape (n_events, n_columns)
        Raw trigger integers, in the order of ``network.input.columns``.
    threads : int or None
        By default, one for each core that this process may use.
    units : sequence of InputColumn, optional
        Those of `l1ad.events.schema.input_columns`: `x` is then of floats, in GeV and radians, and each becomes the
        nearest code, as `l1ad.events.units.to_codes` has it.

    Returns
    -------
    int64 array, shape (n_events,)
        Raw score, in the type ``network.score.out``.

    Raises
    ------
    TypeError, ValueError
        As `reference.emulate` and `to_codes`.
    MismatchError
        If the native emulator fails its check, see `native_emulator`.
    """
    given = np.asarray(x)
    native = native_emulator(network, given if units is None else None)
    if native is not None:
        return native.scores(given, cores() if threads is None else threads, units)
    if units is not None:
        codes = [to_codes(values, unit, unit.name) for values, unit in zip(given.T, units, strict=True)]
        given = np.stack(codes, axis=1)
    return reference.emulate(network, given)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def native_emulator(network: Network, x: npt.ArrayLike | None = None) -> Native | None:
    """The native emulator of a network, or None where there is no compiler or a number needs more than 64 bits.

    The first time on this processor, it is compared with the reference: on the corners, on random events and on the
    first of `x`.

    Raises
    ------
    MismatchError
        If they differ; the text names the event.
    """
    native = _native(network)
    if native is None:
        return None
    stamp = _stamp(native)
    if not stamp.exists():
        events = random_inputs(network, CHECKED)
        check(native, events)
        if x is not None and len(np.asarray(x)):
            check(native, np.asarray(x)[:CHECKED])
        write_text(stamp, network.digest)
    return native


def check(native: Native, x: npt.ArrayLike) -> None:
    """Raise `MismatchError` unless the native emulator equals the reference for every event of `x`."""
    network, name = native.network, native.network.score.name
    left = {name: reference.emulate(network, x)[:, None]}
    right = {name: native.scores(x)[:, None]}
    found = agree(network, "reference", left, f"native emulator ({native.isa})", right)
    if found.n_mismatches:
        raise MismatchError(f"{found}; the native emulator is wrong on this processor: report this")


def emulator(network: Network) -> str:
    """Name of the emulator that `emulate` uses for a network, for reports."""
    native = _native(network)
    return "reference (NumPy)" if native is None else f"native ({native.isa})"


@lru_cache(maxsize=64)
def _native(network: Network) -> Native | None:
    try:
        return Native(network)
    except (ToolNotFoundError, UnsupportedError):
        return None


def _stamp(native: Native) -> Path:
    """File that is there once the check has passed, on this processor, with this code."""
    key = [native.network.digest, code_digest(), native.isa, platform.node(), platform.machine(), _processor()]
    return cache_folder() / "native" / f"checked-{digest(key)[:16]}"


def _processor() -> str:
    """Model of the processor, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
