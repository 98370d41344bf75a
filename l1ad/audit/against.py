"""A network against the C simulation of an hls4ml project, compiled as it is, or against recorded scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from l1ad.audit.causes import differences, explain
from l1ad.compare import Agreement, Difference, agree, merge
from l1ad.convert.from_hls4ml.declarations import Place, Project, Variable
from l1ad.convert.from_hls4ml.emulator import UNSCALED, Interface, read_interface
from l1ad.convert.from_hls4ml.importer import import_behind, read_program
from l1ad.convert.from_hls4ml.project import read
from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.fixed import Raw
from l1ad.hardware import csim
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Input, Lookup, Operation, reads
from l1ad.progress import task

STEP = 20_000
"""Events between two signs of progress."""
TRACED = 200
"""Differing events of which every layer is looked at."""


@dataclass(frozen=True)
class Simulation:
    """C simulation of a project, and what its arrays are called in a network.

    Parameters
    ----------
    project : Project
    interface : Interface or None
        Of the emulator that is run around it.
    results : mapping of str to str
        C++ array to the operation that equals it.
    filled : tuple of (str, Place)
        Arrays in the order in which layers fill them, and where.
    build : Path
        Folder for compiled programs.
    """

    project: Project
    interface: Interface | None
    results: Mapping[str, str]
    filled: tuple[tuple[str, Place], ...]
    build: Path

    def feed(self, network: Network) -> str:
        """Operation whose results the project takes as its input.

        Raises
        ------
        ValueError
            If the network has none.
        """
        kind = self.interface.given if self.interface else self.project.input.type
        for name in (UNSCALED, self.project.input.name):
            for operation in network.operations:
                if operation.name == name and operation.out.bare == kind.bare:
                    return name
        raise ValueError(
            f"{self.project.folder}: network must have an operation {UNSCALED!r} or {self.project.input.name!r}, of "
            f"{kind}, to feed the project with; import it from a version of this project"
        )

    def run(self, network: Network, expected: Mapping[str, Raw], *, trace: bool = False) -> dict[str, Raw]:
        """Raw results by operation: the score, and with `trace` every layer; each of shape (n_events, size).

        Parameters
        ----------
        network : Network
        expected : mapping of str to int64 array
            Results of `network`, as `reference.trace` gives them; the project is fed with one of them.
        trace : bool

        Raises
        ------
        ToolNotFoundError, RuntimeError
            If there is no compiler, or it or the simulation fails.
        """
        sources = self._sources()
        found = csim.run(sources, expected[self.feed(network)], build=self.build, trace=trace)
        results = {**self.results, self.project.input.name: self._argument(network)}
        layers = {results[array]: raw for array, raw in found.items() if array in results}
        last = network.score.name
        score = found["score" if sources.score else sources.output.name]
        same = {name: raw for name, raw in layers.items() if name in expected and raw.shape == expected[name].shape}
        return (same if trace else {}) | {last: score}

    def _argument(self, network: Network) -> str:
        """Operation that is the argument of the top function: what the first layer reads."""
        layer = name = self.results[self.filled[0][0]]
        operations = {operation.name: operation for operation in network.operations}
        while name in operations and reads(operations[name]) and (name == layer or name.startswith(f"{layer}_")):
            name = reads(operations[name])[0]
        return name

    def place(self, operation: str) -> str:
        """Where the C++ computes an operation, and in which type; empty if it is no layer of it."""
        for name, place in self.filled:
            if self.results.get(name) == operation:
                return f"{self.project.variables[name].type} in {name!r} ({place})"
        return ""

    def _sources(self) -> csim.Sources:
        project, interface = self.project, self.interface
        lines = project.source.read_text("utf-8").splitlines()
        filled = self.filled
        # the argument is recorded before the first layer, each result behind the line on which its statement ends
        ends = [next(n for n in range(place.line, len(lines) + 1) if ";" in lines[n - 1]) for _, place in filled]
        recorded = [(filled[0][1].line - 1, project.input)]
        recorded += [(end, project.variables[name]) for end, (name, _) in zip(ends, filled, strict=True)]
        given = project.input.type if interface is None else interface.given
        score = interface.score if interface else None
        return csim.Sources(
            folder=project.folder,
            source=project.source,
            top=project.top,
            namespace=project.namespace,
            input=csim.Port(project.input.name, given, project.input.size),
            output=_port(project.output),
            results=tuple((line, _port(variable)) for line, variable in recorded),
            emulator=interface.path if interface else None,
            score=csim.Port("score", score, 1) if score else None,
        )


def simulation(folder: Path, build: Path) -> Simulation:
    """C simulation of the project in `folder`.

    Raises
    ------
    ValueError, UnsupportedError
        As `import_project`, but for emulators that are not understood.
    OSError
        If `build` cannot be made.
    """
    project = read(folder)
    program = read_program(project)
    try:
        build.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{build}: must be a folder for compiled programs, and cannot be made ({error.strerror}); "
            "set XDG_CACHE_HOME to a writable folder"
        ) from error
    return Simulation(project, read_interface(project), program.results, tuple(program.filled), build)


@dataclass(frozen=True)
class Comparison:
    """Outcome of a comparison, and what it takes to find out why.

    Parameters
    ----------
    agreement : Agreement
    scores : int64 array, shape (n_events,)
        Raw scores of the other side.
    simulation : Simulation or None
        The other side, if it is a project.
    elements : tuple of int
        Elements of the first differing operation that differ in any event that was traced.
    """

    agreement: Agreement
    scores: Raw
    simulation: Simulation | None
    elements: tuple[int, ...] = ()

    def why(self, network: Network, x: Raw) -> Iterator[str]:
        """What tells the two apart, and which known mistakes account for it; `x` as it was compared."""
        first = self.agreement.first
        if self.simulation and first:
            yield from self._where(network, first, self.simulation)
        causes = explain(network, x, self.scores)
        yield from (f"likely cause: {cause}" for cause in causes)
        if not causes:
            yield "likely cause: none of the known mistakes accounts for it"

    def _where(self, network: Network, first: Difference, simulated: Simulation) -> Iterator[str]:
        place = simulated.place(first.operation)
        if place:
            yield f"operation {first.operation!r}: {first.type} in the network, {place}"
        if _of_columns(network, network[first.operation]):
            names = [network.input.columns[element] for element in self.elements]
            yield f"columns that differ: {'all' if names == list(network.input.columns) else ', '.join(names)}"
        try:
            fed = simulated.feed(network)
            start = [operation.name for operation in network.operations].index(fed) + 1
            other = import_behind(simulated.project, network.operations[:start]).network
            yield from differences(network, other, fed)
        except (UnsupportedError, ValueError) as error:
            yield f"not read, only run: {error}"


def against_scores(network: Network, path: Path, x: Raw) -> Comparison:
    """Compare with the scores in a file, HDF5 with the dataset ``raw``, as `l1ad emulate` writes them.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it has another number of events.
    """
    if not path.is_file():
        raise FileNotFoundError(f"scores must be an existing file, not {str(path)!r}; `l1ad emulate` records them")
    try:
        with h5py.File(path) as file:
            found = np.asarray(file["raw"][()])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: must be an HDF5 file with the dataset 'raw', as `l1ad emulate` writes") from error
    if found.dtype.kind not in "iu":
        raise ValueError(f"{path}: raw scores must be integers, not {found.dtype}; record those of `l1ad emulate`")
    if found.shape != (len(x),):
        shape = " x ".join(map(str, found.shape)) or "a single number"
        raise ValueError(f"{path}: must hold {len(x)} scores, one an event, not {shape}; name the events they are of")
    scores = found.astype(np.int64)
    name = network.score.name
    expected = reference.emulate(network, x)
    agreement = agree(network, "reference", {name: expected[:, None]}, path.name, {name: scores[:, None]})
    return Comparison(agreement, scores, None)


def against_project(network: Network, simulated: Simulation, x: Raw) -> Comparison:
    """Compare scores, and every layer of the first events that differ.

    Parameters
    ----------
    network : Network
        From this project or another version of it; its operations are matched by name.
    simulated : Simulation
    x : int64 array, shape (n_events, n_columns)
        Raw inputs of `network`.

    Raises
    ------
    ValueError
        If the network has no operation whose results the project could take as its input.
    ToolNotFoundError, RuntimeError
        If there is no compiler, or it or the simulation fails.
    """
    last = network.score.name
    parts: list[Agreement] = []
    scores: list[Raw] = []
    elements: tuple[int, ...] = ()
    with task("C simulation", len(x)) as progress:
        for start in range(0, len(x), STEP):
            expected = reference.trace(network, x[start : start + STEP])
            score = simulated.run(network, expected)[last]
            part = agree(network, "reference", {last: expected[last]}, "C simulation", {last: score}, start=start)
            if part.first and all(earlier.first is None for earlier in parts):
                chosen = np.flatnonzero((expected[last] != score)[:, 0])[:TRACED]
                some = {name: raw[chosen] for name, raw in expected.items()}
                layers = simulated.run(network, some, trace=True)
                traced = agree(network, "", some, "", layers).first
                if traced is not None:
                    name = traced.operation
                    wrong = (some[name] != layers[name]).any(axis=0)
                    elements = tuple(int(element) for element in np.flatnonzero(wrong))
                    part = replace(part, first=replace(traced, event=start + int(chosen[traced.event])))
            parts.append(part)
            scores.append(score[:, 0])
            progress.advance(len(score))
    return Comparison(merge(parts), np.concatenate(scores), simulated, elements)


def _port(variable: Variable) -> csim.Port:
    return csim.Port(variable.name, variable.type, variable.size)


def _of_columns(network: Network, operation: Operation) -> bool:
    """Whether element i of an operation depends on column i alone."""
    while isinstance(operation, Affine | Cast | Lookup):
        operation = network[operation.x]
    return isinstance(operation, Input)
