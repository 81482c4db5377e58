"""The error of everything that reads a ledger and finds that it was changed."""


class LedgerCorruptError(Exception):
    """The ledger is corrupt; the text states where and how."""
