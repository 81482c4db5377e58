"""Connections over a slow network."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, aio_connections, channel
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.e2e.conftest import NOTE
from tests.support.service import RunningService

DELAY_SECONDS = 0.15
"""The time that each part of a TLS handshake takes in each direction."""


def forward(source: socket.socket, target: socket.socket) -> None:
    """Copy what arrives at *source* to *target*, late."""
    with suppress(OSError):
        while content := source.recv(1 << 16):
            time.sleep(DELAY_SECONDS)
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def slow_address(promissory: RunningService) -> Iterator[str]:
    """The address of the promissory service behind a slow network."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(target: Callable[..., None], *arguments: socket.socket) -> None:
        threads.append(threading.Thread(target=target, args=arguments))
        threads[-1].start()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                caller, _ = listener.accept()
                service = socket.create_connection(("127.0.0.1", promissory.port))
                sockets.extend((caller, service))
                start(forward, caller, service)
                start(forward, service, caller)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        start(serve, listener)
        yield f"localhost:{listener.getsockname()[1]}"
        for opened in (listener, *sockets):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        for opened in sockets:
            opened.close()


def ask(address: str, identity: ClientIdentity) -> int:
    with channel(address, identity) as opened:
        return PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=20).answer


def ask_once(address: str, identity: ClientIdentity) -> int:
    async def call() -> int:
        (opened,) = aio_connections(address, identity, 1)
        async with opened:
            reply = await PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=20)
            return int(reply.answer)

    return asyncio.run(call())


@pytest.mark.parametrize("call", [ask, ask_once])
def test_slow_handshake(shared: Sandbox, slow_address: str, call: Callable[[str, ClientIdentity], int]) -> None:
    """A handshake that takes longer than the pause between attempts is finished, not given up."""
    assert call(slow_address, ClientIdentity.named(shared.pki, "setad")) == ANSWER_YES
