"""Emulation on a device that JAX compiles for: the same integers on a CUDA device, by proof, not by tolerance.

The whole network is one compiled program over a batch of events.  Every Dense and Convolution is a matrix product in
the first of these arithmetics that the bounds of ``network.flows`` prove exact:

==========  ==================================================================================================
`int8`      operands of one byte each (the inputs less a zero point), sums in int32: every partial sum < 2**31
`float32`   operands and every partial sum < 2**24
`float64`   operands and every partial sum < 2**53
`int64`     any other: nothing in a verified network needs more than 63 bits
==========  ==================================================================================================

*Why floating point is exact.*  A weighted sum is a sum of integers ``x_i * w_ij``.  XLA, cuBLAS and Eigen may add them
in any order, in any tree, with fused multiply-add or without, with zeros between them; whatever they hold on the way
is the sum of *some* of the terms.  The sum of any of them lies between the sum of the negative and the sum of the
positive ends of all terms, which are computed here in Python integers from the range of each input.  Where both are
below 2**24 in magnitude, so is every such sum and every product alone; float32 holds each integer up to 2**24, so that
no operation has anything to round, and no order differs from another.  For float64 it is 2**53.

*What this relies on*, all of it besides the proof:

- The float32 product is one of float32.  By default JAX multiplies in TF32 on GPUs (11 bits: 2049 becomes 2048) and in
  bfloat16 on TPUs (8 bits), and even ``Precision.HIGHEST`` may mean several passes in bfloat16.  So the *algorithm* is
  named, ``F32_F32_F32``, which a backend runs or refuses to compile.  Of float64 there is no faster imitation unless
  cuBLAS is told, by its environment variables, to emulate float32 or float64 in smaller types: do not.
- It is an inner product.  Strassen and Winograd forms hold differences of inputs that this bound does not cover.
  So a convolution is windows times filters, never a ``lax.conv``, for which cuDNN may choose Winograd or FFT.
- Integers are two's complement, ``>>`` keeps the sign, and float to integer is exact for integers.  No number here
  overflows its int32 (31 bits are proved enough; of int8 sums, 32) or int64; nothing is divided; no shift is as wide
  as its lanes.
  XLA may fold conversions, reassociate, or keep more precision than asked for: with integers below the bounds these
  change nothing, and fast-math flags have no NaN, infinity, subnormal or -0.0 whose loss could be seen.

Products that are cast before they are summed, casts, merges, dots, masks and tables are in int32 where 31 bits are
proved enough, else in int64; JAX's 64 bits are switched on here alone, not in the caller's JAX.

As a last resort every `Device` is compared with the reference, ``==``, on its corners and on random events before it
answers.  **Not run on CUDA so far**: no such device was at hand.  It was compared on JAX's CPU backend.  For CUDA, XLA
is given, at the same batch, letter by letter what it is given for the CPU; what it makes of that is unseen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.compare import FLOAT32_BITS, agree, random_inputs
from l1ad.emulate import reference
from l1ad.errors import MismatchError, ToolNotFoundError, UnsupportedError
from l1ad.fixed import MAX_BITS, FixedPoint, Raw, cast
from l1ad.network import Integers, Network, aligned, exact, ordered, product_range
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, Operation

BATCH = {"cpu": 1 << 13, "gpu": 1 << 18}
"""Events of one call, at most; that of the GPU was not measured."""
MEMORY = 1 << 30
"""Bytes that the results of all operations of a batch may take, were each of its numbers an int64 of its own."""
CHECKED = 2_000
"""Random events of the first comparison, after the corners."""
IN_FLIGHT = 2
"""Batches that wait on the device while the next is prepared."""
FLOAT64_BITS = 53
PLATFORMS = ("cpu", "gpu", "cuda")
TOTALS = {
    "int8": ("int32", "int32"),
    "float32": ("float32", "int32"),
    "float64": ("float64", "int64"),
    "int64": ("int64", "int64"),
}
"""Types of the sums in each arithmetic, and of the integers that they are."""
UNROLLED = 8
"""Terms of a sum in one turn of the loop that casts each."""

Array = Any
"""An array on the device."""
Numbers = npt.NDArray[Any]


class Device:
    """A network, compiled for a device, and once compared with the reference there.

    Parameters
    ----------
    network : Network
    platform : str or None
        ``"cpu"``, or ``"gpu"`` (``"cuda"``); by default what JAX prefers.
    batch : int or None
        Events of one call; fewer are filled up: it is compiled once.  By default what `BATCH` and `MEMORY` allow.

    Attributes
    ----------
    arithmetic : dict of str to str
        By name of each Dense and Convolution; ``terms`` for products that are cast one by one.

    Raises
    ------
    ImportError
        If JAX is not installed.
    ToolNotFoundError
        If there is no such device.
    UnsupportedError
        If a step needs more than 63 bits, the device is neither a CPU nor a GPU, or lacks an arithmetic.
    MismatchError
        If a score of the first comparison differs; the text names the event.
    """

    def __init__(self, network: Network, platform: str | None = None, batch: int | None = None) -> None:
        if batch is not None and batch < 1:
            raise ValueError(f"batch must be at least 1 event, not {batch}")
        self._jax = _jax()
        self.network, self.device = network, _device(self._jax, platform)
        self._program = _Program(self._jax, network)
        self.arithmetic = {name: each.arithmetic for name, each in self._program.sums.items()}
        self.batch = batch or max(1, min(BATCH[self.device.platform], MEMORY // self._program.bytes))
        self._type = _narrowest(network.input.low, network.input.high)
        try:
            with self._jax.enable_x64(True):
                self._run = self.lowered().compile()
        except RuntimeError as error:
            raise UnsupportedError(f"JAX cannot compile the network for {self.device}: {error}") from error
        self._compare()

    def lowered(self, platform: str | None = None) -> Any:
        """The program as JAX hands it to XLA, for this device or another platform."""
        jax = self._jax
        with jax.enable_x64(True):
            sharding = None if platform else jax.sharding.SingleDeviceSharding(self.device)
            shape = (self.batch, len(self.network.input.columns))
            traced = jax.jit(self._program).trace(jax.ShapeDtypeStruct(shape, self._type, sharding=sharding))
            return traced.lower(lowering_platforms=(platform,)) if platform else traced.lower()

    def scores(self, x: npt.ArrayLike | Sequence[Numbers]) -> Raw:
        """Raw anomaly score of each event.

        Parameters
        ----------
        x : integer array_like, shape (n_events, n_columns), or a sequence of one array of shape (n_events,) a column
            Raw trigger integers; copied batch by batch, in the fewest bytes that the columns' ranges need.

        Returns
        -------
        int64 array, shape (n_events,)

        Raises
        ------
        TypeError, ValueError
            As `reference.emulate`, before any score is returned.
        """
        n_events, read = self._reader(x)
        scores, waiting = np.empty(n_events, np.int64), deque[tuple[slice, Array]]()
        with self._jax.enable_x64(True):
            for start in range(0, n_events, self.batch):
                part = slice(start, min(start + self.batch, n_events))
                rows = read(part)
                if self._refuses(rows):
                    reference.admissible(self.network, read(slice(None)))  # which names the event
                waiting.append((part, self._run(self._jax.device_put(self._filled(rows), self.device))))
                if len(waiting) > IN_FLIGHT:
                    _fetch(waiting, scores)
            while waiting:
                _fetch(waiting, scores)
        return scores

    def _reader(self, x: Any) -> tuple[int, Callable[[slice], Numbers]]:
        """Number of events, and what gives some of them, shape (events, columns)."""
        names = self.network.input.columns
        if isinstance(x, list | tuple) and x and all(isinstance(each, np.ndarray) and each.ndim == 1 for each in x):
            lengths = sorted({len(column) for column in x})
            if len(x) != len(names) or len(lengths) != 1:
                raise ValueError(
                    f"network input must have {len(names)} columns of one length, not {len(x)} of {lengths}"
                )
            if (kind := np.result_type(*x)).kind not in "iu":
                raise TypeError(f"network input must be hardware integers, not dtype {kind}; quantise the events first")
            return lengths[0], lambda part: np.stack([column[part] for column in x], axis=1)
        table: Numbers = np.asarray(x)
        if table.dtype.kind not in "iu" or table.shape[1:] != (len(names),):
            reference.admissible(self.network, table)  # which says what is wrong
        return len(table), lambda part: table[part]

    def _refuses(self, rows: Numbers) -> bool:
        """Whether a number lies out of its column's range."""
        low, high = self.network.input.low, self.network.input.high
        return bool((rows.min(axis=0) < low).any() or (rows.max(axis=0) > high).any())

    def _filled(self, rows: Numbers) -> Numbers:
        """A whole batch of them; not copied if it need not be, for JAX has read it before `scores` returns."""
        if len(rows) == self.batch:
            return np.ascontiguousarray(rows, self._type)
        batch = np.empty((self.batch, rows.shape[1]), self._type)
        batch[: len(rows)] = rows
        batch[len(rows) :] = self.network.input.low
        return batch

    def _compare(self) -> None:
        """Raise `MismatchError` unless corners and random events have the reference's scores."""
        x, name = random_inputs(self.network, CHECKED), self.network.score.name
        left, right = {name: reference.emulate(self.network, x)[:, None]}, {name: self.scores(x)[:, None]}
        found = agree(self.network, "reference", left, f"JAX on {self.device}", right)
        if found.n_mismatches:
            raise MismatchError(f"{found}; emulation is wrong on this device: report this")


