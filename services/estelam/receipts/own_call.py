"""What a client knows of its own call, so that it takes the receipt of no other call for its answer.

A receipt proves that the service once answered these words. A party that can answer in the service's place, as one
that holds its TLS key, could send an old one, or one that another caller was given. So the client sends a nonce, to
which the entry commits, and demands an entry of its own organisation, of this nonce and of this time.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem

NONCE = "x-nonce"
"""The metadata key."""
NONCE_PATTERN = "^[0-9A-Za-z_-]{22,64}$"
"""The form of its value, as a regular expression."""
_FORM = re.compile(NONCE_PATTERN[1:-1])


def nonce_hash(nonce: str) -> bytes:
    """Return the SHA-256 of *nonce*, as the entry states it: a caller can put no text of its own into a ledger.

    Raises:
        ValueError: it is not 22 to 64 of 0-9, A-Z, a-z, _ and -.
    """
    if not _FORM.fullmatch(nonce):
        raise ValueError("not a nonce")
    return hashlib.sha256(nonce.encode()).digest()


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A call, or several with one nonce, of *caller*, an organisation, from *began_micros* (since 1970) on."""

    caller: str
    began_micros: int
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata to send."""
        return ((NONCE, self.nonce),)

    def check(self, entry: pb.Entry, now_micros: int, tolerance: timedelta) -> None:
        """Check that *entry* is of this call, which has ended at *now_micros*, by clocks that differ by *tolerance*.

        Raises:
            InvalidReceipt: OTHER_CALL.
        """
        if entry.caller != self.caller:
            raise InvalidReceipt(ReceiptProblem.OTHER_CALL, "the receipt is of another caller's inquiry")
        if entry.nonce != nonce_hash(self.nonce):
            raise InvalidReceipt(ReceiptProblem.OTHER_CALL, "the receipt is of another call: it has not its nonce")
        within = tolerance // timedelta(microseconds=1)
        if not self.began_micros - within <= entry.answered_at_micros <= now_micros + within:
            raise InvalidReceipt(ReceiptProblem.OTHER_CALL, "the receipt states another time than that of the call")
