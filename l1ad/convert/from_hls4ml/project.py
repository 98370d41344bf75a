"""A generated hls4ml project, read from its C++: nothing is compiled or run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from l1ad.convert.from_hls4ml.cpp import CUT, Statement, evaluate, parse_call, read_text, split_commas
from l1ad.convert.from_hls4ml.declarations import Call, Constants, Place, Project, Variable
from l1ad.convert.from_hls4ml.headers import (
    COPY,
    GENERATED,
    HEADERS,
    LOADS,
    TRACE,
    Array,
    Declared,
    Top,
    declared,
    fixed_type,
    is_type,
    readable,
    variable,
)
from l1ad.errors import UnsupportedError

_LITERAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFlLuU]*")
_ONE_PROJECT = "name the folder of one project that hls4ml generated"
_NOTHING = ("missing", "nowhere")


@dataclass(frozen=True)
class _Layers:
    """What the top function holds; `loaded` is the file and the number of values of each array that it loads."""

    ports: list[Variable]
    variables: dict[str, Variable]
    aliases: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    loaded: dict[str, tuple[str, int, Place]] = field(default_factory=dict)


def read(folder: str | Path) -> Project:
    """Project in a folder, as C simulation sees it.

    Parameters
    ----------
    folder : str or Path
        What hls4ml wrote (``firmware/`` in it), or a published copy of that: the one folder in it that has
        ``defines.h`` and ``parameters.h`` is read.

    Raises
    ------
    ValueError
        If there is no such project or more than one, a file is missing, cut short or not UTF-8, a name is declared
        twice or not at all, or C simulation and synthesis see different networks.
    UnsupportedError
        If the project streams its data, a type is no AP type of at most 63 bits, or the top function does something
        other than call layers.
    """
    folder = Path(folder).absolute()
    code = _code_folder(folder)
    views = {path: declared(path, folder, code, synthesis=False) for path in _sources(folder, code)}
    tops = [(path, top) for path, view in views.items() for top in view.tops]
    if len(tops) != 1:
        found = ", ".join(f"{top.name} ({top.statement.place})" for _, top in tops) or "none"
        raise ValueError(f"{code}: one function must call layers of nnet::, not {found}; {_ONE_PROJECT}")
    path, top = tops[0]
    view = views[path]
    layers = _layers(top, view)
    weights = _weights(view, layers, folder, code)
    _check_names(view, layers, weights)
    _compare(path, folder, code, top.name, view, layers, weights)
    return Project(
        folder=folder,
        source=path,
        top=top.name,
        namespace=top.namespace,
        input=layers.ports[0],
        output=layers.ports[1],
        variables=layers.variables,
        aliases=layers.aliases,
        calls=tuple(layers.calls),
        types=readable(view.typedefs),
        weights=weights,
        configs=view.configs,
        functions=view.functions,
    )


def _code_folder(folder: Path) -> Path:
    """The folder of `HEADERS`."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: project must be a folder; {_ONE_PROJECT}")
    found = sorted({path.parent for path in folder.rglob(HEADERS[0]) if path.with_name(HEADERS[1]).is_file()})
    if len(found) != 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found) or "none"
        raise ValueError(f"{folder}: one folder must hold {' and '.join(HEADERS)}, not {names}; {_ONE_PROJECT}")
    return found[0]


def _sources(folder: Path, code: Path) -> list[Path]:
    """The .cpp that include parameters.h; what else lies there is not looked into."""
    sources = [path for path in sorted(code.glob("*.cpp")) if b'parameters.h"' in path.read_bytes()]
    if not sources:
        place = code.relative_to(folder).as_posix()
        raise ValueError(f"{folder}: a .cpp in {place} must include parameters.h, and none does; {_ONE_PROJECT}")
    return sources


