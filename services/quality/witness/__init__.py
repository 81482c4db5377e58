"""The monitor as a witness: it verifies each ledger's growth, cosigns it, and raises an alarm where it is broken."""
