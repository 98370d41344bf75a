"""Headers of an hls4ml project: its types, constants, arrays, config structs and functions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from l1ad.convert.from_hls4ml.cpp import Statement, evaluate, flatten, integers, parse_call, read_statements
from l1ad.convert.from_hls4ml.declarations import Config, Place, Variable
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint

HEADERS = ("defines.h", "parameters.h")
"""The folder of a project's C++ is where these are."""
GENERATED = "nnet_utils/nnet_code_gen.h"
COPY = "copy it from the generated project"
LOADS = (
    "nnet::load_weights_from_txt",
    "nnet::load_exponent_weights_from_txt",
    "nnet::load_compressed_weights_from_txt",
)
TRACE = "nnet::save_layer_output"

_PARALLEL = "generate the project again with io_type='io_parallel'"
_TYPE = r"[\w:]+(?: ?<.*>)?"
_QUALIFIERS = r"(?:(?:static|const|constexpr|extern|inline) )*"
_TYPEDEF = re.compile(r"typedef ((?:(?!\btypedef\b).)+?) ?\b(\w+)$")
_USING = re.compile(r"(?:template ?<.*> ?)?using (\w+) ?= ?(.+)$")
_CONSTANT = re.compile(rf"(?:(?:static|const|constexpr|inline) )+({_TYPE}(?: \w+)*) (\w+) ?= ?(.+)$")
_STRUCT = re.compile(r"struct (\w+)(?: ?: ?(?:public )?([\w:]+))?$")
_ARRAY = re.compile(rf"{_QUALIFIERS}({_TYPE}) (\w+) ?((?:\[[^\]]*\] ?)+)$")
_FUNCTION = re.compile(r'(template ?<.*?> ?)?(?:extern "C" |extern |inline |static )*void (\w+) ?\((.*)\)$')


@dataclass(frozen=True)
class Array:
    """An array outside of functions; `values` is what stands in its braces."""

    type_name: str
    size: int
    values: str | None
    place: Place


@dataclass(frozen=True)
class Top:
    """A function that calls layers; `ports` is what stands in its parentheses."""

    name: str
    namespace: str
    ports: str
    statement: Statement


@dataclass(frozen=True)
class Declared:
    """What the top function's file and its headers declare, by bare name; `typedefs` as they are written."""

    constants: dict[str, int]
    typedefs: dict[str, tuple[str, Place]] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    configs: dict[str, Config] = field(default_factory=dict)
    functions: dict[str, tuple[tuple[str, Place], ...]] = field(default_factory=dict)
    tops: list[Top] = field(default_factory=list)
    classes: list[Statement] = field(default_factory=list)


def declared(path: Path, folder: Path, code: Path, synthesis: bool) -> Declared:
    """What a compiler of `path` sees, in C simulation or in synthesis.

    Parameters
    ----------
    path : Path
        The .cpp.
    folder, code : Path
        What places are relative to, and where `HEADERS` are.
    synthesis : bool

    Raises
    ------
    ValueError
        If a header is missing or malformed, or a name is declared twice in different ways.
    UnsupportedError
        If a config struct uses a type that is no AP type of at most 63 bits.
    """
    headers = {*HEADERS, "weights.h", f"{path.stem}.h", GENERATED}

    def follow(name: str, place: Place) -> Path | None:
        is_weights = re.fullmatch(r"weights/[^/]+|weights\.h", name)
        if name not in headers and not is_weights:
            return None
        if (code / name).is_file():
            return code / name
        if name == GENERATED or name == f"{path.stem}.h":
            return None
        raise ValueError(f"{place}: included file {name!r} must exist, and is missing; {COPY}")

    macros = {"__SYNTHESIS__": ("1", Place("", 0))} if synthesis else {}
    statements = read_statements(path, folder, macros, follow)
    view = Declared(integers(macros))
    _declare_all(view, statements, "")
    return view


def declared_around(path: Path, folder: Path, code: Path) -> Declared:
    """What a .cpp outside of `code` declares, with whatever it includes of the project; see `declared`."""

    def follow(name: str, _: Place) -> Path | None:
        found = [base / name for base in (path.parent, code) if (base / name).is_file()]
        return found[0] if found and not name.startswith("nnet_utils/") else None

    macros: dict[str, tuple[str, Place]] = {}
    statements = read_statements(path, folder, macros, follow)
    view = Declared(integers(macros), {"int32_t": ("ap_int<32>", Place("stdint.h", 1))})
    _declare_all(view, statements, "")
    return view