def _ports(top: Top, view: Declared) -> list[Variable]:
    """The input and the result."""
    place, ports = top.statement.place, []
    for text in split_commas(top.ports):
        port = variable(view, text.removeprefix("const "), place)
        if not port:
            raise UnsupportedError(f"{place}: port of {top.name} must read 'type name[size]', not {text!r:.80}")
        ports.append(port)
    if len(ports) != 2 or ports[0].name == ports[1].name:
        names = ", ".join(port.name for port in ports) or "none"
        raise UnsupportedError(f"{place}: ports of {top.name} must be one input and one result, not {names}")
    return ports


def _layers(top: Top, view: Declared) -> _Layers:
    """What the statements of the top function declare and call."""
    ports = _ports(top, view)
    layers = _Layers(ports, {port.name: port for port in ports})
    flag = ""
    for statement in top.statement.body or ():
        text, place = statement.text, statement.place
        if statement.body is not None:
            if not flag or not re.fullmatch(rf"if ?\( ?! ?{flag} ?\)", text):
                raise _unknown(statement)
            for inner in statement.body:
                if inner.text != f"{flag} = true":
                    _load(inner, view, layers)
        elif match := re.fullmatch(r"static bool (\w+) = false", text):
            flag = match[1]
        elif match := re.fullmatch(r"auto ?& ?(\w+) = (\w+)", text):
            name, target = match.groups()
            if target not in layers.variables.keys() | layers.aliases.keys():
                raise ValueError(f"{place}: {name!r} must stand for an array, and {target!r} is none")
            layers.aliases[name] = target
        elif call := parse_call(text):
            if call[0] in LOADS:
                _load(statement, view, layers)
            elif call[0] != TRACE:
                layers.calls.append(Call(*call, statement.label, place))
        elif array := variable(view, text, place):
            before = layers.variables.setdefault(array.name, array)
            if before is not array:
                raise ValueError(f"array {array.name!r} must be declared once, not at {before.place} and {place}")
        else:
            raise _unknown(statement)
    return layers


def _unknown(statement: Statement) -> UnsupportedError:
    text = statement.text if len(statement.text) <= 80 else statement.text[:77] + "..."
    return UnsupportedError(
        f"{statement.place}: statement of the top function must declare an array or call a layer, not {text!r}; "
        "keep other code in a function around it"
    )


def _load(statement: Statement, view: Declared, layers: _Layers) -> None:
    """``nnet::load_weights_from_txt<type, size>(name, "file")``."""
    call = parse_call(statement.text)
    match = re.fullmatch(r'"([^"/\\]+)"', call[2][1]) if call and len(call[2]) == 2 else None
    if not call or not match or call[0] not in LOADS or len(call[1]) != 2:
        raise _unknown(statement)
    if call[0] != LOADS[0]:
        raise UnsupportedError(f"{statement.place}: weights must be plain numbers, not those of {call[0]}")
    layers.loaded[call[2][0]] = (match[1], evaluate(call[1][1], view.constants), statement.place)


def _weights(view: Declared, layers: _Layers, folder: Path, code: Path) -> dict[str, Constants]:
    """Arrays that calls name: from the text file that is loaded, or else from the header."""
    weights = {}
    wanted = {name: place for name, (*_, place) in layers.loaded.items()}
    for call in layers.calls:
        wanted.update((name, call.place) for name in call.arguments if name not in wanted)
    for name, place in wanted.items():
        array = view.arrays.get(name)
        if name in layers.loaded:
            if not array:
                raise ValueError(f"{place}: array {name!r} must be declared, and is not; {COPY}")
            file, count, place = layers.loaded[name]
            found = [path for path in (code / "weights" / file, code / file) if path.is_file()]
            if not found:
                raise ValueError(f"{place}: weights file {file!r} must exist, and is missing; {COPY}")
            if count != array.size:
                raise ValueError(f"{place}: array {name!r} must be loaded with {array.size} values, not {count}")
            where = found[0].relative_to(folder).as_posix()
            line = read_text(found[0], where).split("\n")[0]  # all that C simulation reads
            weights[name] = constants(view, name, array, line, Place(where, 1))
        elif array and array.values is None:
            raise ValueError(
                f"{place}: array {name!r} must have values in C simulation, and has none at {array.place}; {COPY}"
            )
        elif array and array.values is not None:
            weights[name] = constants(view, name, array, array.values, array.place)
    return weights


