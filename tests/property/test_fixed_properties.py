from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import value_in_type

from l1ad.fixed import MAX_BITS, OVERFLOW, ROUNDING, FixedPoint, cast

CLAMPING = ("SAT", "SAT_SYM")
SIGN_BLIND = ("TRN", "RND", "RND_MIN_INF", "RND_CONV")


def types(rounding=ROUNDING, overflow=OVERFLOW, width=40, frac=(-30, 16)):
    modes = st.sampled_from(rounding), st.sampled_from(overflow)
    return st.builds(FixedPoint, st.integers(1, width), st.integers(*frac), st.booleans(), *modes)


any_type = types(width=MAX_BITS, frac=(-MAX_BITS, MAX_BITS))
# of every magnitude; ties are frequent among multiples of a power of two
raws = st.builds(lambda raw, zeros: raw << zeros, st.integers(-(2**20), 2**20), st.integers(0, 12))
sources = st.integers(-12, 12)


@settings(max_examples=400)
@given(st.lists(raws, min_size=1, max_size=20), sources, types())
def test_cast_equals_a_loop_over_fractions(raw, frac, to):
    lsb = Fraction(2) ** -frac
    np.testing.assert_array_equal(cast(raw, frac, to), [value_in_type(r * lsb, to) for r in raw])


@given(st.lists(raws, min_size=1), sources, types())
def test_cast_stays_in_range_and_is_idempotent(raw, frac, to):
    once = cast(raw, frac, to)
    assert once.min() >= to.min_raw
    assert once.max() <= to.max_raw
    np.testing.assert_array_equal(cast(once, to.frac, to), once)


@given(st.lists(raws, min_size=2), sources, types(overflow=CLAMPING))
def test_clamping_casts_are_monotonic(raw, frac, to):
    assert (np.diff(cast(sorted(raw), frac, to)) >= 0).all()


@given(raws, st.integers(-3, 3), sources, types(overflow=("WRAP",), rounding=SIGN_BLIND))
def test_wrapping_casts_are_modular(raw, turns, frac, to):
    turn = Fraction(2) ** (to.width + frac - to.frac)  # one turn of the target, in raw units of the source
    if turn.denominator == 1 and abs(turns * turn) < 2**40:
        assert cast(raw + turns * int(turn), frac, to) == cast(raw, frac, to)


@given(st.lists(raws, min_size=1), sources)
def test_the_narrowest_holding_type_loses_nothing(raw, frac):
    holding = FixedPoint.holding(min(raw), max(raw), frac)
    np.testing.assert_array_equal(cast(raw, frac, holding), raw)


@given(any_type)
def test_spelling_round_trips(kind):
    assert FixedPoint.parse(str(kind)) == kind


@given(any_type)
def test_ends_are_kept_by_their_own_cast(kind):
    ends = [kind.min_raw, kind.max_raw]
    np.testing.assert_array_equal(cast(ends, kind.frac, kind), ends)
