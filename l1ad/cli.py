"""``l1ad VERB ...``: one verb per step of a study, and `run` for all of them."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l1ad import __version__
from l1ad.errors import MismatchError, ToolNotFoundError, UnsupportedError

if TYPE_CHECKING:
    from l1ad.study.artefacts import Run

STEPS = ("train", "convert", "build", "emulate", "compare", "rate", "synth", "report")
"""Steps of a study in their order; a verb on a study takes the steps before it too, and skips what is up to date."""

_HELP = {
    "run": "all of a study, resuming where it stopped",
    "train": "train the models of a STUDY",
    "convert": "trained models of a STUDY to integer networks",
    "build": "firmware projects: a STUDY, or NETWORK.json with --out",
    "emulate": "scores of events: a STUDY, or NETWORK.json with --events and --out",
    "compare": "QKeras = reference = native = C simulation: a STUDY, or NETWORK.json --against a project or scores",
    "rate": "thresholds, rates and efficiencies: a STUDY, or NETWORK.json with --events and --out",
    "synth": "RTL, simulated and synthesised: a STUDY, or NETWORK.json with --out",
    "report": "report.html of a STUDY",
}
_FILE_HELP = {
    "import": "an hls4ml PROJECT (a folder) or a QKeras MODEL.h5 to an integer network",
    "verify": "prove what can overflow in NETWORK.json, with witnesses: a certificate",
    "minimise": "drop what NETWORK.json provably does not need, and prove that nothing changes",
    "lint": "what is likely to go wrong: a PROJECT, NETWORK.json or STUDY.toml",
    "fuzz": "random networks through every executor; disagreements are shrunk and saved",
    "menu": "a published TABLE.csv of seeds and prescales to a menu",
}
_EVENTS_HELP = {
    "generate": "simulate events: a PLAN such as configs/events/sample.toml (needs l1ad[generate])",
    "convert": "event files of another format to one of ours",
    "show": "what an event file holds",
}
_OPTIONS = {
    "build": ("--out",),
    "emulate": ("--events", "--out"),
    "compare": ("--against", "--events"),
    "rate": ("--events", "--out", "--khz", "--menu", "--bunches", "--scheduler"),
    "synth": ("--out", "--clock-ns", "--interval"),
}
_OPTIONAL = {
    *(("rate", option) for option in ("--khz", "--menu", "--bunches", "--scheduler")),
    ("compare", "--events"),
    *(("synth", option) for option in ("--clock-ns", "--interval")),
}
_OPTION_HELP = {
    "--out": "where to write, when the source is no study",
    "--events": "event file to score, when the source is no study",
    "--against": "hls4ml project to simulate, or scores that `emulate` recorded, when the source is no study",
    "--khz": "target rates, by default 1 10 100",
    "--menu": "conventional menu of the pure rate, by default the decisions in the files, else 'conventional'",
    "--bunches": "that collide, by default 2544",
    "--scheduler": "many processes: local, local:N, an address tcp://..., or FILE.toml with a table [farm]",
    "--clock-ns": "period that the pipeline is cut for, by default 5",
    "--interval": "clocks from an event to the next, over which logic is used again, by default 1",
}
_FULL_HELP = "all of Yosys's passes, for all models, and place-and-route on an ECP5 if nextpnr is installed"
_OPTION_KIND: dict[str, dict[str, Any]] = {
    "--khz": {"type": float, "nargs": "+", "metavar": "KHZ"},
    "--menu": {"type": str, "metavar": "NAME"},
    "--bunches": {"type": int, "metavar": "N"},
    "--scheduler": {"type": str, "metavar": "WHAT"},
    "--clock-ns": {"type": float, "metavar": "NS"},
    "--interval": {"type": int, "metavar": "CLOCKS"},
}
"""Arguments of ``add_argument``, where an option is not a path."""
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
            many = {"nargs": "+"} if (verb, option) == ("rate", "--events") else {}
            kind = _OPTION_KIND.get(option, {"type": Path, "metavar": "PATH"}) | many
            sub.add_argument(option, help=_OPTION_HELP[option], **kind)
        if verb == "synth":
            sub.add_argument("--full", action="store_true", help=_FULL_HELP)
        if verb == "report":
            sub.add_argument(
                "--vendor", type=Path, metavar="FOLDER", help="reports of Vitis HLS and Vivado to show too"
            )
    _file_parsers(verbs)
    _events_parser(verbs)
    chosen = parser.parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's time is up: as by Ctrl-C
    try:
        if chosen.verb == "events":
            _EVENTS[chosen.action](chosen)
        elif chosen.verb in _FILE_HELP:
            _print(_file_lines(chosen))
        elif chosen.source.suffix == ".toml":
            _refuse_options(chosen)
            _study(chosen)
        elif chosen.verb in _OPTIONS:
            _print(_network_lines(chosen))
        else:
            files = "; `l1ad import` takes models and projects" if chosen.verb == "convert" else ""
            raise ValueError(f"l1ad {chosen.verb} takes a study, a .toml file, not {str(chosen.source)!r}{files}")
    except BrokenPipeError:  # whoever read the lines, such as `head`, wants no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (*_BUILT_IN, *_OURS) as error:
        lines = (line.strip() for line in str(error).splitlines())
        print(f"l1ad: error: {' | '.join(line for line in lines if line)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        goes_on = _goes_on(chosen)
        then = "run the same command again to go on" if goes_on else "the same command starts again from the beginning"
        print(f"l1ad: interrupted; {then}", file=sys.stderr)
        return 130
    return 0


def _goes_on(chosen: argparse.Namespace) -> bool:
    """Whether what an interrupted verb has done is kept: steps of a study, counts, or parts of a plan."""
    if chosen.verb == "events":
        return bool(chosen.action == "generate")
    return chosen.verb in ("fuzz", "rate") or (chosen.verb in _HELP and chosen.source.suffix == ".toml")


def _file_parsers(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    subs = {verb: verbs.add_parser(verb, help=text, description=text) for verb, text in _FILE_HELP.items()}
    network = "network, as import and convert write it"
    for verb, name, text in (
        ("import", "SOURCE", "folder of an hls4ml project, or QKeras model, an .h5 file"),
        ("verify", "NETWORK.json", network),
        ("minimise", "NETWORK.json", network),
        ("lint", "SOURCE", "PROJECT, NETWORK.json or STUDY.toml"),
        ("menu", "TABLE.csv", "a row for each seed, a column for each set of prescales"),
    ):
        subs[verb].add_argument("source", type=Path, metavar=name, help=text)
    columns = "what the inputs are: SCHEMA or SCHEMA/SELECTION, such as cms_run3/axol1tl"
    for verb, text in (("import", columns), ("lint", f"for a project, {columns}")):
        subs[verb].add_argument("--columns", metavar="NAME", help=text)
    subs["menu"].add_argument("--prescales", required=True, metavar="COLUMN", help="set of prescales, such as 2p0E34")
    subs["menu"].add_argument("--etmhf", metavar="COLLECTION", help="what stands for ETMHF, such as met")
    for verb in ("import", "verify", "minimise", "menu"):
        subs[verb].add_argument("--out", type=Path, required=True, metavar="PATH", help="file to write")
    subs["verify"].add_argument("--events", type=Path, metavar="PATH", help="also over the ranges of an event file")
    subs["fuzz"].add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where disagreements are saved")
    subs["fuzz"].add_argument("--networks", type=int, default=20, metavar="N", help="how many, by default 20")
    subs["fuzz"].add_argument("--seed", type=int, default=0, metavar="N", help="of the networks, by default 0")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _file_lines(chosen: argparse.Namespace) -> Iterable[str]:
    from l1ad import verbs

    match chosen.verb:
        case "import":
            return verbs.import_source(chosen.source, chosen.out, chosen.columns)
        case "verify":
            return verbs.verify(chosen.source, chosen.out, chosen.events)
        case "minimise":
            return verbs.minimise(chosen.source, chosen.out)
        case "lint":
            return verbs.lint(chosen.source, chosen.columns)
        case "menu":
            return verbs.menu(chosen.source, chosen.prescales, chosen.etmhf, chosen.out)
        case _:
            return verbs.fuzz(chosen.out, chosen.networks, chosen.seed)


def _network_lines(chosen: argparse.Namespace) -> Iterable[str]:
    for option in _OPTIONS[chosen.verb]:
        if getattr(chosen, option[2:].replace("-", "_")) is None and (chosen.verb, option) not in _OPTIONAL:
            raise ValueError(f"l1ad {chosen.verb} of a file needs {option} PATH; or give it a study, a .toml file")
    from l1ad import verbs

    match chosen.verb:
        case "build":
            return verbs.build(chosen.source, chosen.out)
        case "emulate":
            return verbs.emulate(chosen.source, chosen.events, chosen.out)
        case "synth":
            return verbs.synth(chosen.source, chosen.out, chosen.clock_ns, chosen.interval, full=chosen.full)
        case "rate":
            options = chosen.khz, chosen.menu, chosen.bunches, chosen.scheduler
            return verbs.rate(chosen.source, chosen.events, chosen.out, *options)
        case _:
            return verbs.compare(chosen.source, chosen.against, chosen.events)


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
        if getattr(chosen, option[2:].replace("-", "_")) is not None:
            raise ValueError(f"{option} is for files; the study says where things are: leave it out")


def _study(chosen: argparse.Namespace) -> None:
    from l1ad.study.config import load_study

    study = load_study(chosen.source)  # says at once what is wrong with it; the rest takes seconds to import
    from l1ad.study import pipeline
    from l1ad.study.artefacts import start
    from l1ad.study.hardware import synth

    run = start(study)
    last = len(STEPS) if chosen.verb == "run" else STEPS.index(chosen.verb) + 1
    for step in STEPS[:last]:
        if step == "synth":
            synth(run, full=chosen.verb == "synth" and chosen.full, vendor=getattr(chosen, "vendor", None))
        else:
            getattr(pipeline, step)(run)
    if last == len(STEPS):
        _conclude(run)


def _conclude(run: Run) -> None:
    from l1ad.study.summary import summary

    for line in summary(run):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