def _declare_all(view: Declared, statements: Iterable[Statement], namespace: str) -> None:
    """Enter declarations, in order; what is no declaration of ours is passed over, as nothing can name it."""
    for statement in statements:
        text, place = statement.text, statement.place
        if statement.body is None:
            declare(view, statement)
        elif match := re.fullmatch(r"(?:inline )?namespace ?([\w:]*)", text):
            _declare_all(view, statement.body, f"{namespace}::{match[1]}".strip(":"))
        elif text == 'extern "C"':
            _declare_all(view, statement.body, namespace)
        elif match := re.fullmatch(r"typedef struct(?: \w+)? (\w+)", text):
            _declare_type(view, match[1], "a struct, as power-of-2 and compressed weights have", place)
        elif match := _STRUCT.match(text):
            config = _config(view, match[1], match[2] or "", statement)
            before = view.configs.setdefault(match[1], config)
            if replace(before, place=place) != config:
                raise ValueError(f"struct {match[1]!r} must be declared once, not at {before.place} and {place}")
        elif text.startswith("class "):
            view.classes.append(statement)
        elif match := _FUNCTION.match(text):
            if place.file.endswith(GENERATED):
                body = tuple(flatten(statement.body))
                if view.functions.setdefault(match[2], body) != body:
                    raise ValueError(f"{place}: function {match[2]!r} must be defined once, and is defined before")
            elif not match[1] and any(_calls_a_layer(inner, view) for inner in statement.body):
                view.tops.append(Top(match[2], namespace, match[3], statement))


def declare(view: Declared, statement: Statement) -> None:
    """Enter a type, a constant or an array."""
    text, place = statement.text, statement.place
    if match := _TYPEDEF.match(text):
        _declare_type(view, match[2], match[1], place)
    elif text.startswith("typedef"):
        raise ValueError(f"{place}: typedef must read 'typedef type name;', not {text!r:.80}")
    elif match := _USING.match(text):
        if not text.startswith("template"):
            _declare_type(view, match[1], match[2], place)
    elif "[" in text.partition("=")[0]:
        _declare_array(view, text, place)
    elif match := _CONSTANT.match(text):
        try:
            value = evaluate(match[3], view.constants)
        except ValueError:
            return
        before = view.constants.setdefault(match[2], value)
        if before != value:
            raise ValueError(f"{place}: constant {match[2]!r} must have one value, not {before} and {value}")


def _declare_type(view: Declared, name: str, text: str, place: Place) -> None:
    before, before_place = view.typedefs.setdefault(name, (text, place))
    if _spelling(before) != _spelling(text):
        raise ValueError(f"type {name!r} must be declared once, not as {before} ({before_place}) and {text} ({place})")


def _declare_array(view: Declared, text: str, place: Place) -> None:
    head, equals, values = text.partition("=")
    match = _ARRAY.match(head.strip())
    if not match:
        return
    name, values = match[2], values.strip()
    array = Array(match[1], array_size(match[3], view, place), values[1:-1] if equals else None, place)
    before = view.arrays.setdefault(name, array)
    if (before.type_name, before.size) != (array.type_name, array.size) or (
        None not in (before.values, array.values) and before.values != array.values
    ):
        raise ValueError(f"array {name!r} must be declared once, not at {before.place} and {place}")
    if array.values is not None:
        view.arrays[name] = array


def array_size(brackets: str, view: Declared, place: Place) -> int:
    """Product of the sizes in ``[2][3*N]``."""
    sizes = re.findall(r"\[([^\]]*)\]", brackets)
    try:
        size = math.prod(evaluate(each, view.constants) for each in sizes)
    except ValueError as error:
        raise ValueError(f"{place}: size of an array must be known: {error}") from None
    if size < 1:
        raise ValueError(f"{place}: size of an array must be at least 1, not {size}")
    return size


