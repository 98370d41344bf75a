"""A study: one TOML file that says everything, read into frozen dataclasses, nothing unknown accepted."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from l1ad.documents import decode
from l1ad.hardware.target import Target
from l1ad.models.config import ModelConfig
from l1ad.trigger.counting.schedulers import Farm
from l1ad.trigger.rates import REVOLUTION_HZ, Collider

BASELINES = ("Σ pT", "multiplicity")
"""Scores that models are compared with."""
RATE_SAMPLE = "rate"
RESERVED = ("train", RATE_SAMPLE, "corners")
"""Names of the samples that are no signals."""


@dataclass(frozen=True)
class EventsConfig:
    """Event files; paths are relative to the study's file.

    Parameters
    ----------
    train : str
        Zero-bias, unweighted, for training and validation.
    rate : str
        Zero-bias, weighted by probability per crossing, for rates; disjoint from `train`.
    signals : dict of str to str
        Signal files by the name that tables and plots show.
    selection : str
        Which inputs of the schema the models see.
    validation_fraction : float
        Share of `train`, chosen by event hash, that validates.
    """

    train: str
    rate: str
    signals: dict[str, str]
    selection: str = "axol1tl"
    validation_fraction: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1, not {self.validation_fraction}")
        if not self.signals:
            raise ValueError("signals must name at least one file")
        for name in self.signals:
            if name in (*RESERVED, "", ".") or "/" in name:
                raise ValueError(f"signals must not be called {', '.join(RESERVED)} or contain '/', unlike {name!r}")


@dataclass(frozen=True)
class RateConfig:
    """Target rates and the collider they assume.

    Parameters
    ----------
    targets_khz : tuple of float
        Each gets a threshold, or a refusal where the sample cannot support it.
    names : tuple of str
        Of the working points as seeds, behind the name of the model; by default the rate.
    compared_khz : tuple of float
        Rates at which efficiencies are compared with the baselines.
    menu : str
        Conventional seeds that define the pure rate, and their prescales: a name, or the path of a TOML file.
    colliding_bunches : int
    revolution_hz : float
    revolution_forced : bool
        Whether the frequency is taken although it is not the LHC's.
    n_bootstrap : int
        Replicas for the errors of the comparison.
    """

    targets_khz: tuple[float, ...] = (1.0, 10.0, 100.0)
    names: tuple[str, ...] = ()
    compared_khz: tuple[float, ...] = (10.0, 100.0)
    menu: str = "conventional"
    colliding_bunches: int = 2544
    revolution_hz: float = REVOLUTION_HZ
    revolution_forced: bool = False
    n_bootstrap: int = 200

    def __post_init__(self) -> None:
        Collider(self.colliding_bunches, self.revolution_hz, self.revolution_forced)
        for name in ("targets_khz", "compared_khz"):
            if not getattr(self, name) or min(getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be positive rates, not {getattr(self, name)}")
        if self.names and (len(self.names) != len(self.targets_khz) or len(set(self.names)) != len(self.names)):
            raise ValueError(
                f"names must be as many and different as targets_khz, {self.targets_khz}, not {self.names}"
            )
        if self.n_bootstrap < 2:
            raise ValueError(f"n_bootstrap must be at least 2, not {self.n_bootstrap}")

    @property
    def collider(self) -> Collider:
        """The filling scheme."""
        return Collider(self.colliding_bunches, self.revolution_hz, self.revolution_forced)


@dataclass(frozen=True)
class RtlConfig:
    """Register-transfer level of our own, and what it may cost.

    Parameters
    ----------
    models : tuple of str or None
        Those that get RTL; by default every VAE, of which hardware has the encoder only.
    clock_ns : float
        Period that the pipeline is cut for.
    clocks_per_bx : int
        Clocks of a bunch crossing: one event comes in so many.
    interval_cycles : int
        Of these, over how many the logic of weighted sums is used again: fewer look-up tables, and a longer latency.
    events : int
        Rate-sample events, besides corner inputs, that it is simulated on, clock by clock.
    latency_ns : float
        Budget: what it may take.
    share : float
        Budget: of the look-up tables of the part, what it may use.
    """

    models: tuple[str, ...] | None = None
    clock_ns: float = 5.0
    clocks_per_bx: int = 5
    interval_cycles: int = 1
    events: int = 10_000
    latency_ns: float = 50.0
    share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("clock_ns", "clocks_per_bx", "events", "latency_ns"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 1 <= self.interval_cycles <= self.clocks_per_bx:
            raise ValueError(
                f"interval_cycles must be from 1 to clocks_per_bx, {self.clocks_per_bx}, not {self.interval_cycles}"
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {self.share}")


@dataclass(frozen=True)
class StudyConfig:
    """What the TOML file holds.

    Parameters
    ----------
    name : str
        Of the folders ``runs/<name>`` and ``firmware/<name>``.
    seed : int
        Of training and bootstrap.
    events : EventsConfig
    models : dict of str to ModelConfig
    firmware : Target
    rate : RateConfig
    csim_events : int
        Rate-sample events, besides corner inputs, that C simulation is compared on.
    rtl : RtlConfig
    farm : Farm or None
        Where ``l1ad rate NETWORK.json --scheduler STUDY.toml`` counts; the study itself runs here.
    """

    name: str
    seed: int
    events: EventsConfig
    models: dict[str, ModelConfig]
    firmware: Target
    rate: RateConfig
    csim_events: int = 20_000
    rtl: RtlConfig = RtlConfig()
    farm: Farm | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.models):
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"names of study and models must be of letters, digits, _ and -, not {name!r}")
            if name in BASELINES:
                raise ValueError(f"names of models must not be {name!r}, which a baseline has")
        if not self.models:
            raise ValueError("models must hold at least one table")
        for name in self.rtl.models or ():
            if name not in self.models:
                raise ValueError(f"rtl models must be of {', '.join(self.models)}, not {name!r}")
        if self.csim_events < 1:
            raise ValueError(f"csim_events must be at least 1, not {self.csim_events}")

    @property
    def rtl_models(self) -> tuple[str, ...]:
        """Models that get RTL."""
        encoders = (name for name, model in self.models.items() if model.kind == "vae")
        return tuple(encoders) if self.rtl.models is None else self.rtl.models


@dataclass(frozen=True)
class Study:
    """A study's file, its content, and where its artefacts go.

    Parameters
    ----------
    path : Path
        The TOML file.
    config : StudyConfig
    runs, firmware : Path
        ``runs/<name>`` and ``firmware/<name>`` under the working folder.
    """

    path: Path
    config: StudyConfig
    runs: Path
    firmware: Path

    def events_path(self, relative: str) -> Path:
        """Path of an event file, which the study gives relative to itself."""
        return (self.path.parent / relative).resolve()


def load_study(path: str | Path) -> Study:
    """Read a study.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file does not exist, is not TOML, or is not a study; the text names file and key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"study must be an existing TOML file, not {str(path)!r}; try configs/quickstart.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: study must be valid TOML: {error}") from error
    config = decode(StudyConfig, table, str(path))
    return Study(path.resolve(), config, Path("runs") / config.name, Path("firmware") / config.name)
