import numpy as np
import pytest

from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, cast
from l1ad.network import Network
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Input, Lookup, Mask, Merge, rescale


def ints(*values):
    return np.array(values, np.int64)


@pytest.fixture(scope="module")
def network():
    """An autoencoder of two columns; every number below is worked out by hand."""
    half, quarter, twice = FixedPoint(8, 1), FixedPoint(10, 2), 2 * np.eye(2, dtype=np.int64)
    return Network((
        Input("trigger", ("pt", "eta"), ints(0, -20), ints(100, 20), FixedPoint(8, 0)),
        rescale("scaled", "trigger", FixedPoint(8, 0), ints(10, 0), ints(2, -1), half),
        Dense("doubled", "scaled", twice, FixedPoint(4, 0), ints(1, -1), FixedPoint(4, 2), None, quarter),
        Merge("difference", "subtract", "doubled", "scaled", quarter),
        Mask("present", "difference", "trigger", ints(0, 0), FixedPoint(8, 1, True, "RND_CONV", "SAT")),
        Dot("score", "present", "present", None, FixedPoint(12, 0, False, "TRN", "SAT")),
    ))  # fmt: skip


def test_known_answers(network):
    trace = reference.trace(network, [[17, 3], [0, -20], [100, 20]])
    # (17 - 10) / 4 = 1.75 -> 1.5 (TRN); 3 * 2 = 6; (0 - 10) / 4 = -2.5; (100 - 10) / 4 = 22.5
    np.testing.assert_array_equal(trace["scaled"], [[3, 12], [-5, -80], [45, 80]])
    # 2 * 1.5 + 0.25 = 3.25, in quarters
    np.testing.assert_array_equal(trace["doubled"], [[13, 47], [-19, -321], [181, 319]])
    np.testing.assert_array_equal(trace["difference"], [[7, 23], [-9, -161], [91, 159]])
    # to halves: 3.5 -> 4, 11.5 -> 12 (both to even); without a pT nothing counts; 45.5 -> 46, 79.5 -> 80
    np.testing.assert_array_equal(trace["present"], [[4, 12], [0, 0], [46, 80]])
    np.testing.assert_array_equal(trace["score"], [[(16 + 144) // 4], [0], [(46**2 + 80**2) // 4]])
    assert list(trace) == [o.name for o in network.operations]


def results(last, x=(1, -3, 2), y=(3, 2, -4)):
    """Raw results of one operation on `x` and `y`, in halves and in quarters."""
    kinds = {"x": FixedPoint(4, 1), "y": FixedPoint(4, 2)}
    inputs = {name: Input(name, tuple("abc"), ints(-8, -8, -8), ints(7, 7, 7), kind) for name, kind in kinds.items()}
    total, frac = reference.exact(last, inputs, {"x": ints(*x)[None], "y": ints(*y)[None]})
    return cast(total, frac, last.out)[0].tolist()


WIDE, EIGHTHS = FixedPoint(12, 2), FixedPoint(12, 3)
WHOLE = FixedPoint(12, 0)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        # x is 0.5, -1.5, 1 and y is 0.75, 0.5, -1
        (Merge("o", "add", "x", "y", WIDE), [5, -4, 0]),
        (Merge("o", "subtract", "x", "y", WIDE), [-1, -8, 8]),
        (Merge("o", "subtract", "y", "x", WIDE), [1, 8, -8]),
        (Merge("o", "multiply", "x", "y", EIGHTHS), [3, -6, -8]),
        (Merge("o", "maximum", "x", "y", WIDE), [3, 2, 4]),
        (Merge("o", "minimum", "x", "y", WIDE), [2, -6, -4]),
        (Merge("o", "minimum", "x", "y", FixedPoint(4, 0, True, "RND")), [1, -1, -1]),  # -1.5 to -1
        # 2 x - 1, 0.5 x, -0.75 x + 1.5
        (Affine("o", "x", ints(8, 2, -3), FixedPoint(5, 2), ints(-2, 0, 3), FixedPoint(4, 1), EIGHTHS), [0, -6, 6]),
        (Dot("o", "x", "y", None, EIGHTHS), [3 - 6 - 8]),
        (Dot("o", "x", "x", None, EIGHTHS), [2 + 18 + 8]),
        (Dot("o", "x", "y", FixedPoint(8, 0), WHOLE), [0 - 1 - 1]),  # 0.375, -0.75, -1, each rounded down
        (Dot("o", "x", "y", FixedPoint(8, 0, True, "RND"), WHOLE), [0 - 1 - 1]),
        (Dot("o", "x", "x", FixedPoint(2, 0, False, "RND", "SAT"), WHOLE), [0 + 2 + 1]),  # 0.25, 2.25, 1
        (Dot("o", "x", "x", FixedPoint(1, 0, False, "RND", "WRAP"), WHOLE), [0 + 0 + 1]),
        (Dot("o", "x", "x", FixedPoint(1, 0, False, "RND", "SAT"), WHOLE), [0 + 1 + 1]),
        (Cast("o", "x", FixedPoint(2, 0, True, "RND_CONV", "WRAP")), [0, -2, 1]),
        (Cast("o", "x", FixedPoint(2, 1, True, "TRN", "SAT_SYM")), [1, -1, 1]),
        (Cast("o", "x", FixedPoint(2, 1)), [1, 1, -2]),  # raw 1, -3, 2 wrap at 2 bits
        (Cast("o", "x", EIGHTHS), [4, -12, 8]),
        # raw 1, -3 and 2 are entries 9, 5 and 10 of -8 .. 7
        (Lookup("o", "x", np.arange(16) ** 2, FixedPoint(9, 5)), [81, 25, 100]),
        # x times (1, -0.5), (0.5, 2), (-1, 0.5) and 0.25, 1
        (
            Dense("o", "x", ints(2, -1, 1, 4, -2, 1).reshape(3, 2), FixedPoint(4, 1), ints(1, 4), FixedPoint(4, 2),
                  None, WIDE),
            [2 - 3 - 4 + 1, -1 - 12 + 2 + 4],
        ),
        # the same, each term rounded down to whole numbers: 0.5, -0.75, -1, 0.25 and -0.25, -3, 0.5, 1
        (
            Dense("o", "x", ints(2, -1, 1, 4, -2, 1).reshape(3, 2), FixedPoint(4, 1), ints(1, 4), FixedPoint(4, 2),
                  FixedPoint(6, 0), WHOLE),
            [0 - 1 - 1 + 0, -1 - 3 + 0 + 1],
        ),
        # and at 2 bits: the terms of the second column are -1, -3 -> 1, 0, 1; the sum is not cast until the end
        (
            Dense("o", "x", ints(2, -1, 1, 4, -2, 1).reshape(3, 2), FixedPoint(4, 1), ints(1, 4), FixedPoint(4, 2),
                  FixedPoint(2, 0), WHOLE),
            [-2, 1],
        ),
        # windows (x0, x1), (x1, x2) times (1, 2) and (-1, 1), filters together
        (
            Convolution("o", "x", (1, 3, 1), ints(1, -1, 2, 1).reshape(1, 2, 1, 2), FixedPoint(3, 0), ints(0, 1),
                        FixedPoint(2, 1), (1, 1), (0, 0, 0, 0), None, FixedPoint(8, 1)),
            [1 - 6, -1 - 3 + 1, -3 + 4, 3 + 2 + 1],
        ),
        # every other window of (0, x0), (x0, x1), (x1, x2), (x2, 0)
        (
            Convolution("o", "x", (1, 3, 1), ints(1, 2).reshape(1, 2, 1, 1), FixedPoint(3, 0), ints(0),
                        FixedPoint(2, 1), (1, 2), (0, 0, 1, 1), None, FixedPoint(8, 1)),
            [2, -3 + 4],
        ),
        # a column of three pixels, rows of 0 above and below; each product is rounded down to whole numbers
        (
            Convolution("o", "x", (3, 1, 1), ints(1, 1, 1).reshape(3, 1, 1, 1), FixedPoint(3, 0), ints(1),
                        FixedPoint(2, 1), (1, 1), (1, 1, 0, 0), FixedPoint(4, 0), WHOLE),
            [0 - 2, 0 - 2 + 1, -2 + 1],
        ),
        # one pixel of three channels
        (
            Convolution("o", "x", (1, 1, 3), ints(1, 2, 3).reshape(1, 1, 3, 1), FixedPoint(3, 0), ints(1),
                        FixedPoint(2, 1), (1, 1), (0, 0, 0, 0), None, FixedPoint(8, 1)),
            [1 - 6 + 6 + 1],
        ),
    ],
)  # fmt: skip
def test_known_answers_of_every_operation(last, expected):
    assert results(last) == expected


def test_images_are_read_by_row_column_and_channel():
    """Two rows of two pixels with two channels; a kernel that picks one corner's channel."""
    kernel = np.zeros((2, 2, 2, 1), np.int64)
    kernel[1, 0, 1] = 1
    image = Input("image", tuple("abcdefgh"), ints(*[0] * 8), ints(*[9] * 8), FixedPoint(5, 0))
    whole = FixedPoint(5, 0)
    network = Network((
        image, Convolution("o", "image", (2, 2, 2), kernel, whole, ints(0), whole, (1, 1), (0, 0, 0, 0), None, whole),
    ))  # fmt: skip
    assert reference.emulate(network, [[0, 1, 2, 3, 4, 5, 6, 7]]).tolist() == [5]
    assert reference.emulate(network, np.empty((0, 8), np.int64)).shape == (0,)


def test_scores_are_the_last_operation(network):
    scores = reference.emulate(network, np.array([[17, 3], [0, -20]], np.int16))
    assert scores.dtype == np.int64
    np.testing.assert_array_equal(scores, [40, 0])


def test_no_events_make_no_scores(network):
    assert reference.emulate(network, np.empty((0, 2), np.int64)).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.bool_])
