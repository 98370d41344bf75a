"""Published menus: what the name of a CMS seed says, and tables of prescales.

A table is a CSV file with one row per seed, as CMS publishes them: ``Index,Name`` and one column for each set of
prescales (``2p0E34``, ``Emergency``, ...).

Source
------
Prescale tables of github.com/cms-l1-dpg/L1MenuTools (``rate-estimation/menu``), and the definitions of seeds that stand
beside their names in the Global Trigger's firmware of menus of 2017 to 2024.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from l1ad.events.menu.seeds import Menu, Pair, Requirement, Seed

__all__ = ["prescaled", "published_menu", "read_prescales", "seed_of_name"]

_NUMBER = r"(\d+(?:p\d+)?)"
_TERM = re.compile(
    rf"(Single|Double|Triple|Quad)?(LooseIso|Iso)?(Mu|EG|Tau|Jet)({_NUMBER[1:-1]}|Open)?(SQ|DQ|OQ)?(?:er{_NUMBER})?"
)
_SUM = re.compile(rf"(ETMHF|ETM|ETT|HTT|HTM|MHT){_NUMBER}(?:er)?")
_LEG = re.compile(rf"(LooseIso|Iso)?{_NUMBER}(SQ|DQ|OQ)?")
_ETA = re.compile(rf"er{_NUMBER}")
_LIMIT = re.compile(rf"(?:(Min|Max){_NUMBER}|{_NUMBER}to{_NUMBER})")

_COLLECTIONS = {"Mu": "mu", "EG": "eg", "Tau": "tau", "Jet": "jet"}
_SUMS = {"ETM": "met", "ETT": "et", "HTT": "ht", "HTM": "mht", "MHT": "mht"}
_COUNTS = {"Single": 1, "Double": 2, "Triple": 3, "Quad": 4}
_QUALITY = {"SQ": 12, "DQ": 8, "OQ": 4}
_ISO = {("eg", "Iso"): (1, 3), ("eg", "LooseIso"): (2, 3), ("tau", "Iso"): (1, 2, 3)}
_QUANTITIES = {"Mass": "mass", "dR": "dr", "dEta": "deta"}
_CHARGES = {"OS": "opposite", "SS": "same"}
_PRESENT_GEV = 0.5  # one code
_CALORIMETER_LSB = 0.0435


@dataclass
class _Term:
    """Objects of one kind as a name lists them: ``DoubleMu_15_7_SQ``, and what follows about their pair."""

    collection: str
    count: int
    iso: str = ""
    quality: str = ""
    eta: float | None = None
    legs: list[tuple[float, str, str]] = field(default_factory=list)  # threshold, isolation, quality
    closed: bool = False  # no more thresholds may follow
    pair: dict[str, float] = field(default_factory=dict)
    charges: str | None = None

    def requirements(self) -> list[Requirement]:
        """One for each object, the hardest first."""
        default = "" if self.collection != "mu" else "SQ" if self.count == 1 else "DQ"
        return [
            replace(
                _where(self.collection, self.eta),
                pt=(pt or _PRESENT_GEV,),
                quality_min=_QUALITY.get(quality or self.quality or default),
                iso=_ISO[self.collection, iso or self.iso] if iso or self.iso else None,
            )
            for pt, iso, quality in self.legs
        ]


def seed_of_name(name: str, *, etmhf: str | None = None) -> Seed:
    """The seed that a CMS name such as ``L1_DoubleMu4_SQ_OS_dR_Max1p2`` stands for.

    Understood are objects (Single, Double, Triple, Quad; Mu, EG, Tau, Jet; Iso, LooseIso; thresholds behind or after
    ``_``), sums (ETM, ETMHF, ETT, HTT, HTM, MHT), qualities (SQ, DQ, OQ), ``er``, charges (OS, SS) and pairs (dR, dEta,
    Mass; Min, Max, ``7to18``), and any of them one after the other.  The rest is refused, so also dPhi: names round its
    limits.

    What a name leaves out is as in the Global Trigger: quality at least 12 for one muon and SQ, 8 for more and DQ, 4
    for OQ; Iso is code 1 or 3 of e/γ and 1 to 3 of tau, LooseIso code 2 or 3 (our sample has only 0 and 1); ``er2p5``
    is codes -58 to 57 of calorimeter objects, and |eta| < 2.5 of muons; a threshold of 0 is any object, 0.5 GeV; cosh
    and cos have 3 decimals, 4 with a muon.  The prescale is 1.

    Parameters
    ----------
    name : with or without ``L1_``
    etmhf : collection to take for ETMHF, the missing ET with the forward calorimeter; ``"met"`` has it or not, as the
        events were made

    Raises
    ------
    ValueError
        If a part of the name is not understood; the text names both.
    """
    terms: list[_Term] = []
    tokens = name.removeprefix("L1_").split("_")
    while tokens:
        token = tokens.pop(0)
        if token in _QUANTITIES and terms and tokens:
            terms[-1].closed = True
            _add_limits(terms[-1], _QUANTITIES[token], tokens.pop(0), name)
        elif not _add(terms, token, etmhf):
            why = "; say by etmhf which collection to take" if token.startswith("ETMHF") else ""
            raise ValueError(f"seed {name}: every part must be one that is understood, not {token!r}{why}")
    objects: list[Requirement] = []
    pairs: list[Pair] = []
    implied: list[_Term] = []
    for before, term in zip([None, *terms], terms, strict=False):
        if len(term.legs) != term.count:
            raise ValueError(f"seed {name}: {term.collection} must have {term.count} thresholds, not {len(term.legs)}")
        if term.pair or term.charges:
            pairs.append(_pair(before, term, name))
            implied.append(term)
            if term.count == 1 and before is not None and before.count == 1:
                implied.append(before)
    for term in terms:
        if not any(term is each for each in implied):
            objects += _nested(term.requirements(), name)
    return Seed(name, tuple(objects), tuple(pairs))


def read_prescales(path: str | Path, column: str) -> dict[str, float]:
    """One column of a prescale table: prescale by name of seed, 0 for off.

    Raises
    ------
    ValueError
        If there is no such column, a name is twice there, or a prescale is no number; the text names file and line.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, strict=True)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: must be a CSV table in UTF-8: {error}") from None
    header = rows[0] if rows else []
    for wanted in ("Name", column):
        if header.count(wanted) != 1:
            known = ", ".join(key for key in header if key not in ("Index", "Name"))
            raise ValueError(f"{path}: must have one column {wanted!r}, not {header.count(wanted)}; prescales: {known}")
    prescales: dict[str, float] = {}
    for line, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise ValueError(f"{path}, line {line}: must have {len(header)} cells, not {len(row)}")
        name, text = row[header.index("Name")], row[header.index(column)]
        if name in prescales:
            raise ValueError(f"{path}, line {line}: seeds must have different names, not {name} twice")
        try:
            prescale = float(text)
        except ValueError:
            prescale = math.nan
        if prescale != 0 and not 1 <= prescale < math.inf:
            raise ValueError(f"{path}, line {line}: prescale of {name} must be at least 1, or 0 for off, not {text!r}")
        prescales[name] = prescale
    return prescales


