"""The way of a study: events → model → network → firmware and scores → agreement, rates, report.

Each step reads files and writes files; a step whose sources are unchanged is skipped.  TensorFlow and hls4ml are
imported by the steps that need them, so that rates can be studied where they are not installed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from l1ad import documents
from l1ad.compare import Agreement, accumulator_bits, agree, corners, raw_of, require_float32
from l1ad.emulate import reference
from l1ad.events.menu import decide, load_menu
from l1ad.events.schema import InputColumn, input_columns, presence_index
from l1ad.events.store import EventFile, Events, assert_disjoint, event_hash, inputs, split
from l1ad.files import digest, file_digest, replacing
from l1ad.fixed import Raw
from l1ad.hardware.resources import Resources, estimate, find_vitis, synthesise
from l1ad.network import Network
from l1ad.study.config import BASELINES, RATE_SAMPLE, Study
from l1ad.study.progress import console, task
from l1ad.study.stages import path_digest, run_stage
from l1ad.trigger import (
    Comparison,
    Efficiency,
    Threshold,
    Thresholds,
    auc,
    compare_detectors,
    efficiency,
    multiplicity,
    save_thresholds,
    sum_pt,
    working_point,
)

# hls4ml's writer imports Keras 3, and with it TensorFlow, which must know of Keras 2 before (see `models.keras`)
os.environ["TF_USE_LEGACY_KERAS"] = "1"

CHUNK = 16_384


@dataclass(frozen=True)
class Training:
    """``training.json``: what was trained, on what, and how it went."""

    n_train: int
    n_validation: int
    n_saturated: int
    n_empty: int
    seconds: float
    offset: tuple[int, ...]
    shift: tuple[int, ...]
    losses: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Agreements:
    """``agreement.json``: who was compared with whom, and the bound that makes QKeras itself exact."""

    network_digest: str
    agreements: tuple[Agreement, ...]
    accumulator_bits: dict[str, int]


@dataclass(frozen=True)
class ResourceTable:
    """``resources.json``."""

    network_digest: str
    rows: tuple[Resources, ...]
    note: str


@dataclass(frozen=True)
class TwinAuc:
    """AUC of the fixed-point model and of its float twin on one signal."""

    model: str
    signal: str
    fixed: float
    twin: float


@dataclass(frozen=True)
class SignalEfficiency:
    """Efficiency of one model's working point on one signal."""

    model: str
    target_hz: float
    signal: str
    efficiency: Efficiency


@dataclass(frozen=True)
class PerformanceTable:
    """``performance.json``: working points on signals, models against baselines, and fixed point against float."""

    efficiencies: tuple[SignalEfficiency, ...]
    comparison: Comparison
    twins: tuple[TwinAuc, ...]


@dataclass(frozen=True)
class ModelPaths:
    """Artefacts of one model."""

    folder: Path
    project: Path

    @property
    def model(self) -> Path:
        """Trained QKeras model."""
        return self.folder / "model.h5"

    @property
    def twin(self) -> Path:
        """Its float twin."""
        return self.folder / "twin.h5"

    @property
    def training(self) -> Path:
        """`Training`."""
        return self.folder / "training.json"

    @property
    def network(self) -> Path:
        """`Network`."""
        return self.folder / "network.json"

    @property
    def sources(self) -> tuple[Path, ...]:
        """What the firmware project is made of, weights and test-bench vectors included."""
        return tuple(self.project / name for name in ("manifest.json", "firmware", "tb_data", "l1ad_bridge.cpp"))

    @property
    def scores(self) -> Path:
        """Raw scores, and the twin's, by sample."""
        return self.folder / "scores.h5"

    @property
    def agreement(self) -> Path:
        """`Agreements`."""
        return self.folder / "agreement.json"

    @property
    def resources(self) -> Path:
        """`ResourceTable`."""
        return self.folder / "resources.json"

    @property
    def thresholds(self) -> Path:
        """`Thresholds`."""
        return self.folder / "thresholds.json"


