"""CERN/anomaly_detection_cmsl1t: Level-1 objects of CMS data of 2025 and of simulated signals, in parquet.

One row is one event.  Columns with the prefix of a collection are lists: ``egammas_``, ``jets_``, ``taus_`` and
``muons_`` with one entry per object (at most 12, 12, 12, 8), the sums ``MET_``, ``MHT_``, ``HT_``, ``ET_`` with one
entry.  Other columns are plain: ``run``, ``lumi``, ``event``, ``bx``, ``nPV_True`` (mean pileup of the luminosity
section in data, that of the event in simulation), ``L1bit`` (did any algorithm of the menu fire, anomaly triggers
left out), ``label`` (0 zero-bias data, below 0 simulated background, above 0 simulated signal), ``dataset``.

All are integers of the Global Trigger, unscaled.  ``IEt`` counts 0.5 GeV, as our codes do, with one exception:
``muons_muonIEt`` is the count of the muon trigger, (code - 1) x 0.5 GeV, and becomes ours by subtracting 1, see
`muon_codes`.  ``IEta`` and ``IPhi`` are ours as they stand; of muons those at the vertex are taken.  ``muonChg`` (1,
-1, or 0 where it was not measured) becomes 1, 0 and 2.  The calorimeter objects come by falling ET, muons do not; all
are sorted here.

``MET`` is missing ET without the forward calorimeter, and is our ``met``; ``FET`` and ``FHT``, with it, are not read,
nor are unconstrained muon pT, jet quality, tower count and ``order``.  Muon isolation is not in the files.
Saturated objects are kept, as the trigger keeps them.  The simulation has no ``bx`` (all bits set): it is unknown.
``meta/label`` is 1 for signals, else 0.  The decisions of single seeds are in files of their own, which are not read.

Source
------
The card of the data set, and the code that wrote it: publish/card.py, publish/huggingface.py, root2parquet.py and
docs/README.md of github bb511/adl1t_datamaker.  Names, lists, offsets, units and order are checked against these; no
file was at hand, and integer widths are not assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.readers.codes import absent_columns, as_codes, muon_codes
from l1ad.events.readers.root import integers
from l1ad.events.readers.slots import fill_slots, offsets_of
from l1ad.events.readers.source import Source, refuse_part
from l1ad.events.schema import Schema, load_schema
from l1ad.events.store import Events, make_meta

__all__ = ["read_cmsl1t"]

Array = NDArray[Any]

OBJECTS = {
    "eg": {"pt": "egammas_egIEt", "eta": "egammas_egIEta", "phi": "egammas_egIPhi", "iso": "egammas_egIso"},
    "tau": {"pt": "taus_tauIEt", "eta": "taus_tauIEta", "phi": "taus_tauIPhi", "iso": "taus_tauIso"},
    "mu": {
        "pt": "muons_muonIEt",
        "eta": "muons_muonIEtaAtVtx",
        "phi": "muons_muonIPhiAtVtx",
        "quality": "muons_muonQual",
        "charge": "muons_muonChg",
    },
    "jet": {"pt": "jets_jetIEt", "eta": "jets_jetIEta", "phi": "jets_jetIPhi"},
    "met": {"pt": "MET_Et", "phi": "MET_phi"},
    "mht": {"pt": "MHT_Et", "phi": "MHT_phi"},
    "ht": {"pt": "HT_Et"},
    "et": {"pt": "ET_Et"},
}
NUMBERS = {"run": ("run", "i4"), "lumi": ("ls", "i4"), "event": ("event", "i8"), "bx": ("bx", "i2")}
PLAIN = (*NUMBERS, "nPV_True", "L1bit", "label")
LISTS = tuple(branch for branches in OBJECTS.values() for branch in branches.values())


def read_cmsl1t(path: Path, size: int, part: str | None = None) -> Source:
    """A parquet file of the data set; see the module for its content."""
    refuse_part(path, part)
    schema = load_schema("cms_run3")
    with _opened(path) as file:
        _check_columns(path, file.schema_arrow)
        n = file.metadata.num_rows
        first = next(file.iter_batches(batch_size=1, columns=["dataset", "label"]), None)
        if not n or first is None:
            raise ValueError(f"{path}: file must hold events, not 0; leave it out")
        row = first.to_pylist()[0]
    attrs = {"simulated": row["label"] != 0, "seeds": ["L1bit"], "sample": row["dataset"]}
    return Source(schema, attrs, n, _chunks(path, schema, size, row["label"]))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The parquet file; whatever cannot be read from it is an ``OSError`` that names it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("pyarrow must be installed to read parquet files; pip install 'l1ad[readers]'") from error
    try:
        # in small pieces: else memory grows with the row groups, and a file may be one group
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**18) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise OSError(
            f"{path}: file must be complete parquet, not truncated, damaged or of another format ({error}); "
            "copy it again"
        ) from None


def _check_columns(path: Path, schema: Any) -> None:
    import pyarrow.types as types

    for names, is_list, kind in (
        (LISTS, True, "a list of integers"),
        ((*PLAIN, "dataset"), False, "one value an event"),
    ):
        missing = [name for name in names if name not in schema.names]
        if missing:
            raise ValueError(
                f"{path}: columns must include {', '.join(missing)}; check the format, seeds/ has no events"
            )
        for name in names:
            found = schema.field(name).type
            listed = types.is_list(found) or types.is_large_list(found)
            if listed != is_list or (listed and not types.is_integer(found.value_type)):
                raise ValueError(f"{path}: column {name} must be {kind}, not {found}; check the format")


def _chunks(path: Path, schema: Schema, size: int, label: int) -> Iterator[Events]:
    start = 0
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=size, columns=[*LISTS, *PLAIN]):
            where = f"{path} (events from {start})"
            n = batch.num_rows
            columns: dict[str, Array] = {}
            for name, branches in OBJECTS.items():
                for key, array in _objects(batch, name, branches, schema, where).items():
                    columns[f"{name}.{key}"] = array
            yield Events(schema, absent_columns(schema, n, columns), _meta(batch, label, where))
            start += n


def _objects(batch: Any, name: str, branches: dict[str, str], schema: Schema, where: str) -> dict[str, Array]:
    collection = schema.collection(name)
    offsets: Array | None = None
    codes = {}
    for key, branch in branches.items():
        column = collection.column(key)
        if column is None:
            raise ValueError(f"schema {schema.name}: collection {name} must have the column {key}")
        place = f"{where}: {branch}"
        bounds, values = _flat(batch.column(branch), place)
        if offsets is None:
            offsets = bounds
        if not np.array_equal(offsets, bounds):
            raise ValueError(f"{place} must have as many entries as {branches['pt']}; correct the file")
        if branch == "muons_muonChg":
            values = _charges(values, place)
        codes[key] = (muon_codes if branch == "muons_muonIEt" else as_codes)(values, column, place)
    most = int(np.diff(offsets).max(initial=0)) if offsets is not None else 0
    if offsets is None or most > collection.slots:
        raise ValueError(f"{where}: {name} must be at most {collection.slots} per event, not {most}; check the format")
    pt = codes.pop("pt")
    return fill_slots(offsets, pt, codes, collection.slots)


def _flat(column: Any, where: str) -> tuple[Array, Array]:
    """Offsets (n + 1,) and all entries of a column of lists; a list that is null is empty."""
    import pyarrow.compute as compute

    values = column.flatten()
    if values.null_count:
        raise ValueError(f"{where} must have a number in each entry, not {values.null_count} nulls; correct the file")
    counts = compute.fill_null(compute.list_value_length(column), 0)
    return offsets_of(counts.to_numpy(zero_copy_only=False)), values.to_numpy(zero_copy_only=False)


def _charges(values: Array, where: str) -> Array:
    wrong = ~np.isin(values, (-1, 0, 1))
    if wrong.any():
        raise ValueError(f"{where} must be -1, 0 or 1, not {values[wrong][0]}; check the format")
    return np.select([values > 0, values < 0], [1, 0], 2)


def _meta(batch: Any, label: int, where: str) -> dict[str, Array]:
    plain = {}
    for name in PLAIN:
        column = batch.column(name)
        if column.null_count:
            raise ValueError(f"{where}: {name} must have a value in each event, not {column.null_count} nulls")
        plain[name] = column.to_numpy(zero_copy_only=False)
    if (plain["label"] != label).any():
        raise ValueError(f"{where}: label must be the same in a file ({label}), as data and simulation must not mix")
    known = {key: integers(plain[name], dtype, f"{where}: {name}") for name, (key, dtype) in NUMBERS.items()}
    known["pileup"] = plain["nPV_True"]
    known["label"] = np.full(batch.num_rows, int(label > 0))
    known["seeds"] = plain["L1bit"].astype(bool)[:, None]
    return make_meta(batch.num_rows, **known)