def _jax() -> Any:
    """JAX, which l1ad needs nowhere else."""
    try:
        import jax
    except ImportError as error:
        raise ImportError(
            "emulation on a device needs JAX; install it: `pip install 'l1ad[gpu]'`, or `pip install jax` for CPUs"
        ) from error
    return jax


def _device(jax: Any, platform: str | None) -> Any:
    """The first device of a platform."""
    if platform is not None and platform not in PLATFORMS:
        raise ValueError(f"platform must be one of {', '.join(PLATFORMS)}, not {platform!r}")
    try:
        device = jax.devices(platform)[0] if platform else jax.devices()[0]
    except RuntimeError as error:
        raise ToolNotFoundError(f"platform {platform!r}: JAX finds no such device ({error})") from None
    if device.platform not in BATCH:
        raise UnsupportedError(f"device must be a CPU or a GPU, not {device}: nothing is proved of its arithmetic")
    return device


def _fetch(waiting: deque[tuple[slice, Array]], scores: Raw) -> None:
    """Take the scores of the oldest batch."""
    part, result = waiting.popleft()
    scores[part] = np.asarray(result)[: part.stop - part.start]


def _narrowest(low: Raw, high: Raw) -> type[np.integer[Any]]:
    """Type of the fewest bytes that holds all numbers between."""
    types = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32)
    return next((t for t in types if np.iinfo(t).min <= low.min() and high.max() <= np.iinfo(t).max), np.int64)


