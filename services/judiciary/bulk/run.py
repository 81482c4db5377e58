"""A bank's whole list asked about through the mandated method: interrupted as often as need be, nothing asked in vain.

The journal of proven replies is the truth, and the answers are written out from it, row for row, at the end of each
run: no row can stand there as answered that has no receipt. What a sweep does:

1 read the list, 2 take up what was answered before, each receipt proven again, 3 ask what is left, each reply proven
before it is kept, 4 write the answers out.
"""

import asyncio
import csv
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from google.protobuf.message import DecodeError

from estelam.client.bulk import BulkCaller, BulkRequest, Stop, StopReason, UnaryCall
from estelam.client.channel import ClientIdentity, aio_connections
from estelam.core.exceptions import UserFacingError
from estelam.core.files import open_atomic
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.receipts.archive import ReceiptRecord
from estelam.receipts.journal import ReceiptJournal
from estelam.receipts.receipt import InvalidReceipt, Verifier
from judiciary.bulk import rows
from judiciary.bulk.rows import COLUMNS, NO, UNANSWERED, Certificate, VerifiedAnswer
from judiciary.methods import CHECK_BY_TRACKING_ID

METHOD = CHECK_BY_TRACKING_ID.name
CALLS_PER_CONNECTION = 32
"""A server lets each connection have so many calls under way and resets what lies beyond; this is well below."""
SYNC_SECONDS = 0.5

Progress = Callable[[int], None]


class BulkCheckError(UserFacingError):
    """The sweep can't begin or go on; nothing is lost. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How to ask."""

    window: int = 128
    """Calls under way at a time, at most."""
    timeout: float = 5.0
    """Seconds that one call may take."""
    idle_timeout: float = 30.0
    """Seconds without any reply after which no more is asked."""
    deadline: float | None = None
    """The monotonic instant from which on no more is asked in any case."""
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Summary:
    """The rows as they were written out."""

    rows: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    no_by_standing: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, row: dict[str, Any]) -> None:
        """Take *row* in."""
        self.rows += 1
        self.answers[row["answer"]] += 1
        if row["answer"] == NO:
            self.no_by_standing[row["standing"]] += 1
        if row["answer"] == UNANSWERED:
            self.reasons[row["reason"]] += 1


