"""A published hls4ml project as a `Network`, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from l1ad.convert.from_hls4ml.declarations import Project
from l1ad.convert.from_hls4ml.emulator import UNSCALED, Emulator, read_emulator
from l1ad.convert.from_hls4ml.layers import Program
from l1ad.convert.from_hls4ml.project import read
from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint, from_float
from l1ad.network import Network
from l1ad.operations import Affine, Input, Operation


@dataclass(frozen=True)
class Imported:
    """What became of a project.

    Parameters
    ----------
    network : Network
    notes : tuple of str
        What C++ does silently, and its authors may not know, each with its place.
    """

    network: Network
    notes: tuple[str, ...]


def import_project(folder: str | Path, columns: tuple[InputColumn, ...] | None = None) -> Imported:
    """Read a project.

    Parameters
    ----------
    folder : path
        What hls4ml wrote, or a published copy; of its folders, an emulator beside the network is read too.
    columns : tuple of InputColumn, optional
        What the inputs are: their names and admissible codes.  The network then starts at those codes; where its
        input has fractional bits, a code enters as its value if it is in GeV, and as the integer it is if not, as in
        the emulators of the CMS Global Trigger.  Without columns, it starts at the raw numbers of its input's type.

    Raises
    ------
    ValueError, UnsupportedError
        If anything is missing, damaged, or computes what the network cannot; the text names file and line.
    """
    project = read(folder)
    emulator = read_emulator(project)
    given = emulator.interface.given if emulator else project.input.type
    name = project.input.name
    if emulator and emulator.scaling:
        name = UNSCALED
    return _behind(project, emulator, _inputs(name, given, project.input.size, columns))


def import_behind(project: Project, start: tuple[Operation, ...]) -> Imported:
    """Read a project behind the operations of another network, the last of which makes what the project takes.

    Raises
    ------
    ValueError, UnsupportedError
        As `import_project`.
    """
    emulator = read_emulator(project)
    name = UNSCALED if emulator and emulator.scaling else project.input.name
    return _behind(project, emulator, (*start[:-1], replace(start[-1], name=name)))


def _behind(project: Project, emulator: Emulator | None, start: tuple[Operation, ...]) -> Imported:
    program = read_program(project, (*start, *(emulator.scaling if emulator else ())))
    if emulator:
        for operation in emulator.scoring(program.results[project.output.name], program.free("score")):
            program.add(operation)
    last = list(program.operations.values())[-1]
    if program.flows[last.name].size != 1:
        raise ValueError(
            f"{project.output.place}: the result must be one score, not {program.flows[last.name].size} numbers; "
            "import the folder with the emulator that makes a score of them"
        )
    network = Network(tuple(program.operations.values()))
    return Imported(network, tuple(program.notes))


def read_program(project: Project, start: tuple[Operation, ...] = ()) -> Program:
    """Layers of a project, behind the operations `start` if its input is not all; raises as `import_project` does."""
    if not start:
        start = _inputs(project.input.name, project.input.type, project.input.size, None)
    program = Program(project, start)
    program.read()
    return program


def _inputs(name: str, given: FixedPoint, size: int, columns: tuple[InputColumn, ...] | None) -> tuple[Operation, ...]:
    """Operations up to the one called `name`, of the type `given`."""
    if columns is None:
        low, high = (np.full(size, end) for end in (given.min_raw, given.max_raw))
        return (Input(name, tuple(f"x{i}" for i in range(size)), low, high, given),)
    if len(columns) != size:
        raise ValueError(
            f"columns must be {size}, as many as the inputs of the project, not {len(columns)}; choose other columns"
        )
    ends = np.array([[column.low for column in columns], [column.high for column in columns]], np.int64)
    codes = FixedPoint.holding(int(ends.min()), int(ends.max()), 0)
    start = "trigger" if name != "trigger" else "codes"
    trigger = Input(start, tuple(column.name for column in columns), ends[0], ends[1], codes)
    values = [column.lsb if given.frac > 0 and column.unit == "GeV" else 1.0 for column in columns]
    unit = FixedPoint(32, max(given.frac, 0))
    scale, zero = from_float(values, unit), np.zeros(size, np.int64)
    if (scale * unit.lsb != np.array(values)).any():
        raise ValueError(f"columns must have units that {given} holds, not {sorted({c.lsb for c in columns})}")
    factor = FixedPoint.holding(0, int(scale.max()), unit.frac)
    return trigger, Affine(name, start, scale, factor, zero, FixedPoint(1, 0), given)
