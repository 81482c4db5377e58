"""How a site looks and speaks: its templates and words, in the frame and with the numbers and dates that all share."""

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

from estelam.core import normalize
from estelam.core.clock import TEHRAN

Language = str

LANGUAGES: Final = ("fa", "en")
_DIRECTIONS = {"fa": "rtl", "en": "ltr"}
_GROUP = {"fa": "\u066c", "en": ","}
_HOUSE = "estelam.web"


class SiteRenderer:
    """The look of the site whose templates, static files and `messages.toml` lie in *package*.

    Templates of the packages *lent* are at hand too, and each template knows *given* besides what it is told.
    """

    def __init__(self, package: str, *lent: str, **given: Any) -> None:
        self._package = package
        self._environment = Environment(
            loader=ChoiceLoader([PackageLoader(name) for name in (package, *lent, _HOUSE)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= given

    def page(self, template: str, language: Language, *, place: str, status: int = 200, **told: Any) -> HTMLResponse:
        """*template* in *language*; *place* is what of its address follows the language, *told* what it shows."""
        other = next(name for name in LANGUAGES if name != language)
        text = self._environment.get_template(template).render(
            t=messages_for(self._package, language),
            language=language,
            direction=_DIRECTIONS[language],
            other=other,
            place=place,
            number=lambda value: number(value, language),
            instant=lambda value: instant(value, language),
            minute=lambda value: minute(value, language),
            **told,
        )
        return HTMLResponse(text, status)

    def static(self) -> Mount:
        """Where its files and those that all share are served."""
        return Mount("/static", StaticFiles(packages=[(self._package, "static"), (_HOUSE, "static")]))


@cache
def messages_for(package: str, language: Language) -> Mapping[str, str]:
    """Every word of *package*'s site in one language; refusals' own words are in `estelam.core.errors`."""
    words: dict[str, Any] = {}
    for source in (_HOUSE, package):
        words |= tomllib.loads(files(source).joinpath("messages.toml").read_text("utf-8"))
    return {key: said[language] for key, said in words.items()}


def number(value: int, language: Language) -> str:
    """A whole number as people of *language* write it."""
    text = f"{value:,}".replace(",", _GROUP[language])
    return digits.en_to_fa(text) if language == "fa" else text


def instant(value: datetime, language: Language, clock: str = "%H:%M:%S") -> str:
    """An instant as the *clock* in Tehran shows it, by the calendar of *language*."""
    there = value.astimezone(TEHRAN)
    if language == "en":
        return f"{there:%d %B %Y}, {there:{clock}} Tehran time"
    return digits.en_to_fa(f"{normalize.format_jalali(there.date()).replace('-', '/')}، ساعت {there:{clock}}")


def minute(value: datetime, language: Language) -> str:
    """The minute that an instant lies in, as `instant` shows it."""
    return instant(value, language, "%H:%M")
