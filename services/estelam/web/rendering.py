"""Rendering of pages: a site's templates and messages in the shared frame, with numbers and dates by language."""

import tomllib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from persiantools import digits
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from estelam.core import dates

Language = str

LANGUAGES: Final = ("fa", "en")
_DIRECTIONS = {"fa": "rtl", "en": "ltr"}
_GROUP = {"fa": "\u066c", "en": ","}
_SHARED = "estelam.web"


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
        self._environment.globals |= variables

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
        other = next(name for name in LANGUAGES if name != language)
        text = self._environment.get_template(template).render(
            t=messages_for(self._package, language),
            language=language,
            direction=_DIRECTIONS[language],
            other=other,
            root=root,
            place=place,
            number=lambda value: number(value, language),
            instant=lambda value: instant(value, language),
            minute=lambda value: minute(value, language),
            **variables,
        )
        return HTMLResponse(text, status)

    def static(self) -> Mount:
        """Return the route of the site's static files and the shared ones."""
        return Mount("/static", StaticFiles(packages=[(self._package, "static"), (_SHARED, "static")]))


@cache
def messages_for(package: str, language: Language) -> Mapping[str, str]:
    """Return the messages of *package*'s site in one language; texts of refusals are in `estelam.core.errors`."""
    messages: dict[str, Any] = {}
    for source in (_SHARED, package):
        messages |= tomllib.loads(files(source).joinpath("messages.toml").read_text("utf-8"))
    return {key: texts[language] for key, texts in messages.items()}


def number(value: int, language: Language) -> str:
    """Format a whole number as *language* does."""
    text = f"{value:,}".replace(",", _GROUP[language])
    return digits.en_to_fa(text) if language == "fa" else text


def instant(value: datetime, language: Language, clock: str = "%H:%M:%S") -> str:
    """Format an instant in Tehran time, in the calendar of *language*; *clock* is the format of the time of day."""
    local = dates.to_tehran(value)
    if local is None:
        return value.isoformat(timespec="seconds")
    if language == "en":
        return f"{local:%d %B %Y}, {local:{clock}} Tehran time"
    return digits.en_to_fa(f"{dates.format_jalali(local.date()).replace('-', '/')}، ساعت {local:{clock}}")


def minute(value: datetime, language: Language) -> str:
    """Format an instant as `instant` does, without the seconds."""
    return instant(value, language, "%H:%M")
