"""What a menu is: seeds, the objects and pairs that they want, and their prescales; read from TOML and written."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from l1ad.documents import decode
from l1ad.files import write_text

__all__ = ["LIMITS", "Menu", "Pair", "Requirement", "Seed", "load_menu", "save_menu"]

LIMITS = ("mass", "dr", "deta", "dphi")
"""Quantities of a pair that can be limited: fields ``mass_min``, ``mass_max`` and so on."""

CHARGES = ("opposite", "same")
MAX_DECIMALS = 9


@dataclass(frozen=True)
class Requirement:
    """Objects wanted in one collection.

    Attributes
    ----------
    collection : e.g. ``"eg"``; a sum is a collection of one object
    pt : thresholds in GeV, largest first; one object for each
    eta_max : |eta| must be below, or None
    iso_min, quality_min : smallest code, or None
    eta_codes : smallest and largest code of eta, both included, or None
    iso : admissible codes of isolation, or None
    """

    collection: str
    pt: tuple[float, ...]
    eta_max: float | None = None
    iso_min: int | None = None
    quality_min: int | None = None
    eta_codes: tuple[int, ...] | None = None
    iso: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.pt or any(not 0 < pt < math.inf for pt in self.pt):
            raise ValueError(f"pt must be positive thresholds in GeV, not {list(self.pt)}")
        if list(self.pt) != sorted(self.pt, reverse=True):
            raise ValueError(f"pt must be sorted, the largest first, not {list(self.pt)}")
        if self.eta_codes is not None and (len(self.eta_codes) != 2 or self.eta_codes[0] > self.eta_codes[1]):
            raise ValueError(f"eta_codes must be a smallest and a largest code, not {list(self.eta_codes)}")
        if self.iso is not None and not self.iso:
            raise ValueError("iso must have at least one admissible code, not 0")


@dataclass(frozen=True)
class Pair:
    """Two different objects that pass their cuts, and limits together; see `l1ad.events.menu.pairs`.

    Attributes
    ----------
    objects : one requirement with two thresholds, or two with one each
    mass_min, mass_max : invariant mass in GeV, both included, or None
    dr_min, dr_max, deta_min, deta_max, dphi_min, dphi_max : distance in eta, in phi (radians, 0..pi), and in both; both
        limits included, or None
    charges : ``"opposite"`` or ``"same"``, or None; a charge not measured is neither
    decimals : of the tables of cosh and cos that a mass is calculated with: to be stated with a limit of mass, and only
        then; the Global Trigger of CMS has 3, and 4 where one object is a muon
    """

    objects: tuple[Requirement, ...]
    mass_min: float | None = None
    mass_max: float | None = None
    dr_min: float | None = None
    dr_max: float | None = None
    deta_min: float | None = None
    deta_max: float | None = None
    dphi_min: float | None = None
    dphi_max: float | None = None
    charges: str | None = None
    decimals: int | None = None

    def __post_init__(self) -> None:
        wanted = [pt for each in self.objects for pt in each.pt]
        if len(wanted) != 2:
            raise ValueError(f"pair must have two thresholds in its objects, not {wanted}")
        if self.charges is not None and self.charges not in CHARGES:
            raise ValueError(f"charges must be one of {', '.join(CHARGES)}, not {self.charges!r}")
        if self.charges is None and all(self.limits(name) == (None, None) for name in LIMITS):
            raise ValueError("pair must have a limit (mass_min, dr_max, ...) or charges, not none")
        for name in LIMITS:
            low, high = self.limits(name)
            if any(not 0 <= limit < math.inf for limit in (low, high) if limit is not None):
                raise ValueError(f"{name}_min and {name}_max must be finite and not negative, not {low} and {high}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"{name}_min must be at most {name}_max, {high}, not {low}")
        if (self.decimals is None) != (self.limits("mass") == (None, None)):
            raise ValueError(f"decimals must be given with a limit of mass and only then, not be {self.decimals}")
        if self.decimals is not None and not 1 <= self.decimals <= MAX_DECIMALS:
            raise ValueError(f"decimals must be between 1 and {MAX_DECIMALS}, not {self.decimals}")

    def limits(self, name: str) -> tuple[float | None, float | None]:
        """Smallest and largest value of a quantity of `LIMITS`."""
        return getattr(self, f"{name}_min"), getattr(self, f"{name}_max")


@dataclass(frozen=True)
class Seed:
    """One trigger condition: all of its requirements and pairs.

    Attributes
    ----------
    name : e.g. ``"L1_SingleMu22"``
    objects, pairs : wanted, all of them; an object may serve more than one
    prescale : one decision in so many is kept, a fraction if not whole; 0 is off.  `decide` does not apply it.
    """

    name: str
    objects: tuple[Requirement, ...] = ()
    pairs: tuple[Pair, ...] = ()
    prescale: float = 1.0

    def __post_init__(self) -> None:
        if not self.name or not (self.objects or self.pairs):
            raise ValueError(f"seed must have a name and objects or pairs, not {self.name!r} and {list(self.objects)}")
        if self.prescale != 0 and not 1 <= self.prescale < math.inf:
            raise ValueError(f"prescale of {self.name} must be at least 1, or 0 for off, not {self.prescale}")


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
    folder = Path(__file__).parents[1] / "menus"
    path = Path(name_or_path) if str(name_or_path).endswith(".toml") else folder / f"{name_or_path}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ValueError(f"menu must be one of {known} or the path of a .toml file, not {str(name_or_path)!r}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: menu must be valid TOML: {error}") from None
    return decode(Menu, {"name": path.stem, **table}, str(path))


def save_menu(path: str | Path, menu: Menu) -> None:
    """Write a menu as TOML, whole or not at all; `load_menu` gives it back."""
    lines = [f"name = {_toml(menu.name)}"]
    for seed in menu.seeds:
        lines += ["", "[[seeds]]", *(f"{key} = {_toml(value)}" for key, value in _given(seed).items())]
    write_text(path, "\n".join(lines) + "\n")


def _given(document: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their default."""
    values = {field.name: getattr(document, field.name) for field in fields(document)}
    return {field.name: values[field.name] for field in fields(document) if values[field.name] != field.default}


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        items = [_toml(item) for item in value]
        long = sum(map(len, items)) > 100
        return "[\n  " + ",\n  ".join(items) + ",\n]" if long else f"[{', '.join(items)}]"
    if isinstance(value, Requirement | Pair):
        # a table in braces must stay on one line, and so must the lists in it
        return "{ " + ", ".join(f"{key} = {_inline(each)}" for key, each in _given(value).items()) + " }"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _inline(value: Any) -> str:
    return f"[{', '.join(_toml(item) for item in value)}]" if isinstance(value, tuple) else _toml(value)
