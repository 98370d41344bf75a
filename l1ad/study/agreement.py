"""The comparisons of a study: QKeras, reference and C simulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from l1ad.compare import Agreement, agree, corners, raw_of, require_float32
from l1ad.emulate import reference
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.progress import task
from l1ad.study.artefacts import Run
from l1ad.study.samples import inputs_of

STEP = 2000
"""Events that are simulated between two signs of progress."""


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


def merge(parts: list[Agreement]) -> Agreement:
    """One agreement out of several between the same executors."""
    one = parts[0]
    first = next((part.first for part in parts if part.first), None)
    n_events, n_mismatches = sum(p.n_events for p in parts), sum(p.n_mismatches for p in parts)
    return Agreement(one.left, one.right, n_events, n_mismatches, one.operations, first)


def compare_csim(network: Network, project: Path, x: Raw) -> Agreement:
    """Scores of the reference against C simulation; if any differs, operation by operation in the first such event."""
    from l1ad.hardware.hls import simulate, simulate_trace

    name = network.score.name
    parts: list[Agreement] = []
    with task("C simulation", len(x)) as progress:
        for start in range(0, len(x), STEP):
            chunk = x[start : start + STEP]
            expected = reference.trace(network, chunk)
            found = {name: simulate(network, project, chunk)[:, None]}
            part = agree(network, "reference", {name: expected[name]}, "C simulation", found, start=start)
            if part.first and all(earlier.first is None for earlier in parts):
                event = part.first.event - start
                single = {key: value[event : event + 1] for key, value in expected.items()}
                traced = simulate_trace(network, project, chunk[event : event + 1])
                part = replace(
                    part, first=agree(network, "", single, "", traced, start=part.first.event).first or part.first
                )
            parts.append(part)
            progress.advance(len(chunk))
    return merge(parts)
