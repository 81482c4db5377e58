"""A watch on real services, for tests: one round at a time, and what the quality store holds after it."""

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

from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.storage.migrate import migrate
from estelam.storage.store import Store
from quality import repository
from quality.attribution import Attribution
from quality.monitor.monitor import Monitor
from quality.records import MetricsSample, Tally
from quality.settings import ProbeIdentity, QualitySettings
from tests.conftest import plain_channel
from tools.env.sandbox import Sandbox

NOTES, CASES, VERIFICATION = "promissory-note-inquiry", "cheque-case-inquiry", "note-verification"
MINISTRY, SERVER = "estelam.promissory.v1.PromissoryNoteInquiryService", "promissory-server"
ALWAYS = (0, 1 << 40)

ProbeResults = dict[tuple[str, str], tuple[Attribution | None, str]]


def settings_of(sandbox: Sandbox, folder: Path, addresses: dict[str, str], **overrides: object) -> QualitySettings:
    """A quality store of one's own in *folder*, and services at *addresses*."""
    given = {"store": f"sqlite:///{folder / 'quality'}", "addresses": addresses, "probe_seconds": 8.0}
    settings = sandbox.quality(**(given | overrides))
    migrate(settings.store, repository.MIGRATIONS)
    return settings


def probe_identity(consumer: str, certificate: Path) -> ProbeIdentity:
    """A consumer with *certificate* and the key beside it."""
    return ProbeIdentity(consumer=consumer, certificate=certificate, private_key=certificate.with_suffix(".key"))


def monitor_rounds(settings: QualitySettings, *, rounds: int = 1, clock: Clock | None = None) -> None:
    """So many rounds, in each of which it asks, and then reads and keeps."""

    async def run() -> None:
        watch = Monitor(settings, clock or Clock())
        for _ in range(rounds):
            await watch.probe()
            await watch.collect()

    asyncio.run(run())


def wait_until_healthy(sandbox: Sandbox, address: str) -> None:
    """Wait until the service at *address* has found itself healthy, which it is not from its first instant on."""
    wait_for_health(sandbox, address, "", HealthCheckResponse.SERVING)


def wait_for_health(sandbox: Sandbox, address: str, name: str, status: int) -> None:
    """Wait until what is at *address* says *status* of the service *name*."""
    deadline = time.monotonic() + 30
    with plain_channel(address, ClientIdentity.named(sandbox.pki, "setad")) as channel:
        stub = HealthStub(channel)  # type: ignore[no-untyped-call]
        while stub.Check(HealthCheckRequest(service=name), timeout=20).status != status:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextlib.contextmanager
def fake_service(sandbox: Sandbox, answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[str]:
    """Where a service with the ministry's certificate says that it serves, and meets every inquiry with *answer*."""
    server = grpc.server(ThreadPoolExecutor(8))
    healthy = HealthServicer()  # type: ignore[no-untyped-call]
    healthy.set(MINISTRY, HealthCheckResponse.SERVING)  # type: ignore[no-untyped-call]
    add_HealthServicer_to_server(healthy, server)  # type: ignore[no-untyped-call]
    methods = ("CheckNote", "GetNoteParties")
    handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(answer) for method in methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(MINISTRY, handlers),))
    key, certificate, trust = (sandbox.pki / name for name in (f"{SERVER}.key", f"{SERVER}.crt", "ca.crt"))
    pair = (key.read_bytes(), certificate.read_bytes())
    shown = grpc.ssl_server_credentials([pair], trust.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", shown)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def probe_results(settings: QualitySettings) -> ProbeResults:
    """Through whom each method failed each consumer, and why, by the newest probe."""
    with _opened(settings) as connection:
        return {
            (probe.method.partition("/")[2], probe.consumer): (probe.fault, probe.reason)
            for probe in repository.probes(connection, *ALWAYS)
        }


def minutes(settings: QualitySettings) -> set[int]:
    """The minutes of which there are probes."""
    with _opened(settings) as connection:
        return {probe.minute for probe in repository.probes(connection, *ALWAYS)}


def last_samples(settings: QualitySettings) -> dict[str, MetricsSample]:
    """What each service said of itself last."""
    with _opened(settings) as connection:
        return {one.service: one for one in repository.metrics_samples(connection, *ALWAYS)}


def traffic(settings: QualitySettings) -> dict[tuple[str, str], Tally]:
    """What was seen of consumers' inquiries, by method and consumer."""
    found: dict[tuple[str, str], Tally] = {}
    with _opened(settings) as connection:
        for one in repository.observations(connection, *ALWAYS):
            found.setdefault((one.method.partition("/")[2], one.consumer), Tally()).add(one.tally)
    return found


@contextlib.contextmanager
def _opened(settings: QualitySettings) -> Iterator[Connection]:
    with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
        yield connection
