"""The HDF5 files that hold events (`l1ad.events.table`, whose names can be imported from here too).

A file has one dataset per column (``jet/pt`` of shape (n, slots)) and one per quantity of the event
(``meta/weight`` ...), chunked one slot at a time and packed as `l1ad.events.chunks` says, and one digest of all its
content.  Files of before, packed by gzip, are read too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from l1ad.events.chunks import CHECKSUMS, Chunks, Unpacker, create, packed_rows, put
from l1ad.events.schema import Schema, load_schema
from l1ad.events.table import (
    META,
    NAMED,
    Array,
    Block,
    Events,
    Place,
    assert_disjoint,
    check_values,
    concatenate,
    event_hash,
    input_places,
    inputs,
    make_meta,
    regroup,
    split,
)
from l1ad.files import canonical_json, digest, replacing

__all__ = [
    "META",
    "NAMED",
    "Block",
    "EventFile",
    "EventWriter",
    "Events",
    "assert_disjoint",
    "concatenate",
    "event_hash",
    "input_places",
    "inputs",
    "make_meta",
    "split",
    "verify",
]

FORMAT = 2
CHUNK = 65_536  # events per HDF5 chunk; a file with fewer has them all in one


@cache
def _digest(name: str) -> str:  # not by schema: equal ones with lsb 1 and 1.0 differ in it
    return load_schema(name).digest()


def _datasets(schema: Schema) -> dict[str, np.dtype[Any]]:
    """All datasets of a file in order, and the type of each."""
    columns = {name.replace(".", "/"): column.stored_dtype for name, (_, column) in schema.columns().items()}
    return columns | {f"meta/{name}": np.dtype(dtype) for name, (dtype, _) in META.items()}


class _Content:
    """The running digest of a file's content: that of its parts, however it is cut into them.

    SHA-256 of the canonical JSON (`l1ad.files.digest`) of ``attrs``, ``events`` (their number), ``schema_digest`` and
    ``datasets``: for each, the SHA-256 of its integers or floats in C order, little-endian, of the type stored.
    """

    def __init__(self, schema: Schema, attrs: Mapping[str, Any]) -> None:
        self._dtypes = _datasets(schema)
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
        self._data: dict[str, h5py.h5d.DatasetID] = {}  # opened five times as fast as h5py.Dataset
        self._packed: dict[str, Chunks] = {}
        try:
            self._open(schema)
        except (KeyError, OSError, RuntimeError) as error:
            self.close()
            raise OSError(f"{damaged} ({error}); copy it again") from None
        except BaseException:
            self.close()
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
        if digest != (_digest(name) if schema is None else schema.digest()):
            raise ValueError(
                f"{self.path}: schema must be the {name!r} that it was written with, not the present "
                f"{self.schema.name!r}; pass the original as schema"
            )
        self._content_digest: str | None = stored.pop("content_digest", None)
        self.attrs: dict[str, Any] = stored
        self._length = self._dataset("meta/weight")[0]
        known = {name.replace(".", "/"): collection.slots for name, (collection, _) in self.schema.columns().items()}
        self._rows, column = CHUNK, 0
        for key in _datasets(self.schema):
            _, *slots = self._dataset(key, known.get(key))
            if rows := packed_rows(self._data[key]):
                self._packed[key], self._rows = Chunks(key, self._data[key], rows, column), rows
            column += slots[0] if slots else 1
        if self._packed:
            table, shape = self._file.get(CHECKSUMS), (-(-len(self) // self._rows), column)
            if getattr(table, "shape", None) != shape or table.dtype != np.uint64:
                raise ValueError(f"{self.path}: dataset {CHECKSUMS} must be uint64 {shape}; the file is not complete")
            self._checksums = table[()]

    @property
    def content_digest(self) -> str:
        """SHA-256 of attributes and events, as `EventWriter` saw them: equal for equal content, however compressed."""
        if self._content_digest is None:
            raise ValueError(f"{self.path}: attribute content_digest must exist; write the file again with EventWriter")
        return self._content_digest

    def _dataset(self, name: str, slots: int | None = None) -> tuple[int, ...]:
        """Open a dataset and check it, all but its values; its shape."""
        try:
            data = h5py.h5o.open(self._file.id, name.encode())
        except KeyError as error:
            if not any(words in str(error) for words in ("doesn't exist", "not found")):
                raise  # it is there, and cannot be opened; only HDF5's text says so (to list a damaged group may crash)
            raise ValueError(f"{self.path}: dataset {name} must exist; the file is not complete") from None
        shape: tuple[int, ...] = getattr(data, "shape", ())
        rows = getattr(self, "_length", shape[0] if shape else 0)
        group, _, key = name.partition("/")
        ndim = 1 if group == "meta" and key not in NAMED else 2
        if len(shape) != ndim or shape[0] != rows or (slots is not None and shape[1] != slots):
            expected = f"({rows}, {slots})" if slots else f"{ndim} axes and {rows} rows"
            raise ValueError(f"{self.path}: dataset {name} must be {expected}, not shape {shape}")
        floating = group == "meta" and META[key][0].startswith("f")
        kinds, expected = ("f", "floating point") if floating else ("iu", "integer")
        if data.dtype.kind not in kinds:
            raise ValueError(f"{self.path}: dataset {name} must be {expected}, not {data.dtype}")
        self._data[name] = data
        return shape

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
        for start, stop in self._cuts(0, len(self)):
            yield self._read(start, stop, *chosen)

    def raw(
        self,
        columns: Iterable[Place | None],
        meta: Iterable[str] = (),
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[Block]:
        """Events ``start:stop`` as they lie in the file, chunk by chunk: ten times as fast as `blocks`.

        Nothing is converted or copied after unpacking, the arrays are read-only, and **no value is checked**, only the
        checksum of each chunk.  Whoever uses them checks that codes are admissible and weights not negative.  Let go of
        each block (``del block``) before the next: memory that is still in the cache is an eighth faster.

        Parameters
        ----------
        columns : a column of the schema and a slot for each array (``[("jet.pt", 0), ...]``), None for zeros; those of
            a selection are `input_places`
        meta : event quantities to read; the weight is not read unless it is named
        start, stop : as in a slice; cheap where they are multiples of 65,536

        Raises
        ------
        OSError, ValueError
            As `read`, and if there is no such slot.
        """
        places, known = list(columns), self.schema.columns()
        _, quantities = self._chosen([place[0] for place in places if place], meta, weight=False)
        for name, slot in filter(None, places):
            if not 0 <= slot < known[name][0].slots:
                raise ValueError(f"{self.path}: slot of {name} must be in 0..{known[name][0].slots - 1}, not {slot}")
        start, stop, _ = slice(start, stop).indices(len(self))
        return self._raw(places, quantities, start, stop)

    def _raw(self, places: list[Place | None], meta: list[str], start: int, stop: int) -> Iterator[Block]:
        datasets = [(place[0].replace(".", "/"), place[1]) if place else None for place in places]
        wanted = [*filter(None, datasets), *((f"meta/{name}", 0) for name in meta if name not in NAMED)]
        packed = {place: (self._packed[place[0]], place[1]) for place in wanted if place[0] in self._packed}
        unpacker = Unpacker(self._file.id.get_vfd_handle(), list(packed.values())) if packed else None
        for a, b in self._cuts(start, stop):
            with self._readable(a, b):
                sums, (number, first) = self._sums(a, b), divmod(a, self._rows)
                chunks = unpacker.unpack(number, sums[number]) if unpacker else []
                stored = {place: chunk[first : first + b - a] for place, chunk in zip(packed, chunks, strict=True)}
                stored |= {place: self._stored(*place, a, b, sums) for place in wanted if place not in packed}
                stored |= {
                    (f"meta/{n}", 0): self._array(f"meta/{n}", a, b, np.dtype(META[n][0]), sums)
                    for n in NAMED.keys() & meta
                }
            zeros = np.zeros(b - a, np.int8)
            zeros.flags.writeable = False
            columns = [stored[place] if place else zeros for place in datasets]
            block = [Block(a, b, columns, {n: stored[f"meta/{n}", 0] for n in meta})]
            del chunks, stored, columns
            yield block.pop()  # no name is left for it: whoever has it may let it go

    def _cuts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The range in parts that lie in one chunk each."""
        for first in range(start - start % self._rows, stop if start < stop else 0, self._rows):
            yield max(start, first), min(stop, first + self._rows)

    def _chosen(
        self, columns: Iterable[str] | None, meta: Iterable[str] | None, weight: bool = True
    ) -> tuple[list[str], list[str]]:
        known = self.schema.columns()
        names = list(known) if columns is None else list(columns)
        quantities = list(META) if meta is None else list(dict.fromkeys(["weight", *meta] if weight else meta))
        for what, wanted, those in (("column", names, known), ("meta", quantities, META)):
            for name in wanted:
                if name not in those:
                    raise ValueError(f"{self.path}: {what} must be one of {', '.join(those)}, not {name!r}")
        return names, quantities

    def _read(self, start: int, stop: int, columns: list[str], meta: list[str]) -> Events:
        known = self.schema.columns()
        with self._readable(start, stop):
            sums = self._sums(start, stop)
            events = Events(
                self.schema,
                {n: self._array(n.replace(".", "/"), start, stop, known[n][1].dtype, sums) for n in columns},
                {n: self._array(f"meta/{n}", start, stop, np.dtype(META[n][0]), sums) for n in meta},
            )
        check_values(events, str(self.path), start)
        return events

    @contextmanager
    def _readable(self, start: int, stop: int) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{self.path}: events {start}..{stop} must be readable ({error}); copy the file again"
            ) from None

    def _sums(self, start: int, stop: int) -> dict[int, list[int]]:
        """Number of a chunk -> the checksums of all slots."""
        if not self._packed or start >= stop:
            return {}
        first = start // self._rows
        return dict(enumerate(self._checksums[first : -(-stop // self._rows)].tolist(), first))

    def _array(self, name: str, start: int, stop: int, dtype: np.dtype[Any], sums: dict[int, list[int]]) -> Array:
        """Rows of a dataset; of two axes, in Fortran order: to scatter slots over rows takes as long as to unpack."""
        data = self._data[name]
        out = np.empty((1 if data.rank == 1 else data.shape[1], stop - start), dtype)
        for slot, row in enumerate(out):
            for a, b in self._cuts(start, stop):
                row[a - start : b - start] = self._stored(name, slot, a, b, sums)
        return out[0] if data.rank == 1 else out.T

    def _stored(self, name: str, slot: int, start: int, stop: int, sums: dict[int, list[int]]) -> Array:
        """Events ``start:stop``, all of one chunk, of one slot of a dataset, as stored."""
        if name in self._packed:
            number, first = divmod(start, self._rows)
            unpacker = Unpacker(self._file.id.get_vfd_handle(), [(self._packed[name], slot)])
            return unpacker.unpack(number, sums[number])[0][first : first + stop - start]
        data = h5py.Dataset(self._data[name])
        return np.asarray(data[start:stop] if data.ndim == 1 else data[start:stop, slot])


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
    archive : Zstd rather than LZ4HC: a third smaller, and less than half as fast to read and to write
    """

    def __init__(self, path: str | Path, schema: Schema, attrs: dict[str, Any], *, archive: bool = False) -> None:
        self.path = Path(path)
        self.schema = schema
        stored = {**attrs, "format": FORMAT, "schema": schema.name, "schema_digest": schema.digest()}
        encoded = {key: self._encoded(key, value) for key, value in stored.items()}
        self._widths = {name: len(attrs.get(attribute, ())) for name, attribute in NAMED.items()}
        self._archive = archive
        self._checksums: list[list[int]] = []
        self._waiting: list[Events] = []
        self._content = _Content(schema, attrs)
        with ExitStack() as stack:
            self._file = h5py.File(stack.enter_context(replacing(self.path)), "w", libver="latest")
            stack.push(self._finish)
            for key, value in encoded.items():
                self._file.attrs[key] = value
            self._stack = stack.pop_all()

    def _encoded(self, key: str, value: Any) -> str:
        try:
            return canonical_json(value)
        except (TypeError, ValueError):
            raise ValueError(f"{self.path}: attribute {key} must be JSON, not {value!r}; leave it out") from None

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

    def _flush(self, *, last: bool = False) -> None:
        """Write the whole chunks of what waits, and at last the rest."""
        events = concatenate(self._waiting)
        stop = len(events) if last else len(events) - len(events) % CHUNK
        for first in range(0, stop, CHUNK):
            self._put(events[first : min(first + CHUNK, stop)])
        self._waiting = [events[stop:]]

    def _put(self, events: Events) -> None:
        """Write a chunk of each slot."""
        if not self._checksums:
            self._create(len(events))
        start = len(self._checksums) * CHUNK
        sums = []
        stored = self._content.add(events)
        for name in _datasets(self.schema):
            sums += put(self._file[name], start, stored[name], archive=self._archive)
        self._checksums.append(sums)

    def _create(self, rows: int) -> None:
        slots: dict[str, int | None] = {n.replace(".", "/"): c.slots for n, (c, _) in self.schema.columns().items()}
        slots |= {f"meta/{name}": width for name, width in self._widths.items()}
        for name, dtype in _datasets(self.schema).items():
            create(self._file, name, dtype, slots.get(name), rows, archive=self._archive)
        self._slots = sum(1 if slots.get(name) is None else slots[name] or 0 for name in _datasets(self.schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                if self._waiting:
                    self._flush(last=True)
                if not self._checksums:
                    self._create(1)
                self._file.create_dataset(CHECKSUMS, data=np.array(self._checksums, np.uint64).reshape(-1, self._slots))
                self._file.attrs["content_digest"] = canonical_json(self._content.digest())
        finally:
            self._file.close()
