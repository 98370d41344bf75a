"""Decisions of a menu on events, in integers."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1ad.events.menu.pairs import column_of, pair_cuts, passes
from l1ad.events.menu.seeds import Menu, Pair, Requirement
from l1ad.events.schema import Schema
from l1ad.events.table import Events

__all__ = ["decide", "menu_columns", "takes"]

Mask = NDArray[np.bool_]


def decide(events: Events, menu: Menu) -> Mask:
    """Decisions (n, seeds): whether each seed of the menu fires, before its prescale.

    Compares raw codes with ``>=``; a saturated code passes every threshold.

    Raises
    ------
    ValueError
        If a seed wants a collection, column or number of objects that the schema lacks, a threshold above the range,
        or a column that the events do not hold; the text names the seed.
    """
    fired = np.ones((len(events), len(menu.seeds)), np.bool_)
    for i, seed in enumerate(menu.seeds):
        where = f"seed {seed.name}"
        for wanted in seed.objects:
            fired[:, i] &= _fires(events, wanted, where)
        for pair in seed.pairs:
            fired[:, i] &= _pair_fires(events, pair, where)
    return fired


def takes(events: Events, menu: Menu) -> Mask:
    """Whether any unprescaled seed of the menu fires (n,): the events that a pure rate leaves out.

    Raises
    ------
    ValueError
        As `decide`.
    """
    seeds = tuple(seed for seed in menu.seeds if seed.prescale == 1)
    if not seeds:
        return np.zeros(len(events), np.bool_)
    return np.asarray(decide(events, replace(menu, seeds=seeds)).any(axis=1))


def menu_columns(menu: Menu, schema: Schema) -> list[str]:
    """Names of the columns that `decide` reads, in the order of the schema.

    Raises
    ------
    ValueError
        If the schema lacks one; the text names the seed.
    """
    wanted = set()
    for seed in menu.seeds:
        where = f"seed {seed.name}"
        for each in (*seed.objects, *(each for pair in seed.pairs for each in pair.objects)):
            cuts = {
                "pt": True,
                "eta": each.eta_max is not None or each.eta_codes is not None,
                "iso": each.iso_min is not None or each.iso is not None,
                "quality": each.quality_min is not None,
            }
            wanted |= {(where, each.collection, name) for name, cut in cuts.items() if cut}
        for pair in seed.pairs:
            names = pair_cuts(pair, schema, where).columns
            wanted |= {(where, each.collection, name) for each in pair.objects for name in names}
    for where, collection, name in sorted(wanted):
        column_of(schema, collection, name, where)
    named = {f"{collection}.{name}" for _, collection, name in wanted}
    return [name for name in schema.columns() if name in named]


def _codes(events: Events, collection: str, name: str, where: str) -> NDArray[Any]:
    """Raw codes (slots, n) of a column."""
    column_of(events.schema, collection, name, where)
    key = f"{collection}.{name}"
    if key not in events.columns:
        raise ValueError(f"{where}: events must hold the column {key}, not lack it; read it too")
    return events.columns[key].T


def _thresholds(events: Events, wanted: Requirement, where: str) -> list[int]:
    """Codes of the thresholds: for each the first code at or above."""
    name, column = wanted.collection, column_of(events.schema, wanted.collection, "pt", where)
    codes = [math.ceil(pt / column.lsb - 1e-9) for pt in wanted.pt]
    if codes[0] > column.high:
        raise ValueError(f"{where}: pt must be at most {column.high * column.lsb} GeV, not {wanted.pt[0]}")
    slots = events.schema.collection(name).slots
    if len(codes) > slots:
        raise ValueError(f"{where}: pt must have at most {slots} thresholds ({name}), not {len(codes)}")
    return codes


def _cuts(events: Events, wanted: Requirement, where: str) -> list[Mask]:
    """Whether each object passes each cut but that of pT, (slots, n) each."""

    def codes(key: str, *limits: int) -> NDArray[Any]:
        column = column_of(events.schema, wanted.collection, key, where)
        if beyond := [limit for limit in limits if not column.low <= limit <= column.high]:
            raise ValueError(f"{where}: codes of {key} must be in {column.low}..{column.high}, not {beyond[0]}")
        return _codes(events, wanted.collection, key, where)

    cuts = []
    if wanted.eta_max is not None:
        limit = math.ceil(wanted.eta_max / column_of(events.schema, wanted.collection, "eta", where).lsb - 1e-9)
        cuts += [codes("eta") > -limit, codes("eta") < limit]
    if wanted.eta_codes is not None:
        low, high = wanted.eta_codes
        eta = codes("eta", low, high)
        cuts += [eta >= low, eta <= high]
    for key, least in (("iso", wanted.iso_min), ("quality", wanted.quality_min)):
        if least is not None:
            cuts.append(codes(key, least) >= least)
    if wanted.iso is not None:
        iso = codes("iso", *wanted.iso)
        cuts.append(np.logical_or.reduce([iso == code for code in wanted.iso]))
    return cuts


def _fires(events: Events, wanted: Requirement, where: str) -> Mask:
    codes, cuts = _thresholds(events, wanted, where), _cuts(events, wanted, where)
    pt = _codes(events, wanted.collection, "pt", where)
    fired = np.ones(len(events), np.bool_)
    for i, code in enumerate(codes):
        if code in codes[i + 1 :]:
            continue  # the last of equal thresholds wants the most objects
        passing = _all(pt >= code, cuts)
        fired &= passing.any(axis=0) if i == 0 else np.add.reduce(passing, axis=0, dtype=np.int16) > i
    return fired


def _passing(events: Events, leg: Requirement, where: str) -> Mask:
    """Whether each object (slots, n) can be the one that a requirement of one threshold wants."""
    code = _thresholds(events, leg, where)[0]
    return _all(_codes(events, leg.collection, "pt", where) >= code, _cuts(events, leg, where))


def _all(passing: Mask, cuts: list[Mask]) -> Mask:
    for cut in cuts:
        passing &= cut
    return passing


def _pair_fires(events: Events, pair: Pair, where: str) -> Mask:
    limits = pair_cuts(pair, events.schema, where)
    legs = [replace(each, pt=(pt,)) for each in pair.objects for pt in each.pt]
    same, alike = legs[0].collection == legs[1].collection, legs[0] == legs[1]
    if same:
        _thresholds(events, replace(legs[0], pt=tuple(sorted((leg.pt[0] for leg in legs), reverse=True))), where)
    masks = [_passing(events, leg, where) for leg in legs]
    some = masks[0].any(axis=0) & masks[1].any(axis=0)
    if same:
        some &= np.add.reduce(masks[0] | masks[1], axis=0, dtype=np.int16) > 1
    rows = np.flatnonzero(some)
    masks = [mask[:, rows] for mask in masks]
    codes = [{key: _codes(events, leg.collection, key, where)[:, rows] for key in limits.columns} for leg in legs]
    fired = np.zeros(len(rows), np.bool_)
    for i, j in product(range(len(masks[0])), range(len(masks[1]))):
        if same and (i == j or (alike and j < i)):
            continue
        left = np.flatnonzero(masks[0][i] & masks[1][j] & ~fired)
        if len(left):
            first = {key: array[i, left] for key, array in codes[0].items()}
            second = {key: array[j, left] for key, array in codes[1].items()}
            fired[left] = passes(limits, first, second)
    out = np.zeros(len(events), np.bool_)
    out[rows[fired]] = True
    return out