@dataclass(frozen=True)
class Run:
    """A study on its way."""

    study: Study

    def paths(self, model: str) -> ModelPaths:
        """Where the artefacts of `model` are."""
        return ModelPaths(self.study.runs / model, self.study.firmware / model)

    @property
    def performance(self) -> Path:
        """`PerformanceTable`."""
        return self.study.runs / "performance.json"

    @property
    def samples(self) -> dict[str, Path]:
        """Event files that models are judged on: the rate sample, then the signals."""
        events = self.study.config.events
        named = {RATE_SAMPLE: events.rate} | events.signals
        return {name: self.study.events_path(path) for name, path in named.items()}

    @property
    def train_path(self) -> Path:
        """Event file that models are trained on."""
        return self.study.events_path(self.study.config.events.train)

    def sample_digests(self) -> dict[str, str]:
        """Digests of all event files."""
        return {name: _events_digest(path) for name, path in {"train": self.train_path, **self.samples}.items()}


def _events_digest(path: Path) -> str:
    with EventFile(path):  # says clearly what is wrong with a file that cannot be read
        return file_digest(path)


def start(study: Study) -> Run:
    """Make the study's folder and put the copy of its file there."""
    with replacing(study.runs / "study.toml") as aside:
        shutil.copyfile(study.path, aside)
    return Run(study)


def train(run: Run) -> None:
    """Train every model of the study: ``model.h5``, ``twin.h5``, ``training.json``."""
    config = run.study.config
    for name, model in config.models.items():
        paths = run.paths(name)
        made_from = {
            "model": asdict(model),
            "seed": config.seed,
            "selection": config.events.selection,
            "validation_fraction": config.events.validation_fraction,
            "events": {k: v for k, v in run.sample_digests().items() if k in ("train", RATE_SAMPLE)},
        }
        outputs = (paths.model, paths.twin, paths.training)
        run_stage(paths.folder, "train", made_from, outputs, lambda name=name: _train(run, name))  # type: ignore[misc]


def _train(run: Run, name: str) -> None:
    from l1ad.models.keras import save_model
    from l1ad.models.training import train as train_model

    config, paths = run.study.config, run.paths(name)
    columns, presence, sample = training_events(run)
    began = time.monotonic()
    model = config.models[name]
    with task("train", model.float_epochs + model.quantised_epochs) as progress:
        trained = train_model(
            model,
            columns,
            presence,
            sample.train,
            sample.validation,
            config.seed,
            lambda label, epoch, epochs, loss: progress.advance(1, f"{label} {epoch}/{epochs} loss {loss:.4f}"),
        )
    save_model(trained.quantised, paths.model)
    save_model(trained.twin, paths.twin)
    record = Training(
        n_train=len(sample.train),
        n_validation=len(sample.validation),
        n_saturated=sample.n_saturated,
        n_empty=sample.n_empty,
        seconds=time.monotonic() - began,
        offset=tuple(trained.scaling.offset.tolist()),
        shift=tuple(trained.scaling.shift.tolist()),
        losses={key: tuple(values) for key, values in trained.losses.items()},
    )
    documents.save(paths.training, record)


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


def convert(run: Run) -> None:
    """Convert every trained model: ``network.json``."""
    for name in run.study.config.models:
        paths = run.paths(name)

        def action(paths: ModelPaths = paths) -> None:
            from l1ad.convert.from_qkeras import convert as convert_model
            from l1ad.models.keras import load_model

            convert_model(load_model(paths.model)).save(paths.network)

        run_stage(paths.folder, "convert", {"model": file_digest(paths.model)}, (paths.network,), action)


def build(run: Run) -> None:
    """Write the firmware project of every network."""
    config = run.study.config
    for name in config.models:
        paths = run.paths(name)
        network = Network.load(paths.network)

        def action(paths: ModelPaths = paths, network: Network = network) -> None:
            from l1ad.hardware.hls import write_project

            write_project(network, paths.project, config.firmware, csim_inputs(run, network)[:1000])

        made_from = {"network": network.digest, "target": asdict(config.firmware), "events": run.sample_digests()}
        run_stage(paths.folder, "build", made_from, paths.sources, action)


def csim_inputs(run: Run, network: Network) -> Raw:
    """Inputs for C simulation: the corners, then the first events of the rate sample."""
    config = run.study.config
    with EventFile(run.samples[RATE_SAMPLE]) as file:
        events = file.read(0, min(config.csim_events, len(file)))
    return np.concatenate([corners(network), network_inputs(network, events, config.events.selection)])


def random_inputs(network: Network, n_events: int = 10_000) -> Raw:
    """Corners, then uniform random inputs over the admissible ranges, with a fixed seed."""
    chance = np.random.default_rng(0)
    drawn = chance.integers(network.input.low, network.input.high + 1, (n_events, len(network.input.low)))
    return np.concatenate([corners(network), drawn])


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


