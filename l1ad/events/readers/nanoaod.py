"""CMS NanoAOD with Level-1 objects and seed decisions, in ROOT.

The tree ``Events`` has one list per event and quantity: ``L1EG_pt``, ``L1EG_eta``, ``L1EG_phi`` in GeV and radians
and, in files made with all Level-1 information, the integers of the hardware (``L1EG_hwPt`` ...), which are taken
where they are; the same for ``L1Tau``, ``L1Jet``, ``L1Mu`` and ``L1EtSum`` (with ``etSumType``).  Objects that an
emulator made are ``L1EmulEG`` ...: the part "emulated"; the recorded ones are the part "unpacked".

*Reduced files.*  Central files keep e/γ from 10 GeV, tau from 24, jets from 30, muons from 3 GeV with quality from 8,
sums of types 1, 2, 3, 8 (no total ET), no codes and no isolation of muons.  Such files are known by their lack of
codes, or by having no softer object among their first events; `Source.warnings` then says so.

*Seeds.*  Every boolean branch ``L1_*`` is a column of ``meta/seeds``, but ``L1_UnprefireableEvent*`` and
``L1_FinalOR_BX*``: these are no seeds of a menu, they flag the crossings before.  NanoAOD stores the *final* decision,
after prescale and mask, of the recorded trigger, for the emulated objects too.  Seeds that fire whatever there is
(``L1_ZeroBias``, ``L1_AlwaysTrue``) are kept: a pure rate has to leave them out.

Simulation is known by a generator branch; its weights (``genWeight``) are not read.

Source
------
Branches, cuts and types: CMSSW ``PhysicsTools/NanoAOD/python/l1trig_cff.py``; names of the emulated objects:
``DPGAnalysis/L1TNanoAOD/README.md``; seeds: ``PhysicsTools/NanoAOD/plugins/L1TriggerResultsConverter.cc`` and
github.com/cms-l1t-offline/cmssw/issues/1100.  Compared with two public files, 100 events of data of 2024
and 10 of simulation, with all Level-1 information: codes made from GeV and radians equal those of the hardware for
every object; no seed on one object or sum fired where the objects do not pass it, and ``L1_SingleMu22``,
``L1_SingleJet180``, ``L1_HTT280er`` and others fired wherever they do.  No reduced central file was at hand: its
branches are as the configuration says.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l1ad.events.readers.cms import SUMS, Layout, Objects, Origin, branches_of, read_columns, remarks, resolve
from l1ad.events.readers.root import branches, choose_part, find_tree, integers, lists, numbers, open_root, stream
from l1ad.events.readers.source import Source
from l1ad.events.schema import Schema, load_schema
from l1ad.events.store import META, Events, make_meta

__all__ = ["read_nanoaod"]

TREE = "Events"
PREFIXES = {"unpacked": "L1", "emulated": "L1Emul"}
KINDS = {"eg": "EG", "tau": "Tau", "jet": "Jet", "mu": "Mu"}
NO_SEEDS = ("L1_UnprefireableEvent", "L1_FinalOR_BX")
"""Branches ``L1_*`` that begin so are no seeds."""
GENERATOR = ("genWeight", "nGenPart", "Pileup_nTrueInt")
CUTS_GEV = {"eg": 10.0, "tau": 24.0, "jet": 30.0, "mu": 3.0}
"""Smallest pT in reduced files."""
PROBED = 1000
REMEDY = "the file lacks Level-1 objects: make it with them (cmsDriver step NANO:@PHYS+@L1FULL writes all)"
BIASED = (
    "the file is reduced (e/γ from 10 GeV, tau from 24, jets from 30, muons from 3 GeV with quality from 8): "
    "thresholds on such data are biased"
)


def _layout(prefix: str) -> Layout:
    out = {}
    for name, kind in KINDS.items():
        stem = f"{prefix}{kind}_"
        columns: dict[str, tuple[Origin, ...]] = {
            "pt": (Origin(stem + "hwPt", "code"), Origin(stem + "pt", "value")),
            "eta": (Origin(stem + "hwEta", "code"), Origin(stem + "eta", "value")),
            "phi": (Origin(stem + "hwPhi", "code"), Origin(stem + "phi", "value")),
        }
        if name != "jet":
            columns["iso"] = (Origin(stem + "hwIso", "code"),)
        if name == "mu":
            columns["pt"] = (Origin(stem + "hwPt", "muon code"), Origin(stem + "pt", "muon GeV"))
            for key in ("eta", "phi"):
                at_vertex = (
                    Origin(f"{stem}hw{key.title()}AtVtx", "code"),
                    Origin(f"{stem}{key}AtVtx", "value"),
                )
                columns[key] = at_vertex + columns[key]
            columns["quality"] = (Origin(stem + "hwQual", "code"),)
            columns["charge"] = (Origin(stem + "hwCharge", "sign bit"),)
        out[name] = Objects(((stem + "bx", 0),), columns)
    stem = f"{prefix}EtSum_"
    for name, kind_of_sum in SUMS.items():
        columns = {"pt": (Origin(stem + "hwPt", "code"), Origin(stem + "pt", "value"))}
        if name in ("met", "mht"):
            columns["phi"] = (Origin(stem + "hwPhi", "code"), Origin(stem + "phi", "value"))
        out[name] = Objects(((stem + "bx", 0), (stem + "etSumType", kind_of_sum)), columns)
    return out


@dataclass(frozen=True)
class _Plan:
    """What to read: the resolved layout, the seeds, and branches of one number per event -> quantity."""

    path: Path
    schema: Schema
    layout: Layout
    seeds: list[str]
    meta: dict[str, str]


def read_nanoaod(path: Path, size: int, part: str | None = None) -> Source:
    """A NanoAOD file; see the module for what is read.

    Parameters
    ----------
    path : the file
    size : events at a time
    part : "unpacked" or "emulated"; None where the file has only one of them

    Raises
    ------
    ImportError
        If uproot is not installed.
    OSError
        If the file is missing, not ROOT, truncated or damaged.
    ValueError
        If a branch is missing or holds what has no code, or `part` is not in the file.
    """
    path, schema = Path(path), load_schema("cms_run3")
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    with open_root(path) as directory:
        tree = find_tree(directory, path, TREE)
        if tree is None:
            raise ValueError(f"{path}: tree {TREE} must exist; the file is not NanoAOD")
        present = branches(tree)
        types = {name: tree[full].typename for name, full in present.items() if name.startswith("L1_")}
        n = int(tree.num_entries)
    places = {name: f"{prefix}EG ..." for name, prefix in PREFIXES.items()}
    found = {name: place for name, place in places.items() if f"{PREFIXES[name]}EG_bx" in present}
    part = choose_part(path, found or places, part or (None if found else "unpacked"))
    wanted = _layout(PREFIXES[part])
    layout = resolve(wanted, present, path, REMEDY)
    plan = _Plan(path, schema, layout, _seeds(types), _meta_branches(present, path))
    simulated = any(branch in present for branch in GENERATOR)
    attrs: dict[str, Any] = {"simulated": simulated, "objects": part}
    if plan.seeds:
        attrs |= {"seeds": plan.seeds, "seed_decisions": "final"}
    with closing(_chunks(plan, [], PROBED)) as chunks:
        probe = next(chunks, None)
    warnings = [*_reduced(plan, probe), *remarks(wanted, layout)]
    if plan.seeds:
        warnings.append("seed decisions in NanoAOD are those of the recorded trigger after prescale and mask")
    if "genWeight" in present:
        warnings.append("generator weights (genWeight) are not read: every event counts the same")
    return Source(schema, attrs, n, _chunks(plan, plan.seeds, size), tuple(warnings))


def _seeds(types: dict[str, str]) -> list[str]:
    return [name for name, kind in types.items() if kind == "bool" and not name.startswith(NO_SEEDS)]


def _meta_branches(present: dict[str, str], path: Path) -> dict[str, str]:
    for branch in ("run", "luminosityBlock", "event"):
        if branch not in present:
            raise ValueError(f"{path}: branch {branch} must exist; the file is not NanoAOD, or was cut down: keep it")
    out = {"run": "run", "luminosityBlock": "ls", "event": "event"}
    optional = {"bunchCrossing": "bx", "Pileup_nTrueInt": "pileup"}
    return out | {branch: quantity for branch, quantity in optional.items() if branch in present}


def _chunks(plan: _Plan, seeds: list[str], size: int) -> Generator[Events, None, None]:
    listed = branches_of(plan.layout)
    for arrays in stream(plan.path, {TREE: [*listed, *plan.meta, *seeds]}, size):
        known: dict[str, Any] = {}
        for branch, quantity in plan.meta.items():
            where = f"{plan.path}: branch {branch}"
            values = numbers(arrays[branch], where)
            known[quantity] = values if quantity == "pileup" else integers(values, META[quantity][0], where)
        n = len(known["run"])
        fired = np.zeros((n, len(seeds)), np.uint8)
        for i, name in enumerate(seeds):
            fired[:, i] = numbers(arrays[name], f"{plan.path}: branch {name}")
        data = {name: lists(arrays[name], f"{plan.path}: branch {name}") for name in listed}
        columns = read_columns(plan.layout, data, plan.schema, plan.path)
        yield Events(plan.schema, columns, make_meta(n, seeds=fired, **known))


def _reduced(plan: _Plan, probe: Events | None) -> Iterator[str]:
    """Warnings about what central production leaves out."""
    coded = all(plan.layout[name].columns["pt"][0].meaning.endswith("code") for name in KINDS)
    if not coded or (probe is not None and _nothing_soft(probe)):
        yield BIASED
    if probe is not None and not probe.columns["et.pt"].any():
        yield "total ET (type 0) is not in the file: et.pt is 0, which no threshold passes"


def _nothing_soft(events: Events) -> bool:
    known = events.schema.columns()
    softest = {}
    for name in KINDS:
        pt = events.columns[f"{name}.pt"]
        if pt.any():
            softest[name] = pt[pt > 0].min() * known[f"{name}.pt"][1].lsb
    return {"eg", "tau", "jet"} <= set(softest) and all(pt >= CUTS_GEV[name] for name, pt in softest.items())
