"""Protection against cross-site request forgery: a form is accepted from this site's own pages only.

Browsers state where a form comes from in `Sec-Fetch-Site` and `Origin`, which no page can change; every browser sends
one of them with a form. That needs neither a cookie nor a token in the form, so any number of tabs may be open.
Source: the W3C's Fetch Metadata; OWASP's Cross-Site Request Forgery Prevention Cheat Sheet.
"""

from urllib.parse import urlsplit

from starlette.requests import Request

_DEFAULT_PORTS = {"http": 80, "https": 443}


class CsrfError(Exception):
    """The form was not sent from this site's own page."""


def require_same_origin(request: Request) -> None:
    """Check that *request* comes from a page of this site.

    Raises:
        CsrfError: it comes from another site, or does not state where it comes from.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        raise CsrfError
    if site not in {None, "same-origin", "none"}:
        raise CsrfError
    if origin is not None and not _is_own(origin, request.headers.get("host", "")):
        raise CsrfError


def _is_own(origin: str, host: str) -> bool:
    """Return whether *origin* (scheme://host:port) names *host* (host:port); the default port may be left out."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(page.scheme)
        ports = page.port or default, here.port or default
    except ValueError:  # a port that is no number
        return False
    return page.hostname is not None and page.hostname == here.hostname and ports[0] == ports[1]
