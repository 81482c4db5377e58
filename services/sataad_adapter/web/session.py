"""Cookies: a random text by which a browser reads the results of its own forms, and the agency of its last inquiry."""

import re
import secrets

from starlette.requests import Request
from starlette.responses import Response

_BROWSER = re.compile("[0-9A-Za-z_-]{22}")
_AGENCY = re.compile("[0-9A-Za-z-]{1,32}")
_AGENCY_COOKIE = "estelam_agency"
_YEAR_SECONDS = 365 * 86400


def browser_of(request: Request) -> str | None:
    """Return the browser's cookie; None if the browser has none so far, or one of another form."""
    value = request.cookies.get(_name(request), "")
    return value if _BROWSER.fullmatch(value) else None


def new_browser() -> str:
    """Return the value of a new cookie, which nobody can guess."""
    return secrets.token_urlsafe(16)


def set_browser(request: Request, response: Response, browser: str) -> None:
    """Set the cookie until the browser is closed. Scripts can't read it, and forms of other sites don't send it."""
    set_cookie(request, response, _name(request), browser)


def agency_of(request: Request) -> str:
    """Return the agency for which this browser asked last; empty without one."""
    value = request.cookies.get(_AGENCY_COOKIE, "")
    return value if _AGENCY.fullmatch(value) else ""


def set_agency(request: Request, response: Response, agency: str) -> None:
    """Remember *agency*, if it is an agency's id, for a year."""
    if _AGENCY.fullmatch(agency):
        set_cookie(request, response, _AGENCY_COOKIE, agency, _YEAR_SECONDS)


def set_cookie(request: Request, response: Response, name: str, value: str, max_age: int | None = None) -> None:
    """Set a cookie of this site for *max_age* seconds; without them, until the browser is closed."""
    # The path is the whole site's: the site does not know under which path a reverse proxy serves it.
    response.set_cookie(
        name, value, max_age=max_age, path="/", secure=_is_secure(request), httponly=True, samesite="lax"
    )


def _name(request: Request) -> str:
    # A browser takes a cookie with this prefix from its own host alone, over HTTPS: no other host can plant one.
    return "__Host-estelam" if _is_secure(request) else "estelam"


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
