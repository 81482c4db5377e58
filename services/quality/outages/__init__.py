"""Outages that a provider announces: by command, kept, and published to the services."""
