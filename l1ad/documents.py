"""Documents (TOML, JSON) as frozen dataclasses, strictly: nothing unknown, nothing missing, no wrong type."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from l1ad.files import write_text

T = TypeVar("T")


def decode(kind: type[T], data: Any, where: str) -> T:
    """Build what a type asks for from parsed TOML or JSON.

    Parameters
    ----------
    kind : type
        A dataclass, ``tuple[X, ...]``, ``dict[str, X]``, a union of dataclasses or with None, or a plain type.
    data : parsed document
    where : str
        What error texts call the place: a file, then the keys that lead to it.

    Raises
    ------
    ValueError
        If a key is unknown or missing, or a value has the wrong type or is refused by its dataclass.
    """
    value: T = _decode(kind, data, where)
    return value


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return _decode_union(arguments, data, where)
    if origin is typing.Literal:
        if data not in arguments:
            raise ValueError(f"{where} must be one of {arguments}, not {data!r}")
        return data
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{where} must be a list, not {data!r}")
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise ValueError(f"{where} must be a table, not {data!r}")
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if kind is float and type(data) is int:
        data = float(data)
    if type(data) is not kind:
        raise ValueError(f"{where} must be of type {kind.__name__}, not {data!r}")
    if kind is float and not math.isfinite(data):
        raise ValueError(f"{where} must be finite, not {data!r}")
    return data


def _decode_union(members: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and types.NoneType in members:
        return None
    members = tuple(member for member in members if member is not types.NoneType)
    if len(members) == 1:
        return _decode(members[0], data, where)
    for member in members:
        if isinstance(data, dict) and data.keys() == {field.name for field in dataclasses.fields(member)}:
            return _decode(member, data, where)
    raise ValueError(f"{where} must be one of {', '.join(member.__name__ for member in members)}, not {data!r}")


def _decode_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be a table, not {data!r}")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; it must be one of {', '.join(fields)}"
            raise ValueError(f"{where}: unknown key {key!r}{meant}")
    for name, field in fields.items():
        if name not in data and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}: key {name!r} must be given")
    hints = typing.get_type_hints(kind)
    values = {key: _decode(hints[key], value, f"{where}.{key}") for key, value in data.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def save(path: str | Path, document: Any) -> None:
    """Write a dataclass as JSON, whole or not at all.

    Raises
    ------
    ValueError
        If a number is not finite; the text names the file.
    """
    try:
        text = json.dumps(dataclasses.asdict(document), indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{path} must hold finite numbers: {error}") from error
    write_text(path, text + "\n")


def load(kind: type[T], path: str | Path) -> T:
    """Read a dataclass from JSON.

    Raises
    ------
    ValueError
        As `decode`, and if the file is not strict JSON; the text names it.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_distinct, parse_constant=_finite)
    except ValueError as error:
        raise ValueError(f"{path} must be strict JSON, not this: {error}") from error
    return decode(kind, data, str(path))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError(f"keys must be distinct, not {[key for key, _ in pairs]}")
    return data


def _finite(text: str) -> float:
    raise ValueError(f"numbers must be finite, not {text}")
