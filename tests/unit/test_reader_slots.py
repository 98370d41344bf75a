import numpy as np
import pytest

from l1ad.events.readers.slots import fill_slots, offsets_of


def filled(counts, pt, slots, **others):
    arrays = {name: np.array(values, np.int16) for name, values in others.items()}
    return fill_slots(offsets_of(np.array(counts)), np.array(pt, np.int16), arrays, slots)


def test_offsets():
    np.testing.assert_array_equal(offsets_of(np.array([3, 0, 2])), [0, 3, 3, 5])
    np.testing.assert_array_equal(offsets_of(np.array([], np.int32)), [0])
    assert offsets_of(np.array([1], np.int32)).dtype == np.int64


def test_by_falling_pt_and_ties_as_in_the_file():
    got = filled([4, 0, 2], [5, 9, 5, 7, 1, 3], 4, eta=[-1, -2, -3, -4, -5, -6])
    assert got["pt"].tolist() == [[9, 7, 5, 5], [0, 0, 0, 0], [3, 1, 0, 0]]
    assert got["eta"].tolist() == [[-2, -4, -1, -3], [0, 0, 0, 0], [-6, -5, 0, 0]]
    assert {array.dtype for array in got.values()} == {np.dtype(np.int16)}


def test_what_does_not_fit_is_left_out_and_absent_objects_take_no_slot():
    got = filled([5], [2, 0, 4, 3, 1], 3, phi=[10, 11, 12, 13, 14])
    assert got["pt"].tolist() == [[4, 3, 2]]
    assert got["phi"].tolist() == [[12, 13, 10]]
    assert filled([2], [0, 0], 2, phi=[7, 8])["phi"].tolist() == [[0, 0]]


def test_no_objects_and_no_events():
    assert filled([0, 0], [], 2, eta=[])["eta"].tolist() == [[0, 0], [0, 0]]
    assert filled([], [], 2)["pt"].shape == (0, 2)


def test_equals_a_loop_over_events(rng):
    counts = rng.integers(0, 9, 300)
    pt, eta = rng.integers(0, 6, counts.sum()), rng.integers(-9, 9, counts.sum())
    got = fill_slots(offsets_of(counts), pt, {"eta": eta}, 4)
    start = 0
    for event, count in enumerate(counts):
        objects = [(p, e) for p, e in zip(pt[start:][:count], eta[start:][:count], strict=True) if p > 0]
        best = sorted(objects, key=lambda o: -o[0])[:4] + [(0, 0)] * 4
        assert got["pt"][event].tolist() == [p for p, _ in best[:4]]
        assert got["eta"][event].tolist() == [e for _, e in best[:4]]
        start += count


@pytest.mark.parametrize(
    ("offsets", "others", "message"),
    [
        ([0, 2], {}, "offsets must rise from 0 to 3, the number of objects"),
        ([1, 3], {}, "offsets must rise from 0"),
        ([0, 2, 1, 3], {}, "offsets must rise from 0"),
        ([], {}, "offsets must rise from 0"),
        ([0, 3], {"eta": np.zeros(2, int)}, r"eta must have 3 objects as pt, not shape \(2,\)"),
    ],
)
def test_arrays_that_do_not_fit(offsets, others, message):
    with pytest.raises(ValueError, match=message):
        fill_slots(np.array(offsets, int), np.array([1, 2, 3]), others, 2)
