"""The conformance kit: tests whether an implementation, in any language, does what the resolutions require."""
