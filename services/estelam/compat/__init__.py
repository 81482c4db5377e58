"""Rules for change (R4.0): nothing published breaks while a caller may still rely on it. See docs/change-policy.md."""
