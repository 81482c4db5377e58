"""Commands, benchmarks and chaos tests for development; `tools.env` is the library that they and the tests share."""
