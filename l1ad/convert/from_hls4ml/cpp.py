"""C++ text as hls4ml writes it: conditional preprocessing, statements, constant expressions.

Nothing is compiled, and macros are not expanded: a macro counts where it is tested, and as an integer.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from l1ad.convert.from_hls4ml.declarations import Place

CUT = "the file looks cut short"

_COMMENT = re.compile(r'//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)
_DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*(.*?)\s*$")
_BRACKET = re.compile(r'"(?:\\.|[^"\\\n])*"|[;{}()]')
_CLASS = re.compile(r"(?:template ?<.*> ?)?(?:typedef )?(?:struct|class|union|enum)\b[^()=]*$")


@dataclass(frozen=True)
class Statement:
    """A statement up to its ``;``, or a block with its head: ``namespace``, ``struct``, function, ``if``.

    Parameters
    ----------
    text : str
        Every run of white space one space; of a block, its head, and the name behind a ``typedef struct {...}``.
    place : Place
    label : str
        Comment behind the ``;``.
    body : tuple of Statement, or None
        What stands in the braces of a block.
    """

    text: str
    place: Place
    label: str = ""
    body: tuple[Statement, ...] | None = None


def read_text(path: Path, file: str) -> str:
    """Text of a file, whatever its line ends; `file` is its name in errors."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        place = Place(file, data[: error.start].count(b"\n") + 1)
        raise ValueError(f"{place}: text must be UTF-8, not byte 0x{error.object[error.start]:02x}") from None


def read_statements(
    path: Path, folder: Path, macros: dict[str, tuple[str, Place]], follow: Callable[[str, Place], Path | None]
) -> list[Statement]:
    """Statements of a file and of those it includes, in the order of a compiler; each file counts once.

    Parameters
    ----------
    path : Path
    folder : Path
        What places are relative to.
    macros : dict of str to (str, Place)
        What is defined beforehand; ``#define`` adds to it.
    follow : callable
        File of an ``#include "name"`` at a place, or None to pass it over.

    Raises
    ------
    ValueError
        If a file is not UTF-8, a bracket, comment, statement or ``#if`` is not closed, or a macro changes its value.
    """
    done = set()
    statements: list[Statement] = []

    def include(name: str, place: Place) -> None:
        inner = follow(name, place)
        if inner is not None:
            read(inner)

    def read(path: Path) -> None:
        if path in done:
            return
        done.add(path)
        file = path.relative_to(folder).as_posix()
        text, labels = _without_comments(read_text(path, file), file)
        statements.extend(_split(_live_text(text, file, macros, include), file, labels))

    read(path)
    return statements


def _without_comments(text: str, file: str) -> tuple[str, dict[int, str]]:
    """Text without comments, its lines kept, and the ``//`` comment of each line that has one."""
    kept, labels, end, line = [], {}, 0, 1
    for match in _COMMENT.finditer(text):
        comment = match[0]
        line += text.count("\n", end, match.start())
        kept.append(text[end : match.start()])
        end = match.end()
        if comment.startswith("//"):
            labels[line] = comment.strip("/ \t\r")
        elif comment.startswith("/*"):
            if not comment.endswith("*/") or comment == "/*/":
                raise ValueError(f"{Place(file, line)}: comment must end in */; {CUT}")
            kept.append(" " + "\n" * comment.count("\n"))
        else:
            kept.append(comment)
        line += comment.count("\n")
    return "".join((*kept, text[end:])), labels


def _live_text(
    text: str, file: str, macros: dict[str, tuple[str, Place]], include: Callable[[str, Place], None]
) -> str:
    """Text with directives, and lines that they switch off, blank."""
    lines = text.split("\n")
    open_ifs: list[tuple[str, Place, bool]] = []  # directive, and whether the text around it is live
    live, taken = True, []  # taken: whether a branch of each open #if has been live
    number = 0
    while number < len(lines):
        place, line, first = Place(file, number + 1), lines[number], number
        number += 1
        match = _DIRECTIVE.match(line)
        if not match:
            if not live:
                lines[first] = ""
            continue
        while line.endswith("\\") and number < len(lines):
            line = line[:-1] + " " + lines[number]
            number += 1
        lines[first:number] = [""] * (number - first)
        match = _DIRECTIVE.match(line) or match
        word, rest = match.groups()
        if word in ("if", "ifdef", "ifndef"):
            open_ifs.append((f"#{word} {rest}", place, live))
            live = live and _condition(word, rest, macros, place)
            taken.append(live)
        elif word in ("elif", "else", "endif"):
            if not open_ifs:
                raise ValueError(f"{place}: #{word} must follow an #if, and none is open")
            outer = open_ifs[-1][2]
            if word == "endif":
                open_ifs.pop()
                taken.pop()
                live = outer
            else:
                live = outer and not taken[-1] and (word == "else" or _condition("if", rest, macros, place))
                taken[-1] = taken[-1] or live
        elif live:
            _obey(word, rest, place, macros, include)
    if open_ifs:
        directive, place, _ = open_ifs[-1]
        raise ValueError(f"{place}: {directive!r} must be closed by #endif; {CUT}")
    return "\n".join(lines)


