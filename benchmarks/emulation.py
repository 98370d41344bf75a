"""How fast networks are emulated: every executor on the same events, side by side, beside what the CPU could do.

    python benchmarks/emulation.py [NETWORK.json | PROJECT | MODEL.h5] ... [--rounds 5] [--only WORD ...]

Without arguments: the fixed networks of emulation_networks.py and the models of ``runs/quickstart``, which
``l1ad run configs/quickstart.toml`` makes.  A PROJECT of hls4ml is imported, and its own C++ is the C simulation; of
other networks, the project is one that l1ad writes.

Rates are medians of interleaved runs in CPU time, of all threads: millions of events a second and core, from integers
in memory (the narrowest type that holds them, row by row) to scores.  Before them every executor runs once, which
compiles what is compiled, and its scores are compared with the reference's.  C simulation: the CPU time of its process
for many events less that for few, so that neither its start nor its compilation counts.  Plain ap_fixed loops: the
thread's time between two readings of its clock.  QKeras, da4ml and XLA are given floats, ready-made.  From disk:
from_disk.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import emulation_networks
import numpy as np
import numpy.typing as npt
import roofline

from l1ad.audit.against import simulation
from l1ad.compiler import find_compiler
from l1ad.convert.from_hls4ml.importer import import_project
from l1ad.emulate import Histogram, reference
from l1ad.errors import ToolNotFoundError, UnsupportedError
from l1ad.files import cache_folder
from l1ad.hardware.csim import FLAGS
from l1ad.network import Network

STUDY = Path("runs/quickstart")
BATCH = 16384
"""Events a call of TensorFlow."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Scores = npt.NDArray[Any] | None


@dataclass(frozen=True)
class Case:
    """A network and its events; `project`, `model`: where they lie, if they exist already."""

    name: str
    network: Network
    x: npt.NDArray[Any]
    project: Path | None
    model: Path | None
    work: Path


@dataclass(frozen=True)
class Row:
    """An executor: `run` gives the CPU seconds that `n` events took, and the scores of the first events, if any.

    `isa`: whose peak it is measured by; `exact`: whether it must be, or this program fails.
    """

    name: str
    n: int
    run: Callable[[], tuple[float, Scores]]
    isa: str = ""
    exact: bool = True


def timed(name: str, n: int, function: Callable[[], Scores], isa: str = "", exact: bool = True) -> Row:
    """A row that runs in this process."""

    def run() -> tuple[float, Scores]:
        start = time.process_time()
        scores = function()
        return time.process_time() - start, scores

    return Row(name, n, run, isa, exact)


def numpy_reference(case: Case) -> Iterator[Row]:
    """The definition."""
    x = case.x[:20_000]
    yield timed("reference (NumPy)", len(x), lambda: reference.emulate(case.network, x))


def c_simulation(case: Case) -> Iterator[Row]:
    """The C++ of the project that was imported, or of one that hls4ml writes."""
    few, many = 400, 4_000
    project = case.project
    if project is None:
        from l1ad.hardware.hls import write_project
        from l1ad.hardware.target import Target

        project = write_project(case.network, case.work / "project", Target(), case.x[:10])
    simulated = simulation(project, cache_folder())
    fed = reference.trace(case.network, case.x[:many])

    def run() -> tuple[float, Scores]:
        seconds = []
        for n in (few, many):
            start = _children()
            scores = simulated.run(case.network, {name: raw[:n] for name, raw in fed.items()})
            seconds.append(_children() - start)
        return seconds[1] - seconds[0], scores[case.network.score.name][:, 0]

    yield Row("C simulation (hls4ml)", many - few, run)


def _children() -> float:
    """CPU seconds of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plain_loops(case: Case) -> Iterator[Row]:
    """What one writes by hand with the same AP types."""
    n = 4_000
    source, program, events, scores = (case.work / name for name in ("plain.cpp", "plain", "x", "scores"))
    source.write_text(emulation_networks.plain_cpp(case.network), encoding="utf-8")
    hls4ml = importlib.util.find_spec("hls4ml")
    if hls4ml is None or hls4ml.origin is None:
        raise ToolNotFoundError("hls4ml, which ships the AP types, is not installed")
    types = Path(hls4ml.origin).parent / "templates" / "vivado" / "ap_types"
    special = ["-D__AP_INT_SPECIAL_H__", "-D__AP_FIXED_SPECIAL_H__"]  # complex numbers, which libc++ refuses
    command = [*shlex.split(find_compiler()), *FLAGS, *special, f"-I{types}", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    case.x[:n].astype(np.int64).tofile(events)

    def run() -> tuple[float, Scores]:
        done = subprocess.run([program, events, scores], check=True, stdout=subprocess.PIPE)
        return float(done.stdout), np.fromfile(scores, np.int64)

    yield Row("plain ap_fixed loops (C++)", n, run)


def qkeras(case: Case) -> Iterator[Row]:
    """The model that the network was converted from."""
    if case.model is None:
        raise UnsupportedError("there is no model.h5 beside the network")
    from l1ad.models.keras import load_model

    model, lsb, x = load_model(case.model), case.network.score.out.lsb, case.x[: 6 * BATCH]
    shape = (-1, *model.inputs[0].shape[1:])
    given = (x * case.network.input.out.lsb).astype(np.float32).reshape(shape)
    yield timed("QKeras predict", len(x), lambda: model.predict(given, batch_size=BATCH, verbose=0)[:, 0] / lsb)


def da4ml(case: Case) -> Iterator[Row]:
    """da4ml's interpreter of its adder graph, compiled, in one thread.  Translated here, so that it may be wrong."""
    logic = emulation_networks.in_da4ml(case.network)
    x, lsb = case.x[:20_000] * case.network.input.out.lsb, case.network.score.out.lsb
    yield timed("da4ml interpreter", len(x), lambda: logic.predict(x, n_threads=1)[:, 0] / lsb, exact=False)


