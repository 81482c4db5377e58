"""What stands in the way has words of its own, and nothing that a target does keeps a run from ending."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance import client, preflight, raw_http2, runner
from conformance.case import Instance, Trick
from conformance.results import Standing
from conformance.target import Target
from tests.conformance import fake_ministry
from tests.conformance.fake_ministry import case, check

Speaks = Callable[[socket.socket], object]
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def say_nothing(taken: socket.socket) -> None:
    while taken.recv(65536):
        pass


def speak_http1(taken: socket.socket) -> None:
    taken.recv(65536)
    taken.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def speak_garbage(taken: socket.socket) -> None:
    taken.sendall(b"\x00garbage\xff" * 40)
    taken.recv(65536)


def settle_and_hang(taken: socket.socket) -> None:
    taken.sendall(SETTINGS)
    say_nothing(taken)


def settle_without_end(taken: socket.socket) -> None:
    while True:
        taken.sendall(SETTINGS)
        time.sleep(0.01)


def drip_garbage(taken: socket.socket) -> None:
    while True:
        taken.sendall(b"\x00")
        time.sleep(0.01)


def close_at_once(taken: socket.socket) -> None:
    taken.close()


@contextlib.contextmanager
def server(speaks: Speaks, pki: Path | None = None, *, alpn: str | None = "h2", name: str = "server") -> Iterator[str]:
    """A server that says what it likes, over TLS where it has a PKI; its address."""
    context = None
    if pki:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")
        if alpn:
            context.set_alpn_protocols([alpn])
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(taken: socket.socket) -> None:
            with contextlib.suppress(OSError), taken:
                if context is None:
                    speaks(taken)
                    return
                with context.wrap_socket(taken, server_side=True) as wrapped:
                    speaks(wrapped)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(runner, "ALIVE_SECONDS", 0.3)


def trouble(pki: Path, address: str) -> str:
    began = time.monotonic()
    told = preflight.trouble(Target({Instance.PROMISSORY: address}, pki))

    assert time.monotonic() - began < 3
    return told.partition("): ")[2]


def test_a_host_where_nobody_listens_is_unreachable(pki: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert "unreachable: nobody listens there" == trouble(pki, f"127.0.0.1:{port}")
    assert "unreachable: there is no such address" == trouble(pki, "no-such-host.invalid:1")


def test_a_certificate_of_another_authority_or_for_another_name_is_told(pki: Path, tmp_path: Path) -> None:
    others = fake_ministry.fixtures(tmp_path)
    with server(say_nothing, others) as address:
        assert "its certificate is not one that the PKI folder vouches for" in trouble(pki, address)
    with server(say_nothing, pki, name="setad") as address:
        assert "its certificate is not one that the PKI folder vouches for" in trouble(pki, address)


SAID: list[tuple[str, Speaks, str, str | None]] = [
    ("it hangs: no connection was made", say_nothing, "plain", None),
    ("it hangs: a call was not answered", say_nothing, "tls", "h2"),
    ("it hangs: a call was not answered", settle_and_hang, "tls", "h2"),
    ("it hangs: a call was not answered", settle_without_end, "tls", "h2"),
    ("it speaks HTTP/1 without TLS", speak_http1, "plain", None),
    ("it speaks HTTP/1, and gRPC needs HTTP/2", speak_http1, "tls", "http/1.1"),
    ("it speaks HTTP/1, and gRPC needs HTTP/2", speak_http1, "tls", None),
    ("it does not agree on HTTP/2 in the TLS handshake", say_nothing, "tls", None),
    ("it answers garbage: what it says is no HTTP/2", speak_http1, "tls", "h2"),
    ("it answers garbage: what it says is no HTTP/2", speak_garbage, "tls", "h2"),
    ("it answers garbage: the TLS handshake fails", speak_garbage, "plain", None),
    ("it answers garbage: the TLS handshake fails", close_at_once, "plain", None),
    ("it closes the connection that was made with the certificate of setad", close_at_once, "tls", "h2"),
]


@pytest.mark.parametrize(("words", "speaks", "over", "alpn"), SAID)
def test_each_way_of_being_no_grpc_server_has_its_own_words(
    pki: Path, words: str, speaks: Speaks, over: str, alpn: str | None
) -> None:
    with server(speaks, pki if over == "tls" else None, alpn=alpn) as address:
        assert words in trouble(pki, address)


def test_two_in_the_way_are_both_told(pki: Path) -> None:
    with server(speak_http1) as one, server(say_nothing) as two:
        told = preflight.trouble(Target({Instance.PROMISSORY: one, Instance.JUDICIARY: two}, pki))

    assert [f"promissory ({one}): it speaks HTTP/1", f"judiciary ({two}): it hangs"] == [
        line.partition(" without")[0].partition(": no conn")[0] for line in told.splitlines()
    ]


@pytest.mark.parametrize("speaks", [say_nothing, settle_and_hang, settle_without_end, speak_garbage, drip_garbage])
def test_a_run_against_a_server_that_never_answers_ends(pki: Path, speaks: Speaks) -> None:
    hanging = {**check(), "timeout": 0.3}
    cases = [case(hanging, hanging, id=f"plain.{number}") for number in range(20)]
    cases += [case({**hanging, "trick": trick.value}, id=f"trick.{trick.value}") for trick in Trick]
    began = time.monotonic()
    with server(speaks, pki) as address:
        target = Target({Instance.PROMISSORY: address}, pki)
        verdict = runner.run(cases, target, limit_seconds=1, probe=lambda _target: "")

    assert time.monotonic() - began < 5
    assert not verdict.having(Standing.PASSED)


def sending(pki: Path, address: str) -> raw_http2.Sending:
    identity = Target({}, pki).identity("setad")
    return raw_http2.Sending(address, identity, "/a/b", b"\x0a\x00", (), 0.5)


def test_what_a_reset_connection_and_an_open_one_look_like(pki: Path) -> None:
    with server(close_at_once, pki) as address:
        assert {"CLOSED"} == {
            raw_http2.play(trick, sending(pki, address)).status for trick in (Trick.HTTP1, Trick.NO_TE)
        }
    with server(say_nothing, pki) as address:
        assert "OPEN" == raw_http2.play(Trick.GARBAGE_PREFACE, sending(pki, address)).status
        assert "DEADLINE_EXCEEDED" == raw_http2.play(Trick.NO_TE, sending(pki, address)).status
    with server(speak_http1, pki) as address:
        assert "HTTP" == raw_http2.play(Trick.HTTP1, sending(pki, address)).status


def test_a_trick_that_can_not_be_played_is_not_held_against_the_target(pki: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(client.NotSent, match="no connection"):
        raw_http2.play(Trick.NO_TE, sending(pki, f"127.0.0.1:{port}"))
