"""Composition of a recording service: handler, batcher, recorder, store and ledger."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial

from estelam.auth.authentication import Authenticator
from estelam.auth.authorization import Authorizer
from estelam.auth.grants import Quota
from estelam.catalogue.access_source import AccessSource
from estelam.core.clock import Clock, monotonic_wall_clock
from estelam.core.errors import Refusal
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Answer, Inquiry, Method
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.ledger.key_use import require_same_keys
from estelam.ledger.tables import last_block_time
from estelam.ledger.writer import LedgerWriter
from estelam.pipeline.batcher import Batcher, BatchLimits
from estelam.pipeline.handler import InquiryHandler
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.recorder import BatchedBackend, InquiryRecorder, Lookup
from estelam.server.catalogue_audit import record_changes, watch_catalogue
from estelam.server.grpc_server import Server, run_server
from estelam.storage.coverage import check_feeds
from estelam.storage.migrate import check_schema
from estelam.storage.store import AccessMode, Store
from estelam.telemetry.metrics import Metrics


@contextlib.asynccontextmanager
async def run_recording_service(
    settings: StoreSettings, lookups: Mapping[Method, Lookup], *, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """Run a service that answers each method from its store, by its look-up in *lookups*, and records each answer.

    Raises:
        StoreError, KeyFileError, AccessConfigError, ServerError: the service can't start.
    """
    clock = clock or monotonic_wall_clock(Clock())
    metrics = Metrics()
    source = AccessSource(settings.access)
    authorizer, outages = Authorizer(source, clock), OutageSchedule(settings.outages, clock)
    keyring = HmacKeyring.load(settings.hmac_keyring)
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates, settings.retired_keys)
    signer.check_validity(clock.micros())
    metrics.watch_expiry("signing", lambda: signer.expires_at)
    ledger = LedgerWriter(keyring=keyring, signer=signer, clock=clock)
    store = Store(settings.store, ledger=AccessMode.WRITE)
    check_schema(store, settings.MIGRATIONS)
    with store.single_writer_lock(), contextlib.closing(store):
        with store.transaction() as connection:
            check_feeds(connection, settings.feeds)
            require_same_keys(connection, keyring)
            last_sealed = last_block_time(connection)
        recorder = InquiryRecorder(
            store=store,
            ledger=ledger,
            keyring=keyring,
            lookups={method.name: lookup for method, lookup in lookups.items()},
            feeds=settings.feeds,
            max_staleness=settings.max_staleness,
            clock=clock,
            last_sealed=last_sealed,
        )
        recorder.note_facts()
        limits = BatchLimits(settings.batch_size, settings.batch_queue)
        batcher: Batcher[Inquiry, Answer | Refusal] = Batcher(
            recorder.answer_batch, limits, observe=metrics.record_batch
        )
        authenticator = Authenticator(settings, is_denied=authorizer.is_denied, clock=clock)
        if settings.revocation_lists:
            metrics.watch_expiry("revocation_list", authenticator.revocation.expires_at)
        inquiries = InquiryHandler(
            authenticator=authenticator,
            authorizer=authorizer,
            outages=outages,
            backend=BatchedBackend(batcher),
            metrics=metrics,
            clock=clock,
            request_timeout_seconds=settings.request_timeout_seconds,
            refusal_record_quota=refusal_record_quota(settings),
        )
        handlers = {method.name: inquiries.handler(method) for method in lookups}
        audit = watch_catalogue(
            authorizer,
            source,
            lambda catalogue: batcher.run_exclusive(partial(record_changes, store, ledger, catalogue)),
        )
        auditing = asyncio.create_task(audit)
        try:
            ping = partial(batcher.run_exclusive, recorder.ping)
            async with run_server(settings, handlers, metrics=metrics, ping=ping, outages=outages) as server:
                yield server
        finally:
            auditing.cancel()
            await asyncio.gather(auditing, return_exceptions=True)
            await batcher.close()
            recorder.finish()


def refusal_record_quota(settings: ServingSettings) -> Quota:
    """Return the limit on recorded refusals of one caller."""
    return Quota(rate=settings.refusal_record_rate_per_second, burst=settings.refusal_record_burst)
