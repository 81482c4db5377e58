"""The Ministry of Economic Affairs and Finance: inquiries about electronic promissory notes (resolution 2)."""
