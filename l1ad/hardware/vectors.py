"""Test-bench vectors: pattern files of link words, as trigger boards load and record them, and ``.dat`` files.

In a pattern file, an event is a frame: the bits of all ports in order, least significant bit first, the first port
lowest, cut into 64-bit words, the first word on link 0.  A port may lie on two links.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from l1ad.emulate import reference
from l1ad.errors import MismatchError
from l1ad.files import write_text
from l1ad.fixed import Raw
from l1ad.hardware.rtl.design import Design, Port
from l1ad.network import Network

LINK_BITS = 64
MAX_FRAMES = 10_000
"""Frames have numbers of four digits."""
BoolArray = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

_WORD = re.compile(r"([01])v([0-9a-fA-F]{16})")


@dataclass(frozen=True, eq=False)
class Pattern:
    """What a pattern file holds.

    Parameters
    ----------
    board : str
    links : tuple of int
        Their numbers.
    words : uint64 array, shape (n_frames, n_links)
    valid : bool array, shape (n_frames, n_links)
    """

    board: str
    links: tuple[int, ...]
    words: Words
    valid: BoolArray


def outputs(design: Design, n_points: int) -> tuple[Port, ...]:
    """Ports of the top level that make an output frame: the score, and a bit for each working point."""
    return (design.score, Port("accept", n_points, False))


def n_links(ports: Sequence[Port]) -> int:
    """Links that a frame of these ports takes."""
    return ceil(sum(port.width for port in ports) / LINK_BITS)


def raw_range(port: Port) -> tuple[int, int]:
    """Least and greatest number that a port carries."""
    if port.signed:
        return -(1 << port.width - 1), (1 << port.width - 1) - 1
    return 0, (1 << port.width) - 1


def raw_thresholds(design: Design, thresholds: Sequence[int]) -> list[int]:
    """Thresholds as Python integers once they are known to be raw scores of the design, and at least one.

    Raises
    ------
    TypeError, ValueError
        If they are not.
    """
    low, high = raw_range(design.score)
    if not len(thresholds):
        raise ValueError(f"design {design.top!r}: thresholds must hold at least one working point, not none")
    for threshold in thresholds:
        if not isinstance(threshold, int | np.integer):
            raise TypeError(f"design {design.top!r}: thresholds must be raw integers, not {threshold!r}")
        if not low <= threshold <= high:
            raise ValueError(
                f"design {design.top!r}: thresholds must be raw scores from {low} to {high}, not {threshold}"
            )
    return [int(threshold) for threshold in thresholds]


def pack(ports: Sequence[Port], raw: npt.ArrayLike) -> Words:
    """Link words of raw integers.

    Parameters
    ----------
    ports : sequence of Port
    raw : integer array_like, shape (n_events, n_ports)

    Returns
    -------
    uint64 array, shape (n_events, n_links)

    Raises
    ------
    TypeError, ValueError
        If `raw` is not what is stated above, or does not fit the ports; the text names event and port.
    """
    events = np.asarray(raw)
    if events.dtype.kind not in "iub":
        raise TypeError(f"vectors must be integers, not {events.dtype}; give raw numbers")
    if events.ndim != 2 or events.shape[1] != len(ports):
        raise ValueError(f"vectors must have shape (n_events, {len(ports)}), not {events.shape}")
    words = np.zeros((len(events), n_links(ports)), np.uint64)
    for number, event in enumerate(events.tolist()):
        whole = offset = 0
        for port, value in zip(ports, event, strict=True):
            low, high = raw_range(port)
            if not low <= value <= high:
                raise ValueError(f"vectors: event {number}: {port.name} must lie in {low} .. {high}, not be {value}")
            whole |= (value % (1 << port.width)) << offset
            offset += port.width
        words[number] = [whole >> LINK_BITS * link & (1 << LINK_BITS) - 1 for link in range(words.shape[1])]
    return words


def unpack(ports: Sequence[Port], words: Words) -> Raw:
    """Raw integers of link words, shape (n_events, n_ports): what `pack` was given.

    Raises
    ------
    ValueError
        If there are more or fewer words than the ports fill, or bits are set that belong to none.
    """
    if words.ndim != 2 or words.shape[1] != n_links(ports):
        raise ValueError(f"link words must have shape (n_events, {n_links(ports)}), not {words.shape}")
    events = np.zeros((len(words), len(ports)), np.int64)
    for number, row in enumerate(words.tolist()):
        whole = sum(word << LINK_BITS * link for link, word in enumerate(row))
        for index, port in enumerate(ports):
            value = whole % (1 << port.width)
            events[number, index] = value - (1 << port.width if value > raw_range(port)[1] else 0)
            whole >>= port.width
        if whole:
            raise ValueError(
                f"link words: frame {number}: bits above {ports[-1].name} must be 0; give the ports that were packed"
            )
    return events


def write_pattern(path: str | Path, board: str, words: Words) -> None:
    """Write link words, all valid, one frame an event, whole or not at all.

    Raises
    ------
    ValueError
        If there are more frames than a pattern file can number.
    """
    if len(words) > MAX_FRAMES:
        raise ValueError(f"{path}: pattern must have at most {MAX_FRAMES} frames, not {len(words)}; write fewer events")
    links = range(words.shape[1])
    width = LINK_BITS // 4 + 2
    lines = [
        f"Board {board}",
        " Quad/Chan : " + " ".join(f"q{link // 4:02d}c{link % 4}".center(width) for link in links).rstrip(),
        "      Link : " + " ".join(f"{link:02d}".center(width) for link in links).rstrip(),
    ]
    for frame, row in enumerate(words.tolist()):
        lines.append(f"Frame {frame:04d} : " + " ".join(f"1v{word:016x}" for word in row))
    write_text(path, "\n".join(lines) + "\n")


def read_pattern(path: str | Path) -> Pattern:
    """Read a pattern file of 64-bit words; empty lines, and lines that start with ``#``, say nothing.

    Raises
    ------
    ValueError
        If the file is no such file; the text names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: must be a readable pattern file, not this: {error}") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    said = {}
    for key, form in (("board", r"Board\s+(.+)"), ("channels", r"Quad/Chan\s*:(.*)"), ("links", r"Link\s*:(.*)")):
        number, line = lines.pop(0) if lines else (len(text.splitlines()) + 1, "the end")
        found = re.fullmatch(form, line)
        if not found:
            wanted = {"board": "'Board NAME'", "channels": "'Quad/Chan : ...'", "links": "'Link : ...'"}[key]
            raise ValueError(f"{path}:{number}: line must be {wanted}, not {line!r}")
        said[key] = number, found[1].strip()
    number, names = said["links"]
    if not names or not all(name.isdecimal() for name in names.split()):
        raise ValueError(f"{path}:{number}: Link must list numbers, not {names!r}")
    links = tuple(int(name) for name in names.split())
    n_channels = len(said["channels"][1].split())
    if n_channels != len(links):
        raise ValueError(f"{path}:{number}: Link must list {n_channels} links, as Quad/Chan does, not {len(links)}")
    words = np.zeros((len(lines), len(links)), np.uint64)
    valid = np.zeros(words.shape, np.bool_)
    for frame, (number, line) in enumerate(lines):
        found = re.fullmatch(r"Frame\s+(\d+)\s*:(.*)", line)
        if not found or int(found[1]) != frame:
            raise ValueError(f"{path}:{number}: line must be 'Frame {frame:04d} : ...', not {line[:40]!r}")
        row = found[2].split()
        if len(row) != len(links):
            raise ValueError(f"{path}:{number}: frame must have {len(links)} words, one a link, not {len(row)}")
        for link, token in enumerate(row):
            word = _WORD.fullmatch(token)
            if not word:
                raise ValueError(f"{path}:{number}: word must be 0v or 1v and 16 hexadecimal digits, not {token!r}")
            words[frame, link], valid[frame, link] = int(word[2], 16), word[1] == "1"
    return Pattern(said["board"][1], links, words, valid)


