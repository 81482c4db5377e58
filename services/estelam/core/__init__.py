"""Shared by every other package: errors, domain model, clock, settings, normalization, validation, keys."""
