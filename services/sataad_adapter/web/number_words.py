"""Amounts in words, in Persian and English, in rials and tomans: so that an extra zero is noticed.

The package num2words drops what a Persian number has from 10^18 on, and the page's script needs the words too.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from estelam.presentation.formats import Formats
from estelam.web.rendering import Language

RIALS_PER_TOMAN: Final = 10


@cache
def word_table(language: Language) -> Mapping[str, Any]:
    """Return the words of *language*, from the file beside this module; no amount has more than 19 digits."""
    tables: dict[Language, Mapping[str, Any]] = tomllib.loads(
        files(__package__).joinpath("number_words.toml").read_text("utf-8")
    )
    return tables[language]


def number_words(value: int, language: Language) -> str:
    """Return a whole number from 0 to 2^63 - 1 in words."""
    words = word_table(language)
    if value == 0:
        return str(words["ones"][0])
    groups = []
    for scale in words["scales"]:
        value, group = divmod(value, 1000)
        if group:
            groups.append(f"{_group_words(group, words)} {scale}".strip())
    return str(words["scales_join"].join(reversed(groups)))


def _group_words(group: int, words: Mapping[str, Any]) -> str:
    """Return a number from 1 to 999 in words."""
    hundreds, rest = divmod(group, 100)
    parts = [words["hundreds"][hundreds]] if hundreds else []
    if 0 < rest < len(words["ones"]):
        parts.append(words["ones"][rest])
    elif rest:
        tens, ones = divmod(rest, 10)
        parts.append(words["ones_join"].join([words["tens"][tens], *([words["ones"][ones]] if ones else [])]))
    return str(words["tens_join"].join(parts))


def amount_lines(rials: int, language: Language) -> list[str]:
    """Return an amount in figures and in words: a line in rials and, from one toman on, a line in tomans."""
    words = word_table(language)
    tomans, rest = divmod(rials, RIALS_PER_TOMAN)
    rial, toman, number = words["rial"], words["toman"], Formats(language).count
    lines = [f"{number(rials)} {rial}: {number_words(rials, language)} {rial}"]
    if tomans and not rest:
        lines.append(f"{number(tomans)} {toman}: {number_words(tomans, language)} {toman}")
    return lines
