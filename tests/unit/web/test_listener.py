"""The limits of an HTTP listener, by the ways in which a client can hold a connection."""

import contextlib
import gc
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.tls import client_context, server_context
from estelam.web import listener
from estelam.web.event_loop import run_in_event_loop
from estelam.web.listener import ListenerLimits, run_listener

REQUEST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nab"
LARGE = 1 << 24
MOST = 8


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the request's body or, at /large, with more than any buffer holds."""
    message: Message = {"more_body": True}
    body = b""
    while message["more_body"]:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
    content = bytes(LARGE) if scope["path"] == "/large" else body
    length = str(len(content)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a plain listener."""
    limits = ListenerLimits(max_connections=MOST, drain_seconds=1)
    with run_in_event_loop(run_listener("test", "127.0.0.1:0", app, limits, setting="listen")) as running:
        yield running.port


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    authority = DevCertificateAuthority.create(tmp_path_factory.mktemp("pki") / "pki", "the authority")
    for name in ("server", "honest", "greedy"):
        authority.issue(name, [], hosts=["localhost"])
    return authority.folder


@pytest.fixture
def tls_port(pki: Path) -> Iterator[int]:
    """The port of a listener with mutual TLS."""
    limits = ListenerLimits(max_connections=MOST, drain_seconds=1, handshake_seconds=0.5)
    tls = server_context(pki / "server.crt", pki / "server.key", pki / "ca.crt")
    with run_in_event_loop(run_listener("test", "127.0.0.1:0", app, limits, setting="listen", tls=tls)) as running:
        yield running.port


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Open connections, with the certificate of a name, and send what is passed; all are closed at the end."""
    with contextlib.ExitStack() as opened:

        def open_one(
            port: int, sent: bytes = b"", pki: Path | None = None, name: str = "", address: str = ""
        ) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", port), 30, (address, 0))
            if pki:
                tls = client_context(pki / f"{name}.crt", pki / f"{name}.key", pki / "ca.crt", alpn=["http/1.1"])
                connection = tls.wrap_socket(connection, server_hostname="localhost")
            opened.enter_context(connection)
            connection.sendall(sent)
            return connection

        yield open_one


def ask(connection: socket.socket) -> bytes:
    """Send a request over *connection*, and return the body of the response; nothing if it has been closed."""
    try:
        connection.sendall(REQUEST)
        received = b""
        while not received.endswith(b"\r\n\r\nab") and (part := connection.recv(65536)):
            received += part
    except OSError:
        return b""
    return received[-2:]


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed *connection*, or does so before the timeout."""
    try:
        while connection.recv(65536):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def test_pipelined_requests(port: int, connect: Callable[..., socket.socket]) -> None:
    """Requests sent together are answered one after the other, and the connection stays open."""
    connection = connect(port, REQUEST * 3)
    received = b""
    while received.count(b"200 OK") < 3 or not received.endswith(b"ab"):
        received += connection.recv(65536)

    assert b"ab" == ask(connection)


def test_handshakes_take_turns(
    pki: Path, tls_port: int, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshakes of one address are spaced beyond a burst; those of another address do not wait."""
    monkeypatch.setattr(listener, "HANDSHAKE_GAP_SECONDS", 3600)
    monkeypatch.setattr(listener, "HANDSHAKE_BURST", 3)
    answers = [ask(connect(tls_port, b"", pki, "greedy")) for _ in range(4)]
    waiting = connect(tls_port)
    waiting.settimeout(1)
    waiting.sendall(b"\x16\x03\x01")  # of a handshake
    honest = ask(connect(tls_port, b"", pki, "honest", address="127.0.0.2"))

    assert [b"ab"] * 5 == [*answers, honest]
    with pytest.raises(TimeoutError):  # the server has not looked at the handshake, which would have failed by now
        waiting.recv(1)


@pytest.mark.parametrize("sent", [b"", b"P", REQUEST[:-2], REQUEST[:-1]], ids=["silent", "one byte", "head", "body"])
def test_newcomer_is_served(port: int, connect: Callable[..., socket.socket], sent: bytes) -> None:
    """However many connections are held with half a request, another one is served; the oldest is closed."""
    held = [connect(port, sent) for _ in range(2 * MOST)]

    assert b"ab" == ask(connect(port))
    assert ended(held[0])


def test_connection_in_use_stays(port: int, connect: Callable[..., socket.socket]) -> None:
    """A connection whose request came last is closed last."""
    used = connect(port)
    answers = []
    for _ in range(3 * MOST):
        connect(port, b"P")
        answers.append(ask(used))

    assert {b"ab"} == set(answers)


def test_half_requests_end_no_used_connection(port: int, connect: Callable[..., socket.socket]) -> None:
    """Connections without a whole request, however many come at once, end none that has had one."""
    used = connect(port)
    answers = [ask(used)]
    for _ in range(4 * MOST):
        connect(port, b"P")
    answers.append(ask(used))

    assert [b"ab"] * 2 == answers


@pytest.mark.parametrize("sent", [b"P", REQUEST[:-1]], ids=["head", "body"])
def test_request_has_deadline(
    port: int, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A request that does not arrive whole in time ends its connection, also the second of a connection."""
    monkeypatch.setattr(listener, "RECEIVE_SECONDS", 0.2)
    used = connect(port)
    assert b"ab" == ask(used)
    used.sendall(sent)

    assert ended(used)
    assert ended(connect(port, sent))


def test_trickle_does_not_extend_deadline(
    port: int, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes sent one by one do not move the deadline of their request."""
    monkeypatch.setattr(listener, "RECEIVE_SECONDS", 0.5)
    connection = connect(port, b"GET / HTTP/1.1\r\nx: ")
    connection.settimeout(0.02)
    for _ in range(1500):
        try:
            connection.sendall(b"a")
            if not connection.recv(1):
                return
        except TimeoutError:
            continue
        except ConnectionError:
            return
    pytest.fail("the connection stays open")


def test_response_has_deadline(
    port: int, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not read its response loses its connection before the response's end."""
    monkeypatch.setattr(listener, "RESPOND_SECONDS", 0.3)
    monkeypatch.setattr(listener, "RECEIVE_SECONDS", 1.0)
    connection, other = connect(port, REQUEST.replace(b"POST /", b"POST /large")), connect(port, b"P")
    assert ended(other)  # nothing is read meanwhile
    received = 0
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 20):
            received += len(chunk)

    assert received < LARGE


def test_greedy_certificate_displaces_itself(tls_port: int, pki: Path, connect: Callable[..., socket.socket]) -> None:
    """A certificate with many idle connections loses the oldest of them, and another certificate none."""
    honest = connect(tls_port, b"", pki, "honest")
    greedy = [connect(tls_port, b"P", pki, "greedy") for _ in range(2 * MOST)]

    assert b"ab" == ask(honest)
    assert ended(greedy[0])
    assert b"ab" == ask(connect(tls_port, b"", pki, "honest"))


@pytest.mark.parametrize("sent", [b"", bytes.fromhex("1603010200")], ids=["silent", "half open"])
def test_handshake_has_deadline(tls_port: int, pki: Path, connect: Callable[..., socket.socket], sent: bytes) -> None:
    """Unfinished handshakes, however many, exclude nobody, and are ended."""
    held = [connect(tls_port, sent) for _ in range(2 * MOST)]

    assert b"ab" == ask(connect(tls_port, b"", pki, "honest"))
    assert all(ended(each) for each in held)


def test_unfinished_handshakes_take_bounded_memory(
    tls_port: int, pki: Path, connect: Callable[..., socket.socket]
) -> None:
    """Only handshakes that may be unfinished have buffers, however many come at once, and before garbage is freed."""
    gc.collect()
    gc.disable()
    try:
        held = [connect(tls_port, bytes.fromhex("1603010200")) for _ in range(16 * MOST)]
        assert all(ended(each) for each in held)
        assert b"ab" == ask(connect(tls_port, b"", pki, "honest"))
        kept = sum(isinstance(each, sslproto.SSLProtocol) for each in gc.get_objects())
    finally:
        gc.enable()

    assert kept <= MOST


def test_response_is_not_delayed(port: int, connect: Callable[..., socket.socket]) -> None:
    """The parts of a response are sent at once: accepted connections have TCP_NODELAY, as the listening socket has."""
    connection = connect(port)
    assert b"ab" == ask(connection)
    accepted = [
        each
        for each in gc.get_objects()
        if isinstance(each, socket.socket) and each.fileno() >= 0 and _is_accepted(each, connection)
    ]

    assert [1] == [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in accepted]


def _is_accepted(one: socket.socket, connection: socket.socket) -> bool:
    try:
        return bool(one.getpeername() == connection.getsockname())
    except OSError:
        return False
