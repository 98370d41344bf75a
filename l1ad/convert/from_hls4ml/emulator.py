"""The hand-written emulator around a network: scaling of the trigger's integers before it, score after it.

CMS wraps its networks in a class derived from ``hls4mlEmulator::Model``, beside a header of scales.  The forms of it
that are in use are read; any other is refused by line, and the folder of the network can be read alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from l1ad.convert.from_hls4ml.cpp import Statement, evaluate, split_commas
from l1ad.convert.from_hls4ml.declarations import Constants, Place, Project
from l1ad.convert.from_hls4ml.headers import Declared, declare, declared_around, fixed_type
from l1ad.convert.from_hls4ml.project import constants
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, cast, from_float
from l1ad.operations import Affine, Cast, Dot, Operation, rescale

UNSCALED = "unscaled"
"""Operation that the scaling reads."""

_CLASS = re.compile(r"class \w+ ?: ?public (?:::)?hls4mlEmulator::Model$")
_ACCESS = re.compile(r"^(?:(?:public|private|protected): ?)+")
_METHOD = re.compile(r"(?:(?:public|private|protected): ?)*(?:virtual |inline )*(\w+) (\w+) ?\((.*)\)(?: override)?$")
_LOOP = re.compile(r"for ?\((?:int|unsigned|size_t) (\w) = 0; \1 < (\w+(?: ?\* ?\w+)*); (?:\1\+\+|\+\+\1)\) ?")
_POINTER = re.compile(r"\bany_cast ?<(.*?) ?\*>")
_GIVEN = re.compile(r"\w+ ?\* ?(\w+) = std::any_cast<\w+ ?\*>\(\w+\)$")
_COPIED = re.compile(r"(\w+)\[i\] = (?:std::any_cast<\w+>\()?(\w+)\[i\]\)?$")
_CALL = re.compile(r"(?:(\w+) = )?(?:\w+::)*(\w+)\((\w+(?:, \w+)?)\)$")
_OFFSET = re.compile(r"(\w+) (\w+) = (\w+)\[i\] - (?:\w+::)*(\w+)\[i\]$")
_SHIFT = re.compile(r"(\w+) (\w+) = (\w+) >> (?:\w+::)*(\w+)\[i\]$")
_STORE = re.compile(r"(\w+)\[i\] = (\w+)$")
_SQUARE = re.compile(r"(\w+)\[i\] = (\w+)\[i\] \* (\w+)\[i\]$")
_SUM = re.compile(r"(\w+) = nnet::reduce<(\w+), (\w+), nnet::Op_add<(\w+)> ?>\((\w+), (\w+)\)$")
_FIRST = re.compile(r"(\w+) = (\w+)\[0\]$")
_DECLARATION = re.compile(r"(\w+|nnet::Op_add<\w+>) (\w+)(?:\[\w+\])?$")


@dataclass(frozen=True)
class Interface:
    """What goes in and out of an emulator.

    Parameters
    ----------
    path : Path
    given : FixedPoint
        Type of what it takes.
    score : FixedPoint or None
        Type of the score, the second of the pair that it gives; None if it gives the network's results alone.
    """

    path: Path
    given: FixedPoint
    score: FixedPoint | None


@dataclass(frozen=True)
class Emulator:
    """Scaling and score of an emulator.

    Parameters
    ----------
    interface : Interface
    scaling : tuple of Operation
        From `UNSCALED` to the network's argument; empty if the network takes what is given.
    squared : bool
        Whether the score is the sum of squares of the results, each cast to the score's type, or the only result.
    """

    interface: Interface
    scaling: tuple[Operation, ...]
    squared: bool

    def scoring(self, x: str, name: str) -> tuple[Operation, ...]:
        """Operations from the network's result to the score, the last of them called `name`."""
        kind = self.interface.score
        if kind is None:
            return ()
        return (Dot(name, x, x, kind, kind) if self.squared else Cast(name, x, kind),)


@dataclass(frozen=True)
class _Text:
    """An emulator's class: what its file declares, and its methods by name, each with the type it returns."""

    path: Path
    known: Declared
    methods: Mapping[str, tuple[str, Statement]]

    def method(self, name: str) -> Statement:
        if name not in self.methods:
            raise UnsupportedError(f"{self.known.classes[0].place}: emulator must define {name!r}")
        return self.methods[name][1]

    def type(self, name: str, place: Place) -> FixedPoint:
        return fixed_type(self.known.typedefs, name, place)


