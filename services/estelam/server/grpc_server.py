"""The server that every service runs: limits, TLS with rotation, health, signals, and an orderly leave."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import structlog
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates
from google.protobuf.internal import api_implementation
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health  # type: ignore[attr-defined]

from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import ServerError
from estelam.core.files import FileReloader
from estelam.core.settings import ServingSettings
from estelam.pipeline.handler import Context, Handler, abort
from estelam.pipeline.outages import OutageSchedule
from estelam.server.grpc_patch import PatchedServer
from estelam.telemetry.metrics import Metrics

log = structlog.get_logger()

HEALTH_SECONDS = 1.0
SWITCH_SECONDS = 0.0005
SHORTEST_SECONDS = 0.01
_SAID = {True: health_pb2.HealthCheckResponse.SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}


def options(settings: ServingSettings) -> list[tuple[str, int]]:
    """GRPC's limits, every one of which is unlimited or far too large unless set."""
    return [
        ("grpc.so_reuseport", int(settings.shares_port)),
        ("grpc.max_concurrent_streams", 100),
        # It counts calls that are over but not yet tidied up, and would refuse those of a busy caller within the limit.
        ("grpc.http.overload_protection", 0),
        # Ours is 4 KiB and has words of its own; this one, without words, only bounds memory.
        ("grpc.max_receive_message_length", 65536),
        ("grpc.max_send_message_length", 16384),
        ("grpc.max_metadata_size", 8192),
        ("grpc.absolute_max_metadata_size", 8192),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        # Calls that wait to be looked at at all: gRPC would cut some off at random, whosever they are, before our own
        # queue, which is fair, has seen them. Streams and connections bound them.
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
    """The server's certificate and its callers' authorities, read again when their files have changed."""

    def __init__(self, settings: ServingSettings) -> None:
        self._files = (settings.private_key, settings.certificate, settings.ca_certificates)
        self._reloader = FileReloader(lambda: self._files, self._read)
        self._reloader.refresh()
        self.first = self._reloader.value

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What this handshake and the next ones use; None to go on with the last, as half-way through a rotation.

        GRPC 1.85 builds its TLS context anew for every configuration that it gets, beside the handshakes under way:
        given one at each handshake, a server crashed within a few thousand connections.
        """
        try:
            if not self._reloader.refresh():
                return None
        except (OSError, ValueError) as error:
            log.warning("certificate.unreadable", error=type(error).__name__)
            return None
        log.info("certificate.rotated")
        return self._reloader.value

    def _read(self) -> grpc.ServerCertificateConfiguration:
        key, certificate, trust = (path.read_bytes() for path in self._files)
        public = load_pem_x509_certificate(certificate).public_key()
        if load_pem_private_key(key, password=None).public_key() != public:
            raise ValueError("the server's key and certificate do not belong together")
        load_pem_x509_certificates(trust)  # a file without one, half written perhaps, would shut every caller out
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=trust)


async def _unknown_method(_wire: bytes, context: Context) -> bytes:
    return await abort(context, Refusal(Reason.METHOD_UNKNOWN))


class Server:
    """A listening server."""

    def __init__(self, settings: ServingSettings, handlers: Mapping[str, Handler]) -> None:
        if api_implementation.Type() != "upb":
            raise ServerError("protobuf runs without its C implementation")
        try:
            credentials = ReloadingCredentials(settings)
        except (OSError, ValueError) as error:
            raise ServerError(f"the server's certificate can't be used: {error}") from error
        self._settings = settings
        self.services = frozenset(name.partition("/")[0] for name in handlers)
        self._server = PatchedServer(options(settings), _unknown_method)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)  # type: ignore[no-untyped-call]
        for name, handler in handlers.items():
            service, _, method = name.partition("/")
            behaviour: Any = grpc.unary_unary_rpc_method_handler(handler)
            self._server.add_registered_method_handlers(service, {method: behaviour})
        changed: Any = credentials.changed  # gRPC takes None, its types don't know
        tls = grpc.dynamic_ssl_server_credentials(credentials.first, changed, require_client_authentication=True)
        try:
            self.port = self._server.add_secure_port(settings.listen, tls)
        except RuntimeError as error:
            raise ServerError(f"{settings.listen} can't be bound; is another server there?") from error

    async def start(self) -> None:
        """Listen; health says NOT_SERVING until it is known to be better."""
        await self.set_health(healthy=False)
        await self._server.start()

    async def set_health(self, *, healthy: bool, in_outage: frozenset[str] = frozenset()) -> None:
        """Say over grpc.health.v1 which services here serve, and of the whole server, whether to bring calls here.

        Services that are *out*, as was announced, don't serve, but their callers should come all the same: nobody else
        can tell them until when.
        """
        for name in self.services:
            await self._health.set(name, _SAID[healthy and name not in in_outage])
        await self._health.set("", _SAID[healthy or in_outage == self.services])

    async def shutdown(self) -> None:
        """Say NOT_SERVING, wait for balancers to see it, take no more, and let what is under way finish."""
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
    """A server that listens, knows its own health by *ping* and *outages*, and leaves in order at the end."""
    server = Server(settings, handlers)
    host, _, port = settings.metrics_listen.rpartition(":")
    metrics_port, http = metrics.listen(host, int(port))
    await server.start()
    watch = asyncio.create_task(_watch_health(server, metrics, ping, outages))
    # What was made so far lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    # The loop lets go of the interpreter at each read and write, and would wait 5 ms for the batch to give it back.
    sys.setswitchinterval(SWITCH_SECONDS)
    log.info("server.started", port=server.port, metrics_port=metrics_port)
    try:
        yield server
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        metrics.serving(healthy=False)
        await server.shutdown()
        http.shutdown()
        http.server_close()
        log.info("server.stopped")


async def _watch_health(
    server: Server, metrics: Metrics, ping: Callable[[], Awaitable[Any]], outages: OutageSchedule
) -> None:
    healthy: bool | None = None
    out: frozenset[str] = frozenset()
    while True:
        before, before_out = healthy, out
        try:
            async with asyncio.timeout(HEALTH_SECONDS * 3):
                await ping()
            healthy = True
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the answer is NOT_SERVING
            healthy = False
            if before is not False:
                log.error("health.lost", error=type(error).__name__)
        out = frozenset(name for name in server.services if outages.remaining_seconds(name) is not None)
        if out != before_out:
            log.info("outage.changed", out=sorted(out))
        if (healthy, out) != (before, before_out):
            metrics.serving(healthy=healthy, out=out == server.services)
            await server.set_health(healthy=healthy, in_outage=out)
        # On the instant at which an outage begins or ends, not within a second of it: whoever counts minutes sees it.
        await asyncio.sleep(max(outages.seconds_until_edge(server.services, HEALTH_SECONDS), SHORTEST_SECONDS))