def lanes(where: str, *numbers: Any) -> str:
    """Type in which steps reach no numbers beyond these, of which it leaves a bit to spare.

    Raises
    ------
    UnsupportedError
        If they need more than 63 bits.
    """
    ends = [int(end) for each in numbers for end in (np.min(each), np.max(each))]
    bits = 1 + max((end if end >= 0 else ~end).bit_length() for end in ends)
    if bits > MAX_BITS:
        raise UnsupportedError(f"{where}: emulation on a device has {MAX_BITS} bits, not the {bits} that a step needs")
    return "int32" if bits <= 31 else "int64"


@dataclass(frozen=True)
class Sum:
    """How the sums of a Dense or Convolution are computed.

    Parameters
    ----------
    arithmetic : str
        See the module's docstring; ``terms``: each product is cast.
    zero : int
        Subtracted from every input, for `int8`.
    reach : int
        Bound of every partial sum of products of raw numbers, the inputs less `zero`; for ``terms``, of a product.
    """

    arithmetic: str
    zero: int
    reach: int


def choose(operation: Dense | Convolution, network: Network) -> Sum:
    """The first arithmetic that is proved exact for an operation."""
    flow = network.flows[operation.x]
    weight = exact(operation.weight.reshape(-1, operation.weight.shape[-1]))
    if isinstance(operation, Convolution):
        windows = operation.windows()
        low, high = (np.append(end, 0)[windows] for end in (flow.low, flow.high))
    else:
        low, high = flow.low[None], flow.high[None]
    if operation.product is not None:
        return Sum("terms", 0, _most(np.maximum(np.abs(low), np.abs(high)).max(axis=0)[:, None] * weight))
    least, most = int(low.min()), int(high.max())
    zero = 0 if least >= -128 and most <= 127 else least + 128
    if most - zero <= 127 and weight.min() >= -128 and weight.max() <= 127:
        reach = _partial(low - zero, high - zero, weight)
        if reach < 1 << 31:
            return Sum("int8", zero, reach)
    reach = _partial(low, high, weight)
    largest = max(reach, _most(low), _most(high), _most(weight)).bit_length()
    return Sum("float32" if largest <= FLOAT32_BITS else "float64" if largest <= FLOAT64_BITS else "int64", 0, reach)


