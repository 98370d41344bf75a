import numpy as np
import pytest

from l1ad.events.schema import InputColumn
from l1ad.models.keras import PresenceMask, SumOfSquares, TriggerScaling, keras

COLUMNS = (InputColumn("pt", 0, 4095, 0.5, "GeV"), InputColumn("eta", -100, 100, 0.1, "1"))


def test_trigger_scaling_moves_the_binary_point():
    layer = TriggerScaling(COLUMNS, (10, -3), (4, -1))
    np.testing.assert_array_equal(layer(np.float32([[4095, -100], [10, -3]])), [[255.3125, -194], [0, 0]])


def test_presence_mask_keeps_objects_that_have_a_pt():
    x, trigger = np.float32([[1, -2, 3], [4, 5, -6]]), np.float32([[0, 7, 9], [1, 7, 0]])
    np.testing.assert_array_equal(PresenceMask((0, 0, 2))([x, trigger]), [[0, 0, 3], [4, 5, 0]])


def test_sum_of_squares_truncates_and_saturates():
    x = np.float32([[0, 0], [0.5, 0.75], [2, 3], [100, 0]])
    # exact: 0, 0.8125, 13, 10000; in halves below 16
    np.testing.assert_array_equal(SumOfSquares("ap_ufixed<5,4,AP_TRN,AP_SAT>")(x), [[0], [0.5], [13], [15.5]])
    np.testing.assert_array_equal(SumOfSquares(None)(x), [[0], [0.8125], [13], [10000]])


def test_sum_of_squares_is_exact_beyond_float32():
    x = np.float32([[4095.75, 2**-6]])
    score = SumOfSquares(None)(x)
    assert score.dtype == "float64"
    np.testing.assert_array_equal(score, [[4095.75**2 + 2.0**-12]])


@pytest.mark.parametrize(
    "layer",
    [
        TriggerScaling(COLUMNS, (10, 0), (4, -2)),
        PresenceMask((0, 1)),
        SumOfSquares("ap_ufixed<5,4>"),
        SumOfSquares(None),
    ],
    ids=lambda layer: layer.name,
)
def test_layers_are_made_again_from_their_configuration(layer):
    again = type(layer).from_config(layer.get_config())
    assert isinstance(again, keras.layers.Layer)
    assert again.get_config() == layer.get_config()
    assert again.dtype == layer.dtype
