"""Mutants: copies of the reference with one fault each, which a named case must catch."""
