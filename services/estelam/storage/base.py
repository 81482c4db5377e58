"""The two halves of a store, and how a process opens each."""

from enum import StrEnum

from estelam.core.exceptions import UserFacingError

FACTS, LEDGER = "facts", "ledger"


class AccessMode(StrEnum):
    """How a process opens one of the two halves."""

    READ = "ro"
    WRITE = "rw"
    CREATE = "rwc"


class StoreError(UserFacingError):
    """The store can't be used as asked; the text is for the operator."""
