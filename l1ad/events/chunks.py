"""How an event file packs its chunks: each holds one slot of one column, and carries a checksum.

A chunk is a Blosc buffer (bytes shuffled, then LZ4HC or Zstd), by HDF5's registered filter 32001: any HDF5 program with
that filter reads it, h5py after ``import hdf5plugin``.  `Unpacker` unpacks it past HDF5, which is faster and needs
no plugin.  LZ4HC unpacks faster than LZ4, as it finds fewer and longer repetitions.

Blosc notices little of what damage does, so that the file holds the XXH3-64 of every packed chunk.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from h5py.h5d import DatasetID
from numcodecs import blosc
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from l1ad.compiler import library
from l1ad.errors import ToolNotFoundError

__all__ = ["CHECKSUMS", "Chunks", "Unpacker", "batches", "create", "packed_rows", "put"]

CHECKSUMS = "checksums"
"""Dataset (chunks along the events, slots of all datasets) of the XXH3-64 of packed chunks."""
_FILTER = 32001  # Blosc, in the registry of the HDF Group
_LZ4, _ZSTD = 1, 4  # Blosc's numbers of the formats; LZ4HC writes that of LZ4
_LEVELS = {False: (b"lz4hc", 4, _LZ4), True: (b"zstd", 7, _ZSTD)}

blosc.use_threads = (
    False  # of its own: a chunk is too small to share, and whoever wants more cores takes more processes
)


def create(file: Any, name: str, dtype: np.dtype[Any], slots: int | None, rows: int, *, archive: bool) -> None:
    """Make an empty dataset with chunks of `rows` events in an open HDF5 file; `slots` is None for one axis."""
    _, level, code = _LEVELS[archive]
    file.create_dataset(
        name,
        shape=(0,) if slots is None else (0, slots),
        maxshape=(None,) if slots is None else (None, slots or None),  # HDF5 cannot chunk an axis limited to length 0
        chunks=(rows,) if slots is None else (rows, 1),
        dtype=dtype,
        compression=_FILTER,
        compression_opts=(2, 2, dtype.itemsize, rows * dtype.itemsize, level, blosc.SHUFFLE, code),
        allow_unknown_filter=True,  # HDF5 need not have it: chunks are packed here
    )


def put(dataset: Any, start: int, array: NDArray[Any], *, archive: bool) -> list[int]:
    """Write the events ``start:start + len(array)``, a chunk or the last ones, to a dataset; the checksums by slot."""
    rows, out = dataset.chunks[0], []
    dataset.resize(start + len(array), axis=0)
    for slot, values in enumerate(np.atleast_2d(array.T)):
        whole = np.zeros(rows, array.dtype)
        whole[: len(values)] = values
        packed = blosc.compress(whole, *_LEVELS[archive][:2], blosc.SHUFFLE)
        dataset.id.write_direct_chunk((start, slot)[: array.ndim], packed)
        out.append(xxh3_64_intdigest(packed))
    return out


def packed_rows(dataset: DatasetID) -> int | None:
    """Events of a chunk of a dataset that is packed by Blosc and nothing else; None of any other."""
    plist = dataset.get_create_plist()
    packed = plist.get_nfilters() == 1 and plist.get_filter(0)[0] == _FILTER
    return int(plist.get_chunk()[0]) if packed else None


class Chunks:
    """The packed chunks of a dataset.

    They are read by their place in the file: of what HDF5 needs for each, a tenth does, and threads need not wait for
    its lock.

    Parameters
    ----------
    name : str
    dataset : of an HDF5 file open for reading
    rows : int
        Events of a chunk, as `packed_rows` says.
    column : int
        Of its first slot among the checksums.

    Attributes
    ----------
    name, rows, column : as given
    dtype : of what is stored
    """

    def __init__(self, name: str, dataset: DatasetID, rows: int, column: int) -> None:
        self.name, self.rows, self.column = name, rows, column
        self.dtype: np.dtype[Any] = dataset.dtype
        self._dataset = dataset

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """First byte of each chunk, and how many there are, 0 if it is not there: (chunks, slots, 2)."""
        shape = self._dataset.shape
        places = np.zeros((-(-shape[0] // self.rows), *shape[1:], 2), np.int64)
        found: list[Any] = []
        self._dataset.chunk_iter(found.append)
        if found:
            offset, _, *place = zip(*found, strict=True)
            start, *slot = np.array(offset).T
            places[(start // self.rows, *slot)] = np.array(place).T
        return places.reshape(len(places), -1, 2)


class Unpacker:
    """Some slots of datasets of one file, to be read chunk by chunk.

    Parameters
    ----------
    fileno : descriptor of the file
    slots : list of (Chunks, int)
        At least one.
    """

    def __init__(self, fileno: int, slots: Sequence[tuple[Chunks, int]]) -> None:
        self._fileno, self._slots = fileno, slots
        self._bytes = np.array([chunks.rows * chunks.dtype.itemsize for chunks, _ in slots], np.int64)
        ends = np.cumsum(self._bytes).tolist()
        self._parts = [slice(end - size, end) for end, size in zip(ends, self._bytes.tolist(), strict=True)]

    def unpack(self, number: int, checksums: Sequence[int]) -> list[NDArray[Any]]:
        """Of each slot, the chunk of this number: (events,), read-only; after the last event, zeros.

        Their memory is one piece: it comes back with the next call, still in the cache, while small pieces are
        scattered.

        Parameters
        ----------
        number : int
        checksums : sequence of int
            Of the chunks of this number, of all slots of all datasets.

        Raises
        ------
        OSError
            If a chunk is not there or not what was written.
        """
        places = [chunks.places[number, slot] for chunks, slot in self._slots]
        start, stored = np.array(places).T.copy()
        ends = np.cumsum(stored)
        packed = np.empty(ends[-1], np.uint8)
        _read(self._fileno, start, stored, packed)
        view = packed.data
        for (chunks, slot), end, size, to in zip(
            self._slots, ends.tolist(), stored.tolist(), self._bytes.tolist(), strict=True
        ):
            chunk = view[end - size : end]
            if xxh3_64_intdigest(chunk) != checksums[chunks.column + slot]:
                raise OSError(f"{_where(chunks, slot, number)}: not the checksum that was written")
            if int.from_bytes(chunk[4:8], "little") != to:  # as Blosc's header says
                raise OSError(f"{_where(chunks, slot, number)}: must unpack to {to} bytes")
        room = np.empty(self._parts[-1].stop, np.uint8)
        bad = _unpack(packed, stored, room, self._bytes)
        if bad >= 0:
            raise OSError(f"{_where(*self._slots[bad], number)}: must unpack, it is not what Blosc wrote")
        room.flags.writeable = False
        return [room[part].view(chunks.dtype) for (chunks, _), part in zip(self._slots, self._parts, strict=True)]


def _where(chunks: Chunks, slot: int, number: int) -> str:
    return f"dataset {chunks.name}, slot {slot}, chunk {number}"


@cache
def batches() -> tuple[ctypes.CDLL, int] | None:
    """What reads and unpacks many chunks in one call, and the address of C-Blosc's function.

    None where there is no compiler, or numcodecs does not show that function any more (it need not): then each chunk
    is a call of its own.
    """
    try:
        address = ctypes.cast(ctypes.CDLL(blosc.__file__).blosc_decompress_ctx, ctypes.c_void_p).value
        compiled = library("unpack", {"unpack.cpp": Path(__file__).with_name("unpack.cpp").read_text("utf-8")})
    except (AttributeError, OSError, RuntimeError, ToolNotFoundError):
        return None
    compiled.l1ad_read.argtypes = (ctypes.c_int, ctypes.c_int64, *[ctypes.c_void_p] * 3)
    compiled.l1ad_read.restype = None
    compiled.l1ad_unpack.argtypes = (ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 4)
    compiled.l1ad_unpack.restype = ctypes.c_int64
    return compiled, address or 0


def _read(fileno: int, start: NDArray[np.int64], size: NDArray[np.int64], to: NDArray[np.uint8]) -> None:
    """Bytes of a file, one behind the other; what cannot be read stays as it is."""
    if (fast := batches()) is not None:
        fast[0].l1ad_read(fileno, len(start), start.ctypes.data, size.ctypes.data, to.ctypes.data)
        return
    ends = np.cumsum(size).tolist()
    for first, length, end in zip(start.tolist(), size.tolist(), ends, strict=True):
        read = os.pread(fileno, length, first)
        to[end - length : end - length + len(read)] = np.frombuffer(read, np.uint8)


def _unpack(
    packed: NDArray[np.uint8], size: NDArray[np.int64], to: NDArray[np.uint8], unpacked: NDArray[np.int64]
) -> int:
    """Chunks one behind the other; the first that does not unpack to so many bytes, or -1."""
    if (fast := batches()) is not None:
        addresses = [array.ctypes.data for array in (packed, size, to, unpacked)]
        return int(fast[0].l1ad_unpack(fast[1], len(size), *addresses))
    cuts = zip(np.cumsum(size).tolist(), size.tolist(), np.cumsum(unpacked).tolist(), unpacked.tolist(), strict=True)
    for number, (end, length, stop, count) in enumerate(cuts):
        try:
            blosc.decompress(packed[end - length : end], to[stop - count : stop])
        except RuntimeError:
            return number
    return -1