def _config(view: Declared, name: str, kind: str, struct: Statement) -> Config:
    constants: dict[str, int] = {}
    floats: dict[str, float] = {}
    names: dict[str, str] = {}
    types: dict[str, FixedPoint] = {}
    for member in struct.body or ():
        text = member.text
        if match := _TYPEDEF.match(text):
            target, right = match[2], match[1]
        elif match := _USING.match(text):
            target, right = match[1], match[2]
        elif match := _CONSTANT.match(text):
            target, right = match[2], match[3]
            try:
                constants[target] = evaluate(right, view.constants | {"false": 0, "true": 1} | constants)
            except ValueError:
                if re.fullmatch(r"[A-Za-z_][\w:]*", right):
                    names[target] = right.split("::")[-1]
                elif re.fullmatch(r"-?[\d.]+(?:[eE]-?\d+)?f?", right):
                    floats[target] = float(right.rstrip("f"))
            continue
        else:
            continue
        if is_type(view, right):
            types[target] = fixed_type(view.typedefs, right, member.place)
        else:
            names[target] = right.partition("<")[0].strip().split("::")[-1]
    return Config(name, kind.split("::")[-1], constants, floats, names, types, struct.place)


def is_type(view: Declared, text: str) -> bool:
    """Whether it names a type: a typedef's name, or one of a library."""
    return text.split("::")[-1] in view.typedefs or text.startswith(("ap_", "ac_", "nnet::array"))


def _spelling(text: str) -> str:
    """AP type in one spelling; its bits of saturation, spelt as any enumerator that is 0, are left out."""
    return re.sub(
        r"^(ap_u?fixed<[^,<>]+,[^,<>]+,[^,<>]+,[^,<>]+),(?:0|AP_SAT|AP_RND)>$", r"\1>", re.sub(r"\s", "", text)
    )


def fixed_type(typedefs: Mapping[str, tuple[str, Place]], text: str, place: Place) -> FixedPoint:
    """Type that a typedef's name, or an AP type, stands for; `place` is where it is used."""
    name = text
    for _ in range(len(typedefs) + 1):
        bare = text.split("::")[-1]
        if bare not in typedefs:
            break
        text, place = typedefs[bare]
    if re.match(r"nnet::array\b|hls::stream\b", text):
        raise UnsupportedError(f"{place}: io_stream projects are not read, and {name!r} is {text}; {_PARALLEL}")
    if re.fullmatch(r"[A-Za-z_]\w*", text):
        raise ValueError(f"{place}: type {text!r} must be declared, and is not")
    spelling = _spelling(text)
    if not spelling.startswith("ap_"):
        raise UnsupportedError(f"{place}: type {name!r} must be an AP type, not {text}")
    try:
        read = FixedPoint.parse(spelling)
    except ValueError as error:
        raise UnsupportedError(f"{place}: type {name!r} must be one that l1ad holds, not {text}: {error}") from None
    if "fixed" in spelling:
        return read
    return replace(read, rounding="TRN_ZERO")  # what ap_int makes of fractions, as int does


def readable(typedefs: Mapping[str, tuple[str, Place]]) -> dict[str, FixedPoint]:
    """Typedefs of AP types that l1ad holds; whoever uses another has been refused."""
    types = {}
    for name, (_, place) in typedefs.items():
        try:
            types[name] = fixed_type(typedefs, name, place)
        except (UnsupportedError, ValueError):
            continue
    return types


def _calls_a_layer(statement: Statement, view: Declared) -> bool:
    call = parse_call(statement.text) if statement.body is None else None
    if not call or call[0] in (*LOADS, TRACE):
        return False
    return call[0].startswith("nnet::") or call[0].split("::")[-1] in view.functions or "_da_" in call[0]


def variable(view: Declared, text: str, place: Place) -> Variable | None:
    """Array, or scalar, that a statement or a port declares."""
    if "hls::stream" in text:
        raise UnsupportedError(f"{place}: io_stream projects are not read, and {text!r:.80} is a stream; {_PARALLEL}")
    if match := _ARRAY.match(text):
        type_name, name, size = match[1], match[2], array_size(match[3], view, place)
    elif (match := re.fullmatch(rf"({_TYPE}) (\w+)", text)) and is_type(view, match[1]):
        type_name, name, size = match[1], match[2], 1
    else:
        return None
    return Variable(name, type_name, fixed_type(view.typedefs, type_name, place), size, place)
