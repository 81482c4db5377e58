"""Steps 5 and 6 of an inquiry's course, for many at once: what is true, and writing it down, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from google.protobuf.message import Message
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils import UUID

from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import HmacKeyring
from estelam.core.model import Answer, Inquiry, LookupResult
from estelam.ledger.writer import EntryDraft, LedgerWriter
from estelam.pipeline.batcher import Batcher
from estelam.receipts.receipt import canonical
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.store import Store, StoreError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LookupContext:
    """What a look-up may see: one snapshot, and the right to say no if the data has earned it."""

    connection: Connection
    coverage: Coverage | None
    keyring: HmacKeyring
    now: datetime
    max_staleness: timedelta
    last_sealed: datetime
    """When the ledger's last block was sealed, as of the service's start."""

    @property
    def clock_is_behind(self) -> bool:
        """Whether the clock is known to be wrong, so that nobody can tell how much time has passed since anything."""
        return self.last_sealed > self.now + CLOCK_TOLERANCE

    def no_or_refusal(self, reply: Message) -> LookupResult | Refusal:
        """The finding NO if the data has earned it; else the refusal that takes its place."""
        if self.clock_is_behind:
            return Refusal(Reason.CLOCK_BEHIND)
        try:
            return LookupResult.no(
                reply, coverage.require_coverage(self.coverage, now=self.now, max_staleness=self.max_staleness)
            )
        except Refusal as refusal:
            return refusal


Lookup = Callable[[LookupContext, Sequence[Inquiry]], Sequence[LookupResult | Refusal]]
"""One question asked for many inquiries: a finding or a refusal for each, in their order."""


class InquiryRecorder:
    """Answers by looking up and recording. What was not recorded can't leave: only the ledger makes receipts."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: LedgerWriter,
        keyring: HmacKeyring,
        look_ups: Mapping[str, Lookup],
        max_staleness: timedelta,
        clock: Clock,
        last_sealed: datetime,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._keyring = keyring
        self._look_ups = look_ups
        self._max_staleness = max_staleness
        self._clock = clock
        self._last_sealed = last_sealed

    def answer_batch(self, inquiries: Sequence[Inquiry]) -> list[Answer | Refusal]:
        """Find and record *inquiries* in one transaction; each gets its answer or a refusal, in order.

        A fault anywhere gives all of them a refusal, never an answer.
        """
        try:
            return self._answer_batch(inquiries)
        except Exception as error:  # noqa: BLE001 - any fault at all means that nobody gets an answer
            fault = refusal_for(error)
            log.error("batch.failed", reason=fault.reason, error=type(error).__name__, inquiries=len(inquiries))
            self._record_fault(inquiries, fault)
            return [fault] * len(inquiries)

    def _answer_batch(self, inquiries: Sequence[Inquiry]) -> list[Answer | Refusal]:
        with self._store.transaction() as connection:
            found = self._look_up(connection, inquiries)  # 5 what is true
            lines = [
                EntryDraft(inquiry, finding.outcome, finding.reply)
                if isinstance(finding, LookupResult)
                else EntryDraft(inquiry, finding.reason)
                for inquiry, finding in zip(inquiries, found, strict=True)
            ]
            receipts = self._ledger.append(connection, lines)  # 6 write it down
        answers: list[Answer | Refusal] = []
        for finding, receipt in zip(found, receipts, strict=True):
            if isinstance(finding, LookupResult):
                finding.reply.receipt.CopyFrom(receipt)  # type: ignore[attr-defined]  # every reply has one, by test
                answers.append(Answer(finding.outcome, canonical(finding.reply)))
            else:
                answers.append(finding)
        return answers

    def _look_up(self, connection: Connection, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
        reading = LookupContext(
            connection,
            coverage.read_coverage(connection),
            self._keyring,
            self._clock.now(),
            self._max_staleness,
            self._last_sealed,
        )
        found: dict[UUID, LookupResult | Refusal] = {i.id: i.refusal for i in inquiries if i.refusal}
        for name, look_up in self._look_ups.items():
            if group := [i for i in inquiries if i.method.name == name and not i.refusal]:
                found.update(zip((i.id for i in group), look_up(reading, group), strict=True))
        return [found[inquiry.id] for inquiry in inquiries]

    def _record_fault(self, inquiries: Sequence[Inquiry], fault: Refusal) -> None:
        try:
            with self._store.transaction() as connection:
                self._ledger.append(connection, [EntryDraft(i, (i.refusal or fault).reason) for i in inquiries])
        except Exception as error:  # noqa: BLE001 - the callers get a refusal with or without a record of it
            log.error("fault.unrecorded", error=type(error).__name__, inquiries=len(inquiries))

    def ping(self) -> None:
        """Raise unless the store can be read."""
        self._store.ping()


def refusal_for(error: BaseException) -> Refusal:
    """The refusal that an unforeseen *error* becomes: the store's, or the service's own."""
    if isinstance(error, Refusal):
        return error
    stores = isinstance(error, SQLAlchemyError | StoreError | OSError)
    return Refusal(Reason.STORE_UNAVAILABLE if stores else Reason.SERVICE_FAILED)


class BatchedBackend:
    """The desk's counter where a store is kept: inquiries wait here for their turn in a batch."""

    def __init__(self, batch: Batcher[Inquiry, Answer | Refusal]) -> None:
        self._batch = batch

    async def answer(self, inquiry: Inquiry, seconds: float) -> Answer:
        """The recorded answer to *inquiry* within *seconds*, or a Refusal."""
        settled = await self._batch.submit(inquiry, seconds, inquiry.caller.organization_id)
        if isinstance(settled, Refusal):
            raise settled
        return settled

    async def record_refusal(self, inquiry: Inquiry, seconds: float) -> None:
        """Record *inquiry*'s refusal; if that can't be done, the Refusal says so."""
        settled = await self._batch.submit(inquiry, seconds, inquiry.caller.organization_id)
        if isinstance(settled, Refusal) and settled is not inquiry.refusal:
            raise settled