class BulkCheck:
    """One list, its answers and its journal; open for one process at a time."""

    def __init__(self, source: Path, out: Path, verifier: Verifier) -> None:
        self._source, self.out, self._verifier = source, out, verifier
        self._digest = _digest(source)
        # A tracking id that stands twice is asked once.
        self._answers: dict[str, VerifiedAnswer | None] = {  # 1
            found.tracking_id: None for found in rows.read_certificates(source) if found.tracking_id is not None
        }
        self._reasons: dict[str, str] = {}
        self._pipeline: BulkCaller | None = None
        self.answered = 0
        self.receipts = out.with_name(f"{out.name}.receipts.jsonl")
        if out.exists() and not self.receipts.exists():
            raise BulkCheckError(f"{out} is there already and is no sweep's; give another --out")
        self._journal = ReceiptJournal(self.receipts, input_digest=self._digest)

    @property
    def distinct(self) -> int:
        """How many tracking ids there are to ask about."""
        return len(self._answers)

    def resume(self, progress: Progress) -> None:
        """Learn what was answered before.

        Raises:
            JournalError: the journal is damaged.
            BulkCheckError: it holds a reply that is not of this list or not proven.
        """
        for item in self._journal.replay():  # 2
            key = getattr(item.request, "tracking_id", None)
            if item.method != METHOD or key not in self._answers:
                raise BulkCheckError(f"{self.receipts} holds a reply that is not of this list")
            try:
                answer = self._prove(item.request, item.reply)
            except InvalidReceipt as error:
                raise BulkCheckError(f"{self.receipts} holds a reply that is not proven: {error}") from None
            self.answered += self._answers[key] is None
            self._answers[key] = answer
            if self.answered % 1000 == 0:
                progress(self.answered)

    async def ask(self, address: str, identity: ClientIdentity, manner: BulkOptions, progress: Progress) -> Stop | None:
        """Ask *address* about what has no answer yet; returns why that ended early, if it did."""
        async with AsyncExitStack() as stack:
            channels = aio_connections(address, identity, -(-manner.window // CALLS_PER_CONNECTION))
            for channel in channels:
                await stack.enter_async_context(channel)
            asks: list[UnaryCall] = [
                partial(channel.unary_unary(f"/{METHOD}"), timeout=manner.timeout, metadata=manner.metadata)
                for channel in channels
            ]
            self._pipeline = BulkCaller(
                asks,
                window=manner.window,
                idle_timeout=manner.idle_timeout,
                on_reply=self._take,
                on_refusal=self._reasons.__setitem__,
            )
            if manner.deadline is not None:
                passed = Stop(StopReason.DEADLINE, "the deadline has passed")
                timer = asyncio.get_running_loop().call_at(manner.deadline, self.stop, passed)
                stack.callback(timer.cancel)
                if manner.deadline <= time.monotonic():
                    self.stop(passed)
            return await self._run(self._pipeline, progress)

    def stop(self, stop: Stop) -> None:
        """Ask no more, and wait for what is under way."""
        if self._pipeline:
            self._pipeline.stop(stop)

    def write_out(self, stop: Stop | None) -> Summary:
        """Write a row for every row of the list; the answers of an earlier run stand until that is done.

        Raises:
            BulkCheckError: the list has changed meanwhile.
        """
        tally = Summary()
        with open_atomic(self.out, encoding="utf-8", newline="", durable=True) as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            for certificate in rows.read_certificates(self._source):  # 4
                row = self._row(certificate, stop)
                tally.count(row)
                writer.writerow(row)
            if _digest(self._source) != self._digest:
                raise BulkCheckError(f"{self._source} was changed during the sweep; put it back and start again")
        return tally

    def close(self) -> None:
        """Let another process have it."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _run(self, pipeline: BulkCaller, progress: Progress) -> Stop | None:
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(self._keep(progress))
                stop = await pipeline.run(self._questions())  # 3
                keeping.cancel()
        except BaseExceptionGroup as faults:
            raise faults.exceptions[0] from None
        self._journal.sync()
        return stop

    async def _keep(self, progress: Progress) -> None:
        while True:
            progress(self.answered)
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(self._journal.sync)

    def _questions(self) -> Iterator[BulkRequest]:
        for key, answer in self._answers.items():
            if answer is None:
                yield BulkRequest(key, pb.CheckByTrackingIdRequest(tracking_id=key).SerializeToString())

    def _take(self, key: str, wire: bytes) -> Stop | None:
        request = pb.CheckByTrackingIdRequest(tracking_id=key)
        try:
            reply = pb.CheckByTrackingIdResponse.FromString(wire)
            answer = self._prove(request, reply)
        except (DecodeError, InvalidReceipt) as error:
            self._reasons[key] = f"UNPROVEN: {error}"
            return Stop(StopReason.UNPROVEN, f"a reply is not proven: {error}")
        self._journal.append(ReceiptRecord(METHOD, request, reply))
        self._answers[key] = answer
        self._reasons.pop(key, None)
        self.answered += 1
        return None

    def _prove(self, request: Any, reply: Any) -> VerifiedAnswer:
        self._verifier.verify(METHOD, request, reply)
        answer = VerifiedAnswer.from_reply(reply)
        if answer.answer == NO and answer.covered_since is None:
            raise InvalidReceipt("a no that does not say what it covers")
        return answer

    def _row(self, certificate: Certificate, stop: Stop | None) -> dict[str, Any]:
        key = certificate.tracking_id
        if key is None:
            return rows.unanswered_row(certificate, certificate.problem)
        # A list that has changed may hold what was never read: that is found once it is read to its end.
        if answer := self._answers.get(key):
            return rows.answered_row(certificate, answer)
        unasked = f"UNASKED: {stop.message if stop else 'the list was changed'}"
        return rows.unanswered_row(certificate, self._reasons.get(key, unasked))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
