"""HDF5 files that others wrote: what is in them, with errors that name file, dataset and remedy."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

__all__ = ["dataset", "opened", "slices"]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file open for reading; whatever cannot be read from it is an ``OSError`` that names it."""
    if not h5py.is_hdf5(path):
        raise OSError(f"{path}: file must be complete HDF5, not truncated or of another format; copy it again")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise OSError(f"{path}: file must be complete, not truncated or damaged ({error}); copy it again") from None


def dataset(group: Any, name: str, *shapes: tuple[int | None, ...]) -> Any:
    """The dataset of that name in an open file or group, of one of the `shapes`; None is any length.

    Raises
    ------
    ValueError
        If it is missing, of another shape, or compressed by a filter that is not installed.
    """
    where = group.file.filename
    if not isinstance(group.get(name), h5py.Dataset):
        place = "" if group.name == "/" else f"{group.name} of "
        known = ", ".join(sorted(group)) or "nothing"
        raise ValueError(f"{where}: dataset {name} must exist; {place}the file has {known}: check the format")
    data = group[name]
    if not any(
        len(data.shape) == len(shape) and all(want in (None, got) for want, got in zip(shape, data.shape, strict=True))
        for shape in shapes
    ):
        expected = " or ".join(str(shape).replace("None", "n") for shape in shapes)
        raise ValueError(f"{where}: dataset {data.name} must be {expected}, not {data.shape}; check the format")
    _filters(data, where)
    return data


def slices(n: int, size: int) -> Iterator[slice]:
    """Rows ``0:n``, at most `size` at a time."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _filters(data: Any, where: str) -> None:
    """HDF5 finds a missing filter only on reading, and says nothing of its name."""
    properties = data.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if h5py.h5z.filter_avail(code):
            continue
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")  # registers what it brings
        if not h5py.h5z.filter_avail(code):
            raise ValueError(
                f"{where}: dataset {data.name} must be compressed by an installed filter, not "
                f"{name.decode(errors='replace')} ({code}); pip install 'l1ad[readers]'"
            )
