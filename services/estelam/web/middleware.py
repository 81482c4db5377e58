"""What stands around every face: no fault gets out, and a browser obeys strict rules."""

from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load: its own site's files, and nothing that stands in the page itself."""
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # a form's Origin must be told to its own site
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# A response may bring its own of these, where it shows a page that was made whole elsewhere.
_UNLESS_GIVEN = {"cache-control": "no-store", "content-security-policy": CONTENT_SECURITY_POLICY}


class ErrorBoundary:
    """Answers *last* where *app* fails: a fault's own words stay inside, and reach no log either."""

    def __init__(self, app: ASGIApp, last: Response) -> None:
        self._app = app
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for key, value in _UNLESS_GIVEN.items():
                    headers.setdefault(key, value)
                for key, value in _HEADERS.items():
                    headers[key] = value
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the one place that every request passes
            log.error("face.failed", error=type(error).__name__)
            if not begun:
                await self._last(scope, receive, sending)