def _obey(
    word: str,
    rest: str,
    place: Place,
    macros: dict[str, tuple[str, Place]],
    include: Callable[[str, Place], None],
) -> None:
    """Directive that is no condition."""
    if word == "include":
        if name := re.match(r'"([^"]+)"', rest):
            include(name[1], place)
    elif word == "define":
        name = re.match(r"\w+", rest)
        if not name:
            raise ValueError(f"{place}: #define must name a macro, not {rest!r}")
        value = " ".join(rest[name.end() :].split())
        before = macros.setdefault(name[0], (value, place))
        if before[0] != value:
            raise ValueError(
                f"macro {name[0]!r} must have one value, not {before[0]!r} ({before[1]}) and {value!r} ({place})"
            )
    elif word == "undef":
        macros.pop(rest, None)
    elif word not in ("pragma", "warning", "line"):
        raise ValueError(f"{place}: preprocessor must not meet #{word} {rest}")


def _condition(word: str, rest: str, macros: Mapping[str, tuple[str, Place]], place: Place) -> bool:
    if word != "if":
        return (rest.partition(" ")[0] in macros) == (word == "ifdef")
    text = re.sub(r"\bdefined\b\s*(?:\(\s*(\w+)\s*\)|(\w+))", lambda m: str(int((m[1] or m[2]) in macros)), rest)
    known = integers(macros)
    text = re.sub(r"\b[A-Za-z_]\w*", lambda m: str(known.get(m[0], 0)), text)  # as C does with unknown names
    try:
        return bool(evaluate(text, {}))
    except ValueError:
        raise ValueError(f"{place}: condition of #if must be an integer expression, not {rest!r}") from None


def _split(text: str, file: str, labels: Mapping[int, str]) -> list[Statement]:
    """Statements of a file whose comments and directives are blank."""
    ends = [match.start() for match in re.finditer("\n", text)]

    def place(offset: int) -> Place:
        return Place(file, bisect_right(ends, offset - 1) + 1)

    def piece(start: int, stop: int) -> tuple[str, Place]:
        raw = text[start:stop]
        return " ".join(raw.split()), place(start + len(raw) - len(raw.lstrip()))

    blocks: list[tuple[str, Place, int, list[Statement]]] = [("", Place(file, 1), 0, [])]  # head, its place, {, body
    inner: list[int] = []  # offsets of ( and of { of initialisers, in which a statement does not end
    closed: Statement | None = None  # a struct whose ; is to come
    start = 0
    for match in _BRACKET.finditer(text):
        token, offset = match[0], match.start()
        if token == "(" or (token == "{" and (inner or text[start:offset].rstrip().endswith("="))):
            inner.append(offset)
        elif token in ")}" and inner:
            opening = inner.pop()
            if text[opening] + token not in ("()", "{}"):
                raise ValueError(f"{place(offset)}: {token!r} must not close the {text[opening]!r} of {place(opening)}")
        elif token == ")":
            raise ValueError(f"{place(offset)}: ')' must close a bracket, and none is open")
        elif token == ";" and inner:
            if text[inner[-1]] == "{" or not text[start : inner[-1]].rstrip().endswith("for"):
                raise ValueError(f"{place(inner[-1])}: {text[inner[-1]]!r} must be closed before ';'; {CUT}")
        elif token == ";":
            words, where = piece(start, offset)
            label = labels.get(place(offset).line, "")
            if closed:
                if not re.fullmatch(r"\w*", words):
                    raise ValueError(f"{closed.place}: {closed.text!r} must end in '}};'")
                blocks[-1][3].append(Statement(f"{closed.text} {words}".strip(), closed.place, label, closed.body))
                closed = None
            elif words:
                blocks[-1][3].append(Statement(words, where, label))
            start = offset + 1
        elif token == "{":
            if closed:
                raise ValueError(f"{closed.place}: {closed.text!r} must end in '}};'")
            blocks.append((*piece(start, offset), offset, []))
            start = offset + 1
        elif token == "}":
            words, where = piece(start, offset)
            if len(blocks) == 1:
                raise ValueError(f"{place(offset)}: '}}' must close a bracket, and none is open")
            head, head_place, _, body = blocks.pop()
            if words and "enum" not in head.split():
                raise ValueError(f"{where}: statement must end in ';', not be {words!r:.60}")
            start = offset + 1
            block = Statement(head, head_place, "", tuple(body))
            if _CLASS.match(head):
                closed = block
            else:
                blocks[-1][3].append(block)
    opened = [offset for *_, offset, _ in blocks[1:]] + inner
    if opened:
        raise ValueError(f"{place(opened[-1])}: {text[opened[-1]]!r} must be closed; {CUT}")
    words, where = piece(start, len(text))
    if closed or words:
        words, where = (closed.text, closed.place) if closed else (words, where)
        raise ValueError(f"{where}: {words!r:.60} must end in ';'; {CUT}")
    return blocks[0][3]


def flatten(body: Iterable[Statement]) -> Iterator[tuple[str, Place]]:
    """Statements of a function; a block is its head with ``{``, what is in it, and ``}``."""
    for statement in body:
        if statement.body is None:
            yield statement.text, statement.place
        else:
            yield f"{statement.text} {{", statement.place
            yield from flatten(statement.body)
            yield "}", statement.place


