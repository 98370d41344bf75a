"""What a trigger sends: collections of objects, their columns, and the integer code of each.

A detector is a data table (``schemas/*.toml``), not code.  *raw* codes are integers, value = raw x lsb.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Collection",
    "Column",
    "InputColumn",
    "Schema",
    "Selection",
    "input_columns",
    "load_schema",
    "presence_index",
]

COLUMN_NAMES = ("pt", "eta", "phi", "iso", "quality", "charge", "mass", "tau1", "tau2", "tau3")
_MAX_BITS = 31  # codes are held in int32 at most


@dataclass(frozen=True)
class Column:
    """One integer quantity of an object.

    Attributes
    ----------
    name : one of `COLUMN_NAMES`
    bits : width of the code
    signed : two's complement if true
    lsb : value of one count
    unit : unit of the value, ``"1"`` for none
    low, high : admissible codes, both included
    saturated : code that stands for everything above the range, or None
    """

    name: str
    bits: int
    signed: bool
    lsb: float
    unit: str
    low: int
    high: int
    saturated: int | None = None

    def __post_init__(self) -> None:
        if self.name not in COLUMN_NAMES:
            raise ValueError(f"column must be one of {', '.join(COLUMN_NAMES)}, not {self.name!r}")
        if not 1 <= self.bits <= _MAX_BITS:
            raise ValueError(f"bits must be between 1 and {_MAX_BITS}, not {self.bits}")
        low, high = _code_range(self.bits, self.signed)
        if not low <= self.low <= self.high <= high:
            raise ValueError(f"low and high must lie in {low}..{high}, not be {self.low}..{self.high}")
        if not 0 < self.lsb < np.inf:
            raise ValueError(f"lsb must be positive and finite, not {self.lsb}")
        if self.saturated is not None and not self.low <= self.saturated <= self.high:
            raise ValueError(f"saturated must lie in {self.low}..{self.high}, not be {self.saturated}")

    @property
    def turn(self) -> int | None:
        """Counts that go once around, of an angle that starts at 0."""
        return _turn(self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Integer type that holds the codes in memory: wide and signed, so that arithmetic is safe."""
        return np.dtype(np.int32)

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Smallest integer type that holds the codes in a file."""
        if self.low >= 0:
            return np.min_scalar_type(self.high)
        return np.min_scalar_type(min(self.low, -self.high - 1))


@dataclass(frozen=True)
class Collection:
    """All objects of one kind in an event, sorted by falling pT."""

    name: str
    slots: int
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"slots must be at least 1, not {self.slots}")
        if not any(column.name == "pt" for column in self.columns):
            raise ValueError("columns must include pt: it says whether an object is present")

    def column(self, name: str) -> Column | None:
        """The column of that name, None where the collection has none."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Selection:
    """An ordered choice of network inputs: (collection, leading slots), each with the same columns."""

    name: str
    objects: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """The trigger objects of one detector."""

    name: str
    collections: tuple[Collection, ...]
    selections: tuple[Selection, ...]

    def __post_init__(self) -> None:
        for selection in self.selections:
            where = f"selections.{selection.name}"
            if "pt" not in selection.columns:
                raise ValueError(f"{where}.columns must include pt: it says whether an object is present")
            for name in selection.columns:
                if name not in COLUMN_NAMES:
                    raise ValueError(f"{where}.columns must be of {', '.join(COLUMN_NAMES)}, not {name!r}")
            for name, slots in selection.objects:
                available = self.collection(name).slots
                if not 1 <= slots <= available:
                    raise ValueError(f"{where}: slots of {name} must be between 1 and {available}, not {slots}")

    def collection(self, name: str) -> Collection:
        """The collection of that name."""
        for collection in self.collections:
            if collection.name == name:
                return collection
        known = ", ".join(collection.name for collection in self.collections)
        raise ValueError(f"collection must be one of {known} (schema {self.name}), not {name!r}")

    def selection(self, name: str) -> Selection:
        """The selection of that name."""
        for selection in self.selections:
            if selection.name == name:
                return selection
        known = ", ".join(selection.name for selection in self.selections)
        raise ValueError(f"selection must be one of {known} (schema {self.name}), not {name!r}")

    def columns(self) -> dict[str, tuple[Collection, Column]]:
        """All columns in order, keyed ``"jet.pt"``."""
        return {
            f"{collection.name}.{column.name}": (collection, column)
            for collection in self.collections
            for column in collection.columns
        }

    def digest(self) -> str:
        """SHA-256 of the content: equal for two schemas that mean the same."""
        return sha256(repr(asdict(self)).encode()).hexdigest()


