"""Scenarios: one certificate without any grant, or one address, takes all it can get, in one way or another.

A regular client calls at a low rate, first alone and then beside that, over a new connection now and then: a newcomer
is what is excluded first. None of its calls may fail, its p99 may rise to at most three times, and the memory of the
server may grow by at most 64 MiB. A round is a connection or call of the greedy one; what has ended is opened again.
"""

import asyncio
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import grpc
import httpx
from grpc_health.v1.health_pb2 import HealthCheckRequest
from hpack import Encoder

from conformance.raw_http2 import grpc_message
from development import sandbox as suite
from development.processes import ServiceProcess, free_ports
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, channel
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tools.bench.processes import resident_mib
from tools.chaos.flood import Flood, running_flood, trust_proxy
from tools.chaos.fuzz import NOTE, TARGETS, headers_of
from tools.chaos.raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ConnectionClosed,
    RawConnection,
    frame,
)
from tools.chaos.scenario import Result, Scenario, Task
from tools.env.envoy import Envoy

SECONDS: Final = 4.0
"""How long the regular client calls at least, before, during and after the flood."""
MIN_CALLS: Final = 300
"""The least number of calls, so that the p99 is not the slowest of them; within MAX_SECONDS."""
MAX_SECONDS: Final = 20.0
PAUSE_SECONDS: Final = 0.02
CALL_SECONDS: Final = 10.0
REOPEN_SECONDS: Final = 0.01
CALLS: Final = 20
"""The number of calls that the regular client makes over one connection."""
ENVIRON: Final = {"MALLOC_ARENA_MAX": "2"}
"""As the committed units set it."""
MAX_LATENCY_RATIO: Final = 3.0
MIB: Final = 64.0
OTHER_ADDRESS: Final = "127.0.0.2"
"""The address of the regular caller: handshakes over HTTP are limited by address, as nobody is known before them."""
STREAMS: Final = 32
GREEDY: Final = "stranger"
WATCH: Final = "grpc.health.v1.Health/Watch"
JSON_REQUEST: Final = {
    "serial": NOTE.serial,
    "obligorId": NOTE.obligor_id,
    "beneficiaryId": NOTE.beneficiary_id,
    "amountRials": str(NOTE.amount_rials),
    "executiveAgencyId": "SETAD-0001",
}

Ask = Callable[[], object]


@dataclass(slots=True)
class Latencies:
    """How long the calls of the regular client took, in milliseconds."""

    taken: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def at(self, share: float) -> float:
        """The latency that this share of the calls did not exceed."""
        return sorted(self.taken)[int(share * len(self.taken))] if self.taken else float("inf")


@dataclass(frozen=True, slots=True)
class Face:
    """A server's address, the process behind it, and a regular client's way to call it."""

    port: int
    pid: int
    ask: Ask


def run(task: Task, face: Callable[[Sandbox, ExitStack], Face], flood: Flood) -> Result:
    """Run *flood* against *face*."""
    sandbox = suite.create_sandbox(task.folder, rate=1e6, burst=10**6)
    suite.load_samples(sandbox)
    with ExitStack() as at_last:
        opened = face(sandbox, at_last)
        _measure(opened.ask)
        calm, before = _measure(opened.ask), resident_mib(opened.pid)
        with running_flood(flood, opened.port, sandbox, task.rounds) as progress:
            progress.recv()
            beside, during = _measure(opened.ask), resident_mib(opened.pid)
        after, afterwards = _measure(opened.ask), resident_mib(opened.pid)
    task.progress(task.rounds)
    rise, grown = beside.at(0.99) / calm.at(0.99), max(during, afterwards) - before
    failed = [*calm.failed, *beside.failed, *after.failed]
    return Result(
        rounds=task.rounds,
        checked=sum(len(each.taken) for each in (calm, beside, after)),
        losses=[f"a regular call failed: {status}" for status in failed],
        missed=[
            *([f"p99 rose {rise:.1f} times"] if rise > MAX_LATENCY_RATIO else []),
            *([f"memory grew by {grown:.0f} MiB"] if grown > MIB else []),
        ],
        remarks=[
            f"p50 {calm.at(0.5):.1f} to {beside.at(0.5):.1f} ms, p99 {calm.at(0.99):.1f} to {beside.at(0.99):.1f}",
            f"memory {before:.0f}, {during:.0f}, {afterwards:.0f} MiB",
        ],
    )


