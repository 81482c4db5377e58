"""The conformance kit: whether an implementation, in any language, does what the resolutions order."""
