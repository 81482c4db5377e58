"""No other site's form counts: each browser keeps a token, and a form without it is foreign."""

import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

TOKEN: Final = "estelam_form"  # noqa: S105 - a cookie's name


class ForeignForm(Exception):  # noqa: N818 - reads as what it is
    """The form did not come from this site's own page in this browser."""


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
