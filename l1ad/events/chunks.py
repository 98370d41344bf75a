"""How an event file packs its chunks: each holds one slot of one column, and carries a checksum.

A chunk is a Blosc buffer (bytes shuffled, then LZ4HC or Zstd), by HDF5's registered filter 32001: any HDF5 program with
that filter reads it, h5py after ``import hdf5plugin``.  `Chunks` unpacks it past HDF5, which is faster and needs no
plugin.  LZ4HC unpacks faster than LZ4, as it finds fewer and longer repetitions.

Blosc notices little of what damage does, so that the file holds the XXH3-64 of every packed chunk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from h5py._objects import phil  # the lock that every function of h5py takes
from numcodecs import blosc
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

__all__ = ["CHECKSUMS", "Chunks", "create", "is_packed", "put"]

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


def is_packed(dataset: Any) -> bool:
    """Whether a dataset is packed by Blosc and nothing else."""
    plist = dataset.id.get_create_plist()
    return bool(plist.get_nfilters() == 1 and plist.get_filter(0)[0] == _FILTER)


class Chunks:
    """The packed chunks of a dataset.

    Parameters
    ----------
    dataset : of an HDF5 file open for reading, for which `is_packed` is true
    column : of its first slot among the checksums
    """

    def __init__(self, dataset: Any, column: int) -> None:
        self._id, self._name, self._axes = dataset.id, dataset.name.strip("/"), dataset.ndim
        self._dtype, self._rows = dataset.dtype, dataset.chunks[0]
        self._column = column

    def unpack(self, number: int, slot: int, checksums: list[int]) -> NDArray[Any]:
        """One chunk of one slot: (events,), stored type, read-only; of the last chunk, zeros after the last event.

        `checksums` are those of the chunks of this number.

        Raises
        ------
        OSError
            If the chunk is not there or not what was written.
        """
        with phil:  # which h5py before 3.16 forgets here (its pull request 2764)
            _, packed = self._id.read_direct_chunk((number * self._rows, slot)[: self._axes])
        size = self._rows * self._dtype.itemsize
        if xxh3_64_intdigest(packed) != checksums[self._column + slot]:
            raise OSError(f"dataset {self._name}, slot {slot}, chunk {number}: not the checksum that was written")
        if int.from_bytes(packed[4:8], "little") != size:  # as Blosc's header says
            raise OSError(f"dataset {self._name}, slot {slot}, chunk {number}: must unpack to {size} bytes")
        return np.frombuffer(blosc.decompress(packed), self._dtype)  # to name a destination takes longer
