"""The gRPC server of every service: limits, TLS with reload, the loop, health, and an orderly shutdown.

One thread, the loop, polls gRPC's completion queue. It passes each call to its handler, which admits or refuses it at
once and never waits; replies are sent by whichever thread has them. Once no more calls have arrived, it lets the batch
begin.
"""

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import grpc
import structlog
from google.protobuf.internal import api_implementation
from grpc_health.v1.health_pb2 import HealthCheckResponse

from estelam.auth.authentication import Authenticator
from estelam.core import addresses
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import ServerError, describe_error, problem
from estelam.core.pem import KeyFileError, read_key_pair, read_trust
from estelam.core.reload import CREDENTIALS_STILL_SECONDS, FileReloader
from estelam.core.settings import ServingSettings
from estelam.pipeline.batcher import Batcher
from estelam.pipeline.handler import Handler
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.pacer import Pacer
from estelam.server.completion_queue import Call, PolledServer
from estelam.server.connections import ConnectionLimit, headroom
from estelam.server.health import CHECK, WATCH, HealthService
from estelam.telemetry.call_counts import CallCounter, is_probe, organization, reason_without_reply
from estelam.telemetry.metrics import Metrics

log = structlog.get_logger()

HEALTH_SECONDS = 1.0
MIN_HEALTH_PAUSE_SECONDS = 0.01
# How long cancelled calls may take to end.
CANCEL_SECONDS = 5.0
# The loop waits for a batch, so that both do not compete for the interpreter; a slow one must not hold up other calls.
SLOW_BATCH_SECONDS = 0.02
# So many objects more than before make the garbage collector look for cycles.
GC_OBJECTS = 50_000
# Calls open on one connection. gRPC keeps 7 kB for each before we see it; further ones wait in the client.
MAX_STREAMS = 32
# Our own limit of a request is 4 KiB and gives a reason; this one gives none and only bounds memory.
MAX_RECEIVED_BYTES = 65536
MAX_SENT_BYTES = 16384
MAX_METADATA_BYTES = 8192
# Under a flood a batch begins after so many events, of which a call has four, and so many calls, served in turn.
MAX_EVENTS = 512
MAX_SERVED = 128
# So much earlier than the caller's deadline a call may be refused because of it.
DEADLINE_TOLERANCE_SECONDS = 0.1


