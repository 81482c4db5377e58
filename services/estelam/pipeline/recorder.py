"""Steps 5 and 6 of the pipeline, for a batch of inquiries: look up and record, in one transaction.

Only what depends on the ledger's last commit is done under the append lock: to read the last checkpoint, number and
sign the entries, insert them and commit. Look-ups, keyed hashes and the entries' bytes come before. Under the lock the
basis of the answers is read again, and if it has changed, the look-ups are repeated (`estelam.ledger.basis`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import structlog
from google.protobuf.message import Message
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils import UUID

from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import problem
from estelam.core.keys import HmacKeyring
from estelam.core.model import Answer, Inquiry, LookupResult, NegativeAnswerPermit
from estelam.ledger import loads, lost_loads, recall_runs, search
from estelam.ledger.basis import Basis
from estelam.ledger.confirmations import ProvenCommits
from estelam.ledger.writer import Appended, EntryDraft, LedgerWriter, Prepared
from estelam.pipeline.batcher import Batcher
from estelam.pipeline.failure_log import FailureLog
from estelam.receipts.receipt import with_receipt
from estelam.storage import coverage
from estelam.storage.base import LostCommitsError
from estelam.storage.coverage import Coverage
from estelam.storage.store import Store, StoreError
from estelam.telemetry.metrics import Metrics

log = structlog.get_logger()


@dataclass(frozen=True)
class LookupContext:
    """What a look-up may use: the store, and the check that a NO must pass."""

    connection: Connection
    read_coverage: Callable[[], Coverage | None]
    keyring: HmacKeyring
    now: datetime
    max_staleness: timedelta
    last_sealed: datetime
    """The time of the ledger's last checkpoint at the start of the service."""
    commits: ProvenCommits
    """Proves the entries that confirm an inquiry."""

    @cached_property
    def coverage(self) -> Coverage | None:
        """The declared coverage. Read after a look-up, it shares that one's round trip."""
        return self.read_coverage()

    @property
    def clock_is_behind(self) -> bool:
        """Whether the clock is behind the ledger's last checkpoint, so that no age of data can be computed."""
        return self.last_sealed > self.now + CLOCK_TOLERANCE

    def no_or_refusal(self, reply: Message) -> LookupResult | Refusal:
        """Return NO if the data covers the question and is fresh (a NO must be earned); else the refusal."""
        permit = self.permit_or_refusal()
        return permit if isinstance(permit, Refusal) else LookupResult.no(reply, permit)

    def permit_or_refusal(self) -> NegativeAnswerPermit | Refusal:
        """Return the permit to say that nothing was found, if the data is known to be complete and fresh."""
        if self.clock_is_behind:
            return Refusal(Reason.CLOCK_BEHIND)
        try:
            return coverage.require_coverage(self.coverage, now=self.now, max_staleness=self.max_staleness)
        except Refusal as refusal:
            return refusal.with_traceback(None)  # which keeps everything of this batch


Lookup = Callable[[LookupContext, Sequence[Inquiry]], Sequence[LookupResult | Refusal]]
"""Looks up many inquiries of one method at once: a result or a refusal for each, in order."""


class _Undecided(NamedTuple):
    """A batch of which it is not known whether it is committed. Nothing is computed of it before that is needed."""

    inquiries: Sequence[Inquiry]
    appended: Appended

    @property
    def by_index(self) -> dict[int, Inquiry]:
        """The inquiry of each entry, by the index that the entry has if it is committed."""
        return dict(zip(self.appended.leaves, self.inquiries, strict=True))


