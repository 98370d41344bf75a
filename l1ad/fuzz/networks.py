"""Random networks over every operation and mode, and events for them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np

from l1ad.fixed import FixedPoint, Raw
from l1ad.network import Network, aligned
from l1ad.operations import MERGES, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, Operation, rescale

KINDS = ("latent", "reconstruction", "image", "mixed")


def random_network(
    rng: np.random.Generator,
    rounding: str | Sequence[str],
    overflow: str | Sequence[str],
    kind: str,
    bits: int = 12,
) -> Network:
    """A small network whose casts round and overflow often.

    Parameters
    ----------
    rng : numpy.random.Generator
    rounding, overflow : str or sequence of str
        One mode, or one for each cast in turn.
    kind : str
        One of `KINDS`: ``latent`` scores an encoder; ``reconstruction`` an autoencoder with masked differences;
        ``image`` convolves; ``mixed`` has every merge and a table.  These two have products that are cast before they
        are summed, and accumulators that wrap.
    bits : int
        Most bits of a result.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    build = _Builder(rng, rounding, overflow, bits)
    match kind:
        case "latent":
            build.encoder()
            return build.scored("code", "code")
        case "reconstruction":
            build.encoder()
            build.dense("decoder", "code", len(build.trigger.columns))
            build.merge("difference", "subtract", "scaled", "decoder")
            index = rng.integers(0, len(build.trigger.columns), len(build.trigger.columns))
            source = build.types["difference"]
            build.add(Mask("present", "difference", "trigger", index, build.out(source.width, source.frac)))
            return build.scored("present", "present")
        case "image":
            build.image()
            build.dense("code", "filters", 3)
            return build.scored("code", "code")
        case "mixed":
            return build.mixed()
        case _:
            raise ValueError(f"kind of network must be one of {KINDS}, not {kind!r}")


