"""Proofs about a network: what every accumulator and cast can reach, and whether it overflows."""
