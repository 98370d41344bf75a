"""Synthesis of a design by open tools: cells, their simulation, their timing, and an open device."""
