"""The ten lines that a run ends with."""

from __future__ import annotations

from l1ad import documents
from l1ad.network import Network
from l1ad.study.artefacts import PerformanceTable, ResourceTable, Run, comparisons
from l1ad.trigger import Refused, load_thresholds

TWIN_TOLERANCE = 0.01
"""Largest difference of AUC between a fixed-point model and its float twin that is called equal."""


def summary(run: Run) -> list[str]:
    """Lines of text: where the report is, agreement, thresholds, performance and resources of every model."""
    config = run.study.config
    performance = documents.load(PerformanceTable, run.performance)
    lines = [f"report: {run.study.runs / 'report.html'}   firmware: {run.study.firmware}/"]
    for name in config.models:
        paths = run.paths(name)
        network = Network.load(paths.network)
        lines.append(
            f"{name}: "
            + ", ".join(
                f"{a.left} = {a.right} with {a.n_mismatches} mismatches in {a.n_events} events"
                for a in comparisons(paths, network)
            )
        )
        points = load_thresholds(paths.thresholds, network.digest).working_points
        lines.append(
            f"{name}: score >= "
            + ", ".join(
                f"[{p.target_hz / 1e3:g} kHz {p.threshold}]"
                if isinstance(p.threshold, Refused)
                else f"{p.threshold.raw} for {p.threshold.rate.khz} kHz"
                for p in points
            )
            + " (simulated, before dead time)"
        )
        twins = [t for t in performance.twins if t.model == name]
        worst = max(abs(t.fixed - t.twin) for t in twins)
        verdict = "within" if worst <= TWIN_TOLERANCE else "NOT within"
        lines.append(
            f"{name}: AUC "
            + ", ".join(f"{t.signal} {t.fixed:.3f}" for t in twins)
            + f"; float twin {verdict} {TWIN_TOLERANCE} (largest difference {worst:.4f})"
        )
        for row in documents.load(ResourceTable, paths.resources).rows:
            counts = [
                f"{n} {what}" for n, what in ((row.lut, "LUT"), (row.ff, "FF"), (row.dsp, "DSP")) if n is not None
            ]
            said = [*counts, *([] if row.latency_ns is None else [f"{row.latency_ns:g} ns"])]
            lines.append(f"{name}: {', '.join(said)} on {row.part} ({row.stage})")
    return lines
