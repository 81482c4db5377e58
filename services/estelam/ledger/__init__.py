"""The append-only ledger of a service: append, verify, search, recall."""
