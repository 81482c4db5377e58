"""How long a full batch holds the append lock, which bounds all workers of a service together."""

import gc
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uuid_utils
from sqlalchemy import Connection

from development.sandbox import ORGANIZATIONS
from estelam.core.clock import Clock, to_datetime
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Answer, Caller, Inquiry
from estelam.ledger.writer import LedgerWriter
from estelam.pipeline.recorder import InquiryRecorder
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.storage.store import AccessMode, Store
from promissory.methods import CHECK_NOTE, lookups
from promissory.settings import PromissorySettings
from tools.bench.datasets import notes
from tools.bench.environment import BenchEnvironment, Engine
from tools.bench.metric import Metric, at_most

BATCH = 128
WARM_UP = 20


class TimedStore(Store):
    """A store that measures how long the append lock is held, from sending the request for it to the end of COMMIT."""

    def __init__(self, url: str) -> None:
        super().__init__(url, ledger=AccessMode.WRITE)
        self.held: list[float] = []
        self._since = 0.0

    @contextmanager
    def append(self) -> Iterator[Connection]:
        """Run a transaction."""
        with super().append() as connection:
            yield connection
        self.held.append(time.perf_counter() - self._since)

    def lock(self, connection: Connection) -> None:
        """Take the lock, which nobody else holds."""
        self._since = time.perf_counter()
        super().lock(connection)


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Milliseconds for which one worker holds the lock for a batch of 128 CheckNote inquiries, on PostgreSQL."""
    settings = environment.with_notes(Engine.POSTGRESQL).promissory()
    with closing(TimedStore(settings.store)) as store:
        recorder = _recorder(settings, store)
        requests = [
            pb.CheckNoteRequest.FromString(note.as_message()) for note in notes.sample_requests(environment.scale.notes)
        ]
        # As the server does; the benchmark's own objects are many.
        gc.collect()
        gc.freeze()
        end = time.monotonic() + environment.scale.rounds * environment.scale.seconds
        for turn in range(1_000_000):
            if time.monotonic() > end and turn > 2 * WARM_UP:
                break
            _answer(recorder, [requests[(turn * BATCH + number) % len(requests)] for number in range(BATCH)])
    held = [1000 * seconds for seconds in store.held[WARM_UP:]]
    yield Metric(
        f"append lock held for a batch of {BATCH}, PostgreSQL",
        f"median of {len(held):,} batches, {min(held):.2f} at least: {BATCH / statistics.median(held):,.0f} thousand "
        "inquiries a second are the limit of one ledger",
        statistics.median(held),
        at_most(2),
        "{:,.2f} ms",
    )


def _recorder(settings: PromissorySettings, store: Store) -> InquiryRecorder:
    keyring = HmacKeyring.load(settings.hmac_keyring)
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
    return InquiryRecorder(
        store=store,
        ledger=LedgerWriter(settings.SECTION, keyring=keyring, signer=signer, clock=Clock()),
        keyring=keyring,
        lookups={method.name: lookup for method, lookup in lookups(settings).items()},
        feeds=settings.feeds,
        max_staleness=settings.max_staleness,
        clock=Clock(),
        last_sealed=to_datetime(0),
    )


def _answer(recorder: InquiryRecorder, requests: list[pb.CheckNoteRequest]) -> None:
    caller = Caller(ORGANIZATIONS["setad"])
    inquiries = [
        Inquiry(uuid_utils.uuid7(), CHECK_NOTE, caller, time.monotonic(), request=request) for request in requests
    ]
    answers = recorder.answer_batch(inquiries)
    if not all(isinstance(answer, Answer) for answer in answers):
        raise RuntimeError("an inquiry was refused")
