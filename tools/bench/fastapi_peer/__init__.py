"""The peer: the same task as a typical FastAPI service, tuned as well as we can."""
