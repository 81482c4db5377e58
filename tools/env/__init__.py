"""The environment for tests and tools: sandbox, service processes, PostgreSQL, Envoy, synthetic data."""
