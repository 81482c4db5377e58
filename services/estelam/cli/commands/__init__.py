"""Command groups of every installation, a module each."""