def emulate(run: Run) -> None:
    """Score the rate sample and the signals with every network and twin: ``scores.h5``."""
    config = run.study.config
    for name in config.models:
        paths = run.paths(name)
        network = Network.load(paths.network)
        made_from = {
            "network": network.digest,
            "twin": file_digest(paths.twin),
            "events": run.sample_digests(),
            "selection": config.events.selection,
        }

        def action(paths: ModelPaths = paths, network: Network = network) -> None:
            from l1ad.models.keras import load_model
            from l1ad.models.training import scores

            twin = load_model(paths.twin)
            with replacing(paths.scores) as aside, h5py.File(aside, "w") as out:
                out.attrs["network_digest"] = network.digest
                for sample, path in run.samples.items():
                    raw, floating = [], []
                    for x in _inputs_of(network, path, config.events.selection, f"emulate {sample}"):
                        raw.append(reference.emulate(network, x))
                        floating.append(scores(twin, x))
                    group = out.create_group(sample)
                    group["raw"] = np.concatenate(raw)
                    group["twin"] = np.concatenate(floating)

        run_stage(paths.folder, "emulate", made_from, (paths.scores,), action)


def _inputs_of(network: Network, path: Path, selection: str, label: str) -> Iterator[Raw]:
    """Inputs of a file, chunk by chunk, with progress."""
    with EventFile(path) as file, task(label, len(file)) as progress:
        if not len(file):
            raise ValueError(f"{path}: must hold at least one event")
        for events in file.chunks(CHUNK):
            yield network_inputs(network, events, selection)
            progress.advance(len(events))


def emulate_file(network: Network, events: Path, out: Path) -> int:
    """Write the raw scores of an event file to `out` (HDF5, dataset ``raw``); return their number.

    The selection is the one of the file's schema whose columns the network reads.
    """
    with EventFile(events) as file:
        for selection in file.schema.selections:
            if tuple(c.name for c in input_columns(file.schema, selection.name)) == network.input.columns:
                break
        else:
            known = [selection.name for selection in file.schema.selections]
            raise ValueError(f"{events}: none of the selections {known} has the columns that the network reads")
    chunks = _inputs_of(network, events, selection.name, "emulate")
    scores = np.concatenate([reference.emulate(network, x) for x in chunks])
    with replacing(out) as aside, h5py.File(aside, "w") as target:
        target.attrs["network_digest"] = network.digest
        target["raw"] = scores
    return len(scores)


def load_scores(path: Path, network: Network) -> dict[str, tuple[Raw, npt.NDArray[np.float64]]]:
    """Raw and twin scores by sample, of this network and no other."""
    with h5py.File(path, "r") as file:
        if file.attrs["network_digest"] != network.digest:
            raise ValueError(f"{path}: scores must be of network {network.digest[:12]}; run `l1ad emulate` again")
        return {name: (group["raw"][:], group["twin"][:]) for name, group in file.items()}


def compare(run: Run) -> None:
    """Compare QKeras, reference and C simulation: ``agreement.json``; a mismatch is an error."""
    config = run.study.config
    for name in config.models:
        paths = run.paths(name)
        network = Network.load(paths.network)
        made_from = {
            "network": network.digest,
            "model": file_digest(paths.model),
            "project": [path_digest(path) for path in paths.sources],
            "events": run.sample_digests(),
            "csim_events": config.csim_events,
        }

        def action(paths: ModelPaths = paths, network: Network = network) -> None:
            found = (
                _compare_keras(run, paths, network),
                compare_csim(network, paths.project, csim_inputs(run, network)),
            )
            documents.save(paths.agreement, Agreements(network.digest, found, accumulator_bits(network)))
            for agreement in found:
                console.print(f"  {agreement.require()}")

        run_stage(paths.folder, "compare", made_from, (paths.agreement,), action)


def _compare_keras(run: Run, paths: ModelPaths, network: Network) -> Agreement:
    """Every operation of every event of every sample, training included, after the corners."""
    from l1ad.convert.from_qkeras import keras_tracer
    from l1ad.models.keras import load_model

    require_float32(network)
    traced = keras_tracer(load_model(paths.model), network)
    selection = run.study.config.events.selection
    every = {"corners": iter([corners(network)])}
    every |= {
        name: _inputs_of(network, path, selection, f"QKeras against reference, {name}")
        for name, path in {"train": run.train_path, **run.samples}.items()
    }
    parts = []
    for chunks in every.values():
        for x in chunks:
            keras = raw_of(network, traced(x))
            parts.append(agree(network, "QKeras", keras, "reference", reference.trace(network, x)))
    return merge(parts)


