"""The rate section of the page: the tables of ``rates.json``, and pictures of what they summarise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from l1ad import documents
from l1ad.events.menu import takes
from l1ad.events.quantities import Quantity, known_quantities
from l1ad.events.store import EventFile
from l1ad.fixed import Raw
from l1ad.network import Network
from l1ad.study import preference_plots, rate_plots
from l1ad.study.artefacts import ModelPaths, Run
from l1ad.study.background import TOLERANCE, Background
from l1ad.study.config import RATE_SAMPLE
from l1ad.study.rate_study import PointStudy, RateStudy
from l1ad.trigger.counted import Counted
from l1ad.trigger.curves import efficiency_curve, rate_curve, turn_on
from l1ad.trigger.menus.menu_rates import BACKUPS, PURE, PURE_UNPRESCALED
from l1ad.trigger.preferences.accepted import composition, most_anomalous
from l1ad.trigger.preferences.confusion import confusion, plane
from l1ad.trigger.rates import Refused, stage
from l1ad.trigger.stability.fits import Fit

N_DISPLAYS = 4
"""Events of highest score that are drawn."""
AGAINST: tuple[Quantity, ...] = ("HT", "MET", "multiplicity", "leading pT")
"""What turn-ons are drawn against."""
TURN_ON_BINS = 12


class Picture(NamedTuple):
    """A picture as a data URI, what it is called and what it shows, and whether it takes the whole width."""

    key: str
    words: str
    source: str
    wide: bool = False


@dataclass(frozen=True)
class RateSection:
    """What the page shows of the rates of one model.

    Attributes
    ----------
    pictures : tuple of Picture
    """

    model: str
    study: RateStudy
    stage: str
    menu: str
    pure: str
    pure_unprescaled: str
    backups: tuple[float, ...]
    signals: tuple[str, ...]
    pictures: tuple[Picture, ...]


def rate_section(
    run: Run,
    name: str,
    paths: ModelPaths,
    network: Network,
    scores: Mapping[str, Raw],
    other: tuple[str, Raw],
    background: Background,
) -> RateSection:
    """Rates of a model.

    Parameters
    ----------
    run : Run
    name : str
        Of the model.
    paths : ModelPaths
    network : Network
    scores : mapping of sample to int64 array
        Raw.
    other : (str, int64 array)
        Another detector, and its scores of the rate sample.
    background : Background
    """
    found = documents.load(RateStudy, paths.rates)
    if found.network_digest != network.digest:
        raise ValueError(
            f"{paths.rates} must belong to network {network.digest}, not {found.network_digest}; rate again"
        )
    signals = tuple(run.study.config.events.signals)
    pictures = _curves(run, network, found, background, scores, signals)
    for point in found.points:
        pictures += _parts(background, name, point)
    if found.points:  # of the loosest, which has most events
        pictures += _accepted(background, scores[RATE_SAMPLE], name, found.points[-1])
    pictures += _comparisons(network, found, background, scores[RATE_SAMPLE], name, other)
    return RateSection(
        name,
        found,
        stage(simulated=background.sample.simulated),
        background.menu.name,
        PURE,
        PURE_UNPRESCALED,
        BACKUPS,
        signals,
        tuple(pictures),
    )


def _curves(
    run: Run,
    network: Network,
    found: RateStudy,
    background: Background,
    scores: Mapping[str, Raw],
    signals: tuple[str, ...],
) -> list[Picture]:
    """Rate against threshold, efficiency against rate, and turn-ons."""
    sample, lsb = background.sample, network.score.out.lsb
    zero_bias = (scores[RATE_SAMPLE], sample.weights, sample.groups)
    curves = {
        label: rate_curve(part, background.crossing_rate_hz, simulated=sample.simulated)
        for label, part in (
            ("total", Counted.of_scores(*zero_bias)),
            ("pure", Counted.of_scores(*zero_bias, part=~sample.taken)),
        )
    }
    whole, left, quantities = {}, {}, {}
    for signal in signals:
        with EventFile(run.samples[signal]) as file:
            events = file.read(0, len(file))
        quantities[signal] = known_quantities(events, AGAINST)
        whole[signal] = efficiency_curve(Counted.of_scores(scores[signal]))
        left[signal] = efficiency_curve(Counted.of_scores(scores[signal], part=~takes(events, background.menu)))
    pictures = [
        Picture(
            "rate-threshold",
            "Rate of every threshold, total and of what the menu leaves; the curves end where n_eff falls below 25.",
            rate_plots.rate_against_threshold(curves, lsb, found.scan),
        ),
        Picture(
            "efficiency-rate",
            "Efficiency of every threshold, with 68 % intervals; points have the error of the threshold, too.",
            rate_plots.efficiency_against_rate(curves["total"], whole, found.scan, "rate", "efficiency"),
        ),
        Picture(
            "added-rate",
            "Efficiency added to the menu's, at the rate of what the menu leaves.",
            rate_plots.efficiency_against_rate(curves["pure"], left, found.added, "pure rate", "added efficiency"),
        ),
    ]
    if not found.points:
        return pictures
    point = found.points[-1]
    for kind in (kind for kind in AGAINST if all(kind in values for values in quantities.values())):
        top = max(float(np.quantile(values[kind][np.isfinite(values[kind])], 0.95)) for values in quantities.values())
        edges = np.linspace(0, max(top, 1.0), TURN_ON_BINS + 1).tolist()
        by = {s: turn_on(scores[s], quantities[s][kind], edges, point.threshold.raw) for s in signals}
        words = f"Turn-on of {point.seed} against {kind}."
        key = f"turn-on-{kind.replace(' ', '-')}"
        pictures.append(Picture(key, words, rate_plots.turn_ons(by, kind, point.seed)))
    return pictures


def _parts(background: Background, name: str, point: PointStudy) -> list[Picture]:
    """Rate against pileup, run, luminosity block and place in the train, where these are known and a part has one."""
    at, quoted = f"{point.target_hz / 1e3:g}", stage(simulated=background.sample.simulated)
    pictures = []
    for parts in point.parts:
        if all(isinstance(rate, Refused) for rate in parts.rates):
            continue
        if parts.by == "pileup":
            fits, edges = [each for each in point.fits if isinstance(each, Fit)], background.pileup_edges or [0.0]
            words = f"Rate of {point.seed} against pileup, with fits and their bands."
            drawn = rate_plots.rate_against_pileup(parts, fits, edges[-1], f"{name} at {at} kHz", quoted)
        else:
            words = f"Rate of {point.seed} by {parts.by}; the band is {100 * TOLERANCE:g} % around that of all."
            drawn = rate_plots.rate_by_number(parts, point.threshold.rate.value_hz, TOLERANCE, quoted)
        pictures.append(Picture(f"{parts.by.replace(' ', '-')}-{at}-kHz", words, drawn))
    return pictures


def _accepted(background: Background, scores: Raw, name: str, point: PointStudy) -> list[Picture]:
    """What a working point accepts."""
    at, quoted = f"{name} at {point.target_hz / 1e3:g} kHz", stage(simulated=background.sample.simulated)
    words = f"What {point.seed} and the seeds of the menu both take."
    pictures = [Picture("seeds", words, preference_plots.seed_overlap(point.overlaps, at, quoted))]
    spectra = composition(background.events, scores, point.threshold.raw)
    if not isinstance(spectra, Refused):
        for quantity in ("multiplicity", "leading pt"):
            words = f"{quantity.capitalize().replace('pt', 'pT')} of the events that {point.seed} accepts, and of all."
            picture = preference_plots.spectra(spectra, quantity, at)
            pictures.append(Picture(quantity.split()[0], words, picture, wide=True))
    return pictures


def _comparisons(
    network: Network,
    found: RateStudy,
    background: Background,
    scores: Raw,
    name: str,
    other: tuple[str, Raw],
) -> list[Picture]:
    """Another detector, and the most anomalous events."""
    sample, crossing_rate_hz = background.sample, background.crossing_rate_hz
    both = {name: scores, other[0]: other[1]}
    words = "Firmware and float twin at the same rate: events that both accept, and the float threshold's rate error."
    pictures = [Picture("closure", words, rate_plots.closure(found.closure.points, stage(simulated=sample.simulated)))]
    if found.points:
        at = confusion(
            both,
            sample.weights,
            found.points[-1].target_hz,
            crossing_rate_hz,
            simulated=sample.simulated,
            groups=sample.groups,
        )
        words = f"Scores of {name} and of {other[0]}, and what each accepts at the same rate."
        picture = preference_plots.two_detectors(plane(both, sample.weights), at, crossing_rate_hz)
        pictures.append(Picture("two-detectors", words, picture))
    events = most_anomalous(background.events, scores, N_DISPLAYS, background.menu)
    words = "The most anomalous events of the rate sample."
    return [*pictures, Picture("displays", words, preference_plots.displays(events, network.score.out.lsb), wide=True)]
