"""``l1ad VERB ...``: one verb per step of a study, and `run` for all of them."""

from __future__ import annotations

import argparse
import os
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
_EVENTS_HELP = {
    "generate": "simulate events: a PLAN such as configs/events/sample.toml (needs l1ad[generate])",
    "convert": "event files of another format to one of ours",
    "show": "what an event file holds",
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
    _events_parser(verbs)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.verb == "events":
            _EVENTS[chosen.action](chosen)
        elif chosen.source.suffix == ".toml":
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


def _events_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "generate, convert and show event files"
    actions = verbs.add_parser("events", help=text, description=text).add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    generate, convert, show = (actions.add_parser(name, help=x, description=x) for name, x in _EVENTS_HELP.items())
    generate.add_argument("plan", type=Path, help="PLAN.toml")
    generate.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the event files go")
    generate.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="collisions, kept and found again")
    generate.add_argument("--scale", type=float, default=1.0, help="share of the plan's events and collisions to make")
    generate.add_argument("--workers", type=int, default=os.cpu_count(), help="processes, by default one a core")
    convert.add_argument("files", nargs="+", metavar="FILE", help="files, or patterns such as 'part-*.parquet'")
    convert.add_argument("--format", required=True, help="adc2021, axol1tl, cicada, cmsl1t, l1ntuple, lhco or nanoaod")
    convert.add_argument("--part", help="which of several samples in a file")
    convert.add_argument("--out", type=Path, required=True, metavar="PATH", help="event file to write")
    convert.add_argument("--skip-damaged", action="store_true", help="leave out truncated or corrupt files, by name")
    show.add_argument("file", type=Path, help="event file")
    show.add_argument("--plots", type=Path, metavar="PATH", help="page of plots to draw, .png or .pdf")


def _generate(chosen: argparse.Namespace) -> None:
    try:
        from l1ad.events.generation.commands import generate
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} must be installed to generate events; pip install 'l1ad[generate]'") from error

    for line in generate(chosen.plan, chosen.out, chosen.work, chosen.scale, chosen.workers):
        print(line)


def _convert(chosen: argparse.Namespace) -> None:
    from l1ad.events.readers import convert
    from l1ad.events.stream import expand

    convert(expand(chosen.files), chosen.out, chosen.format, part=chosen.part, skip_damaged=chosen.skip_damaged)


def _show(chosen: argparse.Namespace) -> None:
    from l1ad.events.show import describe, render
    from l1ad.trigger.rates import crossing_rate_hz

    description = describe(chosen.file, crossing_rate_hz() / 1e3)
    print(render(description))
    if chosen.plots is not None:
        from l1ad.events.pictures import draw

        draw(description, chosen.plots)
        print(f"{chosen.plots}: plots")


_EVENTS = {"generate": _generate, "convert": _convert, "show": _show}


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
