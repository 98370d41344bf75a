"""The comparisons of a study: QKeras, reference, native emulator and C simulation."""

from __future__ import annotations

from pathlib import Path

from l1ad.audit.against import against_project, simulation
from l1ad.compare import Agreement, agree, corners, merge, raw_of, require_float32
from l1ad.emulate import emulator, native_emulator, reference
from l1ad.files import cache_folder
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.study.artefacts import Run
from l1ad.study.samples import inputs_of


def compare_emulators(run: Run, model: Path, network: Network) -> tuple[Agreement, ...]:
    """Every event of every sample, training included, after the corners: two comparisons with the reference.

    QKeras, operation by operation; and the scores of the native emulator, in the instruction set that it chooses, where
    there is a compiler.
    """
    from l1ad.convert.from_qkeras import keras_tracer
    from l1ad.models.keras import load_model

    require_float32(network)
    traced = keras_tracer(load_model(model), network)
    native, fast, score = native_emulator(network), emulator(network), network.score.name
    selection = run.study.config.events.selection
    every = {"corners": iter([corners(network)])}
    every |= {
        name: inputs_of(network, path, selection, f"QKeras against reference, {name}")
        for name, path in {"train": run.train_path, **run.samples}.items()
    }
    of_keras, of_native = [], []
    for sample, chunks in every.items():
        start = 0
        for x in chunks:
            keras, expected = raw_of(network, traced(x)), reference.trace(network, x)
            of_keras.append(agree(network, "QKeras", keras, "reference", expected, sample=sample, start=start))
            if native is not None:
                scores = {score: native.scores(x)[:, None]}
                of_native.append(agree(network, "reference", expected, fast, scores, sample=sample, start=start))
            start += len(x)
    return tuple(merge(parts) for parts in (of_keras, of_native) if parts)


def compare_csim(network: Network, project: Path, x: Raw) -> Agreement:
    """Scores of the reference against C simulation of the firmware project, compiled as it is."""
    return against_project(network, simulation(project, cache_folder()), x).agreement
