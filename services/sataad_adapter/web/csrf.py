"""Protection against cross-site request forgery: a token in a cookie and in each form, and a check of the origin."""

import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

TOKEN: Final = "estelam_form"  # noqa: S105 - a cookie's name


class CsrfError(Exception):
    """The form was not sent from this site's own page in this browser."""


def token(request: Request) -> str:
    """Return the token in this browser's cookie, or a new one."""
    cookie = request.cookies.get(TOKEN, "")
    return cookie if len(cookie) == 43 and cookie.isascii() else secrets.token_urlsafe(32)


def set_token_cookie(request: Request, response: Response, value: str) -> None:
    """Set the token cookie, hidden from scripts (HttpOnly) and from other sites' requests (SameSite)."""
    secure = request.url.scheme == "https"
    response.set_cookie(TOKEN, value, secure=secure, httponly=True, samesite="strict", path="/")


def require_token(request: Request, given: str) -> None:
    """Check that a form with the token *given* was sent from this site.

    Raises:
        CsrfError: another site sent it, or this browser does not store cookies.
    """
    cookie = request.cookies.get(TOKEN, "")
    origin = request.headers.get("origin")
    cross_site = request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        cross_site = True
    if cross_site or not cookie or not secrets.compare_digest(cookie.encode(), given.encode()):
        raise CsrfError