def _text(project: Project) -> _Text | None:
    """The emulator in a project's folder, or None if there is none."""
    sources = sorted(project.folder.rglob("*.cpp"))
    paths = [path for path in sources if b"hls4mlEmulator::Model" in path.read_bytes()]
    if not paths:
        return None
    if len(paths) > 1:
        raise ValueError(f"{project.folder}: must hold one emulator, not {[path.name for path in paths]}")
    known = declared_around(paths[0], project.folder, project.source.parent)
    bodies = [s.body for s in known.classes if _CLASS.match(s.text) and s.body is not None]
    if len(bodies) != 1:
        raise UnsupportedError(f"{paths[0].name}: one class must derive from hls4mlEmulator::Model, not {len(bodies)}")
    found = [(statement, _METHOD.match(statement.text)) for statement in bodies[0] if statement.body is not None]
    for statement in bodies[0]:
        if statement.body is None:
            declare(known, replace(statement, text=_ACCESS.sub("", statement.text)))
    return _Text(paths[0], known, {match[2]: (match[1], statement) for statement, match in found if match})


def read_interface(project: Project) -> Interface | None:
    """What goes in and out of the emulator in a project's folder, or None if there is none.

    Raises
    ------
    ValueError, UnsupportedError
        If there are two, or one whose data cannot be told; the text names the line.
    """
    text = _text(project)
    return None if text is None else _interface(text)


def _interface(text: _Text) -> Interface:
    exchanged = []
    for name in ("prepare_input", "read_result"):
        method = text.method(name)
        casts = [match[1] for inner in _every(method) if (match := _POINTER.search(inner.text))]
        if not casts:
            raise UnsupportedError(f"{method.place}: {name} must cast its std::any to a pointer")
        exchanged.append((casts[0], method.place))
    (given, given_place), (made, made_place) = exchanged
    spelt, _ = text.known.typedefs.get(made, (made, made_place))
    pair = re.match(r"std::pair ?<(.*)>$", spelt)
    score = text.type(split_commas(pair[1])[-1], made_place) if pair else None
    return Interface(text.path, text.type(given, given_place), score)


def _every(statement: Statement) -> Iterator[Statement]:
    """All statements inside one, at any depth."""
    for inner in statement.body or ():
        yield inner
        yield from _every(inner)


def read_emulator(project: Project) -> Emulator | None:
    """The emulator in a project's folder, or None if there is none.

    Raises
    ------
    ValueError, UnsupportedError
        If there are two, or one that is not understood; the text names the line.
    """
    text = _text(project)
    if text is None:
        return None
    interface = _interface(text)
    scale, fed = _prepared(text, project)
    judge, taken = _predicted(text, project, fed)
    scaling = () if scale is None else _scaling(text, scale, project)
    squared = False
    if judge is not None:
        squared, kind = _scored(text, judge, project.output.size)
        if kind != interface.score:
            raise UnsupportedError(f"{text.method(judge).place}: {judge} must return the score, in {interface.score}")
    elif interface.score is not None and not taken:
        raise UnsupportedError(f"{text.method('predict').place}: predict must call what makes the score")
    return Emulator(interface, scaling, squared)


def _flat(text: _Text, statement: Statement, size: int) -> Iterator[Statement]:
    """Statements of a method, those of its loops over all `size` elements included, their index written ``i``."""
    for inner in statement.body or ():
        loop = _LOOP.match(inner.text)
        if loop and _count(text, loop[2]) != size:
            raise _refused(inner)
        if inner.body is None:
            yield replace(inner, text=_by_i(loop, inner.text[loop.end() :])) if loop else inner
        elif loop and loop.end() == len(inner.text):
            yield from (replace(each, text=_by_i(loop, each.text)) for each in _flat(text, inner, size))
        else:
            raise _refused(inner)


def _by_i(loop: re.Match[str], statement: str) -> str:
    return statement.replace(f"[{loop[1]}]", "[i]")


def _count(text: _Text, bound: str) -> int | None:
    try:
        return evaluate(bound, text.known.constants)
    except ValueError:
        return None


def _refused(statement: Statement) -> UnsupportedError:
    return UnsupportedError(
        f"{statement.place}: emulator has a statement that is not read, {statement.text!r:.80}; "
        "read the folder of the network alone"
    )


