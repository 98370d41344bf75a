"""What a trigger prefers, and beside which other it does: seeds, quantities, detectors, the float twin."""
