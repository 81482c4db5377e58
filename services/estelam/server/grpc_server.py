"""The gRPC server of every service: limits, TLS with reload, health, and an orderly shutdown."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import structlog
from google.protobuf.internal import api_implementation
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health  # type: ignore[attr-defined]

from estelam.core import addresses
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import ServerError, describe_error
from estelam.core.pem import KeyFileError, read_key_pair, read_trust
from estelam.core.reload import FileReloader
from estelam.core.settings import ServingSettings
from estelam.pipeline.handler import Context, Handler, abort
from estelam.pipeline.outages import OutageSchedule
from estelam.server.grpc_patch import PatchedServer
from estelam.telemetry.metrics import Metrics

log = structlog.get_logger()

HEALTH_SECONDS = 1.0
SWITCH_INTERVAL_SECONDS = 0.0005
MIN_HEALTH_PAUSE_SECONDS = 0.01
_HEALTH_STATUS = {True: health_pb2.HealthCheckResponse.SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}


def options(settings: ServingSettings) -> list[tuple[str, int]]:
    """Return gRPC's limits; the default of each is unlimited or far too large."""
    return [
        ("grpc.so_reuseport", int(settings.shares_port)),
        ("grpc.max_concurrent_streams", 100),
        # It counts calls that have ended but are not cleaned up yet, and so refuses a busy caller within the limit.
        ("grpc.http.overload_protection", 0),
        # Our own limit is 4 KiB and gives a reason; this one gives none and only bounds memory.
        ("grpc.max_receive_message_length", 65536),
        ("grpc.max_send_message_length", 16384),
        ("grpc.max_metadata_size", 8192),
        ("grpc.absolute_max_metadata_size", 8192),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        # Calls not yet accepted: gRPC would drop some at random, of any caller, before they reach our own queue, which
        # is fair. Streams and connections bound them.
        ("grpc.server.max_pending_requests", 100 * settings.max_connections),
        ("grpc.server.max_pending_requests_hard_limit", 100 * settings.max_connections),
        ("grpc.server_handshake_timeout_ms", int(settings.handshake_seconds * 1000)),
        ("grpc.max_connection_idle_ms", 300_000),
        ("grpc.max_connection_age_ms", int(settings.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", 30_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 15_000),
        ("grpc.enable_channelz", 0),
    ]


class ReloadingCredentials:
    """The server's certificate and the authorities of client certificates, reloaded when their files change."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        files = settings.private_key, settings.certificate, settings.ca_certificates
        self._reloader = FileReloader(lambda: files, self._read)
        self._reloader.refresh()
        self.first = self._reloader.value

    def expires_at(self) -> float:
        """Return when the first certificate of the server's chain in use expires, in seconds since 1970."""
        return self._expires_at

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration for this handshake and later ones; None keeps the last, also during a rotation.

        GRPC 1.85 builds a new TLS context for every configuration it gets, concurrently with handshakes: with one
        configuration per handshake a server crashed within a few thousand connections.
        """
        try:
            if not self._reloader.refresh():
                return None
        except (OSError, KeyFileError) as error:
            log.warning("certificate.unreadable", error=type(error).__name__)
            return None
        log.info("certificate.reloaded")
        return self._reloader.value

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = read_key_pair(self._settings.certificate, self._settings.private_key)
        self._expires_at = min(link.not_valid_after_utc for link in pair.chain).timestamp()
        # A file of authorities without any, perhaps half written, would exclude every caller.
        trust = read_trust(self._settings.ca_certificates)
        return grpc.ssl_server_certificate_configuration(
            [(pair.private_key_pem, pair.chain_pem)], root_certificates=trust
        )


async def _unknown_method(_wire: bytes, context: Context) -> bytes:
    return await abort(context, Refusal(Reason.METHOD_UNKNOWN))


class Server:
    """A listening server."""

    def __init__(self, settings: ServingSettings, handlers: Mapping[str, Handler], metrics: Metrics) -> None:
        if api_implementation.Type() != "upb":
            raise ServerError("protobuf runs without its C implementation (upb); install a binary wheel of protobuf")
        try:
            credentials = ReloadingCredentials(settings)
        except (OSError, KeyFileError) as error:
            raise ServerError(f"the server's certificate can't be used: {describe_error(error)}") from error
        metrics.watch_expiry("tls", credentials.expires_at)
        self._settings = settings
        self.services = frozenset(name.partition("/")[0] for name in handlers)
        self._server = PatchedServer(options(settings), _unknown_method)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)  # type: ignore[no-untyped-call]
        for name, handler in handlers.items():
            service, _, method = name.partition("/")
            behaviour: Any = grpc.unary_unary_rpc_method_handler(handler)
            self._server.add_registered_method_handlers(service, {method: behaviour})
        changed: Any = credentials.changed  # gRPC accepts None, its types do not
        tls = grpc.dynamic_ssl_server_credentials(credentials.first, changed, require_client_authentication=True)
        try:
            self.port = self._server.add_secure_port(settings.listen, tls)
        except RuntimeError as error:
            # gRPC does not say why; binding the address again does.
            addresses.bind(settings.origin("listen"), settings.listen, shares_port=settings.shares_port).close()
            raise ServerError(f"{settings.SECTION}.listen: {settings.listen} can't be bound") from error

    async def start(self) -> None:
        """Listen; health is NOT_SERVING until the first successful check."""
        await self.set_health(healthy=False)
        await self._server.start()

    async def set_health(self, *, healthy: bool, in_outage: frozenset[str] = frozenset()) -> None:
        """Set the grpc.health.v1 status of each service, and of the whole server, which load balancers read.

        During an announced outage (*in_outage*) a service is NOT_SERVING, but the whole server stays SERVING: callers
        should reach it and learn when the outage ends.
        """
        for name in self.services:
            await self._health.set(name, _HEALTH_STATUS[healthy and name not in in_outage])
        await self._health.set("", _HEALTH_STATUS[healthy or in_outage == self.services])

    async def shutdown(self) -> None:
        """Report NOT_SERVING, wait for load balancers to drain, refuse new calls, and let running calls finish."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.shutdown_delay_seconds)
        await self._server.stop(self._settings.drain_seconds)


@contextlib.asynccontextmanager
async def run_server(
    settings: ServingSettings,
    handlers: Mapping[str, Handler],
    *,
    metrics: Metrics,
    ping: Callable[[], Awaitable[Any]],
    outages: OutageSchedule,
) -> AsyncIterator[Server]:
    """Run a listening server that checks its health by *ping* and *outages*; shut it down in order at the end.

    Raises:
        ServerError: the port is taken, or the certificate can't be used.
    """
    server = Server(settings, handlers, metrics)
    try:
        metrics_port, http = metrics.listen(*addresses.split(settings.metrics_listen))
    except OSError as error:
        raise addresses.bind_error(settings.origin("metrics_listen"), settings.metrics_listen, error) from error
    await server.start()
    health_check = asyncio.create_task(_watch_health(server, metrics, ping, outages))
    # All objects so far live as long as the process: the garbage collector need not scan them again.
    gc.collect()
    gc.freeze()
    # The loop releases the GIL at each read and write, and would wait 5 ms for the batch thread to release it again.
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    log.info("server.started", port=server.port, metrics_port=metrics_port)
    try:
        yield server
    finally:
        health_check.cancel()
        await asyncio.gather(health_check, return_exceptions=True)
        metrics.set_serving(healthy=False)
        await server.shutdown()
        http.shutdown()
        http.server_close()
        log.info("server.stopped")


async def _watch_health(
    server: Server, metrics: Metrics, ping: Callable[[], Awaitable[Any]], outages: OutageSchedule
) -> None:
    healthy: bool | None = None
    in_outage: frozenset[str] = frozenset()
    while True:
        was_healthy, was_in_outage = healthy, in_outage
        try:
            async with asyncio.timeout(HEALTH_SECONDS * 3):
                await ping()
            healthy = True
        except Exception as error:  # noqa: BLE001 - any error means NOT_SERVING
            healthy = False
            if was_healthy is not False:
                log.error("health.check_failed", error=type(error).__name__)
        in_outage = frozenset(name for name in server.services if outages.remaining_seconds(name) is not None)
        if in_outage != was_in_outage:
            log.info("outage.changed", services=sorted(in_outage))
        if (healthy, in_outage) != (was_healthy, was_in_outage):
            metrics.set_serving(healthy=healthy, in_outage=in_outage == server.services)
            await server.set_health(healthy=healthy, in_outage=in_outage)
        # Wake at the instant at which an outage begins or ends: availability is measured in whole minutes.
        await asyncio.sleep(max(outages.seconds_until_edge(server.services, HEALTH_SECONDS), MIN_HEALTH_PAUSE_SECONDS))
