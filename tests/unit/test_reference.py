import numpy as np
import pytest

from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint
from l1ad.network import Dense, Input, Mask, Network, Rescale, Subtract, SumOfSquares


def ints(*values):
    return np.array(values, np.int64)


@pytest.fixture(scope="module")
def network():
    """All six operations on two columns; every number below is worked out by hand."""
    half, quarter, twice = FixedPoint(8, 1), FixedPoint(10, 2), 2 * np.eye(2, dtype=np.int64)
    return Network((
        Input("trigger", ("pt", "eta"), ints(0, -20), ints(100, 20), FixedPoint(8, 0)),
        Rescale("scaled", "trigger", ints(10, 0), ints(2, -1), half),
        Dense("doubled", "scaled", twice, FixedPoint(4, 0), ints(1, -1), FixedPoint(4, 2), quarter),
        Subtract("difference", "doubled", "scaled", quarter),
        Mask("present", "difference", "trigger", ints(0, 0), FixedPoint(8, 1, True, "RND_CONV", "SAT")),
        SumOfSquares("score", "present", FixedPoint(12, 0, False, "TRN", "SAT")),
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
        reference._exact(network.input, network, {})
