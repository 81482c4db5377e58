"""Bulk check of certificates of bounced cheques: `estelam judiciary sweep`."""
