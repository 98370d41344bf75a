"""Conventional triggers: threshold seeds on hardware integers, read from a table (``menus/*.toml``)."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l1ad.documents import decode
from l1ad.events.schema import Column, Schema
from l1ad.events.store import Events

__all__ = ["Menu", "Requirement", "Seed", "decide", "load_menu"]


@dataclass(frozen=True)
class Requirement:
    """Objects wanted in one collection.

    Attributes
    ----------
    collection : e.g. ``"eg"``
    pt : thresholds in GeV, largest first; one object for each
    eta_max : |eta| must be below, or None
    iso_min, quality_min : smallest code, or None
    """

    collection: str
    pt: tuple[float, ...]
    eta_max: float | None = None
    iso_min: int | None = None
    quality_min: int | None = None

    def __post_init__(self) -> None:
        if not self.pt or any(not 0 < pt < math.inf for pt in self.pt):
            raise ValueError(f"pt must be positive thresholds in GeV, not {list(self.pt)}")
        if list(self.pt) != sorted(self.pt, reverse=True):
            raise ValueError(f"pt must be sorted, the largest first, not {list(self.pt)}")


@dataclass(frozen=True)
class Seed:
    """One trigger condition: all of its requirements."""

    name: str
    objects: tuple[Requirement, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.objects:
            raise ValueError(f"seed must have a name and objects, not {self.name!r} and {list(self.objects)}")


@dataclass(frozen=True)
class Menu:
    """Seeds in the order of their decisions."""

    name: str
    seeds: tuple[Seed, ...]

    def __post_init__(self) -> None:
        names = [seed.name for seed in self.seeds]
        if not names:
            raise ValueError("menu must have at least one seed, not 0")
        if len(set(names)) != len(names):
            raise ValueError(f"seeds must have different names, not {', '.join(names)}")


def load_menu(name_or_path: str | Path = "conventional") -> Menu:
    """The menu of that name in ``l1ad/events/menus``, or of a TOML file.

    Raises
    ------
    ValueError
        If there is no such menu or something in it is wrong or unknown; the text names file and key.
    """
    folder = Path(__file__).parent / "menus"
    path = Path(name_or_path) if str(name_or_path).endswith(".toml") else folder / f"{name_or_path}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ValueError(f"menu must be one of {known} or the path of a .toml file, not {str(name_or_path)!r}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: menu must be valid TOML: {error}") from None
    return decode(Menu, {"name": path.stem, **table}, str(path))


def _column(schema: Schema, collection: str, name: str, seed: str) -> Column:
    column = schema.collection(collection).column(name)
    if column is None:
        raise ValueError(f"seed {seed}: collection {collection} must have the column {name}; schema {schema.name}")
    return column


def _fires(events: Events, wanted: Requirement, seed: str) -> NDArray[np.bool_]:
    schema, name = events.schema, wanted.collection
    column = _column(schema, name, "pt", seed)
    codes = [math.ceil(pt / column.lsb - 1e-9) for pt in wanted.pt]  # the first code at or above
    if codes[0] > column.high:
        raise ValueError(f"seed {seed}: pt must be at most {column.high * column.lsb} GeV, not {wanted.pt[0]}")
    if len(codes) > schema.collection(name).slots:
        raise ValueError(f"seed {seed}: pt must have at most {schema.collection(name).slots} thresholds ({name})")
    passing = np.ones(events.columns[f"{name}.pt"].shape, np.bool_)
    if wanted.eta_max is not None:
        limit = math.ceil(wanted.eta_max / _column(schema, name, "eta", seed).lsb - 1e-9)
        passing &= np.abs(events.columns[f"{name}.eta"].astype(np.int64)) < limit
    for key, least in (("iso", wanted.iso_min), ("quality", wanted.quality_min)):
        if least is not None:
            _column(schema, name, key, seed)
            passing &= events.columns[f"{name}.{key}"] >= least
    pt = -np.sort(-np.where(passing, events.columns[f"{name}.pt"], 0).astype(np.int64), axis=1)
    return np.asarray((pt[:, : len(codes)] >= codes).all(axis=1))


def decide(events: Events, menu: Menu) -> NDArray[np.bool_]:
    """Decisions (n, seeds): whether each seed of the menu fires.

    Compares raw codes with ``>=``; a saturated code passes every threshold.
    """
    fired = np.ones((len(events), len(menu.seeds)), np.bool_)
    for i, seed in enumerate(menu.seeds):
        for wanted in seed.objects:
            fired[:, i] &= _fires(events, wanted, seed.name)
    return fired
