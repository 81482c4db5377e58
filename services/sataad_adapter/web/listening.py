"""The faces' listeners, in the event loop of the gRPC server: bound before anything is served, left in order."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, cast

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from estelam.server import ServerError
from sataad_adapter.settings import SetadSettings

log = structlog.get_logger()

LOOK_SECONDS = 1.0


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's own matter."""
        yield


class _Patient(H11Protocol):
    """HTTP on a connection that is closed where nothing is asked on it, from the first moment on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


class _Certified(_Patient):
    """HTTP over mTLS whose requests know the certificate that their connection was opened with."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.app_state = {**self.app_state, "certificate": ssl.DER_cert_to_PEM_cert(certificate).encode("ascii")}


@dataclass(frozen=True, slots=True)
class Listening:
    """A face that listens."""

    port: int


@contextlib.asynccontextmanager
async def page_listener(settings: SetadSettings, app: ASGIApp) -> AsyncIterator[Listening]:
    """Serve *app* in plain HTTP where the settings say; a proxy on this host is believed which scheme browsers use."""
    async with _served(settings, settings.page_listen, app, name="page") as listening:
        yield listening


@contextlib.asynccontextmanager
async def api_listener(settings: SetadSettings, app: ASGIApp) -> AsyncIterator[Listening]:
    """Serve *app* over mTLS where the settings say, under the certificate of the gRPC server."""
    tls = _Tls(settings)
    more: dict[str, Any] = {"http": _Certified, "proxy_headers": False}
    async with _served(settings, settings.api_listen, app, name="api", tls=tls.context, **more) as listening:
        watch = asyncio.create_task(tls.watch())
        try:
            yield listening
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


class _Tls:
    """The server's certificate and its callers' authorities; changed files count from the next handshake on."""

    def __init__(self, settings: SetadSettings) -> None:
        self._files = (settings.certificate, settings.private_key, settings.trust)
        try:
            self._stamps = self._look()
            self._now = self._read()
        except (OSError, ValueError) as error:
            raise ServerError(f"the server's certificate can't be used: {error}") from error
        self.context = self._read()
        self.context.sni_callback = self._begin

    async def watch(self) -> None:
        """Read the files again when they have changed; half a change is not used."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if (stamps := self._look()) != self._stamps:
                    self._now, self._stamps = self._read(), stamps
                    log.info("certificate.rotated")
            except (OSError, ValueError) as error:
                log.warning("certificate.unreadable", error=type(error).__name__)

    def _begin(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._now

    def _look(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self._files]

    def _read(self) -> ssl.SSLContext:
        certificate, key, trust = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0  # a session taken up again would not show its certificate to a changed trust
        context.options |= ssl.OP_NO_TICKET
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(trust)
        return context


@contextlib.asynccontextmanager
async def _served(
    settings: SetadSettings, listen: str, app: ASGIApp, *, name: str, tls: ssl.SSLContext | None = None, **more: Any
) -> AsyncIterator[Listening]:
    config = uvicorn.Config(
        cast("Any", app),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        log_level="critical",  # a trace may quote what a request held
        server_header=False,
        limit_concurrency=settings.connections,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        h11_max_incomplete_event_size=16384,
        **({"http": _Patient} | more),
    )
    config.load()
    config.ssl = tls
    with _bound(listen, shares_port=settings.shares_port) as bound:
        server = _Server(config)
        port = bound.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        await server.listens.wait()
        log.info(f"{name}.started", port=port)
        try:
            yield Listening(port)
        finally:
            server.should_exit = True
            await serving


def _bound(listen: str, *, shares_port: bool) -> socket.socket:
    host, _, port = listen.rpartition(":")
    bound = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares_port))
        bound.bind((host.strip("[]"), int(port)))
    except (OSError, ValueError, OverflowError) as error:
        bound.close()
        raise ServerError(f"{listen} can't be bound; is another server there?") from error
    return bound