def merge(parts: list[Agreement]) -> Agreement:
    """One agreement out of consecutive ones; event numbers count through."""
    first, before = None, 0
    for part in parts:
        if part.first is not None and first is None:
            first = type(part.first)(**(asdict(part.first) | {"event": before + part.first.event}))
        before += part.n_events
    one = parts[0]
    return Agreement(one.left, one.right, before, sum(p.n_mismatches for p in parts), one.operations, first)


def compare_csim(network: Network, project: Path, x: Raw) -> Agreement:
    """Scores of the reference against C simulation; if any differs, operation by operation."""
    from l1ad.hardware.hls import simulate, simulate_trace

    csim = []
    with task("C simulation", len(x)) as progress:
        for begin in range(0, len(x), 2000):
            csim.append(simulate(network, project, x[begin : begin + 2000]))
            progress.advance(len(csim[-1]))
    name = network.score.name
    left, right = reference.trace(network, x), {name: np.concatenate(csim)[:, None]}
    outcome = agree(network, "reference", {name: left[name]}, "C simulation", right)
    if not outcome.n_mismatches:
        return outcome
    wrong = np.flatnonzero((left[name] != right[name]).any(axis=1))[:1]
    traced = agree(
        network,
        "reference",
        {key: value[wrong] for key, value in left.items()},
        "C simulation",
        simulate_trace(network, project, x[wrong]),
    )
    if traced.first is None:
        return outcome
    first = type(traced.first)(**(asdict(traced.first) | {"event": int(wrong[0])}))
    return Agreement("reference", "C simulation", len(x), outcome.n_mismatches, traced.operations, first)


def rate(run: Run) -> None:
    """Find thresholds and efficiencies: ``thresholds.json`` of each model, and ``performance.json``."""
    config = run.study.config
    networks = {name: Network.load(run.paths(name).network) for name in config.models}
    made_from = {
        "networks": {name: network.digest for name, network in networks.items()},
        "scores": {name: file_digest(run.paths(name).scores) for name in networks},
        "rate": asdict(config.rate),
        "menu": _menu_digest(run),
        "events": run.sample_digests(),
        "seed": config.seed,
    }
    outputs = (run.performance, *(run.paths(name).thresholds for name in networks))
    run_stage(run.study.runs, "rate", made_from, outputs, lambda: _rate(run, networks))


@dataclass(frozen=True)
class RateSample:
    """What rates need of the rate sample besides scores."""

    weights: npt.NDArray[np.float64]
    taken: npt.NDArray[np.bool_]
    simulated: bool
    provenance: str


def rate_sample(run: Run) -> RateSample:
    """Weights, decisions of the conventional menu, and origin of the rate sample."""
    menu = load_menu(menu_path(run))
    weights, taken = [], []
    with EventFile(run.samples[RATE_SAMPLE]) as file:
        for events in file.chunks():
            weights.append(events.meta["weight"])
            taken.append(decide(events, menu) != 0)
        simulated = file.attrs.get("simulated")
        if not isinstance(simulated, bool):
            raise ValueError(f"{file.path}: attribute simulated must say true or false; write it with EventWriter")
        provenance = str(file.attrs.get("sample", file.path.name))
    return RateSample(np.concatenate(weights), np.concatenate(taken), simulated, provenance)


def menu_path(run: Run) -> str:
    """Name of the conventional menu, or path of its file."""
    menu = run.study.config.rate.menu
    return str(run.study.events_path(menu)) if menu.endswith(".toml") else menu


def _menu_digest(run: Run) -> str:
    """Digest of a menu of the study's own; ours belong to the code."""
    path = menu_path(run)
    load_menu(path)  # says clearly what is wrong with it
    return file_digest(path) if path.endswith(".toml") else ""


