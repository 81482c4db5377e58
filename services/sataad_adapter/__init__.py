"""Setad: its side of the promissory inquiries, which gives a buyer one answer (resolution 2)."""
