"""What the verbs of the command line do with files; each gives the lines to print."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from l1ad.errors import MismatchError
from l1ad.files import cache_folder, replacing
from l1ad.network import Network

if TYPE_CHECKING:
    from l1ad.events.schema import InputColumn
    from l1ad.fixed import Raw
    from l1ad.hardware.resources import Resources
    from l1ad.trigger.rates import WorkingPoint

N_EVENTS = 100_000
"""Random events of a comparison, after the corners."""
N_SIMULATED = 10_000
"""Random events of an RTL simulation, after the corners."""
CLOCK_NS = 5.0
"""Period that RTL is cut for, if none is given."""
RATES_KHZ = (1.0, 10.0, 100.0)
"""Targets of `rate`, if none are given."""


def import_source(source: Path, out: Path, columns: str | None) -> Iterator[str]:
    """Network of an hls4ml project (a folder) or a QKeras model (a file); `columns`: SCHEMA or SCHEMA/SELECTION."""
    named = named_columns(columns) if columns else None
    notes: tuple[str, ...] = ()
    if not source.exists():
        raise FileNotFoundError(
            f"source must be an hls4ml project or a QKeras file, not {str(source)!r}: check the path"
        )
    with replacing(out) as aside:
        if source.is_dir():
            from l1ad.convert.from_hls4ml.importer import import_project

            imported = import_project(source, named)
            network, notes = imported.network, imported.notes
        else:
            from l1ad.convert.from_qkeras import convert
            from l1ad.models.keras import load_model

            network = convert(load_model(source), named)
        network.save(aside)
    yield from (f"note: {note}" for note in notes)
    kinds = f"{len(network.input.columns)} inputs, {len(network.operations)} operations"
    yield f"{out}: network {network.digest[:12]}, {kinds}, score {network.score.out}"


def named_columns(text: str) -> tuple[InputColumn, ...]:
    """Columns of ``SCHEMA`` or ``SCHEMA/SELECTION``.

    Raises
    ------
    ValueError
        If there is no such schema or selection, or the schema has several and none is named.
    """
    from l1ad.events.schema import input_columns, load_schema

    name, _, selection = text.partition("/")
    schema = load_schema(name)
    known = [each.name for each in schema.selections]
    if not known:
        raise ValueError(f"columns must be of a schema with selections, and {name!r} has none; write a .toml with one")
    if not selection and len(known) != 1:
        raise ValueError(f"columns must be {name}/SELECTION, the selection one of {', '.join(known)}, not {text!r}")
    return input_columns(schema, selection or known[0])


def build(source: Path, out: Path) -> Iterator[str]:
    """Vitis HLS project of a network.

    Raises
    ------
    OSError
        If there is something else in the place of the project, which is replaced whole.
    """
    from l1ad.compare import corners
    from l1ad.hardware.hls import write_project
    from l1ad.hardware.target import Target

    network = Network.load(source)
    if out.exists() and not (out / "manifest.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"{out}: must be new, empty or a firmware project of l1ad, to be replaced; name another")
    yield f"{write_project(network, out, Target(), corners(network))}: Vitis HLS project"


def emulate(source: Path, events: Path, out: Path) -> Iterator[str]:
    """Raw scores of an event file."""
    from l1ad.study.pipeline import emulate_file

    yield f"{out}: {emulate_file(Network.load(source), events, out)} scores"


def rate(
    source: Path,
    events: Sequence[Path],
    out: Path,
    khz: Sequence[float] | None,
    menu: str | None,
    bunches: int | None,
    scheduler: str | None,
) -> Iterator[str]:
    """Thresholds of event files, which are one sample together; scores are counted, and not stored.

    What is counted is kept beside `out` until that is written: an interrupted count goes on.
    """
    from l1ad.emulate import emulator
    from l1ad.events.stream import EventStream
    from l1ad.trigger.counting import farm, scan
    from l1ad.trigger.rates import Collider, stage
    from l1ad.trigger.thresholds import save_thresholds

    network, collider = Network.load(source), Collider() if bunches is None else Collider(bunches)
    targets = [each * 1e3 for each in khz or RATES_KHZ]
    with replacing(out) as aside:
        kept = out.with_name(f"{out.name}.counted.npz")
        counting = scan.fill_stream if scheduler is None else partial(farm.fill_stream, scheduler=scheduler)
        resumed, began = kept.exists(), time.monotonic()
        found = scan.thresholds_of(network, events, targets, collider, menu, partial(counting, kept=kept))
        seconds = time.monotonic() - began
        shared = scan.may_share_collisions(events)
        save_thresholds(aside, found)
    kept.unlink(missing_ok=True)
    n = len(EventStream(events, columns=(), meta=()))
    speed = "" if resumed else f", {n / seconds:.3g}/s"
    yield f"{found.sample}: {n} events{speed} by the emulator {emulator(network)}"
    yield f"rates: {stage(simulated=found.simulated)}, {collider.colliding_bunches} bunches; pure: {found.menu}"
    yield from _working_points(found.working_points)
    if shared is not None:
        yield f"{shared}: events may share collisions, and errors treat them as independent: too small if they do"
    yield f"{out}: thresholds of network {network.digest[:12]}"


def _working_points(points: Iterable[WorkingPoint]) -> Iterator[str]:
    """A table, one row a target."""
    from l1ad.trigger.rates import Rate, Refused

    def measured(rate: Rate | Refused) -> str:
        return rate.khz if isinstance(rate, Rate) else str(rate)

    rows = [("target kHz", "score >=", "for ± 1 σ", "rate kHz", "n_eff", "pure kHz")]
    for point in points:
        cut, target = point.threshold, f"{point.target_hz / 1e3:g}"
        if isinstance(cut, Refused):
            rows.append((target, "none", "", f"{cut}; {cut.remedy}", "", ""))
        else:
            between = f"{cut.raw_low} .. {cut.raw_high}"
            n_eff = f"{cut.rate.n_effective:.4g}"
            rows.append((target, str(cut.raw), between, measured(cut.rate), n_eff, measured(point.pure)))
    widths = [max(len(row[i]) for row in rows if i != 3 or row[2]) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def synth(source: Path, out: Path, clock_ns: float | None, interval: int | None, *, full: bool) -> Iterator[str]:
    """RTL of a network: written, simulated clock by clock on random events, and synthesised; if `full`, routed.

    Raises
    ------
    MismatchError
        If the RTL or its netlist is not the network; the text names the first event that differs.
    """
    import numpy as np

    from l1ad.compare import random_inputs
    from l1ad.emulate import emulate
    from l1ad.hardware.rtl.build import rtl
    from l1ad.hardware.simulate import simulate
    from l1ad.hardware.synthesis.evidence import gate_level, open_routing, open_synthesis
    from l1ad.study.agreement import compare_hardware

    network = Network.load(source)
    design = rtl(network, CLOCK_NS if clock_ns is None else clock_ns, interval=1 if interval is None else interval)
    yield from (f"{path}: {design.latency_cycles} clocks of {design.clock_ns:g} ns" for path in design.write(out))
    x = random_inputs(network, N_SIMULATED)
    expected = emulate(network, x)
    threshold = int(np.median(expected))
    found = simulate(design, x, threshold)
    who = f"RTL ({found.tool})"
    agreed = compare_hardware(network, who, expected, threshold, found.score, found.accept)
    yield f"reference = {who}: {agreed.n_mismatches} mismatches in {agreed.n_events} events, {found.clocks} clocks"
    rows = open_synthesis(design, full=full)
    who = f"netlist (gate level{', balanced' * (design.interval_cycles == 1)})"
    agreed = compare_hardware(network, who, expected, threshold, *gate_level(design, x, threshold, full=full))
    yield f"reference = {who}: {agreed.n_mismatches} mismatches in {agreed.n_events} events"
    yield from map(_resources, rows)
    if full:
        routed, what = open_routing(design)
        yield from map(_resources, routed)
        yield what


def _resources(row: Resources) -> str:
    counts = ((row.lut, "LUT"), (row.ff, "FF"), (row.dsp, "DSP"), (row.bram, "BRAM"))
    said = [f"{n} {what}" for n, what in counts if n is not None]
    said += [] if row.period_ns is None else [f"{row.period_ns:.2f} ns a clock"]
    return f"{row.stage}, {row.part}: {', '.join(said)}, {row.latency_ns:g} ns; {row.tool}"


def compare(source: Path, against: Path, events: Path | None) -> Iterator[str]:
    """A network against an hls4ml project (a folder) or recorded scores (a file of `emulate`), and why they differ.

    Raises
    ------
    MismatchError
        If they differ; after the lines that say where, and guess why.
    """
    from l1ad.audit.against import against_project, against_scores, simulation
    from l1ad.compare import random_inputs

    network = Network.load(source)
    if not against.exists():
        raise FileNotFoundError(
            f"--against must be an hls4ml project or a file of scores, not {str(against)!r}: check the path"
        )
    if not against.is_dir() and events is None:
        raise ValueError(f"{against}: must go with the events that the scores are of; add --events FILE")
    x = random_inputs(network, N_EVENTS) if events is None else _inputs(network, events)
    if against.is_dir():
        comparison = against_project(network, simulation(against, cache_folder()), x)
    else:
        comparison = against_scores(network, against, x)
    yield str(comparison.agreement)
    if comparison.agreement.n_mismatches:
        yield from comparison.why(network, x)
        found = comparison.agreement
        raise MismatchError(f"{against}: must give the scores of {source}, not others in {found.n_mismatches} events")


def _inputs(network: Network, events: Path) -> Raw:
    import numpy as np

    from l1ad.study.samples import inputs_of, selection_of

    return np.concatenate(list(inputs_of(network, events, selection_of(network, events), "read events")))


def verify(source: Path, out: Path, events: Path | None) -> Iterator[str]:
    """Certificate of what can overflow; with `events`, also over the ranges that they have."""
    from l1ad.prove.certificate import lines, prove, save

    network = Network.load(source)
    with replacing(out) as aside:
        certificate = prove(network, sample=None if events is None else _inputs(network, events))
        save(certificate, aside)
    yield from lines(certificate)
    yield f"{out}: certificate of network {network.digest[:12]}"


def minimise(source: Path, out: Path) -> Iterator[str]:
    """A smaller network of the same scores, and what was dropped."""
    from l1ad.prove.minimise import minimise as minimised

    network = Network.load(source)
    with replacing(out) as aside:
        result = minimised(network)
        result.network.save(aside)
    yield from (str(step) for step in result.steps)
    yield f"{out}: network {result.network.digest[:12]}, {result}"


def menu(source: Path, prescales: str, etmhf: str | None, out: Path) -> Iterator[str]:
    """A published table of seeds as a menu, and what of it was left out."""
    from l1ad.events.menu import published_menu, save_menu

    found, refused = published_menu(source, prescales, etmhf=etmhf)
    save_menu(out, found)
    yield from (f"left out: {why}" for why in refused.values())
    on = sum(seed.prescale > 0 for seed in found.seeds)
    yield f"{out}: {len(found.seeds)} seeds, {on} of them on; {len(refused)} were left out"


def lint(source: Path, columns: str | None) -> Iterator[str]:
    """Findings in a project, a network or a study.

    Raises
    ------
    MismatchError
        If any of them is an error; after the lines.
    """
    from l1ad.audit.lint import lint_network, lint_project

    if columns and not source.is_dir():
        raise ValueError(f"--columns is for projects, and {source} says what its columns are: leave it out")
    if source.suffix == ".toml":
        from l1ad.study.lint import lint_study

        findings = lint_study(source)
    elif source.is_dir():
        findings = lint_project(source, named_columns(columns) if columns else None)
    else:
        findings = lint_network(Network.load(source))
    yield from (str(finding) for finding in findings)
    errors = sum(finding.severity == "error" for finding in findings)
    yield f"{source}: {len(findings)} findings"
    if errors:
        raise MismatchError(f"{source}: must have no errors, not {errors}; warnings alone would pass")


def fuzz(out: Path, networks: int, seed: int) -> Iterator[str]:
    """Differential fuzzing.

    Raises
    ------
    MismatchError
        If executors disagree; after the lines that say where the cases are.
    """
    from l1ad.fuzz.run import fuzz as run

    if networks < 1 or seed < 0:
        raise ValueError(f"--networks must be at least 1 and --seed not negative, not {networks} and {seed}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{out}: must be a folder for the cases, and cannot be made ({error.strerror})") from error
    report = run(seed, networks, out)
    yield str(report)
    if report.cases:
        raise MismatchError(f"executors must agree on all networks, not differ in {len(report.cases)}; see {out}")
