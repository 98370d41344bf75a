"""The native emulator takes events of any integer type and layout, or says what is wrong with them."""

import ctypes
import mmap
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from native_networks import needs, wide_input

from l1ad.emulate import Histogram, reference
from l1ad.emulate.native import Native
from l1ad.emulate.native.library import SETS
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.operations import Cast, Dense, Input, Mask, Merge

INTEGERS = tuple(np.dtype(f"{order}{kind}{size}") for order in "<>" for kind in "iu" for size in (1, 2, 4, 8))
COUNTS = (0, 1, 2, 63, 64, 65, 127, 128, 129, 500)
NO_BIAS = np.zeros(1, np.int64), FixedPoint(1, 0)
MAP_NORESERVE = 0x4000
"""Of Linux; Python names it from 3.13 on."""
SCALED = FixedPoint(7, 0, True, "RND_CONV", "SAT")


@pytest.fixture(params=SETS)
def isa(request, require):
    return needs(request.param, require)


@cache
def network(low, high, n, kind="bytes"):
    """Columns of one range, scaled to bytes or not at all, masked by themselves or not."""
    rng = np.random.default_rng(n)
    weight = rng.integers(-50, 50, (n, 3)), FixedPoint(7, 3)
    bias = rng.integers(-50, 50, 3), FixedPoint(7, 3)
    out = FixedPoint(40, 5)
    trigger = wide_input(n, low, high, FixedPoint.holding(low, high, 2))
    first = {
        "bytes": (Cast("x", "trigger", SCALED),),
        "masked": (Cast("y", "trigger", SCALED), Mask("x", "y", "trigger", np.arange(n)[::-1].copy(), SCALED)),
        "raw": (Merge("x", "add", "trigger", "trigger", FixedPoint(34, 2)),),
    }[kind]
    dense = Dense("hidden", "x", *weight, *bias, None, out)
    last = Dense("score", "hidden", np.array([[1], [3], [9]]), FixedPoint(5, 0), *NO_BIAS, None, FixedPoint(48, 5))
    return Network((trigger, *first, dense, last))


def numbers(low, high, n_events, n, seed=3):
    x = np.random.default_rng(seed).integers(low, high, (n_events, n), endpoint=True)
    if n_events:
        x[0], x[-1] = high, low
    return x


# types and layouts


def placed(x):
    """The same events in every layout, by name."""
    n_events, n = x.shape
    wide = np.zeros((2 * n_events + 1, 3 * n + 2), x.dtype)
    wide[1::2, 1:-1:3] = x
    record = np.zeros(n_events, np.dtype([("odd", "u1"), ("x", x.dtype, (n,))]))  # numbers lie across words
    record["x"] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "rows": np.ascontiguousarray(x),
        "columns": np.asfortranarray(x),
        "strided": wide[1::2, 1:-1:3],
        "backwards": np.ascontiguousarray(x[::-1])[::-1],
        "columns backwards": np.ascontiguousarray(x[:, ::-1])[:, ::-1],
        "all backwards": np.asfortranarray(x[::-1, ::-1])[::-1, ::-1],
        "unaligned": record["x"],
        "read only": read_only,
        "arrays": [column.copy() for column in x.T],
        "arrays of others": tuple(wide[1::2, 1:-1:3].T),
        "arrays of rows": list(x.T),
    }


@pytest.mark.parametrize("kind", ["bytes", "masked", "raw"])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_every_type_in_every_layout(dtype, kind, isa):
    low, high = (0, 100) if dtype.kind == "u" else (-100, 100)
    for n, n_events in ((1, 129), (5, 129), (40, 70)):
        x = numbers(low, high, n_events, n)
        native = Native(network(low, high, n, kind), isa)
        expected = reference.emulate(native.network, x)
        for name, given in placed(x.astype(dtype)).items():
            before = [np.array(part) for part in given] if isinstance(given, list | tuple) else given.copy()
            scores = native.scores(given)
            assert scores.tolist() == expected.tolist(), name
            assert scores.dtype == np.int64
            np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("kind", ["bytes", "masked", "raw"])
@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_events(count, kind, isa):
    native = Native(network(-100, 100, 5, kind), isa)
    x = numbers(-100, 100, count, 5)
    expected = reference.emulate(native.network, x)
    for dtype in (np.int8, np.int16, np.int64):
        for name, given in placed(x.astype(dtype)).items():
            scores = native.scores(given)
            assert scores.shape == (count,), name
            assert scores.tolist() == expected.tolist(), name
    histogram = native.fill(Histogram.of(native.network), x.astype(np.int16))
    assert histogram.events == count


