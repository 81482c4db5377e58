"""Composition root of the adapter process."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.auth.authentication import Authenticator
from estelam.auth.authorization import Authorizer
from estelam.auth.shared_buckets import rate_limiter
from estelam.catalogue.access_source import AccessSource
from estelam.client.channel import ClientIdentity, channel
from estelam.core.clock import Clock
from estelam.pipeline.handler import BackendWrapper, InquiryHandler
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.pacer import Pacer
from estelam.pipeline.timers import Timers
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.server.call_counting import count_calls
from estelam.server.file_check import check_serving_files
from estelam.server.grpc_server import Server, run_server
from estelam.server.process import run_until_shutdown
from estelam.server.service import refusal_record_quota
from estelam.telemetry.metrics import Metrics
from estelam.telemetry.traces import tracing
from estelam.web.event_loop import run_in_event_loop
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.provider_keys import ProviderKeys
from sataad_adapter.settings import SetadSettings
from sataad_adapter.verification import VerificationBackend
from sataad_adapter.web.agencies import read_agencies
from sataad_adapter.web.frontends import frontends


def main(load: Callable[[], SetadSettings], port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT, and again on SIGHUP, each time with the settings that *load* reads.

    Once the service listens, its port is written to *port_file*.
    """
    run_until_shutdown(load, run_adapter, check=check_files, port_file=port_file)


def check_files(settings: SetadSettings) -> None:
    """Check that the files that the settings name can be used.

    Raises:
        UserFacingError, OSError: one can't.
    """
    check_serving_files(settings)
    _identity(settings).read()
    ProviderKeys(settings.provider_certificates, settings.provider_retired_keys, Clock())
    read_agencies(settings.page_agencies)


def _identity(settings: SetadSettings) -> ClientIdentity:
    return ClientIdentity(settings.client_certificate, settings.client_key, settings.ca_certificates)


@contextlib.contextmanager
def run_adapter(
    settings: SetadSettings,
    *,
    clock: Clock | None = None,
    wrap_backend: BackendWrapper = lambda backend, _timers: backend,
) -> Iterator[Server]:
    """Run the adapter; it calls the ministry's promissory service with Setad's client certificate.

    *wrap_backend* may put a backend around the one that forwards.

    Raises:
        ServerError: a port can't be bound, or a certificate can't be used.
    """
    clock, metrics = clock or Clock(), Metrics()
    identity = _identity(settings)
    client_expires_at = min(link.not_valid_after_utc for link in identity.read()[0].chain).timestamp()
    with (
        channel(settings.provider, identity) as ministry,
        contextlib.closing(Timers()) as timers,
        tracing(settings.SECTION, settings.traces, settings.traces_ratio) as traced,
    ):
        health = HealthStub(ministry)  # type: ignore[no-untyped-call]

        def ping() -> None:
            status = health.Check(HealthCheckRequest(), timeout=1)
            if status.status != HealthCheckResponse.SERVING:
                raise ConnectionError("the ministry's service reports that it is not serving")

        keys = ProviderKeys(settings.provider_certificates, settings.provider_retired_keys, clock)
        access, outages = Authorizer(AccessSource.of(settings), clock), OutageSchedule(settings.outages, clock)
        authenticator = Authenticator(settings, is_denied=access.is_denied, clock=clock)
        metrics.watch_expiry("client", lambda: client_expires_at)
        metrics.watch_files("access", access.is_current)
        metrics.watch_files("outages", outages.is_current)
        pacer = Pacer(timers, clock)
        ministry_backend = VerificationBackend(
            PromissoryNoteInquiryServiceStub(ministry), keys, identity.organization_id(), clock
        )
        handler = InquiryHandler(
            authenticator=authenticator,
            authorizer=access,
            outages=outages,
            rate_limiter=rate_limiter(settings, clock),
            backend=wrap_backend(ministry_backend, timers),
            pacer=pacer,
            metrics=metrics,
            clock=clock,
            request_timeout_seconds=settings.request_timeout_seconds,
            refusal_record_quota=refusal_record_quota(settings),
            is_forwarding=True,
            tracing=traced,
        )
        handlers = {VERIFY_NOTE.name: handler.handler(VERIFY_NOTE)}
        with (
            count_calls(settings, metrics, clock) as calls,
            run_server(
                settings,
                handlers,
                authenticator=authenticator,
                metrics=metrics,
                pacer=pacer,
                ping=ping,
                outages=outages,
                calls=calls,
            ) as server,
            run_in_event_loop(frontends(settings, handler, authenticator, pacer, keys, calls, clock)),
        ):
            yield server
