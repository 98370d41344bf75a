"""What a network's casts can and cannot do, as a file that anyone may check: `prove`, `save`, `load`, `check`.

For each cast a certificate states one of

- *cannot overflow*: no admissible input makes any element overflow;
- *saturates*, or *wraps, for some input*: with witnesses, real inputs that the reference has replayed;
- *undecided*: some elements may overflow by their bound, and no input that does so was found.

A number overflows if it is out of its type's range after rounding.  Saturation at 0 of an unsigned type is how a ReLU
is written, and no overflow.  Only final sums count: partial sums that leave the type of an accumulator and return are
right in modular arithmetic.  Numbers in statements are raw, in the fractional bits of the type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

import l1ad
from l1ad import documents, files
from l1ad.emulate import reference
from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Network
from l1ad.network import exact as python_integers
from l1ad.prove.bounds import bounds_over
from l1ad.prove.casts import PRODUCT, RESULT, Site, rounded, sites
from l1ad.prove.columns import sweep
from l1ad.prove.ranges import Bound, Range
from l1ad.prove.search import Found, search

FORMAT = "l1ad-certificate/1"
HARDWARE, SAMPLE = "hardware ranges", "ranges of the sample"
SAFE, SATURATES, WRAPS, UNDECIDED = "cannot overflow", "saturates", "wraps", "undecided"


@dataclass(frozen=True)
class Statement:
    """What is known about one cast.

    Parameters
    ----------
    operation, kind : str
        Name of the operation, and which operation it is.
    cast : str
        ``result`` or ``product``, the cast of every term before it is summed.
    type : str
    elements, safe, overflowing, undecided, constant : int
        Number of elements: in all, that cannot overflow, that some witness overflows, neither; and those, of all
        elements, that have one value only.
    verdict : str
        Of the worst element: `SATURATES`, `WRAPS`, `UNDECIDED` or `SAFE`.
    exact : bool
        Whether the bounds are reached by some input.
    low, high : int
        Bounds of all elements after rounding, before what overflows is dealt with.
    bits, removable : int
        Width that holds `low` .. `high` (0 .. `high` if the type is an unsigned one that saturates), sign included,
        and top bits of the type beyond it; if negative, what the type lacks.
    element, limit, bound, found : int
        Worst element: what its type holds at its worse end, what bounds it there, and the furthest value found.
    witnesses : tuple of tuple of int
        Inputs: the first reaches `found`; all together overflow all the elements counted.
    seconds : float
        Spent on searching.
    """

    operation: str
    kind: str
    cast: str
    type: str
    elements: int
    safe: int
    overflowing: int
    undecided: int
    constant: int
    verdict: str
    exact: bool
    low: int
    high: int
    bits: int
    removable: int
    element: int
    limit: int
    bound: int
    found: int
    witnesses: tuple[tuple[int, ...], ...]
    seconds: float


@dataclass(frozen=True)
class Score:
    """Bounds of the score, raw; the largest one found, and its input."""

    type: str
    low: int
    high: int
    found: int
    witness: tuple[int, ...]


@dataclass(frozen=True)
class Claims:
    """Statements over one set of ranges of the columns: `HARDWARE`, or the weaker `SAMPLE`."""

    scope: str
    low: tuple[int, ...]
    high: tuple[int, ...]
    statements: tuple[Statement, ...]
    score: Score
    seconds: float

    @property
    def undecided(self) -> int:
        """Number of undecided elements."""
        return sum(statement.undecided for statement in self.statements)


@dataclass(frozen=True)
class Certificate:
    """Claims about the network of a digest; `digest` is the certificate's own."""

    format: str
    version: str
    network: str
    columns: tuple[str, ...]
    claims: tuple[Claims, ...]
    digest: str = ""

    def content(self) -> str:
        """SHA-256 of all but `digest`."""
        document = dataclasses.asdict(self)
        del document["digest"]
        return files.digest(document)


def prove(network: Network, *, sample: Raw | None = None, seed: int = 0, tries: int = 8) -> Certificate:
    """Bound every cast, and search for inputs that overflow what the bounds leave open.

    Parameters
    ----------
    network : Network
    sample : integer array, shape (n_events, n_columns), optional
        Raw events, whose ranges make a second, weaker set of claims.
    seed : int
        Of the search.
    tries : int
        Ascents for each end of an element that is undecided.

    Raises
    ------
    ValueError
        If the sample is empty, or an event of it is not admissible.
    RuntimeError
        If a witness does not do what was found, which is a bug.
    """
    events = np.zeros((0, len(network.input.columns)), np.int64)
    scopes = [(HARDWARE, network.input.low, network.input.high)]
    if sample is not None:
        events = reference.admissible(network, sample)
        if not len(events):
            raise ValueError("sample must have events")
        scopes.append((SAMPLE, events.min(axis=0), events.max(axis=0)))
    claims = tuple(_claims(network, *scope, events, seed, tries) for scope in scopes)
    certificate = Certificate(FORMAT, l1ad.__version__, network.digest, network.input.columns, claims)
    return dataclasses.replace(certificate, digest=certificate.content())


