"""Setad's adapter: verifies a promissory note for a buyer in one call (resolution 2)."""
