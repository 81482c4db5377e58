"""The faces' listeners, in the event loop of the process: bound before anything is served, left in order."""

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

from estelam.core.exceptions import ServerError

log = structlog.get_logger()


class IdleTimeoutProtocol(H11Protocol):
    """HTTP on a connection that is closed where nothing is asked on it, from the first moment on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """What a listener keeps to."""

    max_connections: int = 512
    """More at once are told to come again."""
    drain_seconds: float = 5.0
    """How long a request that runs may go on at the end."""
    shares_port: bool = False
    """Whether other processes may listen at the same place."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A face that listens."""

    port: int


@contextlib.asynccontextmanager
async def run_listener(
    name: str, listen: str, app: ASGIApp, bounds: ListenerLimits, *, tls: ssl.SSLContext | None = None, **more: Any
) -> AsyncIterator[Listener]:
    """Serve *app* at *listen* (host:port) until left; *more* is for uvicorn.

    Without *tls* it is plain HTTP, and a proxy on this host is believed which scheme browsers use.

    Raises:
        ServerError: the place is taken, or is none.
    """
    config = uvicorn.Config(
        cast("Any", app),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        log_level="critical",  # a trace may quote what a request held
        server_header=False,
        limit_concurrency=bounds.max_connections,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=max(1, round(bounds.drain_seconds)),
        h11_max_incomplete_event_size=16384,
        **({"http": IdleTimeoutProtocol} | more),
    )
    config.load()
    config.ssl = tls
    with _bound(listen, shares_port=bounds.shares_port) as bound:
        server = _Server(config)
        port = bound.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        await server.listens.wait()
        log.info(f"{name}.started", port=port)
        try:
            yield Listener(port)
        finally:
            server.should_exit = True
            await serving


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
