"""The process around the pipeline: gRPC server, health, workers, composition."""
