"""Synthetic notes, derived from their numbers, and requests about them. All persons are invented."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory.feeds import NOTES
from tools.env.identifiers import natural_id

AMOUNT_RIALS = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Note:
    """The four facts of a CheckNote request."""

    serial: str
    obligor_id: str
    holder_id: str

    @classmethod
    def numbered(cls, number: int) -> "Note":
        """The note with this *number*, which must be below 4,000,000."""
        # Spread over the whole range, as the Treasury's ids are, so that consecutive notes are far apart in the index.
        serial = f"{number * 7_919_000_033_337 % 10**16:016d}"
        return cls(serial, natural_id(990_000_000 + number), natural_id(994_000_000 + number))

    def as_message(self) -> bytes:
        """This note as a serialized CheckNoteRequest."""
        return pb.CheckNoteRequest(
            serial=self.serial,
            obligor_id=self.obligor_id,
            beneficiary_id=self.holder_id,
            amount_rials=AMOUNT_RIALS,
        ).SerializeToString()

    def as_json(self) -> bytes:
        """The same request in JSON."""
        body = {"serial": self.serial, "obligor_id": self.obligor_id, "beneficiary_id": self.holder_id}
        return json.dumps(body | {"amount_rials": AMOUNT_RIALS}).encode("ascii")


def sample_requests(notes: int, questions: int = 2000) -> list[Note]:
    """Requests for *notes* loaded notes, alternating between a recorded and an unrecorded one."""
    known = range(0, notes, max(1, 2 * notes // questions))
    return [Note.numbered(number) for one in known for number in (one, notes + one)]


def rows(notes: int) -> Iterator[Mapping[str, str | int]]:
    """The first *notes* as rows of the loader's columns."""
    for number in range(notes):
        note = Note.numbered(number)
        yield {
            "serial": note.serial,
            "state": "ISSUED",
            "obligor_id": note.obligor_id,
            "obligor_name": "متعهد نمونه",
            "obligor_address": "تهران، خیابان نمونه",
            "obligor_postal_code": "1111111111",
            "beneficiary_id": note.holder_id,
            "holder_id": note.holder_id,
            "holder_name": "ذینفع نمونه",
            "holder_address": "تهران، خیابان نمونه",
            "holder_postal_code": "1111111111",
            "amount_rials": AMOUNT_RIALS,
            "remaining_rials": AMOUNT_RIALS,
            "issued_on": "2025-03-21",
            "due_on": "",
            "payment_place": "تهران",
        }


def write(path: Path, notes: int) -> None:
    """Write the first *notes* to *path* in the loader's format."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, NOTES.columns)
        writer.writeheader()
        writer.writerows(rows(notes))
