"""The adapter, put together and run until told to stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.auth.authentication import Doorkeeper
from estelam.auth.authorization import Access
from estelam.client.channel import Identity, aio_channel
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.pipeline.handler import Desk
from estelam.pipeline.outages import Outages
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.server.grpc_server import Server, running, until_told_to_stop, write_port
from estelam.server.service import refusal_budget
from estelam.telemetry import logs
from estelam.telemetry.metrics import Metrics
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.verification import Verification
from sataad_adapter.web.frontends import faces


def main(settings: SetadSettings, port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; write the bound port to *port_file* once listening."""
    logs.configure(settings.log_level)
    asyncio.run(_serve(settings, port_file))


async def _serve(settings: SetadSettings, port_file: Path | None) -> None:
    async with adapter(settings) as server:
        write_port(port_file, server.port)
        await until_told_to_stop()


@contextlib.asynccontextmanager
async def adapter(settings: SetadSettings, *, clock: Clock | None = None) -> AsyncIterator[Server]:
    """A running adapter, which asks the ministry under Setad's certificate."""
    clock, metrics = clock or Clock(), Metrics()
    identity = Identity(settings.client_certificate, settings.client_key, settings.trust)
    async with aio_channel(settings.provider, identity) as ministry:
        health = HealthStub(ministry)  # type: ignore[no-untyped-call]

        async def ping() -> None:
            status = await health.Check(HealthCheckRequest(), timeout=1)
            if status.status != HealthCheckResponse.SERVING:
                raise ConnectionError("the ministry's service does not serve")

        keys = verifying_keys(settings.provider_certificates)
        access, outages = Access(settings.access, clock), Outages(settings.outages, clock)
        desk = Desk(
            door=Doorkeeper(settings, barred=access.barred, clock=clock),
            access=access,
            outages=outages,
            counter=Verification(PromissoryNoteInquiryServiceStub(ministry), keys, clock),
            metrics=metrics,
            clock=clock,
            answer_seconds=settings.answer_seconds,
            refusals=refusal_budget(settings),
            relays=True,
        )
        handlers = {VERIFY_NOTE.name: desk.handler(VERIFY_NOTE)}
        serving = running(settings, handlers, metrics=metrics, ping=ping, outages=outages)
        async with serving as server, faces(settings, desk, keys, clock):
            yield server
