"""Shared parts of the web applications: listener, middleware, rendering and languages."""