@dataclass(frozen=True)
class InputColumn:
    """One input of a network: its name, admissible codes (both included), value of one count, and saturated code."""

    name: str
    low: int
    high: int
    lsb: float
    unit: str
    saturated: int | None = None

    @property
    def turn(self) -> int | None:
        """Counts that go once around, of an angle that starts at 0."""
        return _turn(self)


def _turn(column: Column | InputColumn) -> int | None:
    turn = column.high + 1
    around = column.low == 0 and column.unit == "rad"
    return turn if around and math.isclose(turn * column.lsb, 2 * math.pi, rel_tol=1e-6) else None


def _code_range(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _only(table: dict[str, Any], where: str, **expected: type | tuple[type, ...]) -> None:
    """Refuse keys that are unknown or of the wrong type."""
    for key, value in table.items():
        if key not in expected:
            raise ValueError(f"{where}: key must be one of {', '.join(expected)}, not {key!r}")
        if not isinstance(value, expected[key]) or (isinstance(value, bool) and expected[key] is not bool):
            raise ValueError(f"{where}.{key} must not be {value!r}")


def _column(name: str, table: Any, where: str) -> Column:
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table such as {{ bits = 9, lsb = 0.5, unit = 'GeV' }}, not {table!r}")
    _only(table, where, bits=int, signed=bool, lsb=(int, float), unit=str, low=int, high=int, saturated=int)
    for key in ("bits", "lsb", "unit"):
        if key not in table:
            raise ValueError(f"{where}.{key} must be given")
    signed = table.get("signed", False)
    low, high = _code_range(max(1, min(table["bits"], _MAX_BITS)), signed)
    try:
        return Column(**{"name": name, "signed": signed, "low": low, "high": high, **table})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _collection(name: str, table: Any, where: str) -> Collection:
    if not isinstance(table, dict) or not isinstance(table.get("slots"), int):
        raise ValueError(f"{where}.slots must be an integer")
    columns = {key: value for key, value in table.items() if key != "slots"}
    parsed = tuple(_column(key, value, f"{where}.{key}") for key, value in columns.items())
    try:
        return Collection(name, table["slots"], parsed)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _selection(name: str, table: Any, where: str) -> Selection:
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table with objects and columns")
    _only(table, where, objects=list, columns=list)
    try:
        objects = tuple((str(key), int(slots)) for key, slots in table["objects"])
        return Selection(name, objects, tuple(str(column) for column in table["columns"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{where} must have objects = [[collection, slots], ...] and columns = [...]") from None


@cache
def load_schema(name: str = "cms_run3") -> Schema:
    """The schema of that name in ``l1ad/events/schemas``, or of a TOML file if `name` ends in ``.toml``.

    Raises
    ------
    ValueError
        If there is no such table or something in it is wrong; the text names file and key.
    """
    folder = Path(__file__).parent / "schemas"
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ValueError(f"schema must be one of {known} or the path of a .toml file, not {name!r}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: schema must be valid TOML: {error}") from None
    _only(table, str(path), name=str, collections=dict, selections=dict)
    for key in ("name", "collections"):
        if key not in table:
            raise ValueError(f"{path}: {key} must be given")
    try:
        return Schema(
            name=table["name"],
            collections=tuple(_collection(k, v, f"collections.{k}") for k, v in table["collections"].items()),
            selections=tuple(_selection(k, v, f"selections.{k}") for k, v in table.get("selections", {}).items()),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def input_columns(schema: Schema, selection: str = "axol1tl") -> tuple[InputColumn, ...]:
    """The network inputs of a selection in order, e.g. ``eg0_pt, eg0_eta, eg0_phi, eg1_pt, ...``.

    A column that a collection lacks (the eta of MET) is an input that is always 0.
    """
    chosen = schema.selection(selection)
    out = []
    for name, slots in chosen.objects:
        collection = schema.collection(name)
        for slot in range(slots):
            label = name if collection.slots == 1 else f"{name}{slot}"
            for key in chosen.columns:
                column = collection.column(key)
                if column is None:
                    out.append(InputColumn(f"{label}_{key}", 0, 0, 1.0, "1"))
                else:
                    ends = column.low, column.high, column.lsb, column.unit, column.saturated
                    out.append(InputColumn(f"{label}_{key}", *ends))
    return tuple(out)


def presence_index(schema: Schema, selection: str = "axol1tl") -> NDArray[np.int64]:
    """For each input the index of the pT input of its object: an object is absent where that is 0."""
    chosen = schema.selection(selection)
    width = len(chosen.columns)
    objects = sum(slots for _, slots in chosen.objects)
    first = np.arange(objects) * width + chosen.columns.index("pt")
    return np.repeat(first, width).astype(np.int64)
