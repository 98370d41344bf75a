"""Whether two histograms are one, to the last bit."""

import numpy as np

from l1ad.emulate.histogram import TABLES


def assert_same(found, expected):
    """Name what differs."""
    for name in ("digest", "low", "high", "categories", "unit", "total"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in TABLES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
