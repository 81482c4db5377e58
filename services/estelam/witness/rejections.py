"""Why a witness does not cosign a checkpoint, with the HTTP status of each reason."""

from enum import StrEnum
from pathlib import Path
from typing import Final

from estelam.receipts.checkpoint import Checkpoint


class RejectionReason(StrEnum):
    """Why a submitted checkpoint is not cosigned."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_LOG = "unknown_log"
    NOT_SIGNED = "not_signed"
    """None of the log's keys signed it, or a signature is wrong."""
    OTHER_SIZE = "other_size"
    """Its proof does not start at the last checkpoint that was cosigned."""
    CONTRADICTION = "contradiction"
    """It has another root than the checkpoint of the same size that was cosigned."""
    NOT_CONSISTENT = "not_consistent"
    """Its proof does not show that it continues the last checkpoint."""
    STATE_UNUSABLE = "state_unusable"
    """The witness can't read or write what it has cosigned last."""


STATUS: Final = {
    RejectionReason.TOO_LARGE: 413,
    RejectionReason.MALFORMED: 400,
    RejectionReason.UNKNOWN_LOG: 404,
    RejectionReason.NOT_SIGNED: 403,
    RejectionReason.OTHER_SIZE: 409,
    RejectionReason.CONTRADICTION: 409,
    RejectionReason.NOT_CONSISTENT: 422,
    RejectionReason.STATE_UNUSABLE: 503,
}


class Rejection(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """A checkpoint that is not cosigned.

    Args:
        reason: Why.
        text: The same in words.
    """

    def __init__(self, reason: RejectionReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.reason]


class OtherSize(Rejection):
    """The proof does not start where the witness stands.

    Args:
        size: The size of the last checkpoint that was cosigned.
    """

    def __init__(self, size: int, reason: RejectionReason = RejectionReason.OTHER_SIZE) -> None:
        super().__init__(reason, f"the last checkpoint that was cosigned has {size} entries")
        self.size = size


class Contradiction(OtherSize):
    """The log has signed another root than the *last* one that was cosigned, of the same size.

    Args:
        last: The checkpoint that was cosigned.
        evidence: The file with the other one.
    """

    def __init__(self, last: Checkpoint, evidence: Path) -> None:
        super().__init__(last.size, RejectionReason.CONTRADICTION)
        self.last = last
        self.evidence = evidence
