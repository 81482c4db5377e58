"""The JSON API: every method of a service as JSON over HTTP with mutual TLS, through the same pipeline as gRPC."""
