import numpy as np
import pytest

from l1ad.fixed import FixedPoint
from l1ad.operations import Cast, Convolution, Dot, Mask, Merge, reads, rescale

KIND = FixedPoint(8, 0)


def ints(*values):
    return np.array(values, np.int64)


def convolution(shape, kernel, strides, padding):
    weight = np.ones((*kernel, shape[2], 1), np.int64)
    return Convolution("c", "x", shape, weight, KIND, ints(0), KIND, strides, padding, None, KIND)


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "padding", "windows"),
    [
        ((2, 2, 1), (1, 1), (1, 1), (0, 0, 0, 0), [[0], [1], [2], [3]]),
        ((2, 2, 1), (2, 2), (1, 1), (0, 0, 0, 0), [[0, 1, 2, 3]]),
        # elements of a pixel follow each other
        ((1, 3, 2), (1, 2), (1, 1), (0, 0, 0, 0), [[0, 1, 2, 3], [2, 3, 4, 5]]),
        ((3, 3, 1), (1, 1), (2, 2), (0, 0, 0, 0), [[0], [2], [6], [8]]),
        ((1, 3, 1), (1, 2), (1, 2), (0, 0, 0, 0), [[0, 1]]),
        # a row above, a column on the right
        ((2, 1, 1), (2, 2), (1, 1), (1, 0, 0, 1), [[-1, -1, 0, -1], [0, -1, 1, -1]]),
        # a row below, two columns on the left
        ((1, 1, 2), (2, 2), (1, 1), (0, 1, 2, 0), [[-1] * 8, [-1, -1, 0, 1, -1, -1, -1, -1]]),
    ],
)
def test_windows_listed_by_hand(shape, kernel, strides, padding, windows):
    np.testing.assert_array_equal(convolution(shape, kernel, strides, padding).windows(), windows)


def test_what_operations_read():
    assert reads(Merge("o", "add", "a", "b", KIND)) == ("a", "b")
    assert reads(Dot("o", "a", "a", None, KIND)) == ("a", "a")
    assert reads(Mask("o", "a", "b", ints(0), KIND)) == ("a", "b")
    assert reads(Cast("o", "a", KIND)) == ("a",)


def test_rescaling_is_affine():
    o = rescale("o", "x", FixedPoint(9, 1), ints(10, 0, -3), ints(2, -1, 0), KIND)
    # in units of a quarter: (x - 10) / 4, 2 x, x + 3; offsets are raw, in halves
    assert (o.name, o.x, o.out) == ("o", "x", KIND)
    assert (o.scale.tolist(), o.scale_type) == ([1, 8, 4], FixedPoint(4, 2, False))
    assert (o.bias.tolist(), o.bias_type) == ([-10, 0, 12], FixedPoint(5, 3))
    assert (o.scale.dtype, o.bias.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize("shift", [(0, 64), (-64, 0), (-63, 0), (64, 64), (-70, -70)])
def test_shifts_that_no_type_holds_are_named(shift):
    with pytest.raises(ValueError, match=rf"^operation 'o': shifts \[{shift[0]}, {shift[1]}\] are too far apart or "):
        rescale("o", "x", KIND, ints(1, 1), ints(*shift), KIND)
