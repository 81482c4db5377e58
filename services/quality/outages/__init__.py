"""Planned outages: announced by command, stored, and published to the services."""
