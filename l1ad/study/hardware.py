"""The hardware of a study: RTL simulated clock by clock, synthesis, and the resource table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from l1ad import documents
from l1ad.compare import Agreement, random_inputs
from l1ad.emulate import emulate
from l1ad.files import file_digest
from l1ad.hardware.firmware import write_firmware
from l1ad.hardware.resources import STAGES, Resources, estimate
from l1ad.hardware.rtl.build import rtl
from l1ad.hardware.rtl.design import Design
from l1ad.hardware.simulate import lint, simulate
from l1ad.hardware.synthesis.evidence import gate_level, open_routing, open_synthesis, router
from l1ad.hardware.synthesis.place import DEVICE
from l1ad.hardware.target import part_of
from l1ad.hardware.vectors import write_vectors
from l1ad.hardware.vendor.folder import read_folder
from l1ad.hardware.vendor.run import find_vitis, synthesise_c
from l1ad.network import Network
from l1ad.progress import console
from l1ad.study.agreement import compare_hardware
from l1ad.study.artefacts import ModelPaths, ResourceTable, Run, Simulated
from l1ad.study.config import RtlConfig
from l1ad.study.samples import csim_inputs
from l1ad.study.stages import path_digest, run_stage
from l1ad.trigger import Threshold, load_thresholds
from l1ad.trigger.rates import accept as accepted

N_GATES = 40_000
"""Random events of a gate-level simulation."""
N_VECTORS = 500
"""Events of the pattern files, the corners first."""


def synth(run: Run, *, full: bool, vendor: Path | None) -> None:
    """RTL and the firmware around it, simulated, and the resource table of every model.

    Parameters
    ----------
    run : Run
    full : bool
        RTL and all of Yosys's passes for all models; what was found so is kept.
    vendor : Path or None
        Folder of reports of Vitis HLS and Vivado: of the study's only RTL model, or one folder below for each model;
        None for that of the time before, if it is still there.
    """
    for name in run.study.config.models:
        paths = run.paths(name)
        network = Network.load(paths.network)
        before = _before(paths, network)
        thorough = full or (before is not None and before.full)
        has_rtl = thorough or name in run.study.config.rtl_models
        if has_rtl:
            _rtl(run, paths, network)
        reports = _vendor_folder(run, name, vendor)
        if reports is None and before is not None and before.vendor is not None and Path(before.vendor).is_dir():
            reports = Path(before.vendor)
        _resources(run, paths, network, _Asked(has_rtl, thorough, reports))


@dataclass(frozen=True)
class _Asked:
    """What a resource table is to hold."""

    rtl: bool
    full: bool
    vendor: Path | None


def _before(paths: ModelPaths, network: Network) -> ResourceTable | None:
    """The network's table as it is, whose thoroughness and reports are kept."""
    try:
        table = documents.load(ResourceTable, paths.resources)
    except (OSError, ValueError):  # none, or of another l1ad: it is made anew
        return None
    return table if table.network_digest == network.digest else None


def _vendor_folder(run: Run, name: str, vendor: Path | None) -> Path | None:
    """Folder of a model's reports."""
    if vendor is None:
        return None
    if not vendor.is_dir():
        raise FileNotFoundError(f"--vendor must be a folder of reports, not {str(vendor)!r}: check the path")
    names = run.study.config.models
    if any((vendor / each).is_dir() for each in names):
        return vendor / name if (vendor / name).is_dir() else None
    whose = tuple(names) if len(names) == 1 else run.study.config.rtl_models
    if len(whose) != 1:
        raise ValueError(f"--vendor {vendor}: must hold a folder for each model, one of {', '.join(names)}")
    return vendor if whose == (name,) else None


def _rtl(run: Run, paths: ModelPaths, network: Network) -> None:
    """Write RTL, and simulate it clock by clock: ``simulated.json``; a mismatch is an error."""
    config = run.study.config
    made_from = {
        "network": network.digest,
        "rtl": asdict(config.rtl),
        "part": config.firmware.part,
        "thresholds": file_digest(paths.thresholds),
        "events": run.sample_digests,
    }
    run_stage(
        paths.folder,
        "rtl",
        made_from,
        (paths.simulated, paths.rtl),
        lambda: documents.save(paths.simulated, _simulated(run, paths, network)),
    )


