"""Rendering of pages: a site's templates and messages in the shared frame, with formats by language."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from estelam.presentation.formats import Formats
from estelam.presentation.style import FONT

Language = str

LANGUAGES: Final = ("fa", "en")
_SHARED = "estelam.web"
_PRESENTATION = "estelam.presentation"
_KEPT = {"cache-control": "public, max-age=31536000, immutable"}


class SiteRenderer:
    """Renders the pages of one site.

    Args:
        package: The package that holds the site's templates, static files and `messages.toml`.
        *template_packages: Further packages whose templates may be used.
        **variables: Variables of every template.
    """

    def __init__(self, package: str, *template_packages: str, **variables: Any) -> None:
        self._package = package
        self._environment = Environment(
            loader=ChoiceLoader([PackageLoader(name) for name in (package, *template_packages, _SHARED)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"font": FONT} | variables

    def page(
        self, template: str, language: Language, *, root: str, place: str, status: int = 200, **variables: Any
    ) -> HTMLResponse:
        """Render a page.

        Args:
            template: The template's name.
            language: The language of the page.
            root: The site's root relative to the page, with which links begin.
            place: The path of the page after its language, for the link to the other language.
            status: The HTTP status.
            **variables: The template's variables.
        """
        formats = Formats(language)
        other = next(name for name in LANGUAGES if name != language)
        text = self._environment.get_template(template).render(
            t=messages_for(self._package, language),
            language=language,
            direction=formats.direction,
            other=other,
            root=root,
            place=place,
            number=formats.count,
            instant=formats.second,
            minute=formats.instant,
            **variables,
        )
        return HTMLResponse(text, status)

    def static(self) -> Mount:
        """Return the route of the site's static files and the shared ones."""
        shared = ((_SHARED, "static"), (_PRESENTATION, "static"), (_PRESENTATION, "fonts"))
        return Mount("/static", _StaticFiles(packages=[(self._package, "static"), *shared]))


class _StaticFiles(StaticFiles):
    """Static files, of which browsers keep the font: its name changes with its content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file at *path*."""
        response = await super().get_response(path, scope)
        if path == FONT:
            response.headers.update(_KEPT)
        return response


@cache
def messages_for(package: str, language: Language) -> Mapping[str, str]:
    """Return the messages of *package*'s site in one language; texts of refusals are in `estelam.core.errors`."""
    messages: dict[str, Any] = {}
    for source in (_SHARED, package):
        messages |= tomllib.loads(files(source).joinpath("messages.toml").read_text("utf-8"))
    return {key: texts[language] for key, texts in messages.items()}
