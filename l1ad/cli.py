"""``l1ad VERB ...``: one verb per step of a study, and `run` for all of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from l1ad import __version__
from l1ad.errors import MismatchError, ToolNotFoundError, UnsupportedError

if TYPE_CHECKING:
    from l1ad.study.artefacts import Run

STEPS = ("train", "convert", "build", "emulate", "compare", "rate", "report")
"""Steps of a study in their order; a verb on a study takes the steps before it too, and skips what is up to date."""

_HELP = {
    "run": "all of a study, resuming where it stopped",
    "train": "train the models of a STUDY",
    "convert": "trained models to integer networks: a STUDY, or MODEL.h5 with --out",
    "build": "firmware projects: a STUDY, or NETWORK.json with --out",
    "emulate": "scores of events: a STUDY, or NETWORK.json with --events and --out",
    "compare": "QKeras = reference = C simulation: a STUDY, or NETWORK.json with --project",
    "rate": "thresholds, rates and efficiencies of a STUDY",
    "report": "resources and report.html of a STUDY",
}
_OPTIONS = {
    "convert": ("--out",),
    "build": ("--out",),
    "emulate": ("--events", "--out"),
    "compare": ("--project",),
}
_OPTION_HELP = {
    "--out": "where to write, when the source is no study",
    "--events": "event file to score, when the source is no study",
    "--project": "firmware project to simulate, when the source is no study",
}
_BUILT_IN = (ValueError, TypeError, OSError, RuntimeError, ImportError)
_OURS = (UnsupportedError, ToolNotFoundError, MismatchError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 for an error, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="l1ad",
        description="Anomaly detection in a hardware trigger, exact from training to firmware.",
        epilog="Start with: l1ad run configs/quickstart.toml",
    )
    parser.add_argument("--version", action="version", version=f"l1ad {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in _HELP.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        sub.add_argument("source", type=Path, help="STUDY.toml" + (" or a file" if verb in _OPTIONS else ""))
        for option in _OPTIONS.get(verb, ()):
            sub.add_argument(option, type=Path, metavar="PATH", help=_OPTION_HELP[option])
    chosen = parser.parse_args(arguments)
    try:
        if chosen.source.suffix == ".toml":
            _refuse_options(chosen)
            _study(chosen.verb, chosen.source)
        elif chosen.verb in _OPTIONS:
            _file(chosen)
        else:
            raise ValueError(f"l1ad {chosen.verb} takes a study, a .toml file, not {str(chosen.source)!r}")
    except (*_BUILT_IN, *_OURS) as error:
        print(f"l1ad: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("l1ad: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _refuse_options(chosen: argparse.Namespace) -> None:
    for option in _OPTIONS.get(chosen.verb, ()):
        if getattr(chosen, option[2:]) is not None:
            raise ValueError(f"{option} is for files; the study says where things are: leave it out")


def _study(verb: str, path: Path) -> None:
    from l1ad.study.config import load_study

    study = load_study(path)  # says at once what is wrong with it; the rest takes seconds to import
    from l1ad.study import pipeline
    from l1ad.study.artefacts import start

    run = start(study)
    last = len(STEPS) if verb == "run" else STEPS.index(verb) + 1
    for step in STEPS[:last]:
        if step == "report":
            pipeline.resources(run)
        getattr(pipeline, step)(run)
    if last == len(STEPS):
        _conclude(run)


def _conclude(run: Run) -> None:
    from l1ad.study.summary import summary

    for line in summary(run):
        print(line)


def _file(chosen: argparse.Namespace) -> None:
    for option in _OPTIONS[chosen.verb]:
        if getattr(chosen, option[2:]) is None:
            raise ValueError(f"l1ad {chosen.verb} of a file needs {option} PATH; or give it a study, a .toml file")
    if chosen.verb == "convert":
        from l1ad.convert.from_qkeras import convert
        from l1ad.models.keras import load_model

        network = convert(load_model(chosen.source))
        network.save(chosen.out)
        print(f"{chosen.out}: network {network.digest[:12]}, score {network.score.out}")
        return
    from l1ad.network import Network

    network = Network.load(chosen.source)
    match chosen.verb:
        case "build":
            from l1ad.compare import corners
            from l1ad.hardware.hls import write_project
            from l1ad.hardware.target import Target

            print(f"{write_project(network, chosen.out, Target(), corners(network))}: Vitis HLS project")
        case "emulate":
            from l1ad.study.pipeline import emulate_file

            print(f"{chosen.out}: {emulate_file(network, chosen.events, chosen.out)} scores")
        case "compare":
            from l1ad.study.agreement import compare_csim
            from l1ad.study.samples import random_inputs

            print(compare_csim(network, chosen.project, random_inputs(network)).require())


if __name__ == "__main__":
    sys.exit(main())
