"""Scenario: thousands of silent connections and reset streams against the committed Envoy configuration.

A round is a stream that is reset; for ten of them there is one connection that is idle or half open. A regular client
calls meanwhile: none of its calls may fail, and its p99 may rise to at most three times its p99 without the flood.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
from hpack import Encoder

from development import sandbox as suite
from development.processes import ServiceProcess
from development.sandbox import MINISTRY, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity, channel
from estelam.core.keys import key_fingerprint
from estelam.core.pem import read_certificates
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tools.chaos.fuzz import NOTE, TARGETS, headers_of
from tools.chaos.raw_http2 import (
    END_HEADERS,
    HEADERS,
    RST_STREAM,
    ConnectionClosed,
    RawConnection,
    frame,
)
from tools.chaos.scenario import Result, Scenario, Task
from tools.env.envoy import Envoy
from tools.env.python_process import SPAWN

CALM_SECONDS = 2.0
PAUSE_SECONDS = 0.02
CALL_SECONDS = 10.0
AT_ONCE = 100
MAX_LATENCY_RATIO = 3.0
CANCEL = (8).to_bytes(4)
# The beginning of a TLS handshake that is never continued.
HALF_OPEN = bytes.fromhex("1603010200")
CHECK_NOTE = TARGETS[0]

Flood = Callable[[int, Path, int, Connection], None]


class QuietClient:
    """A client at a steady rate that measures the latency of its calls."""

    def __init__(self, address: str, identity: ClientIdentity) -> None:
        self._address = address
        self._identity = identity
        self.asked = 0
        self.failed: list[str] = []

    def p99_while(self, something: Callable[[], object]) -> float:
        """Call until *something* has ended; returns the p99 latency in milliseconds."""
        taken: list[float] = []
        over = threading.Event()
        asking = threading.Thread(target=self._ask, args=(taken, over))
        asking.start()
        try:
            something()
        finally:
            over.set()
            asking.join()
        return 1000 * sorted(taken)[int(0.99 * len(taken))]

    def _ask(self, taken: list[float], over: threading.Event) -> None:
        with channel(self._address, self._identity) as opened:
            stub = PromissoryNoteInquiryServiceStub(opened)
            while not over.wait(PAUSE_SECONDS):
                self.asked += 1
                began = time.perf_counter()
                try:
                    stub.CheckNote(NOTE, timeout=CALL_SECONDS)
                    taken.append(time.perf_counter() - began)
                except grpc.RpcError as error:
                    self.failed.append(error.code().name)


def run(task: Task, kind: str, whole: int) -> Result:
    """Flood the Envoy configuration *kind*; every *whole*-th idle connection has completed its handshake."""
    sandbox = suite.create_sandbox(task.folder, rate=1e6, burst=10**6)
    suite.load_samples(sandbox)
    with ExitStack() as at_last:
        worker = at_last.enter_context(ServiceProcess("promissory", sandbox, environ=trust_proxy(sandbox)))
        folder = task.folder / "envoy"
        envoy = at_last.enter_context(Envoy(kind, folder, pki=sandbox.pki, workers=[worker.port]))
        client = QuietClient(envoy.address, ClientIdentity.named(sandbox.pki, "setad"))
        calm = client.p99_while(partial(time.sleep, CALM_SECONDS))
        with running_flood(partial(_hold, whole=whole), envoy.port, sandbox, task.rounds // 10) as flood:
            held = flood.recv()
            silent = client.p99_while(partial(time.sleep, CALM_SECONDS))
        with running_flood(_reset, envoy.port, sandbox, task.rounds) as flood:
            reset = client.p99_while(flood.recv)
    task.progress(task.rounds)
    rises = {f"{held:,} idle connections": silent / calm, f"{task.rounds:,} resets": reset / calm}
    return Result(
        rounds=task.rounds,
        checked=client.asked,
        losses=[f"a regular call failed: {status}" for status in client.failed],
        missed=[f"p99 rose {rise:.1f} times under {what}" for what, rise in rises.items() if rise > MAX_LATENCY_RATIO],
        remarks=[f"p99 {calm:.1f} ms", *(f"{rise:.1f} times that under {what}" for what, rise in rises.items())],
    )


def trust_proxy(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a worker that trusts the sandbox's proxy."""
    DevCertificateAuthority(sandbox.pki).issue("server", [MINISTRY], hosts=["localhost", "127.0.0.1"])
    (certificate,) = read_certificates(sandbox.pki / "proxy.crt")
    return {"ESTELAM_PROMISSORY_TRUSTED_PROXY_KEYS": key_fingerprint(certificate.public_key())}


@contextmanager
def running_flood(flood: Flood, port: int, sandbox: Sandbox, count: int) -> Iterator[Connection]:
    """Run a process that floods *port* until the end of the block; it reports over the yielded connection."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=flood, args=(port, sandbox.pki, count, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def _hold(port: int, pki: Path, count: int, progress: Connection, *, whole: int) -> None:
    """Hold *count* connections: silent ones, half-open handshakes, and some complete handshakes."""
    tls = ClientIdentity.named(pki, "agency").ssl_context()
    held: list[object] = []
    for number in range(count):
        with suppress(OSError, ConnectionClosed):
            if not number % whole:
                held.append(RawConnection(port, tls))
                continue
            silent = socket.create_connection(("127.0.0.1", port), timeout=CALL_SECONDS)
            held.append(silent)
            if number % 2:
                silent.sendall(HALF_OPEN)
    progress.send(len(held))
    threading.Event().wait()


def _reset(port: int, pki: Path, count: int, progress: Connection) -> None:
    """Open *count* streams and reset each at once, on one connection after the other."""
    tls = ClientIdentity.named(pki, "agency").ssl_context()
    sent = 0
    while sent < count:
        encoder = Encoder()
        with suppress(OSError, ConnectionClosed), closing(RawConnection(port, tls)) as opened:
            for first in range(1, 2**31, 2 * AT_ONCE):
                streams = range(first, first + 2 * AT_ONCE, 2)
                opened.write(b"".join(_cut_off(stream, encoder) for stream in streams))
                sent += AT_ONCE
                opened.drain(0.001)
                if sent >= count:
                    break
    progress.send(sent)


def _cut_off(stream: int, encoder: Encoder) -> bytes:
    block = encoder.encode(headers_of(CHECK_NOTE))
    return frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, CANCEL)


PASSED_THROUGH = Scenario(
    "flood-passed-through",
    "idle connections and stream resets through the Envoy that passes TLS through",
    2_000,
    100_000,
    # A worker holds 512 connections.
    partial(run, kind="pass-through.yaml", whole=30),
)
TERMINATED = Scenario(
    "flood-terminated",
    "idle connections and stream resets at the Envoy that ends TLS",
    2_000,
    100_000,
    partial(run, kind="terminating.yaml", whole=3),
)
