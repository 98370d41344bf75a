import numpy as np
import pytest

from l1ad.fixed import MAX_BITS, OVERFLOW, ROUNDING, FixedPoint, cast

# values in quarters, and what each mode makes of them at frac 0, by hand
QUARTERS = (-10, -9, -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
ROUNDED = {
    "TRN": (-3, -3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2),
    "TRN_ZERO": (-2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2),
    "RND": (-2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3),
    "RND_ZERO": (-2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2),
    "RND_INF": (-3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3),
    "RND_MIN_INF": (-3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2),
    "RND_CONV": (-2, -2, -2, -2, -2, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2),
}

INTEGERS = (-10, -9, -8, -7, -1, 0, 3, 7, 8, 15, 16, 17)
KEPT = {
    # 4 bits: signed -8 .. 7, unsigned 0 .. 15
    (True, "WRAP"): (6, 7, -8, -7, -1, 0, 3, 7, -8, -1, 0, 1),
    (True, "SAT"): (-8, -8, -8, -7, -1, 0, 3, 7, 7, 7, 7, 7),
    (True, "SAT_ZERO"): (0, 0, -8, -7, -1, 0, 3, 7, 0, 0, 0, 0),
    (True, "SAT_SYM"): (-7, -7, -7, -7, -1, 0, 3, 7, 7, 7, 7, 7),
    (False, "WRAP"): (6, 7, 8, 9, 15, 0, 3, 7, 8, 15, 0, 1),
    (False, "SAT"): (0, 0, 0, 0, 0, 0, 3, 7, 8, 15, 15, 15),
    (False, "SAT_ZERO"): (0, 0, 0, 0, 0, 0, 3, 7, 8, 15, 0, 0),
    (False, "SAT_SYM"): (0, 0, 0, 0, 0, 0, 3, 7, 8, 15, 15, 15),
}


@pytest.mark.parametrize("mode", ROUNDING)
def test_rounding_of_every_quarter(mode):
    np.testing.assert_array_equal(cast(QUARTERS, 2, FixedPoint(8, 0, True, mode)), ROUNDED[mode])


@pytest.mark.parametrize(("signed", "mode"), KEPT)
def test_overflow_of_four_bits(signed, mode):
    np.testing.assert_array_equal(cast(INTEGERS, 0, FixedPoint(4, 0, signed, "TRN", mode)), KEPT[signed, mode])


def test_tables_cover_every_mode():
    assert set(ROUNDED) == set(ROUNDING)
    assert set(KEPT) == {(signed, mode) for signed in (True, False) for mode in OVERFLOW}


def test_rounding_comes_before_overflow():
    assert cast([31], 2, FixedPoint(4, 0, True, "RND", "SAT_ZERO")) == [0]  # 7.75 -> 8, out of range
    assert cast([31], 2, FixedPoint(4, 0, True, "RND", "WRAP")) == [-8]


def test_more_fractional_bits_append_zeros():
    np.testing.assert_array_equal(cast([-3, 0, 5], 1, FixedPoint(12, 5)), [-48, 0, 80])


def test_negative_fractional_bits():
    np.testing.assert_array_equal(cast([-9, -8, 7, 8, 23], 0, FixedPoint(4, -3)), [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(cast([1, -2], -3, FixedPoint(8, 0)), [8, -16])


def test_cast_of_the_widest_number_of_an_int64():
    widest = FixedPoint(MAX_BITS, 0)
    for extreme, wrapped in ((2**63 - 1, -1), (-(2**63), 0)):
        assert cast(extreme, 0, widest) == wrapped
        assert cast([extreme], 0, widest) == [wrapped]
        assert cast(np.array([extreme]), 62, FixedPoint(8, 0, True, "RND", "SAT")) == [2 if extreme > 0 else -2]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_cast_takes_every_integer_type_up_to_int64(dtype):
    result = cast(np.array([0, 100], dtype), 2, FixedPoint(8, 0))
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, [0, 25])


def test_cast_keeps_shapes():
    for shape in ((), (0,), (2, 0, 3), (2, 3, 4)):
        for frac in (-2, 0, 2):
            assert cast(np.ones(shape, np.int64), frac, FixedPoint(8, 0)).shape == shape


@pytest.mark.parametrize(
    ("raw", "dtype"), [([1.0], "float64"), ([True], "bool"), (np.uint64([1]), "uint64"), ([2**64], "object")]
)
def test_cast_refuses_other_types(raw, dtype):
    with pytest.raises(TypeError, match=f"cast needs integer raw numbers .* not dtype {dtype}"):
        cast(raw, 0, FixedPoint(8, 0))


def test_cast_refuses_shifts_out_of_an_int64():
    with pytest.raises(OverflowError, match=r"cast from 50 fractional bits to .*<8,21.* drops 63 bits, more than 62"):
        cast([1], 50, FixedPoint(8, -13))
    with pytest.raises(OverflowError, match=r"needs 64 bits to append 60 fractional bits, more than 63"):
        cast([-7], 0, FixedPoint(63, 60))
    assert cast([1], 0, FixedPoint(63, 61)) == [1 << 61]
    assert cast([-1], 50, FixedPoint(8, -12)) == [-1]


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ((0, 0), ValueError, "FixedPoint width must be between 1 and 63 bits, not 0"),
        ((64, 0), ValueError, "FixedPoint width must be between 1 and 63 bits, not 64"),
        ((8, 64), ValueError, "FixedPoint frac must be between -63 and 63, not 64"),
        ((8, -64), ValueError, "FixedPoint frac must be between -63 and 63, not -64"),
        ((8.0, 0), TypeError, "FixedPoint width must be an int, not 8.0"),
        ((True, 0), TypeError, "FixedPoint width must be an int, not True"),
        ((8, np.int64(1)), TypeError, r"FixedPoint frac must be an int, not np.int64\(1\)"),
        ((8, 0, 1), TypeError, "FixedPoint signed must be a bool, not 1"),
        ((8, 0, True, "AP_RND"), ValueError, r"FixedPoint rounding must be one of \('TRN', .* not 'AP_RND'"),
        ((8, 0, True, "RND", "sat"), ValueError, r"FixedPoint overflow must be one of \('WRAP', .* not 'sat'"),
    ],
)
def test_fields_are_checked(fields, error, text):
    with pytest.raises(error, match=text):
        FixedPoint(*fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ap_fixed<16,6>", FixedPoint(16, 10)),
        ("ap_ufixed<8, 3, AP_RND_CONV, AP_SAT>", FixedPoint(8, 5, False, "RND_CONV", "SAT")),
        ("ap_fixed<8,3,RND,SAT_SYM,0>", FixedPoint(8, 5, True, "RND", "SAT_SYM")),
        ("ap_fixed<4,-2>", FixedPoint(4, 6)),
        ("ap_fixed<4,9>", FixedPoint(4, -5)),
        ("ap_int<13>", FixedPoint(13, 0)),
        ("ap_uint<1>", FixedPoint(1, 0, False)),
    ],
)
def test_types_are_read_as_in_cpp(text, expected):
    assert FixedPoint.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("fixed<8,3>", r"type must read ap_\[u\]fixed<width,integer\[,rounding\[,overflow\]\]>, not 'fixed<8,3>'"),
        ("ap_fixed<8>", "type must read .* not 'ap_fixed<8>'"),
        ("ap_fixed<a,b>", "type must read .* not 'ap_fixed<a,b>'"),
        ("ap_int<8,3>", "FixedPoint rounding must be one of .* not '3'"),
        ("ap_fixed<8,3", "type must read"),
        ("ap_float<8,3>", "type must read"),
        ("ap_fixed<8,3,AP_TRN,AP_WRAP,1>", "saturation bits are not supported, in 'ap_fixed<8,3,AP_TRN,AP_WRAP,1>'"),
        ("ap_fixed<8,3,AP_RUND>", "FixedPoint rounding must be one of .* not 'RUND'"),
        ("ap_fixed<80,3>", "FixedPoint width must be between 1 and 63 bits, not 80"),
    ],
)
def test_other_spellings_are_refused(text, fault):
    with pytest.raises(ValueError, match=fault):
        FixedPoint.parse(text)


@pytest.mark.parametrize(
    ("low", "high", "width", "signed"),
    [(0, 0, 1, False), (0, 1, 1, False), (0, 255, 8, False), (-1, 0, 1, True), (-1, 1, 2, True), (-8, 7, 4, True),
     (-9, 7, 5, True), (-8, 8, 5, True), (3, 4, 3, False), (-5, -3, 4, True)],
)  # fmt: skip
def test_narrowest_type_that_holds_a_range(low, high, width, signed):
    assert FixedPoint.holding(low, high, 5) == FixedPoint(width, 5, signed)


def test_lsb():
    assert [FixedPoint(8, frac).lsb for frac in (-2, 0, 3)] == [4.0, 1.0, 0.125]
