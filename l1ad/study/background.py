"""The rate sample of a study, as its rate studies see it: read once, and divided by pileup and by when it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from l1ad.events.menu import Menu, decide, load_menu
from l1ad.events.store import EventFile
from l1ad.events.table import Events
from l1ad.fixed import Raw
from l1ad.study.artefacts import Run
from l1ad.study.config import RATE_SAMPLE
from l1ad.study.samples import RateSample, menu_path, rate_sample
from l1ad.trigger.rates import MIN_EFFECTIVE, Collider, Rate, Refused
from l1ad.trigger.stability.parts import Alarm, RatesBy, alarms, finest_by_pileup, rates_by_number, train_places

SHIFT = 5.0
"""By which a pileup profile is shifted, either way, as a systematic."""
MOST_PARTS = 50
"""Of time or place, in which a rate is shown."""
TOLERANCE = 0.1
"""By which the rate of a part may differ from the whole's before an alarm, beside three standard errors."""

By = Literal["pileup", "run", "luminosity block", "bunch crossing", "place in the train"]


@dataclass(frozen=True)
class Parts:
    """Rate of a working point in parts of the sample.

    Attributes
    ----------
    by : str
        What the sample is divided by.
    x : tuple of float
        Mean pileup or number of each part.
    rates : tuple of Rate or Refused
    alarms : tuple of Alarm
        Parts outside the band around the rate of the whole; of pileup, with which rates change, none.
    """

    by: By
    x: tuple[float, ...]
    rates: tuple[Rate | Refused, ...]
    alarms: tuple[Alarm, ...]

    @classmethod
    def of(cls, by: By, found: RatesBy, expected_hz: float | None = None) -> Parts:
        """Of rates in parts, with alarms if one rate is expected of all."""
        rang = () if expected_hz is None else alarms(found, expected_hz, tolerance=TOLERANCE)
        return cls(by, tuple(found.x.tolist()), found.rates, rang)


@dataclass(frozen=True, eq=False)
class Background:
    """The rate sample of a study.

    Attributes
    ----------
    events : Events
    sample : RateSample
    menu : Menu
    fired : bool array, shape (n_events, seeds)
        Decisions of the menu before prescales.
    collider : Collider
    """

    events: Events
    sample: RateSample
    menu: Menu
    fired: npt.NDArray[np.bool_]
    collider: Collider

    @classmethod
    def of(cls, run: Run) -> Background:
        """Read it."""
        menu = load_menu(menu_path(run))
        with EventFile(run.samples[RATE_SAMPLE]) as file:
            events = file.read(0, len(file))
        return cls(events, rate_sample(run), menu, decide(events, menu), run.study.config.rate.collider)

    @property
    def crossing_rate_hz(self) -> float:
        """Of the collider."""
        return self.collider.crossing_rate_hz

    @property
    def pileup_edges(self) -> list[float] | None:
        """Bins of pileup as wide as the shift of a systematic; None where pileup is not known."""
        pileup = self.events.meta["pileup"].astype(np.float64)
        if not (pileup >= 0).all():
            return None
        low, high = np.floor(pileup.min() / SHIFT) * SHIFT, np.ceil(pileup.max() / SHIFT) * SHIFT
        edges: list[float] = np.arange(low, max(high, low + SHIFT) + SHIFT / 2, SHIFT).tolist()
        return edges

    def rates_by_pileup(self, scores: Raw, threshold: int) -> RatesBy | None:
        """Rates of a threshold in bins of pileup; None where pileup is not known."""
        edges = self.pileup_edges
        if edges is None:
            return None
        return finest_by_pileup(
            scores,
            self.sample.weights,
            self.events.meta["pileup"],
            (edges[0], edges[-1]),
            threshold,
            self.crossing_rate_hz,
            simulated=self.sample.simulated,
            groups=self.sample.groups,
        )

    def rates_by_time(self, scores: Raw, threshold: int, rate: Rate) -> dict[By, RatesBy]:
        """Rates of a threshold, of which `rate` is the whole, by every number of `numbers`.

        So many parts that each has twice the effective events that a rate needs, if it is like the others.
        """
        most = int(np.clip(rate.n_effective / (2 * MIN_EFFECTIVE), 2, MOST_PARTS))
        return {
            by: rates_by_number(
                scores,
                self.sample.weights,
                values,
                threshold,
                self.crossing_rate_hz,
                simulated=self.sample.simulated,
                groups=self.sample.groups,
                most=most,
            )
            for by, values in self.numbers.items()
        }

    @cached_property
    def numbers(self) -> dict[By, npt.NDArray[np.int64]]:
        """What events are numbered by, where all are and not all alike; simulated ones are not.

        Luminosity blocks are counted over runs if there are several.  Places in trains of bunches are known where the
        events have as many bunch crossings as the collider has bunches.
        """
        run, block, bx = (self.events.meta[name].astype(np.int64) for name in ("run", "ls", "bx"))
        found: dict[By, npt.NDArray[np.int64]] = {"run": run}
        if len(np.unique(run)) == 1:
            found["luminosity block"] = block
        elif (block >= 0).all():
            found["luminosity block"] = np.unique(np.stack([run, block]), axis=1, return_inverse=True)[1].reshape(-1)
        if len(np.unique(bx)) == self.collider.colliding_bunches and (bx >= 0).all():
            found["place in the train"] = train_places(bx, np.unique(bx))
        else:
            found["bunch crossing"] = bx
        return {by: values for by, values in found.items() if (values >= 0).all() and len(np.unique(values)) > 1}
