"""The quantised network: a verified program of `operations`, from trigger integers to the anomaly score.

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
from typing import Any, Protocol
from typing import cast as typed

import numpy as np
import numpy.typing as npt

from l1ad.files import digest, write_text
from l1ad.fixed import MAX_BITS, FixedPoint, Raw, cast
from l1ad.operations import (
    KINDS,
    MERGES,
    Affine,
    Cast,
    Convolution,
    Dense,
    Dot,
    Input,
    Lookup,
    Mask,
    Merge,
    Operation,
    reads,
)

FORMAT = "l1ad-network/2"
MAX_TABLE_BITS = 20
Integers = npt.NDArray[np.object_]
"""Python integers of any size, for ranges."""


@dataclass(frozen=True, eq=False, slots=True)
class Flow:
    """What `verify` finds out about one operation.  Ranges are Python integers, shape (size,).

    Parameters
    ----------
    accumulator : FixedPoint
        Narrowest type that holds the exact result before the cast and, for sums, every partial sum.
    low, high : object array
        Raw range of each element after the cast, over the admissible inputs (sound, not tight).
    exact_low, exact_high : object array
        Range of each exact result before the cast, in units of the accumulator.
    """

    accumulator: FixedPoint
    low: Integers
    high: Integers
    exact_low: Integers
    exact_high: Integers

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
        OSError, ValueError
            If there is no such file, it is no network, or its content does not match its digest; the text names it.
        """
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise OSError(
                f"network must be a readable file, not {str(path)!r} ({error.strerror}); `l1ad import` makes one"
            ) from error
        try:
            document = json.loads(text.decode("utf-8"))
            if not isinstance(document, dict) or document.get("format") != FORMAT:
                raise ValueError(f"format must be {FORMAT!r}{_said(document)}; convert or import the model again")
            network = cls(tuple(_from_json(entry) for entry in document["operations"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a network file: {error}") from error
        if network.digest != document.get("digest"):
            raise ValueError(
                f"{path}: digest must be {network.digest}, not {document.get('digest')}: "
                "the file was edited or damaged; convert the model again"
            )
        return network


def _said(document: Any) -> str:
    """The format that a file claims, if it claims one."""
    claimed = document.get("format") if isinstance(document, dict) else None
    return f", not {claimed!r:.40}" if claimed else ""


def aligned(operation: Affine | Dense | Convolution | Merge | Dot, network: Network | Mapping[str, Operation]) -> int:
    """Fractional bits in which the terms of `operation`, before any cast, are integers."""
    match operation:
        case Affine(x=x, scale_type=scale_type, bias_type=bias_type):
            return max(network[x].out.frac + scale_type.frac, bias_type.frac)
        case (
            Dense(x=x, weight_type=weight_type, bias_type=bias_type)
            | Convolution(x=x, weight_type=weight_type, bias_type=bias_type)
        ):
            return max(network[x].out.frac + weight_type.frac, bias_type.frac)
        case Merge(how="multiply", x=x, y=y) | Dot(x=x, y=y):
            return network[x].out.frac + network[y].out.frac
        case Merge(x=x, y=y):
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
        for source in reads(operation):
            if source not in known:
                raise ValueError(f"{where}: reads {source!r}, which no earlier operation is called")
            unread.discard(source)
        flows[operation.name] = flow(operation, known, flows)
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


def flow(operation: Operation, known: Mapping[str, Operation], flows: Mapping[str, Flow]) -> Flow:
    """Ranges of one operation, given the operations before it and theirs; raises as `verify` does."""
    where = f"operation {operation.name!r}"
    match operation:
        case Input(columns=columns, low=low_raw, high=high_raw, out=out):
            _shape(where, "low", low_raw, (len(columns),))
            _shape(where, "high", high_raw, (len(columns),))
            for column, lowest, highest in zip(columns, low_raw, high_raw, strict=True):
                if not out.min_raw <= lowest <= highest <= out.max_raw:
                    raise ValueError(
                        f"{where}: range of column {column!r} must lie in {out}, not {lowest} .. {highest}"
                    )
            return _ended(operation, (exact(low_raw), exact(high_raw)), out.frac, where)
        case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
            for what, array, kind in (("scale", scale, scale_type), ("bias", bias, bias_type)):
                _shape(where, what, array, (flows[x].size,))
                _inside(where, what, array, kind)
            frac = aligned(operation, known)
            factor = exact(scale) * _unit(frac - known[x].out.frac - scale_type.frac)
            low, high = ordered(flows[x].low * factor, flows[x].high * factor)
            constant = exact(bias) * _unit(frac - bias_type.frac)
            return _ended(operation, (low + constant, high + constant), frac, where)
        case Dense(x=x, weight=weight, bias=bias):
            if weight.ndim != 2:
                raise ValueError(f"{where}: weight must have 2 dimensions, not shape {weight.shape}")
            _shape(where, "weight", weight, (flows[x].size, weight.shape[1]))
            low, high = flows[x].low[None, :, None], flows[x].high[None, :, None]
            return _summed(operation, low, high, weight, bias, known, where)
        case Convolution(x=x, weight=weight, bias=bias):
            _check_image(operation, flows[x].size, where)
            windows = operation.windows()
            low, high = (np.append(end, 0)[windows][:, :, None] for end in (flows[x].low, flows[x].high))
            matrix = weight.reshape(windows.shape[1], -1)
            return _summed(operation, low, high, matrix, bias, known, where)
        case Merge(how=how, x=x, y=y):
            if how not in MERGES:
                raise ValueError(f"{where}: how must be one of {MERGES}, not {how!r}")
            _same_size(where, flows[x], flows[y])
            frac = aligned(operation, known)
            return _ended(operation, _merged(how, x, y, known, flows, frac, where), frac, where)
        case Mask(x=x, by=by, index=index):
            _shape(where, "index", index, (flows[x].size,))
            if index.min() < 0 or index.max() >= flows[by].size:
                raise ValueError(f"{where}: index must be between 0 and {flows[by].size - 1}, not {index.tolist()}")
            reach = np.minimum(flows[x].low, 0), np.maximum(flows[x].high, 0)
            return _ended(operation, reach, known[x].out.frac, where)
        case Dot(x=x, y=y, product=product):
            _same_size(where, flows[x], flows[y])
            frac = aligned(operation, known)
            low, high = product_range(flows[x], flows[y], x == y)
            if product is not None:
                _check_bits(low, high, where)
                low, high, frac = *cast_range(low, high, frac, product, where), product.frac
            partial = np.minimum(low, 0).sum(keepdims=True), np.maximum(high, 0).sum(keepdims=True)
            return _ended(operation, (low.sum(keepdims=True), high.sum(keepdims=True)), frac, where, partial)
        case Cast(x=x):
            return _ended(operation, (flows[x].low, flows[x].high), known[x].out.frac, where)
        case Lookup(x=x, table=table, out=out):
            source = known[x].out
            if source.width > MAX_TABLE_BITS:
                raise ValueError(f"{where}: tables have at most {MAX_TABLE_BITS} bits of input, not {source.width}")
            _shape(where, "table", table, (source.max_raw - source.min_raw + 1,))
            _inside(where, "table", table, out)
            reached = [
                table[int(lowest) - source.min_raw : int(highest) - source.min_raw + 1]
                for lowest, highest in zip(flows[x].low, flows[x].high, strict=True)
            ]
            reach = exact(np.array([r.min() for r in reached])), exact(np.array([r.max() for r in reached]))
            return _ended(operation, reach, out.frac, where)
        case _:
            raise TypeError(f"{where}: unknown operation {type(operation).__name__}")


def _summed(
    operation: Dense | Convolution,
    low: Integers,
    high: Integers,
    weight: Raw,
    bias: Raw,
    known: Mapping[str, Operation],
    where: str,
) -> Flow:
    """Flow of windows times filters: ranges of the inputs, shape (windows, n, 1); `weight`, shape (n, filters)."""
    _shape(where, "bias", bias, (weight.shape[1],))
    _inside(where, "weight", weight, operation.weight_type)
    _inside(where, "bias", bias, operation.bias_type)
    frac = aligned(operation, known)
    factor = exact(weight) * _unit(frac - known[operation.x].out.frac - operation.weight_type.frac)
    terms = ordered(low * factor, high * factor)
    constant = exact(bias) * _unit(frac - operation.bias_type.frac)
    constants = constant, constant
    if operation.product is not None:
        _check_bits(*terms, where)
        _check_bits(*constants, where)
        terms = cast_range(terms[0], terms[1], frac, operation.product, where)
        constants = cast_range(constant, constant, frac, operation.product, where)
        frac = operation.product.frac
    ends = [(t.sum(axis=1) + c).ravel() for t, c in zip(terms, constants, strict=True)]
    lowest = (np.minimum(terms[0], 0).sum(axis=1) + np.minimum(constants[0], 0)).ravel()
    highest = (np.maximum(terms[1], 0).sum(axis=1) + np.maximum(constants[1], 0)).ravel()
    return _ended(operation, (ends[0], ends[1]), frac, where, (lowest, highest))


def _check_image(operation: Convolution, size: int, where: str) -> None:
    """Geometry of a convolution, before its windows are listed."""
    for what, numbers, count, least in (
        ("shape", operation.shape, 3, 1),
        ("strides", operation.strides, 2, 1),
        ("padding", operation.padding, 4, 0),
    ):
        if len(numbers) != count or any(type(n) is not int or n < least for n in numbers):
            raise ValueError(f"{where}: {what} must be {count} integers of at least {least}, not {numbers}")
    height, width, channels = operation.shape
    if height * width * channels != size:
        raise ValueError(f"{where}: shape {operation.shape} must have the {size} elements of {operation.x!r}")
    kernel = operation.weight.shape
    if operation.weight.ndim != 4:
        raise ValueError(f"{where}: weight must have 4 dimensions, not shape {kernel}")
    _shape(where, "weight", operation.weight, (*kernel[:2], channels, kernel[3]))
    top, bottom, left, right = operation.padding
    if kernel[0] > height + top + bottom or kernel[1] > width + left + right:
        raise ValueError(f"{where}: kernel {kernel[:2]} must fit into the padded image of {operation.shape}")


def _merged(
    how: str, x: str, y: str, known: Mapping[str, Operation], flows: Mapping[str, Flow], frac: int, where: str
) -> tuple[Integers, Integers]:
    if how == "multiply":
        return product_range(flows[x], flows[y], x == y)
    (x_low, x_high), (y_low, y_high) = (
        (flows[name].low * _unit(frac - known[name].out.frac), flows[name].high * _unit(frac - known[name].out.frac))
        for name in (x, y)
    )
    _check_bits(np.minimum(x_low, y_low), np.maximum(x_high, y_high), where)
    match how:
        case "add":
            return x_low + y_low, x_high + y_high
        case "subtract":
            return x_low - y_high, x_high - y_low
        case "maximum":
            return np.maximum(x_low, y_low), np.maximum(x_high, y_high)
        case _:
            return np.minimum(x_low, y_low), np.minimum(x_high, y_high)


class _HasRange(Protocol):
    @property
    def low(self) -> Integers: ...

    @property
    def high(self) -> Integers: ...


def product_range(a: _HasRange, b: _HasRange, same: bool) -> tuple[Integers, Integers]:
    """Ranges of ``a_i * b_i``; `same`: b is a, and a square is never negative."""
    corners = np.stack([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])
    if not same:
        return corners.min(axis=0), corners.max(axis=0)
    spans_zero = (a.low <= 0) & (a.high >= 0)
    return np.where(spans_zero, 0, np.minimum(a.low**2, a.high**2)), corners.max(axis=0)


def _ended(
    operation: Operation,
    reach: tuple[Integers, Integers],
    frac: int,
    where: str,
    partial: tuple[Integers, Integers] | None = None,
) -> Flow:
    """Flow of an operation whose exact result, and every partial sum of it, lie in the ranges given."""
    lowest, highest = _check_bits(*(partial or reach), where)
    if abs(frac) > MAX_BITS:
        raise ValueError(f"{where}: exact result has {frac} fractional bits, beyond {MAX_BITS}; narrow its operands")
    return Flow(FixedPoint.holding(lowest, highest, frac), *cast_range(*reach, frac, operation.out, where), *reach)


def _check_bits(low: Integers, high: Integers, where: str) -> tuple[int, int]:
    """Lowest and highest of exact integers, once they are known to fit."""
    lowest, highest = int(low.min()), int(high.max())
    bits = max(lowest.bit_length(), highest.bit_length()) + 1
    if bits > MAX_BITS:
        raise ValueError(f"{where}: exact result needs {bits} bits, more than {MAX_BITS}; narrow its operands")
    return lowest, highest


def cast_range(low: Integers, high: Integers, frac: int, to: FixedPoint, where: str) -> tuple[Integers, Integers]:
    """Range of the cast of any number between `low` and `high`."""
    try:
        ends = [exact(cast(end.astype(np.int64), frac, to.unbounded)) for end in (low, high)]
    except OverflowError as error:
        raise ValueError(f"{where}: {str(error).replace(str(to.unbounded), str(to))}") from error
    fits = (ends[0] >= to.min_raw) & (ends[1] <= to.max_raw)
    if to.overflow in ("SAT", "SAT_SYM"):
        return np.clip(ends[0], to.min_raw, to.max_raw), np.clip(ends[1], to.min_raw, to.max_raw)
    return np.where(fits, ends[0], to.min_raw), np.where(fits, ends[1], to.max_raw)


def exact(raw: npt.NDArray[Any]) -> Integers:
    """Python integers, which never overflow."""
    return raw.astype(object)


def _unit(bits: int) -> int:
    """One, `bits` >= 0 places up."""
    return 1 << bits


def ordered(one: Integers, other: Integers) -> tuple[Integers, Integers]:
    """The smaller and the larger, element by element."""
    return np.minimum(one, other), np.maximum(one, other)


def _same_size(where: str, x: Flow, y: Flow) -> None:
    if x.size != y.size:
        raise ValueError(f"{where}: operands must be of one size, not {x.size} and {y.size}")


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
    kind = KINDS.get(entry.get("op", ""))
    if kind is None:
        raise ValueError(f"operation must be one of {list(KINDS)}, not {entry.get('op')!r}")
    names = {f.name for f in fields(kind)}
    if names != set(entry) - {"op"}:
        raise ValueError(f"{kind.__name__} must have the keys {sorted(names)}, not {sorted(set(entry) - {'op'})}")

    def decode(key: str, value: Any) -> Any:
        if key == "product" and value is None:
            return None
        if key in ("out", "product") or key.endswith("_type"):
            return FixedPoint.parse(value)
        if key == "columns":
            return tuple(value)
        if isinstance(value, list):
            array = np.array(value)
            if array.dtype.kind != "i":
                raise ValueError(f"{kind.__name__} {key} must be integers")
            return tuple(array.tolist()) if key in ("shape", "strides", "padding") else array.astype(np.int64)
        return value

    return kind(**{key: decode(key, value) for key, value in entry.items() if key != "op"})
