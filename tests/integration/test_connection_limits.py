"""Connections and calls of one certificate exclude no other, however many there are and whatever they do."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import cast

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from hpack import Encoder

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.server import completion_queue
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import caller
from tests.support.service import RunningService
from tools.chaos.greedy_caller import WATCH, calls
from tools.chaos.raw_http2 import ConnectionClosed, RawConnection

MOST = 8
REFUSED = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
HALF_OPEN = bytes.fromhex("1603010200")

Open = Callable[[int, Sandbox], socket.socket | RawConnection]


def silent(port: int, _sandbox: Sandbox) -> socket.socket:
    """A connection on which nothing is sent."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def half_open(port: int, _sandbox: Sandbox) -> socket.socket:
    """A connection with the first bytes of a handshake."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=30)
    opened.sendall(HALF_OPEN)
    return opened


def idle(port: int, sandbox: Sandbox) -> RawConnection:
    """A connection of the stranger, whose handshake has ended and which makes no call."""
    return RawConnection(port, ClientIdentity.named(sandbox.pki, "stranger").ssl_context())


def tls_alone(port: int, sandbox: Sandbox) -> socket.socket:
    """The same, but no HTTP/2 follows the TLS handshake."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    tls = ClientIdentity.named(sandbox.pki, "stranger").ssl_context()
    return tls.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture
def service(loaded: Sandbox, start: Start) -> RunningService:
    """A service for few connections."""
    return start(promissory_opening(loaded, max_connections=MOST, handshake_seconds=60.0))


@pytest.mark.parametrize("kind", [silent, half_open, tls_alone, idle])
def test_newcomer_is_served(service: RunningService, loaded: Sandbox, kind: Open) -> None:
    """However many connections others hold, another caller's stays open, and so does that of a newcomer."""
    held = []
    with ExitStack() as opened, caller(loaded, service.address) as before:
        answers = [before()]
        for _ in range(5 * MOST):
            try:
                held.append(opened.enter_context(closing(kind(service.port, loaded))))
            except (OSError, ConnectionClosed):
                continue
        with caller(loaded, service.address) as newcomer:
            answers += [newcomer(), before()]

    assert [ANSWER_YES] * 3 == answers
    assert len(held) > MOST


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Iterator[HealthCheckResponse]]]:
    """Begin Watch calls over connections of their own, within a server that has few open calls at a time."""
    monkeypatch.setattr(completion_queue, "MAX_OPEN_CALLS", MOST)
    with ExitStack() as opened:

        def begin(address: str, identity: ClientIdentity) -> Iterator[HealthCheckResponse]:
            channel = opened.enter_context(plain_channel(address, identity))
            call: Iterator[HealthCheckResponse] = HealthStub(channel).Watch(HealthCheckRequest(), timeout=60)  # type: ignore[no-untyped-call]
            return call

        yield begin


def wait_until_serving(watch: Iterator[HealthCheckResponse]) -> None:
    """Wait for SERVING: a service that has just started reports NOT_SERVING until its first health check has ended."""
    assert HealthCheckResponse.SERVING in (message.status for message in watch)


def test_open_calls_exclude_nobody(
    loaded: Sandbox, start: Start, watches: Callable[..., Iterator[HealthCheckResponse]]
) -> None:
    """The calls of a certificate that has most open are refused; those of another are served, and its streams go on."""
    service = start(promissory_opening(loaded))
    stranger, setad = (ClientIdentity.named(loaded.pki, name) for name in ("stranger", "setad"))
    honest = watches(service.address, setad)
    wait_until_serving(honest)
    held, refused = [], 0
    for _ in range(2 * MOST):
        held.append(watches(service.address, stranger))  # a call that nobody holds is cancelled
        try:
            next(held[-1])
        except grpc.RpcError as error:
            refused += cast("grpc.Call", error).code() in REFUSED
    with caller(loaded, service.address) as ask:
        answers = [ask() for _ in range(3)]

    assert MOST <= refused
    assert [ANSWER_YES] * 3 == answers
    assert isinstance(honest, grpc.Call)
    assert honest.is_active()


def test_connection_with_excess_calls_is_ended(
    loaded: Sandbox, start: Start, watches: Callable[..., Iterator[HealthCheckResponse]]
) -> None:
    """A connection whose calls are too many is ended with all of them."""
    service = start(promissory_opening(loaded))
    honest = watches(service.address, ClientIdentity.named(loaded.pki, "setad"))
    wait_until_serving(honest)
    with closing(idle(service.port, loaded)) as greedy:
        greedy.write(calls(WATCH, HealthCheckRequest().SerializeToString(), 1, Encoder(), count=3 * MOST))
        with pytest.raises(ConnectionClosed):
            greedy.read([1])

    assert isinstance(honest, grpc.Call)
    assert honest.is_active()
