"""Bulk check: call one method for every row of a list; an interrupted run can be resumed.

The journal of verified replies is the source of truth. The answers are written from it, row by row, at the end of each
run, so a row without a receipt never appears as answered. The steps:

1 read the list, 2 replay the journal and verify its receipts again, 3 call the method for the remaining rows and verify
each reply, which must be of this run, before it is stored, 4 write the answers.
"""

import asyncio
import csv
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from google.protobuf.message import DecodeError, Message

from estelam.cli.bulk.question import CHANGES, NO, UNANSWERED, UNKNOWN, Answer, Changes, Question, Row
from estelam.cli.bulk.table import Rounding, read_rows
from estelam.client.bulk import BulkCaller, Stop, StopReason, grpc_call
from estelam.client.channel import ClientIdentity, aio_connections
from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.escape import spreadsheet_cell
from estelam.core.exceptions import UsageError, UserFacingError
from estelam.core.files import open_atomic
from estelam.receipts.archive import ReceiptRecord
from estelam.receipts.journal import OtherInputError, ReceiptJournal, damaged_line
from estelam.receipts.own_call import OwnCall
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem, Verdict
from estelam.receipts.receipt import Verifier, canonical

CALLS_PER_CONNECTION = 32
"""Concurrent calls on one connection, well below the server's limit; the server resets calls beyond it."""
SYNC_SECONDS = 0.5
"""Time between two syncs of the journal."""

Progress = Callable[[int], None]


class BulkCheckError(UserFacingError):
    """The bulk check can't start or continue; no stored reply is lost. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """Limits and metadata of the calls."""

    window: int = 128
    """Concurrent calls, at most."""
    timeout: float = 5.0
    """Deadline of one call, in seconds."""
    idle_timeout: float = 30.0
    """Seconds without any reply after which no more calls are started."""
    deadline: float | None = None
    """Monotonic time, in seconds, from which on no more calls are started."""
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Summary:
    """Counts of the rows that were written."""

    rows: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    of_no: Counter[str] = field(default_factory=Counter)
    """The values of the question's counted columns over the rows with NO."""
    reasons: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    """The number of rows whose answer would be different now."""

    def count(self, row: dict[str, Any], counted: Iterable[str]) -> None:
        """Count *row*, an output row."""
        self.rows += 1
        self.answers[row["answer"]] += 1
        if row["answer"] == NO:
            self.of_no.update(row[column] for column in counted if row[column])
        self.changed += row.get("now", row["answer"]) not in (row["answer"], UNKNOWN)
        if row["answer"] == UNANSWERED:
            self.reasons[row["reason"]] += 1


