"""A parametrised Level-1 calorimeter and muon trigger: particles -> tower deposits -> objects in codes.

It is a *stand-in* for the CMS Phase-1 trigger, tuned by hand on published medians: calibration, not validation.
Two steps, so that a collision is reduced once and used in many crossings:

1. `particles.deposit` smears the particles of single pp collisions into tower deposits and keeps what may become a
   muon; its constants are the fields of `particles.ParticleResponse`.
2. `trigger.find_crossings` adds the deposits of all collisions of a crossing, digitises the towers, and finds jets,
   e/γ, τ, muons, energy sums and regions; its constants are the fields of `trigger.TriggerResponse`.

Every constant has its source beside it; *tuned* marks those chosen by hand so that zero-bias resembles the published
AXOL1TL input scaling.  Sources without an address were named from memory and not read again.  Left out: out-of-time
pileup, dead channels, electronics noise, muon punch-through, the real calibration tables.
"""
