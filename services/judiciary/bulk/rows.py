"""Input and output rows of a bulk check: a bank's certificates of non-payment, and one answer row for each."""

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from estelam.core import dates, normalize, validation
from estelam.core.dates import DateError
from estelam.core.errors import Refusal
from estelam.core.exceptions import UserFacingError
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES, Coverage
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb

TRACKING_ID, ISSUED_ON = "tracking_id", "certificate_issued_on"

COLUMNS = (
    "row",
    "tracking_id",
    "answer",
    "reason",
    "standing",
    "certificate_issued_on",
    "covered_since",
    "data_as_of",
    "answered_at",
    "inquiry_id",
)
UNANSWERED = "UNANSWERED"
"""The value of the answer column where there is no answer. It can't be mistaken for YES or NO."""
YES, NO = "YES", "NO"
ANSWERS = {ANSWER_YES: YES, ANSWER_NO: NO}

# Whether an answer settles, as of `data_as_of`, if a claim was filed; values of the column `standing`.
CONCLUSIVE, DATE_UNKNOWN = "CONCLUSIVE", "CERTIFICATE_DATE_UNKNOWN"
BEFORE_COVERAGE, AFTER_COVERAGE = "CERTIFICATE_BEFORE_COVERAGE", "CERTIFICATE_AFTER_COVERAGE"


class InputError(UserFacingError):
    """The list of certificates can't be read; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One row of the list; rows are numbered from 1, without the header."""

    row: int
    tracking_id: str | None
    """None if the contract's rules reject it."""
    issued_on: date | None
    problem: str = ""
    """What is wrong with the row; empty for a valid one."""


def read_certificates(path: Path, now: datetime) -> Iterator[Certificate]:
    """Yield the certificates in the CSV file *path*; none is issued after *now*.

    Raises:
        InputError: the file has no valid header, is not UTF-8 or is not CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [normalize.normalize_identifier(name) for name in next(reader, [])]
            if header.count(TRACKING_ID) != 1 or header.count(ISSUED_ON) > 1:
                raise InputError(f"{path}: the header must name the column {TRACKING_ID}, once")
            rows = (cells for cells in reader if cells)
            for row, cells in enumerate(rows, start=1):
                yield _certificate(row, header, cells, now)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None


def _certificate(row: int, header: list[str], cells: list[str], now: datetime) -> Certificate:
    if len(cells) != len(header):
        problem = f"ROW_MALFORMED: {len(cells)} cells under a header of {len(header)}"
        return Certificate(row, None, None, problem)
    values = dict(zip(header, cells, strict=True))
    request = pb.CheckByTrackingIdRequest(tracking_id=normalize.normalize_digits(values[TRACKING_ID]))
    try:
        validation.validate(request)
    except Refusal as refusal:
        return Certificate(row, None, None, refusal.summary())
    try:
        issued_on = dates.parse_past_date(values[ISSUED_ON], now) if values.get(ISSUED_ON) else None
    except DateError as error:
        return Certificate(row, request.tracking_id, None, f"{ISSUED_ON} {error}")
    return Certificate(row, request.tracking_id, issued_on)


@dataclass(frozen=True, slots=True)
class VerifiedAnswer:
    """The content of a verified reply without its receipt, so that many fit in memory."""

    answer: str
    covered_since: date | None
    data_as_of: datetime | None
    answered_at: datetime
    inquiry_id: str

    @classmethod
    def from_reply(cls, reply: pb.CheckByTrackingIdResponse) -> "VerifiedAnswer":
        """Extract the answer from *reply*, whose receipt was verified."""
        since, as_of = _coverage(reply.coverage.SerializeToString())
        receipt = reply.receipt
        answered_at = receipt.answered_at.ToDatetime(UTC)
        return cls(ANSWERS[reply.answer], since, as_of, answered_at, receipt.inquiry_id)


@lru_cache
def _coverage(wire: bytes) -> tuple[date | None, datetime | None]:
    # Cached: coverage is equal in all replies until the next load.
    coverage = Coverage.FromString(wire)
    since = None
    with contextlib.suppress(DateError):  # No NO is conclusive then.
        since = dates.from_wire(coverage.since)
    return since, coverage.as_of.ToDatetime(UTC) if coverage.HasField("as_of") else None


def answered_row(certificate: Certificate, answer: VerifiedAnswer) -> dict[str, Any]:
    """Return the output row of a certificate with *answer*."""
    return {
        **_input_columns(certificate),
        "answer": answer.answer,
        "reason": certificate.problem,
        "standing": _standing(certificate, answer),
        "covered_since": answer.covered_since,
        "data_as_of": _utc(answer.data_as_of) if answer.data_as_of else None,
        "answered_at": _utc(answer.answered_at),
        "inquiry_id": answer.inquiry_id,
    }


def unanswered_row(certificate: Certificate, reason: str) -> dict[str, Any]:
    """Return the output row of a certificate without an answer, for *reason*."""
    return {**_input_columns(certificate), "answer": UNANSWERED, "reason": reason, "standing": UNANSWERED}


def _input_columns(certificate: Certificate) -> dict[str, Any]:
    # A cell that is not a tracking id may hold any text, even a name, so it is not repeated; the row number suffices.
    return {
        "row": certificate.row,
        "tracking_id": certificate.tracking_id,
        "certificate_issued_on": certificate.issued_on,
    }


def _standing(certificate: Certificate, answer: VerifiedAnswer) -> str:
    if answer.answer == YES:
        return CONCLUSIVE
    if certificate.issued_on is None or answer.covered_since is None or answer.data_as_of is None:
        return DATE_UNKNOWN
    # A claim can be filed from the certificate's date on, so a NO is conclusive only if that date is covered.
    if certificate.issued_on < answer.covered_since:
        return BEFORE_COVERAGE
    return CONCLUSIVE if certificate.issued_on <= dates.today(answer.data_as_of) else AFTER_COVERAGE


def _utc(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
