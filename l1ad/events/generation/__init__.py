"""Simulated zero-bias and signals: Pythia collisions, overlaid to crossings with exact pileup statistics.

Needs the extra ``generate``; reading events does not.

A crossing is ``Poisson(mu p_j)`` collisions of *each* class j: class 0 is soft QCD below the pT-hat edge,
drawn from a big pool with random rotations; the others are rare and come from stocks of which each
collision is used once.  `stitching` weights such crossings, `pythia` makes the collisions, `crossings` adds them up.
"""
