"""Monitors real services round by round, and reads the results from the quality store."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server
from sqlalchemy import Connection

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.storage.migrate import migrate
from estelam.storage.store import Store
from quality import repository, traffic_store
from quality.attribution import Attribution
from quality.monitor.monitor import Monitor
from quality.records import MetricsSample, Tally
from quality.settings import ProbeIdentity, QualitySettings
from tests.conftest import plain_channel

NOTES, CASES, VERIFICATION = "promissory-note-inquiry", "cheque-case-inquiry", "note-verification"
MINISTRY, SERVER = "estelam.promissory.v1.PromissoryNoteInquiryService", "promissory-server"
ALWAYS = (0, 1 << 40)

ProbeResults = dict[tuple[str, str], tuple[Attribution | None, str]]


def settings_of(sandbox: Sandbox, folder: Path, addresses: dict[str, str], **overrides: object) -> QualitySettings:
    """Settings with an empty quality store in *folder* and services at *addresses*."""
    given = {"store": f"sqlite:///{folder / 'quality'}", "addresses": addresses, "probe_seconds": 8.0}
    settings = sandbox.quality(**(given | overrides))
    migrate(settings.store, QualitySettings.MIGRATIONS)
    return settings


def probe_identity(consumer: str, certificate: Path) -> ProbeIdentity:
    """A probe identity with *certificate* and the key beside it."""
    return ProbeIdentity(consumer=consumer, certificate=certificate, private_key=certificate.with_suffix(".key"))


def monitor_rounds(settings: QualitySettings, *, rounds: int = 1, clock: Clock | None = None) -> None:
    """Run so many rounds of probing and collecting."""

    async def run() -> None:
        monitor = Monitor(settings, clock or Clock())
        for _ in range(rounds):
            await monitor.probe()
            await monitor.collect()

    asyncio.run(run())


def wait_until_healthy(sandbox: Sandbox, address: str) -> None:
    """Wait until the service at *address* reports SERVING."""
    wait_for_health(sandbox, address, "", HealthCheckResponse.SERVING)


def wait_for_health(sandbox: Sandbox, address: str, name: str, status: int) -> None:
    """Wait until the server at *address* reports *status* for the service *name*."""
    deadline = time.monotonic() + 30
    with plain_channel(address, ClientIdentity.named(sandbox.pki, "setad")) as channel:
        stub = HealthStub(channel)  # type: ignore[no-untyped-call]
        while stub.Check(HealthCheckRequest(service=name), timeout=20).status != status:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextlib.contextmanager
def fake_service(sandbox: Sandbox, answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[str]:
    """Address of a fake service with the ministry's certificate that reports SERVING and replies with *answer*."""
    server = grpc.server(ThreadPoolExecutor(8))
    healthy = HealthServicer()  # type: ignore[no-untyped-call]
    healthy.set(MINISTRY, HealthCheckResponse.SERVING)  # type: ignore[no-untyped-call]
    add_HealthServicer_to_server(healthy, server)  # type: ignore[no-untyped-call]
    methods = ("CheckNote", "GetNoteParties")
    handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(answer) for method in methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(MINISTRY, handlers),))
    key, certificate, trust = (sandbox.pki / name for name in (f"{SERVER}.key", f"{SERVER}.crt", "ca.crt"))
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], trust.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def probe_results(settings: QualitySettings) -> ProbeResults:
    """Attribution and reason of the newest probe of each method and consumer."""
    with _opened(settings) as connection:
        return {
            (probe.method.partition("/")[2], probe.consumer): (probe.fault, probe.reason)
            for probe in repository.probes(connection, *ALWAYS)
        }


def minutes(settings: QualitySettings) -> set[int]:
    """Minutes that have probes."""
    with _opened(settings) as connection:
        return {probe.minute for probe in repository.probes(connection, *ALWAYS)}


def last_samples(settings: QualitySettings) -> dict[str, MetricsSample]:
    """Last health and metrics of each service."""
    with _opened(settings) as connection:
        return {one.service: one for one in repository.metrics_samples(connection, *ALWAYS)}


def traffic(settings: QualitySettings) -> dict[tuple[str, str], Tally]:
    """Stored traffic by method and consumer."""
    found: dict[tuple[str, str], Tally] = {}
    with _opened(settings) as connection:
        for one in traffic_store.observations(connection, *ALWAYS):
            found.setdefault((one.method.partition("/")[2], one.consumer), Tally()).add(one.tally)
    return found


@contextlib.contextmanager
def _opened(settings: QualitySettings) -> Iterator[Connection]:
    with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
        yield connection
