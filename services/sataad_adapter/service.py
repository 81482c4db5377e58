"""The adapter, put together and run until told to stop."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.auth.authentication import Authenticator
from estelam.auth.authorization import Authorizer
from estelam.catalogue.access_source import AccessSource
from estelam.client.channel import ClientIdentity, aio_channel
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.pipeline.handler import InquiryHandler
from estelam.pipeline.outages import OutageSchedule
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.server.grpc_server import Server, run_server
from estelam.server.process import run_until_shutdown
from estelam.server.service import refusal_record_quota
from estelam.telemetry.metrics import Metrics
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.verification import Verification
from sataad_adapter.web.frontends import faces


def main(settings: SetadSettings, port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; write the bound port to *port_file* once the service listens."""
    run_until_shutdown(partial(adapter, settings), log_level=settings.log_level, port_file=port_file)


@contextlib.asynccontextmanager
async def adapter(settings: SetadSettings, *, clock: Clock | None = None) -> AsyncIterator[Server]:
    """A running adapter, which asks the ministry under Setad's certificate."""
    clock, metrics = clock or Clock(), Metrics()
    identity = ClientIdentity(settings.client_certificate, settings.client_key, settings.ca_certificates)
    async with aio_channel(settings.provider, identity) as ministry:
        health = HealthStub(ministry)  # type: ignore[no-untyped-call]

        async def ping() -> None:
            status = await health.Check(HealthCheckRequest(), timeout=1)
            if status.status != HealthCheckResponse.SERVING:
                raise ConnectionError("the ministry's service does not serve")

        keys = verifying_keys(settings.provider_certificates)
        access, outages = Authorizer(AccessSource(settings.access), clock), OutageSchedule(settings.outages, clock)
        desk = InquiryHandler(
            authenticator=Authenticator(settings, is_denied=access.is_denied, clock=clock),
            authorizer=access,
            outages=outages,
            backend=Verification(PromissoryNoteInquiryServiceStub(ministry), keys, clock),
            metrics=metrics,
            clock=clock,
            request_timeout_seconds=settings.request_timeout_seconds,
            refusal_record_quota=refusal_record_quota(settings),
            is_forwarding=True,
        )
        handlers = {VERIFY_NOTE.name: desk.handler(VERIFY_NOTE)}
        serving = run_server(settings, handlers, metrics=metrics, ping=ping, outages=outages)
        async with serving as server, faces(settings, desk, keys, clock):
            yield server
