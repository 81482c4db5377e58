"""A recording service put together: the desk in front, the batch behind it, the store and its ledger at the back."""

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
from estelam.ledger.writer import LedgerWriter, last_block_time
from estelam.pipeline.batcher import Batcher, BatchLimits
from estelam.pipeline.handler import InquiryHandler
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.recorder import BatchedBackend, InquiryRecorder, Lookup
from estelam.server.catalogue_audit import record_changes, watch_catalogue
from estelam.server.grpc_server import Server, run_server
from estelam.storage.migrate import check_schema
from estelam.storage.store import AccessMode, Store
from estelam.telemetry.metrics import Metrics


@contextlib.asynccontextmanager
async def run_recording_service(
    settings: StoreSettings, questions: Mapping[Method, Lookup], *, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """A running service that answers *questions* from its own store and writes each answer down.

    Raises:
        StoreError, KeyFileError, AccessError, ServerError: what keeps it from starting.
    """
    clock = clock or monotonic_wall_clock(Clock())
    metrics = Metrics()
    source = AccessSource(settings.access)
    authorizer, outages = Authorizer(source, clock), OutageSchedule(settings.outages, clock)
    keyring = HmacKeyring.load(settings.hmac_keyring)
    ledger = LedgerWriter(keyring=keyring, signer=SigningKey.load(settings.signing_key), clock=clock)
    store = Store(settings.store, ledger=AccessMode.WRITE)
    check_schema(store, settings.MIGRATIONS)
    with store.single_writer_lock(), contextlib.closing(store):
        with store.transaction() as connection:
            last_sealed = last_block_time(connection)
        registrar = InquiryRecorder(
            store=store,
            ledger=ledger,
            keyring=keyring,
            look_ups={method.name: look_up for method, look_up in questions.items()},
            max_staleness=settings.max_staleness,
            clock=clock,
            last_sealed=last_sealed,
        )
        limits = BatchLimits(settings.batch_size, settings.batch_queue)
        batch: Batcher[Inquiry, Answer | Refusal] = Batcher(registrar.answer_batch, limits, observe=metrics.batch)
        desk = InquiryHandler(
            authenticator=Authenticator(settings, barred=authorizer.is_denied, clock=clock),
            authorizer=authorizer,
            outages=outages,
            backend=BatchedBackend(batch),
            metrics=metrics,
            clock=clock,
            request_timeout_seconds=settings.request_timeout_seconds,
            refusal_record_quota=refusal_record_quota(settings),
        )
        handlers = {method.name: desk.handler(method) for method in questions}
        noting = watch_catalogue(
            authorizer, source, lambda catalogue: batch.run_exclusive(partial(record_changes, store, ledger, catalogue))
        )
        following = asyncio.create_task(noting)
        try:
            ping = partial(batch.run_exclusive, registrar.ping)
            async with run_server(settings, handlers, metrics=metrics, ping=ping, outages=outages) as server:
                yield server
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await batch.close()


def refusal_record_quota(settings: ServingSettings) -> Quota:
    """How many refusals of one caller are recorded."""
    return Quota(rate=settings.refusal_record_rate_per_second, burst=settings.refusal_record_burst)
