"""The adapter's HTTP frontends: a REST API for systems without gRPC, and a web UI for procurement officers."""