def prescaled(menu: Menu, prescales: Mapping[str, float], *, subset: bool = False) -> tuple[Menu, tuple[str, ...]]:
    """The menu with the prescales of a table, and the seeds of the table that the menu lacks.

    Parameters
    ----------
    menu : Menu
    prescales : by name, as `read_prescales` gives them
    subset : whether the table may have seeds that the menu lacks

    Raises
    ------
    ValueError
        If the table lacks a seed of the menu, or has others and `subset` is not set; the text names them.
    """
    known = {seed.name for seed in menu.seeds}
    absent = [name for name in known if name not in prescales]
    if absent:
        raise ValueError(
            f"prescales must be given for every seed of menu {menu.name}, not lack {', '.join(sorted(absent))}"
        )
    others = tuple(name for name in prescales if name not in known)
    if others and not subset:
        raise ValueError(
            f"prescales must be of seeds of menu {menu.name}, not of {', '.join(others)}; or ask for a subset"
        )
    return replace(menu, seeds=tuple(replace(seed, prescale=prescales[seed.name]) for seed in menu.seeds)), others


def published_menu(path: str | Path, column: str, *, etmhf: str | None = None) -> tuple[Menu, dict[str, str]]:
    """The menu that a prescale table stands for, and why each seed that is not in it was left out.

    Parameters
    ----------
    path, column : as for `read_prescales`
    etmhf : as for `seed_of_name`

    Raises
    ------
    ValueError
        As `read_prescales`, and if no seed is understood.
    """
    seeds, refused = [], {}
    for name, prescale in read_prescales(path, column).items():
        try:
            seeds.append(replace(seed_of_name(name, etmhf=etmhf), prescale=prescale))
        except ValueError as error:
            refused[name] = str(error)
    if not seeds:
        raise ValueError(f"{path}: must have a seed that is understood, not none of {len(refused)}")
    return Menu(Path(path).stem, tuple(seeds)), refused