def _measure(ask: Ask) -> Latencies:
    found, began = Latencies(), time.monotonic()
    while (spent := time.monotonic() - began) < SECONDS or (spent < MAX_SECONDS and len(found.taken) < MIN_CALLS):
        time.sleep(PAUSE_SECONDS)
        asked = time.perf_counter()
        try:
            ask()
            found.taken.append(1000 * (time.perf_counter() - asked))
        except (grpc.RpcError, httpx.HTTPError) as error:
            found.failed.append(error.code().name if isinstance(error, grpc.Call) else type(error).__name__)
    return found


class Closable(Protocol):
    """A client."""

    def close(self) -> None:
        """End its connections."""


C = TypeVar("C", bound=Closable)


class Reopened(Generic[C]):
    """A client that is opened anew for every CALLS calls."""

    def __init__(self, open_one: Callable[[], C]) -> None:
        self._open = open_one
        self._opened = open_one()
        self._left = CALLS

    def get(self) -> C:
        """Return the client for the next call."""
        if not self._left:
            self._opened.close()
            self._opened, self._left = self._open(), CALLS
        self._left -= 1
        return self._opened

    def close(self) -> None:
        """Close the client."""
        self._opened.close()


def grpc_face(sandbox: Sandbox, at_last: ExitStack, *, envoy: str = "") -> Face:
    """The promissory service over gRPC, directly or behind the committed Envoy configuration *envoy*."""
    environ = ENVIRON | (trust_proxy(sandbox) if envoy else {})
    service = at_last.enter_context(ServiceProcess("promissory", sandbox, environ=environ))
    port = service.port
    if envoy:
        folder = sandbox.folder / "envoy"
        port = at_last.enter_context(Envoy(envoy, folder, pki=sandbox.pki, workers=[port])).port
    identity = ClientIdentity.named(sandbox.pki, "setad")

    opened = at_last.enter_context(closing(Reopened(lambda: channel(f"localhost:{port}", identity))))

    def ask() -> None:
        PromissoryNoteInquiryServiceStub(opened.get()).CheckNote(NOTE, timeout=CALL_SECONDS)

    return Face(port, service.pid, ask)


def metrics_face(sandbox: Sandbox, at_last: ExitStack) -> Face:
    """The metrics of the promissory service."""
    port = free_ports("metrics")["metrics"]
    environ = ENVIRON | {"ESTELAM_PROMISSORY_METRICS_LISTEN": f"127.0.0.1:{port}"}
    service = at_last.enter_context(ServiceProcess("promissory", sandbox, environ=environ))
    return Face(port, service.pid, lambda: httpx.get(f"http://127.0.0.1:{port}/ready", timeout=CALL_SECONDS))


def web_face(sandbox: Sandbox, at_last: ExitStack, *, name: str) -> Face:
    """The adapter's JSON face ("api") or its page ("page")."""
    ministry = at_last.enter_context(ServiceProcess("promissory", sandbox))
    ports = free_ports("page", "api")
    environ = ENVIRON | {
        "ESTELAM_SETAD_PROVIDER": f"localhost:{ministry.port}",
        **{f"ESTELAM_SETAD_{each.upper()}_LISTEN": f"127.0.0.1:{port}" for each, port in ports.items()},
    }
    adapter = at_last.enter_context(ServiceProcess("setad", sandbox, environ=environ))
    tls = ssl.create_default_context(cafile=sandbox.pki / "ca.crt")
    tls.load_cert_chain(sandbox.pki / "setad.crt", sandbox.pki / "setad.key")

    def open_client() -> httpx.Client:
        transport = httpx.HTTPTransport(verify=tls, trust_env=False, local_address=OTHER_ADDRESS)
        return httpx.Client(transport=transport, trust_env=False, timeout=CALL_SECONDS)

    client = at_last.enter_context(closing(Reopened(open_client)))

    def ask() -> None:
        if name == "api":
            url = f"https://localhost:{ports['api']}/v1/notes:verify"
            client.get().post(url, json=JSON_REQUEST).raise_for_status()
        else:
            client.get().get(f"http://localhost:{ports['page']}/fa/").raise_for_status()

    return Face(ports[name], adapter.pid, ask)


