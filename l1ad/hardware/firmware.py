"""The board-side firmware around a design: top level, VHDL wrapper, constraints, scripts, README, as one folder.

The hand-written files are those of ``firmware/`` in the repository; the names between ``@`` in them are filled in here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from math import ceil, floor
from pathlib import Path

from l1ad import __version__
from l1ad.files import replacing_folder
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.vectors import LINK_BITS, n_links, outputs, raw_thresholds

TEMPLATES = Path(__file__).parents[2] / "firmware"
FILES = {
    "project.md.in": "README.md",
    "l1ad_top.v.in": "rtl/l1ad_top.v",
    "l1ad_crossing.v": "rtl/l1ad_crossing.v",
    "l1ad_delay.v": "rtl/l1ad_delay.v",
    "l1ad_thresholds.v": "rtl/l1ad_thresholds.v",
    "l1ad_top_vhdl.vhd.in": "rtl/l1ad_top_vhdl.vhd",
    "l1ad_top_tb.v.in": "sim/l1ad_top_tb.v",
    "l1ad_top.xdc.in": "constraints/l1ad_top.xdc",
    "vivado_synth.tcl.in": "scripts/vivado_synth.tcl",
    "vitis_hls.tcl.in": "scripts/vitis_hls.tcl",
}
"""Where each hand-written file goes in a project."""
MANIFEST = "manifest.json"
FORMAT = "l1ad-firmware/1"
CROSSING_NS = 24.95
"""Time between bunch crossings, rounded down: the LHC's clock is 40.079 MHz."""
NOMINAL_NS = 25.0
"""What that time is called: a clock of 5 ns is five to a crossing."""

_PORTS = (
    "clk rst bx0 valid_in threshold_write threshold_address threshold_data threshold_load valid_out score accept bx"
)
_MODULES = {"l1ad_top", "l1ad_top_vhdl", "l1ad_top_tb", "l1ad_crossing", "l1ad_delay", "l1ad_thresholds"}


def latency_cycles(design: Design) -> int:
    """Clocks of the top level from inputs to outputs: the design's, and one for the comparison with the thresholds."""
    return design.latency_cycles + 1


def latency_bx(design: Design, clocks_per_bx: int) -> int:
    """Bunch crossings, begun ones counted, that the top level takes."""
    return ceil(latency_cycles(design) / clocks_per_bx)


def write_firmware(
    design: Design, folder: str | Path, *, part: str, thresholds: Sequence[int], clocks_per_bx: int
) -> list[Path]:
    """Write the firmware of a design, whole or not at all; returns the paths of its files.

    The bytes depend on the arguments and the version of l1ad only.

    Parameters
    ----------
    design : Design
    folder : path
        Replaced if it is a firmware folder already; vectors and reports in it, which belong to what was there, go too.
    part : str
        FPGA part, as Vivado spells it.
    thresholds : sequence of int
        Raw default threshold of each working point; there is an ``accept`` bit for each.
    clocks_per_bx : int
        Clocks of the board to a bunch crossing, in which one event comes.

    Raises
    ------
    FileNotFoundError
        If the hand-written files are not beside the package.
    ValueError, TypeError
        If the arguments do not fit each other, or names of the design are those of the top level.
    OSError
        If `folder` cannot be written, or holds something else.
    """
    folder = Path(folder)
    raw = raw_thresholds(design, thresholds)
    _check(design, part, clocks_per_bx)
    words = _words(design, part, raw, clocks_per_bx)
    texts = {FILES[name]: _filled(name, words) for name in FILES}
    texts |= {f"rtl/{name}": text for name, text in design.files.items()}
    manifest = {
        "format": FORMAT,
        "design_digest": design.digest(),
        "network_digest": design.network,
        "part": part,
        "clocks_per_bx": clocks_per_bx,
        "period_ns": float(words["period_ns"]),
        "latency_cycles": latency_cycles(design),
        "latency_bx": latency_bx(design, clocks_per_bx),
        "thresholds": raw,
        "versions": {"l1ad": __version__},
        "files": {name: sha256(text.encode()).hexdigest() for name, text in texts.items()},
    }
    texts[MANIFEST] = json.dumps(manifest, indent=1) + "\n"
    _write_folder(folder, texts)
    return [folder / name for name in texts]


