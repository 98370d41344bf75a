"""Storage: bytes an event and events a second and core, of this project's files and of what else there is.

    python benchmarks/storage.py [--events 2e6] [--folder FOLDER] [--only WORD]

The samples `train.h5` and `rate.h5`, tiled; each repetition in another order, turned in phi and mirrored in eta, so
that none helps to pack.  Read are the 57 inputs of the selection `axol1tl` (56 stored columns, 83 bytes an event),
block after block of 65,536 events, as one contiguous array for each input; files lie in the page cache, in a temporary
folder under FOLDER (some 0.3 GB at a time).  Figures are CPU time of one thread, medians of several runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.feather import write_feather

from l1ad.events.schema import load_schema
from l1ad.events.store import CHUNK, EventFile, Events, EventWriter, concatenate, input_places

SAMPLE = Path(__file__).parents[1] / "sample"
SCHEMA = load_schema("cms_run3")
PLACES = [place for place in input_places(SCHEMA, "axol1tl") if place]


def tiled(rows: int) -> list[Events]:
    """Events in blocks of `CHUNK`, different in each repetition of the sample."""
    sample = concatenate([EventFile(SAMPLE / name).read() for name in ("train.h5", "rate.h5")])
    chance, parts = np.random.default_rng(0), []
    for _ in range(-(-rows // len(sample))):
        part = sample[chance.permutation(len(sample))]
        turn, mirror = 2 * chance.integers(0, 72, (len(part), 1)), 1 - 2 * chance.integers(0, 2, (len(part), 1))
        for name, codes in part.columns.items():
            collection, _, key = name.partition(".")
            if key == "phi":  # muons have four counts where the others have one
                scale, present = 4 if collection == "mu" else 1, part.columns[f"{collection}.pt"] > 0
                codes[:] = np.where(present, (codes + scale * turn) % (144 * scale), codes)
            elif key == "eta":
                codes *= mirror.astype(codes.dtype)
        parts.append(part)
    events = concatenate(parts)[:rows]
    return [events[first : first + CHUNK] for first in range(0, rows, CHUNK)]


def seconds(task: Callable[[], Any]) -> float:
    """CPU time of a task: the median of five, all warm."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        task()
        taken.append(time.process_time() - start)
    return median(taken)


def read_l1ad(path: Path) -> int:
    """`EventFile.raw`."""
    with EventFile(path) as file:
        return sum(map(len, file.raw(input_places(SCHEMA, "axol1tl"))))


def packed_bytes(path: Path) -> int:
    """What the 56 columns take in a file of this project."""
    with h5py.File(path) as file:
        data = {name: file[name.replace(".", "/")].id for name, _ in PLACES}
        starts = range(0, next(iter(data.values())).shape[0], CHUNK)
        return sum(data[n].get_chunk_info_by_coord((first, slot)).size for n, slot in PLACES for first in starts)


def write_hdf5(path: Path, blocks: list[dict[Any, NDArray[Any]]], **options: Any) -> None:
    """Datasets of the same layout, through h5py and its filters."""
    rows = sum(len(block[PLACES[0]]) for block in blocks)
    slots = {name: 1 + max(slot for other, slot in PLACES if other == name) for name, _ in PLACES}
    with h5py.File(path, "w", libver="latest") as file:
        for name, width in slots.items():
            dtype = blocks[0][name, 0].dtype
            file.create_dataset(name, (rows, width), dtype, chunks=(CHUNK, 1), **options)
        for number, block in enumerate(blocks):
            for (name, slot), array in block.items():
                file[name][number * CHUNK : number * CHUNK + len(array), slot] = array


def read_hdf5(path: Path) -> int:
    """Slices of datasets."""
    with h5py.File(path) as file:
        data = [(file[name], slot) for name, slot in PLACES]
        rows = len(data[0][0])
        for first in range(0, rows, CHUNK):
            _ = [dataset[first : first + CHUNK, slot] for dataset, slot in data]
    return rows


def read_parquet(path: Path) -> int:
    """Row group after row group, in one thread."""
    file = pq.ParquetFile(path, memory_map=True)
    for group in range(file.num_row_groups):
        _ = [column.chunk(0).to_numpy() for column in file.read_row_group(group, use_threads=False).columns]
    return int(file.metadata.num_rows)


def read_arrow(path: Path) -> int:
    """Record batch after record batch, each column touched: uncompressed ones are only mapped."""
    with pa.memory_map(str(path)) as source:
        file, rows = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(use_threads=False)), 0
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            _, rows = [column.to_numpy().max() for column in batch.columns], rows + batch.num_rows
    return rows


