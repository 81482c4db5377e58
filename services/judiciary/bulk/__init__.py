"""Bulk checks of the two questions about court cases: of certificates of bounced cheques, and of persons."""
