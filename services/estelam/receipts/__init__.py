"""Receipts, receipt archives and the receipt journal: everything here works offline."""