def _prepared(text: _Text, project: Project) -> tuple[str | None, str]:
    """The method that scales the input, if there is one, and the array that is ready for the network."""
    scale, fed = None, ""
    same = set()  # arrays of what is given
    for statement in _flat(text, text.method("prepare_input"), project.input.size):
        copied = _COPIED.match(statement.text)
        if copied and (copied[2] not in same or scale is not None):
            raise _refused(statement)
        if found := copied or _GIVEN.match(statement.text):
            fed = found[1]
            same.add(fed)
        elif (found := _CALL.match(statement.text)) and scale is None and found[3].split(", ")[0] in same:
            scale, fed = found[2], found[3].split(", ")[-1]
        else:
            raise _refused(statement)
    return scale, fed


def _predicted(text: _Text, project: Project, fed: str) -> tuple[str | None, bool]:
    """The method that makes the score of what the network makes of `fed`, or whether its first result is taken."""
    score = made = None
    taken = False
    for statement in _flat(text, text.method("predict"), project.input.size):
        found = _CALL.match(statement.text)
        arguments = found[3].split(", ") if found else []
        if found and found[2] == project.top and made is None and arguments[0] == fed:
            made = arguments[-1]
        elif found and made is not None and score is None and arguments == [made]:
            score = found[2]
        elif (first := _FIRST.match(statement.text)) and made is not None and first[2] == made and not taken:
            taken = True
        else:
            raise _refused(statement)
    return score, taken


def _scaling(text: _Text, name: str, project: Project) -> tuple[Operation, ...]:
    """``scaled = (given - offset) >> shift``, line by line."""
    method = text.method(name)
    steps = list(_flat(text, method, project.input.size))
    found = [pattern.match(s.text) for pattern, s in zip((_OFFSET, _SHIFT, _STORE), steps, strict=False)]
    offset, shift, store = (*found, None, None, None)[:3]
    if len(steps) != 3 or offset is None or shift is None or store is None:
        unread = next((s for s, match in zip(steps, (*found, None), strict=False) if match is None), method)
        raise _refused(unread)
    if (shift[3], store[2]) != (offset[2], shift[2]):
        raise _refused(steps[1])
    centre = text.type(offset[1], steps[0].place)
    scaled = text.type(shift[1], steps[1].place)
    offsets, shifts = (
        _numbers(text.known, match[4], s.place, project) for match, s in ((offset, steps[0]), (shift, steps[1]))
    )
    integers = cast(from_float(shifts.literals, shifts.type), shifts.type.frac, FixedPoint(32, 0, True, "TRN_ZERO"))
    bias = FixedPoint(offsets.type.width + 1, offsets.type.frac)
    ones = np.ones(len(integers), np.int64)
    raw = -from_float(offsets.literals, offsets.type)
    moved = centre.bare  # >> and << stay in the type, and wrap
    return (
        Affine("centred", UNSCALED, ones, FixedPoint(1, 0, False), raw, bias, centre),
        rescale("shifted", "centred", centre, 0 * ones, integers, moved),
        Cast("scaled", "shifted", scaled),
    )


def _numbers(known: Declared, name: str, place: Place, project: Project) -> Constants:
    array = known.arrays.get(name)
    if array is None or array.values is None:
        raise ValueError(f"{place}: {name!r} must be declared with its numbers")
    numbers = constants(known, name, array, array.values, array.place)
    if len(numbers.literals) != project.input.size:
        raise ValueError(
            f"{numbers.place}: {name!r} must have {project.input.size} numbers, one an input, "
            f"not {len(numbers.literals)}"
        )
    return numbers


def _scored(text: _Text, name: str, size: int) -> tuple[bool, FixedPoint]:
    """Whether the score is a sum of squares, and its type."""
    method = text.methods[name] if name in text.methods else ("", text.method(name))
    kind = text.type(method[0], method[1].place)
    statements = list(_flat(text, method[1], size))
    types = {found[2]: found[1] for s in statements if (found := _DECLARATION.match(s.text)) and found[1] != "return"}
    steps = [s for s in statements if s.text.startswith("return ") or not _DECLARATION.match(s.text)]
    texts = [s.text for s in steps]
    if len(texts) == 3 and (square := _SQUARE.match(texts[0])) and (total := _SUM.match(texts[1])):
        squares = square[2] == square[3] and types.get(square[1]) == method[0]
        sums = total[2] == total[4] == types.get(total[1]) == method[0] and total[5] == square[1]
        sums = sums and _count(text, total[3]) == size
        if squares and sums and texts[2] == f"return {total[1]}":
            return True, kind
    first = _FIRST.match(texts[0]) if len(texts) == 2 else None
    if first and types.get(first[1]) == method[0] and texts[1] == f"return {first[1]}":
        return False, kind
    raise _refused(steps[0] if steps else method[1])