def save(certificate: Certificate, path: str | Path) -> None:
    """Write a certificate, whole or not at all."""
    documents.save(path, certificate)


def load(path: str | Path) -> Certificate:
    """Read a certificate.

    Raises
    ------
    ValueError
        If the file is none, or was edited; the text names it.
    """
    certificate = documents.load(Certificate, path)
    if certificate.format != FORMAT:
        raise ValueError(f"{path}: format must be {FORMAT!r}, not {certificate.format!r}")
    if certificate.digest != certificate.content():
        raise ValueError(f"{path}: digest must be {certificate.content()}, not {certificate.digest}: prove it again")
    return certificate


def check(certificate: Certificate, network: Network) -> tuple[str, ...]:
    """What differs when the bounds are found anew and the witnesses replayed: nothing, if the certificate holds."""
    if certificate.network != network.digest:
        return (f"certificate is about network {certificate.network}, not {network.digest}",)
    differences: list[str] = []
    for claims in certificate.claims:
        low, high = (np.array(end, np.int64) for end in (claims.low, claims.high))
        if claims.scope == HARDWARE and (claims.low, claims.high) != _ends(network.input.low, network.input.high):
            differences.append(f"{claims.scope}: not those of the network")
        columns = sweep(network, low, high)
        known = bounds_over(network, columns)
        named = {(statement.operation, statement.cast): statement for statement in claims.statements}
        if list(named) != [(site.operation.name, site.cast) for site in sites(network)]:
            differences.append(f"{claims.scope}: statements are not about the casts of the network")
            continue
        for site in sites(network):
            given = named[site.operation.name, site.cast]
            where = f"{claims.scope}: {given.operation} {given.cast}"
            events = np.array(given.witnesses, np.int64)
            if ((events < low) | (events > high)).any():
                differences.append(f"{where}: a witness is out of range")
                continue
            again = _statement(site, known[site.operation.name], _replayed(site, network, events))
            differences += [
                f"{where}: {field} must be {getattr(again, field)}, not {getattr(given, field)}"
                for field in _COMPARED
                if getattr(again, field) != getattr(given, field)
            ]
        if claims.score != _score(network, known, np.array(claims.score.witness, np.int64)):
            differences.append(f"{claims.scope}: score must be as replayed")
    return tuple(differences)


_COMPARED = [f.name for f in dataclasses.fields(Statement) if f.name not in ("witnesses", "seconds")]


def _claims(network: Network, scope: str, low: Raw, high: Raw, sample: Raw, seed: int, tries: int) -> Claims:
    begun = perf_counter()
    columns = sweep(network, low, high)
    known = bounds_over(network, columns)
    reach = {site: _reach(site, known[site.operation.name]) for site in sites(network)}
    found, best_score = search(network, columns, reach, np.random.default_rng(seed), tries, sample)
    statements = tuple(_witnessed(site, network, known[site.operation.name], best) for site, best in found.items())
    score = _score(network, known, best_score.high_event[0])
    return Claims(scope, *_ends(low, high), statements, score, perf_counter() - begun)


def _reach(site: Site, bound: Bound) -> Range:
    return bound.terms if site.cast == PRODUCT and bound.terms is not None else bound.before


def _statement(site: Site, bound: Bound, found: Found) -> Statement:
    """Statement without witnesses, from bounds and from extremes that inputs have reached."""
    reach, to = _reach(site, bound), site.type
    ends = [python_integers(rounded(end, reach.frac, to)) for end in (reach.low, reach.high)]
    seen = [python_integers(rounded(end, reach.frac, to)) for end in (found.low, found.high)]
    lowest, highest = site.limits
    may, does = (np.stack([lowest - low, high - highest]) for low, high in (ends, seen))
    overflowing = (does > 0).any(axis=0)
    undecided = (may > 0).any(axis=0) & ~overflowing
    excess = does if overflowing.any() else may
    side, element = (int(i) for i in np.unravel_index(excess.argmax(), excess.shape))
    verdict = SAFE
    if overflowing.any():
        verdict = WRAPS if to.overflow == "WRAP" else SATURATES
    elif undecided.any():
        verdict = UNDECIDED
    low, high = int(ends[0].min()), int(ends[1].max())
    bits = _bits(low if to.signed or to.overflow == "WRAP" else max(low, 0), max(high, 0), to)
    return Statement(
        operation=site.operation.name,
        kind=type(site.operation).__name__,
        cast=site.cast,
        type=str(to),
        elements=len(reach.low),
        safe=int((~overflowing & ~undecided).sum()),
        overflowing=int(overflowing.sum()),
        undecided=int(undecided.sum()),
        constant=int((reach.low == reach.high).sum()),
        verdict=verdict,
        exact=bound.attained,
        low=low,
        high=high,
        bits=bits,
        removable=to.width - bits,
        element=element,
        limit=(lowest, highest)[side],
        bound=int(ends[side][element]),
        found=int(seen[side][element]),
        witnesses=(),
        seconds=found.seconds,
    )