def _rate(run: Run, networks: dict[str, Network]) -> None:
    config = run.study.config
    sample = rate_sample(run)
    crossing_rate_hz = config.rate.collider.crossing_rate_hz
    scores = {name: load_scores(run.paths(name).scores, network) for name, network in networks.items()}
    efficiencies: list[SignalEfficiency] = []
    for name, network in networks.items():
        points = tuple(
            working_point(
                scores[name][RATE_SAMPLE][0],
                sample.weights,
                sample.taken,
                khz * 1e3,
                crossing_rate_hz,
                simulated=sample.simulated,
            )
            for khz in config.rate.targets_khz
        )
        save_thresholds(
            run.paths(name).thresholds,
            Thresholds(
                digest=network.digest,
                score_type=str(network.score.out),
                sample=config.events.rate,
                provenance=sample.provenance,
                simulated=sample.simulated,
                menu=config.rate.menu,
                collider=config.rate.collider,
                working_points=points,
            ),
        )
        efficiencies += [
            SignalEfficiency(
                name, point.target_hz, signal, efficiency(scores[name][signal][0], None, point.threshold.raw)
            )
            for point in points
            for signal in config.events.signals
            if isinstance(point.threshold, Threshold)
        ]
    baselines = {sample_name: _baselines(run, path) for sample_name, path in run.samples.items()}
    detectors = {
        sample_name: {name: scores[name][sample_name][0] for name in networks} | baselines[sample_name]
        for sample_name in run.samples
    }
    comparison = compare_detectors(
        detectors[RATE_SAMPLE],
        {signal: detectors[signal] for signal in config.events.signals},
        sample.weights,
        [khz * 1e3 for khz in config.rate.compared_khz],
        crossing_rate_hz,
        BASELINES,
        simulated=sample.simulated,
        seed=config.seed,
        n_bootstrap=config.rate.n_bootstrap,
    )
    twins = tuple(
        TwinAuc(
            name,
            signal,
            auc(scores[name][RATE_SAMPLE][0], sample.weights, scores[name][signal][0]),
            auc(scores[name][RATE_SAMPLE][1], sample.weights, scores[name][signal][1]),
        )
        for name in networks
        for signal in config.events.signals
    )
    documents.save(run.performance, PerformanceTable(tuple(efficiencies), comparison, twins))


def _baselines(run: Run, path: Path) -> dict[str, Raw]:
    """Scalar sum of pT and number of the objects that the models see, MET left out."""
    selection = run.study.config.events.selection
    with EventFile(path) as file:
        x = np.concatenate([inputs(events, selection) for events in file.chunks()])
        columns = input_columns(file.schema, selection)
    pt = [i for i, column in enumerate(columns) if column.name.endswith("_pt") and not column.name.startswith("met")]
    return {BASELINES[0]: sum_pt(x, pt), BASELINES[1]: multiplicity(x, pt)}


def resources(run: Run) -> None:
    """Estimate resources, and synthesise where Vitis HLS is on the PATH: ``resources.json``."""
    config = run.study.config
    vitis = find_vitis()
    for name in config.models:
        paths = run.paths(name)
        network = Network.load(paths.network)

        def action(paths: ModelPaths = paths, network: Network = network) -> None:
            rows = []
            note = "Vitis HLS is not on the PATH: no synthesis was run"
            if config.firmware.reuse_factor == 1:
                rows.append(estimate(network, config.firmware))
                note += ", and the numbers are estimates."
            else:
                note += ", and there is no estimate for a reuse factor above 1."
            if vitis:
                console.print(f"  {' '.join(vitis)} (log: {paths.project / 'vitis.log'})")
                rows.append(synthesise(paths.project, vitis))
                note = "Vitis HLS was found on the PATH and run."
            documents.save(paths.resources, ResourceTable(network.digest, tuple(rows), note))

        made_from: dict[str, Any] = {"network": network.digest, "target": asdict(config.firmware), "vitis": vitis}
        run_stage(paths.folder, "resources", made_from, (paths.resources,), action)


def report(run: Run) -> None:
    """Write ``report.html``."""
    from l1ad.study.report import write_report

    page = run.study.runs / "report.html"
    names = list(run.study.config.models)
    sources = [run.performance, *(p for n in names for p in _report_sources(run.paths(n)))]
    made_from = {
        "sources": {str(path): file_digest(path) for path in sources},
        "study": digest(asdict(run.study.config)),
        "menu": _menu_digest(run),
        "events": run.sample_digests(),
    }
    run_stage(run.study.runs, "report", made_from, (page,), lambda: write_report(run, page))


def _report_sources(paths: ModelPaths) -> tuple[Path, ...]:
    return (paths.training, paths.network, paths.scores, paths.agreement, paths.resources, paths.thresholds)
