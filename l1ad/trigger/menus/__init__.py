"""Rates of seeds beside each other in a menu."""
