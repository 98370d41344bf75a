import re
from math import pi
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l1ad.events
from l1ad.events.schema import load_schema
from l1ad.events.units import to_codes, to_values

SCHEMAS = sorted(path.stem for path in (Path(l1ad.events.__file__).parent / "schemas").glob("*.toml"))
COLUMNS = {f"{name}:{key}": column for name in SCHEMAS for key, (_, column) in load_schema(name).columns().items()}
WIDE = {key: column for key, column in COLUMNS.items() if column.high - column.low > 2**21}
RUN3 = {key: column for key, (_, column) in load_schema("cms_run3").columns().items()}

every_column = pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)


@every_column
def test_every_code_comes_back(column):
    if column.high - column.low <= 2**21:
        codes = np.arange(column.low, column.high + 1)
    else:  # both ends, and every 1009th in between
        codes = np.unique(np.r_[column.low : column.high + 1 : 1009, column.high - 9999 : column.high + 1])
    back = to_codes(to_values(codes, column), column, "x")
    np.testing.assert_array_equal(back, codes)
    assert back.dtype == np.int32


@given(st.data())
def test_any_code_of_a_wide_column_comes_back(data):
    column = data.draw(st.sampled_from(list(WIDE.values())))
    code = data.draw(st.integers(column.low, column.high))
    assert to_codes(to_values(code, column), column, "x") == code


@every_column
@pytest.mark.parametrize("fraction", [-0.49, 0.49])
def test_a_value_goes_to_the_nearest_code(column, fraction):
    codes = np.array([column.low, (column.low + column.high) // 2, column.high])
    np.testing.assert_array_equal(to_codes((codes + fraction) * column.lsb, column, "x"), codes)


def test_known_answers():
    np.testing.assert_array_equal(
        to_codes([0, 0.5, 0.74, 0.76, 30, 1023.5], RUN3["jet.pt"], "x"), [0, 1, 1, 2, 60, 2047]
    )
    np.testing.assert_array_equal(to_codes([-5, -0.0435, 0.0435, 5], RUN3["jet.eta"], "x"), [-115, -1, 1, 115])
    np.testing.assert_array_equal(to_values([[1, 511]], RUN3["mu.pt"]), [[0.5, 255.5]])


@pytest.mark.parametrize(("name", "turn"), [("met.phi", 144), ("mu.phi", 576)])
def test_an_angle_wraps(name, turn):
    values = [0, -pi, pi, 2 * pi, -2 * pi / turn, 3 * pi, -0.4 * 2 * pi / turn, 2 * pi * (1 - 0.4 / turn)]
    expected = [0, turn // 2, turn // 2, 0, turn - 1, turn // 2, 0, 0]
    np.testing.assert_array_equal(to_codes(values, RUN3[name], "x"), expected)


def test_a_value_above_the_range_saturates():
    np.testing.assert_array_equal(to_codes([255.0, 255.5, 256, 1e9], RUN3["eg.pt"], "x"), [510, 511, 511, 511])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("jet.pt", [1, np.nan], "a.h5: pt must be finite, not nan (at (1,); 1 such values); correct the file"),
        ("jet.pt", [[1, np.inf], [np.inf, 2]], "must be finite, not inf (at (0, 1); 2 such values)"),
        ("met.phi", [np.nan], "must be finite, not nan"),
        ("jet.pt", [-1.0], "must be in 0..1023.5 GeV, not -1.0 (at (0,); 1 such values)"),
        ("jet.eta", [0, 5.6], "must be in -5.568..5.5245 1, not 5.6"),
        ("jet.eta", [-5.6], "not -5.6"),
        ("eg.iso", [4], "must be in 0..3 1, not 4.0"),
    ],
)
def test_a_value_without_a_code_is_refused(name, values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_codes(values, RUN3[name], "a.h5: pt")
