"""The catalogue of the exchange: parties, services, grants, agreements and registries as YAML files."""
