"""Shutdown in order: after SIGTERM a service finishes its calls, and its callers see no error."""

import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import grpc
import pytest

from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, channel
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.e2e.conftest import NOTE

CLIENTS = 4


class Balancer(socketserver.ThreadingTCPServer):
    """A minimal load balancer: each connection goes to the first of *services* that accepts it."""

    daemon_threads = True

    def __init__(self, services: Sequence[ServiceProcess]) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.services = services

    def connect(self) -> socket.socket | None:
        for service in self.services:
            with suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", service.port))
        return None


class Relay(socketserver.BaseRequestHandler):
    server: Balancer

    def handle(self) -> None:
        if (backend := self.server.connect()) is None:
            return
        with backend:
            back = threading.Thread(target=pump, args=(backend, self.request), daemon=True)
            back.start()
            pump(self.request, backend)
            back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def balanced(services: Sequence[ServiceProcess]) -> Iterator[str]:
    """The address of a load balancer in front of *services*."""
    with Balancer(services) as balancer:
        threading.Thread(target=balancer.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{balancer.server_address[1]}"
        balancer.shutdown()


@pytest.fixture
def pair(loaded: Sandbox) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    """Two processes of one service; on SQLite each has its own store."""
    shutil.copytree(loaded.folder / "promissory", loaded.folder / "second")
    other = {"ESTELAM_PROMISSORY_STORE": f"sqlite:///{loaded.folder / 'second'}"}
    with ServiceProcess("promissory", loaded) as first, ServiceProcess("promissory", loaded, environ=other) as second:
        yield first, second


@pytest.mark.slow
def test_rolling_restart_loses_no_call(pair: tuple[ServiceProcess, ServiceProcess], loaded: Sandbox) -> None:
    """A rolling restart under load loses no call of our client."""
    over = threading.Event()
    setad = ClientIdentity.named(loaded.pki, "setad")

    def ask(address: str) -> tuple[int, list[grpc.StatusCode]]:
        answers, lost = 0, []
        with channel(address, setad) as opened:
            stub = PromissoryNoteInquiryServiceStub(opened)
            while not over.is_set():
                try:
                    answers += stub.CheckNote(NOTE, timeout=30).answer == ANSWER_YES
                except grpc.RpcError as error:
                    lost.append(error.code())
                over.wait(0.005)
        return answers, lost

    with balanced(pair) as address, ThreadPoolExecutor(CLIENTS) as clients, ExitStack() as at_last:
        at_last.callback(over.set)
        asking = [clients.submit(ask, address) for _ in range(CLIENTS)]
        statuses = []
        for service in pair:
            over.wait(0.5)
            statuses.append(service.stop())
            service.start()
        over.set()
        results = [client.result() for client in asking]

    assert [0, 0] == statuses
    assert [[]] * CLIENTS == [lost for _, lost in results]
    assert all(answers for answers, _ in results)