def _value(text: str) -> float:
    return float(text.replace("p", "."))


def _where(collection: str, eta: float | None) -> Requirement:
    """The eta range of ``er``: whole cells of the calorimeter."""
    if eta is None or collection == "mu":
        return Requirement(collection, (_PRESENT_GEV,), eta_max=eta)
    cells = math.ceil(eta / _CALORIMETER_LSB - 1e-9)
    return Requirement(collection, (_PRESENT_GEV,), eta_codes=(-cells, cells - 1))


def _add(terms: list[_Term], token: str, etmhf: str | None) -> bool:
    """Take one part of a name in; False if it is not understood."""
    last = terms[-1] if terms else None
    if match := _TERM.fullmatch(token):
        count, iso, kind, pt, quality, eta = match.groups()
        collection = _COLLECTIONS[kind]
        if (iso and (collection, iso) not in _ISO) or ((quality or pt == "Open") and collection != "mu"):
            return False
        term = _Term(collection, _COUNTS[count or "Single"], iso or "", quality or "", _value(eta) if eta else None)
        if pt:
            term.quality = "OQ" if pt == "Open" else term.quality
            term.legs = [(0.0 if pt == "Open" else _value(pt), "", "")] * term.count
        terms.append(term)
        return True
    if match := _SUM.fullmatch(token):
        kind, pt = match.groups()
        collection = etmhf or "" if kind == "ETMHF" else _SUMS[kind]
        if collection:
            terms.append(_Term(collection, 1, legs=[(_value(pt), "", "")]))
        return bool(collection)
    if last is None:
        return False
    if (match := _LEG.fullmatch(token)) and not last.closed:
        iso, pt, quality = match.groups(default="")
        if (iso and (last.collection, iso) not in _ISO) or (quality and last.collection != "mu"):
            return False
        last.legs.append((_value(pt), iso, quality))
        return True
    last.closed = True
    if (match := _ETA.fullmatch(token)) and last.eta is None and last.collection in _COLLECTIONS.values():
        last.eta = _value(match[1])
    elif token in _QUALITY and last.collection == "mu" and not last.quality:
        last.quality = token
    elif token in _CHARGES and last.collection == "mu" and last.count == 2 and last.charges is None:
        last.charges = _CHARGES[token]
    else:
        return False
    return True


def _add_limits(term: _Term, quantity: str, text: str, name: str) -> None:
    """Take ``Min7``, ``Max1p2`` or ``7to18`` in."""
    match = _LIMIT.fullmatch(text)
    limits: dict[str, float] = {}
    if match and match[1]:
        limits = {f"{quantity}_{match[1].lower()}": _value(match[2])}
    elif match:
        limits = {f"{quantity}_min": _value(match[3]), f"{quantity}_max": _value(match[4])}
    if not limits or limits.keys() & term.pair.keys():
        raise ValueError(f"seed {name}: {quantity} must have one limit such as Min7, Max1p2 or 7to18, not {text!r}")
    term.pair |= limits


def _pair(before: _Term | None, term: _Term, name: str) -> Pair:
    """The pair of a term of two objects, or of one object and one of the term before."""
    own = term.requirements()
    if term.count == 1 and before is not None and len(set(before.requirements())) == 1:
        own = [before.requirements()[0], *own]
    if len(own) != 2:
        raise ValueError(f"seed {name}: a pair must be of two objects that the name makes plain, not of {len(own)}")
    objects = tuple(own)
    if replace(own[0], pt=own[1].pt) == own[1]:
        objects = (replace(own[0], pt=(*own[0].pt, *own[1].pt)),)
    decimals = None
    if any(key.startswith("mass") for key in term.pair):
        decimals = 4 if any(each.collection == "mu" for each in own) else 3
    return Pair(objects, charges=term.charges, decimals=decimals, **term.pair)


def _nested(own: list[Requirement], name: str) -> list[Requirement]:
    """The same objects as requirements: where each is cut as hard as the next, counting says it all."""
    out = []
    for i, each in enumerate(own):
        following = own[i + 1] if i + 1 < len(own) else None
        if following is not None:
            looser_iso = following.iso is None or (each.iso is not None and set(each.iso) <= set(following.iso))
            if each.pt < following.pt or not looser_iso or (each.quality_min or 0) < (following.quality_min or 0):
                raise ValueError(f"seed {name}: objects must be cut less and less hard, not {each} before {following}")
            if replace(each, pt=following.pt) == following:
                continue
        out.append(replace(each, pt=tuple(leg.pt[0] for leg in own[: i + 1])))
    return out
