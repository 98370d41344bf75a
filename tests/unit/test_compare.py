import numpy as np
import pytest

from l1ad.compare import Difference, accumulator_bits, agree, corners, raw_of, require_float32
from l1ad.errors import MismatchError
from l1ad.fixed import FixedPoint
from l1ad.network import Network
from l1ad.operations import Dense, Dot, Input


def ints(*values):
    return np.array(values, np.int64)


KIND = FixedPoint(4, 2)


def make(weight_bits=4):
    weight = np.full((3, 2), (1 << (weight_bits - 1)) - 1, np.int64)
    return Network((
        Input("trigger", ("pt", "eta", "phi"), ints(0, -9, 5), ints(100, 9, 8), FixedPoint(8, 0)),
        Dense("code", "trigger", weight, FixedPoint(weight_bits, 2), ints(0, 0), KIND, None, FixedPoint(10, 2)),
        Dot("score", "code", "code", None, FixedPoint(16, 3, False)),
    ))  # fmt: skip


@pytest.fixture
def network():
    return make()


@pytest.fixture
def results():
    """Two equal sets of results: five events of two codes and a score."""
    one = {"code": np.arange(10).reshape(5, 2), "score": np.arange(5).reshape(5, 1)}
    return one, {name: raw.copy() for name, raw in one.items()}


def test_equal_results_agree(network, results):
    a, b = results
    agreement = agree(network, "reference", a, "hls", b)
    assert str(agreement) == "reference = hls: 0 mismatches in 5 events (2 operations each)"
    assert agreement.first is None
    assert agreement.require() is agreement


def test_the_first_event_then_operation_then_element_is_named(network, results):
    a, b = results
    b["score"][2, 0] = 9  # later in the program, but in the first offending event
    b["code"][3, 1] = 0
    b["code"][4] = 0
    agreement = agree(network, "reference", a, "hls", b)
    assert (agreement.n_events, agreement.n_mismatches, agreement.operations) == (5, 3, 2)
    assert agreement.first == Difference(2, "score", 0, "ap_ufixed<16,13,AP_TRN,AP_WRAP>", 2.0, 9.0)
    b["code"][2, 1] = -5
    first = agree(network, "reference", a, "hls", b).first
    assert first == Difference(2, "code", 1, "ap_fixed<10,8,AP_TRN,AP_WRAP>", 5.0, -5.0)


def test_require_raises_with_the_whole_story(network, results):
    a, b = results
    b["code"][3, 1] = -5
    text = (
        r"reference = hls: 1 mismatches in 5 events; first at event 3, operation 'code', element 1: "
        r"raw 7 against -5 in ap_fixed<10,8,AP_TRN,AP_WRAP>"
    )
    with pytest.raises(MismatchError, match=text):
        agree(network, "reference", a, "hls", b).require()


def test_a_difference_below_one_unit_is_a_mismatch_and_printed(network, results):
    a, b = results
    b["score"] = b["score"] + np.array([[0], [0], [0], [2.0**-40], [0]])
    with pytest.raises(MismatchError, match=r"event 3, operation 'score', element 0: raw 3 against 3\.00000000000090"):
        agree(network, "reference", a, "keras", b).require()


def test_nan_is_a_mismatch(network, results):
    a, b = results
    b["score"] = b["score"].astype(float)
    b["score"][4] = np.nan
    assert agree(network, "reference", a, "keras", b).n_mismatches == 1


def test_only_common_operations_of_the_network_are_compared(network, results):
    a, b = results
    a["other"], b["other"] = np.zeros((5, 1)), np.ones((5, 1))
    del b["code"]
    assert agree(network, "reference", a, "hls", b).operations == 1


@pytest.mark.parametrize("fault", ["no score", "no events"])
def test_nothing_to_compare_is_an_error(network, results, fault):
    a, b = results
    if fault == "no score":
        del b["score"]
    else:
        a, b = ({name: raw[:0] for name, raw in each.items()} for each in results)
    with pytest.raises(ValueError, match="reference and hls must both have scores of at least one event"):
        agree(network, "reference", a, "hls", b)


@pytest.mark.parametrize("name", ["code", "score"])
def test_shapes_must_be_equal(network, results, name):
    a, b = results
    b[name] = b[name][:1]  # would broadcast
    with pytest.raises(ValueError, match=rf"operation '{name}': shapes must be equal, not \(5, .\) and \(1, .\)"):
        agree(network, "reference", a, "hls", b)


def test_values_become_raw_numbers(network):
    raw = raw_of(network, {"code": np.array([[0.25, -1.5]]), "score": np.array([[2.125]])})
    np.testing.assert_array_equal(raw["code"], [[1, -6]])
    np.testing.assert_array_equal(raw["score"], [[17]])


def test_float32_is_refused_beyond_24_bits():
    # 100 + 9 + 8 = 117 units of weights below 2**(bits - 1), and a sign
    assert accumulator_bits(make(18)) == {"code": 24}
    require_float32(make(18))
    assert accumulator_bits(make(19)) == {"code": 25}
    with pytest.raises(ValueError, match="operation 'code': sums may need 25 bits, more than the 24 that float32"):
        require_float32(make(19))


def test_corners_hold_every_column_at_its_ends_alone(network):
    rows = corners(network)
    assert rows.shape == (3 + 4 * 3, 3)
    low, zero, high = [0, -9, 5], [0, 0, 5], [100, 9, 8]
    np.testing.assert_array_equal(rows[:3], [low, zero, high])
    np.testing.assert_array_equal(rows[3:6], [[0, 0, 5], [0, -9, 5], [0, 0, 5]])
    np.testing.assert_array_equal(rows[6:9], [[100, 0, 5], [0, 9, 5], [0, 0, 8]])
    np.testing.assert_array_equal(rows[9:12], [[100, -9, 5], [0, 9, 5], [0, -9, 8]])
    np.testing.assert_array_equal(rows[12:], [[0, 9, 8], [100, -9, 8], [100, 9, 5]])
