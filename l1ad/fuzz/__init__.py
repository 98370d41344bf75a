"""Differential fuzzing: random networks, whose executors must agree."""