def floats(case: Case) -> Iterator[Row]:
    """The same layers in float32, not quantised, by XLA."""
    from l1ad.models.keras import tf

    function = tf.function(emulation_networks.in_floats(case.network, tf), jit_compile=True)
    batches = [case.x[i : i + BATCH].astype(np.float32) for i in range(0, 24 * BATCH, BATCH)]
    batches = [batch for batch in batches if len(batch) == BATCH]

    def run() -> Scores:
        np.concatenate([function(tf.constant(batch)).numpy() for batch in batches])
        return None

    yield timed("TensorFlow XLA, float32: not exact, for scale", len(batches) * BATCH, run, exact=False)


def native(case: Case) -> Iterator[Row]:
    """l1ad's kernel, by instruction set and from several sources."""
    from l1ad.emulate.native import Native, available

    x, best = case.x, available()[0]
    for isa in available():
        emulator = Native(case.network, isa=isa)
        size = len(x) if isa != "portable" else len(x) // 10
        yield timed(f"native, {isa}", size, lambda e=emulator, n=size: e.scores(x[:n]), isa)
    emulator = Native(case.network)
    walls: list[float] = []

    def threads() -> Scores:
        start = time.perf_counter()
        scores = emulator.scores(x, threads=CORES)
        walls.append(time.perf_counter() - start)
        return scores

    def histogram() -> Scores:
        counted = emulator.fill(Histogram.of(case.network), x).events
        if counted != len(x):
            raise SystemExit(f"{case.name}: the histogram must hold {len(x)} events, not {counted}")
        return None

    columns = np.asfortranarray(x)
    yield timed(f"native, {CORES} threads", len(x), threads, best)
    yield timed("native, column by column", len(x), lambda: emulator.scores(columns), best)
    yield timed("native, histogram only", len(x), histogram, best)


EXECUTORS = (numpy_reference, c_simulation, plain_loops, da4ml, qkeras, floats, native)


def measure(case: Case, rounds: int, peaks: list[roofline.Peak]) -> bool:
    """Print the table of one network; whether all that must be exact are."""
    work = emulation_networks.multiplications(case.network)
    print(f"\n### {case.name}\n\n{work:,} multiply-accumulates an event; {case.x.dtype}, {len(case.x):,} events\n")
    rows: list[Row] = []
    for executor in EXECUTORS:
        try:
            rows += executor(case)
        except (UnsupportedError, ToolNotFoundError, ImportError) as reason:
            print(f"skipped: {executor.__name__}: {reason}\n", flush=True)
    said = {row.name: agreement(case, row) for row in rows}
    seconds: dict[str, list[float]] = {row.name: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            seconds[row.name].append(row.run()[0])
    rates = {row.name: row.n / float(np.median(seconds[row.name])) for row in rows}
    slow = rates.get("C simulation (hls4ml)")
    print("| executor | M events/s and core | of C simulation | of int16 peak | of int8 peak | exact |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        rate, shares = rates[row.name], []
        for kind in ("int16", "int8"):
            most = roofline.peak(peaks, kind, row.isa)
            shares.append(f"{rate * work / most:.0%}" if most else "")
        times = f"{rate / slow:.3g}" if slow else ""
        print(f"| {row.name} | {rate / 1e6:.3g} | {times} | {' | '.join(shares)} | {said[row.name]} |", flush=True)
    return not any("NO" in text for text in said.values())


def agreement(case: Case, row: Row) -> str:
    """Whether the scores of the first events are the reference's; runs the row once."""
    scores = row.run()[1]
    if scores is None:
        return "not compared"
    n = min(len(scores), 50_000)
    wrong = int((reference.emulate(case.network, case.x[:n]) != scores[:n]).sum())
    no = "NO" if row.exact else "no"
    return f"{no}: {wrong:,} of {n:,} differ" if wrong else f"yes, {n:,}"


def networks(arguments: list[Path]) -> Iterator[tuple[str, Network, Path | None, Path | None]]:
    """Name, network, project and model of what was asked for."""
    if not arguments:
        yield from ((name, network, None, None) for name, network in emulation_networks.networks().items())
        found = sorted(STUDY.glob("*/network.json"))
        if not found:
            print(f"skipped: {STUDY}: `l1ad run configs/quickstart.toml` makes its models\n")
        arguments = found
    for path in arguments:
        if path.is_dir():
            yield path.name, import_project(path).network, path, None
        elif path.suffix == ".json":
            model = path.with_name("model.h5")
            yield f"{path.parent.name}/{path.name}", Network.load(path), None, model if model.exists() else None
        else:
            from l1ad.convert.from_qkeras import convert
            from l1ad.models.keras import load_model

            yield path.name, convert(load_model(path)), None, path


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[""], help="networks whose names hold one of these words")
    options = parser.parse_args()
    peaks = roofline.measure()
    print(roofline.table(peaks), flush=True)
    exact = True
    for name, network, project, model in networks(options.networks):
        if any(word in name for word in options.only):
            with TemporaryDirectory() as work:
                case = Case(name, network, emulation_networks.events(network), project, model, Path(work))
                exact &= measure(case, options.rounds, peaks)
    sys.exit(0 if exact else "an executor that must be exact is not")


if __name__ == "__main__":
    main()
