"""Thresholds, rates and efficiencies of the trigger, and comparisons of detectors.

Scores are raw integers, high = anomalous; `accept` is the only place that compares one with a threshold.
Background weights are probabilities per bunch crossing.
"""

from l1ad.trigger.baselines import multiplicity, sum_pt
from l1ad.trigger.efficiency import Efficiency, efficiency
from l1ad.trigger.performance import (
    Comparison,
    Difference,
    Measured,
    Performance,
    Roc,
    auc,
    compare_detectors,
    roc,
)
from l1ad.trigger.rates import (
    MIN_EFFECTIVE,
    PURE_DEFINITION,
    Collider,
    Rate,
    Refused,
    Threshold,
    WorkingPoint,
    accept,
    crossing_rate_hz,
    find_threshold,
    rate,
    working_point,
)
from l1ad.trigger.thresholds import Thresholds, load_thresholds, save_thresholds

__all__ = [
    "MIN_EFFECTIVE",
    "PURE_DEFINITION",
    "Collider",
    "Comparison",
    "Difference",
    "Efficiency",
    "Measured",
    "Performance",
    "Rate",
    "Refused",
    "Roc",
    "Threshold",
    "Thresholds",
    "WorkingPoint",
    "accept",
    "auc",
    "compare_detectors",
    "crossing_rate_hz",
    "efficiency",
    "find_threshold",
    "load_thresholds",
    "multiplicity",
    "rate",
    "roc",
    "save_thresholds",
    "sum_pt",
    "working_point",
]
