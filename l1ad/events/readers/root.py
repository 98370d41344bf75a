"""ROOT files by uproot: opening, finding branches, and reading a few trees side by side in constant memory.

uproot is imported by the functions that need it: ``pip install 'l1ad[readers]'``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.readers.slots import offsets_of

__all__ = ["Lists", "branches", "choose_part", "find_tree", "integers", "lists", "numbers", "open_root", "stream"]

Array = NDArray[Any]
Lists = tuple[NDArray[np.int64], Array]
"""As many entries per event as there were: offsets (n + 1,) and the flat entries."""


def _damaged(path: Path, error: Exception) -> OSError:
    reason = " ".join(str(error).split())
    if len(reason) > 200:  # uproot explains at length
        reason = reason[:200] + " ..."
    return OSError(f"{path}: file must be a complete ROOT file, not truncated or damaged ({reason}); copy it again")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever uproot raises on bytes that make no sense (its own errors, those of zlib, lz4 ...) as `OSError`."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(path, error) from error


@contextmanager
def open_root(path: Path) -> Iterator[Any]:
    """The directory of a ROOT file, without uproot's caches.

    Raises
    ------
    ImportError
        If uproot is not installed.
    OSError
        If the file is missing, not a ROOT file, or shorter than it says.
    """
    try:
        import uproot
    except ImportError as error:
        raise ImportError("uproot must be installed to read ROOT files; pip install 'l1ad[readers]'") from error
    if not path.is_file():
        raise FileNotFoundError(f"event file must exist, not be missing: {path}; check the path")
    with path.open("rb") as raw:
        if raw.read(4) != b"root":
            raise OSError(f"{path}: event file must be a ROOT file; its first four bytes are not 'root'")
    with _reading(path):
        directory = uproot.open(path, object_cache=None, array_cache=None)
    try:
        stated, found = directory.file.fEND, path.stat().st_size
        if found < stated:
            raise OSError(
                f"{path}: file must be a complete ROOT file, not truncated or damaged "
                f"({found} of {stated} bytes are there); copy it again"
            )
        yield directory
    finally:
        directory.close()


def find_tree(directory: Any, path: Path, name: str) -> Any | None:
    """The tree of that name, None where the file has none.

    Raises
    ------
    ValueError
        If what has that name is not a TTree (an RNTuple, which some newer files have).
    """
    with _reading(path):
        if name not in directory:
            return None
        kind = directory.classname_of(name)
    if kind != "TTree":
        raise ValueError(f"{path}: {name} must be a TTree, not {kind}; convert the file")
    with _reading(path):
        return directory[name]


def branches(tree: Any) -> dict[str, str]:
    """Last part of the name of each branch -> its full name: ``egIEt`` -> ``L1Upgrade/egIEt``."""
    out: dict[str, str] = {}
    for name in tree.keys(recursive=True):
        out.setdefault(_last(name), name)
    return out


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[-1]


def stream(path: Path, wanted: dict[str, list[str]], size: int) -> Iterator[dict[str, Any]]:
    """Entries of trees of equal length, at most `size` at a time: last part of a branch's name -> awkward array.

    Parameters
    ----------
    path : the file
    wanted : full names of branches of each tree; their last parts must differ
    size : entries at a time
    """
    with open_root(path) as directory:
        readers = []
        for name, full in wanted.items():
            tree = find_tree(directory, path, name)
            if tree is None:
                raise ValueError(f"{path}: tree {name} must exist; it is no longer in the file")
            readers.append(tree.iterate(filter_name=full, step_size=size, library="ak"))
        while True:
            with _reading(path):
                parts = [next(reader, None) for reader in readers]
            if all(part is None for part in parts):
                return
            found = {_last(field): part[field] for part in parts if part is not None for field in part.fields}
            yield found


def lists(array: Any, where: str) -> Lists:
    """An awkward array of one list per event as offsets and flat entries."""
    import awkward as ak

    if array.ndim != 2:
        raise ValueError(f"{where} must hold one list per event, not {array.ndim - 1} levels of lists")
    return offsets_of(ak.to_numpy(ak.num(array))), ak.to_numpy(ak.flatten(array))


def numbers(array: Any, where: str) -> Array:
    """An awkward array of one number per event, (n,)."""
    import awkward as ak

    if array.ndim != 1:
        raise ValueError(f"{where} must hold one number per event, not {array.ndim - 1} levels of lists")
    return np.asarray(ak.to_numpy(array))


def integers(array: Array, dtype: str, where: str) -> Array:
    """The integers of `array` as `dtype`; a number that is all ones in the file means -1, as ROOT files write it.

    Raises
    ------
    ValueError
        If the numbers are not integers, or one does not fit.
    """
    if array.dtype.kind not in "iu":
        raise ValueError(f"{where} must hold integers, not {array.dtype}")
    limits = np.iinfo(dtype)
    unknown = array == np.iinfo(array.dtype).max if array.dtype.kind == "u" else np.zeros(len(array), np.bool_)
    bad = ~unknown & ((array > limits.max) | (array < limits.min))
    if bad.any():
        raise ValueError(
            f"{where} must be in {limits.min}..{limits.max}, not {array[bad][0]} (event {np.argmax(bad)} of its chunk)"
        )
    return np.where(unknown, -1, array.astype(np.int64)).astype(dtype)


def choose_part(path: Path, available: dict[str, str], part: str | None) -> str:
    """The one of `available` (part -> where it lies in the file) to read.

    Raises
    ------
    ValueError
        If `part` is not there, or if there are several and none was chosen.
    """
    names = " or ".join(repr(name) for name in available)
    if part is None and len(available) > 1:
        places = ", ".join(f"{name!r} ({place})" for name, place in available.items())
        raise ValueError(f"{path}: part must be chosen, the file has several: {places}")
    if part is not None and part not in available:
        raise ValueError(f"{path}: part must be {names}, not {part!r}")
    return part if part is not None else next(iter(available))
