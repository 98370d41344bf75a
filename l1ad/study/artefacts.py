"""What a study leaves behind: the documents, and where every file is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from l1ad import documents
from l1ad.compare import Agreement
from l1ad.events.store import EventFile
from l1ad.files import replacing
from l1ad.fixed import Raw
from l1ad.hardware.resources import Resources
from l1ad.network import Network
from l1ad.study.config import RATE_SAMPLE, Study
from l1ad.trigger import Comparison, Efficiency


@dataclass(frozen=True)
class Training:
    """``training.json``: what was trained, on what, how it went, and the share of each layer's weights that are 0."""

    n_train: int
    n_validation: int
    n_saturated: int
    n_empty: int
    seconds: float
    offset: tuple[int, ...]
    shift: tuple[int, ...]
    losses: dict[str, tuple[float, ...]]
    sparsity: dict[str, float]


@dataclass(frozen=True)
class Agreements:
    """``agreement.json``: who was compared with whom, and the bound that makes QKeras itself exact."""

    network_digest: str
    agreements: tuple[Agreement, ...]
    accumulator_bits: dict[str, int]


@dataclass(frozen=True)
class ResourceTable:
    """``resources.json``.

    Parameters
    ----------
    network_digest : str
    rows : tuple of Resources
    note : str
    full : bool
        Whether all was synthesised that can be.
    gates : Agreement or None
        Of the reference and the netlist that was synthesised.
    vendor : str or None
        Folder of the vendor's reports that were read.
    """

    network_digest: str
    rows: tuple[Resources, ...]
    note: str
    full: bool
    gates: Agreement | None
    vendor: str | None


@dataclass(frozen=True)
class Simulated:
    """``simulated.json``: RTL clock by clock against the reference.

    Parameters
    ----------
    network_digest, design_digest : str
    agreement : Agreement
    clock_ns : float
        Period that the design was cut for.
    latency_cycles : int
        As declared, and seen for each event.
    clocks, lost : int
        Simulated; and events that were rightly lost to resets.
    """

    network_digest: str
    design_digest: str
    agreement: Agreement
    clock_ns: float
    latency_cycles: int
    clocks: int
    lost: int


@dataclass(frozen=True)
class TwinAuc:
    """AUC of the fixed-point model and of its float twin on one signal."""

    model: str
    signal: str
    fixed: float
    twin: float


@dataclass(frozen=True)
class SignalEfficiency:
    """Efficiency of one model's working point on one signal."""

    model: str
    target_hz: float
    signal: str
    efficiency: Efficiency


@dataclass(frozen=True)
class PerformanceTable:
    """``performance.json``: working points on signals, models against baselines, and fixed point against float."""

    efficiencies: tuple[SignalEfficiency, ...]
    comparison: Comparison
    twins: tuple[TwinAuc, ...]


@dataclass(frozen=True)
class ModelPaths:
    """Artefacts of one model."""

    folder: Path
    project: Path

    @property
    def model(self) -> Path:
        """Trained QKeras model."""
        return self.folder / "model.h5"

    @property
    def twin(self) -> Path:
        """Its float twin."""
        return self.folder / "twin.h5"

    @property
    def training(self) -> Path:
        """`Training`."""
        return self.folder / "training.json"

    @property
    def network(self) -> Path:
        """`Network`."""
        return self.folder / "network.json"

    @property
    def sources(self) -> tuple[Path, ...]:
        """What the firmware project is made of, weights and test-bench vectors included."""
        return tuple(self.project / name for name in ("manifest.json", "firmware", "tb_data", "l1ad_bridge.cpp"))

    @property
    def scores(self) -> Path:
        """Raw scores, and the twin's, by sample."""
        return self.folder / "scores.h5"

    @property
    def agreement(self) -> Path:
        """`Agreements`."""
        return self.folder / "agreement.json"

    @property
    def rtl(self) -> Path:
        """Folder of the RTL and the firmware around it."""
        return self.project.with_name(f"{self.project.name}-rtl")

    @property
    def simulated(self) -> Path:
        """`Simulated`."""
        return self.folder / "simulated.json"

    @property
    def resources(self) -> Path:
        """`ResourceTable`."""
        return self.folder / "resources.json"

    @property
    def thresholds(self) -> Path:
        """`Thresholds`."""
        return self.folder / "thresholds.json"

    @property
    def rates(self) -> Path:
        """`l1ad.study.rate_study.RateStudy`."""
        return self.folder / "rates.json"

    @property
    def tables(self) -> tuple[Path, ...]:
        """Thresholds, rates of the menu with them as seeds, and these seeds, for others to read."""
        return tuple(self.folder / name for name in ("thresholds.csv", "menu_rates.csv", "seeds.toml"))


@dataclass(frozen=True)
class Run:
    """A study on its way."""

    study: Study

    def paths(self, model: str) -> ModelPaths:
        """Where the artefacts of `model` are."""
        return ModelPaths(self.study.runs / model, self.study.firmware / model)

    @property
    def performance(self) -> Path:
        """`PerformanceTable`."""
        return self.study.runs / "performance.json"

    @property
    def samples(self) -> dict[str, Path]:
        """Event files that models are judged on: the rate sample, then the signals."""
        events = self.study.config.events
        named = {RATE_SAMPLE: events.rate} | events.signals
        return {name: self.study.events_path(path) for name, path in named.items()}

    @property
    def train_path(self) -> Path:
        """Event file that models are trained on."""
        return self.study.events_path(self.study.config.events.train)

    @cached_property
    def sample_digests(self) -> dict[str, str]:
        """Content digests of all event files, as they were written: files of any size are not read for it."""
        return {name: _events_digest(path) for name, path in {"train": self.train_path, **self.samples}.items()}


def _events_digest(path: Path) -> str:
    with EventFile(path) as file:
        return file.content_digest


def start(study: Study) -> Run:
    """Make the study's folder and put the copy of its file there."""
    with replacing(study.runs / "study.toml") as aside:
        shutil.copyfile(study.path, aside)
    return Run(study)


def simulated_of(paths: ModelPaths, network: Network) -> Simulated | None:
    """How the RTL of a network was simulated, None if it has none."""
    if not paths.simulated.is_file():
        return None
    found = documents.load(Simulated, paths.simulated)
    return found if found.network_digest == network.digest else None


def comparisons(paths: ModelPaths, network: Network) -> tuple[Agreement, ...]:
    """All comparisons of a model: QKeras, emulators, C simulation, and RTL and netlist if it has them."""
    simulated, gates = simulated_of(paths, network), documents.load(ResourceTable, paths.resources).gates
    hardware = (None if simulated is None else simulated.agreement, gates)
    return (
        *documents.load(Agreements, paths.agreement).agreements,
        *(found for found in hardware if found is not None),
    )


def load_scores(path: Path, network: Network) -> dict[str, tuple[Raw, npt.NDArray[np.float64]]]:
    """Raw and twin scores by sample, of this network and no other."""
    with h5py.File(path, "r") as file:
        if file.attrs["network_digest"] != network.digest:
            raise ValueError(f"{path}: scores must be of network {network.digest[:12]}; run `l1ad emulate` again")
        return {name: (group["raw"][:], group["twin"][:]) for name, group in file.items()}


def scored_by(path: Path) -> str:
    """Name of the emulator that made the raw scores of a file."""
    with h5py.File(path, "r") as file:
        return str(file.attrs["emulator"])
