"""Differential fuzzing: random networks through every executor, each against the reference emulator.

A disagreement is made small, first in operations, then in bits, then in the numbers of its one event, and saved as a
case that can be run again: ``network.json`` and ``case.json``.  After each network ``progress.json`` says how far the
fuzzing has come, so that it may be interrupted, and goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from l1ad.canonical import canonical
from l1ad.compare import corners
from l1ad.emulate import reference
from l1ad.emulate.native import Native, available
from l1ad.errors import MismatchError, ToolNotFoundError, UnsupportedError
from l1ad.files import write_text
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint, Raw
from l1ad.fuzz.networks import KINDS, random_events, random_network
from l1ad.hardware import csim
from l1ad.hardware.rtl.build import rtl
from l1ad.hardware.simulate import simulate as verilate
from l1ad.network import Network
from l1ad.operations import Dense, Input, Lookup, Operation, reads
from l1ad.progress import task

N_EVENTS = 2_000
"""Random events of each network, after the corners."""
MAX_BITS = 12
"""Of a result, at most."""
CLOCK_NS = 5.0
"""Period that RTL is cut for."""
FLAGS = ("-O0", *csim.FLAGS[1:])
"""The quickest to compile."""

Executor = Callable[[Network, Raw, Path], Raw]
"""Raw scores of events, given an empty folder for files."""


def simulate(network: Network, x: Raw, folder: Path) -> Raw:
    """Scores of the C simulation of the hls4ml project."""
    from l1ad.hardware.hls import PROJECT, write_project
    from l1ad.hardware.target import Target

    project = write_project(network, folder / "project", Target(), x[:1])
    ports = (
        csim.Port("x", network.input.out, len(network.input.columns)),
        csim.Port("score", network.score.out, 1),
    )
    sources = csim.Sources(project, project / "firmware" / f"{PROJECT}.cpp", PROJECT, "", *ports)
    return csim.run(sources, x, build=folder / "build", flags=FLAGS)["score"][:, 0]


def reread(network: Network, x: Raw, folder: Path) -> Raw:
    """Scores of the network that is read from the hls4ml project, whose canonical form must be the same."""
    from l1ad.convert.from_hls4ml.importer import import_project
    from l1ad.hardware.hls import write_project
    from l1ad.hardware.target import Target

    write_project(network, folder / "project", Target(strategy="Resource"), x[:1])
    start, *others = import_project(folder / "project").network.operations
    found = Network((replace(network.input, name=start.name), *others))
    if canonical(found) != canonical(network):
        raise MismatchError("the network that is read from its project has another canonical form")
    return reference.emulate(found, x)


def run_natively(network: Network, x: Raw, _: Path) -> Raw:
    """Scores of the native emulator with the first instruction set of this processor that is wrong, if one is."""
    scores = [Native(network, isa).scores(x) for isa in available()]
    expected = reference.emulate(network, x)
    return next((found for found in scores if not np.array_equal(found, expected)), scores[0])


def clocked(network: Network, x: Raw, _: Path) -> Raw:
    """Scores of the Verilog, simulated clock by clock."""
    return verilate(rtl(network, CLOCK_NS), x, 0).score


EXECUTORS: Mapping[str, Executor] = {
    "native": run_natively,
    "C simulation": simulate,
    "import": reread,
    "RTL": clocked,
}
"""What is compared with the reference."""


@dataclass(frozen=True)
class Report:
    """Outcome of fuzzing, or of running cases again.

    Parameters
    ----------
    n_networks, n_events : int
        Compared here, with each executor.
    n_refused : int
        Pairs of a network and an executor that does not support it.
    seconds : float
    cases : tuple of Path
        Folders of the disagreements.
    """

    n_networks: int
    n_events: int
    n_refused: int
    seconds: float
    cases: tuple[Path, ...]

    def __str__(self) -> str:
        speed = 60 * self.n_networks / max(self.seconds, 1e-3)
        text = (
            f"{self.n_networks} networks, {self.n_events} events, {self.n_refused} refused: {len(self.cases)} disagree"
        )
        return "\n".join([f"{text} ({speed:.0f} networks a minute)", *(f"  {case}" for case in self.cases)])


def fuzz(seed: int, n_networks: int, folder: Path, executors: Mapping[str, Executor] | None = None) -> Report:
    """Compare executors on the random networks 0 to `n_networks` of `seed`.

    Parameters
    ----------
    seed, n_networks : int
    folder : Path
        For the cases, and for the progress of this seed: what is done is not done again.
    executors : mapping of str to callable, optional
        By default `EXECUTORS`.

    Raises
    ------
    ToolNotFoundError
        If an executor needs a tool that is not there.
    """
    executors = EXECUTORS if executors is None else executors
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "progress.json"
    made = {"seed": seed, "executors": list(executors)}
    before = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    first = before["networks"] if before.items() >= made.items() else 0
    start, n_events, n_refused, cases = time.monotonic(), 0, 0, []
    with task("fuzzing", max(n_networks - first, 0)) as progress:
        for number in range(first, n_networks):
            network, x = example(seed, number)
            n_events += len(x)
            for name, executor in executors.items():
                try:
                    failure, _ = disagreement(network, x, executor)
                except UnsupportedError:
                    n_refused += 1
                    continue
                if failure:
                    case = folder / f"seed{seed}-network{number}-{name.replace(' ', '-')}"
                    cases.append(save(case, name, *shrink(network, x, executor), executor))
            write_text(state, json.dumps(made | {"networks": number + 1}) + "\n")
            progress.advance(1, f"{len(cases)} cases" if cases else "")
    return Report(max(n_networks - first, 0), n_events, n_refused, time.monotonic() - start, tuple(cases))


def example(seed: int, number: int) -> tuple[Network, Raw]:
    """A random network of any kind and modes, and its events: corners first."""
    rng = np.random.default_rng([seed, number])
    rounding, overflow = rng.choice(ROUNDING, 12).tolist(), rng.choice(OVERFLOW, 12).tolist()
    network = random_network(rng, rounding, overflow, KINDS[number % len(KINDS)], MAX_BITS)
    return network, np.vstack([corners(network), random_events(rng, network, N_EVENTS)])


def disagreement(network: Network, x: Raw, executor: Executor) -> tuple[str, Raw]:
    """How an executor differs from the reference, or fails, and the numbers of the events; empty if it does not.

    Raises
    ------
    UnsupportedError, ToolNotFoundError
        As the executor does.
    """
    expected = reference.emulate(network, x)
    try:
        with TemporaryDirectory(prefix="l1ad-fuzz-") as folder:
            found = executor(network, x, Path(folder))
        wrong = np.flatnonzero(found != expected)
    except (UnsupportedError, ToolNotFoundError):
        raise
    except Exception as error:  # whatever an executor ends in is a finding
        return f"{type(error).__name__}: {error}", np.arange(len(x))
    if not len(wrong):
        return "", wrong
    first = int(wrong[0])
    text = f"{len(wrong)} of {len(x)} scores differ, first of event {first}: raw {found[first]}, not {expected[first]}"
    return text, wrong


def shrink(network: Network, x: Raw, executor: Executor) -> tuple[Network, Raw]:
    """The smallest network, and one event of it if one is enough, on which the executor still differs."""

    def differs(smaller: Network, events: Raw) -> Raw:
        try:
            return disagreement(smaller, events, executor)[1]
        except UnsupportedError:
            return np.zeros(0, np.int64)

    network = next((cut for cut in _cuts(network) if len(differs(cut, x))), network)
    while (narrower := next((each for each in _narrowings(network) if len(differs(each, x))), None)) is not None:
        network = narrower
    event = x[differs(network, x)[0]]
    smallest = _smallest(network, event, differs)
    return network, next((each[None] for each in (smallest, event) if len(differs(network, each[None]))), x)


def _cuts(network: Network) -> Iterator[Network]:
    """The network up to each operation, whose elements are summed with different weights; the shortest first."""
    for last in network.operations[1:-1]:
        needed = {last.name}
        for operation in reversed(network.operations):
            if operation.name in needed:
                needed.update(reads(operation))
        kept: list[Operation] = [operation for operation in network.operations if operation.name in needed]
        size = network.flows[last.name].size
        if size > 1:
            weight, zero = np.arange(1, size + 1)[:, None], np.zeros(1, np.int64)
            kinds = FixedPoint.holding(0, size, 0), zero, FixedPoint(1, 0)
            out = FixedPoint(last.out.width + 2 * size.bit_length() + 1, last.out.frac)
            kept.append(Dense("total", last.name, weight, *kinds, None, out))
        yield Network(tuple(kept))


def _narrowings(network: Network) -> Iterator[Network]:
    """The network with one result of half as many bits."""
    for number, operation in enumerate(network.operations):
        if isinstance(operation, Input | Lookup) or operation.out.width < 4:
            continue
        fewer = replace(operation, out=replace(operation.out, width=operation.out.width // 2))
        try:
            yield Network((*network.operations[:number], fewer, *network.operations[number + 1 :]))
        except ValueError:
            continue  # a table is of its operand's type


def _smallest(network: Network, event: Raw, differs: Callable[[Network, Raw], Raw]) -> Raw:
    """The event with its columns as close to zero as they may come, one after the other."""
    zero = np.clip(0, network.input.low, network.input.high)
    while True:
        # a column at a fraction of its distance from zero; all of these in one run
        nearer = [(column, zero + (event - zero) // 2**n) for column in range(len(event)) for n in range(1, 63)]
        nearer += [(column, zero) for column in range(len(event))]
        tried = np.array([np.where(np.arange(len(event)) == column, values, event) for column, values in nearer])
        tried = tried[np.abs(tried - zero).sum(axis=1) < np.abs(event - zero).sum()]
        wrong = differs(network, tried) if len(tried) else np.zeros(0, np.int64)
        if not len(wrong):
            return event
        event = min(tried[wrong], key=lambda each: int(np.abs(each - zero).sum()))


def save(case: Path, name: str, network: Network, x: Raw, executor: Executor) -> Path:
    """Write a case; return its folder."""
    case.mkdir(parents=True, exist_ok=True)
    network.save(case / "network.json")
    expected = reference.emulate(network, x).tolist()
    document = {
        "executor": name,
        "failure": disagreement(network, x, executor)[0],
        "events": x.tolist(),
        "expected": expected,
    }
    write_text(case / "case.json", json.dumps(document, indent=1) + "\n")
    return case


def replay(folder: Path, executors: Mapping[str, Executor] | None = None) -> Report:
    """Run the cases in a folder again; raises as `fuzz` does.

    Raises
    ------
    ValueError
        If the folder holds no case, one names an executor that does not exist, or the reference itself has changed.
    """
    executors = EXECUTORS if executors is None else executors
    start, n_events, n_refused, cases = time.monotonic(), 0, 0, []
    found = sorted(path.parent for path in folder.rglob("case.json"))
    if not found:
        raise ValueError(f"{folder}: must hold cases of `l1ad fuzz`, and holds none")
    with task("cases", len(found)) as progress:
        for case in found:
            document = json.loads((case / "case.json").read_text(encoding="utf-8"))
            network, x = Network.load(case / "network.json"), np.array(document["events"], np.int64)
            if document["executor"] not in executors:
                raise ValueError(f"{case}: executor must be one of {list(executors)}, not {document['executor']!r}")
            if reference.emulate(network, x).tolist() != document["expected"]:
                raise ValueError(
                    f"{case}: scores of the reference must be those that were saved; its meaning has changed"
                )
            n_events += len(x)
            try:
                if disagreement(network, x, executors[document["executor"]])[0]:
                    cases.append(case)
            except UnsupportedError:
                n_refused += 1
            progress.advance()
    return Report(len(found), n_events, n_refused, time.monotonic() - start, tuple(cases))
