"""Pages in two languages: the address begins with the language, and the browser's wish chooses where it has none."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from estelam.web.rendering import LANGUAGES, Language

View = Callable[[Request, Language], Awaitable[Response]]


def localized(view: View) -> Callable[[Request], Awaitable[Response]]:
    """*view*, told the language of the address; another is no page."""

    async def shown(request: Request) -> Response:
        if (language := request.path_params["language"]) not in LANGUAGES:
            raise HTTPException(404)
        return await view(request, language)

    return shown


def request_language(request: Request) -> Language:
    """The language to speak in where an address may have none."""
    language = request.url.path.split("/")[1]
    return language if language in LANGUAGES else LANGUAGES[0]


async def _choose(request: Request) -> Response:
    wanted = request.headers.get("accept-language", "").lower()
    return RedirectResponse("/en/" if wanted.startswith("en") else "/fa/", 303)


LANGUAGE_REDIRECT = Route("/", _choose)