class _Builder:
    """Operations so far, and the modes that are left."""

    def __init__(
        self, rng: np.random.Generator, rounding: str | Sequence[str], overflow: str | Sequence[str], bits: int
    ) -> None:
        self.rng, self.bits = rng, bits
        self.modes = zip(
            cycle([rounding] if isinstance(rounding, str) else rounding),
            cycle([overflow] if isinstance(overflow, str) else overflow),
            strict=False,
        )
        self.operations: dict[str, Operation] = {}
        self.sizes: dict[str, int] = {}
        self._input(int(rng.integers(3, 7)))

    @property
    def types(self) -> dict[str, FixedPoint]:
        """Result types by name."""
        return {name: operation.out for name, operation in self.operations.items()}

    def add(self, operation: Operation, size: int = 0) -> None:
        """Append an operation of `size` elements, by default as many as the operation before it."""
        self.sizes[operation.name] = size or self.sizes[next(reversed(self.sizes))]
        self.operations[operation.name] = operation

    def out(self, exact_bits: int, exact_frac: int) -> FixedPoint:
        """A type that drops low bits of an exact result and is up to 2 bits too narrow for the largest."""
        width = int(self.rng.integers(4, self.bits + 1))
        dropped = exact_bits - width - int(self.rng.integers(-1, 3))
        frac = min(max(exact_frac - dropped, -30), 30)  # the product of two still has a type
        return FixedPoint(width, frac, bool(self.rng.random() < 0.75), *next(self.modes))

    def _input(self, n: int) -> None:
        rng = self.rng
        hardware = FixedPoint(int(rng.integers(4, 11)), int(rng.integers(-1, 3)))
        ends = np.sort(rng.integers(hardware.min_raw, hardware.max_raw, (2, n), endpoint=True), axis=0)
        ends[0, 0] = min(ends[0, 0], 0)  # one column is a pT: absent objects exist
        ends[1, 0] = max(ends[1, 0], 0)
        self.trigger = Input("trigger", tuple(f"column{i}" for i in range(n)), ends[0], ends[1], hardware)
        self.operations["trigger"] = self.trigger
        self.sizes["trigger"] = n

    def scaled(self) -> None:
        """Inputs, shifted and scaled."""
        hardware, rng = self.trigger.out, self.rng
        n = len(self.trigger.columns)
        shift = rng.integers(-3, 5, n)
        offset = rng.integers(self.trigger.low, self.trigger.high, n, endpoint=True)
        out = self.out(hardware.width + int(shift.max() - shift.min()), hardware.frac + int(shift.max()))
        self.add(rescale("scaled", "trigger", hardware, offset, shift, out))

    def encoder(self) -> None:
        """From the trigger to a code."""
        self.scaled()
        self.dense("encoder", "scaled", int(self.rng.integers(2, 6)))
        self.dense("code", "encoder", int(self.rng.integers(2, 4)))

    def _weights(self, x: str, shape: tuple[int, ...]) -> tuple[Raw, FixedPoint, Raw, FixedPoint]:
        rng, source = self.rng, self.types[x]
        weight_type = FixedPoint(int(rng.integers(2, 9)), int(rng.integers(-2, 10)), bool(rng.random() < 0.8))
        bias_type = FixedPoint(int(rng.integers(2, 9)), source.frac + weight_type.frac + int(rng.integers(-4, 3)))
        weight = rng.integers(weight_type.min_raw, weight_type.max_raw, shape, endpoint=True)
        return (
            weight,
            weight_type,
            rng.integers(bias_type.min_raw, bias_type.max_raw, shape[-1:], endpoint=True),
            bias_type,
        )

    def _grown(self, x: str, weight_type: FixedPoint, bias_type: FixedPoint) -> tuple[int, int]:
        """Bits and fractional bits of a product in the sum of `x` times weights."""
        source = self.types[x]
        frac = max(source.frac + weight_type.frac, bias_type.frac)
        return source.width + weight_type.width + frac - source.frac - weight_type.frac, frac

    def dense(self, name: str, x: str, n_out: int, accumulator: bool = False) -> None:
        """A dense layer; with `accumulator`, of one type for products and wrapping sums, cast afterwards."""
        weights = self._weights(x, (self.sizes[x], n_out))
        grown = self._grown(x, weights[1], weights[3])
        if accumulator:
            self.add(Dense(f"{name}_sum", x, *weights, *self._accumulator(*grown)), n_out)
            self.cast(name, f"{name}_sum")
        else:
            self.add(Dense(name, x, *weights, None, self.out(*grown)), n_out)

    def _accumulator(self, bits: int, frac: int) -> tuple[FixedPoint | None, FixedPoint]:
        """Types of the products and of the sum, which wraps; without a type of the products, they drop nothing."""
        drops = int(self.rng.integers(0, 4))
        rounding = "TRN" if self.rng.random() < 0.5 else "RND"
        kind = FixedPoint(max(bits - drops - int(self.rng.integers(0, 3)), 4), frac - drops, True, rounding)
        return kind if drops else None, kind

    def cast(self, name: str, x: str) -> None:
        """A result in another type."""
        source = out = self.types[x]
        while out == source:
            out = self.out(source.width, source.frac)
        self.add(Cast(name, x, out), self.sizes[x])

    def image(self) -> None:
        """A convolution of the inputs as an image of 2 x 3 pixels with 2 channels."""
        self._input(12)
        weights = self._weights("trigger", (2, 2, 2, 2))
        strides = tuple(int(s) for s in self.rng.integers(1, 3, 2))
        padding = tuple(int(p) for p in self.rng.integers(0, 2, 4))
        kinds = self._accumulator(*self._grown("trigger", weights[1], weights[3]))
        convolution = Convolution("filters_sum", "trigger", (2, 3, 2), *weights, strides, padding, *kinds)
        self.add(convolution, len(convolution.windows()) * 2)
        self.cast("filters", "filters_sum")

    def merge(self, name: str, how: str, x: str, y: str) -> None:
        """Two results, element by element."""
        merge = Merge(name, how, x, y, FixedPoint(1, 0))
        frac = aligned(merge, self.operations)
        widths = [self.types[source].width + frac - self.types[source].frac for source in (x, y)]
        width = self.types[x].width + self.types[y].width if how == "multiply" else max(widths)
        self.add(Merge(name, how, x, y, self.out(width, frac)), self.sizes[x])

    def mixed(self) -> Network:
        """Everything that the other kinds lack."""
        rng = self.rng
        self.scaled()
        self.dense("left", "scaled", 3, accumulator=True)
        self.dense("right", "scaled", 3, accumulator=True)
        names = ["left"]
        for how in rng.permutation(MERGES).tolist():
            self.merge(how, how, names[-1], "right")
            names.append(how)
        address = FixedPoint(5, self.types[names[-1]].frac - 3, bool(rng.random() < 0.5), *next(self.modes))
        self.add(Cast("address", names[-1], address))
        out = FixedPoint(6, 2, True, *next(self.modes))
        table = rng.integers(out.min_raw, out.max_raw, address.max_raw - address.min_raw + 1, endpoint=True)
        self.add(Lookup("table", "address", table, out))
        return self.scored("table", "left")

    def scored(self, x: str, y: str) -> Network:
        """The network with the score ``x . y``; if they are two, of products that may be rounded before their sum."""
        bits, frac = self.types[x].width + self.types[y].width, self.types[x].frac + self.types[y].frac
        drops = int(self.rng.integers(0, 4)) if x != y else 0
        room = self.sizes[x].bit_length() + 1  # for the sum and a sign: hls4ml sums in the type of the products
        product = FixedPoint(bits + room - drops, frac - drops, True, "RND_CONV", "SAT") if drops else None
        self.add(Dot("score", x, y, product, self.out(bits, frac)), 1)
        return Network(tuple(self.operations.values()))


def random_events(rng: np.random.Generator, network: Network, n_events: int) -> Raw:
    """Admissible events, uniform in each column's range, with many zeros where zero is admissible."""
    low, high = network.input.low, network.input.high
    x = rng.integers(low, high, (n_events, len(low)), endpoint=True)
    return np.where(rng.random(x.shape) < 0.2, np.clip(0, low, high), x)