def _most(numbers: Integers) -> int:
    """Largest magnitude."""
    return int(np.abs(numbers).max())


def _partial(low: Integers, high: Integers, weight: Integers) -> int:
    """Largest magnitude of a sum of any terms: of ``low .. high``, shape (windows, n), with weights, shape (n, m)."""
    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
    most = np.maximum(high, 0) @ up + np.minimum(low, 0) @ down
    least = np.minimum(low, 0) @ up + np.maximum(high, 0) @ down
    return max(int(most.max()), -int(least.min()))


class _Program:
    """The network as a function of a batch of events, for JAX to trace; `x`: shape (batch, columns).

    Attributes
    ----------
    sums : dict of str to Sum
    bytes : int
        Of an event, see `MEMORY`.
    """

    def __init__(self, jax: Any, network: Network) -> None:
        self._lax, self._np, self._network = jax.lax, jax.numpy, network
        sums = [o for o in network.operations if isinstance(o, Dense | Convolution)]
        self.sums = {operation.name: choose(operation, network) for operation in sums}
        windows = sum(o.windows().size for o in sums if isinstance(o, Convolution))
        self.bytes = 8 * (windows + sum(flow.size for flow in network.flows.values()))

    def __call__(self, x: Array) -> Array:
        """Score of each event."""
        network = self._network
        values = {network.input.name: x.astype(self._kept(network.input))}
        for operation in network.operations[1:]:
            integers, frac = self._exact(operation, values)
            reach = network.flows[operation.name].accumulator
            result = self._cast(integers, reach.min_raw, reach.max_raw, frac, operation.out)
            values[operation.name] = result.astype(self._kept(operation))
        return values[network.score.name][:, 0]

    def _kept(self, operation: Operation) -> str:
        """Type of the result of an operation."""
        flow = self._network.flows[operation.name]
        return lanes(f"operation {operation.name!r}", flow.low, flow.high)

    def _exact(self, operation: Operation, v: dict[str, Array]) -> tuple[Array, int]:
        """Exact integers before the cast, and their fractional bits, as `reference.exact` has them."""
        jnp, network, flows = self._np, self._network, self._network.flows
        where, reach = f"operation {operation.name!r}", flows[operation.name].accumulator
        match operation:
            case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
                frac = aligned(operation, network)
                up, constant = frac - network[x].out.frac - scale_type.frac, exact(bias) << (frac - bias_type.frac)
                ends = ordered(flows[x].low * exact(scale), flows[x].high * exact(scale))
                kind = lanes(where, *(end << up for end in ends), constant, scale, reach.min_raw, reach.max_raw)
                products = _up(v[x].astype(kind) * scale.astype(kind)[None], up)
                return products + constant.astype(kind)[None], frac
            case Dense(x=x, weight=weight):
                return self._sum(operation, v[x], weight)
            case Convolution(x=x, weight=weight):
                windows = operation.windows()
                index = np.where(windows < 0, flows[x].size, windows).ravel()  # behind the image is the padding, 0
                seen = jnp.take(jnp.pad(v[x], ((0, 0), (0, 1))), index, axis=1, mode="clip")
                sums, frac = self._sum(operation, seen.reshape(-1, windows.shape[1]), weight)
                return sums.reshape(-1, len(windows) * weight.shape[-1]), frac
            case Merge(how=how, x=x, y=y):
                frac, both = aligned(operation, network), (x, y)
                ups = [0, 0] if how == "multiply" else [frac - network[name].out.frac for name in both]
                reaches = [end << up for name, up in zip(both, ups, strict=True) for end in _ends(flows[name])]
                kind = lanes(where, *reaches, reach.min_raw, reach.max_raw)
                left, right = (_up(v[name].astype(kind), up) for name, up in zip(both, ups, strict=True))
                return getattr(jnp, how)(left, right), frac
            case Mask(x=x, by=by, index=index):
                present = jnp.take(v[by], index, axis=1, mode="clip") != 0
                return jnp.where(present, v[x], 0), network[x].out.frac
            case Dot(x=x, y=y, product=product):
                frac, (low, high) = aligned(operation, network), product_range(flows[x], flows[y], x == y)
                kind = lanes(where, low, high, *_ends(flows[x]), *_ends(flows[y]), reach.min_raw, reach.max_raw)
                products = v[x].astype(kind) * v[y].astype(kind)
                if product is not None:
                    products, frac = self._cast(products, low.min(), high.max(), frac, product), product.frac
                kind = lanes(where, reach.min_raw, reach.max_raw)
                return products.astype(kind).sum(axis=1, keepdims=True, dtype=kind), frac
            case Cast(x=x):
                return v[x], network[x].out.frac
            case Lookup(x=x, table=table, out=out):
                entries = jnp.asarray(table.astype(lanes(where, table)))
                return jnp.take(entries, v[x] - network[x].out.min_raw, mode="clip"), out.frac
            case Input() | _:
                raise UnsupportedError(f"emulation on a device does not implement {type(operation).__name__}")

    def _sum(self, operation: Dense | Convolution, x: Array, weight: Raw) -> tuple[Array, int]:
        """Sums of `x`, shape (..., n), times the weights, and the bias."""
        network, how = self._network, self.sums[operation.name]
        frac, weight = aligned(operation, network), weight.reshape(-1, weight.shape[-1])
        up = frac - network[operation.x].out.frac - operation.weight_type.frac
        bias = exact(operation.bias) << (frac - operation.bias_type.frac)
        if operation.product is not None:
            return self._terms(operation, x, weight, bias.astype(np.int64), up, frac), operation.product.frac
        reach, back = network.flows[operation.name].accumulator, how.zero * exact(weight).sum(axis=0)
        kind = lanes(f"operation {operation.name!r}", reach.min_raw, reach.max_raw, -how.reach, how.reach, back)
        sums = self._product(how, x, weight).astype(kind)
        if how.zero:
            sums = sums + back.astype(kind)[None]
        return _up(sums, up) + bias.astype(kind)[None], frac

    def _product(self, how: Sum, x: Array, weight: Raw) -> Array:
        """The matrix product, exact by the proof of `choose`."""
        precision = {"float32": self._lax.DotAlgorithmPreset.F32_F32_F32, "float64": self._lax.Precision.HIGHEST}
        total, result = TOTALS[how.arithmetic]
        sums = self._lax.dot_general(
            (x - how.zero).astype(how.arithmetic),
            weight.astype(how.arithmetic),
            (((1,), (0,)), ((), ())),
            precision=precision.get(how.arithmetic),
            preferred_element_type=total,
        )
        return sums.astype(result)

    def _terms(self, operation: Dense | Convolution, x: Array, weight: Raw, bias: Raw, up: int, frac: int) -> Array:
        """Sums of products that are each cast first, term by term, of all outputs at once."""
        product, flow = operation.product, self._network.flows[operation.name]
        if product is None:
            raise ValueError(f"operation {operation.name!r}: product must be a type, not None")
        most = self.sums[operation.name].reach << up
        reach = flow.accumulator.min_raw, flow.accumulator.max_raw
        factors = lanes(f"operation {operation.name!r}", -most, most)
        kind = lanes(f"operation {operation.name!r}", *reach)
        by_term, weights = x.astype(factors).T, self._np.asarray(weight.astype(factors))

        def add(i: Any, sums: Array) -> Array:
            terms = _up(by_term[i][:, None] * weights[i][None], up)
            return sums + self._cast(terms, -most, most, frac, product).astype(kind)

        start = self._np.broadcast_to(cast(bias, frac, product).astype(kind), (x.shape[0], weight.shape[1]))
        return self._lax.fori_loop(0, len(weight), add, start, unroll=min(UNROLLED, len(weight)))

    def _cast(self, x: Array, low: int, high: int, frac: int, to: FixedPoint) -> Array:
        """`fixed.cast` of numbers of int32 or int64 between `low` and `high`, of 31 or 63 bits.

        Ties go up by adding the highest bit that is dropped: ``floor(x + 1/2)``.  Where they are to go down, x is one
        unit less before, which matters to nothing but a tie.
        """
        low, high, shift = int(low), int(high), frac - to.frac
        ends = (low >> shift, (high >> shift) + 1) if shift > 0 else (low << -shift, high << -shift)
        overflows = ends[0] < to.min_raw or ends[1] > to.max_raw
        limits = (to.min_raw, to.max_raw) if overflows else ()
        # that nothing leaves 63 bits was proved when the network was verified, from ranges narrower than these
        narrow = max(abs(end) for end in (low, high, *ends, *limits)) < 1 << 30 and abs(shift) < 31
        x = x.astype("int32" if narrow else "int64")
        x = _rounded(x, shift, to.rounding) if shift > 0 else _up(x, -shift)
        if not overflows:
            return x
        match to.overflow:
            case "WRAP":
                kept, sign = x & ((1 << to.width) - 1), 1 << (to.width - 1)
                return (kept ^ sign) - sign if to.signed else kept
            case "SAT_ZERO":
                return self._np.where((x < to.min_raw) | (x > to.max_raw), 0, x)
            case _:
                return self._np.clip(x, to.min_raw, to.max_raw)


def _ends(flow: Any) -> tuple[Integers, Integers]:
    return flow.low, flow.high


def _up(x: Array, bits: int) -> Array:
    """`x` with zero bits appended: proved to fit, so that more than its lanes have are appended to 0 alone."""
    return x << min(bits, 8 * x.dtype.itemsize - 1) if bits else x


def _rounded(x: Array, shift: int, rounding: str) -> Array:
    """Drop `shift` > 0 low bits."""
    sign = x >> (8 * x.dtype.itemsize - 1)  # -1 of negative numbers, else 0
    match rounding:
        case "TRN":
            return x >> shift
        case "TRN_ZERO":
            return (x + (sign & ((1 << shift) - 1))) >> shift
        case "RND_MIN_INF":
            x = x - 1
        case "RND_INF":
            x = x + sign
        case "RND_ZERO":
            x = x + ~sign
        case "RND_CONV":
            x = x - 1 + ((x >> shift) & 1)
    return (x >> shift) + ((x >> (shift - 1)) & 1)
