"""Results that the monitor stores, and its behaviour when stores, ledgers, metrics or the catalogue fail."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import grpc
import pytest

from development import sandbox as suite
from development.files import CATALOGUE
from development.processes import free_ports
from development.sandbox import Sandbox
from estelam.catalogue import loader
from estelam.catalogue.model import Catalogue, Method
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from quality.attribution import Attribution
from quality.monitor.monitor import Monitor, run_monitor
from quality.monitor.prober import plan_probes
from quality.periods import minute_of
from quality.settings import QualitySettings
from sataad_adapter.service import run_adapter
from tests.conftest import Start, plain_channel, promissory_opening
from tests.integration.quality.conftest import AGENCY, CBI, SETAD
from tests.integration.quality.monitored_services import (
    CASES,
    NOTES,
    VERIFICATION,
    last_samples,
    minutes,
    monitor_rounds,
    probe_results,
    settings_of,
    traffic,
    wait_until_healthy,
)
from tests.support.service import RunningService

At = Callable[[int], Clock]

pytestmark = pytest.mark.timeout(180)


def ask(sandbox: Sandbox, address: str, name: str) -> None:
    """Send one inquiry as *name*, equal to that of the probes."""
    note = pb.CheckNoteRequest(
        serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
    )
    with plain_channel(address, ClientIdentity.named(sandbox.pki, name)) as channel:
        PromissoryNoteInquiryServiceStub(channel).CheckNote(note, timeout=20)


def test_probes_are_not_traffic(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """Inquiries of probes don't count as traffic."""
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    front = start(
        lambda: run_adapter(loaded.setad(listen="127.0.0.1:0", provider=service.address, shutdown_delay_seconds=0))
    )
    settings = settings_of(loaded, tmp_path, {NOTES: service.address, VERIFICATION: front.address})
    ask(loaded, service.address, "setad")
    monitor_rounds(settings, rounds=2)
    ask(loaded, service.address, "setad")
    monitor_rounds(settings)

    assert {(None, "")} == set(probe_results(settings).values())
    assert {("CheckNote", SETAD): 2} == {key: tally.total for key, tally in traffic(settings).items()}