def test_other_types_are_refused(network, dtype):
    with pytest.raises(TypeError, match=rf"network input must be hardware integers, not dtype {np.dtype(dtype)}; quan"):
        reference.emulate(network, np.zeros((1, 2), dtype))


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 2, 1), ()])
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"network input must have shape \(n_events, 2\), not \("):
        reference.emulate(network, np.zeros(shape, np.int64))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ((101, 0), r"event 2, column 'pt' is 101, outside 0 \.\. 100 \(2 such events\)"),
        ((0, -21), r"event 2, column 'eta' is -21, outside -20 \.\. 20 \(2 such events\)"),
        ((-1, 21), r"event 2, column 'pt' is -1, outside 0 \.\. 100 \(2 such events\)"),
    ],
)
def test_the_first_event_out_of_range_is_named(network, event, text):
    with pytest.raises(ValueError, match="network input must lie in its hardware range: " + text):
        reference.emulate(network, [(0, 0), (100, 20), event, (0, 0), event])


def test_unsigned_numbers_beyond_an_int64_are_out_of_range(network):
    with pytest.raises(ValueError, match="column 'eta' is 18446744073709551615, outside"):
        reference.emulate(network, np.array([[0, 2**64 - 1]], np.uint64))


def test_an_unknown_operation_is_refused(network):
    with pytest.raises(UnsupportedError, match="reference emulator does not implement Input"):
        reference.exact(network.input, network, {})