def hold_connections(port: int, pki: Path, count: int, progress: Connection, *, tls: bool, sent: bytes) -> None:
    """Hold *count* connections, with the greedy certificate if *tls*, on each of which *sent* is all that is sent."""
    context = ClientIdentity.named(pki, GREEDY).ssl_context() if tls else None

    def open_one() -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", port), timeout=CALL_SECONDS)
        if context:
            opened = context.wrap_socket(opened, server_hostname="localhost")
        opened.sendall(sent)
        return opened

    held: list[socket.socket] = []
    for number in itertools.count():
        with suppress(OSError):
            held.append(open_one())
        if number == count:
            progress.send(len(held))
        if number >= count:
            held[: len(held) - count] = []
            time.sleep(REOPEN_SECONDS)


def hold_streams(port: int, pki: Path, count: int, progress: Connection) -> None:
    """Hold *count* calls of Health/Watch, 32 on each connection."""
    context = ClientIdentity.named(pki, GREEDY).ssl_context()
    held = [_watch(port, context) for _ in range(count // STREAMS)]
    progress.send(len(held))
    for number in itertools.cycle(range(len(held))):
        time.sleep(REOPEN_SECONDS)
        if (opened := held[number]) is None or opened.is_closed():
            held[number] = _watch(port, context)


def _watch(port: int, context: ssl.SSLContext) -> RawConnection | None:
    with suppress(OSError, ConnectionClosed):
        opened = RawConnection(port, context)
        opened.write(calls(WATCH, HealthCheckRequest().SerializeToString(), 1, Encoder()))
        return opened
    return None


def call_again(port: int, pki: Path, count: int, progress: Connection, *, method: str, request: bytes) -> None:
    """Keep *count* calls that get no answer under way, 32 on each connection."""
    context = ClientIdentity.named(pki, GREEDY).ssl_context()
    threads = [
        threading.Thread(target=_call_for_ever, args=(port, context, method, request), daemon=True)
        for _ in range(count // STREAMS)
    ]
    for each in threads:
        each.start()
    time.sleep(1)
    progress.send(count)
    threading.Event().wait()


def _call_for_ever(port: int, context: ssl.SSLContext, method: str, request: bytes) -> None:
    while True:
        with suppress(OSError, ConnectionClosed):
            opened, encoder = RawConnection(port, context), Encoder()
            for first in range(1, 2**31, 2 * STREAMS):
                opened.write(calls(method, request, first, encoder))
                opened.read(range(first, first + 2 * STREAMS, 2))
                opened.replies.clear()
        time.sleep(REOPEN_SECONDS)


def ask_again(port: int, pki: Path, count: int, progress: Connection, *, tls: bool, request: bytes) -> None:
    """Keep *count* HTTP requests that are refused under way, each on a connection of its own."""
    context = ClientIdentity.named(pki, GREEDY).ssl_context(alpn=["http/1.1"]) if tls else None

    async def ask_for_ever() -> None:
        while True:
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await _ask_on_one_connection(port, context, request)
            await asyncio.sleep(REOPEN_SECONDS)

    async def ask() -> None:
        asking = [asyncio.create_task(ask_for_ever()) for _ in range(count)]
        await asyncio.sleep(1)
        progress.send(count)
        await asyncio.gather(*asking)

    asyncio.run(ask())


async def _ask_on_one_connection(port: int, context: ssl.SSLContext | None, request: bytes) -> None:
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    with closing(writer):
        while True:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(None, 1)[0]))


def _post(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def calls(method: str, request: bytes, first: int, encoder: Encoder, count: int = STREAMS) -> bytes:
    """Return the frames of *count* calls, on the stream *first* and those after it."""
    headers = [(name, f"/{method}".encode() if name == b":path" else value) for name, value in headers_of(TARGETS[0])]
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, encoder.encode(headers))
        + frame(DATA, END_STREAM, stream, grpc_message(request))
        for stream in range(first, first + 2 * count, 2)
    )


