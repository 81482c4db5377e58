"""What the services describe of a question for its bulk check, and what passes between its parts: rows and answers."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from estelam.core import dates
from estelam.core.dates import DateError
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES, Coverage
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem

YES, NO, UNANSWERED = "YES", "NO", "UNANSWERED"
"""The values of the column `answer`. UNANSWERED can't be mistaken for an answer."""
COVERAGE = ("covered_since", "data_as_of")
"""The columns of an answer's coverage."""
CHANGES = ("now", "now_as_of")
"""The columns of what would be answered now."""
UNKNOWN = "UNKNOWN"
"""In the column `now`: the service does not say whether the answer has changed."""

WORDS = {ANSWER_YES: YES, ANSWER_NO: NO}
"""The value of `answer` for each answer; no other value of a reply has one."""


class Place(NamedTuple):
    """Where a row of a list is."""

    row: int
    """Its number, from 1, without the header and blank lines."""
    line: int
    """The line in which it begins, from 1, as an editor counts."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list."""

    place: Place
    cells: Mapping[str, Any]
    """The fields of the request; empty for a refused row, whose cells may hold any text, even a name."""
    request: bytes | None
    """The serialized request; None for a refused row."""
    day: date | None = None
    """The date in the question's `date_column`, if the row has a valid one."""
    problem: str = ""
    """What is wrong with the row, as `REASON: text`."""
    maybe_rounded: bool = False
    """Whether an identifier ends in zeros from its 16th digit on, as a spreadsheet rounds it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of a verified reply without its receipt, so that many fit in memory."""

    answer: str
    covered_since: date | None
    data_as_of: datetime | None
    answered_at: datetime
    inquiry_id: str
    index: int
    """The place of its entry in the service's ledger."""

    @classmethod
    def from_reply(cls, reply: Any) -> "Answer":
        """Extract the answer from *reply*, whose receipt was verified.

        Raises:
            InvalidReceipt: the reply is no answer: neither YES nor NO, or a NO without the coverage of its contract.
        """
        if (word := WORDS.get(reply.answer)) is None:
            raise InvalidReceipt(ReceiptProblem.NO_ANSWER)
        since = as_of = None
        if "coverage" in reply.DESCRIPTOR.fields_by_name:
            since, as_of = _coverage(reply.coverage.SerializeToString())
            if word == NO and since is None:
                raise InvalidReceipt(ReceiptProblem.NO_COVERAGE)
        receipt = reply.receipt
        return cls(word, since, as_of, receipt.answered_at.ToDatetime(UTC), receipt.inquiry_id, receipt.index)

    def coverage(self) -> dict[str, Any]:
        """Return the columns of the coverage."""
        return {
            "covered_since": self.covered_since,
            "data_as_of": self.data_as_of and dates.format_utc(self.data_as_of),
        }


@lru_cache
def _coverage(wire: bytes) -> tuple[date | None, datetime | None]:
    # Cached: coverage is equal in all replies until the next load.
    coverage = Coverage.FromString(wire)
    since = None
    with contextlib.suppress(DateError):  # No NO is accepted then.
        since = dates.from_wire(coverage.since)
    return since, coverage.as_of.ToDatetime(UTC) if coverage.HasField("as_of") else None


class Changes(NamedTuple):
    """What a service says of the answers that it gave to this caller: which would be different now."""

    states: Mapping[str, tuple[str, datetime]]
    """What would be answered now, and since when the data says so, by inquiry id."""
    first_index: int
    """The first entry of those that the service has compared with its data."""
    as_of: datetime

    def of(self, answer: Answer) -> dict[str, Any]:
        """Return the columns for *answer*: what would be answered now, and as of when."""
        if found := self.states.get(answer.inquiry_id):
            return {"now": found[0], "now_as_of": dates.format_utc(found[1])}
        is_compared = answer.index >= self.first_index
        return {"now": answer.answer, "now_as_of": dates.format_utc(self.as_of)} if is_compared else {"now": UNKNOWN}


def _describe_nothing(_row: Row, _answer: Answer | None) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Question:
    """A yes/no question. The list has a column for each field of the request."""

    service: str
    """The name of the service, whose receipts prove the answers."""
    method: str
    """package.Service/Method"""
    request: type[Message]
    reply: type[Message]
    date_column: str | None = None
    """A further column that the list may have: a date of the past."""
    columns: tuple[str, ...] = ()
    """Further columns of the output, between `reason` and `answered_at`."""
    describe: Callable[[Row, Answer | None], Mapping[str, Any]] = _describe_nothing
    """Returns the values of `columns` for a row and its answer; None: the row has none."""
    counted: tuple[str, ...] = ()
    """Columns whose values the summary counts over the rows with NO."""
    founded: tuple[str, ...] = ()
    """Columns that rest on the answer: empty where another one would be given now."""

    @cached_property
    def fields(self) -> Mapping[str, bool]:
        """The fields of the request, which are the columns that the list must have, and whether each is text."""
        return {field.name: field.type == FieldDescriptor.TYPE_STRING for field in self.request.DESCRIPTOR.fields}

    @property
    def output_columns(self) -> tuple[str, ...]:
        """The columns of the output."""
        return *Place._fields, *self.fields, "answer", "reason", *self.columns, "answered_at", "inquiry_id"

    def answered(self, row: Row, answer: Answer) -> dict[str, Any]:
        """Return the output of a row with *answer*."""
        given = {"answer": answer.answer, "reason": row.problem, "inquiry_id": answer.inquiry_id}
        return self._output(row, answer) | given | {"answered_at": dates.format_utc(answer.answered_at)}

    def answered_since(self, row: Row, answer: Answer, changes: Changes) -> dict[str, Any]:
        """Return the output of a row with *answer*, and with what *changes* say of it."""
        now = changes.of(answer)
        unfounded = dict.fromkeys(self.founded, "") if now["now"] != answer.answer else {}
        return self.answered(row, answer) | now | unfounded

    def unanswered(self, row: Row, reason: str) -> dict[str, Any]:
        """Return the output of a row without an answer, for *reason*."""
        return self._output(row, None) | {"answer": UNANSWERED, "reason": reason}

    def _output(self, row: Row, answer: Answer | None) -> dict[str, Any]:
        return {**row.place._asdict(), **row.cells, **self.describe(row, answer)}
