"""QKeras trigger models and their training."""