class BulkCheck:
    """One list, its answers and its journal; only one process at a time can open it."""

    def __init__(
        self, question: Question, source: Path, out: Path, verifier: Verifier, *, clock: Clock | None = None
    ) -> None:
        self._question, self._source, self.out, self._verifier = question, source, out, verifier
        if source.exists() and not source.is_file():
            raise UsageError(f"{source}: is not a regular file; a list is read several times, so write it to a file")
        self._digest = _digest(source)
        self._clock = clock or Clock()
        self._now = self._clock.now()
        self.rounding = Rounding()
        # A request that occurs twice is sent once.
        self._answers: dict[bytes, Answer | None] = {}
        self.rows = 0
        """The number of rows of the list."""
        for row in read_rows(source, question, self._now):  # 1
            self.rows += 1
            self.rounding.add(row)
            if row.request is not None:
                self._answers[row.request] = None
        self._reasons: dict[bytes, str] = {}
        self._caller: BulkCaller | None = None
        self.answered = 0
        self.earlier = 0
        """The number of answers of earlier runs."""
        self.oldest: datetime | None = None
        """When the first of them was given."""
        self.receipts = out.with_name(f"{out.name}.receipts.jsonl")
        if out.exists() and not self.receipts.exists():
            raise UsageError(f"{out} already exists and is not from a bulk check; choose another --out")
        try:
            self._journal = ReceiptJournal(self.receipts, input_digest=self._digest)
        except OtherInputError:
            raise BulkCheckError(
                f"{source}: is not the list that {self.receipts} holds the replies to: it was changed, or replaced by"
                " another file. Restore that list to go on with it, or give another --out to ask for this one"
            ) from None

    @property
    def distinct(self) -> int:
        """Number of distinct valid requests in the list."""
        return len(self._answers)

    @property
    def set_aside(self) -> Path | None:
        """The file of what `resume` removed from the end of the journal, if it did."""
        return self._journal.set_aside

    def resume(self, progress: Progress) -> None:
        """Replay the journal of earlier runs. *progress* receives the number of answered requests.

        Raises:
            JournalError: the journal is damaged.
            BulkCheckError: the journal holds a reply for another list, or one that can't be verified here.
        """
        for number, item in enumerate(self._journal.replay(), start=1):  # 2; a line is one reply
            # Verified first: only an undamaged reply can be another list's.
            try:
                self._verifier.verify(item.method, item.request, item.reply)
            except InvalidReceipt as error:
                if error.problem.verdict is not Verdict.UNCHECKED and error.problem is not ReceiptProblem.KEY_RETIRED:
                    raise damaged_line(self.receipts, number, str(error)) from None
                raise BulkCheckError(
                    f"{self.receipts}, line {number}: can't be verified: {error}; or the line is damaged"
                ) from None
            key = canonical(item.request)
            if item.method != self._question.method or key not in self._answers:
                raise BulkCheckError(f"{self.receipts}, line {number}: holds a reply for another list")
            answer = Answer.from_reply(item.reply)
            self.answered += self._answers[key] is None
            self._answers[key] = answer
            self.oldest = min(self.oldest or answer.answered_at, answer.answered_at)
            if self.answered % 1000 == 0:
                progress(self.answered)
        self.earlier = self.answered

    async def ask(
        self, address: str, identity: ClientIdentity, options: BulkOptions, progress: Progress
    ) -> Stop | None:
        """Call the service at *address* for every unanswered request; return why the run stopped early, or None.

        Raises:
            KeyFileError: the certificate can't be used.
            OSError: a file can't be read.
        """
        own = OwnCall(identity.organization_id(), self._clock.micros())
        async with AsyncExitStack() as stack:
            channels = aio_connections(address, identity, -(-options.window // CALLS_PER_CONNECTION))
            for channel in channels:
                await stack.enter_async_context(channel)
            calls = [
                grpc_call(
                    partial(
                        channel.unary_unary(f"/{self._question.method}"),
                        timeout=options.timeout,
                        metadata=(*options.metadata, *own.metadata),
                    )
                )
                for channel in channels
            ]
            self._caller = BulkCaller(
                calls,
                window=options.window,
                idle_timeout=options.idle_timeout,
                on_reply=partial(self._on_reply, own),
                on_refusal=self._reasons.__setitem__,
            )
            if options.deadline is not None:
                passed = Stop(StopReason.DEADLINE, "the deadline has passed")
                timer = asyncio.get_running_loop().call_at(options.deadline, self.stop, passed)
                stack.callback(timer.cancel)
                if options.deadline <= time.monotonic():
                    self.stop(passed)
            return await self._run(self._caller, progress)

    def stop(self, stop: Stop) -> None:
        """Start no more calls, and wait for those in progress."""
        if self._caller:
            self._caller.stop(stop)

    def write_out(self, stop: Stop | None, changes: Changes | None = None) -> Summary:
        """Write one answer row for every row of the list, then replace the answers of the previous run.

        With *changes* each answered row states what would be answered now.

        Raises:
            BulkCheckError: the list was changed during the run.
        """
        summary = Summary()
        with open_atomic(self.out, encoding="utf-8", newline="", durable=True) as file:
            columns = (*self._question.output_columns, *(CHANGES if changes else ()))
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            for row in read_rows(self._source, self._question, self._now):  # 4
                output = self._output(row, stop, changes)
                summary.count(output, self._question.counted)
                writer.writerow({name: spreadsheet_cell(value) for name, value in output.items()})
            if _digest(self._source) != self._digest:
                raise BulkCheckError(f"{self._source} was changed during the run; restore it and start again")
        return summary

    def close(self) -> None:
        """Close the journal, so that another process can open it."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _run(self, caller: BulkCaller, progress: Progress) -> Stop | None:
        try:
            async with asyncio.TaskGroup() as group:
                syncing = group.create_task(self._sync_periodically(progress))
                stop = await caller.run(self._unanswered())  # 3
                syncing.cancel()
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        self._journal.sync()
        return stop

    async def _sync_periodically(self, progress: Progress) -> None:
        while True:
            progress(self.answered)
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(self._journal.sync)

    def _unanswered(self) -> Iterator[bytes]:
        return (request for request, answer in self._answers.items() if answer is None)

    def _on_reply(self, own: OwnCall, key: bytes, wire: bytes) -> Stop | None:
        request = self._question.request.FromString(key)
        try:
            reply = self._question.reply.FromString(wire)
            answer = self._verify(own, request, reply)
        except (DecodeError, InvalidReceipt) as error:
            self._reasons[key] = f"UNPROVEN: {error}"
            return Stop(StopReason.UNPROVEN, f"a reply failed verification: {error}")
        self._journal.append(ReceiptRecord(self._question.method, request, reply))
        self._answers[key] = answer
        self._reasons.pop(key, None)
        self.answered += 1
        return None

    def _verify(self, own: OwnCall, request: Message, reply: Message) -> Answer:
        proven = self._verifier.verify(self._question.method, request, reply)
        own.check(proven.entry, self._clock.micros(), CLOCK_TOLERANCE)
        return Answer.from_reply(reply)

    def _output(self, row: Row, stop: Stop | None, changes: Changes | None) -> dict[str, Any]:
        if (request := row.request) is None:
            return self._question.unanswered(row, row.problem)
        row = self.rounding.judge(row)
        # A list that was changed may hold requests that were never read; write_out detects that at its end.
        if answer := self._answers.get(request):
            question = self._question
            return question.answered_since(row, answer, changes) if changes else question.answered(row, answer)
        not_called = f"UNASKED: {stop.message if stop else 'the list was changed'}"
        return self._question.unanswered(row, self._reasons.get(request, not_called))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
