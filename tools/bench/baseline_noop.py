"""The baselines: handlers that do nothing, with the same contract, limits and TLS as the full service.

One stands on gRPC's asyncio server, as most Python services do; the other on our polled server, and so shows the limit
of gRPC itself.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from development.sandbox import CHECK_NOTE
from estelam.client.channel import ClientIdentity, aio_channel
from estelam.core.settings import ServingSettings
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import (
    PromissoryNoteInquiryServiceServicer,
    add_PromissoryNoteInquiryServiceServicer_to_server,
)
from estelam.server.completion_queue import Call, PolledServer
from estelam.server.grpc_server import options
from estelam.server.process import write_port
from tools.bench.environment import SERVER_CORE, BenchEnvironment, Engine, check_note, load, promissory_server
from tools.bench.load.plan import Report
from tools.bench.processes import RunningServer, run_server

Ask = Callable[..., Report]


class NoopServicer(PromissoryNoteInquiryServiceServicer):
    """Returns the same reply to every request."""

    def __init__(self, reply: pb.CheckNoteResponse) -> None:
        self._reply = reply

    async def CheckNote(self, _request: pb.CheckNoteRequest, _context: Any) -> pb.CheckNoteResponse:  # noqa: N802
        """Return the constant reply."""
        return self._reply

    async def GetNoteParties(self, _request: Any, _context: Any) -> pb.GetNotePartiesResponse:  # noqa: N802
        """Not called by the benchmarks."""
        raise NotImplementedError


def main(settings: ServingSettings, reply: bytes, port_file: Path) -> None:
    """Serve *reply*, a serialized CheckNoteResponse, until SIGTERM; write the bound port to *port_file*."""
    asyncio.run(_serve(settings, pb.CheckNoteResponse.FromString(reply), port_file))


async def _serve(settings: ServingSettings, reply: pb.CheckNoteResponse, port_file: Path) -> None:
    server = grpc.aio.server(options=options(settings))
    add_PromissoryNoteInquiryServiceServicer_to_server(NoopServicer(reply), server)
    pair = (settings.private_key.read_bytes(), settings.certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], settings.ca_certificates.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    write_port(port_file, port)
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    await terminated.wait()
    await server.stop(1)


def main_polled(settings: ServingSettings, reply: bytes, port_file: Path) -> None:
    """Serve *reply* from our polled server, in one thread, until SIGTERM; write the bound port to *port_file*."""
    response = pb.CheckNoteResponse.FromString(reply)

    def serve(call: Call) -> None:
        pb.CheckNoteRequest.FromString(call.request or b"")
        call.reply(response.SerializeToString())

    server = PolledServer(options(settings), serve)
    pair = (settings.private_key.read_bytes(), settings.certificate.read_bytes())
    trust = settings.ca_certificates.read_bytes()
    port = server.listen("127.0.0.1:0", grpc.ssl_server_credentials([pair], trust, require_client_auth=True))
    server.start()
    write_port(port_file, port)
    while True:
        server.poll(wait=True)
        server.serve_waiting(1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Functions that load the full promissory service and the baselines, whose replies have the same length."""

    full: Ask
    baseline: Ask
    polled: Ask


@contextmanager
def compare_with_baseline(environment: BenchEnvironment, engine: Engine = Engine.SQLITE) -> Iterator[Comparison]:
    """Start both; they are idle until loaded."""
    suite, questions = environment.with_notes(engine), check_note(environment.scale)
    caller = suite.caller("setad")
    with promissory_server(suite) as full:
        reply = asyncio.run(_typical_reply(full, caller, questions.requests[:64]))
        with (
            run_server(main, suite.promissory(), reply, core=SERVER_CORE) as bare,
            run_server(main_polled, suite.promissory(), reply, core=SERVER_CORE) as polled,
        ):
            yield Comparison(*(partial(load, server, questions, caller) for server in (full, bare, polled)))


async def _typical_reply(server: RunningServer, caller: ClientIdentity, requests: Sequence[bytes]) -> bytes:
    async with aio_channel(f"127.0.0.1:{server.port}", caller) as channel:
        check: Any = channel.unary_unary(f"/{CHECK_NOTE}")
        for _ in range(4):  # The first calls are answered in batches of one; take a reply from a full batch.
            replies = await asyncio.gather(*(check(request, timeout=10) for request in requests))
    ordered: list[bytes] = sorted(replies, key=len)
    return ordered[len(ordered) // 2]