class InquiryRecorder:
    """Answers inquiries and records them. An unrecorded answer can't be sent: only the ledger makes receipts.

    *on_commit* gets the checkpoint of each commit before its answers leave, and must not raise an exception.
    """

    def __init__(
        self,
        *,
        store: Store,
        ledger: LedgerWriter,
        keyring: HmacKeyring,
        lookups: Mapping[str, Lookup],
        feeds: Collection[str],
        max_staleness: timedelta,
        clock: Clock,
        last_sealed: datetime,
        on_commit: Callable[[str], None] = lambda _note: None,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._keyring = keyring
        self._lookups = lookups
        self._feeds = feeds
        self._max_staleness = max_staleness
        self._clock = clock
        self._last_sealed = last_sealed
        self._on_commit = on_commit
        self._metrics = metrics or Metrics()
        self._metrics.set_max_age(max_staleness.total_seconds())
        self._commits = ProvenCommits(ledger.verify)
        self._facts = lost_loads.FactsCheck()
        self._failures = FailureLog(clock.monotonic)
        self._lost: list[lost_loads.NotedLoad] = []  # as last logged
        # The commit whose outcome is not known, until what it wrote is annulled.
        self._undecided: _Undecided | None = None

    def answer_batch(self, inquiries: Sequence[Inquiry]) -> list[Answer | Refusal]:
        """Look up and record *inquiries* in one transaction; return an answer or a refusal for each, in order.

        Any fault makes all of them refusals.
        """
        try:
            self._annul_undecided()
            return self._answer_batch(inquiries)
        except Exception as error:  # noqa: BLE001 - on any fault no inquiry gets an answer
            refusal = refusal_for(error)
            if (unlogged := self._failures.unlogged("batch.failed", error)) is not None:
                log.error(
                    "batch.failed",
                    reason=refusal.reason,
                    error=type(error).__name__,
                    problem=problem(error),
                    inquiries=len(inquiries),
                    unlogged=unlogged,
                )
        # Not while the error is handled: its traceback refers to what may hold a lock on the store.
        self._record_failure(inquiries, refusal)
        return [refusal] * len(inquiries)

    def _answer_batch(self, inquiries: Sequence[Inquiry]) -> list[Answer | Refusal]:
        began = self._clock.monotonic()
        with self._store.append() as connection:
            lock_wait = self._clock.monotonic() - began  # where the transaction begins with the lock
            read_basis = self._ledger.start_basis(connection)
            results, prepared = self._prepare(connection, read_basis, inquiries)  # 5 look up
            locking = self._clock.monotonic()
            self._store.lock(connection)
            lock_wait += self._clock.monotonic() - locking
            head = self._ledger.start_head(connection, len(inquiries))
            while (
                not self._store.locks_at_begin
                and (read_again := self._ledger.start_basis(connection))() != read_basis()
            ):
                read_basis = read_again
                results, prepared = self._prepare(connection, read_basis, inquiries)
            appended = self._ledger.append(connection, prepared, head)  # 6 record
            self._undecided = _Undecided(inquiries, appended)
            committing = self._clock.monotonic()
        self._metrics.record_store_times(lock_wait=lock_wait, commit=self._clock.monotonic() - committing)
        self._ledger.keep_committed(appended.tree.size, appended.note)
        self._on_commit(appended.note)
        answers = [
            Answer(result.outcome, with_receipt(type(result.reply), record.reply, receipt))
            if isinstance(result, LookupResult)
            else result
            for result, record, receipt in zip(results, prepared.records, appended.receipts(), strict=True)
        ]
        self._undecided = None
        return answers

    def _prepare(
        self, connection: Connection, read_basis: Callable[[], Basis], inquiries: Sequence[Inquiry]
    ) -> tuple[list[LookupResult | Refusal], Prepared]:
        results = self._look_up(connection, lambda: read_basis().coverage(self._feeds), inquiries)
        basis = read_basis()
        lost = self._facts.lost(connection, basis)
        if lost:
            results = [inquiry.refusal or Refusal(Reason.DATA_STALE) for inquiry in inquiries]
        drafts = [
            EntryDraft(inquiry, result.outcome, result.reply)
            if isinstance(result, LookupResult)
            else EntryDraft(inquiry, result.reason)
            for inquiry, result in zip(inquiries, results, strict=True)
        ]
        notes = [] if lost else loads.unnoted(connection, basis)
        return results, self._ledger.prepare(basis, drafts, notes=notes)

    def note_facts(self) -> None:
        """Note the loads and the runs of recall that the ledger has not noted, unless the facts lack noted loads."""
        with self._store.transaction() as connection:
            self._ledger.check_continuity(connection)
            basis = self._ledger.start_basis(connection)()
            lost = self._facts.lost(connection, basis)
            noted_loads = [] if lost else loads.unnoted(connection, basis)
            noted_recalls = recall_runs.unnoted(connection)
            if notes := [*noted_loads, *noted_recalls]:
                self._ledger.append_at_once(connection, notes=notes)
        self._log_lost(lost)
        declared = basis.coverage(self._feeds)
        self._metrics.set_complete_until(declared.as_of.timestamp() if declared else 0)
        if notes:
            newest = basis.newest_load
            log.info(
                "facts.noted", loads=len(noted_loads), newest_load=newest and newest.number, recalls=len(noted_recalls)
            )

    def _log_lost(self, lost: list[lost_loads.NotedLoad]) -> None:
        """Log, once for each change, what the facts lack of the loads that the ledger notes."""
        if lost == self._lost:
            return
        self._lost = lost
        if lost:
            log.error("facts.outdated", error=lost_loads.describe(lost))
        else:
            log.info("facts.complete")

    def _look_up(
        self, connection: Connection, read_coverage: Callable[[], Coverage | None], inquiries: Sequence[Inquiry]
    ) -> list[LookupResult | Refusal]:
        context = LookupContext(
            connection,
            read_coverage,
            self._keyring,
            self._clock.now(),
            self._max_staleness,
            self._last_sealed,
            self._commits,
        )
        found: dict[UUID, LookupResult | Refusal] = {i.id: i.refusal for i in inquiries if i.refusal}
        for name, lookup in self._lookups.items():
            if group := [i for i in inquiries if i.method.name == name and not i.refusal]:
                found.update(zip((i.id for i in group), lookup(context, group), strict=True))
        return [found[inquiry.id] for inquiry in inquiries]

    def _record_failure(self, inquiries: Sequence[Inquiry], refusal: Refusal) -> None:
        """Record that *inquiries* got *refusal*, and annul everything that a commit of unknown outcome wrote."""
        try:
            with self._store.transaction() as connection:
                written = self._written(connection)
                drafts = [
                    EntryDraft(i, (i.refusal or refusal).reason, annuls=written.pop(str(i.id), None)) for i in inquiries
                ]
                self._ledger.append_at_once(connection, [*drafts, *self._annulments(written)])
            self._undecided = None
        except Exception as error:  # noqa: BLE001 - the callers get the refusal, recorded or not
            if (unlogged := self._failures.unlogged("failure.unrecorded", error)) is not None:
                log.error(
                    "failure.unrecorded",
                    error=type(error).__name__,
                    problem=problem(error),
                    inquiries=len(inquiries),
                    unlogged=unlogged,
                )

    def finish(self) -> None:
        """After the last batch, try once more to annul what a commit of unknown outcome wrote; nobody else knows it."""
        try:
            self._annul_undecided()
        except Exception as error:  # noqa: BLE001 - the process ends, with or without the annulments
            inquiry_ids = [str(inquiry.id) for inquiry in self._undecided.inquiries] if self._undecided else []
            log.error(
                "undecided.abandoned", error=type(error).__name__, problem=problem(error), inquiry_ids=inquiry_ids
            )

    def _annul_undecided(self) -> None:
        """Annul what a commit of unknown outcome wrote, where that could not be recorded at once."""
        if not self._undecided:
            return
        with self._store.transaction() as connection:
            if drafts := self._annulments(self._written(connection)):
                self._ledger.append_at_once(connection, drafts)
        self._undecided = None

    def _annulments(self, written: Mapping[str, int]) -> list[EntryDraft]:
        """Return the drafts that annul *written*: the indexes of undecided inquiries' entries, by inquiry id."""
        by_index = self._undecided.by_index if self._undecided else {}
        return [
            EntryDraft(inquiry, (inquiry.refusal or Refusal(Reason.STORE_UNAVAILABLE)).reason, annuls=index)
            for index in written.values()
            for inquiry in [by_index[index]]
        ]

    def _written(self, connection: Connection) -> dict[str, int]:
        """Return the indexes of the undecided inquiries' entries that are in the ledger, by inquiry id."""
        # Read under the append lock, which the other transaction no longer holds: its outcome is decided.
        if not self._undecided:
            return {}
        by_index = self._undecided.by_index
        return {
            str(by_index[index].id): index for index in search.committed(connection, self._undecided.appended.leaves)
        }

    def ping(self) -> None:
        """Raise an error unless the store can be read, the ledger can be continued and the signing key is valid."""
        self._store.ping()
        try:
            self._annul_undecided()
            self.note_facts()
        except LostCommitsError:
            raise
        except Exception as error:  # noqa: BLE001 - the next inquiry or ping notes them
            if (unlogged := self._failures.unlogged("facts.note_failed", error)) is not None:
                log.error("facts.note_failed", error=type(error).__name__, problem=problem(error), unlogged=unlogged)
        self._ledger.check_signing_key()


def refusal_for(error: BaseException) -> Refusal:
    """Return *error* if it is a Refusal; else STORE_UNAVAILABLE for errors of the store, SERVICE_FAILED for others."""
    if isinstance(error, Refusal):
        return error
    from_store = isinstance(error, SQLAlchemyError | StoreError | OSError)
    return Refusal(Reason.STORE_UNAVAILABLE if from_store else Reason.SERVICE_FAILED)


class BatchedBackend:
    """The backend of a service with a store: submits each inquiry to the batcher."""

    def __init__(self, batcher: Batcher[Inquiry, Answer | Refusal]) -> None:
        self._batcher = batcher

    def answer(
        self, inquiry: Inquiry, seconds: float, done: Callable[[Answer | Exception], None]
    ) -> Callable[[], None]:
        """Pass the recorded answer to *inquiry* to *done*, or the Refusal or error in its place; see the pipeline.

        Raises:
            Refusal: OVERLOADED.
        """
        return self._batcher.submit(inquiry, seconds, done, inquiry.caller.organization_id).abandon

    def record_refusal(self, inquiry: Inquiry, seconds: float, done: Callable[[Refusal | None], None]) -> None:
        """Record the refusal of *inquiry* within *seconds*; pass None to *done*, or the Refusal that tells why not.

        Raises:
            Refusal: OVERLOADED.
        """

        def recorded(result: Answer | Exception) -> None:
            done(None if result is inquiry.refusal else refusal_for(result) if isinstance(result, Exception) else None)

        self._batcher.submit(inquiry, seconds, recorded, inquiry.caller.organization_id)
