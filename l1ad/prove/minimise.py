"""A smaller network with the same scores: what provably does not matter is dropped.

Rewrites, repeated until none applies: constants go into biases, elements that nobody reads and casts that lose nothing
go, types narrow to the bits that are used, and weights that change no result become 0.  The input and the type of the
score stay, for thresholds are raw numbers of it.  Every rewrite is exact over the admissible inputs; its `Step` says
by which argument.  In the end the two networks are compared again, by other means.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from l1ad.compare import agree, random_inputs
from l1ad.emulate import reference
from l1ad.hardware.resources import estimate
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Convolution, Dense, reads
from l1ad.prove.bounds import bounds
from l1ad.prove.minimise_elements import Draft, Step, drop_casts, drop_elements, fold_constants, unused_columns
from l1ad.prove.minimise_neurons import Pair
from l1ad.prove.minimise_types import narrow_types
from l1ad.prove.minimise_weights import dead_weights

N_EVENTS = 20_000
N_SEEN = 1000
"""Events on which weights are looked at, before a proof is tried."""
REWRITES = (fold_constants, drop_elements, drop_casts, narrow_types)


@dataclass(frozen=True)
class Size:
    """What a network takes.

    Parameters
    ----------
    operations, elements : int
        Without the input.
    weights : int
        That are not 0.
    bits : int
        Of all results.
    lut : int or None
        By the resource estimate.
    """

    operations: int
    elements: int
    weights: int
    bits: int
    lut: int | None

    @classmethod
    def of(cls, network: Network) -> Size:
        """Size of a network."""
        operations = network.operations[1:]
        sizes = [network.flows[o.name].size for o in operations]
        weights = sum(int(np.count_nonzero(o.weight)) for o in operations if isinstance(o, Dense | Convolution))
        bits = sum(n * o.out.width for n, o in zip(sizes, operations, strict=True))
        return cls(len(operations), sum(sizes), weights, bits, estimate(network, Target()).lut)


@dataclass(frozen=True)
class Proofs:
    """How many of the elements whose operation, or what it reads, was rewritten are the same as before, and why.

    Parameters
    ----------
    exhaustive, z3 : int
        Each compared with what it was, over all that it can read.
    bounds : int
        By the arguments of the steps only: too many cases, and z3 is not installed or does not know.
    """

    exhaustive: int
    z3: int
    bounds: int

    def __str__(self) -> str:
        total = self.exhaustive + self.z3 + self.bounds
        return (
            f"{total} elements rewritten, of which {self.exhaustive} proved equal exhaustively, {self.z3} by z3, "
            f"{self.bounds} by the bounds only"
        )


@dataclass(frozen=True, eq=False)
class Minimised:
    """Outcome of `minimise`.

    Parameters
    ----------
    network : Network
    steps : tuple of Step
        In their order; elements and neurons are numbered as they were at the beginning.
    before, after : Size
    proofs : Proofs
    events : int
        On which the scores were compared.
    unused : tuple of str
        Columns of the input that the score does not depend on.
    """

    network: Network
    steps: tuple[Step, ...]
    before: Size
    after: Size
    proofs: Proofs
    events: int
    unused: tuple[str, ...]

    def __str__(self) -> str:
        sizes = [
            f"{getattr(self.before, f.name)} -> {getattr(self.after, f.name)} {f.name.replace('lut', 'LUT (estimate)')}"
            for f in fields(Size)
        ]
        unused = f"; unused columns: {', '.join(self.unused)}" if self.unused else ""
        return f"{', '.join(sizes)}; {self.proofs}; scores equal in {self.events} events{unused}"


def minimise(network: Network) -> Minimised:
    """A smaller network of the same scores over the admissible inputs.

    Raises
    ------
    MismatchError
        If the scores of some event differ: a fault of a rewrite, and never expected.
    """
    original = known = bounds(network)
    sizes = {o.name: np.arange(network.flows[o.name].size) for o in network.operations}
    draft, done = Draft(network, sizes), None
    while draft is not done:
        done = draft
        for rewrite in REWRITES:
            smaller = rewrite(draft, known)
            known = known if smaller is draft else bounds(smaller.network)
            draft = smaller
        if draft is done:
            seen = reference.trace(draft.network, random_inputs(draft.network, N_SEEN))
            draft = dead_weights(draft, known, seen, np.random.default_rng(0))
            known = known if draft is done else bounds(draft.network)
    x = random_inputs(network, N_EVENTS)
    score = network.score.name
    scores = ({score: reference.trace(each, x)[score]} for each in (network, draft.network))
    agree(network, "network", next(scores), "minimised network", next(scores)).require()
    proofs = _proofs(Pair(network, original, draft.network, known, draft.kept, draft.altered))
    unused = unused_columns(draft.network, known)
    return Minimised(draft.network, draft.steps, Size.of(network), Size.of(draft.network), proofs, len(x), unused)


def _proofs(pair: Pair) -> Proofs:
    found = [
        pair.same(name, element) or "bounds"
        for name in pair.common()
        if not _untouched(pair, name)
        for element in range(len(pair.kept[name]))
    ]
    exhaustive, z3 = sum(text.startswith("exhaustive") for text in found), found.count("z3")
    return Proofs(exhaustive, z3, len(found) - exhaustive - z3)


def _untouched(pair: Pair, name: str) -> bool:
    """Whether an operation, and the type and number of what it reads, are the same in both."""
    old, new = pair.old[name], pair.new[name]
    alike = type(old) is type(new) and all(
        np.array_equal(getattr(old, f.name), getattr(new, f.name)) for f in fields(old)
    )
    return alike and all(
        source not in pair.altered
        and pair.old[source].out == pair.new[source].out
        and pair.old.flows[source].size == pair.new.flows[source].size
        for source in reads(new)
    )
