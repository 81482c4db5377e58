"""Onboarding and offboarding of consumers: requests and their steps as files that can be reviewed."""
