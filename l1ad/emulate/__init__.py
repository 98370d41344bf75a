"""Executors of a `Network`; `reference` is the definition."""
