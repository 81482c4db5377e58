"""Bulk check of certificates of bounced cheques: `estelam judiciary bulk-check`."""
