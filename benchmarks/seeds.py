"""Spread of the quickstart's figures over training seeds: what a difference between two trainings means.

    python benchmarks/seeds.py [--seeds 1 2 3]

Runs the study once per seed under ``runs/seeds-<seed>`` and prints, for each model and signal, the mean and the
largest minus the smallest of AUC and of the efficiencies at the compared rates.  The event samples are the same.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from l1ad import documents
from l1ad.cli import main
from l1ad.study.artefacts import PerformanceTable, Run
from l1ad.study.config import load_study
from l1ad.trigger import Refused

STUDY = Path(__file__).parents[1] / "configs" / "quickstart.toml"


def performance(seed: int) -> PerformanceTable:
    """Run the study with another seed, beside the quickstart, as far as its rates."""
    text = STUDY.read_text(encoding="utf-8").replace('"../sample/', f'"{STUDY.parents[1].as_posix()}/sample/')
    text = re.sub(r'^name = ".*"$', f'name = "seeds-{seed}"', text, flags=re.M)
    text = re.sub(r"^seed = .*$", f"seed = {seed}", text, flags=re.M)
    path = Path("runs") / f"seeds-{seed}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if main(["rate", str(path)]):
        raise SystemExit(f"seed {seed} failed")
    return documents.load(PerformanceTable, Run(load_study(path)).performance)


def report(tables: list[PerformanceTable]) -> None:
    """Print one line per detector, signal and figure."""
    for rows in zip(*(t.comparison.performances for t in tables), strict=True):
        first = rows[0]
        figure = "AUC" if first.target_hz is None else f"efficiency at {first.target_hz / 1e3:g} kHz"
        label = f"{first.detector:12s} {first.signal:8s} {figure:22s}"
        values = [row.result.value for row in rows if not isinstance(row.result, Refused)]
        if len(values) < len(rows):
            print(label, "refused")
        else:
            print(label, f"mean {np.mean(values):.4f}  spread {np.ptp(values):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    report([performance(seed) for seed in parser.parse_args().seeds])