def write_vectors(
    design: Design,
    network: Network,
    folder: str | Path,
    x: Raw,
    score: Raw,
    accept: BoolArray,
    thresholds: Sequence[int],
) -> list[Path]:
    """Write events and what the top level must make of them; returns the paths.

    ``input.txt`` and ``expected.txt`` are pattern files of raw integers, ``thresholds.txt`` has the raw thresholds, one
    a line.  ``tb_data/`` is for the test bench of the hls4ml project of the same network: ``tb_input_features.dat`` and
    ``tb_output_predictions.dat`` have values (raw x LSB), as it reads and writes them; ``expected_scores_raw.dat`` has
    raw scores.

    Parameters
    ----------
    design : Design
    network : Network
        That the design computes: it states the LSBs.
    folder : path
    x : integer array, shape (n_events, n_columns)
        Raw trigger integers.
    score : integer array, shape (n_events,)
        Raw.
    accept : bool array, shape (n_events, n_points)
        Decision of each working point.
    thresholds : sequence of int
        Raw, one for each working point.

    Raises
    ------
    MismatchError
        If the design is of another network.
    TypeError, ValueError
        If an array is not what is stated above or does not fit its ports, or a test bench that reads in single
        precision could not read the inputs exactly.
    """
    if design.network != network.digest:
        raise MismatchError(
            f"design {design.top!r} must be of network {network.digest[:12]}, not {design.network[:12]}; build it again"
        )
    x = reference.admissible(network, x)
    score, accept = np.asarray(score), np.asarray(accept)
    if not len(x):
        raise ValueError("vectors must have at least one event")
    for name, array, shape in (("score", score, (len(x),)), ("accept", accept, (len(x), len(thresholds)))):
        if array.shape != shape:
            raise ValueError(f"vectors: {name} must have shape {shape}, not {array.shape}")
    if accept.dtype != np.bool_:
        raise TypeError(f"vectors: accept must be of type bool, not {accept.dtype}")
    limits = raw_thresholds(design, thresholds)
    given = pack(design.inputs, x)
    bits = [sum(1 << point for point, taken in enumerate(event) if taken) for event in accept.tolist()]
    expected = pack(outputs(design, len(thresholds)), np.column_stack([score, np.array(bits, np.int64)]))
    values = x * network.input.out.lsb
    if (values.astype(np.float32) != values).any():
        raise ValueError("vectors: inputs must fit single precision, in which hls4ml's test bench reads them (24 bits)")
    folder = Path(folder)
    board = f"l1ad_{network.digest[:16]}"
    write_pattern(folder / "input.txt", board, given)
    write_pattern(folder / "expected.txt", board, expected)
    texts = {
        "thresholds.txt": "".join(f"{threshold}\n" for threshold in limits),
        "tb_data/tb_input_features.dat": "".join(" ".join(f"{v:.17g}" for v in row) + "\n" for row in values.tolist()),
        "tb_data/tb_output_predictions.dat": "".join(f"{v:.17g}\n" for v in (score * network.score.out.lsb).tolist()),
        "tb_data/expected_scores_raw.dat": "".join(f"{raw}\n" for raw in score.tolist()),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in ("input.txt", "expected.txt", *texts)]
