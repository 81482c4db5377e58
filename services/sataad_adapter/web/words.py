"""What the page says, in Persian and English: `words.toml`; refusals' own words are in `estelam.errors`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

Language = str

LANGUAGES = ("fa", "en")
DIRECTIONS = {"fa": "rtl", "en": "ltr"}


@cache
def spoken(language: Language) -> Mapping[str, str]:
    """Every word in one language."""
    words = tomllib.loads(files(__package__).joinpath("words.toml").read_text("utf-8"))
    return {key: said[language] for key, said in words.items()}
