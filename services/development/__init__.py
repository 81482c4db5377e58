"""Run all services with sample data on this machine."""