def test_refused_probes_are_not_traffic(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """Refused probes don't count as traffic."""
    granted = [grant for grant in suite.GRANTS if grant[0] != "agency"]
    suite.write_access(loaded, granted, rate=1000, burst=2000)
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    monitor_rounds(settings := settings_of(loaded, tmp_path, {NOTES: service.address}))

    assert (Attribution.UNGRANTED, "NOT_GRANTED") == probe_results(settings)["CheckNote", AGENCY]
    assert {} == traffic(settings)


@pytest.mark.slow
def test_locked_store(loaded: Sandbox, tmp_path: Path, start: Start, at: At) -> None:
    """Results that a locked store can't take are stored in the next round."""
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    settings = settings_of(loaded, tmp_path, {NOTES: service.address})

    async def rounds() -> None:
        first, second = (Monitor(settings, at(minute)) for minute in (0, 1))
        await first.probe()
        with locked(settings):
            assert not await first.flush()
        await first.collect()
        await second.probe()
        await second.collect()

    asyncio.run(rounds())

    assert {minute_of(at(later).now()) for later in (0, 1)} == minutes(settings)
    assert {} == traffic(settings)


def test_unreadable_ledger(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """An unreadable ledger does not stop the collection of others."""
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    ledgers = {CASES: f"sqlite:///{tmp_path / 'nothing'}", NOTES: loaded.promissory().store}
    settings = settings_of(loaded, tmp_path, {NOTES: service.address}, ledgers=ledgers)
    ask(loaded, service.address, "setad")
    monitor_rounds(settings)

    assert {("CheckNote", SETAD): 1} == {key: tally.total for key, tally in traffic(settings).items()}


def test_invalid_catalogue(shared: Sandbox, tmp_path: Path, judiciary: RunningService) -> None:
    """The monitor continues with the last valid catalogue."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    for file in CATALOGUE.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = settings_of(shared, tmp_path, {CASES: judiciary.address}, catalogue=folder)

    async def rounds() -> None:
        monitor = Monitor(settings, Clock())
        (folder / "grants.yaml").write_text("grants: [", "utf-8")
        await monitor.probe()
        await monitor.flush()

    asyncio.run(rounds())

    assert {("CheckByNationalId", CBI), ("CheckByTrackingId", CBI)} == set(probe_results(settings))


def test_metrics(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """Metrics are stored; services without readable metrics don't stop that."""
    ports = free_ports("metrics", "nobody")
    opening = promissory_opening(loaded, shutdown_delay_seconds=0, metrics_listen=f"127.0.0.1:{ports['metrics']}")
    service = start(opening)
    ports["no metrics"] = service.port
    pages = {name: f"http://127.0.0.1:{port}/metrics" for name, port in ports.items()}
    metrics = {NOTES: pages["metrics"], CASES: pages["nobody"], VERIFICATION: pages["no metrics"]}
    settings = settings_of(loaded, tmp_path, {NOTES: service.address}, metrics=metrics)
    wait_until_healthy(loaded, service.address)
    ask(loaded, service.address, "setad")
    with contextlib.suppress(grpc.RpcError):
        ask(loaded, service.address, "stranger")
    monitor_rounds(settings)

    (sample,) = last_samples(settings).values()
    assert (NOTES, "SERVING", True, 4, 1, 0) == (
        sample.service,
        sample.health,
        sample.serving,
        sample.answered,
        sample.refused,
        sample.unrecorded,
    )


def test_flush_on_shutdown(shared: Sandbox, tmp_path: Path, judiciary: RunningService) -> None:
    """The monitor stores its buffered results when it shuts down."""
    settings = settings_of(shared, tmp_path, {CASES: judiciary.address}, ledgers={}, probe_interval_seconds=0.2)

    async def stopped() -> None:
        async with run_monitor(settings, Clock()) as monitor:
            await monitor.probe()

    asyncio.run(stopped())

    assert ("CheckByNationalId", CBI) in probe_results(settings)


@pytest.fixture
def at() -> At:
    """Make clocks that stand still, so many minutes after the test began."""
    began = Clock().micros()
    return lambda later: replace(Clock(), micros=lambda: began + later * 60_000_000)


@contextlib.contextmanager
def locked(settings: QualitySettings) -> Iterator[None]:
    """Hold a write lock on the quality store."""
    path = Path(settings.store.removeprefix("sqlite:///")) / "facts.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_probe_plan(shared: Sandbox, tmp_path: Path) -> None:
    """A method is probed only while it is in service and granted."""
    settings = settings_of(shared, tmp_path, {NOTES: "127.0.0.1:1", CASES: "127.0.0.1:1"})
    catalogue = loader.read_catalogue(settings.catalogue)
    services = [
        service.model_copy(update={"methods": [ending(method) for method in service.methods]})
        for service in catalogue.services
    ]
    ended = catalogue.model_copy(update={"services": services})

    assert [] == asked(settings, catalogue, date(2021, 8, 23))
    assert 5 == len(asked(settings, catalogue, LAST_DAY))
    assert 5 == len(asked(settings, ended, LAST_DAY))
    assert [] == asked(settings, ended, LAST_DAY + timedelta(days=1))


LAST_DAY = date(2026, 11, 28)


def ending(method: Method) -> Method:
    """*method* with its sunset on the day after LAST_DAY."""
    return method.model_copy(update={"deprecated": LAST_DAY, "sunset": LAST_DAY + timedelta(days=1)})


def asked(settings: QualitySettings, catalogue: Catalogue, day: date) -> list[str]:
    """Methods that are probed on *day*."""
    return [method for errand in plan_probes(settings, catalogue, day) for method, _ in errand.requests]
