"""What every report says alike: the verdict's words, and what was seen made safe to show."""

import unicodedata
from enum import StrEnum

from conformance.case import Title
from conformance.results import Standing, Verdict

ZWNJ = "\N{ZERO WIDTH NON-JOINER}"

STANDINGS = {
    Standing.PASSED: Title(en="passed", fa="پذیرفته"),
    Standing.FAILED: Title(en="failed", fa="مردود"),
    Standing.NOT_RUN: Title(en="not run", fa="اجرا نشده"),
    Standing.KNOWN: Title(en="known to fail", fa="مردود، از پیش دانسته"),
    Standing.STALE: Title(en="known to fail, and passed", fa="مردود دانسته و پذیرفته"),
}


class Outcome(StrEnum):
    """What a whole run comes to."""

    CONFORMS = "CONFORMS"
    FAILS = "DOES NOT CONFORM"
    NOT_RUN = "COULD NOT RUN"


OUTCOMES = {
    Outcome.CONFORMS: Title(en="CONFORMS", fa="مطابق است"),
    Outcome.FAILS: Title(en="DOES NOT CONFORM", fa="مطابق نیست"),
    Outcome.NOT_RUN: Title(en="COULD NOT RUN", fa="اجرا نشد"),
}


def outcome(verdict: Verdict) -> Outcome:
    """What *verdict* comes to."""
    if verdict.trouble:
        return Outcome.NOT_RUN
    return Outcome.CONFORMS if verdict.conforms else Outcome.FAILS


def counted(verdict: Verdict) -> dict[Standing, int]:
    """How many cases have each standing, those that none has left out."""
    counts = {standing: len(verdict.having(standing)) for standing in Standing}
    return {standing: count for standing, count in counts.items() if count}


def shown(text: str) -> str:
    """*text*, which may be whatever a server said, with all that could steer a terminal or a reader's eye escaped."""
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    # Control, format (which can turn the direction of reading), surrogate and private characters.
    if unicodedata.category(character).startswith("C") and character not in {"\n", ZWNJ}:
        return character.encode("unicode_escape").decode("ascii")
    return character
