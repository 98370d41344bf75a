"""Scores of any number of events, counted by threads or by the workers of a cluster, and on from an interruption."""
