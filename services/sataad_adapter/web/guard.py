"""What stands around the faces: no fault gets out, a browser obeys strict rules, no other site's form counts."""

import secrets
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

TOKEN: Final = "estelam_form"  # noqa: S105 - a cookie's name
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # a form's Origin must be told to its own site
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class ForeignForm(Exception):  # noqa: N818 - reads as what it is
    """The form did not come from this site's own page in this browser."""


class Calm:
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
                headers.setdefault("cache-control", "no-store")
                for key, value in _HEADERS.items():
                    headers[key] = value
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the one place that every request passes
            log.error("face.failed", error=type(error).__name__)
            if not begun:
                await self._last(scope, receive, sending)


def token(request: Request) -> str:
    """The form's token of this browser; a new one where it has none."""
    kept = request.cookies.get(TOKEN, "")
    return kept if len(kept) == 43 and kept.isascii() else secrets.token_urlsafe(32)


def remember(request: Request, response: Response, value: str) -> None:
    """Let the browser keep its form's token, where no script and no other site's request sees it."""
    secure = request.url.scheme == "https"
    response.set_cookie(TOKEN, value, secure=secure, httponly=True, samesite="strict", path="/")


def require_own_form(request: Request, given: str) -> None:
    """Refuse a form that was not this site's own.

    Raises:
        ForeignForm: another site sent it, or this browser does not keep cookies.
    """
    kept = request.cookies.get(TOKEN, "")
    origin = request.headers.get("origin")
    foreign = request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        foreign = True
    if foreign or not kept or not secrets.compare_digest(kept.encode(), given.encode()):
        raise ForeignForm
