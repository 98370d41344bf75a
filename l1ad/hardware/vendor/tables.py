"""Lines, tables and numbers of vendor reports; what is cut short or says nothing is told apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

HALF = "the report is half-written or damaged: run the tool again"
NOTHING = frozenset({"", "-", "?", "N/A", "NA", "undef", "none", "inf"})
"""What the tools write where they have no figure."""
_SIZES_NS = {"ns": Decimal(1), "us": Decimal(10**3), "ms": Decimal(10**6), "sec": Decimal(10**9), "s": Decimal(10**9)}
_NUMBER = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Report:
    """Lines of one report; their numbers start at 1.

    Parameters
    ----------
    path : str
        What error texts call it.
    lines : tuple of str
        Without ends of line.
    """

    path: str
    lines: tuple[str, ...]

    def refusal(self, line: int, text: str, remedy: str = HALF) -> ValueError:
        """Error that names file and line, to be raised."""
        return ValueError(f"{self.path}:{line}: {text}; {remedy}")

    def find(self, pattern: str, start: int, stop: int | None = None) -> int:
        """Number of the first line from `start` on, before `stop`, that begins with `pattern` (a regular expression).

        Raises
        ------
        ValueError
            If there is none.
        """
        stop = len(self.lines) + 1 if stop is None else stop
        found = self.search(pattern, start, stop)
        if found is None:
            raise self.refusal(
                stop - 1, f"a line like {pattern!r} must follow line {start}, not the end of its section"
            )
        return found

    def search(self, pattern: str, start: int, stop: int) -> int | None:
        """As `find`, or None."""
        return next((n for n in range(start, stop) if re.match(pattern, self.lines[n - 1].strip())), None)


@dataclass(frozen=True)
class Table:
    """One table drawn with ``+``, ``-`` and ``|``.

    Parameters
    ----------
    header : tuple of tuple of str
        Cells of the lines between the first two borders.
    rows : dict of int to tuple of str
        Cells by line number; as many as in the last line of the header.
    end : int
        Line of the last border.
    """

    header: tuple[tuple[str, ...], ...]
    rows: dict[int, tuple[str, ...]]
    end: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: the last line of the header."""
        return self.header[-1]


def read_report(path: str | Path) -> Report:
    """Lines of a text file.

    Raises
    ------
    ValueError
        If it cannot be read, or is no text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: report must be a readable text file, not this: {error}; run the tool again"
        ) from error
    lines = text.split("\n")
    return Report(str(path), tuple(lines[:-1] if not lines[-1] else lines))


def read_table(report: Report, start: int, stop: int | None = None) -> Table:
    """First table from line `start` on, before `stop`, whole.

    A whole table ends with the border that it began with, and something follows it, if only an empty line: without
    that, a header that has lost its rows looks like a table that has none.

    Raises
    ------
    ValueError
        If there is none, it is cut short, or a row has other columns than the header.
    """
    first = report.find(r"\+-", start, stop)
    border = report.lines[first - 1].strip()
    parts: list[dict[int, tuple[str, ...]]] = []
    end = first
    for number in range(first, len(report.lines) + 1):
        line = report.lines[number - 1].strip()
        if line == border:
            parts.append({})
        elif line[:1] == "|" and line[-1] == "|" and len(line) > 1:
            parts[-1][number] = tuple(cell.strip() for cell in line[1:-1].split("|"))
        elif line[:1] in ("|", "+"):
            raise report.refusal(number, f"table of line {first} must go on with a row or a border, not {line!r}")
        else:
            break
        end = number
    else:
        raise report.refusal(end, f"table of line {first} must end with a border and an empty line, not with the file")
    if len(parts) < 2 or not parts[0] or parts[-1]:
        raise report.refusal(end, f"table of line {first} must have a header and end with a border")
    rows = {number: cells for part in parts[1:] for number, cells in part.items()}
    header = tuple(parts[0].values())
    for number, cells in rows.items():
        if len(cells) != len(header[-1]):
            raise report.refusal(number, f"row must have the {len(header[-1])} cells of its header, not {len(cells)}")
    return Table(header, rows, end)


def number(report: Report, line: int, name: str, text: str) -> float | None:
    """Decimal number in a cell, or None where the tool says nothing.

    Raises
    ------
    ValueError
        If it is something else; the text names the figure and its line.
    """
    text = text.strip()
    if text in NOTHING:
        return None
    if not _NUMBER.fullmatch(text):
        raise report.refusal(line, f"{name} must be a number, not {text!r}")
    return float(text.replace(",", ""))


def integer(report: Report, line: int, name: str, text: str) -> int | None:
    """Whole number in a cell, zero or more, or None where the tool says nothing.

    Raises
    ------
    ValueError
        If it is something else; the text names the figure and its line.
    """
    value = number(report, line, name, text)
    if value is None:
        return None
    if value < 0 or value != int(value):
        raise report.refusal(line, f"{name} must be a whole number of at least 0, not {text.strip()!r}")
    return int(value)


def percent(report: Report, line: int, name: str, text: str) -> float | None:
    """Percentage in a cell; ``~0`` and ``<0.01``, which the tools round, are 0.

    Raises
    ------
    ValueError
        If it is something else; the text names the figure and its line.
    """
    return 0.0 if text.strip() in ("~0", "<0.01") else number(report, line, name, text)


def duration_ns(report: Report, line: int, name: str, text: str) -> float | None:
    """Time in a cell, as ``50.000 ns`` or ``5.220 us``, or None where the tool says nothing.

    Raises
    ------
    ValueError
        If it is something else, or has no unit; the text names the figure and its line.
    """
    text = text.strip()
    if text in NOTHING:
        return None
    value, _, unit = text.partition(" ")
    if unit.strip() not in _SIZES_NS or not _NUMBER.fullmatch(value):
        raise report.refusal(line, f"{name} must be a time in one of {', '.join(_SIZES_NS)}, not {text!r}")
    return float(Decimal(value.replace(",", "")) * _SIZES_NS[unit.strip()])


def bounds(report: Report, line: int, name: str, text: str) -> tuple[int | None, int | None]:
    """Least and most of a range as ``5 ~ 8``; of a single number, twice that.

    Raises
    ------
    ValueError
        If it is something else; the text names the figure and its line.
    """
    least, _, most = text.partition("~")
    return integer(report, line, name, least), integer(report, line, name, most if "~" in text else least)


def column(report: Report, table: Table, line: int, names: Sequence[str]) -> str | None:
    """Cell of a row in the first column that has one of `names`, or None where the table has no such column.

    Raises
    ------
    ValueError
        If two columns have such a name.
    """
    found = [index for index, name in enumerate(table.columns) if name in names]
    if len(found) > 1:
        raise report.refusal(line, f"table must have one column of {tuple(names)}, not {len(found)}")
    return table.rows[line][found[0]] if found else None
