"""HTTP listeners in the event loop of the process: limits for connections and requests, and a graceful shutdown.

uvicorn parses HTTP and runs the application. It bounds neither handshakes and their rate nor the time of a request nor
the connections of one client; the classes here do.
"""

import asyncio
import contextlib
import socket
import ssl
import traceback
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast
from weakref import WeakValueDictionary

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from estelam.core import addresses
from estelam.core.fair_share import displaced

log = structlog.get_logger()

IDLE_SECONDS: Final = 15
"""How long a connection may wait for the first byte of its next request."""
RECEIVE_SECONDS: Final = 10.0
"""How long a request may take to arrive whole, from its first byte on."""
RESPOND_SECONDS: Final = 60.0
"""How long a response may take to be made and sent."""
# The pause after a failed accept: there is no file descriptor left, or memory.
ACCEPT_PAUSE_SECONDS: Final = 0.1
BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the system refuses further ones for a second or more."""
ACCEPTED_TOGETHER: Final = 8
"""So many are accepted before the others are read."""
HANDSHAKES_SHARE: Final = 4
"""At most one in so many connections may be an unfinished handshake."""
HANDSHAKE_GAP_SECONDS: Final = 0.005
"""The time between two handshakes of one address, each of which takes 1 to 2 ms of CPU before the client is known."""
HANDSHAKE_BURST: Final = 64
"""So many handshakes of an address may begin at once, after none for a while."""
MAX_ADDRESSES: Final = 1024
"""Addresses whose turn has passed are forgotten once so many are known."""
TLS_BUFFER_BYTES: Final = 16384
"""As much as a TLS record holds."""


class DeadlineProtocol(H11Protocol):
    """HTTP/1.1 with deadlines: for an idle connection, for a request as a whole, and for its response."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.on_request = self.on_lost = _ignore
        """Called when a request has arrived whole and when it has its response; when the connection has ended."""
        self._deadline: asyncio.TimerHandle | None = None
        self._is_responding = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the idle timeout of a new connection."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the deadline."""
        self._set_deadline(None)
        super().connection_lost(exc)
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        """Begin the deadline of a request with its first byte; later bytes do not move it."""
        if self._deadline is None:
            self._set_deadline(RECEIVE_SECONDS)
        super().data_received(data)
        self._check_arrival()

    def on_response_complete(self) -> None:
        """End the deadline of a response that has left; the next request may have arrived already."""
        if not self.transport.get_write_buffer_size():
            self._set_deadline(None)
        self._is_responding = False
        self.on_request()
        super().on_response_complete()
        if not self.cycle.response_complete and self._deadline is None:
            self._set_deadline(RECEIVE_SECONDS)
            self._check_arrival()

    def _check_arrival(self) -> None:
        cycle = self.cycle
        if cycle is not None and not (cycle.more_body or cycle.response_complete or self._is_responding):
            self._is_responding = True
            self._set_deadline(RESPOND_SECONDS)
            self.on_request()

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        # Not an orderly end: it would wait for a client that does not read.
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def _ignore() -> None:
    pass


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Limits of a listener."""

    max_connections: int = 512
    """Most concurrent connections; one more displaces the oldest of the client that has most."""
    drain_seconds: float = 5.0
    """Seconds that requests in progress may take to finish during shutdown."""
    shares_port: bool = False
    """Whether other processes may listen on the same port."""
    handshake_seconds: float = 5.0
    """Seconds that a TLS handshake may take."""


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
    owner: Callable[[bytes], Hashable] = bytes,
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
        owner: Returns whose share of the connections one with this client certificate (DER) takes.
        **more: Further options for uvicorn.

    Raises:
        ServerError: the address can't be bound.
    """
    config = uvicorn.Config(
        cast("Any", app),
        interface="asgi3",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        log_level="critical",  # a stack trace may quote a request
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=max(1, round(limits.drain_seconds)),
        h11_max_incomplete_event_size=16384,
        **({"http": DeadlineProtocol} | more),
    )
    config.load()
    config.ssl = tls
    # asyncio gives each TLS connection a buffer of 256 KiB at once.
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    with addresses.bind(setting, listen, shares_port=limits.shares_port) as bound:
        server = _Server(config, bound, limits, owner)
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
    def __init__(
        self,
        config: uvicorn.Config,
        bound: socket.socket,
        limits: ListenerLimits,
        owner: Callable[[bytes], Hashable],
    ) -> None:
        super().__init__(config)
        self._bound = bound
        self._limits = limits
        self._owner = owner
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - it is the bound one
        """Accept connections by our own acceptor in place of asyncio's, which has no limits."""
        acceptor = _Acceptor(self._bound, self.config.ssl, self._limits, self._owner, self._protocol)
        self.servers = [cast("Any", acceptor)]
        self.started = True
        self.is_listening.set()

    def _protocol(self) -> DeadlineProtocol:
        kind = cast("type[DeadlineProtocol]", self.config.http_protocol_class)
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: the process has its own."""
        yield


@dataclass(eq=False, slots=True)
class _Connection:
    """A connection from its first packet on: TLS and HTTP come later."""

    accepted: socket.socket
    owner: Hashable
    """The client's address or, after a TLS handshake, the owner of its certificate."""
    transport: asyncio.BaseTransport | None = None

    def drop(self) -> None:
        """End the connection at once."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        else:
            with contextlib.suppress(OSError):
                self.accepted.shutdown(socket.SHUT_RDWR)


class _HandshakeTurns:
    """Spaces the handshakes of each address; those of others do not wait."""

    def __init__(self) -> None:
        self._next: dict[Hashable, float] = {}
        """When the next turn of each address would be, if there were no bursts."""
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._loop = asyncio.get_running_loop()

    async def wait(self, address: Hashable, is_waiting: Callable[[], bool]) -> bool:
        """Wait for the next turn of *address*, in order of arrival; return whether the client *is_waiting* still."""
        lock = self._locks.get(address) or self._locks.setdefault(address, asyncio.Lock())
        async with lock:
            if not is_waiting():  # takes no turn
                return False
            now = self._loop.time()
            turn = max(now, self._next.get(address, now))
            if len(self._next) >= MAX_ADDRESSES:
                self._next = {each: at for each, at in self._next.items() if at > now}
            self._next[address] = turn + HANDSHAKE_GAP_SECONDS
            if (seconds := turn - now - HANDSHAKE_BURST * HANDSHAKE_GAP_SECONDS) > 0:
                await asyncio.sleep(seconds)
        return is_waiting()


class _Acceptor:
    """Accepts connections, and drops those that are too many.

    It has the methods of `asyncio.Server` that uvicorn calls.
    """

    def __init__(
        self,
        bound: socket.socket,
        tls: ssl.SSLContext | None,
        limits: ListenerLimits,
        owner: Callable[[bytes], Hashable],
        protocol: Callable[[], DeadlineProtocol],
    ) -> None:
        self._tls = tls
        self._limits = limits
        self._owner = owner
        self._protocol = protocol
        self._handshaking: dict[_Connection, None] = {}
        self._unused: dict[_Connection, None] = {}
        """Connections without a whole request so far, from the oldest to the newest; unfinished handshakes too."""
        self._used: dict[_Connection, None] = {}
        """The others, from the one whose last request is the longest ago."""
        self._turns = _HandshakeTurns()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        bound.settimeout(0)
        # A response is written in two parts; else the second waits some 40 ms for the first one's acknowledgement.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.listen(BACKLOG)
        self._start(self._accept(bound))

    def close(self) -> None:
        """Accept no more, and end unfinished handshakes."""
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until everything that was closed has ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, bound: socket.socket) -> None:
        while True:
            try:
                arrived = [await self._loop.sock_accept(bound)]
            except OSError as error:
                log.warning("http.accept_failed", error=type(error).__name__)
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            with contextlib.suppress(OSError):  # there are no more, or the next turn finds out what is wrong
                while len(arrived) < ACCEPTED_TOGETHER:
                    arrived.append(bound.accept())
            connections = [_Connection(accepted, address[0]) for accepted, address in arrived]
            self._unused |= dict.fromkeys(connections)
            if self._tls:
                self._handshaking |= dict.fromkeys(connections)
            self._drop_displaced()
            for connection in connections:
                self._start(self._serve(connection))
            await asyncio.sleep(0)  # a connection that waits is accepted at once: others would not be read meanwhile

    async def _serve(self, connection: _Connection) -> None:
        def create() -> DeadlineProtocol:
            protocol = self._protocol()
            protocol.on_request = lambda: self._renew(connection)
            protocol.on_lost = lambda: self._forget(connection)
            return protocol

        def is_waiting() -> bool:
            return connection in self._unused  # else it has been dropped

        may_begin = False
        try:
            may_begin = await self._turns.wait(connection.owner, is_waiting) if self._tls else is_waiting()
        finally:
            if not may_begin:
                connection.accepted.close()
        if not may_begin:
            return
        connection.accepted.setblocking(False)  # noqa: FBT003 - its signature
        seconds = self._limits.handshake_seconds if self._tls else None
        try:
            connection.transport, _ = await self._loop.connect_accepted_socket(
                create, connection.accepted, ssl=self._tls, ssl_handshake_timeout=seconds
            )
        except OSError as error:  # the handshake failed or took too long
            # asyncio's frames refer to the error that refers to them: 100 kB until garbage is collected.
            traceback.clear_frames(error.__traceback__)
            self._forget(connection)
            return
        self._handshaking.pop(connection, None)
        tls = connection.transport.get_extra_info("ssl_object")
        if tls is not None:
            connection.owner = self._owner(tls.getpeercert(binary_form=True))

    def _drop_displaced(self) -> None:
        most = self._limits.max_connections
        for connections, bound in (
            (self._handshaking, max(1, most // HANDSHAKES_SHARE)),
            ([*self._unused, *self._used], most),
        ):
            for each in displaced(connections, lambda connection: connection.owner, bound):
                self._forget(each)
                each.drop()

    def _renew(self, connection: _Connection) -> None:
        if connection in self._unused or connection in self._used:
            self._forget(connection)
            self._used[connection] = None

    def _forget(self, connection: _Connection) -> None:
        for connections in (self._handshaking, self._unused, self._used):
            connections.pop(connection, None)
