"""Rewrites that drop elements, weights that meet constants, and casts that lose nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Integers, Network
from l1ad.network import exact as python_integers
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, Operation, reads
from l1ad.prove.casts import cast_integers, gather, rounded, sums
from l1ad.prove.minimise_grids import Grid, grids
from l1ad.prove.ranges import Bound, Range

BOUNDS = "bounds"
UNREAD = "read by nobody"
Mark = npt.NDArray[np.bool_]
Bounds = Mapping[str, Bound]


@dataclass(frozen=True)
class Step:
    """An exact rewrite of one operation: what was dropped, and the argument that proves that nothing changes."""

    operation: str
    dropped: str
    argument: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.dropped} ({self.argument})"


@dataclass(frozen=True, eq=False)
class Draft:
    """A network on its way to a smaller one.

    Parameters
    ----------
    network : Network
    kept : mapping of str to int64 array
        Numbers that the elements of each operation had in the network at the beginning.
    altered : frozenset of str
        Operations that compute something else than at the beginning, of which a cast after them shows nothing.
    steps : tuple of Step
    """

    network: Network
    kept: Mapping[str, Raw]
    altered: frozenset[str] = frozenset()
    steps: tuple[Step, ...] = ()

    def then(
        self,
        operations: Iterable[Operation],
        steps: Iterable[Step],
        kept: Mapping[str, Raw] | None = None,
        altered: Iterable[str] = (),
    ) -> Draft:
        """The next draft, without operations that nobody reads; this one, if a number would outgrow 63 bits."""
        every = list(operations)
        taken = list(steps)
        needed = {every[-1].name}
        for operation in every[::-1]:
            if operation.name in needed:
                needed.update(reads(operation))
            else:
                taken.append(Step(operation.name, "the operation", UNREAD))
        if not taken:
            return self
        try:
            network = Network(tuple(operation for operation in every if operation.name in needed))
        except ValueError:
            return self
        return Draft(network, kept or self.kept, self.altered | set(altered), self.steps + tuple(taken))


def fold_constants(draft: Draft, known: Bounds) -> Draft:
    """Constants into biases: weights that meet them become 0, operations of nothing else read nothing any more."""
    network, operations, steps = draft.network, [draft.network.operations[0]], []
    for operation in network.operations[1:]:
        after = known[operation.name].after
        if (after.low == after.high).all():
            constant = _constant(operation, after.low, network)
            if not _same_constant(operation, constant):
                text = f"what {counted(len(after.low), 'constant element')} read"
                steps.append(Step(operation.name, text, BOUNDS))
                operation = constant
        elif isinstance(operation, Dense | Convolution):
            folded = _folded(operation, network, known[operation.x].after)
            if dropped := int(np.count_nonzero(operation.weight) - np.count_nonzero(folded.weight)):
                text = f"{counted(dropped, 'weight')} of what is constant"
                steps.append(Step(operation.name, text, BOUNDS))
                operation = folded
        operations.append(operation)
    return draft.then(operations, steps)


def counted(n: int, what: str) -> str:
    """``3 weights``."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def listed(what: str, numbers: Raw) -> str:
    """``elements 3, 5``."""
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers.tolist()))}"


def _constant(operation: Operation, raw: Integers, network: Network) -> Dense:
    """A dense layer without weights, of the trigger because an operation has to read something."""
    trigger, out = network.input, operation.out
    weight = np.zeros((len(trigger.columns), len(raw)), np.int64)
    bias_type = FixedPoint.holding(min(raw), max(raw), out.frac)
    nothing = FixedPoint(1, 0, False)
    return Dense(operation.name, trigger.name, weight, nothing, raw.astype(np.int64), bias_type, None, out)


def _same_constant(operation: Operation, constant: Dense) -> bool:
    return (
        isinstance(operation, Dense)
        and operation.x == constant.x
        and operation.product is None
        and not operation.weight.any()
    )


def _folded(operation: Dense | Convolution, network: Network, source: Range) -> Dense | Convolution:
    parts, product = sums(operation, network), operation.product
    low, high = (gather(end, parts.windows) for end in (source.low, source.high))
    fixed = (low == high).all(axis=0) & (low == low[0]).all(axis=0)
    terms, constant, frac = parts.factor[fixed] * low[0][fixed][:, None], parts.constant, parts.frac
    fits = np.ones(len(constant), bool)
    if product is not None:
        terms, constant = (cast_integers(exact, frac, product) for exact in (terms, constant))
        frac = max(frac, product.frac)
        total = constant + terms.sum(axis=0)
        fits = (total >= product.min_raw) & (total <= product.max_raw)
        total = total * (1 << (frac - product.frac))
    else:
        total = constant + terms.sum(axis=0)
    bias = np.where(fits, total, parts.constant * (1 << (frac - parts.frac)))
    matrix = operation.weight.reshape(parts.factor.shape)
    weight = np.where(fixed[:, None] & fits, 0, matrix).reshape(operation.weight.shape)
    bias_type = FixedPoint.holding(min(bias), max(bias), frac)
    return replace(operation, weight=weight, bias=bias.astype(np.int64), bias_type=bias_type)


def drop_elements(draft: Draft, known: Bounds) -> Draft:
    """Elements that nobody reads, through chains of element-wise operations; a filter if no window of it is read."""
    network = draft.network
    kept = _kept(network, known)
    operations, steps, numbers = [], [], dict(draft.kept)
    for operation in network.operations:
        keep = kept[operation.name]
        if not keep.all():
            numbers[operation.name] = draft.kept[operation.name][keep]
            gone = listed("element", draft.kept[operation.name][~keep])
            steps.append(Step(operation.name, gone, UNREAD))
        operations.append(_taken(operation, kept))
    return draft.then(operations, steps, numbers)


def unused_columns(network: Network, known: Bounds) -> tuple[str, ...]:
    """Columns of the input that the score does not depend on."""
    needed = {o.name: np.zeros(network.flows[o.name].size, bool) for o in network.operations}
    needed[network.score.name][:] = True
    _need(network, known, needed)
    return tuple(name for name, used in zip(network.input.columns, needed[network.input.name], strict=True) if not used)


def _need(network: Network, known: Bounds, needed: dict[str, Mark]) -> None:
    """Mark what the elements marked read."""
    for operation in reversed(network.operations):
        mine = needed[operation.name]
        match operation:
            case Dense(x=x) | Convolution(x=x):
                parts = sums(operation, network)
                hits = ((parts.factor != 0) & mine.reshape(len(parts.windows), 1, -1)).any(axis=2)
                needed[x][parts.windows[hits & (parts.windows >= 0)]] = True
            case Dot(x=x, y=y):
                matters = _matters(operation, known)
                needed[x] |= matters
                needed[y] |= matters
            case Mask(x=x, by=by, index=index):
                needed[x] |= mine
                needed[by][index[mine]] = True
            case _:
                for source in reads(operation):
                    needed[source] |= mine


def _matters(dot: Dot, known: Bounds) -> Mark:
    """Terms of a sum of products that are not always 0."""
    x, y = known[dot.x].after, known[dot.y].after
    matters: Mark = ((x.low != 0) | (x.high != 0)) & ((y.low != 0) | (y.high != 0))
    terms = known[dot.name].terms
    if dot.product is not None and terms is not None:
        cut = terms.cast(dot.product, dot.name)
        matters &= (cut.low != 0) | (cut.high != 0)
    return matters


def _kept(network: Network, known: Bounds) -> dict[str, Mark]:
    """Elements that stay.  Operations whose elements correspond share one array; that of the input is full."""
    shared: dict[str, Mark] = {}
    channels: list[tuple[str, int]] = []
    for operation in network.operations:
        shared[operation.name] = np.zeros(network.flows[operation.name].size, bool)
        match operation:
            case Affine(x=x) | Cast(x=x) | Lookup(x=x) | Mask(x=x):
                shared[operation.name] = shared[x]
            case Merge(x=x, y=y) | Dot(x=x, y=y):
                one, other = shared[x], shared[y]
                shared |= {name: one for name, mark in shared.items() if mark is other}
                if isinstance(operation, Merge):
                    shared[operation.name] = one
            case Convolution(x=x, shape=shape, bias=bias):
                channels += [(operation.name, len(bias)), (x, shape[2])]
    shared[network.input.name][:] = True
    shared[network.score.name][:] = True
    count = -1
    while count != (count := sum(int(mark.sum()) for mark in shared.values())):
        _need(network, known, shared)
        for name, n in channels:
            image = shared[name].reshape(-1, n)
            image |= image.any(axis=0)
        if count == sum(int(mark.sum()) for mark in shared.values()):
            for mark in shared.values():
                mark[0] |= not mark.any()  # of what is read in vain, one element has to stay
    return shared


def _taken(operation: Operation, kept: Mapping[str, Mark]) -> Operation:
    keep = kept[operation.name]
    match operation:
        case Affine(scale=scale, bias=bias):
            return replace(operation, scale=scale[keep], bias=bias[keep])
        case Dense(x=x, weight=weight, bias=bias):
            return replace(operation, weight=weight[kept[x]][:, keep], bias=bias[keep])
        case Convolution(x=x, weight=weight, bias=bias, shape=shape):
            filters, channels = keep[: len(bias)], kept[x][: shape[2]]
            smaller = (*shape[:2], int(channels.sum()))
            return replace(operation, weight=weight[:, :, channels][..., filters], bias=bias[filters], shape=smaller)
        case Mask(by=by, index=index):
            return replace(operation, index=(np.cumsum(kept[by]) - 1)[index[keep]])
        case _:
            return operation


def drop_casts(draft: Draft, known: Bounds) -> Draft:
    """Casts that lose nothing, and casts of what has lost nothing, which become the cast of their source."""
    network = draft.network
    grid = grids(network, known)
    readers = {o.name: [r for r in network.operations if o.name in reads(r)] for o in network.operations}
    operations = {o.name: _plain_cast(o, known) for o in network.operations}
    steps = [
        Step(name, f"the {type(network[name]).__name__}, which only casts", BOUNDS)
        for name, operation in operations.items()
        if operation is not network[name]
    ]
    moved: set[str] = set()
    for name in list(operations):
        operation = operations[name]
        if not isinstance(operation, Cast):
            continue
        source = operations[operation.x]
        if name != network.score.name and _idle(operation, network, readers[name], known, grid):
            steps.append(Step(name, f"the cast to {operation.out}, which loses nothing", BOUNDS))
            for reader in readers[name]:
                operations[reader.name] = _reading(operations[reader.name], name, source.name)
            readers[source.name] += readers[name]
            del operations[name]
        elif (
            not isinstance(source, Input | Lookup)
            and len(readers[source.name]) == 1
            and source.name not in moved
            and _lossless(source, known, grid)
        ):
            steps.append(Step(source.name, f"the cast to {source.out}, which loses nothing", BOUNDS))
            operations[name] = replace(source, name=name, out=operation.out)
            moved.add(name)
            del operations[source.name]
    return draft.then(operations.values(), steps)


def _idle(cast: Cast, network: Network, readers: Iterable[Operation], known: Bounds, grid: Mapping[str, Grid]) -> bool:
    """Whether the readers of a cast may as well read its source.  A table does not: it goes by raw numbers.

    Nor does what follows the input, which stays as wide as it is, if the cast is narrower.
    """
    narrows = cast.x == network.input.name and cast.out.width < network.input.out.width
    return not narrows and not any(isinstance(r, Lookup) for r in readers) and _lossless(cast, known, grid)


def _plain_cast(operation: Operation, known: Bounds) -> Operation:
    """The operation, or a `Cast` if it does nothing else."""
    match operation:
        case Affine(x=x, scale=scale, scale_type=kind, bias=bias):
            plain = not bias.any() and kind.frac >= 0 and (python_integers(scale) == 1 << kind.frac).all()
        case Mask(x=x, by=by, index=index):
            low, high = known[by].after.low[index], known[by].after.high[index]
            plain = bool(((low > 0) | (high < 0)).all())
        case _:
            return operation
    return Cast(operation.name, x, operation.out) if plain else operation


def _lossless(operation: Operation, known: Bounds, grid: Mapping[str, Grid]) -> bool:
    """Whether the cast at the end of `operation` changes no value."""
    before, out = known[operation.name].before, operation.out
    low, high = (rounded(end, before.frac, out) for end in (before.low, before.high))
    inside = low.min() >= out.min_raw and high.max() <= out.max_raw
    return bool(inside and grid[operation.name].before.min() >= before.frac - out.frac)


def _reading(operation: Operation, old: str, new: str) -> Operation:
    names: dict[str, Any] = {key: new for key in ("x", "y", "by") if getattr(operation, key, None) == old}
    return replace(operation, **names)
