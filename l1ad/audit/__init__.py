"""Networks put to the test: against the C++ they came from, against recorded scores, and against good practice."""
