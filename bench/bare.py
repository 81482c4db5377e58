"""The bare handler: the same contract, limits and TLS as the full service, and nothing behind them."""

import asyncio
from pathlib import Path
from typing import Any

import grpc

from estelam.desk import Context
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import (
    PromissoryNoteInquiryServiceServicer,
    add_PromissoryNoteInquiryServiceServicer_to_server,
)
from estelam.server import options, until_told_to_stop, write_port
from estelam.settings import ServingSettings


class BareServicer(PromissoryNoteInquiryServiceServicer):
    """Gives every request the same reply."""

    def __init__(self, reply: pb.CheckNoteResponse) -> None:
        self._reply = reply

    async def CheckNote(self, _request: pb.CheckNoteRequest, _context: Context) -> pb.CheckNoteResponse:  # noqa: N802
        """Say what is always said."""
        return self._reply

    async def GetNoteParties(self, _request: Any, _context: Context) -> pb.GetNotePartiesResponse:  # noqa: N802
        """Nobody asks this here."""
        raise NotImplementedError


def main(settings: ServingSettings, reply: bytes, port_file: Path) -> None:
    """Serve *reply*, a serialized CheckNoteResponse, until SIGTERM; write the bound port to *port_file*."""
    asyncio.run(_serve(settings, pb.CheckNoteResponse.FromString(reply), port_file))


async def _serve(settings: ServingSettings, reply: pb.CheckNoteResponse, port_file: Path) -> None:
    server = grpc.aio.server(options=options(settings))
    add_PromissoryNoteInquiryServiceServicer_to_server(BareServicer(reply), server)
    pair = (settings.private_key.read_bytes(), settings.certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], settings.trust.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    write_port(port_file, port)
    await until_told_to_stop()
    await server.stop(1)
