"""Firmware projects, tool runners and report parsers."""
