"""Languages of pages: the path begins with the language; at the root the browser's preference chooses it."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from estelam.web.rendering import LANGUAGES, Language

View = Callable[[Request, Language], Awaitable[Response]]


def localized(view: View) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that passes *view* the language of the path, and responds 404 to an unknown language."""

    async def handle(request: Request) -> Response:
        if (language := request.path_params["language"]) not in LANGUAGES:
            raise HTTPException(404)
        return await view(request, language)

    return handle


def request_language(request: Request) -> Language:
    """Return the language of the path, or the default language if the path has none."""
    language = request.url.path.split("/")[1]
    return language if language in LANGUAGES else LANGUAGES[0]


def language_redirect(path: str) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that redirects to the page at *path* in the language that the browser prefers."""

    async def redirect(request: Request) -> Response:
        preferred = request.headers.get("accept-language", "").lower()
        return RedirectResponse(f"{'en' if preferred.startswith('en') else 'fa'}/{path}", 303)

    return redirect


async def _add_slash(_request: Request, language: Language) -> Response:
    return RedirectResponse(f"{language}/", 303)


LANGUAGE_REDIRECT = Route("/", language_redirect(""))
SLASH_REDIRECT = Route("/{language}", localized(_add_slash))


def site_root(request: Request) -> str:
    """Return the site's root relative to the page of *request*, as `../`.

    All links of a page begin with it, so that the site may be under any path of a reverse proxy.
    """
    path: bytes = request.scope["raw_path"]
    return "../" * (path.partition(b"?")[0].count(b"/") - 1)
