"""The rates of a study beyond its thresholds: what a coordinator asks before a seed goes online.

Of each model, ``rates.json``: the rates of a menu with its working points as seeds, backup thresholds, efficiencies and
those added to the menu's at pure rates, rates against pileup and with a shifted profile, what is accepted, closure with
the float twin, and what dead time leaves.  ``thresholds.csv``, ``menu_rates.csv`` and ``seeds.toml`` are what goes on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from l1ad import documents
from l1ad.emulate import emulate
from l1ad.events.menu import Menu, takes
from l1ad.events.store import EventFile
from l1ad.files import file_digest, write_text
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.study.artefacts import ModelPaths, Run, load_scores
from l1ad.study.background import SHIFT, Background, Parts
from l1ad.study.config import RATE_SAMPLE
from l1ad.study.samples import RateSample, menu_digest, network_inputs
from l1ad.study.stages import run_stage
from l1ad.trigger.counted import Counted
from l1ad.trigger.curves import Imprecise, ScanPoint, scan
from l1ad.trigger.deadtime import LiveTime, batches, draw, live_time
from l1ad.trigger.menus.menu_rates import MenuRates, MenuSeed, Overlaps, backups, menu_rates
from l1ad.trigger.menus.menu_rates import overlaps as seed_overlaps
from l1ad.trigger.menus.patterns import Patterns
from l1ad.trigger.preferences.accepted import Correlation, Overlap, correlations, overlaps, quantities
from l1ad.trigger.preferences.closure import Closure, closure
from l1ad.trigger.rates import MORE_EVENTS, Rate, Refused, Threshold, WorkingPoint, accept, working_point
from l1ad.trigger.samples import UNIT
from l1ad.trigger.stability.drift import KsTest, Psi, Scores, ks_test, psi
from l1ad.trigger.stability.fits import Fit, Form, NoFit, fit
from l1ad.trigger.stability.pileup import PileupSystematic, pileup_systematic_of_scores
from l1ad.trigger.thresholds import Thresholds, load_thresholds

FORMS: tuple[Form, ...] = ("linear", "quadratic", "exponential")
"""Of curves through rates against pileup."""
ORBITS = 11_246
"""Of a dead-time simulation: one second of beam."""


@dataclass(frozen=True)
class PointStudy:
    """One working point that has a threshold.

    Attributes
    ----------
    seed : str
        Its name as a seed.
    target_hz : float
    threshold : Threshold
    backups : tuple of WorkingPoint
        Tighter ones, to go to at once.
    parts : tuple of Parts
        By pileup, and by run, luminosity block and place in the train, where these are known.
    fits : tuple of Fit or NoFit
        Of the rate against pileup.
    pileup : PileupSystematic or None
        With the profile shifted; None where pileup is not known.
    overlaps : tuple of Overlap
        With each seed of the menu, and with any.
    live : LiveTime
        After the trigger rules of CMS, in batches of bunches, the seed alone.
    """

    seed: str
    target_hz: float
    threshold: Threshold
    backups: tuple[WorkingPoint, ...]
    parts: tuple[Parts, ...]
    fits: tuple[Fit | NoFit, ...]
    pileup: PileupSystematic | None
    overlaps: tuple[Overlap, ...]
    live: LiveTime


@dataclass(frozen=True)
class Drift:
    """Scores of the rate sample against those of the training sample; what is refused says why.

    Attributes
    ----------
    ks : KsTest
    psi : Psi or None
        None where there are too few events to tell.
    """

    ks: KsTest
    psi: Psi | None


@dataclass(frozen=True)
class RateStudy:
    """``rates.json`` of one model.

    Attributes
    ----------
    network_digest : str
    points : tuple of PointStudy
    menu : MenuRates
        Seeds of the menu, then the working points.
    pairs : Overlaps
    scan : tuple of ScanPoint
        Thresholds for total rates, and efficiencies.
    added : tuple of ScanPoint
        Thresholds for pure rates, and efficiencies added to the menu's.
    correlations : tuple of Correlation
    closure : Closure
    drift : Drift
    """

    network_digest: str
    points: tuple[PointStudy, ...]
    menu: MenuRates
    pairs: Overlaps
    scan: tuple[ScanPoint, ...]
    added: tuple[ScanPoint, ...]
    correlations: tuple[Correlation, ...]
    closure: Closure
    drift: Drift


def study_rates(run: Run) -> None:
    """Make ``rates.json`` and the tables of every model."""
    config = run.study.config
    background = cache(lambda: Background.of(run))  # read once, if any model needs it
    for name in config.models:
        paths = run.paths(name)
        network = Network.load(paths.network)
        made_from = {
            "network": network.digest,
            "scores": file_digest(paths.scores),
            "thresholds": file_digest(paths.thresholds),
            "rate": asdict(config.rate),
            "menu": menu_digest(run),
            "events": run.sample_digests,
            "seed": config.seed,
        }

        def action(name: str = name, paths: ModelPaths = paths, network: Network = network) -> None:
            thresholds = load_thresholds(paths.thresholds, network.digest)
            found = _study(run, background(), name, paths, network, thresholds)
            documents.save(paths.rates, found)
            tables = (thresholds_csv(found, thresholds), menu_csv(found.menu), seeds_toml(found, thresholds))
            for path, text in zip(paths.tables, tables, strict=True):
                write_text(path, text)

        run_stage(paths.folder, "rates", made_from, (paths.rates, *paths.tables), action)


def seed_name(run: Run, model: str, target_hz: float) -> str:
    """What a working point is called as a seed of a menu."""
    rate = run.study.config.rate
    names = rate.names or tuple(f"{khz:g}kHz" for khz in rate.targets_khz)
    return f"{model}_{names[[khz * 1e3 for khz in rate.targets_khz].index(target_hz)]}"


def _study(
    run: Run, background: Background, name: str, paths: ModelPaths, network: Network, thresholds: Thresholds
) -> RateStudy:
    config = run.study.config
    sample, crossing_rate_hz = background.sample, background.crossing_rate_hz
    stored = load_scores(paths.scores, network)
    scores, twin = stored[RATE_SAMPLE]
    known = [p for p in thresholds.working_points if isinstance(p.threshold, Threshold)]
    seeds = [MenuSeed(seed.name, seed.prescale) for seed in background.menu.seeds]
    seeds += [MenuSeed(seed_name(run, name, p.target_hz), family=name) for p in known]
    fired = [accept(scores, p.threshold.raw) for p in known if isinstance(p.threshold, Threshold)]
    patterns = Patterns(tuple(seed.name for seed in seeds), UNIT)
    patterns.fill(np.column_stack([background.fired, *fired]), sample.weights, sample.groups)
    targets = [khz * 1e3 for khz in config.rate.targets_khz]
    whole, left = {}, {}
    for signal in config.events.signals:
        raw, taken = stored[signal][0], _taken(run.samples[signal], background.menu)
        whole[signal], left[signal] = Counted.of_scores(raw), Counted.of_scores(raw, part=~taken)
    zero_bias = (scores, sample.weights, sample.groups)
    simulated = sample.simulated
    return RateStudy(
        network.digest,
        tuple(_point(run, background, scores, p, seed_name(run, name, p.target_hz)) for p in known),
        menu_rates(patterns, seeds, crossing_rate_hz, simulated=simulated),
        seed_overlaps(patterns, seeds, crossing_rate_hz, simulated=simulated),
        scan(Counted.of_scores(*zero_bias), whole, targets, crossing_rate_hz, simulated=simulated),
        scan(Counted.of_scores(*zero_bias, part=~sample.taken), left, targets, crossing_rate_hz, simulated=simulated),
        correlations(scores, sample.weights, quantities(background.events), sample.groups),
        closure(
            twin,
            scores,
            sample.weights,
            network.score.out.lsb,
            targets,
            crossing_rate_hz,
            simulated=simulated,
            groups=sample.groups,
        ),
        _drift(run, network, scores, sample),
    )


def _drift(run: Run, network: Network, scores: Raw, sample: RateSample) -> Drift:
    raw, weights, groups = [], [], []
    with EventFile(run.train_path) as file:
        for events in file.chunks():
            raw.append(emulate(network, network_inputs(network, events, run.study.config.events.selection)))
            weights.append(events.meta["weight"])
            groups.append(events.meta["collision"].astype(np.int64))
    trained = Scores(np.concatenate(raw), np.concatenate(weights), np.concatenate(groups))
    running = Scores(scores, sample.weights, sample.groups)
    try:
        moved = psi(trained, running)
    except ValueError:  # too few events, or one score only
        moved = None
    return Drift(ks_test(trained, running, seed=run.study.config.seed), moved)


def _point(run: Run, background: Background, scores: Raw, point: WorkingPoint, name: str) -> PointStudy:
    sample, crossing_rate_hz = background.sample, background.crossing_rate_hz
    if not isinstance(point.threshold, Threshold):
        raise ValueError(f"working point at {point.target_hz:g} Hz must have a threshold, not be {point.threshold}")
    raw, rate = point.threshold.raw, point.threshold.rate

    def find(target_hz: float) -> WorkingPoint:
        return working_point(
            scores,
            sample.weights,
            sample.taken,
            target_hz,
            crossing_rate_hz,
            simulated=sample.simulated,
            groups=sample.groups,
        )

    edges, by_pileup = background.pileup_edges, background.rates_by_pileup(scores, raw)
    parts = [] if by_pileup is None else [Parts.of("pileup", by_pileup)]
    parts += [Parts.of(by, f, rate.value_hz) for by, f in background.rates_by_time(scores, raw, rate).items()]
    systematic = None
    if edges is not None:
        systematic = pileup_systematic_of_scores(
            scores,
            sample.weights,
            background.events.meta["pileup"],
            edges,
            point.target_hz,
            crossing_rate_hz,
            simulated=sample.simulated,
            groups=sample.groups,
            by=(-SHIFT, SHIFT),
        )
    decisions = {seed.name: background.fired[:, i] for i, seed in enumerate(background.menu.seeds)}
    collider = background.collider
    filling = batches(collider.colliding_bunches)
    hz, forced = collider.revolution_hz, collider.forced
    drawn = draw(rate.value_hz, filling, ORBITS, run.study.config.seed, hz, forced=forced)
    return PointStudy(
        name,
        point.target_hz,
        point.threshold,
        backups(find, point.target_hz),
        tuple(parts),
        () if by_pileup is None else tuple(fit(by_pileup, form) for form in FORMS),
        systematic,
        overlaps(
            scores,
            raw,
            sample.weights,
            decisions,
            crossing_rate_hz,
            simulated=sample.simulated,
            groups=sample.groups,
        ),
        live_time(drawn, filling, simulated=sample.simulated, revolution_hz=hz, forced=forced),
    )


def _taken(path: Path, menu: Menu) -> npt.NDArray[np.bool_]:
    with EventFile(path) as file:
        return np.concatenate([takes(events, menu) for events in file.chunks()])


def thresholds_csv(found: RateStudy, thresholds: Thresholds) -> str:
    """A row for each working point, refused ones too, and for each of its backups."""
    rows = []
    named = {point.target_hz: point for point in found.points}
    for working in thresholds.working_points:
        point = named.get(working.target_hz)
        listed = [("" if point is None else point.seed, working)]
        if point is not None:
            listed += [(f"{point.seed}_backup{i}", each) for i, each in enumerate(point.backups, 1)]
        for name, each in listed:
            known = each.threshold if isinstance(each.threshold, Threshold) else None
            rows.append(
                {
                    "Name": name,
                    "Threshold_raw": "" if known is None else known.raw,
                    "Threshold_low": "" if known is None else known.raw_low,
                    "Threshold_high": "" if known is None else known.raw_high,
                    "Target_kHz": each.target_hz / 1e3,
                    **_khz("Rate", each.rate),
                    **_khz("Pure", each.pure),
                    "N_eff": f"{each.rate.n_effective:.1f}",
                    "Stage": each.rate.stage if isinstance(each.rate, Rate) else str(each.rate),
                    "Network": thresholds.digest,
                    "Sample": thresholds.provenance,
                    "Menu": thresholds.menu,
                }
            )
    return _csv(rows)


def menu_csv(menu: MenuRates) -> str:
    """A row for each seed that is on, in the order of the menu, and then for the menu and its two parts."""
    rows = []
    for index, each in enumerate(menu.seeds):
        rows.append(
            {
                "Index": index,
                "Name": each.seed.name,
                "Prescale": f"{each.seed.prescale:g}",
                **_khz("Rate", each.total),
                **_khz("Pure", each.pure),
                **_khz("Pure_unprescaled", each.pure_unprescaled),
                **_khz("Proportional", each.proportional),
                **_khz("Cumulative", each.cumulative),
                **_khz("Menu_without", each.without),
            }
        )
    for name, rate in (
        ("menu", menu.total),
        ("conventional seeds", menu.conventional),
        ("added by anomaly seeds", menu.added),
    ):
        if rate is not None:
            rows.append({"Name": name, **_khz("Rate", rate)})
    return _csv(rows)


def seeds_toml(found: RateStudy, thresholds: Thresholds) -> str:
    """Anomaly seeds, to be put into a menu: raw thresholds, bound to their network."""
    lines = [
        f"# Working points of network {thresholds.digest}, on {thresholds.provenance}.",
        f"# Accept where score >= threshold, in raw codes of {thresholds.score_type}; no other network's scores.",
    ]
    imprecise = {each.target_hz for each in found.scan if isinstance(each.threshold, Imprecise)}
    for point in found.points:
        rate = point.threshold.rate
        lines += [
            "",
            "[[anomaly]]",
            f'name = "{point.seed}"',
            f'network = "{thresholds.digest}"',
            f"threshold = {point.threshold.raw}  # {point.threshold.raw_low} .. {point.threshold.raw_high}",
            "prescale = 1",
            f"# {rate}",
        ]
        if point.target_hz in imprecise:
            lines.append(f"# not for use: a rate known to {100 * rate.error_hz / rate.value_hz:.1f} %; {MORE_EVENTS}")
        backup = [each.threshold.raw for each in point.backups if isinstance(each.threshold, Threshold)]
        lines += [f"backup_thresholds = {backup}"] if backup else []
    return "\n".join(lines) + "\n"


def _khz(name: str, rate: Rate | Refused) -> dict[str, str]:
    """Value, standard error and ends of the 68 % interval in kHz, empty where refused."""
    found = (rate.value_hz, rate.error_hz, *rate.interval_hz) if isinstance(rate, Rate) else ()
    texts = [f"{hz / 1e3:.6g}" for hz in found] or 4 * [""]
    return dict(zip((f"{name}{what}_kHz" for what in ("", "_error", "_low", "_high")), texts, strict=True))


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows below the keys of the first."""
    out = io.StringIO()
    table = csv.DictWriter(out, list(rows[0]), restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()
