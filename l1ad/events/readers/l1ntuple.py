"""L1Ntuple: the ROOT files of the CMS Level-1 trigger group.

``l1UpgradeTree/L1UpgradeTree`` holds the recorded objects (part "unpacked"), ``l1UpgradeEmuTree/L1UpgradeTree`` those
that an emulator made of the same events (part "emulated").  Both have one branch ``L1Upgrade``, split into one list
per event and quantity: ``egIEt``, ``egIEta``, ``egIPhi``, ``egIso``, ``egBx``; the same for ``tau``, ``jet`` and
``muon``; ``sumType``, ``sumIEt``, ``sumIPhi``, ``sumBx`` for the energy sums.  Branches are found by the last part of
their name.  Only the integers are read, never the GeV branches beside them.

*Event.*  ``l1EventTree/L1EventTree`` has run, lumi, event and bx; without it they are unknown.

*Seeds.*  ``l1uGTTree/L1uGTTree`` (emulated: ``l1uGTEmuTree``) has a list of decision bits, and the names of the seeds
as aliases of the tree, ``L1uGT.m_algoDecisionInitial[459]`` for ``L1_ZeroBias``.  These are the *initial* decisions,
before prescale and mask.  A file merged from runs of different menus keeps one menu's names: seeds of such a file
cannot be trusted, and nothing in it tells.

*Simulation* is known by the generator tree, ``l1GeneratorTree/L1GenTree``, or by run 1 in all events, which no run of
the detector has.  Only then is ``nPV_True`` read as the pileup: in data it is not filled.

Source
------
CMSSW ``L1Trigger/L1TNtuples``: ``interface/L1AnalysisL1UpgradeDataFormat.h``, ``src/L1AnalysisL1Upgrade.cc``,
``interface/L1AnalysisEventDataFormat.h``, ``plugins/L1UpgradeTreeProducer.cc``, ``plugins/L1uGTTreeProducer.cc``.
Read with it: two public files, 200
events of data of 2018 and one of simulation; the seeds ``L1_SingleMu3``, ``5``, ``7`` and ``L1_SingleJet35`` fired in
just the events whose objects pass them, in both parts.  That run 1 means simulation, and that all files name their
trees so, is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.readers.cms import SUMS, Layout, Objects, Origin, branches_of, read_columns, remarks, resolve
from l1ad.events.readers.root import (
    Lists,
    branches,
    choose_part,
    find_tree,
    integers,
    lists,
    numbers,
    open_root,
    stream,
)
from l1ad.events.readers.source import Source
from l1ad.events.schema import Schema, load_schema
from l1ad.events.store import META, Events, make_meta

__all__ = ["read_l1ntuple"]

TREES = {"unpacked": "l1UpgradeTree/L1UpgradeTree", "emulated": "l1UpgradeEmuTree/L1UpgradeTree"}
SEED_TREES = {"unpacked": "l1uGTTree/L1uGTTree", "emulated": "l1uGTEmuTree/L1uGTTree"}
EVENT_TREE = "l1EventTree/L1EventTree"
GENERATOR_TREE = "l1GeneratorTree/L1GenTree"
DECISIONS = "m_algoDecisionInitial"
QUANTITIES = {"run": "run", "lumi": "ls", "event": "event", "bx": "bx"}
PILEUP = "nPV_True"
REMEDY = "make the L1Ntuple with a CMSSW that writes it (L1Trigger/L1TNtuples, from 2016 on)"

_ALIAS = re.compile(rf"L1uGT\.{DECISIONS}\[(\d+)\]")


def _layout() -> Layout:
    out: dict[str, Objects] = {}
    for name, stem in {"eg": "eg", "tau": "tau", "jet": "jet", "mu": "muon"}.items():
        columns: dict[str, tuple[Origin, ...]] = {
            "pt": (Origin(stem + "IEt", "code"),),
            "eta": (Origin(stem + "IEta", "code"),),
            "phi": (Origin(stem + "IPhi", "code"),),
        }
        if name != "jet":
            columns["iso"] = (Origin(stem + "Iso", "code"),)
        if name == "mu":
            columns["pt"] = (Origin(stem + "IEt", "muon code"),)
            columns["eta"] = (Origin(stem + "IEtaAtVtx", "code"), *columns["eta"])
            columns["phi"] = (Origin(stem + "IPhiAtVtx", "code"), *columns["phi"])
            columns["quality"] = (Origin(stem + "Qual", "code"),)
            columns["charge"] = (Origin(stem + "Chg", "sign"),)
        out[name] = Objects(((stem + "Bx", 0),), columns)
    for name, kind in SUMS.items():
        columns = {"pt": (Origin("sumIEt", "code"),)}
        if name in ("met", "mht"):
            columns["phi"] = (Origin("sumIPhi", "code"),)
        out[name] = Objects((("sumBx", 0), ("sumType", kind)), columns)
    return out


LAYOUT = _layout()


@dataclass(frozen=True)
class _Plan:
    """What to read.

    Attributes
    ----------
    layout : resolved
    wanted : full names of branches of each tree
    meta : branch of one number per event -> quantity
    seeds : name -> bit
    """

    path: Path
    schema: Schema
    layout: Layout
    wanted: dict[str, list[str]]
    meta: dict[str, str] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)


def read_l1ntuple(path: Path, size: int, part: str | None = None) -> Source:
    """An L1Ntuple; see the module for what is read.

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
        If a tree or branch is missing or holds what has no code, trees differ in length, or `part` is not in the file.
    """
    path, schema = Path(path), load_schema("cms_run3")
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    warnings = []
    with open_root(path) as directory:
        trees = {name: tree for name, where in TREES.items() if (tree := find_tree(directory, path, where)) is not None}
        if not trees:
            raise ValueError(f"{path}: tree {' or '.join(TREES.values())} must exist; the file is no L1Ntuple")
        part = choose_part(path, {name: TREES[name] for name in trees}, part)
        tree = trees[part]
        n, present = int(tree.num_entries), branches(tree)
        layout = resolve(LAYOUT, present, path, REMEDY)
        plan = _Plan(path, schema, layout, {TREES[part]: [present[name] for name in branches_of(layout)]})
        simulated = find_tree(directory, path, GENERATOR_TREE) is not None
        event = _companion(directory, path, EVENT_TREE, n)
        if event is None:
            warnings.append(f"tree {EVENT_TREE} is not in the file: run, ls, event and bx are unknown")
        else:
            simulated |= _add_event(event, plan, simulated)
        seeds = _companion(directory, path, SEED_TREES[part], n)
        if seeds is None or not _add_seeds(seeds, SEED_TREES[part], plan):
            warnings.append(f"tree {SEED_TREES[part]} with decisions and names is not in the file: there are no seeds")
    attrs: dict[str, Any] = {"simulated": simulated, "objects": part}
    if plan.seeds:
        attrs |= {"seeds": list(plan.seeds), "seed_decisions": "initial"}
    return Source(schema, attrs, n, _chunks(plan, size), (*remarks(LAYOUT, layout), *warnings))


def _companion(directory: Any, path: Path, name: str, n: int) -> Any | None:
    """A tree that has an entry for each of the `n` events, None where the file has none."""
    tree = find_tree(directory, path, name)
    if tree is not None and tree.num_entries != n:
        raise ValueError(
            f"{path}: tree {name} must have {n} entries as the objects, not {tree.num_entries}; make the file again"
        )
    return tree


def _add_event(tree: Any, plan: _Plan, simulated: bool) -> bool:
    """Plan to read the numbers of the event; whether they are those of simulation."""
    present = branches(tree)
    for branch in QUANTITIES:
        if branch not in present:
            raise ValueError(f"{plan.path}: branch {branch} of {EVENT_TREE} must exist; {REMEDY}")
    plan.meta.update(QUANTITIES)
    simulated = simulated or _is_run_1(plan.path, present["run"])
    if simulated and PILEUP in present:
        plan.meta[PILEUP] = "pileup"
    plan.wanted[EVENT_TREE] = [present[branch] for branch in plan.meta]
    return simulated


def _is_run_1(path: Path, branch: str) -> bool:
    runs = {int(run) for chunk in stream(path, {EVENT_TREE: [branch]}, 1_000_000) for run in np.unique(chunk["run"])}
    return runs == {1}


def _add_seeds(tree: Any, name: str, plan: _Plan) -> bool:
    """Plan to read the decisions; false if the tree has none, or no names of them."""
    present = branches(tree)
    found = {seed: int(match[1]) for seed, text in tree.aliases.items() if (match := _ALIAS.fullmatch(text))}
    if DECISIONS not in present or not found:
        return False
    plan.seeds.update(sorted(found.items(), key=lambda item: item[1]))
    plan.wanted[name] = [present[DECISIONS]]
    return True


def _chunks(plan: _Plan, size: int) -> Iterator[Events]:
    bits = np.array(list(plan.seeds.values()), np.int64)
    for arrays in stream(plan.path, plan.wanted, size):
        data = {name: lists(arrays[name], f"{plan.path}: branch {name}") for name in branches_of(plan.layout)}
        n = len(next(iter(data.values()))[0]) - 1
        known: dict[str, Any] = {"seeds": np.zeros((n, 0), np.uint8)}
        for branch, quantity in plan.meta.items():
            where = f"{plan.path}: branch {branch}"
            values = numbers(arrays[branch], where)
            known[quantity] = values if quantity == "pileup" else integers(values, META[quantity][0], where)
        if len(bits):
            known["seeds"] = _decisions(lists(arrays[DECISIONS], f"{plan.path}: branch {DECISIONS}"), bits, plan.path)
        yield Events(plan.schema, read_columns(plan.layout, data, plan.schema, plan.path), make_meta(n, **known))


def _decisions(words: Lists, bits: NDArray[np.int64], path: Path) -> NDArray[np.uint8]:
    """Decisions (n, seeds) of the seeds that have these bits."""
    offsets, flat = words
    width = np.diff(offsets)
    if (width <= bits.max()).any():
        event = int(np.argmin(width))
        raise ValueError(
            f"{path}: branch {DECISIONS} must have more than {bits.max()} decisions as the seeds say, "
            f"not {width[event]} (event {event} of its chunk); make the file again"
        )
    return np.asarray(flat[offsets[:-1, None] + bits], np.uint8)