TLS_IDLE = partial(hold_connections, tls=True, sent=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
HALF_OPEN = partial(hold_connections, tls=False, sent=bytes.fromhex("1603010200"))
REFUSED = partial(call_again, method=suite.CHECK_NOTE, request=NOTE.SerializeToString())
UNKNOWN = partial(call_again, method="estelam.Unknown/Method", request=b"")
HEALTH = partial(call_again, method="grpc.health.v1.Health/Check", request=HealthCheckRequest().SerializeToString())
API, PAGE = partial(web_face, name="api"), partial(web_face, name="page")
PASSED, ENDED = (partial(grpc_face, envoy=f"{kind}.yaml") for kind in ("pass-through", "terminating"))
JSON_REFUSED = partial(
    ask_again, tls=True, request=_post("/v1/notes:verify", "application/json", json.dumps(JSON_REQUEST).encode())
)
JSON_MALFORMED = partial(ask_again, tls=True, request=_post("/v1/notes:verify", "text/plain", b"?"))
PAGE_REFUSED = partial(ask_again, tls=False, request=_post("/en/", "application/x-www-form-urlencoded", b""))
ONE_BYTE_TLS, ONE_BYTE = (partial(hold_connections, tls=tls, sent=b"P") for tls in (True, False))

SCENARIOS = tuple(
    Scenario(f"greedy-{name}", about, short, long, partial(run, face=face, flood=flood))
    for name, about, short, long, face, flood in (
        ("idle", "idle gRPC connections of one certificate", 1024, 4096, grpc_face, TLS_IDLE),
        ("half-open", "half-open handshakes at the gRPC server", 1024, 4096, grpc_face, HALF_OPEN),
        (
            "idle-passed-through",
            "the same idle connections through the Envoy that passes TLS",
            1024,
            2048,
            PASSED,
            TLS_IDLE,
        ),
        ("idle-terminated", "the same idle connections at the Envoy that ends TLS", 1024, 4096, ENDED, TLS_IDLE),
        ("streams", "Health/Watch streams of one certificate", 20_000, 20_000, grpc_face, hold_streams),
        ("streams-terminated", "Health/Watch streams at the Envoy that ends TLS", 20_000, 20_000, ENDED, hold_streams),
        ("refused", "calls without a grant", 1600, 6400, grpc_face, REFUSED),
        ("refused-passed-through", "the same through the Envoy that passes TLS", 1600, 6400, PASSED, REFUSED),
        ("refused-terminated", "calls without a grant at the Envoy that ends TLS", 1600, 6400, ENDED, REFUSED),
        ("unknown", "calls of an unknown method", 1600, 6400, grpc_face, UNKNOWN),
        ("health", "calls of Health/Check", 1600, 6400, grpc_face, HEALTH),
        ("json", "JSON connections of one certificate with one byte sent", 1024, 4096, API, ONE_BYTE_TLS),
        ("json-half-open", "half-open handshakes at the JSON face", 1024, 4096, API, HALF_OPEN),
        ("json-refused", "JSON inquiries without a grant", 400, 1600, API, JSON_REFUSED),
        ("json-malformed", "JSON requests that hold no inquiry", 400, 1600, API, JSON_MALFORMED),
        ("page-refused", "forms of another site", 400, 1600, PAGE, PAGE_REFUSED),
        ("page", "page connections with one byte sent", 1024, 4096, PAGE, ONE_BYTE),
        ("metrics", "half requests for the metrics", 1024, 4096, metrics_face, ONE_BYTE),
    )
)
