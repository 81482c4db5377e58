"""Drafts in Persian for the Working Group: rulebook, change policy and service level agreement."""
