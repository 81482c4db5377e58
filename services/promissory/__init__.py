"""Service of the Ministry of Economic Affairs and Finance: inquiries about promissory notes (resolution 2)."""
