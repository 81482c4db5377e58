"""HTTP listeners in the event loop of the process: bound before anything is served, with a graceful shutdown."""

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

from estelam.core import addresses

log = structlog.get_logger()


class IdleTimeoutProtocol(H11Protocol):
    """HTTP/1.1 that closes idle connections, also those on which no request was ever sent."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the idle timeout of a new connection."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Limits of a listener."""

    max_connections: int = 512
    """Most concurrent connections; requests on more receive 503."""
    drain_seconds: float = 5.0
    """Seconds that requests in progress may take to finish during shutdown."""
    shares_port: bool = False
    """Whether other processes may listen on the same port."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A running listener."""

    port: int


@contextlib.asynccontextmanager
async def run_listener(
    name: str,
    listen: str,
    app: ASGIApp,
    limits: ListenerLimits,
    *,
    setting: str,
    tls: ssl.SSLContext | None = None,
    **more: Any,
) -> AsyncIterator[Listener]:
    """Serve *app* at *listen* until the context ends.

    Without *tls* it is plain HTTP, and a proxy on this host is trusted to name the scheme that browsers use.

    Args:
        name: The listener's name in log events.
        listen: host:port; port 0 takes a free port.
        app: The application.
        limits: The limits of the listener.
        setting: The setting that *listen* comes from, as an error names it.
        tls: The TLS context.
        **more: Further options for uvicorn.

    Raises:
        ServerError: the address can't be bound.
    """
    config = uvicorn.Config(
        cast("Any", app),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        log_level="critical",  # a stack trace may quote a request
        server_header=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=max(1, round(limits.drain_seconds)),
        h11_max_incomplete_event_size=16384,
        **({"http": IdleTimeoutProtocol} | more),
    )
    config.load()
    config.ssl = tls
    with addresses.bind(setting, listen, shares_port=limits.shares_port) as bound:
        server = _Server(config)
        port = bound.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        await server.is_listening.wait()
        log.info(f"{name}.started", port=port)
        try:
            yield Listener(port)
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: the process has its own."""
        yield
