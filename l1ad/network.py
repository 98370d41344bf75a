"""The quantised network: a straight-line program over integers, from trigger integers to the anomaly score.

Specification
-------------
A `Network` is a tuple of operations.  Each has a `name`, the names of the operations it reads, and `out`, the
`FixedPoint` type of its elements.  The first is the only `Input`; the last has one element, the score.  An
operation computes the formula below *exactly*, in integers, and ends in one `fixed.cast` to `out`; nothing
else loses bits.  With ``v(x)`` the value ``raw * 2**-frac`` of an element:

==================  ==========================================================================================
`Input`             the trigger's hardware integers, one per column, each within ``low .. high`` (raw); no cast
`Rescale`           ``(v(x_i) - v(offset_i)) * 2**-shift_i``; `offset` is raw, in the type of `x`
`Dense`             ``sum_i v(x_i) * v(weight_ij) + v(bias_j)``
`Subtract`          ``v(x_i) - v(y_i)``
`Mask`              ``v(x_i)`` where ``raw(by[index_i]) != 0``, else 0: absent objects do not count
`SumOfSquares`      ``sum_i v(x_i) ** 2``
==================  ==========================================================================================

There is no ReLU operation: a cast to an unsigned saturating type sends negative values to 0, which *is* ReLU
followed by quantisation.

On construction a network is verified: names resolve backwards, every operation is read, shapes fit, weights lie
in their types, and no exact intermediate over the admissible inputs exceeds 63 bits.  High score = anomalous.

The file ``network.json`` holds the operations and the SHA-256 digest of their canonical JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from typing import cast as typed

import numpy as np
import numpy.typing as npt

from l1ad.files import digest, write_text
from l1ad.fixed import MAX_BITS, FixedPoint, Raw, cast

FORMAT = "l1ad-network/1"
Integers = npt.NDArray[np.object_]
"""Python integers of any size, for ranges."""


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    """Trigger integers.  `columns`: names; `low`, `high`: admissible raw range of each, shape (n,)."""

    name: str
    columns: tuple[str, ...]
    low: Raw
    high: Raw
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Rescale:
    """``(x - offset) * 2**-shift``.  `offset`: raw in the type of `x`; `shift`: integers; both shape (n,)."""

    name: str
    x: str
    offset: Raw
    shift: Raw
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Dense:
    """``x @ weight + bias``.  `weight`: raw, shape (n_in, n_out); `bias`: raw, shape (n_out,)."""

    name: str
    x: str
    weight: Raw
    weight_type: FixedPoint
    bias: Raw
    bias_type: FixedPoint
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Subtract:
    """``x - y``, element by element."""

    name: str
    x: str
    y: str
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class Mask:
    """``x_i`` where element ``index_i`` of `by` is not 0, else 0.  `index`: integers, shape (n,)."""

    name: str
    x: str
    by: str
    index: Raw
    out: FixedPoint


@dataclass(frozen=True, eq=False, slots=True)
class SumOfSquares:
    """``sum_i x_i ** 2``, one element."""

    name: str
    x: str
    out: FixedPoint


Operation = Input | Rescale | Dense | Subtract | Mask | SumOfSquares
_OPERATIONS = {kind.__name__: kind for kind in (Input, Rescale, Dense, Subtract, Mask, SumOfSquares)}


@dataclass(frozen=True, eq=False, slots=True)
class Flow:
    """What `verify` finds out about one operation.  Ranges are Python integers, shape (size,).

    Parameters
    ----------
    accumulator : FixedPoint
        Narrowest type that holds the exact result before the cast and, for sums, every partial sum.
    low, high : object array
        Raw range of each element after the cast, over the admissible inputs (sound, not tight).
    """

    accumulator: FixedPoint
    low: Integers
    high: Integers

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.low)


@dataclass(frozen=True, eq=False)
class Network:
    """A verified program; see the module's docstring for its meaning.

    Raises
    ------
    TypeError, ValueError
        If `verify` finds a fault; the text names the operation.
    """

    operations: tuple[Operation, ...]
    flows: Mapping[str, Flow] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "flows", verify(self.operations))

    def __getitem__(self, name: str) -> Operation:
        for operation in self.operations:
            if operation.name == name:
                return operation
        raise KeyError(f"network has no operation {name!r}; it has {[o.name for o in self.operations]}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def input(self) -> Input:
        """The first operation."""
        return typed(Input, self.operations[0])

    @property
    def score(self) -> Operation:
        """The last operation."""
        return self.operations[-1]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the operations: the identity of the network."""
        return digest(_to_json(self))

    def save(self, path: str | Path) -> None:
        """Write ``network.json``, whole or not at all."""
        document = {"format": FORMAT, "digest": self.digest, "operations": _to_json(self)}
        write_text(path, json.dumps(document, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """Read ``network.json``.

        Raises
        ------
        ValueError
            If the file is no network, or its content does not match its digest; the text names the file.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(document, dict) or document.get("format") != FORMAT:
                raise ValueError(f"format must be {FORMAT!r}")
            network = cls(tuple(_from_json(entry) for entry in document["operations"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a network file: {error}") from error
        if network.digest != document.get("digest"):
            raise ValueError(
                f"{path}: digest must be {network.digest}, not {document.get('digest')}: "
                "the file was edited or damaged; convert the model again"
            )
        return network


def aligned(operation: Rescale | Dense | Subtract, network: Network | Mapping[str, Operation]) -> int:
    """Fractional bits in which the exact result of `operation` is an integer."""
    match operation:
        case Rescale(x=x, shift=shift):
            return network[x].out.frac + int(shift.max())
        case Dense(x=x, weight_type=weight_type, bias_type=bias_type):
            return max(network[x].out.frac + weight_type.frac, bias_type.frac)
        case Subtract(x=x, y=y):
            return max(network[x].out.frac, network[y].out.frac)


def verify(operations: tuple[Operation, ...]) -> dict[str, Flow]:
    """Check a program and propagate ranges through it.

    Returns
    -------
    dict of str to Flow
        By operation name.

    Raises
    ------
    TypeError, ValueError
        The text names the operation and the fault.
    """
    if not operations or not isinstance(operations[0], Input):
        raise ValueError("network must begin with its Input operation")
    known: dict[str, Operation] = {}
    flows: dict[str, Flow] = {}
    unread: set[str] = set()
    for operation in operations:
        where = f"operation {operation.name!r}"
        if not operation.name.isidentifier():
            raise ValueError(f"{where}: name must be an identifier")
        if operation.name in known:
            raise ValueError(f"{where}: name must be unique")
        if isinstance(operation, Input) and known:
            raise ValueError(f"{where}: only the first operation may be an Input")
        for source in _reads(operation):
            if source not in known:
                raise ValueError(f"{where}: reads {source!r}, which no earlier operation is called")
            unread.discard(source)
        flows[operation.name] = _flow(operation, known, flows, where)
        known[operation.name] = operation
        unread.add(operation.name)
    if unread != {operations[-1].name}:
        raise ValueError(f"operations {sorted(unread - {operations[-1].name})} are read by no other; remove them")
    if flows[operations[-1].name].size != 1:
        raise ValueError(
            f"operation {operations[-1].name!r}: the last operation is the score and must have 1 element, "
            f"not {flows[operations[-1].name].size}"
        )
    return flows


def _reads(operation: Operation) -> tuple[str, ...]:
    return tuple(getattr(operation, key) for key in ("x", "y", "by") if hasattr(operation, key))


def _flow(operation: Operation, known: Mapping[str, Operation], flows: Mapping[str, Flow], where: str) -> Flow:
    """Exact range before the cast (`low`, `high`), range of partial sums, and range after the cast."""
    partial: tuple[Integers, Integers] | None = None
    match operation:
        case Input(columns=columns, low=low_raw, high=high_raw, out=out):
            _shape(where, "low", low_raw, (len(columns),))
            _shape(where, "high", high_raw, (len(columns),))
            low, high, frac = _exact(low_raw), _exact(high_raw), out.frac
            for column, lowest, highest in zip(columns, low, high, strict=True):
                if not out.min_raw <= lowest <= highest <= out.max_raw:
                    raise ValueError(
                        f"{where}: range of column {column!r} must lie in {out}, not {lowest} .. {highest}"
                    )
        case Rescale(x=x, offset=offset, shift=shift):
            _shape(where, "offset", offset, (flows[x].size,))
            _shape(where, "shift", shift, (flows[x].size,))
            if np.abs(shift).max() > MAX_BITS:
                raise ValueError(f"{where}: shift must be between -{MAX_BITS} and {MAX_BITS}, not {shift.tolist()}")
            frac = aligned(operation, known)
            up = _exact(int(shift.max()) - shift)
            low = (flows[x].low - _exact(offset)) << up
            high = (flows[x].high - _exact(offset)) << up
        case Dense(x=x, weight=weight, weight_type=weight_type, bias=bias, bias_type=bias_type):
            if weight.ndim != 2:
                raise ValueError(f"{where}: weight must have 2 dimensions, not shape {weight.shape}")
            _shape(where, "weight", weight, (flows[x].size, weight.shape[1]))
            _shape(where, "bias", bias, (weight.shape[1],))
            _inside(where, "weight", weight, weight_type)
            _inside(where, "bias", bias, bias_type)
            frac = aligned(operation, known)
            scale = _exact(weight) * (1 << (frac - known[x].out.frac - weight_type.frac))
            constant = _exact(bias) * (1 << (frac - bias_type.frac))
            ends = np.stack([flows[x].low[:, None] * scale, flows[x].high[:, None] * scale])
            low, high = ends.min(0).sum(0) + constant, ends.max(0).sum(0) + constant
            partial = (
                np.minimum(ends.min(0), 0).sum(0) + np.minimum(constant, 0),
                np.maximum(ends.max(0), 0).sum(0) + np.maximum(constant, 0),
            )
        case Subtract(x=x, y=y):
            if flows[x].size != flows[y].size:
                raise ValueError(f"{where}: operands must be of one size, not {flows[x].size} and {flows[y].size}")
            frac = aligned(operation, known)
            scale_x, scale_y = 1 << (frac - known[x].out.frac), 1 << (frac - known[y].out.frac)
            low = flows[x].low * scale_x - flows[y].high * scale_y
            high = flows[x].high * scale_x - flows[y].low * scale_y
        case Mask(x=x, by=by, index=index):
            _shape(where, "index", index, (flows[x].size,))
            if index.min() < 0 or index.max() >= flows[by].size:
                raise ValueError(f"{where}: index must be between 0 and {flows[by].size - 1}, not {index.tolist()}")
            frac = known[x].out.frac
            low, high = np.minimum(flows[x].low, 0), np.maximum(flows[x].high, 0)
        case SumOfSquares(x=x):
            frac = 2 * known[x].out.frac
            ends = np.stack([flows[x].low ** 2, flows[x].high ** 2])
            spans_zero = (flows[x].low <= 0) & (flows[x].high >= 0)
            low = np.array([np.where(spans_zero, 0, ends.min(0)).sum()], object)
            high = np.array([ends.max(0).sum()], object)
            partial = (np.minimum(low, 0), high)
        case _:
            raise TypeError(f"{where}: unknown operation {type(operation).__name__}")
    reach = partial or (low, high)
    lowest, highest = int(min(reach[0])), int(max(reach[1]))
    bits = max(lowest.bit_length(), highest.bit_length()) + 1
    if bits > MAX_BITS:
        raise ValueError(f"{where}: exact result needs {bits} bits, more than {MAX_BITS}; narrow its operands")
    after_low, after_high = _cast_range(low, high, frac, operation.out, where)
    return Flow(FixedPoint.holding(lowest, highest, frac), after_low, after_high)


def _cast_range(low: Integers, high: Integers, frac: int, to: FixedPoint, where: str) -> tuple[Integers, Integers]:
    """Range of the cast of any number between `low` and `high`."""
    unbounded = FixedPoint(MAX_BITS, to.frac, True, to.rounding, "SAT")
    try:
        ends = [_exact(cast(end.astype(np.int64), frac, unbounded)) for end in (low, high)]
    except OverflowError as error:
        raise ValueError(f"{where}: {error}") from error
    fits = (ends[0] >= to.min_raw) & (ends[1] <= to.max_raw)
    if to.overflow in ("SAT", "SAT_SYM"):
        return np.clip(ends[0], to.min_raw, to.max_raw), np.clip(ends[1], to.min_raw, to.max_raw)
    return np.where(fits, ends[0], to.min_raw), np.where(fits, ends[1], to.max_raw)


def _exact(raw: npt.NDArray[Any]) -> Integers:
    return raw.astype(object)


def _shape(where: str, what: str, array: npt.NDArray[Any], expected: tuple[int, ...]) -> None:
    if array.dtype != np.int64:
        raise TypeError(f"{where}: {what} must be int64, not {array.dtype}")
    if array.shape != expected or not array.size:
        raise ValueError(f"{where}: {what} must have shape {expected} and not be empty, not {array.shape}")


def _inside(where: str, what: str, array: Raw, kind: FixedPoint) -> None:
    if array.min() < kind.min_raw or array.max() > kind.max_raw:
        raise ValueError(f"{where}: {what} must lie in {kind}, not raw {array.min()} .. {array.max()}")


def _to_json(network: Network) -> list[dict[str, Any]]:
    def encode(value: Any) -> Any:
        match value:
            case FixedPoint():
                return str(value)
            case np.ndarray():
                return value.tolist()
            case tuple():
                return list(value)
            case _:
                return value

    return [
        {"op": type(o).__name__} | {f.name: encode(getattr(o, f.name)) for f in fields(o)} for o in network.operations
    ]


def _from_json(entry: dict[str, Any]) -> Operation:
    kind = _OPERATIONS.get(entry.get("op", ""))
    if kind is None:
        raise ValueError(f"operation must be one of {list(_OPERATIONS)}, not {entry.get('op')!r}")
    names = {f.name for f in fields(kind)}
    if names != set(entry) - {"op"}:
        raise ValueError(f"{kind.__name__} must have the keys {sorted(names)}, not {sorted(set(entry) - {'op'})}")

    def decode(key: str, value: Any) -> Any:
        if key == "out" or key.endswith("_type"):
            return FixedPoint.parse(value)
        if key == "columns":
            return tuple(value)
        if isinstance(value, list):
            array = np.array(value)
            if array.dtype.kind != "i":
                raise ValueError(f"{kind.__name__} {key} must be integers")
            return array.astype(np.int64)
        return value

    return kind(**{key: decode(key, value) for key, value in entry.items() if key != "op"})
