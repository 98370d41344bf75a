"""Whether rates hold: against pileup, in parts of a sample, and against the sample that was trained on."""
