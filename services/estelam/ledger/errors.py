"""The errors of everything that reads a ledger: that it was changed, or that it can't be verified."""

from estelam.core.exceptions import UserFacingError
from estelam.receipts.problems import InvalidReceipt, Verdict


class LedgerCorruptError(UserFacingError):
    """The ledger is corrupt; the text states where and how."""


class LostStateError(LedgerCorruptError):
    """The ledger lacks a state that it went through once: it was changed, or an acknowledged restore lost its end.

    Args:
        text: Where and how.
        size: The number of entries of that state.
    """

    def __init__(self, text: str, size: int) -> None:
        super().__init__(text)
        self.size = size


class LedgerUncheckedError(UserFacingError):
    """A checkpoint can't be verified with the given certificates: the ledger may be corrupt or not."""


def fault_of(error: InvalidReceipt, where: str) -> LedgerCorruptError | LedgerUncheckedError:
    """Return what *error*, of the checkpoint that *where* names, means for the ledger."""
    kind = LedgerUncheckedError if error.problem.verdict is Verdict.UNCHECKED else LedgerCorruptError
    return kind(f"{where}: {error}")
