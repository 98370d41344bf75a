"""The way of a study: events → model → network → firmware and scores → agreement, rates, report.

Each step reads files and writes files; a step whose sources are unchanged is skipped.  TensorFlow and hls4ml are
imported by the steps that need them, so that rates can be studied where they are not installed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from l1ad import documents
from l1ad.compare import accumulator_bits
from l1ad.emulate import emulate as emulate_events
from l1ad.emulate import emulator
from l1ad.files import digest, file_digest, replacing
from l1ad.network import Network
from l1ad.progress import console, task
from l1ad.study.agreement import compare_csim, compare_emulators
from l1ad.study.artefacts import (
    Agreements,
    ModelPaths,
    PerformanceTable,
    Run,
    SignalEfficiency,
    Training,
    TwinAuc,
    load_scores,
)
from l1ad.study.config import BASELINES, RATE_SAMPLE
from l1ad.study.rate_study import study_rates
from l1ad.study.samples import (
    baseline_scores,
    csim_inputs,
    inputs_of,
    menu_digest,
    rate_sample,
    selection_of,
    training_events,
)
from l1ad.study.stages import path_digest, run_stage
from l1ad.trigger import (
    Threshold,
    Thresholds,
    auc,
    compare_detectors,
    efficiency,
    save_thresholds,
    working_point,
)

BENCH_EVENTS = 1000
"""Vectors of a project's test bench."""


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
            "events": {k: v for k, v in run.sample_digests.items() if k in ("train", RATE_SAMPLE)},
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
        sparsity=trained.sparsity,
    )
    documents.save(paths.training, record)


def convert(run: Run) -> None:
    """Convert every trained model: ``network.json``."""
    for name in run.study.config.models:
        paths = run.paths(name)

        def action(paths: ModelPaths = paths) -> None:
            from l1ad.convert.from_qkeras import convert as convert_model
            from l1ad.models.keras import load_model

            convert_model(load_model(paths.model)).save(paths.network)

        run_stage(paths.folder, "convert", {"model": file_digest(paths.model)}, (paths.network,), action)


def _networks(run: Run) -> Iterator[tuple[ModelPaths, Network]]:
    """Paths and converted network of every model."""
    for name in run.study.config.models:
        paths = run.paths(name)
        yield paths, Network.load(paths.network)


def build(run: Run) -> None:
    """Write the firmware project of every network."""
    config = run.study.config
    for paths, network in _networks(run):

        def action(paths: ModelPaths = paths, network: Network = network) -> None:
            from l1ad.hardware.hls import write_project

            write_project(
                network, paths.project, config.firmware, csim_inputs(run, network, BENCH_EVENTS)[:BENCH_EVENTS]
            )

        made_from = {"network": network.digest, "target": asdict(config.firmware), "events": run.sample_digests}
        run_stage(paths.folder, "build", made_from, paths.sources, action)


def emulate(run: Run) -> None:
    """Score the rate sample and the signals with every network and twin: ``scores.h5``."""
    config = run.study.config
    for paths, network in _networks(run):
        made_from = {
            "network": network.digest,
            "twin": file_digest(paths.twin),
            "events": run.sample_digests,
            "selection": config.events.selection,
        }

        def action(paths: ModelPaths = paths, network: Network = network) -> None:
            from l1ad.models.keras import load_model
            from l1ad.models.training import scores

            twin = load_model(paths.twin)
            with replacing(paths.scores) as aside, h5py.File(aside, "w") as out:
                out.attrs["network_digest"] = network.digest
                out.attrs["emulator"] = emulator(network)
                for sample, path in run.samples.items():
                    raw, floating = [], []
                    for x in inputs_of(network, path, config.events.selection, f"emulate {sample}"):
                        raw.append(emulate_events(network, x))
                        floating.append(scores(twin, x))
                    group = out.create_group(sample)
                    group["raw"] = np.concatenate(raw)
                    group["twin"] = np.concatenate(floating)

        run_stage(paths.folder, "emulate", made_from, (paths.scores,), action)


def emulate_file(network: Network, events: Path, out: Path) -> int:
    """Write the raw scores of an event file to `out` (HDF5, dataset ``raw``); return their number.

    The selection is the one of the file's schema whose columns the network reads.
    """
    selection = selection_of(network, events)
    chunks = inputs_of(network, events, selection, "emulate")
    scores = np.concatenate([emulate_events(network, x) for x in chunks])
    with replacing(out) as aside, h5py.File(aside, "w") as target:
        target.attrs["network_digest"] = network.digest
        target.attrs["emulator"] = emulator(network)
        target["raw"] = scores
    return len(scores)


def compare(run: Run) -> None:
    """Compare QKeras, reference, native emulator and C simulation: ``agreement.json``; a mismatch is an error."""
    config = run.study.config
    for paths, network in _networks(run):
        made_from = {
            "network": network.digest,
            "model": file_digest(paths.model),
            "project": [path_digest(path) for path in paths.sources],
            "events": run.sample_digests,
            "csim_events": config.csim_events,
        }

        def action(paths: ModelPaths = paths, network: Network = network) -> None:
            found = (
                *compare_emulators(run, paths.model, network),
                compare_csim(network, paths.project, csim_inputs(run, network, config.csim_events)),
            )
            documents.save(paths.agreement, Agreements(network.digest, found, accumulator_bits(network)))
            for agreement in found:
                console.print(f"  {agreement.require()}")

        run_stage(paths.folder, "compare", made_from, (paths.agreement,), action)


def rate(run: Run) -> None:
    """Find thresholds and efficiencies: ``thresholds.json`` of each model, and ``performance.json``."""
    config = run.study.config
    networks = {name: Network.load(run.paths(name).network) for name in config.models}
    made_from = {
        "networks": {name: network.digest for name, network in networks.items()},
        "scores": {name: file_digest(run.paths(name).scores) for name in networks},
        "rate": asdict(config.rate),
        "menu": menu_digest(run),
        "events": run.sample_digests,
        "seed": config.seed,
    }
    outputs = (run.performance, *(run.paths(name).thresholds for name in networks))
    run_stage(run.study.runs, "rate", made_from, outputs, lambda: _rate(run, networks))
    study_rates(run)


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
                groups=sample.groups,
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
    baselines = {sample_name: baseline_scores(run, path) for sample_name, path in run.samples.items()}
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
        groups=sample.groups,
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


def report(run: Run) -> None:
    """Write ``report.html``."""
    from l1ad.study.report import write_report

    page = run.study.runs / "report.html"
    names = list(run.study.config.models)
    sources = [run.performance, *(p for n in names for p in _report_sources(run.paths(n)))]
    made_from = {
        "sources": {str(path): file_digest(path) for path in sources},
        "study": digest(asdict(run.study.config)),
        "menu": menu_digest(run),
        "events": run.sample_digests,
    }
    run_stage(run.study.runs, "report", made_from, (page,), lambda: write_report(run, page))


def _report_sources(paths: ModelPaths) -> tuple[Path, ...]:
    made = (
        paths.training,
        paths.network,
        paths.scores,
        paths.agreement,
        paths.resources,
        paths.thresholds,
        paths.rates,
    )
    return (*made, paths.simulated) if paths.simulated.is_file() else made
