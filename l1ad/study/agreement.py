"""The comparisons of a study: QKeras, reference and C simulation."""

from __future__ import annotations

from pathlib import Path

from l1ad.audit.against import against_project, simulation
from l1ad.compare import Agreement, agree, corners, merge, raw_of, require_float32
from l1ad.emulate import reference
from l1ad.files import cache_folder
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.study.artefacts import Run
from l1ad.study.samples import inputs_of


def compare_keras(run: Run, model: Path, network: Network) -> Agreement:
    """Every operation of every event of every sample, training included, after the corners."""
    from l1ad.convert.from_qkeras import keras_tracer
    from l1ad.models.keras import load_model

    require_float32(network)
    traced = keras_tracer(load_model(model), network)
    selection = run.study.config.events.selection
    every = {"corners": iter([corners(network)])}
    every |= {
        name: inputs_of(network, path, selection, f"QKeras against reference, {name}")
        for name, path in {"train": run.train_path, **run.samples}.items()
    }
    parts = []
    for sample, chunks in every.items():
        start = 0
        for x in chunks:
            keras, expected = raw_of(network, traced(x)), reference.trace(network, x)
            parts.append(agree(network, "QKeras", keras, "reference", expected, sample=sample, start=start))
            start += len(x)
    return merge(parts)


def compare_csim(network: Network, project: Path, x: Raw) -> Agreement:
    """Scores of the reference against C simulation of the firmware project, compiled as it is."""
    return against_project(network, simulation(project, cache_folder()), x).agreement