def _simulated(run: Run, paths: ModelPaths, network: Network) -> Simulated:
    config = run.study.config
    design = rtl(network, config.rtl.clock_ns, interval=config.rtl.interval_cycles)
    lint(design)
    points = load_thresholds(paths.thresholds, network.digest).working_points
    thresholds = [point.threshold.raw for point in points if isinstance(point.threshold, Threshold)]
    limits = thresholds or [network.score.out.max_raw]
    write_firmware(
        design, paths.rtl, part=config.firmware.part, thresholds=limits, clocks_per_bx=config.rtl.clocks_per_bx
    )
    x = csim_inputs(run, network, config.rtl.events)
    expected = emulate(network, x)
    found = simulate(design, x, limits[0])
    agreement = compare_hardware(network, f"RTL ({found.tool})", expected, limits[0], found.score, found.accept)
    console.print(f"  {agreement}")
    few = slice(0, N_VECTORS)
    accepts = np.stack([accepted(expected[few], limit) for limit in limits], axis=1)
    write_vectors(design, network, paths.rtl / "vectors", x[few], expected[few], accepts, limits)
    return Simulated(
        network.digest, design.digest(), agreement, design.clock_ns, design.latency_cycles, found.clocks, found.lost
    )


def _resources(run: Run, paths: ModelPaths, network: Network, asked: _Asked) -> None:
    """Estimate resources, synthesise by Yosys, route by nextpnr, Vitis HLS if it is on the PATH: ``resources.json``."""
    config, vitis = run.study.config, find_vitis()
    made_from: dict[str, Any] = {
        "network": network.digest,
        "target": asdict(config.firmware),
        "clock_ns": config.rtl.clock_ns,
        "interval_cycles": config.rtl.interval_cycles,
        "vitis": vitis,
        "rtl": asked.rtl,
        "full": asked.full,
        "nextpnr": router() if asked.full else None,
        "vendor": None if asked.vendor is None else path_digest(asked.vendor),
    }

    target = replace(config.firmware, clock_ns=config.rtl.clock_ns, reuse_factor=1)  # of RTL, not of hls4ml's project

    def action() -> None:
        rows, notes, gates = list[Resources](), list[str](), None
        if config.rtl.interval_cycles == 1:
            rows.append(estimate(network, target))
        else:
            notes.append("The estimate before synthesis knows one event a clock only, and was left out.")
        if asked.rtl:
            design = rtl(network, config.rtl.clock_ns, interval=config.rtl.interval_cycles)
            rows += open_synthesis(design, full=asked.full)
            gates = _gates(run, network, design, full=asked.full)
            notes.append("LUT and FF of logic synthesis are Yosys' of l1ad's own RTL, not of hls4ml's C++.")
            if asked.full:
                routed, said = open_routing(design)
                rows += routed
                notes.append(said)
        else:
            notes.append("No RTL was asked for: `l1ad synth --full` makes it.")
        if vitis:
            console.print(f"  {' '.join(vitis)} (log: {paths.project / 'vitis.log'})")
            rows.append(synthesise_c(paths.project, vitis))
            notes.append("Vitis HLS was found on the PATH and run.")
        else:
            notes.append("Vitis HLS is not on the PATH: no C synthesis was run.")
        if asked.vendor is not None:
            rows += read_folder(asked.vendor, None)
            notes.append(f"Reports of {asked.vendor} were read.")
        rows.sort(key=lambda row: STAGES.index(row.stage))
        reports = None if asked.vendor is None else str(asked.vendor.resolve())
        table = ResourceTable(network.digest, tuple(rows), " ".join(notes), asked.full, gates, reports)
        documents.save(paths.resources, table)

    run_stage(paths.folder, "resources", made_from, (paths.resources,), action)


def _gates(run: Run, network: Network, design: Design, *, full: bool) -> Agreement:
    """The netlist against the reference, on corners and events of the rate sample and of chance."""
    x = np.concatenate([csim_inputs(run, network, run.study.config.rtl.events), random_inputs(network, N_GATES)])
    expected = emulate(network, x)
    threshold = int(np.median(expected))
    score, accept = gate_level(design, x, threshold, full=full)
    agreement = compare_hardware(network, "netlist (gate level)", expected, threshold, score, accept)
    console.print(f"  {agreement}")
    return agreement


@dataclass(frozen=True)
class Verdict:
    """Whether a row of the resource table keeps within the study's budget; None where it does not say."""

    latency: bool | None
    share: float | None
    fits: bool | None


def verdict(row: Resources, config: RtlConfig, part: str) -> Verdict:
    """A row against the budget, in shares of the look-up tables of a part; the budget is not of `DEVICE`."""
    if row.part == DEVICE:
        return Verdict(None, None, None)
    device = part_of(part)
    share = None if row.lut is None or device is None else row.lut / device.lut
    return Verdict(
        None if row.latency_ns is None else row.latency_ns <= config.latency_ns,
        share,
        None if share is None else share <= config.share,
    )
