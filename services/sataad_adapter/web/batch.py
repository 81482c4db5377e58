"""A list of notes, checked row by row with VerifyNote, in the memory of this process.

The list is the one of `estelam promissory bulk-check`, read by the same parser, for one buying agency. A row has an
answer only if VerifyNote gave one; every other row is UNANSWERED with its reason.
"""

import asyncio
import csv
import io
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import structlog

from estelam.cli.bulk.question import UNANSWERED, WORDS, Answer, Question, Row
from estelam.cli.bulk.table import Rounding, read_rows
from estelam.client.bulk import BulkCaller, CallFailed, Stop, StopReason
from estelam.core.escape import spreadsheet_cell
from estelam.loading.errors import LoadError
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.rest.request_context import CallRefused
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.web import form, receipts
from sataad_adapter.web.officer import OfficerUi
from sataad_adapter.web.results import Owner

log = structlog.get_logger()

MAX_LIST_BYTES: Final = 1_048_576
MAX_ROWS: Final = 500
"""The greatest length of a list, and most of its rows."""
BATCH_SECONDS: Final = 900.0
"""How long a batch may ask; the rows that are left then have no answer."""
IDLE_SECONDS: Final = 60.0
"""Seconds without any answer after which a batch ends."""
WINDOW: Final = 4
"""Concurrent calls of a batch."""
MAX_RUNNING: Final = 4
"""Batches that run at a time; one of a browser."""
_GZIP = b"\x1f\x8b"
_PARTIES = ("obligor", "beneficiary")
_PARTY_FIELDS = ("full_name", "address", "postal_code")

NOTES: Final = Question(
    service="setad",
    method=VERIFY_NOTE.name,
    request=notes.CheckNoteRequest,
    reply=pb.VerifyNoteResponse,
    columns=(
        form.AGENCY,
        form.CASE,
        *(f"{side}_{name}" for side in _PARTIES for name in _PARTY_FIELDS),
    ),
)
"""The columns of the list, and of the answers."""

Call = Callable[[Mapping[str, str]], Awaitable[pb.VerifyNoteResponse]]
"""Calls VerifyNote with the fields of a form; raises CallFailed."""


class ListError(Exception):
    """The list can't be read; the message is for the officer, in English."""


def read_list(content: bytes, now: datetime) -> list[Row]:
    """Return the rows of a list of notes: CSV in UTF-8 with the columns of CheckNote's request.

    Raises:
        ListError: it is no such list, has no row, or more than MAX_ROWS.
    """
    if content.startswith(_GZIP):
        raise ListError("it is compressed; upload the CSV file itself")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "list.csv")
        path.write_bytes(content)
        try:
            rows = list(islice(read_rows(path, NOTES, now), MAX_ROWS + 1))
        except LoadError as error:
            raise ListError(str(error).removeprefix(f"{path}: ")) from None
    if len(rows) > MAX_ROWS:
        raise ListError(f"it has more than {MAX_ROWS} rows; divide it")
    if not rows:
        raise ListError("it has no row below its header")
    return rows