def _check(design: Design, part: str, clocks_per_bx: int) -> None:
    """Refuse what would make firmware that is wrong or that no tool reads."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", part):
        raise ValueError(f"firmware part must be a name as Vivado spells it, not {part!r}")
    if clocks_per_bx < 1:
        raise ValueError(f"firmware clocks_per_bx must be at least 1, not {clocks_per_bx}")
    if design.interval_cycles > clocks_per_bx:
        raise ValueError(
            f"design {design.top!r}: interval_cycles must be at most {clocks_per_bx} (clocks_per_bx), "
            f"not {design.interval_cycles}; one event comes every crossing"
        )
    if design.clock_ns * clocks_per_bx > NOMINAL_NS * (1 + 1e-4):
        raise ValueError(
            f"design {design.top!r}: clock_ns must be at most {NOMINAL_NS:g} ns / {clocks_per_bx} (clocks_per_bx), "
            f"not {design.clock_ns:g}; cut the pipeline for the board's clock"
        )
    names = [port.name.lower() for port in design.inputs]
    taken = {name for name in names if names.count(name) > 1 or name in _PORTS.split() or name.startswith("l1ad_")}
    if taken:
        raise ValueError(
            f"design {design.top!r}: inputs must have names of their own, which the top level does not use, "
            f"not {sorted(taken)}; rename the columns"
        )
    modules = {name for text in design.files.values() for name in re.findall(r"^\s*module\s+(\w+)", text, re.M)}
    files = {Path(name).name for name in FILES.values()}
    clashes = sorted(modules & _MODULES | design.files.keys() & files)
    if clashes:
        raise ValueError(
            f"design {design.top!r}: modules and files must not be called {clashes}, as the top level's are"
        )


def _words(design: Design, part: str, thresholds: list[int], clocks_per_bx: int) -> dict[str, str]:
    """What stands between ``@`` in the hand-written files."""
    score, points = design.score, len(thresholds)
    width = max((points - 1).bit_length(), 1)
    defaults = [f"{score.width}'h{threshold % (1 << score.width):x}" for threshold in reversed(thresholds)]
    offsets = [sum(port.width for port in design.inputs[:i]) for i in range(len(design.inputs))]
    cycles = latency_cycles(design)
    return {
        "core": design.top,
        "design": design.digest(),
        "network": design.network,
        "part": part,
        "clocks_per_bx": str(clocks_per_bx),
        "crossing_ns": f"{CROSSING_NS:g}",
        "period_ns": f"{floor(CROSSING_NS / clocks_per_bx * 1000) / 1000:.3f}",
        "core_cycles": str(design.latency_cycles),
        "latency_cycles": str(cycles),
        "latency_bx": str(latency_bx(design, clocks_per_bx)),
        "latency_ns": f"{cycles * CROSSING_NS / clocks_per_bx:.1f}",
        "points": str(points),
        "defaults": ", ".join(defaults),
        "points_high": str(points - 1),
        "thresholds_high": str(points * score.width - 1),
        "address_width": str(width),
        "address_high": str(width - 1),
        "score_width": str(score.width),
        "score_high": str(score.width - 1),
        "score_signed": str(int(score.signed)),
        "score_type": _sign(score),
        "signed": " signed" if score.signed else "",
        "links_in": str(n_links(design.inputs)),
        "links_out": str(n_links(outputs(design, points))),
        "columns": _lines(design, "    input  wire{verilog} [{high}:0] {name},"),
        "connections": _lines(design, "        .{name}({name}),"),
        "entity_columns": _lines(design, "    {name} : in {vhdl}({high} downto 0);"),
        "component_columns": _lines(design, "      {name} : in std_logic_vector({high} downto 0);"),
        "maps": _lines(design, "      {name} => std_logic_vector({name}),"),
        "slices": "\n".join(
            f"        .{port.name}(given[{offset} +: {port.width}]),"
            for port, offset in zip(design.inputs, offsets, strict=True)
        ),
        "column_rows": "\n".join(
            f"| `{port.name}` | in | {port.width} | {_sign(port)} | {_place(offset, port)} |"
            for port, offset in zip(design.inputs, offsets, strict=True)
        ),
        "score_row": f"| `score` | out | {score.width} | {_sign(score)} | {_place(0, score)} |",
        "accept_row": f"| `accept` | out | {points} | bits | {_place(score.width, Port('accept', points, False))} |",
        "threshold_rows": "\n".join(f"| {i} | `accept[{i}]` | {raw} |" for i, raw in enumerate(thresholds)),
    }


def _lines(design: Design, form: str) -> str:
    """A line of text for each column."""
    return "\n".join(
        form.format(name=port.name, high=port.width - 1, vhdl=_sign(port), verilog=" signed" if port.signed else "")
        for port in design.inputs
    )


def _sign(port: Port) -> str:
    return "signed" if port.signed else "unsigned"


def _place(offset: int, port: Port) -> str:
    """Where a port lies in a frame of a pattern file: ``link:bits``, highest bit first."""
    last = offset + port.width - 1
    if offset // LINK_BITS == last // LINK_BITS:
        return f"{offset // LINK_BITS}:{last % LINK_BITS}..{offset % LINK_BITS}"
    return f"{last // LINK_BITS}:{last % LINK_BITS}..0, {offset // LINK_BITS}:{LINK_BITS - 1}..{offset % LINK_BITS}"


def _filled(name: str, words: dict[str, str]) -> str:
    """Text of a hand-written file with its names filled in."""
    try:
        text = (TEMPLATES / name).read_text(encoding="utf-8")
    except OSError as error:
        raise FileNotFoundError(
            f"{TEMPLATES / name}: hand-written firmware must stand beside the package ({error.strerror}); "
            "install l1ad from a clone of its repository, with `pip install -e .`"
        ) from error
    return re.sub(r"@(\w+)@", lambda word: words[word[1]], text)


def _write_folder(folder: Path, texts: dict[str, str]) -> None:
    """Write all files aside, then put their folder in the place of an earlier one."""
    if not _replaceable(folder):
        raise FileExistsError(f"{folder}: must be new, empty or a firmware folder of l1ad; name another folder")
    try:
        with replacing_folder(folder) as aside:
            for name, text in texts.items():
                path = aside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OSError(f"{folder}: cannot write the firmware ({error}); choose a writable folder") from error


def _replaceable(folder: Path) -> bool:
    """Whether nothing is lost that is not of `write_firmware`."""
    if not folder.exists():
        return True
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return folder.is_dir() and not any(folder.iterdir())
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT
