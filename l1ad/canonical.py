"""One form for networks that differ only in spelling, with the same scores.

Every rewrite keeps the *value* of what it rewrites, for all admissible inputs; the score keeps its raw numbers too,
because its width, sign and fractional bits stay.  Each states why, in integers, where it is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from l1ad.fixed import MAX_BITS, FixedPoint, Raw, cast
from l1ad.network import Flow, Integers, Network, aligned, cast_range, exact, flow
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Merge, Operation, reads

CLIPS = ("SAT", "SAT_SYM")
NEAREST_ANYWHERE = ("TRN", "RND", "RND_MIN_INF", "RND_CONV")
"""Roundings that commute with adding an even number of units: they do not look at the sign."""


def canonical(network: Network) -> Network:
    """The one form of `network`.

    Constants have their narrowest types; casts that lose nothing, and successive casts that are one, are merged;
    modes that do nothing are ``TRN`` and ``WRAP``; results that lose nothing have the narrowest type of their range;
    an `Affine` that changes no value is a `Cast`; names and order tell nothing.  The input's columns stay.
    """
    while True:
        simpler = _ordered(_merged(_settled(network)))
        if simpler == network:
            return network
        network = simpler


def _ordered(network: Network) -> Network:
    """Operations as the score comes to read them, named by their positions; what it does not read is dropped."""
    names: dict[str, str] = {}
    ordered: list[Operation] = []

    def place(name: str) -> None:
        if name in names:
            return
        operation = network[name]
        for source in reads(operation):
            place(source)
        names[name] = f"op{len(ordered)}" if ordered else "trigger"
        ordered.append(_reading(replace(operation, name=names[name]), names))

    place(network.score.name)
    return Network(tuple(ordered))


def _reading(operation: Operation, names: dict[str, str]) -> Operation:
    """The operation, reading others where `names` says so."""
    changed: dict[str, Any] = {
        key: names.get(getattr(operation, key), getattr(operation, key))
        for key in ("x", "y", "by")
        if hasattr(operation, key)
    }
    return replace(operation, **changed)


# successive operations that are one


def _merged(network: Network) -> Network:
    """Each cast in what it follows, wherever that is exact."""
    readers = Counter(name for operation in network.operations for name in reads(operation))
    known: dict[str, Operation] = {}
    flows: dict[str, Flow] = {}
    same: dict[str, str] = {}

    def enter(operation: Operation) -> None:
        flows[operation.name] = flow(operation, known, flows)
        known[operation.name] = operation

    for given in network.operations:
        operation = _as_cast(_reading(given, same))
        if isinstance(given, Lookup):
            operation = _retabled(given, network, known[reads(operation)[0]].out, reads(operation)[0])
        one = _one(operation, given is network.score, readers, known, flows)
        if one is None:
            enter(operation)
            continue
        if one is not known[one.name]:
            enter(one)
        readers[one.name] += readers[given.name] - 1
        same[given.name] = one.name
    return Network(tuple(known.values()))


def _as_cast(operation: Operation) -> Operation:
    """``x * 1 + 0`` is ``x``."""
    if isinstance(operation, Affine) and _power_of_2(operation) == 0:
        return Cast(operation.name, operation.x, operation.out)
    return operation


def _power_of_2(affine: Affine) -> int | None:
    """k, if the operation is ``x * 2**k``."""
    scale, kind = _narrowest(affine.scale, affine.scale_type.frac)
    return -kind.frac if (scale == 1).all() and not affine.bias.any() else None


def _one(
    operation: Operation, is_score: bool, readers: Counter[str], known: dict[str, Operation], flows: dict[str, Flow]
) -> Operation | None:
    """What `operation` reads, changed so as to give the same values, if that is possible."""
    if not isinstance(operation, Cast | Affine):
        return None
    before, alone, out = known[operation.x], readers[operation.x] == 1, operation.out
    keeps = _loses_nothing(operation, known, flows)
    if isinstance(operation, Affine):
        shift = _power_of_2(operation)
        if isinstance(before, Input) and alone and keeps and not is_score and shift is not None:
            # the trigger's raw numbers stay, and stand for values that are 2**shift times as large
            return replace(before, out=replace(before.out, frac=before.out.frac - shift))
        return None
    if keeps and not is_score:
        return before
    if not alone or isinstance(before, Input):
        return None
    if isinstance(before, Lookup):  # the cast of an entry is an entry
        return replace(before, table=cast(before.table, before.out.frac, out), out=out)
    kind = _composed(*_reach(before, known, flows), before.out, out)
    return None if kind is None else replace(before, out=kind)


def _composed(low: Integers, high: Integers, frac: int, a: FixedPoint, b: FixedPoint) -> FixedPoint | None:
    """Type whose cast is a cast to `a` and then one to `b`, for numbers between `low` and `high`."""
    if a.frac >= frac:
        rounding = b.rounding  # `a` rounds nothing
    elif a.frac == b.frac:
        rounding = a.rounding  # `b` rounds nothing
    elif a.frac > b.frac and a.rounding == b.rounding and a.rounding in ("TRN", "TRN_ZERO"):
        rounding = a.rounding  # floor(floor(x * 2**k) / 2**k) = floor(x), and so towards zero
    else:
        return None
    out = replace(b, rounding=rounding)
    lowest, highest = _ends(*_rounded(low, high, frac, a))
    if a.min_raw <= lowest and highest <= a.max_raw:
        return out  # `a` never overflows
    if a.overflow == b.overflow == "WRAP" and b.width - b.frac <= a.width - a.frac:
        # `a` adds a multiple of the range of `b`, which is an even number of its units
        return out if b.frac >= min(frac, a.frac) or b.rounding in NEAREST_ANYWHERE else None
    if a.overflow in CLIPS and b.overflow in CLIPS:
        # rounding is monotonic, so that what `a` clips, at or beyond the end of `b`, `b` clips to that end
        below = lowest >= a.min_raw or b.min_raw << max(a.frac - b.frac, 0) >= a.min_raw << max(b.frac - a.frac, 0)
        above = highest <= a.max_raw or b.max_raw << max(a.frac - b.frac, 0) <= a.max_raw << max(b.frac - a.frac, 0)
        return out if below and above else None
    return None


# ranges


def _reach(
    operation: Operation, known: Mapping[str, Operation], flows: Mapping[str, Flow]
) -> tuple[Integers, Integers, int]:
    """Range of each exact result before its cast, and its fractional bits."""
    frac = flow(operation, known, flows).accumulator.frac
    wide = flow(replace(operation, out=FixedPoint(MAX_BITS, frac)), known, flows)
    return wide.low, wide.high, frac


def _loses_nothing(operation: Operation, known: Mapping[str, Operation], flows: Mapping[str, Flow]) -> bool:
    """Whether the cast of the operation keeps every value."""
    low, high, frac = _reach(operation, known, flows)
    if operation.out.frac < frac:
        return False
    lowest, highest = _ends(*_rounded(low, high, frac, operation.out))
    return operation.out.min_raw <= lowest and highest <= operation.out.max_raw


def _rounded(low: Integers, high: Integers, frac: int, to: FixedPoint) -> tuple[Integers, Integers]:
    """Range in units of `to`, rounded as it does, before anything overflows."""
    return cast_range(low, high, frac, to.unbounded, "range")


def _ends(low: Integers, high: Integers) -> tuple[int, int]:
    return int(low.min()), int(high.max())


# types and constants


def _settled(network: Network) -> Network:
    """Every type and constant in its one spelling."""
    known = {operation.name: operation for operation in network.operations}
    done: dict[str, Operation] = {}
    for operation in network.operations:
        done[operation.name] = _spelt(operation, network, known, done)
    return Network(tuple(done.values()))


def _spelt(
    operation: Operation, network: Network, known: Mapping[str, Operation], done: Mapping[str, Operation]
) -> Operation:
    """`operation` of `network`, whose operations are `known`; those before it are `done`."""
    is_score = operation is network.score
    match operation:
        case Input(low=low, high=high, out=out):
            # raw numbers and fractional bits are the trigger's
            kind = FixedPoint.holding(int(low.min()), int(high.max()), out.frac)
            return replace(operation, out=out if is_score else kind)
        case Lookup(x=x, out=out):
            operation = _retabled(operation, network, done[x].out, x)
            if is_score:
                return replace(operation, out=out.bare)
            table, kind = _narrowest(operation.table, out.frac)
            return replace(operation, table=table, out=kind)
        case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
            scale, scale_type = _narrowest(scale, scale_type.frac)
            bias, bias_type = _narrowest(bias, bias_type.frac, network[x].out.frac + scale_type.frac)
            operation = replace(operation, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type)
        case Dense() | Convolution():
            operation = _spelt_sum(operation, network)
        case Dot(x=x, y=y, product=FixedPoint() as product, out=out):
            frac = aligned(operation, network)
            terms = flow(Merge("terms", "multiply", x, y, FixedPoint(MAX_BITS, frac)), known, network.flows)
            operation = replace(
                operation, product=_spelt_product(product, terms.low, terms.high, frac, out, terms.size)
            )
    return replace(operation, out=_spelt_type(operation.out, *_reach(operation, known, network.flows), keep=is_score))


def _spelt_type(to: FixedPoint, low: Integers, high: Integers, frac: int, *, keep: bool = False) -> FixedPoint:
    """Type that casts the numbers between `low` and `high` to the same values; with `keep`, to the same raw ones."""
    rounding = to.rounding if to.frac < frac else "TRN"
    lowest, highest = _ends(*_rounded(low, high, frac, to))
    if to.overflow == "SAT_SYM" and (lowest >= to.min_raw or not to.signed):
        to = replace(to, overflow="SAT")  # the lowest end is not met, or is 0
    overflow = to.overflow
    if to.min_raw <= lowest and highest <= to.max_raw:
        overflow = "WRAP"  # nothing overflows, in any width that holds the range
        if not keep and to.frac >= frac:
            to = FixedPoint.holding(*_ends(low, high), frac)
        elif not keep:
            to = FixedPoint.holding(lowest, highest, to.frac)
    elif not to.signed and overflow == "SAT" and highest <= to.max_raw and not keep:
        to = FixedPoint.holding(0, highest, to.frac)  # only negative numbers overflow, to 0
    elif to.signed and overflow == "SAT" and lowest >= 0 and not keep:
        to = FixedPoint(to.width - 1, to.frac, False)  # only large numbers overflow; the highest has no sign bit
    return FixedPoint(to.width, to.frac, to.signed, rounding, overflow)


def _spelt_product(
    product: FixedPoint, low: Integers, high: Integers, frac: int, out: FixedPoint, n_terms: int
) -> FixedPoint | None:
    """Type of the terms of a sum in `out`, or None if the sum is the same without it."""
    if product.frac < frac:
        return _spelt_type(product, low, high, frac)
    lowest, highest = _ends(*_rounded(low, high, frac, product))
    if product.min_raw <= lowest and highest <= product.max_raw:
        return None
    # what a term wraps by is a multiple of the range of `out`, as in `_composed`, if the sum needs no more than int64
    wraps_alike = product.overflow == out.overflow == "WRAP" and product.width - product.frac >= out.width - out.frac
    unseen = out.frac >= frac or out.rounding in NEAREST_ANYWHERE
    bits = max(abs(end) for end in _ends(low, high)).bit_length() + n_terms.bit_length()
    return None if wraps_alike and unseen and bits < MAX_BITS else _spelt_type(product, low, high, frac)


def _spelt_sum(operation: Dense | Convolution, network: Network) -> Dense | Convolution:
    """Constants narrowed; the bias as the type of the products makes it, which a second cast to it keeps."""
    weight, weight_type = _narrowest(operation.weight, operation.weight_type.frac)
    bias, frac, product = operation.bias, operation.bias_type.frac, operation.product
    if product is not None:
        bias, frac = cast(bias, frac, product), product.frac
    bias, bias_type = _narrowest(bias, frac, network[operation.x].out.frac + weight_type.frac)
    operation = replace(operation, weight=weight, weight_type=weight_type, bias=bias, bias_type=bias_type)
    if product is None or not weight.any():  # then the bias alone is summed, and is in the type of the products
        return replace(operation, product=None)
    frac, x = aligned(operation, network), network.flows[operation.x]
    seen = operation.windows() if isinstance(operation, Convolution) else np.arange(x.size)[None]
    factors = exact(weight.reshape(seen.shape[1], -1)) * (1 << frac - network[operation.x].out.frac - weight_type.frac)
    ends = [np.append(end, 0)[seen][:, :, None] * factors for end in (x.low, x.high)]
    constant = exact(bias) * (1 << frac - bias_type.frac)
    low = np.append(np.minimum(*ends).ravel(), constant)
    high = np.append(np.maximum(*ends).ravel(), constant)
    n_terms = seen.shape[1] + 1
    return replace(operation, product=_spelt_product(product, low, high, frac, operation.out, n_terms))


def _retabled(operation: Lookup, network: Network, new: FixedPoint, x: str) -> Lookup:
    """A table of `network` for the same values in the `new` type, from `x`; entries that no event reads are 0."""
    old, reach = network[operation.x].out, network.flows[operation.x]
    low, high = _ends(reach.low, reach.high)
    was = np.arange(new.min_raw, new.max_raw + 1) << min(old.frac - new.frac, MAX_BITS - 1)
    read = (was >= low) & (was <= high)
    table = np.where(read, operation.table[np.where(read, was, low) - old.min_raw], 0)
    return replace(operation, x=x, table=table)


def _narrowest(raw: Raw, frac: int, beside: int = 0) -> tuple[Raw, FixedPoint]:
    """The same values without common trailing zero bits, and the narrowest type of them.

    Zero alone has the fractional bits of what is `beside` it, so that their sum needs no more.
    """
    used = int(np.bitwise_or.reduce(raw, axis=None))
    if not used:
        return raw, FixedPoint(1, min(max(beside, -MAX_BITS), MAX_BITS), False)
    zeros = min((used & -used).bit_length() - 1, frac + MAX_BITS)
    shorter = raw >> zeros
    return shorter, FixedPoint.holding(int(shorter.min()), int(shorter.max()), frac - zeros)
