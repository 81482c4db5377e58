"""The zoo: the reference with one fault each, and the case that must catch it. `python -m tests.conformance.mutants`."""
