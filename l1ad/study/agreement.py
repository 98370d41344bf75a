"""The comparisons of a network's executors: QKeras, reference, native emulator, C simulation and hardware."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from l1ad.audit.against import against_project, simulation
from l1ad.compare import Agreement, agree, corners, merge, raw_of, require_float32
from l1ad.emulate import emulator, native_emulator, reference
from l1ad.errors import MismatchError
from l1ad.files import cache_folder
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.study.artefacts import Run
from l1ad.study.samples import inputs_of
from l1ad.trigger.rates import accept as accepted


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


def compare_hardware(
    network: Network, who: str, expected: Raw, threshold: int, score: Raw, accept: npt.NDArray[np.bool_]
) -> Agreement:
    """Scores and decisions of hardware against the reference.

    Parameters
    ----------
    network : Network
    who : str
        What gave `score` and `accept`.
    expected, score : int64 array, shape (n_events,)
        Raw, of the reference and of the hardware.
    threshold : int
        Raw.
    accept : bool array, shape (n_events,)

    Raises
    ------
    MismatchError
        If any differs; the text names the first event.
    """
    name = network.score.name
    agreement = agree(network, "reference", {name: expected[:, None]}, who, {name: score[:, None]}).require()
    wrong = accepted(expected, threshold) != accept
    if wrong.any():
        event = int(np.argmax(wrong))
        raise MismatchError(f"{who}: accept must be score >= {threshold}, not {accept[event]}: event {event}")
    return agreement
