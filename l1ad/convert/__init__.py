"""Trained models to `Network`, exactly or not at all."""
