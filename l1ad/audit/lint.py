"""What is likely to go wrong with a network or a project, before anything is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from l1ad.convert.from_hls4ml.importer import import_project
from l1ad.events.schema import InputColumn
from l1ad.network import Network
from l1ad.operations import Affine, Convolution, Dense, Dot, Input, Mask, Operation, reads
from l1ad.prove.bounds import bounds
from l1ad.prove.casts import rounded
from l1ad.prove.ranges import Bound


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Parameters
    ----------
    severity : str
        ``"error"``: scores are wrong, or go with the wrong thing; ``"warning"``: they may be.
    where, what, remedy : str
    """

    severity: str
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}; {self.remedy}"


def lint_project(folder: Path, columns: tuple[InputColumn, ...] | None) -> list[Finding]:
    """Findings in an hls4ml project, and in the network that it holds; `columns` as `import_project` takes them."""
    imported = import_project(folder, columns)
    found = []
    for note in imported.notes:
        where, what = note.split(": ", 1)
        literals = "literals" in what
        remedy = "round them when the project is made" if literals else "see `l1ad compare --against` on this machine"
        found.append(Finding("warning", where, what, remedy))
    for path in sorted(folder.rglob("hls4ml_config.yml")):
        switch = re.search(r"^\s*BitExact:\s*(\w+)", path.read_text("utf-8"), re.M)
        ours = (path.parent / "manifest.json").is_file()  # every type is dictated
        if not ours and (switch is None or switch[1].lower() != "true"):
            what = "bit_exact is off: hls4ml chose types by itself, and its scores need not be those of the model"
            found.append(Finding("warning", path.name, what, "convert with bit_exact=True, or compare with the model"))
    return found + lint_network(imported.network)


def lint_network(network: Network) -> list[Finding]:
    """Findings in a network: unused inputs, inputs that do not fit, accumulators and scores that may wrap."""
    known = bounds(network)
    found = list(_unused(network))
    for operation in network.operations[1:]:
        if operation.out.overflow != "WRAP":
            continue
        bound = known[operation.name]
        beyond = _beyond(operation, bound)
        if not beyond.any():
            continue
        where = f"operation {operation.name!r}"
        low, high = (int(end) for end in (bound.before.low.min(), bound.before.high.max()))
        reach = (
            f"its exact result may lie between {low * 2.0**-bound.before.frac:g} and {high * 2.0**-bound.before.frac:g}"
        )
        if operation is network.score:
            what = f"the score wraps in {operation.out}, so that a large anomaly may score low: {reach}"
            found.append(Finding("error", where, what, "let it saturate, or widen it"))
        elif isinstance(network[reads(operation)[0]], Input) and isinstance(operation, Affine):
            names = [network.input.columns[i] for i in np.flatnonzero(beyond)]
            what = f"{operation.out} cannot hold the hardware range of {', '.join(names)}"
            found.append(Finding("error", where, what, "widen it, or let it saturate"))
        elif isinstance(operation, Dense | Convolution | Dot):
            what = f"accumulator {operation.out} may wrap in {int(beyond.sum())} of {len(beyond)} elements: {reach}"
            found.append(Finding("warning", where, what, "see `l1ad verify` for inputs that make it, or widen it"))
        else:
            what = f"{operation.out} may wrap in {int(beyond.sum())} of {len(beyond)} elements: {reach}"
            found.append(
                Finding("warning", where, what, "see `l1ad verify` for inputs that make it, or let it saturate")
            )
    return found


def _beyond(operation: Operation, bound: Bound) -> npt.NDArray[np.bool_]:
    """Elements whose result, rounded, may leave the type."""
    out = operation.out
    low, high = (rounded(end, bound.before.frac, out) for end in (bound.before.low, bound.before.high))
    return np.asarray((low < out.min_raw) | (high > out.max_raw), bool)


def _unused(network: Network) -> Iterator[Finding]:
    """Columns that may vary, and that the score does not depend on."""
    low, high = network.input.low, network.input.high
    used: npt.NDArray[np.bool_] = _dependence(network)[network.score.name][0]
    names = [name for name, u, a, b in zip(network.input.columns, used, low, high, strict=True) if a < b and not u]
    if names:
        what = f"{len(names)} inputs change no score, as all their weights are 0: {', '.join(names)}"
        yield Finding("warning", "inputs", what, "retrain without pruning them, or send something else")


def _dependence(network: Network) -> dict[str, npt.NDArray[np.bool_]]:
    """For each operation, which of its elements depends on which column, shape (size, n_columns)."""
    seen = {network.input.name: np.eye(len(network.input.columns), dtype=bool)}
    for operation in network.operations[1:]:
        sources = [seen[name] for name in reads(operation)]
        match operation:
            case Dense(weight=weight):
                depends = (weight.T != 0) @ sources[0]
            case Convolution(weight=weight):
                padded = np.vstack([sources[0], np.zeros_like(sources[0][:1])])
                matrix = weight.reshape(-1, weight.shape[-1]).T != 0
                depends = np.concatenate([matrix @ padded[window] for window in operation.windows()])
            case Affine(scale=scale):
                depends = sources[0] & (scale != 0)[:, None]
            case Dot():
                depends = np.logical_or.reduce(sources).any(axis=0, keepdims=True)
            case Mask(index=index):
                depends = sources[0] | sources[1][index]
            case _:
                depends = np.logical_or.reduce(sources)
        seen[operation.name] = depends
    return seen
