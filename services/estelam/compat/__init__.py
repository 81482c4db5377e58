"""Rules for changing contracts (R4.0): nothing that callers rely on breaks; see docs/change-policy.md."""
