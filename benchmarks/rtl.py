"""Size and speed of the RTL that l1ad writes, beside da4ml's of the same network, and beside published HLS estimates.

    python benchmarks/rtl.py [NETWORK.json ...] [--clocks 5 2.8] [--imported NAME=NETWORK.json ...] [--full]

Without arguments the networks are those of the quickstart and of ``configs/pruned.toml``, where they have been made.
Every design passes the same Yosys script and the same timing analysis; rows are printed as they are made.
"""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import numpy as np
from emulation_networks import in_da4ml

from l1ad.compare import random_inputs
from l1ad.emulate import reference
from l1ad.hardware.estimator import estimate, method
from l1ad.hardware.rtl.build import rtl
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.synthesis.netlist import read
from l1ad.hardware.synthesis.timing import STAGE, analyse, library
from l1ad.hardware.synthesis.yosys import FAST, FULL, find_yosys, synthesise
from l1ad.network import Network

RUNS = Path("runs")
CLOCKS_NS = (5.0, 2.8)
CHECKED = 5_000
"""Events on which da4ml's graph is compared with the reference."""
CUTOFFS = range(1, 16)
"""da4ml's delays from register to register; an adder has 1."""
LIMIT_S = 300
"""An imported network that is not built and synthesised by then is left out."""
PUBLISHED = {
    "AXOL1TL v1": (33_341, 339, 2),
    "AXOL1TL v3": (72_340, 483, 2),
    "AXOL1TL v4": (70_515, 425, 2),
    "AXOL1TL v5": (37_580, 715, 2),
}
"""LUT, FF and clocks by HLS's estimate (C synthesis for xc7vx690t, no DSP) in GitHub's cms-hls4ml/AXOL1TL."""
IMPORTED_NS = 25.0
"""Clock of those estimates: a crossing."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", type=Path, help="networks to compare with da4ml")
    parser.add_argument("--clocks", nargs="+", type=float, default=CLOCKS_NS, help="periods in ns")
    parser.add_argument("--imported", nargs="+", default=[], metavar="NAME=FILE", help=f"such as {list(PUBLISHED)}")
    parser.add_argument("--full", action="store_true", help="run all of synth_xilinx")
    given = parser.parse_args()
    paths = given.networks
    if not paths and not given.imported:
        paths = [RUNS / "quickstart" / "vae" / "network.json", *sorted(RUNS.glob("pruned/*/network.json"))]
        paths = [path for path in paths if path.exists()]
    print(f"{find_yosys().version}, {FULL if given.full else FAST}\n")
    if paths:
        compare(paths, given.clocks, given.full)
    if given.imported:
        against_published([name.partition("=")[::2] for name in given.imported], given.full)


def compare(paths: list[Path], clocks_ns: list[float], full: bool) -> None:
    """Table of l1ad's designs and da4ml's."""
    peer = find_spec("da4ml") is not None
    if not peer:
        print("da4ml is not installed: its rows are left out\n")
    head(f"network|writer|cut for|clocks|LUT|FF|CARRY4|period, ns ({STAGE})|written in, s")
    for path in paths:
        network = Network.load(path)
        if peer:
            graph, tracing_s = timed(in_da4ml, network)
            writer = f"da4ml {version('da4ml')}{wrong(network, graph)}"
        for clock_ns in clocks_ns:
            ours, seconds = timed(rtl, network, clock_ns)
            row(path, "l1ad", f"{clock_ns:g} ns", *measured(ours, full), f"{seconds:.1f}")
            if peer:
                (theirs, cutoff), seconds = timed(da4ml_design, network, graph, ours)
                row(path, writer, f"cutoff {cutoff}", *measured(theirs, full), f"{tracing_s + seconds:.1f}")
    print()


def against_published(imported: list[tuple[str, str]], full: bool) -> None:
    """Table of HLS's published estimates, l1ad's, and what Yosys finds."""
    print(f"LUT / FF / clocks of {IMPORTED_NS:g} ns. Estimate: {method()}\n")
    head("network|HLS estimate, published|l1ad's estimate|Yosys of l1ad's RTL|built and synthesised in, s")
    for name, path in imported:
        network = Network.load(path)
        guess = estimate(network, IMPORTED_NS)
        said = triple(*PUBLISHED[name]) if name in PUBLISHED else "none"
        start = time.monotonic()
        try:
            with limit(LIMIT_S):
                design = rtl(network, IMPORTED_NS)
                made = synthesise(design, fast=not full)
            found = triple(made.lut + made.lut_memory, made.ff, design.latency_cycles)
        except TimeoutError:
            found = f"not done in {LIMIT_S} s"
        row(name, said, triple(guess.lut, guess.ff, guess.latency_cycles), found, f"{time.monotonic() - start:.0f}")


def measured(design: Design, full: bool) -> tuple[int | str, ...]:
    """Clocks, LUT, FF, carry cells, and the period."""
    found = synthesise(design, fast=not full)
    timing = analyse(read(found.netlist, design.top), library(found.cells))
    return design.latency_cycles, found.lut + found.lut_memory, found.ff, found.carry, f"{timing.period_ns:.2f}"


def da4ml_design(network: Network, graph: Any, like: Design) -> tuple[Design, int]:
    """da4ml's Verilog of about as many clocks as another design, and the cutoff that gives it.

    It has one packed port of inputs and one output, the score: neither threshold nor valid bits.
    """
    from da4ml.codegen import RTLModel
    from da4ml.trace.pipeline import to_pipeline

    def clocks(cutoff: int) -> int:
        return len(to_pipeline(graph, cutoff, verbose=False).solutions) + 1  # registers at both ends

    cutoff = min(CUTOFFS, key=lambda some: abs(clocks(some) - like.latency_cycles))
    top = "da4ml_score"
    with TemporaryDirectory() as folder:
        RTLModel(graph, top, folder, latency_cutoff=cutoff, print_latency=False).write()
        sources = [path for path in Path(folder, "src").rglob("*.v") if path.stem != f"{top}_wrapper"]
        files = {path.name: path.read_text() for path in sources}
    kind = network.score.out
    score = Port("model_out", kind.width, kind.signed)
    return Design(top, network.digest, (), score, like.clock_ns, clocks(cutoff), 1, files), cutoff


def wrong(network: Network, graph: Any) -> str:
    """How many scores of da4ml's graph are not the reference's, if any."""
    x = random_inputs(network, CHECKED)
    scores = np.asarray(graph.predict(x * network.input.out.lsb))[:, 0] / network.score.out.lsb
    number = int((scores != reference.emulate(network, x)).sum())
    return f" ({number:,} of {CHECKED:,} scores wrong)" if number else ""


def timed(make: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """What it makes, and the seconds that it took."""
    start = time.monotonic()
    return make(*given), time.monotonic() - start


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in what takes longer."""

    def stop(*_: Any) -> NoReturn:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def triple(lut: int, ff: int, clocks: int) -> str:
    """LUT, FF and clocks in a cell."""
    return f"{lut:,} / {ff:,} / {clocks}"


def head(columns: str) -> None:
    """Print the head of a table."""
    print(f"| {columns.replace('|', ' | ')} |\n|{'---|' * len(columns.split('|'))}")


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("|", " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells), "|", flush=True)


if __name__ == "__main__":
    main()