@pytest.mark.parametrize(
    ("low", "high"),
    [(-(2**15), 2**15 - 1), (-(2**15) - 1, 2**15), (-(2**31), 2**31 - 1), (-(2**31) - 1, 2**31), (0, 2**40)],
)
def test_columns_of_each_width_in_each_type_that_holds_them(low, high, isa):
    """The ends of what is stored in 16, 32 and 64 bits."""
    trigger = wide_input(3, low, high, FixedPoint.holding(low, high, 0))
    weight = np.array([[1], [-3], [5]]), FixedPoint(4, 0)
    network = Network((trigger, Dense("score", "trigger", *weight, *NO_BIAS, None, FixedPoint(50, 0))))
    x = np.array([[low, high, low], [high, low, high], [0, 1, 0], [high, high, high], [low, low, low]] * 30)
    native = Native(network, isa)
    expected = reference.emulate(network, x)
    for dtype in INTEGERS:
        inside = ((x >= np.iinfo(dtype).min) & (x <= np.iinfo(dtype).max)).all(axis=1)
        kept = x[inside].astype(dtype)
        assert native.scores(kept).tolist() == expected[inside].tolist()
        assert native.scores(np.asfortranarray(kept)).tolist() == expected[inside].tolist()


def test_columns_of_different_types_and_places(isa):
    x = numbers(0, 100, 333, 8)
    native = Native(network(0, 100, 8), isa)
    dtypes = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.dtype(">i4"), np.int64)
    columns = [x[:, i].astype(dtype) for i, dtype in enumerate(dtypes)]
    columns[2] = np.repeat(columns[2], 3)[::3]
    columns[5] = columns[5][::-1].copy()[::-1]
    expected = reference.emulate(native.network, x).tolist()
    assert native.scores(columns).tolist() == expected
    assert native.scores(tuple(columns)).tolist() == expected
    x[:, 4] = 77
    columns[4] = np.broadcast_to(np.int16(77), 333)
    assert native.scores(columns).tolist() == reference.emulate(native.network, x).tolist()


def test_lists_of_lists_are_rows(isa):
    x = numbers(-100, 100, 70, 3)
    native = Native(network(-100, 100, 3), isa)
    assert native.scores(x.tolist()).tolist() == reference.emulate(native.network, x).tolist()
    assert native.scores(tuple(map(tuple, x.tolist()))).tolist() == reference.emulate(native.network, x).tolist()


def test_one_event_that_is_repeated_without_memory(isa):
    native = Native(network(-100, 100, 5), isa)
    x = numbers(-100, 100, 1, 5).astype(np.int16)
    expected = reference.emulate(native.network, x).tolist()
    for given in (np.broadcast_to(x, (1000, 5)), np.lib.stride_tricks.as_strided(x, (1000, 5), (0, 2))):
        assert native.scores(given).tolist() == 1000 * expected


# memory


