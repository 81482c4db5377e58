"""The metrics of a process, served over HTTP in Prometheus's text format together with the probe `/ready`."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Gauge, make_asgi_app
from starlette.types import Message, Receive, Scope, Send

from estelam.core.exceptions import problem
from estelam.web.event_loop import run_in_event_loop
from estelam.web.listener import Listener, ListenerLimits, run_listener

log = structlog.get_logger()

MAX_CONNECTIONS: Final = 64
REQUEST_GAP_SECONDS: Final = 0.01
"""The time between two requests for metrics; more requests wait for their turn."""


class WebhookState:
    """Whether each receiver of webhooks took its newest notification."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._undelivered = Gauge(
            "estelam_webhook_undelivered",
            "1 while an organisation's receiver has not taken its newest notification.",
            ["caller"],
            registry=registry,
        )

    def set(self, caller: str, *, delivered: bool) -> None:
        """Set whether the receiver of the organisation *caller* took its newest notification."""
        self._undelivered.labels(caller).set(not delivered)


class ProcessMetrics:
    """Metrics in a registry of their own, and whether the process is ready."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._serving = Gauge(
            "estelam_serving", "1 while the service is healthy and in no outage.", registry=self.registry
        )
        self._ready = False
        self._pages: dict[str, Callable[[str], bytes]] = {}
        self._turn = asyncio.Lock()

    def set_serving(self, *, healthy: bool) -> None:
        """Set whether the process is healthy, and so ready."""
        self._serving.set(healthy)
        self._ready = healthy

    def add_page(self, path: str, read: Callable[[str], bytes]) -> None:
        """Serve at *path* the JSON that *read*, called in another thread, returns for the query; 503 if it raises."""
        self._pages[path] = read

    @contextlib.contextmanager
    def serve(self, listen: str, *, setting: str, shares_port: bool = False) -> Iterator[Listener]:
        """Serve as `listener` does, in an event loop of its own.

        Raises:
            ServerError: the address can't be bound.
        """
        with run_in_event_loop(self.listener(listen, setting=setting, shares_port=shares_port)) as listener:
            yield listener

    def listener(
        self, listen: str, *, setting: str, shares_port: bool = False
    ) -> AbstractAsyncContextManager[Listener]:
        """Serve the metrics and `/ready` over HTTP at *listen*, the value of *setting*, within the context.

        With *shares_port*, other processes may listen there too: the worker that this one replaces.

        Raises:
            ServerError: the address can't be bound.
        """
        return run_listener(
            "metrics", listen, self._app, ListenerLimits(MAX_CONNECTIONS, shares_port=shares_port), setting=setting
        )

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Requests are spaced, so that many of them do not take the interpreter from the service.
        if not await self._has_turn(receive):
            return
        if scope["path"] == "/ready":
            status = 200 if self._ready else 503
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
        elif read := self._pages.get(scope["path"]):
            await _send_json(read, scope["query_string"].decode("latin-1"), send)
        else:
            await make_asgi_app(self.registry)(scope, _no_body, send)

    async def _has_turn(self, receive: Receive) -> bool:
        """Wait for the turn of a request; return whether its caller still waited for it."""
        turn, end = asyncio.ensure_future(self._turn.acquire()), asyncio.ensure_future(_disconnected(receive))
        turn.add_done_callback(self._end_turn)
        try:
            await asyncio.wait((turn, end), return_when=asyncio.FIRST_COMPLETED)
            return turn.done()
        finally:
            turn.cancel()
            end.cancel()

    def _end_turn(self, turn: asyncio.Future[Any]) -> None:
        if not turn.cancelled():
            asyncio.get_running_loop().call_later(REQUEST_GAP_SECONDS, self._turn.release)


async def _disconnected(receive: Receive) -> None:
    """Return when the caller has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_json(read: Callable[[str], bytes], query: str, send: Send) -> None:
    try:
        status, body = 200, await asyncio.to_thread(read, query)
    except Exception as error:  # noqa: BLE001 - a page that can't be read must not end the listener
        log.error("page.unreadable", error=type(error).__name__, problem=problem(error))
        status, body = 503, b""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _no_body() -> Message:
    """Stand for a request's body, which is not waited for."""
    return {"type": "http.request"}