def _bits(low: int, high: int, to: FixedPoint) -> int:
    """Width of a number between `low` and `high` that is signed if the type is, or has to be."""
    signed = to.signed or low < 0
    return max(low.bit_length() if low >= 0 else (-low - 1).bit_length(), high.bit_length(), 1 - signed) + signed


def _witnessed(site: Site, network: Network, bound: Bound, found: Found) -> Statement:
    """Statement with few witnesses for all that it says, replayed."""
    statement = _statement(site, bound, found)
    events = (found.low_event, found.high_event)
    witnesses = [events[int(statement.limit == site.limits[1])][statement.element]]
    frac = _reach(site, bound).frac
    lowest, highest = site.limits
    over = [rounded(found.low, frac, site.type) < lowest, rounded(found.high, frac, site.type) > highest]
    replayed = _replayed(site, network, np.array(witnesses))
    for element in np.flatnonzero(over[0] | over[1]):
        low, high = (rounded(end[element], frac, site.type) for end in (replayed.low, replayed.high))
        if low >= lowest and high <= highest:
            witnesses.append(events[int(over[1][element])][element])
            exact, _ = site.before(network, reference.trace(network, witnesses[-1][None]))
            replayed.add(exact, witnesses[-1][None])
    again = _statement(site, bound, _replayed(site, network, np.array(witnesses)))
    if any(getattr(again, field) != getattr(statement, field) for field in _COMPARED):
        raise RuntimeError(f"witnesses of {statement.operation!r} must show {statement}, not {again}: a bug in prove")
    return dataclasses.replace(statement, witnesses=tuple(tuple(event.tolist()) for event in witnesses))


def _replayed(site: Site, network: Network, events: Raw) -> Found:
    exact, _ = site.before(network, reference.trace(network, events))
    found = Found.nothing(exact.shape[1], events.shape[1])
    found.add(exact, events)
    return found


def _score(network: Network, known: Mapping[str, Bound], event: Raw) -> Score:
    after, found = known[network.score.name].after, int(reference.emulate(network, event[None])[0])
    return Score(str(network.score.out), int(after.low[0]), int(after.high[0]), found, tuple(event.tolist()))


def _ends(low: Raw, high: Raw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(low.tolist()), tuple(high.tolist())


def lines(certificate: Certificate) -> list[str]:
    """Text: a table for each set of ranges, with witnesses."""
    head = f"network {certificate.network[:16]}, certificate {certificate.digest[:16]}, l1ad {certificate.version}"
    return [head, *(line for claims in certificate.claims for line in _table(claims, certificate.columns))]


_HEAD = ("operation", "cast", "type", "elements", "safe", "overflow", "undecided", "bits", "spare", "verdict")


def _table(claims: Claims, columns: tuple[str, ...]) -> list[str]:
    rows: list[tuple[str, ...]] = [_HEAD]
    witnesses = [""]
    for s in claims.statements:
        counts = (s.elements, s.safe, s.overflowing, s.undecided, s.bits, s.removable)
        rows.append((s.operation, s.cast, s.type, *(str(n) for n in counts), _verdict(s)))
        shown = s.verdict != SAFE
        witnesses.append(f"    input: {_spelt(s.witnesses[0], claims, columns)}" if shown else "")
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD) - 1)]
    text = [f"over the {claims.scope}, {claims.undecided} elements undecided, {claims.seconds:.1f} s:"]
    for row, witness in zip(rows, witnesses, strict=True):
        cells = [
            cell.rjust(width) if i > 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        text += ["  ".join([*cells, row[-1]]), *([witness] if witness else [])]
    score = claims.score
    last = claims.statements[-1]
    text.append(f"score: raw {score.low} .. {score.high} in {score.type}; largest found {score.found}")
    text.append(f"    input: {_spelt(score.witness, claims, columns)}")
    return [*text, f"    its last cast, {last.operation!r}: {last.verdict}"] if last.cast == RESULT else text


def _verdict(s: Statement) -> str:
    if s.verdict == SAFE:
        return s.verdict
    if s.verdict == UNDECIDED:
        return f"undecided: element {s.element}, bound {s.bound}, largest value found {s.found}, limit {s.limit}"
    return f"{s.verdict} for some input: element {s.element} reaches {s.found}, limit {s.limit}"


def _spelt(event: tuple[int, ...], claims: Claims, columns: tuple[str, ...]) -> str:
    """Columns that are not 0, or next to 0 in their range."""
    rows = zip(columns, event, claims.low, claims.high, strict=True)
    return " ".join(f"{name}={value}" for name, value, low, high in rows if value != min(max(0, low), high)) or "zeros"