def constants(view: Declared, name: str, array: Array, values: str, place: Place) -> Constants:
    """Array with its values, as they stand in braces or in a file at `place`."""
    type_ = fixed_type(view.typedefs, array.type_name, array.place)
    words = [word.strip() for word in values.split(",")]
    if words[-1] == "":
        words.pop()
    for number, word in enumerate(words):
        if not _LITERAL.fullmatch(word):
            what = f"element {number} of array {name!r} must be a number, not {word!r:.40}"
            if "{" in word:
                raise UnsupportedError(f"{place}: {what}; power-of-2 and compressed weights are not read")
            raise ValueError(f"{place}: {what}")
    if len(words) != array.size:
        raise ValueError(f"{place}: array {name!r} must have {array.size} values, not {len(words)}; {CUT}")
    return Constants(name, type_, tuple(float(word.rstrip("fFlLuU")) for word in words), place)


def _check_names(view: Declared, layers: _Layers, weights: Mapping[str, Constants]) -> None:
    """Whatever a call names must be there."""
    arrays = layers.variables.keys() | layers.aliases.keys() | weights.keys()
    for call in layers.calls:
        function = call.function.split("::")[-1]
        if not call.function.startswith("nnet::") and function not in view.functions:
            raise ValueError(f"{call.place}: function {call.function!r} must be defined in {GENERATED}, and is not")
        for name in call.arguments:
            if name not in arrays and not _LITERAL.fullmatch(name):
                raise ValueError(f"{call.place}: argument {name!r} of {call.function} must be an array, and is none")
        for name in call.template:
            known = is_type(view, name) or name.split("::")[-1] in view.configs.keys() | view.constants.keys()
            if re.fullmatch(r"[A-Za-z_][\w:]*", name) and not known:
                raise ValueError(
                    f"{call.place}: {name!r} of {call.function} must be a type or a config, and is neither"
                )


def _compare(
    path: Path, folder: Path, code: Path, top: str, view: Declared, layers: _Layers, weights: Mapping[str, Constants]
) -> None:
    """C simulation and synthesis must see one network."""
    other = declared(path, folder, code, synthesis=True)
    tops = [each for each in other.tops if each.name == top]
    if not tops:
        raise ValueError(
            f"{path.relative_to(folder).as_posix()}: {top} must call layers in synthesis too, and does not"
        )
    mine, yours = _facts(view, layers), _facts(other, _layers(tops[0], other))
    for name, seen in weights.items():
        array = other.arrays.get(name)
        if array and array.values is not None:
            theirs = constants(other, name, array, array.values, array.place)
            for facts, each in (mine, seen), (yours, theirs):
                facts |= {f"type of array {name!r}": (str(each.type), each.place)}
                facts |= {f"element {n} of array {name!r}": (x, each.place) for n, x in enumerate(each.literals)}
    for what in {**mine, **yours}:
        (a, here), (b, there) = mine.get(what, _NOTHING), yours.get(what, _NOTHING)
        if a != b:
            both = f"{a!s:.80} ({here}) and {b!s:.80} ({there})"
            raise ValueError(f"{what} must be the same in C simulation and in synthesis, not {both}")


def _facts(view: Declared, layers: _Layers) -> dict[str, tuple[object, object]]:
    """What both compilers must see alike, each with its place."""
    return {
        **{f"layer {n}": (f"{c.function}{c.template}{c.arguments}", c.place) for n, c in enumerate(layers.calls)},
        **{f"array {v.name!r}": (f"{v.type}[{v.size}]", v.place) for v in layers.variables.values()},
        **{f"alias {name!r}": (target, "top function") for name, target in layers.aliases.items()},
        **{
            f"struct {c.name!r}": ((c.kind, c.constants, c.floats, c.names, c.types), c.place)
            for c in view.configs.values()
        },
    }
