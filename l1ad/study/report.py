"""``report.html``: one self-contained page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from scipy.stats import spearmanr

from l1ad import __version__, documents
from l1ad.compare import Agreement
from l1ad.events.store import EventFile
from l1ad.files import write_text
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.study import plots
from l1ad.study.artefacts import (
    Agreements,
    PerformanceTable,
    ResourceTable,
    Run,
    Simulated,
    Training,
    comparisons,
    load_scores,
    scored_by,
    simulated_of,
)
from l1ad.study.background import Background
from l1ad.study.config import BASELINES, RATE_SAMPLE
from l1ad.study.hardware import Verdict, verdict
from l1ad.study.rate_section import RateSection, rate_section
from l1ad.study.samples import baseline_scores
from l1ad.study.stages import PACKAGES
from l1ad.study.summary import summary
from l1ad.trigger import Refused, Thresholds, load_thresholds, roc


@dataclass(frozen=True)
class ModelSection:
    """What the page shows of one model."""

    name: str
    config: dict[str, Any]
    digest: str
    operations: list[tuple[str, str, int, str, str]]
    training: Training
    agreements: Agreements
    compared: tuple[Agreement, ...]
    simulated: Simulated | None
    resources: ResourceTable
    verdicts: list[Verdict]
    thresholds: Thresholds
    rank_correlation: float
    emulator: str
    n_scores: int
    n_equal: int
    pictures: dict[str, str]
    rates: RateSection


def write_report(run: Run, page: Path) -> None:
    """Write the page from the artefacts of a finished run."""
    config = run.study.config
    performance = documents.load(PerformanceTable, run.performance)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("l1ad.study"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    signals = list(config.events.signals)
    background = Background.of(run)
    compared = [None, *(khz * 1e3 for khz in config.rate.compared_khz)]
    text = environment.get_template("report.html").render(
        study=config,
        summary=summary(run),
        stage=performance.comparison.stage,
        models=[_section(run, name, performance, background) for name in config.models],
        signals=signals,
        compared=compared,
        detectors=list(dict.fromkeys(p.detector for p in performance.comparison.performances)),
        performances={(p.signal, p.detector, p.target_hz): p.result for p in performance.comparison.performances},
        differences=performance.comparison.differences,
        twins=performance.twins,
        menu=background.menu,
        samples=_samples(run),
        collider=config.rate.collider,
        bars=_bars(performance, compared),
        versions={"l1ad": __version__, **{name: version(name) for name in PACKAGES}},
    )
    write_text(page, text)


def _section(run: Run, name: str, performance: PerformanceTable, background: Background) -> ModelSection:
    sample = background.sample
    paths = run.paths(name)
    network = Network.load(paths.network)
    thresholds = load_thresholds(paths.thresholds, network.digest)
    training = documents.load(Training, paths.training)
    scores = load_scores(paths.scores, network)
    signals = list(run.study.config.events.signals)
    zero_bias, twin = scores[RATE_SAMPLE]
    crossing_rate_hz, simulated = thresholds.collider.crossing_rate_hz, sample.simulated
    curves = {
        s: roc(zero_bias, sample.weights, scores[s][0], crossing_rate_hz, simulated=simulated, groups=sample.groups)
        for s in signals
    }
    table = documents.load(ResourceTable, paths.resources)
    mine = [e for e in performance.efficiencies if e.model == name]
    lsb = network.score.out.lsb
    raw = np.concatenate([both[0] for both in scores.values()])
    floating = np.concatenate([both[1] for both in scores.values()])
    pictures = {
        "losses": plots.losses(training.losses),
        "scores": plots.score_histogram(zero_bias, sample.weights, {s: scores[s][0] for s in signals}, lsb, thresholds),
        "roc": plots.roc(curves, thresholds, {s: [e.efficiency.value for e in mine if e.signal == s] for s in signals}),
        "twin": plots.fixed_against_float(raw * lsb, floating, name),
    }
    return ModelSection(
        name=name,
        config=asdict(run.study.config.models[name]),
        digest=network.digest,
        operations=[
            (o.name, type(o).__name__, network.flows[o.name].size, str(network.flows[o.name].accumulator), str(o.out))
            for o in network.operations
        ],
        training=training,
        agreements=documents.load(Agreements, paths.agreement),
        compared=comparisons(paths, network),
        simulated=simulated_of(paths, network),
        resources=table,
        verdicts=[verdict(row, run.study.config.rtl, run.study.config.firmware.part) for row in table.rows],
        thresholds=thresholds,
        emulator=scored_by(paths.scores),
        n_scores=len(raw),
        n_equal=int((np.floor(floating / lsb) == raw).sum()),
        rank_correlation=float(spearmanr(zero_bias, twin).statistic),
        pictures=pictures,
        rates=rate_section(
            run, name, paths, network, {s: both[0] for s, both in scores.items()}, _another(run, name), background
        ),
    )


def _another(run: Run, name: str) -> tuple[str, Raw]:
    """A detector to set a model beside: the next model of the study, or the sum of pT."""
    others = [other for other in run.study.config.models if other != name]
    if others:
        paths = run.paths(others[0])
        return others[0], load_scores(paths.scores, Network.load(paths.network))[RATE_SAMPLE][0]
    return BASELINES[0], baseline_scores(run, run.samples[RATE_SAMPLE])[BASELINES[0]]


def _bars(performance: PerformanceTable, compared: list[float | None]) -> dict[float, str]:
    pictures = {}
    for target in compared:
        rows: dict[str, dict[str, tuple[float, float]]] = {}
        for p in performance.comparison.performances:
            if p.target_hz == target and not isinstance(p.result, Refused):
                rows.setdefault(p.detector, {})[p.signal] = (p.result.value, p.result.error)
        if target is not None and rows:
            label = f"efficiency at {target / 1e3:g} kHz"
            pictures[target] = plots.efficiency_bars(rows, label, performance.comparison.stage)
    return pictures


def _samples(run: Run) -> list[dict[str, Any]]:
    rows = []
    digests = run.sample_digests
    for name, path in {"train": run.train_path, **run.samples}.items():
        with EventFile(path) as file:
            simulated = "simulated" if file.attrs.get("simulated") else "data"
            rows.append(
                {
                    "name": name,
                    "file": path.name,
                    "events": len(file),
                    "origin": simulated,
                    "digest": digests[name][:12],
                }
            )
    return rows
