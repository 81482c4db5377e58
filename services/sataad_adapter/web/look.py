"""How the page looks: templates filled in one language, its digits and its calendar."""

from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from persiantools import digits
from starlette.responses import HTMLResponse

from estelam import folding
from estelam.clock import IRAN, to_datetime
from sataad_adapter.web import form
from sataad_adapter.web.words import DIRECTIONS, LANGUAGES, Language, spoken

_GROUP = {"fa": "\u066c", "en": ","}


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("sataad_adapter.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"fields": form.FIELDS, "instant_of": to_datetime}
    return found


def render(template: str, language: Language, *, path: str, token: str, status: int, **told: Any) -> HTMLResponse:
    """*template* in *language*; *told* is what it shows."""
    other = next(name for name in LANGUAGES if name != language)
    text = (
        _environment()
        .get_template(template)
        .render(
            t=spoken(language),
            language=language,
            direction=DIRECTIONS[language],
            other=other,
            receipts=path.startswith(f"/{language}/receipt"),
            token=token,
            number=lambda value: number(value, language),
            instant=lambda value: instant(value, language),
            minute=lambda value: minute(value, language),
            **told,
        )
    )
    return HTMLResponse(text, status)


def number(value: int, language: Language) -> str:
    """A whole number as people of *language* write it."""
    text = f"{value:,}".replace(",", _GROUP[language])
    return digits.en_to_fa(text) if language == "fa" else text


def instant(value: datetime, language: Language, clock: str = "%H:%M:%S") -> str:
    """An instant as the *clock* in Tehran shows it, by the calendar of *language*."""
    there = value.astimezone(IRAN)
    if language == "en":
        return f"{there:%d %B %Y}, {there:{clock}} Tehran time"
    return digits.en_to_fa(f"{folding.jalali(there.date()).replace('-', '/')}، ساعت {there:{clock}}")


def minute(value: datetime, language: Language) -> str:
    """The minute that an instant lies in, as `instant` shows it."""
    return instant(value, language, "%H:%M")
