"""Thresholds, rates and efficiencies of the trigger, and comparisons of detectors.

Scores are raw integers, high = anomalous; `accept` is the only place that compares one with a threshold.
Background weights are probabilities per bunch crossing.  `scan.fill` counts the scores of any number of events; the
functions of `histograms` need no more.
"""

from l1ad.trigger.baselines import multiplicity, sum_pt
from l1ad.trigger.counting.scan import fill, thresholds_of
from l1ad.trigger.efficiency import Efficiency, efficiency
from l1ad.trigger.histograms import efficiency_of, rate_above, threshold_for, working_point_of
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
    "efficiency_of",
    "fill",
    "find_threshold",
    "load_thresholds",
    "multiplicity",
    "rate",
    "rate_above",
    "roc",
    "save_thresholds",
    "sum_pt",
    "threshold_for",
    "thresholds_of",
    "working_point",
    "working_point_of",
]
