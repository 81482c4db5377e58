"""Counts of what callers experienced: from the services' replies to the monitor's figures, each call once."""

import contextlib
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.addresses import SQLITE
from estelam.core.grpc_status import from_grpc
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.store import AccessMode, Store
from estelam.telemetry import call_journal
from quality import traffic_store
from quality.attribution import Attribution
from quality.evaluation.sli import measure_traffic
from quality.monitor import call_collector
from quality.records import Observation, SentCalls, Tally
from quality.settings import QualitySettings
from quality.slo import Sli
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.integration.quality.conftest import CHECK_NOTE, SETAD, QualityStore, tally
from tests.integration.quality.monitored_services import (
    MINISTRY,
    NOTES,
    monitor_rounds,
    settings_of,
    traffic,
    wait_until_healthy,
)
from tests.integration.quality.test_monitor import unused_address

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Counted:
    """A service that counts, and a monitor that reads what it counts."""

    sandbox: Sandbox
    address: str
    settings: QualitySettings

    def ask(self, times: int) -> Counter[str]:
        """Call CheckNote so many times at once; return the reasons of the refusals, an empty one for answers."""
        with plain_channel(self.address, ClientIdentity.named(self.sandbox.pki, "setad")) as channel:
            stub = PromissoryNoteInquiryServiceStub(channel)

            def once(_: int) -> str:
                try:
                    stub.CheckNote(NOTE, timeout=30)
                except grpc.RpcError as error:
                    refusal = from_grpc(error)
                    return refusal.reason if refusal else ""
                return ""

            with ThreadPoolExecutor(times) as pool:
                return Counter(pool.map(once, range(times)))

    def collected(self, calls: int) -> Tally:
        """What the monitor has of CheckNote once it has collected so many calls."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            call_collector.collect_calls(self.settings.store, self.settings.metrics[NOTES], NOTES, MINISTRY)
            found = traffic(self.settings).get(("CheckNote", SETAD), Tally())
            if found.total >= calls:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{found.total} of {calls} calls")


@pytest.fixture
def counted(
    loaded: Sandbox, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Counted:
    """A service that writes what it counts at once; the parameter overrides its settings."""
    monkeypatch.setattr(call_journal, "FLUSH_SECONDS", 0.05)
    metrics = unused_address()
    overrides = getattr(request, "param", {})
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0, metrics_listen=metrics, **overrides))
    settings = settings_of(loaded, tmp_path, {NOTES: service.address}, metrics={NOTES: f"http://{metrics}/metrics"})
    wait_until_healthy(loaded, service.address)
    return Counted(loaded, service.address, settings)


@contextlib.contextmanager
def locked_ledger(sandbox: Sandbox) -> Iterator[None]:
    """The ledger, which nobody can append to for a while."""
    folder = Path(sandbox.promissory().store.removeprefix(SQLITE))
    with contextlib.closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("counted", [{"batch_queue": 12, "request_timeout_seconds": 1.5}], indirect=True)
def test_overload(counted: Counted) -> None:
    """60 calls that got OVERLOADED or ANSWER_LATE are 60 failures of the provider: an error rate of 100 %."""
    with locked_ledger(counted.sandbox):
        reasons = counted.ask(60)
    assert {"OVERLOADED", "ANSWER_LATE"} == set(reasons)

    found = counted.collected(60)
    assert {Attribution.PROVIDER: 60} == +found.counts
    assert 100.0 == measure_traffic(Sli.ERROR_RATE, found)


def test_unreachable_store(counted: Counted) -> None:
    """20 calls refused with STORE_UNAVAILABLE, which no ledger has, are counted; so are the answers before."""
    assert {"": 3} == counted.ask(3)
    folder = Path(counted.sandbox.promissory().store.removeprefix(SQLITE))
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    try:
        assert {"STORE_UNAVAILABLE": 20} == counted.ask(20)
        found = counted.collected(23)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        moved.rename(folder)

    assert {None: 3, Attribution.PROVIDER: 20} == +found.counts
    assert 3 == found.latencies.total()


def test_probes_are_no_traffic(counted: Counted) -> None:
    """Neither the entries nor the counts of probes are traffic, and a call beside them is counted once."""
    monitor_rounds(counted.settings, rounds=2)
    counted.ask(1)
    found = counted.collected(1)
    monitor_rounds(counted.settings)

    assert {None: 1} == +found.counts
    assert {("CheckNote", SETAD)} == set(traffic(counted.settings))
    assert {None: 1} == +traffic(counted.settings)["CheckNote", SETAD].counts


def reconciled(quality_store: QualityStore) -> Counter[Attribution | None]:
    with contextlib.closing(Store(quality_store.settings.store)) as store, store.transaction() as opened:
        found: Counter[Attribution | None] = Counter()
        for one in traffic_store.observations(opened, 0, 1 << 40):
            found.update(one.tally.counts)
        return +found


def write(quality_store: QualityStore, entries: dict[int, Tally], sent: dict[int, SentCalls], counted: range) -> None:
    with (
        contextlib.closing(Store(quality_store.settings.store, facts=AccessMode.WRITE)) as store,
        store.transaction() as opened,
    ):
        rows = [Observation(minute, CHECK_NOTE, SETAD, one) for minute, one in entries.items()]
        traffic_store.add_observations(opened, rows)
        traffic_store.add_sent_calls(opened, sent.values())
        traffic_store.mark_counted(opened, [(minute, MINISTRY) for minute in counted])


def sent(minute: int, what: Tally, late: int = 0) -> dict[int, SentCalls]:
    return {minute: SentCalls(minute, CHECK_NOTE, SETAD, what, late)}


def test_late_answer_is_none(quality_store: QualityStore) -> None:
    """An entry whose caller got ANSWER_LATE is a failure, once; a refusal that is in the ledger too counts once."""
    write(quality_store, {7: tally(3, consumer=1)}, sent(7, tally(2, provider=1, consumer=1), late=1), range(5, 12))

    assert {None: 2, Attribution.PROVIDER: 1, Attribution.CONSUMER: 1} == reconciled(quality_store)


@pytest.mark.parametrize("minute", [8, 9])
def test_answer_that_was_not_sent(quality_store: QualityStore, minute: int) -> None:
    """An answer in the ledger that the service did not send, because it crashed, is not known; whatever follows."""
    write(quality_store, {7: tally(5), minute: tally(2)}, sent(7, tally(3)) | sent(minute, tally(2)), range(5, 12))

    assert {None: 5, Attribution.UNKNOWN: 2} == reconciled(quality_store)


def test_last_answers_that_were_not_sent(quality_store: QualityStore) -> None:
    """The same, where nobody called afterwards."""
    write(quality_store, {7: tally(5)}, sent(7, tally(3)), range(5, 12))

    assert {None: 3, Attribution.UNKNOWN: 2} == reconciled(quality_store)


def test_answer_sent_in_the_next_minute(quality_store: QualityStore) -> None:
    """An answer that is recorded at the end of a minute and sent in the next one counts once."""
    write(quality_store, {7: tally(5), 8: tally(4)}, sent(7, tally(3)) | sent(8, tally(6)), range(5, 12))

    assert {None: 9} == reconciled(quality_store)


def test_newest_minute(quality_store: QualityStore) -> None:
    """In the newest minute, of which counts are still to come, nothing is missing yet."""
    write(quality_store, {7: tally(5)}, sent(7, tally(3)), range(5, 8))

    assert {None: 3} == reconciled(quality_store)


def test_minutes_that_were_not_counted(quality_store: QualityStore) -> None:
    """In minutes in which the service counted nothing, as before it did, the ledger counts."""
    write(quality_store, {7: tally(5), 20: tally(4, provider=1)}, sent(7, tally(5)), range(5, 12))

    assert {None: 9, Attribution.PROVIDER: 1} == reconciled(quality_store)


def test_pages_are_read_once(quality_store: QualityStore) -> None:
    """Rows of another service, of probes and of no method are no traffic of the service."""
    rows = [
        (1, 7, CHECK_NOTE, SETAD, "", False, [(5, 2), (6, 1)]),
        (2, 7, CHECK_NOTE, SETAD, "OVERLOADED", False, [(5, 4)]),
        (3, 7, CHECK_NOTE, SETAD, "CALLER_LEFT", False, [(5, 1)]),
        (4, 7, CHECK_NOTE, SETAD, "", True, [(5, 9)]),
        (5, 7, "", SETAD, "METHOD_UNKNOWN", False, [(5, 9)]),
        (6, 7, "other.v1.Service/Method", SETAD, "", False, [(5, 9)]),
        (7, 7, CHECK_NOTE, SETAD, "OF_A_LATER_RELEASE", False, [(5, 1)]),
        (8, 7, CHECK_NOTE, SETAD, "PATH_DOWN", False, [(5, 2)]),  # which only the monitor can see
    ]
    [found] = call_collector.sent_calls(rows, MINISTRY)

    expected = {None: 3, Attribution.PROVIDER: 4, Attribution.CONSUMER: 1, Attribution.UNKNOWN: 3}
    assert (expected, 1) == (dict(found.tally.counts), found.late)
    assert {5: 2, 6: 1} == found.tally.latencies
