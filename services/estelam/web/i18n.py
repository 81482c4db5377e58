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


async def _redirect(request: Request) -> Response:
    preferred = request.headers.get("accept-language", "").lower()
    return RedirectResponse("/en/" if preferred.startswith("en") else "/fa/", 303)


LANGUAGE_REDIRECT = Route("/", _redirect)