def split_commas(text: str) -> tuple[str, ...]:
    """Parts between the commas that stand in no bracket: ``a, b<c, d>`` -> ``a``, ``b<c, d>``."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"[<({\[>)}\],]", text):
        if match[0] == ",":
            if not depth:
                parts.append(text[start : match.start()].strip())
                start = match.end()
        else:
            depth += 1 if match[0] in "<({[" else -1
    return (*parts, text[start:].strip()) if text.strip() else ()


def parse_call(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    """Function with its namespace, template arguments and arguments of ``a::f<...>(...)``; None of anything else."""
    match = re.match(r"([A-Za-z_]\w*(?:::\w+)*) ?<", text)
    if not match:
        return None
    depth = 1
    for bracket in re.finditer(r"[<>()]", text[match.end() :]):
        depth += 1 if bracket[0] in "<(" else -1
        if not depth:
            break
    else:
        return None
    end = match.end() + bracket.start()
    arguments = text[end + 1 :].strip()
    if bracket[0] != ">" or not re.fullmatch(r"\((?:[^()]|\([^()]*\))*\)", arguments):
        return None
    return match[1], split_commas(text[match.end() : end]), split_commas(arguments[1:-1])


_TOKEN = re.compile(
    r"\s*(?:(0[xX][0-9a-fA-F]+|\d+)[uUlL]*(?![\w.])|([A-Za-z_]\w*(?:::\w+)*)|(<<|>>|[<>=!]=|&&|\|\||[-+*/%<>!~&|^?:(),]))"
)
_LEVELS = ("||", "&&", "|", "^", "&", "== !=", "< > <= >=", "<< >>", "+ -", "* / %")
_LEVEL = {sign: level for level, signs in enumerate(_LEVELS) for sign in signs.split()}


def _divide(a: int, b: int) -> int:
    if not b:
        raise ValueError("divisor must not be 0")
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _shift(a: int, b: int) -> int:
    if not 0 <= b < 64:
        raise ValueError(f"shift must lie in 0..63, not {b}")
    return a << b


_BINARY: dict[str, Callable[[int, int], int]] = {
    "||": lambda a, b: int(bool(a or b)),
    "&&": lambda a, b: int(bool(a and b)),
    "|": operator.or_,
    "^": operator.xor,
    "&": operator.and_,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "<<": _shift,
    ">>": lambda a, b: a >> min(b, 64),
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": lambda a, b: a - b * _divide(a, b),
}
_UNARY: dict[str, Callable[[int], int]] = {
    "-": operator.neg,
    "+": operator.pos,
    "~": operator.invert,
    "!": operator.not_,
}
_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "DIV_ROUNDUP": lambda n, d: _divide(n + d - 1, d),
    "MIN": min,
    "MAX": max,
}


def evaluate(text: str, names: Mapping[str, int]) -> int:
    """Value of a constant expression, by the rules of C but for the width: ``unsigned n = -1`` stays -1.

    Raises
    ------
    ValueError
        If it is no expression of integers and of `names`.
    """
    tokens, end = [""], 0
    text = text.strip()
    while end < len(text):
        match = _TOKEN.match(text, end)
        if not match or len(tokens) > 200:
            raise ValueError(f"expression must be a short one of integers, not {text!r:.80}")
        tokens.insert(1, match[1] or match[2] or match[3])
        end = match.end()

    def take(sign: str) -> None:
        if tokens.pop() != sign:
            raise ValueError(f"expression must be complete, not {text!r}")

    def choice() -> int:
        value = binary(0)
        if tokens[-1] != "?":
            return value
        take("?")
        yes = choice()
        take(":")
        no = choice()
        return yes if value else no

    def binary(level: int) -> int:
        value = unary()
        while _LEVEL.get(tokens[-1], -1) >= level:
            sign = tokens.pop()
            value = int(_BINARY[sign](value, binary(_LEVEL[sign] + 1)))
        return value

    def unary() -> int:
        token = tokens[-1]
        if token in _UNARY:
            take(token)
            return int(_UNARY[token](unary()))
        if token == "(":
            take("(")
            value = choice()
            take(")")
            return value
        if token[:1].isdigit():
            take(token)
            octal = len(token) > 1 and token.isdigit() and token[0] == "0"
            return int(token, 8) if octal else int(token, 0)
        if token in _FUNCTIONS:
            take(token)
            take("(")
            first = choice()
            take(",")
            second = choice()
            take(")")
            return _FUNCTIONS[token](first, second)
        if token in names:
            take(token)
            return names[token]
        raise ValueError(f"expression must consist of known integers, not {text!r}")

    value = choice()
    if tokens != [""]:
        raise ValueError(f"expression must be one value, not {text!r}")
    return value


def integers(macros: Mapping[str, tuple[str, Place]]) -> dict[str, int]:
    """Macros that stand for an integer."""
    known: dict[str, int] = {}
    for name, (text, _) in macros.items():
        try:
            known[name] = evaluate(text, known)
        except ValueError:
            continue
    return known