def read_mapped(path: Path) -> int:
    """A memory map of 57 rows of int16, each touched."""
    mapped = np.memmap(path, np.int16, "r").reshape(len(PLACES) + 1, -1)
    for first in range(0, mapped.shape[1], CHUNK):
        _ = [row[first : first + CHUNK].max() for row in mapped]
    return int(mapped.shape[1])


def read_bytes(path: Path) -> None:
    """The bound: the file's bytes out of the page cache."""
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def main() -> None:
    """Write, read and print, one method after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=float, default=2e6)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    pa.set_cpu_count(1)
    parts, types = tiled(int(options.events)), {n: c.stored_dtype for n, (_, c) in SCHEMA.columns().items()}
    blocks = [{(n, i): np.ascontiguousarray(p.columns[n][:, i], types[n]) for n, i in PLACES} for p in parts]

    def write_l1ad(path: Path, archive: bool = False) -> None:
        with EventFile(SAMPLE / "rate.h5") as file, EventWriter(path, SCHEMA, file.attrs, archive=archive) as out:
            for part in parts:
                out.append(part)

    lz4hc = hdf5plugin.Blosc(cname="lz4hc", clevel=4, shuffle=1)
    filters: dict[str, dict[str, Any]] = {
        "no filter": {},
        "gzip 1, shuffle": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
        "lzf, shuffle": {"compression": "lzf", "shuffle": True},
        "LZ4, shuffle": {**hdf5plugin.LZ4(), "shuffle": True},
        "Zstd 3, shuffle": {**hdf5plugin.Zstd(clevel=3), "shuffle": True},
        "Bitshuffle LZ4": {**hdf5plugin.Bitshuffle(cname="lz4")},
        "Blosc LZ4, shuffle": {**hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=1)},
        "Blosc LZ4HC, shuffle": {**lz4hc},
        "Blosc LZ4HC, shuffle, Fletcher32": {**lz4hc, "fletcher32": True},
        "Blosc2 LZ4, bitshuffle": {**hdf5plugin.Blosc2(cname="lz4", clevel=5, filters=2)},
    }
    methods: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
        "l1ad": (write_l1ad, read_l1ad),
        "l1ad, archive": (partial(write_l1ad, archive=True), read_l1ad),
    }
    for name, kw in filters.items():
        methods[f"HDF5 {name}"] = (partial(write_hdf5, blocks=blocks, **kw), read_hdf5)
    named = [{f"{name}{slot}": array for (name, slot), array in block.items()} for block in blocks]
    table = pa.Table.from_batches([pa.RecordBatch.from_pydict(block) for block in named])
    streams = {"use_dictionary": False, "column_encoding": dict.fromkeys(table.column_names, "BYTE_STREAM_SPLIT")}
    for codec in ("none", "snappy", "lz4", "zstd"):
        write = partial(pq.write_table, table, row_group_size=CHUNK, compression=codec)
        methods[f"Parquet {codec}, dictionary"] = (write, read_parquet)
        methods[f"Parquet {codec}, byte streams"] = (partial(write, **streams), read_parquet)
    for codec in ("uncompressed", "lz4", "zstd"):
        methods[f"Arrow {codec}"] = (partial(write_feather, table, compression=codec, chunksize=CHUNK), read_arrow)
    rows = [np.concatenate([block[place] for block in blocks]).astype(np.int16) for place in PLACES]
    methods["memory map, int16"] = (np.stack([*rows, np.zeros_like(rows[0])]).tofile, read_mapped)
    print(f"{'method':38s}  B/event: 57  whole file  million events/s: read  write")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "file"
        for name, (write, read) in ((n, methods[n]) for n in methods if options.only in n):
            start = time.process_time()
            write(path)
            writing, count, full = time.process_time() - start, read(path), path.stat().st_size
            whole = f"{full / count:10.1f}" if name.startswith("l1ad") else " " * 10
            size = packed_bytes(path) if name.startswith("l1ad") else full
            speed, bound = count / seconds(partial(read, path)) / 1e6, full / seconds(partial(read_bytes, path)) / 1e9
            print(f"{name:38s}  {size / count:11.1f}  {whole}  {speed:22.1f}  {count / writing / 1e6:5.2f}", flush=True)
    print(f"bound: {bound:.1f} GB/s out of the page cache")


if __name__ == "__main__":
    main()
