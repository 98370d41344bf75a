"""What is likely to go wrong with a study: artefacts that belong to other networks, scores that saturate too low."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from l1ad import documents
from l1ad.audit.lint import Finding, lint_network
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.study.artefacts import Agreements, ModelPaths, ResourceTable
from l1ad.study.config import load_study
from l1ad.trigger.rates import Threshold
from l1ad.trigger.thresholds import Thresholds


def lint_study(path: Path) -> list[Finding]:
    """Findings in what a study has left behind so far.

    Raises
    ------
    ValueError
        If the study, or a file of it, cannot be read.
    """
    study = load_study(path)
    found = []
    for name in study.config.models:
        paths = ModelPaths(study.runs / name, study.firmware / name)
        if not paths.network.is_file():
            what = "has no network yet"
            found.append(Finding("warning", f"model {name!r}", what, f"run `l1ad convert {path}`"))
            continue
        network = Network.load(paths.network)
        found += [
            Finding(each.severity, f"model {name!r}, {each.where}", each.what, each.remedy)
            for each in (*lint_network(network), *_artefacts(paths, network))
        ]
    return found


def _artefacts(paths: ModelPaths, network: Network) -> Iterator[Finding]:
    """Artefacts of another network, and working points that the score cannot tell."""
    digests: dict[Path, str] = {}
    manifest = paths.project / "manifest.json"
    if manifest.is_file():
        digests[manifest] = _digest(manifest, json.loads(manifest.read_text(encoding="utf-8")))
    if paths.scores.is_file():
        with h5py.File(paths.scores) as file:
            digests[paths.scores] = _digest(paths.scores, dict(file.attrs))
    if paths.agreement.is_file():
        digests[paths.agreement] = documents.load(Agreements, paths.agreement).network_digest
    if paths.resources.is_file():
        digests[paths.resources] = documents.load(ResourceTable, paths.resources).network_digest
    if paths.thresholds.is_file():
        thresholds = documents.load(Thresholds, paths.thresholds)
        digests[paths.thresholds] = thresholds.digest
        kind = FixedPoint.parse(thresholds.score_type)
        for point in thresholds.working_points:
            if isinstance(point.threshold, Threshold) and point.threshold.raw >= kind.max_raw:
                what = f"threshold {point.threshold.raw} is where the score saturates, in {kind}"
                yield Finding("error", paths.thresholds.name, what, "widen the score, or choose a higher rate")
    for path, digest in digests.items():
        if digest != network.digest:
            what = f"belongs to network {digest[:12]}, and the model is {network.digest[:12]} now"
            yield Finding("error", path.name, what, "run the study again")


def _digest(path: Path, found: dict[str, Any]) -> str:
    if not isinstance(found.get("network_digest"), str):
        raise ValueError(f"{path}: must say its network_digest; run the study again")
    return str(found["network_digest"])
