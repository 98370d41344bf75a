"""l1ad: anomaly detection in a hardware trigger, exact from training to firmware."""

__version__ = "0.1.0"