def options(settings: ServingSettings) -> list[tuple[str, int]]:
    """Return gRPC's limits; the default of each is unlimited or far too large."""
    return [
        ("grpc.so_reuseport", int(settings.shares_port)),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # It counts calls that have ended but are not cleaned up yet, and so refuses a busy caller within the limit.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
        ("grpc.max_send_message_length", MAX_SENT_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", settings.max_connections + headroom(settings.max_connections)),
        # Calls not yet accepted: gRPC would drop some at random, of any caller, before they reach our own queue, which
        # is fair. Streams and connections bound them.
        ("grpc.server.max_pending_requests", MAX_STREAMS * settings.max_connections),
        ("grpc.server.max_pending_requests_hard_limit", MAX_STREAMS * settings.max_connections),
        ("grpc.server_handshake_timeout_ms", int(settings.handshake_seconds * 1000)),
        ("grpc.max_connection_idle_ms", 300_000),
        ("grpc.max_connection_age_ms", int(settings.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", 30_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 15_000),
        ("grpc.enable_channelz", 1),
        ("grpc.max_channel_trace_event_memory_per_node", 0),
    ]


class ReloadingCredentials:
    """The server's certificate and the authorities of client certificates, reloaded when their files change."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        files = settings.private_key, settings.certificate, settings.ca_certificates
        self._reloader = FileReloader(
            lambda: files, self._read, failed=_log_unreadable, still_seconds=CREDENTIALS_STILL_SECONDS
        )
        self._reloader.refresh()
        self.first = self._reloader.value

    def expires_at(self) -> float:
        """Return when the first certificate of the server's chain in use expires, in seconds since 1970."""
        return self._expires_at

    def is_current(self) -> bool:
        """Return whether the newest state of the files is in force, as of the last handshake."""
        return self._reloader.is_current

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration for this handshake and later ones; None keeps the last, also during a rotation.

        GRPC 1.85 builds a new TLS context for every configuration it gets, concurrently with handshakes: with one
        configuration per handshake a server crashed within a few thousand connections.
        """
        if not self._reloader.refresh():
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


def _log_unreadable(error: Exception) -> None:
    log.warning("certificate.unreadable", error=type(error).__name__, problem=problem(error))


def _unknown_method(call: Call) -> None:
    call.refuse(Refusal(Reason.METHOD_UNKNOWN))


def _in_turn(pacer: Pacer, handler: Callable[[Call], None]) -> Callable[[Call], None]:
    """Return *handler*, called in the caller's turn."""

    def handle(call: Call) -> None:
        pacer.run_in_turn(call.owner, call.seconds_left, partial(handler, call))

    return handle


class Server:
    """A listening server."""

    def __init__(
        self,
        settings: ServingSettings,
        handlers: Mapping[str, Handler],
        authenticator: Authenticator,
        metrics: Metrics,
        pacer: Pacer,
        calls: CallCounter,
        batcher: Batcher[Any, Any] | None = None,
    ) -> None:
        if api_implementation.Type() != "upb":
            raise ServerError("protobuf runs without its C implementation (upb); install a binary wheel of protobuf")
        try:
            credentials = ReloadingCredentials(settings)
        except (OSError, KeyFileError) as error:
            raise ServerError(f"the server's certificate can't be used: {describe_error(error)}") from error
        metrics.watch_expiry("tls", credentials.expires_at)
        metrics.watch_files("certificate", credentials.is_current)
        metrics.watch_files("ca_certificates", authenticator.trust.is_current)
        if settings.revocation_lists:
            metrics.watch_expiry("revocation_list", authenticator.revocation.expires_at)
            metrics.watch_files("revocation_lists", authenticator.revocation.is_current)
        self._settings = settings
        self._batcher = batcher
        self._calls = calls
        self.services = frozenset(name.partition("/")[0] for name in handlers)
        self._health = HealthService()
        self._unknown_method = _in_turn(pacer, _unknown_method)
        self._handlers: dict[bytes, Callable[[Call], None]] = {
            CHECK: _in_turn(pacer, self._health.check),
            WATCH: _in_turn(pacer, self._health.watch),
        }
        self._counted = {f"/{name}".encode(): name for name in handlers}
        self._handlers |= {f"/{name}".encode(): handler for name, handler in handlers.items()}
        self._authenticator = authenticator
        self._polled = PolledServer(options(settings), self._serve, self._owner, self._end_connection, self._count)
        self._loop = threading.Thread(target=self._run, name="loop", daemon=True)
        self._connections = ConnectionLimit(settings.max_connections, lambda pem: authenticator.owner((pem,)))

        def changed() -> Any:  # gRPC accepts None, its types do not
            self._connections.note_arrival()  # it asks for each connection, before the handshake
            return credentials.changed()

        tls = grpc.dynamic_ssl_server_credentials(credentials.first, changed, require_client_authentication=True)
        self.port = self._polled.listen(settings.listen, tls)
        if not self.port:
            # gRPC does not say why; binding the address again does.
            addresses.bind(settings.origin("listen"), settings.listen, shares_port=settings.shares_port).close()
            raise ServerError(f"{settings.SECTION}.listen: {settings.listen} can't be bound")

    def start(self) -> None:
        """Listen; health is NOT_SERVING until the first successful check."""
        self.set_health(healthy=False)
        self._polled.start()
        self._loop.start()
        self._connections.start(self.port)

    def set_health(self, *, healthy: bool, in_outage: frozenset[str] = frozenset()) -> None:
        """Set the grpc.health.v1 status of each service, and of the whole server, which load balancers read.

        During an announced outage (*in_outage*) a service is NOT_SERVING, but the whole server stays SERVING: callers
        should reach it and learn when the outage ends.
        """
        serving = {name: healthy and name not in in_outage for name in self.services}
        serving[""] = healthy or in_outage == self.services
        self._health.set(
            {
                name: HealthCheckResponse.SERVING if is_serving else HealthCheckResponse.NOT_SERVING
                for name, is_serving in serving.items()
            }
        )

    def shutdown(self) -> None:
        """Report NOT_SERVING, wait for load balancers to drain, refuse new calls, and let running calls finish."""
        self._health.set_final()
        time.sleep(self._settings.shutdown_delay_seconds)
        self._polled.stop()
        self._health.end_watches()
        self._loop.join(self._settings.drain_seconds)
        if self._loop.is_alive():
            self._polled.cancel_calls()
            self._loop.join(CANCEL_SECONDS)
        self._connections.stop()

    def _run(self) -> None:
        """Poll until the server has been shut down, whatever goes wrong with one call."""
        if self._batcher is not None:
            self._batcher.gather()
        while not self._polled.has_ended:
            try:
                events = 0
                while events < MAX_EVENTS and self._polled.poll(wait=False):
                    events += 1
                self._polled.serve_waiting(MAX_SERVED)
                if self._batcher is not None and self._batcher.is_waiting:
                    self._batcher.run_waiting(SLOW_BATCH_SECONDS)
                elif not events and not self._polled.is_waiting:
                    self._polled.poll(wait=True)
            except BaseException as error:  # noqa: BLE001 - the other calls must go on
                with contextlib.suppress(Exception):
                    log.error("loop.failed", error=type(error).__name__)

    def _owner(self, call: Call) -> str:
        return self._authenticator.owner(call.certificates(), call.metadata)

    def _end_connection(self, call: Call) -> None:
        """End the connection of a call too many, with all its calls, unless a proxy shares it among callers."""
        if call.peer() and not self._authenticator.is_proxy(call.certificates()):
            self._connections.end(call.peer())

    def _count(self, call: Call, reason: str) -> None:
        """Count *call*, which has ended for *reason*, unless it is one to the service's health."""
        name = self._counted.get(call.method, "")
        if not name and call.method in self._handlers:
            return
        waited = time.monotonic() - call.arrived_at
        if reason == Reason.ANSWER_LATE and call.seconds_left < DEADLINE_TOLERANCE_SECONDS:
            reason = reason_without_reply(waited)  # it is late by the caller's own deadline
        self._calls.count(name, organization(call.owner), reason, waited, is_probe=is_probe(call.metadata))

    def _serve(self, call: Call) -> None:
        try:
            self._handlers.get(call.method, self._unknown_method)(call)
        except BaseException:
            call.fail()
            raise


@contextlib.contextmanager
def run_server(
    settings: ServingSettings,
    handlers: Mapping[str, Handler],
    *,
    authenticator: Authenticator,
    metrics: Metrics,
    pacer: Pacer,
    ping: Callable[[], object],
    outages: OutageSchedule,
    calls: CallCounter,
    batcher: Batcher[Any, Any] | None = None,
) -> Iterator[Server]:
    """Run a listening server that checks its health by *ping* and *outages*; shut it down in order at the end.

    *ping* raises an error unless the service can answer; it takes at most a few seconds. If the handlers submit their
    inquiries to a *batcher*, the loop says when it begins. Each call of theirs is counted in *calls*.

    Raises:
        ServerError: the port is taken, or the certificate can't be used.
    """
    server = Server(settings, handlers, authenticator, metrics, pacer, calls, batcher)
    with metrics.serve(
        settings.metrics_listen, setting=settings.origin("metrics_listen"), shares_port=settings.shares_port
    ) as listener:
        server.start()
        stopping = threading.Event()
        checking = threading.Thread(
            target=_watch_health, args=(server, metrics, ping, outages, stopping), name="health", daemon=True
        )
        checking.start()
        # All objects so far live as long as the process: the garbage collector need not scan them again. Calls leave no
        # cycles, so it need not look for any whenever some tens of calls are open.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_OBJECTS)
        log.info("server.started", port=server.port, metrics_port=listener.port)
        try:
            yield server
        finally:
            stopping.set()
            metrics.set_serving(healthy=False)
            server.shutdown()
            checking.join()
    log.info("server.stopped")


def _watch_health(
    server: Server,
    metrics: Metrics,
    ping: Callable[[], object],
    outages: OutageSchedule,
    stopping: threading.Event,
) -> None:
    healthy: bool | None = None
    in_outage: frozenset[str] = frozenset()
    while True:
        was_healthy, was_in_outage = healthy, in_outage
        try:
            ping()
            healthy = True
        except Exception as error:  # noqa: BLE001 - any error means NOT_SERVING
            healthy = False
            if was_healthy is not False:
                log.error("health.check_failed", error=type(error).__name__, problem=problem(error))
        if stopping.is_set():
            return
        in_outage = frozenset(name for name in server.services if outages.remaining_seconds(name) is not None)
        if in_outage != was_in_outage:
            log.info("outage.changed", services=sorted(in_outage))
        if (healthy, in_outage) != (was_healthy, was_in_outage):
            metrics.set_serving(healthy=healthy, in_outage=in_outage == server.services)
            server.set_health(healthy=healthy, in_outage=in_outage)
        # Wake at the instant at which an outage begins or ends: availability is measured in whole minutes.
        stopping.wait(max(outages.seconds_until_edge(server.services, HEALTH_SECONDS), MIN_HEALTH_PAUSE_SECONDS))