def guarded(n_bytes):
    """Memory that ends where a page begins that nobody may read; the mapping, and the address of its end."""
    page = mmap.PAGESIZE
    whole = -(-n_bytes // page) * page
    mapping = mmap.mmap(-1, whole + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mprotect(ctypes.c_void_p(address + whole), ctypes.c_size_t(page), 0)
    assert done == 0
    return mapping, address + whole


@pytest.mark.skipif(sys.platform == "win32", reason="no mprotect on Windows: reads beyond the end are not tested here")
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("kind", ["bytes", "masked", "raw"])
def test_nothing_is_read_behind_the_last_number(kind, dtype, isa):
    """A read beyond the end would end this process."""
    size = np.dtype(dtype).itemsize
    mapping, end = guarded(200_000)
    for n in (*range(1, 10), 31, 32, 33, 57, 63, 64, 65, 97):
        native = Native(network(-100, 100, n, kind), isa)
        for n_events in (1, 63, 64, 129, 192):
            x = numbers(-100, 100, n_events, n).astype(dtype)
            expected = reference.emulate(native.network, x).tolist()
            count = x.size
            at_end = (ctypes.c_char * (count * size)).from_address(end - count * size)
            for order in "CF":
                given = np.frombuffer(at_end, dtype).reshape(x.shape, order=order)
                given[:] = x
                assert native.scores(given).tolist() == expected
    del at_end, given
    assert len(mapping) >= 200_000


@pytest.mark.skipif(sys.platform != "linux", reason="MAP_NORESERVE is Linux's: long distances are not tested here")
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_events_that_lie_gigabytes_apart(dtype, isa):
    """Five gigabytes of nothing, with an event every 32 mebibytes: distances beyond 32 bits."""
    n_events, step = 150, 2**25
    memory = mmap.mmap(-1, n_events * step, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    every = np.frombuffer(memory, dtype)
    given = np.lib.stride_tricks.as_strided(every, (n_events, 3), (step, every.itemsize))
    native = Native(network(-100, 100, 3), isa)
    given[:] = numbers(-100, 100, n_events, 3)
    expected = reference.emulate(native.network, given)
    assert native.scores(given).tolist() == expected.tolist()
    assert native.scores(given[::-1]).tolist() == expected[::-1].tolist()
    given[-1, 2] = 101
    with pytest.raises(ValueError, match=rf"event {n_events - 1}, column 'column2' is 101, outside -100 \.\. 100"):
        native.scores(given)


def test_more_events_than_32_bits_can_count(require):
    """Some seconds, on two cores; by the best instruction set only."""
    require("compiler")
    count = 2**31 + 70
    one = wide_input(1, -7, 7, FixedPoint(4, 0))
    dense = Dense("score", "trigger", np.array([[3]]), FixedPoint(4, 0), *NO_BIAS, None, FixedPoint(8, 0))
    native = Native(Network((one, dense)))
    x = np.lib.stride_tricks.as_strided(np.array([[5]], np.int16), (count, 1), (0, 2))
    histogram = native.fill(Histogram.of(native.network), x, threads=2)
    assert histogram.counts.sum() == histogram.total == count
    assert histogram.counts[0, 15 - histogram.low] == count


@pytest.mark.parametrize("n", [3000, 70_000])
def test_any_number_of_columns(n, require):
    """In a process of its own, whose stack may end."""
    require("compiler")
    program = f"""
import numpy as np
from l1ad.emulate import reference
from l1ad.emulate.native import Native
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.operations import Dense, Input
low = np.full({n}, -5)
trigger = Input("trigger", tuple(f"c{{i}}" for i in range({n})), low, -low, FixedPoint(4, 0))
weight = np.arange({n})[:, None] % 7, FixedPoint(4, 0), np.array([1]), FixedPoint(2, 0)
network = Network((trigger, Dense("score", "trigger", *weight, None, FixedPoint(30, 0))))
x = np.random.default_rng(1).integers(-5, 6, (65, {n})).astype(np.int8)
try:
    native = Native(network)
except UnsupportedError:
    print("equal")
else:
    expected = reference.emulate(network, x)
    both = native.scores(x), native.scores(x.astype(np.int16)), native.scores(np.asfortranarray(x.astype(np.int16)))
    print("equal" if all((scores == expected).all() for scores in both) else "different")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr[-2000:]


# what is refused


@pytest.mark.parametrize("n_events", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("kind", ["bytes", "masked", "raw"])
def test_a_number_out_of_range_is_named_with_its_event_and_column(kind, n_events, isa):
    native = Native(network(-100, 90, 5, kind), isa)
    for at in sorted({0, min(62, n_events - 1), n_events // 2, n_events - 1}):
        for column in (0, 3, 4):
            for wrong, dtypes in (
                (91, (np.int8, np.int16, np.int32, np.int64)),
                (-101, (np.int8, np.int16, np.int32, np.int64)),
                (-(2**15), (np.int16, np.int32, np.int64)),
                (2**16, (np.int32, np.uint32, np.int64)),
                (65535, (np.uint16, np.uint32, np.uint64)),
                (2**32 + 5, (np.int64, np.uint64)),
                (-(2**63), (np.int64,)),
                (2**63 + 5, (np.uint64,)),
                (2**64 - 1, (np.uint64,)),
            ):
                for dtype in dtypes:
                    x = numbers(0, 90, n_events, 5).astype(dtype)
                    x[at, column] = wrong
                    text = f"event {at}, column 'column{column}' is {wrong}, outside -100 .. 90"
                    for given in (x, np.asfortranarray(x), list(x.T)):
                        with pytest.raises(ValueError, match=f"must lie in its hardware range: {re.escape(text)}"):
                            native.scores(given)
                    with pytest.raises(ValueError, match=re.escape(text)):
                        reference.emulate(native.network, x)


def test_the_first_of_many_wrong_numbers_is_named(isa):
    native = Native(network(-100, 90, 5), isa)
    x = numbers(0, 90, 100_000, 5).astype(np.int16)
    x[[40_000, 41_000, 99_999], [3, 0, 1]] = 1000
    x[40_000, 4] = -2000
    for threads in (1, 2, 5):
        with pytest.raises(ValueError, match=r"event 40000, column 'column3' is 1000, outside -100 \.\. 90"):
            native.scores(x, threads)
        with pytest.raises(ValueError, match=r"event 40000, column 'column3' is 1000, outside -100 \.\. 90"):
            native.fill(Histogram.of(native.network), x, threads=threads)


def test_ranges_of_columns_are_their_own(isa):
    """Of bytes, of 16 bits and wider; each end of each column."""
    for out in (FixedPoint(8, 0), FixedPoint(16, 0), FixedPoint(32, 0), FixedPoint(60, 0)):
        low = np.array([out.min_raw, -3, 0, 5, out.max_raw - 1])
        high = np.array([out.min_raw + 2, out.max_raw, 0, 7, out.max_raw])
        trigger = Input("trigger", tuple("abcde"), low, high, out)
        weight = np.array([[1], [1], [1], [1], [0]]), FixedPoint(2, 0)
        native = Native(Network((trigger, Dense("score", "trigger", *weight, *NO_BIAS, None, FixedPoint(62, 0)))), isa)
        dtype = {8: np.int8, 16: np.int16, 32: np.int32, 60: np.int64}[out.width]
        for column in range(5):
            for wrong, right in ((int(low[column]) - 1, low[column]), (int(high[column]) + 1, high[column])):
                x = np.tile(low, (65, 1))
                x[64, column] = right
                assert native.scores(x.astype(dtype)).tolist() == reference.emulate(native.network, x).tolist()
                if not np.iinfo(np.int64).min <= wrong <= np.iinfo(np.int64).max:
                    continue
                for event in (3, 64):
                    bad = np.tile(low, (65, 1))
                    bad[event, column] = wrong
                    fits = np.iinfo(dtype).min <= wrong <= np.iinfo(dtype).max
                    with pytest.raises(
                        ValueError, match=f"event {event}, column '{'abcde'[column]}' is {wrong}, outside"
                    ):
                        native.scores(bad.astype(dtype) if fits else bad)


@pytest.mark.parametrize("dtype", [float, np.float32, bool, object, complex, "U3", "M8[s]"])
def test_what_is_no_integer_is_refused(dtype, isa):
    native = Native(network(0, 100, 2), isa)
    x = np.ones((3, 2), int).astype(dtype)
    text = re.escape(f"network input must be hardware integers, not dtype {x.dtype}")
    for given in (x, list(x.T)):
        with pytest.raises(TypeError, match=text):
            native.scores(given)
        with pytest.raises(TypeError, match=text):
            native.fill(Histogram.of(native.network), given)
    with pytest.raises(TypeError, match=f"{text} in 'column1'"):
        native.scores([np.ones(3, int), x[:, 1]])


def test_wrong_shapes_are_refused(isa):
    native = Native(network(0, 100, 2), isa)
    for given in (np.ones(3, int), np.ones((3, 3), int), np.ones((3, 2, 1), int), np.ones((2, 0), int), np.int64(3)):
        with pytest.raises(ValueError, match=re.escape(f"must have shape (n_events, 2), not {given.shape}")):
            native.scores(given)
    for lengths in ((3,), (3, 4), (3, 3, 3)):
        with pytest.raises(ValueError, match=f"must have 2 columns of one length, not {len(lengths)} of "):
            native.scores([np.ones(length, int) for length in lengths])
    for given in ([], [[]], None, "12", {"a": 1}, [[1, "a"]]):
        with pytest.raises((TypeError, ValueError), match="network input must "):
            native.scores(given)


def test_a_column_that_is_no_array_is_not_left_out(isa):
    native = Native(network(0, 100, 2), isa)
    for given in ([np.ones(3, int), [4, 5, 5], np.ones(3, int)], [[4, 5, 5], np.ones(3, int), np.ones(3, int)]):
        with pytest.raises((TypeError, ValueError), match="network input must "):
            native.scores(given)


def test_an_instruction_set_that_is_not_there_is_refused(require):
    require("compiler")
    with pytest.raises(ValueError, match=r"instruction set must be one of .*portable on this processor, not 'avx1024'"):
        Native(network(0, 100, 2), "avx1024")


# threads and cuts


def test_nothing_depends_on_threads_or_on_how_events_are_cut(isa):
    """With enough events for every thread to have a part."""
    native = Native(network(-100, 100, 5), isa)
    x = numbers(-100, 100, 90_001, 5).astype(np.int16)
    expected = reference.emulate(native.network, x)
    for given in (x, np.asfortranarray(x), x.astype(np.int64), list(x.T)):
        for threads in (1, 2, 5):
            np.testing.assert_array_equal(native.scores(given, threads), expected)
    cuts = [0, 1, 2, 65, 129, 1000, 33_333, 90_001]
    pieces = [native.scores(x[start:stop]) for start, stop in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    for offset in (1, 63, 64):
        np.testing.assert_array_equal(native.scores(x[offset:]), expected[offset:])
    np.testing.assert_array_equal(native.scores(x[::7], 2), expected[::7])
    for threads in (0, -1):
        with pytest.raises(ValueError, match=f"threads must be at least 1, not {threads}"):
            native.scores(x, threads)
