"""The preflight check's messages, and that a run ends whatever the target does."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hyperframe.frame import SettingsFrame

from conformance import client, preflight, raw_http2, runner
from conformance.case import Instance, WireFault
from conformance.results import CaseStatus
from conformance.target import Target
from tests.conformance import fake_ministry
from tests.conformance.fake_ministry import case, check

Behaviour = Callable[[socket.socket], object]
SETTINGS = SettingsFrame().serialize()


def send_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def send_http1(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def send_garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x00garbage\xff" * 40)
    connection.recv(65536)


def send_settings_and_hang(connection: socket.socket) -> None:
    connection.sendall(SETTINGS)
    send_nothing(connection)


def send_settings_forever(connection: socket.socket) -> None:
    while True:
        connection.sendall(SETTINGS)
        time.sleep(0.01)


def send_bytes_forever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"\x00")
        time.sleep(0.01)


def close_immediately(connection: socket.socket) -> None:
    connection.close()


@contextlib.contextmanager
def server(
    behaviour: Behaviour, pki: Path | None = None, *, alpn: str | None = "h2", name: str = "server"
) -> Iterator[str]:
    """Run a server with *behaviour*, over TLS if *pki* is given; yield its address."""
    context = None
    if pki:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")
        if alpn:
            context.set_alpn_protocols([alpn])
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                if context is None:
                    behaviour(connection)
                    return
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    behaviour(wrapped)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(runner, "ALIVE_SECONDS", 0.3)


def find_problem(pki: Path, address: str) -> str:
    start = time.monotonic()
    problems = preflight.find_problems(Target({Instance.PROMISSORY: address}, pki))

    assert time.monotonic() - start < 3
    return problems.partition("): ")[2]


def test_unreachable(pki: Path) -> None:
    """A closed port and an unknown host are unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert "unreachable: the connection was refused" == find_problem(pki, f"127.0.0.1:{port}")
    assert "unreachable: the host name does not resolve" == find_problem(pki, "no-such-host.invalid:1")


def test_untrusted_certificate(pki: Path, tmp_path: Path) -> None:
    """A certificate of another CA or for another name is reported."""
    others = fake_ministry.fixtures(tmp_path)
    with server(send_nothing, others) as address:
        assert "its certificate is not valid for this name under the PKI folder's ca.crt" in find_problem(pki, address)
    with server(send_nothing, pki, name="setad") as address:
        assert "its certificate is not valid for this name under the PKI folder's ca.crt" in find_problem(pki, address)


MESSAGES: list[tuple[str, Behaviour, str, str | None]] = [
    ("timeout: no connection within", send_nothing, "plain", None),
    ("timeout: no response to a call within", send_nothing, "tls", "h2"),
    ("timeout: no response to a call within", send_settings_and_hang, "tls", "h2"),
    ("timeout: no response to a call within", send_settings_forever, "tls", "h2"),
    ("it serves HTTP/1 without TLS", send_http1, "plain", None),
    ("it serves HTTP/1, and gRPC needs HTTP/2", send_http1, "tls", "http/1.1"),
    ("it serves HTTP/1, and gRPC needs HTTP/2", send_http1, "tls", None),
    ("it does not select HTTP/2 in the TLS handshake", send_nothing, "tls", None),
    ("it sends invalid HTTP/2", send_http1, "tls", "h2"),
    ("it sends invalid HTTP/2", send_garbage, "tls", "h2"),
    ("the TLS handshake fails", send_garbage, "plain", None),
    ("the TLS handshake fails", close_immediately, "plain", None),
    ("it closes the connection of a client with the certificate of setad", close_immediately, "tls", "h2"),
]


@pytest.mark.parametrize(("words", "behaviour", "over", "alpn"), MESSAGES)
def test_not_a_grpc_server(pki: Path, words: str, behaviour: Behaviour, over: str, alpn: str | None) -> None:
    """Each way of not being a gRPC server has its own message."""
    with server(behaviour, pki if over == "tls" else None, alpn=alpn) as address:
        assert words in find_problem(pki, address)


def test_two_problems(pki: Path) -> None:
    """The problems of all instances are reported."""
    with server(send_http1) as one, server(send_nothing) as two:
        problems = preflight.find_problems(Target({Instance.PROMISSORY: one, Instance.JUDICIARY: two}, pki))

    assert [f"promissory ({one}): it serves HTTP/1", f"judiciary ({two}): timeout"] == [
        line.partition(" without")[0].partition(": no conn")[0] for line in problems.splitlines()
    ]


@pytest.mark.parametrize(
    "behaviour", [send_nothing, send_settings_and_hang, send_settings_forever, send_garbage, send_bytes_forever]
)
def test_run_ends(pki: Path, behaviour: Behaviour) -> None:
    """A run ends in time against a server that never answers."""
    hanging = {**check(), "timeout": 0.3}
    cases = [case(hanging, hanging, id=f"plain.{number}") for number in range(20)]
    cases += [case({**hanging, "fault": fault.value}, id=f"fault.{fault.value}") for fault in WireFault]
    began = time.monotonic()
    with server(behaviour, pki) as address:
        target = Target({Instance.PROMISSORY: address}, pki)
        run = runner.run(cases, target, limit_seconds=1, probe=lambda _target: "")

    assert time.monotonic() - began < 5
    assert not run.with_status(CaseStatus.PASSED)


def raw_call(pki: Path, address: str) -> raw_http2.RawCall:
    identity = Target({}, pki).identity("setad")
    return raw_http2.RawCall(address, identity, "/a/b", b"\x0a\x00", (), 0.5)


def test_statuses(pki: Path) -> None:
    """Closed, open and HTTP/1 connections have their own statuses."""
    with server(close_immediately, pki) as address:
        assert {"CLOSED"} == {
            raw_http2.send_faulty(fault, raw_call(pki, address)).status for fault in (WireFault.HTTP1, WireFault.NO_TE)
        }
    with server(send_nothing, pki) as address:
        assert "OPEN" == raw_http2.send_faulty(WireFault.GARBAGE_PREFACE, raw_call(pki, address)).status
        assert "DEADLINE_EXCEEDED" == raw_http2.send_faulty(WireFault.NO_TE, raw_call(pki, address)).status
    with server(send_http1, pki) as address:
        assert "HTTP" == raw_http2.send_faulty(WireFault.HTTP1, raw_call(pki, address)).status


def test_refused_connection(pki: Path) -> None:
    """A fault that could not be sent is NotSent, not a failure of the target."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(client.NotSent, match="no connection"):
        raw_http2.send_faulty(WireFault.NO_TE, raw_call(pki, f"127.0.0.1:{port}"))
