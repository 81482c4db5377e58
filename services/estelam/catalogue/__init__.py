"""The catalogue of the exchange: parties, services, grants and registries as data, and all that follows from it."""