class Batch:
    """A list of notes on its way: its rows, and the replies so far.

    Args:
        rows: The rows of the list.
        agency: The buying agency of all of them.
        case: The officer's case reference; may be empty.
        call: Calls VerifyNote.
        seconds: How long it may ask.
    """

    def __init__(self, rows: list[Row], agency: str, case: str, call: Call, *, seconds: float = BATCH_SECONDS) -> None:
        self.agency = agency
        self.case = case
        self._rounding = Rounding()
        for row in rows:
            self._rounding.add(row)
        self.rows = [self._rounding.judge(row) for row in rows]
        self._call = call
        self._seconds = seconds
        self._replies: dict[bytes, pb.VerifyNoteResponse] = {}
        self._reasons: dict[bytes, str] = {}
        self._stop: Stop | None = None
        self._caller: BulkCaller | None = None
        self.is_running = True

    async def run(self) -> None:
        """Ask for every valid row; a note that occurs twice is asked once."""
        self._caller = BulkCaller(
            [self._verify],
            window=WINDOW,
            idle_timeout=IDLE_SECONDS,
            on_reply=lambda _request, _reply: None,
            on_refusal=self._reasons.__setitem__,
        )
        passed = Stop(StopReason.DEADLINE, f"the {self._seconds / 60:.0f} minutes of a list have passed")
        timer = asyncio.get_running_loop().call_later(self._seconds, self._caller.stop, passed)
        try:
            self._stop = await self._caller.run(dict.fromkeys(row.request for row in self.rows if row.request))
        except Exception as error:  # noqa: BLE001 - whatever it is, the rows that are left have no answer
            log.error("batch.failed", error=type(error).__name__)
            self._stop = Stop(StopReason.UNAVAILABLE, "the page could not go on")
        finally:
            timer.cancel()
            self.is_running = False

    def stop(self) -> None:
        """Ask for no more rows."""
        if self._caller:
            self._caller.stop(Stop(StopReason.INTERRUPTED, "the officer stopped the list"))

    @property
    def pending(self) -> int:
        """How many rows may still get an answer."""
        return sum(1 for row in self.rows if row.request and row.request not in self._replies) if self.is_running else 0

    @property
    def counts(self) -> Counter[str]:
        """How many rows are YES, NO and, once it has ended, UNANSWERED."""
        return Counter(row["answer"] for row in self.output() if row["answer"] != UNANSWERED or not self.is_running)

    def output(self) -> Iterator[dict[str, Any]]:
        """Yield the answers, a row for each row of the list."""
        for row in self.rows:
            reply = self._replies.get(row.request) if row.request else None
            asked = {form.AGENCY: self.agency, form.CASE: self.case}
            if reply:
                yield NOTES.answered(row, _answer(reply)) | asked | _parties(reply)
            else:
                yield NOTES.unanswered(row, row.problem if row.request is None else self._reason(row.request)) | asked

    def answers_csv(self) -> str:
        """Return the answers as CSV for spreadsheets, with a byte order mark, by which they recognize UTF-8."""
        file = io.StringIO("\ufeff", newline="")
        file.seek(0, io.SEEK_END)
        writer = csv.DictWriter(file, NOTES.output_columns, restval="")
        writer.writeheader()
        writer.writerows({name: spreadsheet_cell(value) for name, value in row.items()} for row in self.output())
        return file.getvalue()

    def receipts(self) -> str:
        """Return the receipts of the answers, in the archive format of the command line."""
        asked = {
            request: pb.VerifyNoteRequest(**_facts(request), executive_agency_id=self.agency)
            for request in self._replies
        }
        return "".join(receipts.archive_lines(asked[request], reply) for request, reply in self._replies.items())

    async def _verify(self, request: bytes) -> bytes:
        typed = {name: str(value) for name, value in _facts(request).items()}
        self._replies[request] = await self._call(typed | {form.AGENCY: self.agency, form.CASE: self.case})
        self._reasons.pop(request, None)
        return b""

    def _reason(self, request: bytes) -> str:
        return self._reasons.get(request) or f"UNASKED: {self._stop.message if self._stop else 'not yet'}"


def _facts(request: bytes) -> dict[str, Any]:
    """Return the four facts of a serialized CheckNoteRequest by their names, which VerifyNote's request has too."""
    return {field.name: value for field, value in notes.CheckNoteRequest.FromString(request).ListFields()}


def _answer(reply: pb.VerifyNoteResponse) -> Answer:
    word, receipt = WORDS[reply.answer], reply.check_receipt
    return Answer(word, None, None, receipt.answered_at.ToDatetime(UTC), receipt.inquiry_id, receipt.index)


def _parties(reply: Any) -> dict[str, str]:
    return {
        f"{side}_{name}": getattr(getattr(reply, side), name)
        for side in _PARTIES
        for name in _PARTY_FIELDS
        if reply.HasField(side)
    }


class TooManyBatches(Exception):  # noqa: N818 - names what is wrong
    """The browser's last list is still on its way, or those of several others are."""


class Batches:
    """Runs lists in the event loop, one of a browser at a time; all end with the process.

    Args:
        ui: Makes the calls.
    """

    def __init__(self, ui: OfficerUi) -> None:
        self._ui = ui
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By browser."""

    def start(self, owner: Owner, rows: list[Row], agency: str, case: str) -> Batch:
        """Start to ask for *rows* in the name of *owner*'s officer.

        Raises:
            TooManyBatches: one of this browser is running, or MAX_RUNNING of others.
        """
        if owner.browser in self._tasks or len(self._tasks) >= MAX_RUNNING:
            raise TooManyBatches

        async def call(fields: Mapping[str, str]) -> pb.VerifyNoteResponse:
            try:
                reply, _ = await self._ui.call(fields, owner.officer)
            except CallRefused as refused:
                raise CallFailed.refused(refused.refusal) from None
            return reply

        batch = Batch(rows, agency, case, call)
        task = asyncio.create_task(batch.run())
        self._tasks[owner.browser] = task
        task.add_done_callback(lambda _: self._tasks.pop(owner.browser))
        return batch

    async def close(self) -> None:
        """End all lists at once."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
