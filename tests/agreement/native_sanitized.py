"""The native emulator, compiled with sanitizers, on networks and arrays that are likely to go wrong.

    PYTHONPATH=tests LD_PRELOAD=libasan.so ASAN_OPTIONS=detect_leaks=0 python native_sanitized.py SET[,SET] [overrun]

`overrun` reads one block more than there is, to see that the sanitizer is at work.
"""

import sys
from dataclasses import replace

import numpy as np
from native_networks import arbitrary_network, events, random_networks, wide_input

from l1ad import compiler
from l1ad.emulate import Histogram, reference
from l1ad.emulate.histogram import TABLES
from l1ad.emulate.native import Native
from l1ad.errors import UnsupportedError
from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.operations import Cast, Convolution, Dense, Dot, Mask

FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O0")
N_ARBITRARY = 120


def exactly(x, order="C"):
    """The same numbers in an allocation that ends with the last of them."""
    memory = np.empty(x.size, x.dtype)
    out = memory.reshape(x.shape, order=order)
    out[:] = x
    return out


def shapes():
    """Rows of any number of columns, in bytes and in words, masked and not; filters and windows of any number."""
    rng = np.random.default_rng(1)
    number = FixedPoint(6, 2)
    none = np.zeros(1, np.int64), FixedPoint(1, 0)

    def numbers(*shape):
        return rng.integers(-20, 20, shape), number

    for n in (*range(1, 10), 15, 16, 17, 31, 32, 33, 57, 63, 64, 65, 97, 129):
        trigger = wide_input(n, -50, 60, FixedPoint(7, 1))
        scaled = FixedPoint(8, 0, True, "RND_CONV", "SAT") if n % 3 else FixedPoint(16, 7)
        dense = Dense(
            "hidden", "x", *numbers(n, 1 + n % 7), *numbers(1 + n % 7), None, FixedPoint(9, 1, False, "RND", "SAT")
        )
        last = Dense("score", "hidden", *numbers(1 + n % 7, 1), *none, None, FixedPoint(40, 3))
        yield Network((trigger, Cast("x", "trigger", scaled), dense, last))
        mask = Mask("x", "y", "trigger", rng.integers(0, n, n), scaled)
        yield Network((trigger, Cast("y", "trigger", scaled), mask, dense, last))
    for filters in range(1, 7):
        trigger = wide_input(30, 100, 300, FixedPoint(10, 0))
        image = (3, 5, 2), *numbers(2, 3, 2, filters), *numbers(filters), (1, 1 + filters % 2), (1, 0, 1, 1)
        kind = FixedPoint(20, 1) if filters % 2 else None
        convolution = Convolution("x", "trigger", *image, kind, FixedPoint(12, 1))
        yield Network((trigger, convolution, Dot("score", "x", "x", None, FixedPoint(40, 2))))


def networks():
    """All of them."""
    yield from (network for number, (_, network) in enumerate(random_networks(12)) if number % 4 == 0)
    yield from (network for number, (_, network) in enumerate(random_networks(28)) if number % 8 == 0)
    yield from (arbitrary_network(seed) for seed in range(N_ARBITRARY))
    yield from shapes()


def arrays(x):
    """Numbers whose last ends the allocation, in the narrowest types that hold them, in every layout."""
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        if x.min() < np.iinfo(dtype).min or x.max() > np.iinfo(dtype).max:
            continue
        for order in "CF":
            yield exactly(x.astype(dtype), order)
        yield exactly(x[::-1].astype(dtype))[::-1]
        yield [exactly(column.astype(dtype)) for column in x.T]


def run(network, isa, x, expected):
    """How many events were compared; each as it lies in memory, and in histograms."""
    native = Native(network, isa)
    n_events = 0
    for count in (len(x), 64, 1):
        for given in arrays(x[-count:]):
            found = native.scores(given)
            if not np.array_equal(found, expected[-count:]):
                raise SystemExit(f"{isa}: scores differ: {network.operations}")
            n_events += count
    if np.abs(x).max() < 2**20:
        units = [InputColumn(name, -(2**20), 2**20, 0.5, "GeV") for name in network.input.columns]
        for given in (exactly(x * 0.5), exactly((x * 0.5).astype(np.float32), "F")):
            if not np.array_equal(native.scores(given, units=units), expected):
                raise SystemExit(f"{isa}: scores of floats differ: {network.operations}")
    flow = network.flows[network.score.name]
    if int(flow.high[0]) - int(flow.low[0]) < 2**16:
        category = np.arange(len(x)) % 3
        weight = exactly(np.arange(len(x), dtype=float))
        filled = native.fill(Histogram.of(network, 3, 1.0), x, exactly(category), weight)
        defined = Histogram.of(network, 3, 1.0).fill(expected, category, weight)
        for table in TABLES:
            if not np.array_equal(getattr(filled, table), getattr(defined, table)):
                raise SystemExit(f"{isa}: {table} differ: {network.operations}")
    return n_events


def refused(isa):
    """Numbers that are not admissible, in a first and a last block."""
    network = next(shapes())
    native = Native(network, isa)
    for at in (0, 64, 99):
        for dtype in (np.int8, np.int16, np.uint64):
            x = np.zeros((100, 1), dtype)
            x[at] = 61
            try:
                native.scores(exactly(x))
            except ValueError as error:
                if f"event {at}, column 'column0' is 61" not in str(error):
                    raise
            else:
                raise SystemExit(f"{isa}: {dtype} out of range was taken")


def overrun(isa):
    """One block more than there is."""
    native = Native(next(shapes()), isa)
    source = native._source(exactly(np.zeros((6400, 1), np.int32)), None)
    scores = np.empty(6464, np.int64)
    native._run(replace(source, events=6464), slice(0, 6464), scores, None)


def main():
    """What the first line of this file says."""
    sets = sys.argv[1].split(",")
    compiler.FLAGS = (*FLAGS, *(flag for flag in compiler.FLAGS if not flag.startswith("-O")))
    if sys.argv[2:] == ["overrun"]:
        overrun(*sets)
        raise SystemExit("an overrun was not seen")
    n_events, n_refused = dict.fromkeys(sets, 0), dict.fromkeys(sets, 0)
    n_networks = 0
    for network in networks():
        n_networks += 1
        x = events(network, 70)[-193:]
        expected = reference.emulate(network, x)
        for isa in sets:
            try:
                n_events[isa] += run(network, isa, x, expected)
            except UnsupportedError:
                n_refused[isa] += 1
    for isa in sets:
        refused(isa)
        print(f"{isa}: {n_networks} networks, {n_refused[isa]} refused, {n_events[isa]} events")


if __name__ == "__main__":
    main()
