"""Simulated zero-bias and signals: Pythia collisions, overlaid to crossings with exact pileup statistics.

Needs the extra ``generate``; reading events does not.

A crossing is ``Poisson(mu p_j)`` collisions of *each* class j: class 0 is soft QCD below the pT-hat edge, drawn from a
big pool; the others are rare and used in turn.  `processes` names the classes and signals, `pythia` makes their
collisions and keeps them, `crossings` adds them up, `stitching` and `thinning` weight the crossings, `plan` makes the
files.  `adc2021` and what it imports make files like those of the ADC2021 challenge, with a response of their own.
"""
