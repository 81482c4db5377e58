"""Certificates of saved replies: one page for each, with the receipts attached, and their reading."""
