"""The proxy variables of the environment change neither what is answered nor what is measured."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from conformance.case import Instance
from conformance.client import open_channel
from conformance.target import Target
from development.sandbox import Sandbox
from estelam.client import channel
from estelam.client.channel import ClientIdentity
from tests.e2e.conftest import LIVE, CommandLine, options
from tests.integration.quality.monitored_services import (
    NOTES,
    last_samples,
    monitor_rounds,
    settings_of,
    wait_until_healthy,
)
from tests.integration.setad.adapter_process import running_adapter
from tests.support.service import RunningService

DEAD = "http://127.0.0.1:9"
VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
NAME = "not-loopback.example"  # no_proxy as hosts have it, without the services


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, DEAD)
    monkeypatch.setenv("no_proxy", NAME)
    monkeypatch.setenv("NO_PROXY", NAME)


def test_command(shared: Sandbox, promissory: RunningService) -> None:
    """A command reaches the service itself."""
    found = CommandLine(shared)("promissory", "check", *options(**LIVE), "--address", promissory.address)

    assert (0, "") == (found.code, found.err)


def test_adapter(shared: Sandbox, promissory: RunningService) -> None:
    """The adapter reaches the ministry itself."""
    given = options(**LIVE, agency="SETAD-0001")
    with running_adapter(shared, promissory.address) as adapter:
        found = CommandLine(shared)("setad", "verify", *given, "--address", adapter.service.address)

    assert (0, "") == (found.code, found.err)


def test_monitor(shared: Sandbox, promissory: RunningService, tmp_path: Path) -> None:
    """The monitor measures the service itself."""
    wait_until_healthy(shared, promissory.address)
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address})
    monitor_rounds(settings)

    assert "SERVING" == last_samples(settings)[NOTES].health


def kit_channel(address: str, identity: ClientIdentity) -> grpc.Channel:
    target = Target({Instance.PROMISSORY: address}, identity.certificate.parent)
    return open_channel(target, Instance.PROMISSORY, "setad")


@pytest.mark.parametrize("opened_by", [channel.channel, kit_channel])
def test_blocking_channel(
    shared: Sandbox, promissory: RunningService, opened_by: Callable[[str, ClientIdentity], grpc.Channel]
) -> None:
    """A blocking channel, of our clients or of the conformance kit, reaches the service itself."""
    with opened_by(promissory.address, ClientIdentity.named(shared.pki, "setad")) as opened:
        stub = HealthStub(opened)  # type: ignore[no-untyped-call]
        found = stub.Check(HealthCheckRequest(), timeout=20)

    assert isinstance(found, HealthCheckResponse)


def test_bulk_channels(shared: Sandbox, promissory: RunningService) -> None:
    """The connections of a bulk check reach the service itself."""

    async def check() -> HealthCheckResponse:
        (opened,) = channel.aio_connections(promissory.address, ClientIdentity.named(shared.pki, "setad"), 1)
        async with opened:
            response: HealthCheckResponse = await HealthStub(opened).Check(  # type: ignore[no-untyped-call]
                HealthCheckRequest(), timeout=20
            )
            return response

    assert isinstance(asyncio.run(check()), HealthCheckResponse)
