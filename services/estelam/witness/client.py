"""Submission of checkpoints to a witness (C2SP tlog-witness)."""

import re
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import OpenerDirector, Request

from estelam.client.web import direct_opener
from estelam.core.note_keys import KeyKind, NoteKey
from estelam.core.settings import WitnessAddress
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.note import MAX_NOTE, signature_line
from estelam.receipts.problems import InvalidReceipt

TIMEOUT_SECONDS = 5.0


class WitnessError(Exception):
    """The witness did not cosign; the text says why, in words of ours."""


class OtherSizeError(WitnessError):
    """The witness stands elsewhere.

    Args:
        size: The size of the last checkpoint that it cosigned.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"it stands at {size} entries")
        self.size = size


@dataclass(frozen=True)
class WitnessClient:
    """A witness, by its address and key."""

    url: str
    key: NoteKey
    ca_certificates: Path | None = None

    @classmethod
    def of(cls, address: WitnessAddress) -> "WitnessClient":
        """Return the client of the witness at *address*."""
        return cls(address.url, NoteKey.parse(address.key, KeyKind.COSIGNATURE), address.ca_certificates)

    def add_checkpoint(self, text: str, note: str) -> str:
        """Return the line by which the witness cosigns *note*, verified.

        Args:
            text: The note after the proof that it continues an earlier one (`estelam.receipts.proofs`).
            note: The signed note.

        Raises:
            OtherSizeError: the proof starts elsewhere than the witness stands.
            WitnessError: it can't be reached, refuses, or returns no cosignature of its key.
            OSError: the file of authorities can't be read.
        """
        url = f"{self.url.rstrip('/')}/add-checkpoint"
        request = Request(url, text.encode(), {"content-type": "text/plain; charset=utf-8"}, method="POST")  # noqa: S310
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
                lines = reply.read(MAX_NOTE)
        except HTTPError as error:
            raise _refusal(error) from None
        except (OSError, HTTPException, ValueError) as error:
            raise WitnessError(f"it can't be reached: {type(error).__name__}") from None
        return self._verified_line(note, lines)

    @cached_property
    def _opener(self) -> OpenerDirector:
        return direct_opener(self.ca_certificates)

    def _verified_line(self, note: str, lines: bytes) -> str:
        try:
            cosigned = note + lines.decode("utf-8")
            is_cosigned = bool(cosignature.verify(cosigned, [self.key]))
            found = [line for line in checkpoint.parse(cosigned).signatures if line.is_of(self.key)]
        except (InvalidReceipt, ValueError) as error:
            raise WitnessError(f"its reply is not valid: {error}") from None
        if not is_cosigned:
            raise WitnessError("it returned no cosignature of its key")
        return signature_line(self.key, found[-1].signature)


def _refusal(error: HTTPError) -> WitnessError:
    if error.code == 409:
        size = error.read(32).decode("ascii", "replace")
        if re.fullmatch(r"(0|[1-9][0-9]{0,18})\n?", size):
            return OtherSizeError(int(size))
    meaning = _MEANINGS.get(error.code, "")
    return WitnessError(f"it refuses with status {error.code} at {error.url}{meaning and f': {meaning}'}")


_MEANINGS = {
    403: "it does not know the key that signed the checkpoint",
    404: "it does not know this ledger, or its url is wrong",
    422: "the checkpoint does not continue the one that it cosigned",
}
