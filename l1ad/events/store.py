"""The HDF5 files that hold events (`l1ad.events.table`, whose names can be imported from here too).

A file has one dataset per column (``jet/pt`` of shape (n, slots)) and one per quantity of the event
(``meta/weight`` ...), chunked one slot at a time, and one digest of all its content.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from l1ad.events.schema import Schema, load_schema
from l1ad.events.table import (
    META,
    NAMED,
    Array,
    Events,
    assert_disjoint,
    check_values,
    concatenate,
    event_hash,
    inputs,
    make_meta,
    regroup,
    split,
)
from l1ad.files import canonical_json, digest, replacing

__all__ = [
    "META",
    "NAMED",
    "EventFile",
    "EventWriter",
    "Events",
    "assert_disjoint",
    "concatenate",
    "event_hash",
    "inputs",
    "make_meta",
    "split",
    "verify",
]

FORMAT = 2
CHUNK = 65_536  # events per HDF5 chunk: a chunk is one slot of one column


class _Content:
    """The running digest of a file's content: that of its parts, however it is cut into them.

    SHA-256 of the canonical JSON (`l1ad.files.digest`) of ``attrs``, ``events`` (their number), ``schema_digest`` and
    ``datasets``: for each, the SHA-256 of its integers or floats in C order, little-endian, of the type stored.
    """

    def __init__(self, schema: Schema, attrs: Mapping[str, Any]) -> None:
        self._dtypes = {n.replace(".", "/"): column.stored_dtype for n, (_, column) in schema.columns().items()}
        self._dtypes |= {f"meta/{name}": np.dtype(dtype) for name, (dtype, _) in META.items()}
        self._hashes = {name: sha256() for name in self._dtypes}
        self._document = {"attrs": attrs, "schema_digest": schema.digest()}
        self._events = 0

    def add(self, events: Events) -> dict[str, Array]:
        """Take events in; their datasets, as stored."""
        out = {}
        arrays = {name.replace(".", "/"): array for name, array in events.columns.items()}
        for name, array in (arrays | {f"meta/{name}": array for name, array in events.meta.items()}).items():
            out[name] = np.ascontiguousarray(array, self._dtypes[name].newbyteorder("<"))
            if array.dtype.kind in "iu" and not np.array_equal(out[name], array):
                raise ValueError(f"{name} must fit {self._dtypes[name]}, not range to {array.max()}")
            self._hashes[name].update(out[name].data)
        self._events += len(events)
        return out

    def digest(self) -> str:
        """Digest of all events taken in so far."""
        datasets = {name: running.hexdigest() for name, running in self._hashes.items()}
        return digest({**self._document, "events": self._events, "datasets": datasets})


class EventFile:
    """An event file open for reading; a context manager.

    Parameters
    ----------
    path : HDF5 file made by `EventWriter`
    schema : the schema it must follow, if it is not one that `load_schema` finds by name

    Attributes
    ----------
    schema : Schema
    attrs : dict, how the events were made

    Raises
    ------
    OSError
        If the file is missing, not HDF5, truncated or damaged.
    ValueError
        If its content does not fit the schema.
    """

    def __init__(self, path: str | Path, schema: Schema | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"event file must exist, not be missing: {self.path}; check the path")
        if not h5py.is_hdf5(self.path):
            raise OSError(f"event file must be HDF5: {self.path}; write it with EventWriter")
        damaged = f"event file must be complete, not truncated or damaged: {self.path}"
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise OSError(f"{damaged} ({error}); copy it again") from None
        self._data: dict[str, Any] = {}
        try:
            self._open(schema)
        except (KeyError, OSError, RuntimeError) as error:
            self._file.close()
            raise OSError(f"{damaged} ({error}); copy it again") from None
        except BaseException:
            self._file.close()
            raise

    def _open(self, schema: Schema | None) -> None:
        try:
            stored = {key: json.loads(value) for key, value in self._file.attrs.items()}
            version, name, digest = (stored.pop(key) for key in ("format", "schema", "schema_digest"))
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{self.path}: attributes must be those of an l1ad event file; write it with EventWriter"
            ) from None
        if version != FORMAT:
            raise ValueError(f"{self.path}: format must be {FORMAT}, not {version}; use the l1ad that wrote it")
        self.schema = load_schema(name) if schema is None else schema
        if self.schema.digest() != digest:
            raise ValueError(
                f"{self.path}: schema must be the {name!r} that it was written with, not the present "
                f"{self.schema.name!r}; pass the original as schema"
            )
        self._content_digest: str | None = stored.pop("content_digest", None)
        self.attrs: dict[str, Any] = stored
        self._length = len(self._dataset("meta/weight", ndim=1))
        for key in META:
            self._dataset(f"meta/{key}", ndim=2 if key in NAMED else 1)
        for key, (collection, _) in self.schema.columns().items():
            self._dataset(key.replace(".", "/"), ndim=2, slots=collection.slots)

    @property
    def content_digest(self) -> str:
        """SHA-256 of attributes and events, as `EventWriter` saw them: equal for equal content, however compressed."""
        if self._content_digest is None:
            raise ValueError(f"{self.path}: attribute content_digest must exist; write the file again with EventWriter")
        return self._content_digest

    def _dataset(self, name: str, ndim: int, slots: int | None = None) -> Any:
        try:
            data = self._file[name]
        except KeyError as error:
            if not any(words in str(error) for words in ("doesn't exist", "not found")):
                raise  # it is there, and cannot be opened; only HDF5's text says so (to list a damaged group may crash)
            raise ValueError(f"{self.path}: dataset {name} must exist; the file is not complete") from None
        shape: tuple[int, ...] = getattr(data, "shape", ())
        rows = getattr(self, "_length", shape[0] if shape else 0)
        if len(shape) != ndim or shape[0] != rows or (slots is not None and shape[1] != slots):
            expected = f"({rows}, {slots})" if slots else f"{ndim} axes and {rows} rows"
            raise ValueError(f"{self.path}: dataset {name} must be {expected}, not shape {shape}")
        group, _, key = name.partition("/")
        floating = group == "meta" and META[key][0].startswith("f")
        if data.dtype.kind not in ("f" if floating else "iu"):
            kind = "floating point" if floating else "integer"
            raise ValueError(f"{self.path}: dataset {name} must be {kind}, not {data.dtype}")
        self._data[name] = data
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading is over."""
        self._file.close()

    def __len__(self) -> int:
        return self._length

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        columns: Iterable[str] | None = None,
        meta: Iterable[str] | None = None,
    ) -> Events:
        """Events ``start:stop``.

        Parameters
        ----------
        start, stop : as in a slice
        columns : trigger columns to read (``["jet.pt", ...]``), all by default
        meta : event quantities to read besides the weight (``["seeds", ...]``), all by default

        Raises
        ------
        OSError
            If the file is damaged there.
        ValueError
            If a name is unknown or a value is not admissible.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        return self._read(start, max(start, stop), *self._chosen(columns, meta))

    def chunks(
        self, size: int = CHUNK, columns: Iterable[str] | None = None, meta: Iterable[str] | None = None
    ) -> Iterator[Events]:
        """All events in order, `size` at a time, the last ones fewer: memory does not grow with the file."""
        return regroup(self.blocks(columns, meta), size)

    def blocks(self, columns: Iterable[str] | None = None, meta: Iterable[str] | None = None) -> Iterator[Events]:
        """All events in order, as they lie in the file: every HDF5 chunk is unpacked once."""
        chosen = self._chosen(columns, meta)
        for start in range(0, len(self), CHUNK):
            yield self._read(start, min(start + CHUNK, len(self)), *chosen)

    def _chosen(self, columns: Iterable[str] | None, meta: Iterable[str] | None) -> tuple[list[str], list[str]]:
        known = self.schema.columns()
        names = list(known) if columns is None else list(columns)
        quantities = list(META) if meta is None else list(dict.fromkeys(["weight", *meta]))
        for what, wanted, those in (("column", names, known), ("meta", quantities, META)):
            for name in wanted:
                if name not in those:
                    raise ValueError(f"{self.path}: {what} must be one of {', '.join(those)}, not {name!r}")
        return names, quantities

    def _read(self, start: int, stop: int, columns: list[str], meta: list[str]) -> Events:
        known = self.schema.columns()
        try:
            events = Events(
                self.schema,
                {n: self._array(n.replace(".", "/"), start, stop, known[n][1].dtype) for n in columns},
                {n: self._array(f"meta/{n}", start, stop, np.dtype(META[n][0])) for n in meta},
            )
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{self.path}: events {start}..{stop} must be readable ({error}); copy the file again"
            ) from None
        check_values(events, str(self.path), start)
        return events

    def _array(self, name: str, start: int, stop: int, dtype: np.dtype[Any]) -> Array:
        """Rows of a dataset; of two axes, in Fortran order: to scatter slots over rows takes as long as to unpack."""
        data = self._data[name]
        if data.ndim == 1:
            return np.asarray(data[start:stop].astype(dtype, copy=False))
        out = np.empty((data.shape[1], stop - start), dtype)
        for slot, row in enumerate(out):
            row[:] = data[start:stop, slot]
        return out.T


def verify(path: str | Path, schema: Schema | None = None) -> str:
    """Read a whole event file and return its content digest, which must be the one that it was written with.

    Parameters
    ----------
    path, schema : as for `EventFile`

    Raises
    ------
    OSError, ValueError
        As `EventFile`, and if the file has no digest or another content than the digest says.
    """
    with EventFile(path, schema) as file:
        expected, content = file.content_digest, _Content(file.schema, file.attrs)
        for events in file.blocks():
            content.add(events)
    if content.digest() != expected:
        raise ValueError(
            f"{path}: content must be that which was written (content_digest {expected[:12]}), not another "
            f"({content.digest()[:12]}); copy or make the file again"
        )
    return expected


class EventWriter:
    """An event file being written; a context manager.

    Writes aside and renames on success, so that a file under its final name is complete.

    Parameters
    ----------
    path : file to make
    schema : of the events to come
    attrs : how they were made; any JSON values.  ``classes`` and ``seeds`` name the columns of `NAMED`.
    archive : as small as gzip can, an eighth smaller, and some 20 times slower to write; as fast to read
    """

    def __init__(self, path: str | Path, schema: Schema, attrs: dict[str, Any], *, archive: bool = False) -> None:
        self.path = Path(path)
        self.schema = schema
        stored = {**attrs, "format": FORMAT, "schema": schema.name, "schema_digest": schema.digest()}
        encoded = {key: self._encoded(key, value) for key, value in stored.items()}
        self._widths = {name: len(attrs.get(attribute, ())) for name, attribute in NAMED.items()}
        self._level = 9 if archive else 1
        self._waiting: list[Events] = []
        self._content = _Content(schema, attrs)
        with ExitStack() as stack:
            self._file = h5py.File(stack.enter_context(replacing(self.path)), "w", libver="latest")
            stack.push(self._finish)
            for key, value in encoded.items():
                self._file.attrs[key] = value
            for name, (collection, column) in schema.columns().items():
                self._create(name.replace(".", "/"), column.stored_dtype, collection.slots)
            for name, (dtype, _) in META.items():
                self._create(f"meta/{name}", np.dtype(dtype), self._widths.get(name))
            self._stack = stack.pop_all()

    def _encoded(self, key: str, value: Any) -> str:
        try:
            return canonical_json(value)
        except (TypeError, ValueError):
            raise ValueError(f"{self.path}: attribute {key} must be JSON, not {value!r}; leave it out") from None

    def _create(self, name: str, dtype: np.dtype[Any], slots: int | None) -> None:
        shape, chunk = ((0,), (CHUNK,)) if slots is None else ((0, slots), (CHUNK, 1))
        limit = (None, slots or None)[: len(shape)]  # HDF5 cannot chunk an axis limited to length 0
        self._file.create_dataset(
            name,
            shape=shape,
            maxshape=limit,
            chunks=chunk,
            dtype=dtype,
            shuffle=True,
            compression="gzip",  # reads as fast as LZF, a quarter smaller, and has a checksum
            compression_opts=self._level,
        )

    def append(self, events: Events) -> None:
        """Add events at the end; they must have every column of the schema and valid codes."""
        if events.schema != self.schema:
            raise ValueError(f"events must follow the schema {self.schema.name!r}, not {events.schema.name!r}")
        for what, present, expected in (
            ("column of the schema", events.columns, self.schema.columns()),
            ("quantity of META", events.meta, META),
        ):
            missing = [name for name in expected if name not in present]
            if missing:
                raise ValueError(f"events must have every {what}, not lack {', '.join(missing)}")
        for name, width in self._widths.items():
            got = events.meta[name].shape[1]
            if got != width:
                raise ValueError(f"{name} must have {width} columns (attrs {NAMED[name]}), not {got}")
        check_values(events, str(self.path))
        self._waiting.append(events)
        if sum(len(part) for part in self._waiting) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        """Write what waits: HDF5 compresses a chunk anew at each write, so these must be few."""
        if not self._waiting:
            return
        events = concatenate(self._waiting)
        self._waiting = []
        for name, array in self._content.add(events).items():
            dataset = self._file[name]
            start = len(dataset)
            dataset.resize(start + len(events), axis=0)
            if array.ndim == 1:
                dataset[start:] = array
            for slot in range(array.shape[1] if array.ndim == 2 else 0):
                dataset[start:, slot] = array[:, slot]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._file.attrs["content_digest"] = canonical_json(self._content.digest())
        finally:
            self._file.close()
