"""Rules for changing a contract (R4.0): nothing published breaks while callers rely on it. See docs/change-policy.md."""
