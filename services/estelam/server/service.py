"""A recording service put together: the desk in front, the batch behind it, the store and its ledger at the back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial

from estelam.auth.authentication import Doorkeeper
from estelam.auth.authorization import Access
from estelam.auth.grants import Quota
from estelam.core.clock import Clock, steady
from estelam.core.errors import Refusal
from estelam.core.keys import Keyring, Signer
from estelam.core.model import Answered, Inquiry, Method
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.ledger.writer import Ledger, when_last_sealed
from estelam.pipeline.batcher import Batch, BatchLimits
from estelam.pipeline.handler import Desk
from estelam.pipeline.outages import Outages
from estelam.pipeline.recorder import LookUp, RecordedAnswers, Registrar
from estelam.server.catalogue_audit import follow, note
from estelam.server.grpc_server import Server, running
from estelam.storage.store import Mode, Store, check_schema
from estelam.telemetry.metrics import Metrics


@contextlib.asynccontextmanager
async def recording_service(
    settings: StoreSettings, questions: Mapping[Method, LookUp], *, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """A running service that answers *questions* from its own store and writes each answer down.

    Raises:
        StoreError, KeyFileError, AccessError, ServerError: what keeps it from starting.
    """
    clock = clock or steady(Clock())
    metrics = Metrics()
    access, outages = Access(settings.access, clock), Outages(settings.outages, clock)
    keyring = Keyring.load(settings.subject_keys)
    ledger = Ledger(keyring=keyring, signer=Signer.load(settings.signing_key), clock=clock)
    store = Store(settings.store, ledger=Mode.WRITE)
    check_schema(store, settings.MIGRATIONS)
    with store.sole_owner(), contextlib.closing(store):
        with store.transaction() as connection:
            last_sealed = when_last_sealed(connection)
        registrar = Registrar(
            store=store,
            ledger=ledger,
            keyring=keyring,
            look_ups={method.name: look_up for method, look_up in questions.items()},
            max_staleness=settings.max_staleness,
            clock=clock,
            last_sealed=last_sealed,
        )
        limits = BatchLimits(settings.batch_size, settings.batch_queue)
        batch: Batch[Inquiry, Answered | Refusal] = Batch(registrar.settle, limits, observe=metrics.batch)
        desk = Desk(
            door=Doorkeeper(settings, barred=access.barred, clock=clock),
            access=access,
            outages=outages,
            counter=RecordedAnswers(batch),
            metrics=metrics,
            clock=clock,
            answer_seconds=settings.answer_seconds,
            refusals=refusal_budget(settings),
        )
        handlers = {method.name: desk.handler(method) for method in questions}
        noting = follow(access, lambda catalogue: batch.aside(partial(note, store, ledger, catalogue)))
        following = asyncio.create_task(noting)
        try:
            ping = partial(batch.aside, registrar.ping)
            async with running(settings, handlers, metrics=metrics, ping=ping, outages=outages) as server:
                yield server
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await batch.close()


def refusal_budget(settings: ServingSettings) -> Quota:
    """How many refusals of one caller are recorded."""
    return Quota(rate=settings.refusals_per_second, burst=settings.refusals_burst)
