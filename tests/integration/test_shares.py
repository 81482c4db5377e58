"""One caller's certificates, however many and however they are rewritten, take one caller's share on every face."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from development.sandbox import ORGANIZATIONS, Sandbox
from estelam.auth.authentication import Authenticator
from estelam.auth.certificate import ClientCertificate
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.tls import client_context
from estelam.server import completion_queue
from estelam.web import listener
from tests.conftest import Start, plain_channel, promissory_opening
from tests.guarantees.test_4_authorization_behind_proxy import HEADER, forwarded
from tests.integration.setad.adapter_process import running_adapter
from tests.support.certificates import key_sha256, write_client, write_flipped
from tools.chaos.raw_http2 import ConnectionClosed, RawConnection

MOST = 8
HONEST = MOST // 2
GREEDY = 4 * MOST
UNTIL_SECONDS = 30.0

Certificates = dict[str, Path]


@pytest.fixture
def certificates(loaded: Sandbox) -> Certificates:
    """Certificates of callers by name; those of the stranger are three, and of nobody (without organisation) two."""
    pki = loaded.pki
    DevCertificateAuthority(pki).issue("nobody", [])
    second = write_client(pki, "second", ORGANIZATIONS["stranger"], generate_private_key(SECP256R1()))
    return {
        "setad": pki / "setad.crt",
        "stranger": pki / "stranger.crt",
        "stranger, rewritten": write_flipped(pki / "stranger.crt"),
        "stranger, second": second,
        "nobody": pki / "nobody.crt",
        "nobody, rewritten": write_flipped(pki / "nobody.crt"),
        "proxy": pki / "proxy.crt",
    }


def identity(certificate: Path) -> ClientIdentity:
    return ClientIdentity(certificate, certificate.with_suffix(".key"), certificate.parent / "ca.crt")


def of(certificates: Certificates, caller: str) -> list[Path]:
    return [certificate for name, certificate in certificates.items() if name.startswith(caller)]


@pytest.mark.parametrize("denied", ["", "stranger"], ids=["none denied", "one denied"])
@pytest.mark.parametrize("way", ["direct", "behind a proxy"])
def test_owner(loaded: Sandbox, certificates: Certificates, denied: str, way: str) -> None:
    """The owner is the organisation, or the public key of a certificate that authenticates none or is denied."""
    keys = {name: key_sha256(certificate) for name, certificate in certificates.items()}
    settings = loaded.promissory(trusted_proxy_keys=[keys["proxy"]])

    def is_denied(certificate: ClientCertificate) -> bool:
        return certificate.key == keys.get(denied)

    authenticator = Authenticator(settings, is_denied=is_denied, clock=Clock())

    def owner(certificate: Path) -> str:
        pem = certificate.read_bytes()
        if way == "behind a proxy":
            return authenticator.owner((certificates["proxy"].read_bytes(),), [(HEADER, forwarded(pem))])
        return authenticator.owner((pem,))

    stranger = keys["stranger"] if denied else ORGANIZATIONS["stranger"]
    assert {
        "setad": ORGANIZATIONS["setad"],
        "stranger": stranger,
        "stranger, rewritten": stranger,
        "stranger, second": ORGANIZATIONS["stranger"],
        "nobody": keys["nobody"],
        "nobody, rewritten": keys["nobody"],
        "proxy": keys["proxy"],
    } == {name: owner(certificate) for name, certificate in certificates.items()}


class Connection(Protocol):
    """A connection to a face."""

    def is_closed(self) -> bool:
        """Whether the server has closed it."""

    def close(self) -> None:
        """Close it."""


class HttpsConnection:
    """A connection to the JSON API, on which the first byte of a request has been sent."""

    def __init__(self, port: int, certificate: Path) -> None:
        files = certificate, certificate.with_suffix(".key"), certificate.parent / "ca.crt"
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket = client_context(*files, alpn=["http/1.1"]).wrap_socket(plain, server_hostname="localhost")
        self._socket.sendall(b"P")
        self._socket.settimeout(0)

    def is_closed(self) -> bool:
        try:
            return not self._socket.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self._socket.close()


def grpc_connection(port: int, certificate: Path) -> Connection:
    return RawConnection(port, identity(certificate).ssl_context())


Open = Callable[[int, Path], Connection]


@pytest.fixture(params=["gRPC", "JSON"])
def face(
    request: pytest.FixtureRequest, loaded: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[int, Open]]:
    """The port of a face for few connections, and how to open an idle one."""
    monkeypatch.setattr(listener, "RECEIVE_SECONDS", 600.0)
    limits: dict[str, Any] = {"max_connections": MOST, "handshake_seconds": 60.0}
    if request.param == "gRPC":
        yield start(promissory_opening(loaded, **limits)).port, grpc_connection
    else:
        with running_adapter(loaded, "127.0.0.1:1", **limits) as adapter:
            yield int(adapter.api.rpartition(":")[2]), HttpsConnection


def open_connections(stack: ExitStack, face: tuple[int, Open], of: Sequence[Path], count: int) -> list[Connection]:
    """Open *count* connections, with one after the other of the certificates *of*."""
    port, open_one = face
    opened = []
    for certificate in islice(cycle(of), count):
        try:
            opened.append(stack.enter_context(closing(open_one(port, certificate))))
        except (OSError, ConnectionClosed):
            continue
    return opened


@pytest.mark.parametrize("caller", ["stranger", "nobody"])
def test_connections(face: tuple[int, Open], certificates: Certificates, caller: str) -> None:
    """A caller who has its share of the connections keeps it, with however many certificates another one connects."""
    with ExitStack() as stack:
        honest = open_connections(stack, face, of(certificates, "setad"), HONEST)
        greedy = open_connections(stack, face, of(certificates, caller), GREEDY)
        until = time.monotonic() + UNTIL_SECONDS
        while sum(not each.is_closed() for each in [*honest, *greedy]) > MOST and time.monotonic() < until:
            time.sleep(0.02)

        assert HONEST == sum(not each.is_closed() for each in honest)
        assert 1 <= sum(not each.is_closed() for each in greedy) <= MOST - HONEST


@pytest.mark.parametrize("caller", ["stranger", "nobody"])
def test_calls(
    loaded: Sandbox, certificates: Certificates, start: Start, monkeypatch: pytest.MonkeyPatch, caller: str
) -> None:
    """A caller who has its share of the open calls keeps it, with however many certificates another one calls."""
    monkeypatch.setattr(completion_queue, "MAX_OPEN_CALLS", MOST)
    service = start(promissory_opening(loaded))
    with ExitStack() as stack:

        def watch(certificate: Path) -> grpc.Call:
            channel = stack.enter_context(plain_channel(service.address, identity(certificate)))
            call: Any = HealthStub(channel).Watch(HealthCheckRequest(), timeout=60)  # type: ignore[no-untyped-call]
            with suppress(grpc.RpcError):
                next(call)
            return call  # type: ignore[no-any-return]

        honest = [watch(certificate) for certificate in of(certificates, "setad") * HONEST]
        greedy = [watch(certificate) for certificate in islice(cycle(of(certificates, caller)), 2 * MOST)]

        assert [True] * HONEST == [call.is_active() for call in honest]
        assert sum(call.is_active() for call in greedy) <= MOST - HONEST
