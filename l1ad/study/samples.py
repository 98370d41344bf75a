"""What the steps of a study read from its event files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from l1ad.compare import corners
from l1ad.events.menu import load_menu, takes
from l1ad.events.schema import InputColumn, input_columns, presence_index
from l1ad.events.store import EventFile, Events, assert_disjoint, event_hash, inputs, split
from l1ad.files import file_digest
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.progress import task
from l1ad.study.artefacts import Run
from l1ad.study.config import BASELINES, RATE_SAMPLE
from l1ad.trigger import multiplicity, sum_pt
from l1ad.trigger.counting.scan import selection_of as selection_read

CHUNK = 16_384
"""Events that are read and scored at a time."""


@dataclass(frozen=True)
class TrainingSample:
    """Inputs to train and to validate on, int64, shape (n_events, n_columns), and how many events were left out."""

    train: Raw
    validation: Raw
    n_saturated: int
    n_empty: int


def training_events(run: Run) -> tuple[tuple[InputColumn, ...], Raw, TrainingSample]:
    """Columns, `presence_index`, and the training sample.

    Events with a saturated sum are left out: that is a code, not an energy.  So are events without any object: their
    loss is 0, and their content does not tell one from another.

    Raises
    ------
    ValueError
        If what remains shares an event with the rate sample.
    """
    config = run.study.config.events
    with EventFile(run.train_path) as file, EventFile(run.samples[RATE_SAMPLE]) as rate:
        events = file.read()
        columns, presence = input_columns(file.schema, config.selection), presence_index(file.schema, config.selection)
        rate_hashes = np.concatenate([event_hash(chunk) for chunk in rate.chunks()])
    x, hashes = inputs(events, config.selection), event_hash(events)
    saturated, empty = _saturated(events), (x[:, presence] == 0).all(axis=1)
    kept = ~(saturated | empty)
    assert_disjoint(hashes[kept], rate_hashes, (str(run.train_path), str(run.samples[RATE_SAMPLE])))
    validates = split(hashes, config.validation_fraction)
    sample = TrainingSample(x[kept & ~validates], x[kept & validates], int(saturated.sum()), int(empty.sum()))
    return columns, presence, sample


def _saturated(events: Events) -> npt.NDArray[np.bool_]:
    saturated = np.zeros(len(events), np.bool_)
    for name, (collection, column) in events.schema.columns().items():
        if collection.slots == 1 and column.saturated is not None:
            saturated |= events.columns[name][:, 0] == column.saturated
    return saturated


def csim_inputs(run: Run, network: Network, n_events: int) -> Raw:
    """Inputs for C simulation: the corners, then the first `n_events` of the rate sample."""
    with EventFile(run.samples[RATE_SAMPLE]) as file:
        events = file.read(0, min(n_events, len(file)))
    return np.concatenate([corners(network), network_inputs(network, events, run.study.config.events.selection)])


def network_inputs(network: Network, events: Events, selection: str) -> Raw:
    """Inputs of `network`, shape (n_events, n_columns).

    Raises
    ------
    ValueError
        If the network wants other columns than the selection gives.
    """
    names = tuple(column.name for column in input_columns(events.schema, selection))
    if names != network.input.columns:
        odd = next((pair for pair in zip(names, network.input.columns, strict=False) if pair[0] != pair[1]), None)
        raise ValueError(
            f"network must read the columns of selection {selection!r} ({len(names)}), not its own "
            f"{len(network.input.columns)}; first difference {odd}; choose the selection it was trained on"
        )
    return inputs(events, selection)


def selection_of(network: Network, path: Path) -> str:
    """Selection of a file's schema whose columns the network reads; raises ValueError if there is none."""
    with EventFile(path) as file:
        return selection_read(network, file.schema, str(path))


def inputs_of(network: Network, path: Path, selection: str, label: str) -> Iterator[Raw]:
    """Inputs of a file, chunk by chunk, with progress."""
    with EventFile(path) as file, task(label, len(file)) as progress:
        if not len(file):
            raise ValueError(f"{path}: must hold at least one event")
        for events in file.chunks(CHUNK):
            yield network_inputs(network, events, selection)
            progress.advance(len(events))


@dataclass(frozen=True)
class RateSample:
    """What rates need of the rate sample besides scores."""

    weights: npt.NDArray[np.float64]
    groups: npt.NDArray[np.int64]
    taken: npt.NDArray[np.bool_]
    simulated: bool
    provenance: str


def rate_sample(run: Run) -> RateSample:
    """Weights, collisions shared, decisions of the conventional menu, and origin of the rate sample."""
    menu = load_menu(menu_path(run))
    weights, groups, taken = [], [], []
    with EventFile(run.samples[RATE_SAMPLE]) as file:
        for events in file.chunks():
            weights.append(events.meta["weight"])
            groups.append(events.meta["collision"].astype(np.int64))
            taken.append(takes(events, menu))
        simulated = file.attrs.get("simulated")
        if not isinstance(simulated, bool):
            raise ValueError(f"{file.path}: attribute simulated must say true or false; write it with EventWriter")
        provenance = str(file.attrs.get("sample", file.path.name))
    return RateSample(np.concatenate(weights), np.concatenate(groups), np.concatenate(taken), simulated, provenance)


def menu_path(run: Run) -> str:
    """Name of the conventional menu, or path of its file."""
    menu = run.study.config.rate.menu
    return str(run.study.events_path(menu)) if menu.endswith(".toml") else menu


def menu_digest(run: Run) -> str:
    """Digest of a menu of the study's own; ours belong to the code."""
    path = menu_path(run)
    load_menu(path)  # says clearly what is wrong with it
    return file_digest(path) if path.endswith(".toml") else ""


def baseline_scores(run: Run, path: Path) -> dict[str, Raw]:
    """Scalar sum of pT and number of the objects that the models see, MET left out."""
    selection = run.study.config.events.selection
    with EventFile(path) as file:
        x = np.concatenate([inputs(events, selection) for events in file.chunks()])
        columns = input_columns(file.schema, selection)
    pt = [i for i, column in enumerate(columns) if column.name.endswith("_pt") and not column.name.startswith("met")]
    return {BASELINES[0]: sum_pt(x, pt), BASELINES[1]: multiplicity(x, pt)}
