"""Composition of a recording service: handler, batcher, recorder, store and ledger."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import Connection

from estelam.auth.authentication import Authenticator
from estelam.auth.authorization import Authorizer
from estelam.auth.grants import Quota
from estelam.auth.shared_buckets import rate_limiter
from estelam.catalogue.access_source import AccessSource
from estelam.catalogue.model import Catalogue
from estelam.client.webhooks import Receiver
from estelam.core.clock import Clock, monotonic_wall_clock
from estelam.core.errors import Refusal
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Answer, Inquiry, Method
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.ledger import kept, search
from estelam.ledger.key_use import require_same_keys
from estelam.ledger.recall import RecallSource
from estelam.ledger.tables import last_checkpoint, last_checkpoint_time
from estelam.ledger.writer import LedgerWriter
from estelam.pipeline.batcher import Batcher, BatchLimits
from estelam.pipeline.changed_answers import LIST_CHANGED_ANSWERS, list_changed_answers
from estelam.pipeline.handler import BackendWrapper, InquiryHandler
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.pacer import Pacer
from estelam.pipeline.recorder import BatchedBackend, InquiryRecorder, Lookup
from estelam.pipeline.timers import Timers
from estelam.rest.serving import run_json_api
from estelam.server.answer_comparison import compare_answers
from estelam.server.call_counting import count_calls
from estelam.server.catalogue_audit import record_changes, watch_catalogue
from estelam.server.change_webhooks import notify
from estelam.server.checkpoint_keeper import keep_checkpoint, keep_checkpoints, last_commit_writer
from estelam.server.grpc_server import run_server
from estelam.server.witnessing import submit_checkpoints
from estelam.storage.coverage import check_feeds
from estelam.storage.schema import check_schema
from estelam.storage.store import AccessMode, Store
from estelam.telemetry.metrics import Metrics
from estelam.telemetry.traces import tracing
from estelam.witness.client import WitnessClient

log = structlog.get_logger()

# How long a ping of the store may take before the service counts as unhealthy, and a hung store may hold up the end.
PING_SECONDS = 3.0
CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RecordingService:
    """A running service with a store."""

    port: int
    _store: Store

    def check_restart(self) -> None:
        """Check that another service can use the store once this one has shut down, in the same process.

        Raises:
            StoreError: its files were changed by something else, so that they can't be closed.
        """
        self._store.check_closable()


@contextlib.contextmanager
def run_recording_service(
    settings: StoreSettings,
    mandated: Mapping[Method, Lookup],
    facts: RecallSource,
    *,
    clock: Clock | None = None,
    wrap_backend: BackendWrapper = lambda backend, _timers: backend,
) -> Iterator[RecordingService]:
    """Run a service that answers each method from its store, by its look-up, and records each answer.

    Beside the *mandated* methods it lists to each caller its answers that loads have changed, by *facts*.

    *wrap_backend* may put a backend around the one that looks up and records.

    Raises:
        StoreError, KeyFileError, AccessConfigError, ServerError: the service can't start.
    """
    clock = clock or monotonic_wall_clock(Clock())
    metrics = Metrics()
    source = AccessSource.of(settings)
    lookups = {**mandated, LIST_CHANGED_ANSWERS: list_changed_answers}
    (service,) = {method.service for method in mandated}
    authorizer = Authorizer(source, clock)
    outages = OutageSchedule(settings.outages, clock, {LIST_CHANGED_ANSWERS.service: service})
    keyring = HmacKeyring.load(settings.hmac_keyring)
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates, settings.retired_keys)
    signer.check_validity(clock.micros())
    metrics.watch_expiry("signing", lambda: signer.expires_at)
    ledger = LedgerWriter(settings.SECTION, keyring=keyring, signer=signer, clock=clock)
    path, last_commit = kept.kept_path(settings), kept.last_commit_path(settings)
    on_changed_files = partial(_report_changed_files, metrics, path, ledger)
    store = Store(settings.store, ledger=AccessMode.WRITE, on_changed_files=on_changed_files)
    with (
        store.single_writer_lock(),
        contextlib.closing(store),
        contextlib.closing(Timers()) as timers,
        contextlib.ExitStack() as running,
    ):
        last_sealed, last_note = _checked_end(settings, store, keyring, signer, ledger)
        recorder = InquiryRecorder(
            store=store,
            ledger=ledger,
            keyring=keyring,
            lookups={method.name: lookup for method, lookup in lookups.items()},
            feeds=settings.feeds,
            max_staleness=settings.max_staleness,
            clock=clock,
            last_sealed=last_sealed,
            on_commit=running.enter_context(last_commit_writer(last_commit)),
            metrics=metrics,
        )
        if path:
            keep = partial(keep_checkpoints, settings.store, path, ledger)
            running.enter_context(_thread("checkpoint", keep))
        recorder.note_facts()
        batcher = _start_batcher(settings, recorder, timers, metrics)
        running.callback(_close, batcher, recorder)
        pacer = Pacer(timers, clock)
        authenticator = Authenticator(settings, is_denied=authorizer.is_denied, clock=clock)
        metrics.watch_files("access", authorizer.is_current)
        metrics.watch_files("outages", outages.is_current)
        inquiries = InquiryHandler(
            authenticator=authenticator,
            authorizer=authorizer,
            outages=outages,
            rate_limiter=rate_limiter(settings, clock),
            backend=wrap_backend(BatchedBackend(batcher), timers),
            pacer=pacer,
            metrics=metrics,
            clock=clock,
            request_timeout_seconds=settings.request_timeout_seconds,
            refusal_record_quota=refusal_record_quota(settings),
            tracing=running.enter_context(tracing(settings.SECTION, settings.traces, settings.traces_ratio)),
        )
        handlers = {method.name: inquiries.handler(method) for method in lookups}

        def record(catalogue: Catalogue) -> None:
            batcher.run_exclusive(partial(record_changes, store, ledger, catalogue), CLOSE_SECONDS)

        def write(work: Callable[[Connection], None]) -> None:
            batcher.run_exclusive(partial(_in_transaction, store, work), CLOSE_SECONDS)

        compare = partial(compare_answers, settings.store, write, keyring, facts, ledger, clock.monotonic)
        running.enter_context(_thread("comparison", compare))
        for webhook in settings.change_webhooks:
            to = webhook.caller, Receiver.of(webhook)
            notified = partial(notify, *to, settings.SECTION, settings.store, write, metrics.webhooks)
            running.enter_context(_thread(f"webhook {webhook.caller}", notified))
        running.enter_context(_thread("catalogue", partial(watch_catalogue, authorizer, source, record)))
        _start_witnesses(running, settings, write, last_note, metrics)
        calls = running.enter_context(count_calls(settings, metrics, clock))
        server = running.enter_context(
            run_server(
                settings,
                handlers,
                authenticator=authenticator,
                metrics=metrics,
                pacer=pacer,
                ping=partial(batcher.run_exclusive, recorder.ping, PING_SECONDS),
                outages=outages,
                calls=calls,
                batcher=batcher,
            )
        )
        running.enter_context(
            run_json_api(settings, lookups, inquiries, authenticator=authenticator, pacer=pacer, calls=calls)
        )
        yield RecordingService(server.port, store)


def _checked_end(
    settings: StoreSettings, store: Store, keyring: HmacKeyring, signer: SigningKey, ledger: LedgerWriter
) -> tuple[datetime, str | None]:
    """Check that *store* may be used; return the time and the note of its ledger's last checkpoint, which is kept.

    Raises:
        StoreError: it may not.
    """
    path, last_commit = kept.kept_path(settings), kept.last_commit_path(settings)
    check_schema(store, settings.MIGRATIONS)
    with store.transaction() as connection:
        check_feeds(connection, settings.feeds)
        require_same_keys(connection, keyring)
        if path and (found := kept.mismatch(connection, path, last_commit, signer.known_keys, ledger.origin)):
            raise found.refusal(settings.SECTION, path)
        last_sealed, last_note = last_checkpoint_time(connection), last_checkpoint(connection)
        if last_note:
            ledger.keep_committed(search.size(connection), last_note)
    if path and last_note:
        keep_checkpoint(path, last_note)
    return last_sealed, last_note


def _start_witnesses(
    running: contextlib.ExitStack,
    settings: StoreSettings,
    write: Callable[[Callable[[Connection], None]], None],
    last_note: str | None,
    metrics: Metrics,
) -> None:
    """Start a thread for each witness, which submits checkpoints to it; all get the last one at the same time."""
    ending = threading.Event()
    for witness in map(WitnessClient.of, settings.witnesses):
        submit = partial(
            submit_checkpoints,
            witness,
            settings.store,
            write,
            first=last_note,
            interval_seconds=settings.witness_interval_seconds,
            count_failure=metrics.record_witness_failure,
        )
        running.enter_context(_thread(f"witness {witness.key.name}", submit, ending))
    running.callback(ending.set)


def _start_batcher(
    settings: StoreSettings, recorder: InquiryRecorder, timers: Timers, metrics: Metrics
) -> Batcher[Inquiry, Answer | Refusal]:
    limits = BatchLimits(settings.batch_size, settings.batch_queue)
    batcher: Batcher[Inquiry, Answer | Refusal] = Batcher(
        recorder.answer_batch, limits, timers, observe=metrics.record_batch
    )
    metrics.watch_queue(lambda: batcher.waiting, settings.batch_queue)
    return batcher


def _report_changed_files(metrics: Metrics, path: Path | None, ledger: LedgerWriter, change: str | None) -> None:
    if change is None:
        log.info("store.files_restored")
    else:
        log.error("store.files_changed", change=change)
        if path and ledger.committed_note:  # at once: the process may end, and the next one would not miss the answers
            keep_checkpoint(path, ledger.committed_note)
    metrics.set_changed_files(changed=change is not None)


def _in_transaction(store: Store, work: Callable[[Connection], None]) -> None:
    with store.transaction() as connection:
        work(connection)


def _close(batcher: Batcher[Inquiry, Answer | Refusal], recorder: InquiryRecorder) -> None:
    if batcher.close(CLOSE_SECONDS):
        recorder.finish()


@contextlib.contextmanager
def _thread(
    name: str, run: Callable[[threading.Event], None], stopping: threading.Event | None = None
) -> Iterator[None]:
    """Run *run* in a thread, until the context ends and the event passed to it is set; wait for it for a while."""
    stopping = stopping or threading.Event()
    thread = threading.Thread(target=run, args=(stopping,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(CLOSE_SECONDS)


def refusal_record_quota(settings: ServingSettings) -> Quota:
    """Return the limit on recorded refusals of one caller."""
    return Quota(rate=settings.refusal_record_rate_per_second, burst=settings.refusal_record_burst)
