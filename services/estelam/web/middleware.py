"""Middleware of web applications: errors stay inside, responses have strict security headers, refusals are paced."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""A page may load files of its own site only, and no inline code."""
REFUSED: Final = 400
"""The least HTTP status of a refusal."""
_TOOK_TURN: Final = "took_turn"
_IS_REFUSAL: Final = "is_refusal"
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # forms must send their Origin to their own site
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# A response may set its own, for pages that are generated elsewhere.
_DEFAULT_HEADERS = {"cache-control": "no-store", "content-security-policy": CONTENT_SECURITY_POLICY}


class ErrorBoundary:
    """Responds with *fallback* when *app* raises an exception, whose text is neither sent nor logged."""

    def __init__(self, app: ASGIApp, fallback: Response) -> None:
        self._app = app
        self._fallback = fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and add the security headers to its response."""
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for key, value in _DEFAULT_HEADERS.items():
                    headers.setdefault(key, value)
                for key, value in _HEADERS.items():
                    headers[key] = value
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - the one place that every request passes
            log.error("http.unhandled_error", error=type(error).__name__)
            if not started:
                await self._fallback(scope, receive, send_with_headers)


class PacedRefusals:
    """Delays each response of *app* that refuses its request, by the seconds that *delay* returns.

    An inquiry that `took_turn` has been delayed by the pipeline.
    """

    def __init__(self, app: ASGIApp, delay: Callable[[Scope], float]) -> None:
        self._app = app
        self._delay = delay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = scope.setdefault("state", {})

        async def send_in_turn(message: Message) -> None:
            if message["type"] == "http.response.start":
                is_refusal = message["status"] >= REFUSED or state.get(_IS_REFUSAL)
                if is_refusal and not state.get(_TOOK_TURN):
                    await asyncio.sleep(self._delay(scope))
            await send(message)

        await self._app(scope, receive, send_in_turn)


def mark_refusal(request: Request) -> None:
    """Delay the response to *request* as that of a refusal, though its status is none: it leads to the refusal."""
    setattr(request.state, _IS_REFUSAL, True)


def took_turn(request: Request) -> None:
    """Delay the response to *request* no more: it was an inquiry, which the pipeline refuses in the caller's turn."""
    setattr(request.state, _TOOK_TURN, True)
