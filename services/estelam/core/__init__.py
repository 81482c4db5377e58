"""Base of every other package: errors, domain model, clock, settings, files, normalization, validation, keys, TLS."""
