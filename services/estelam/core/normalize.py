"""The human edge: what people type in Persian or Arabic digits, with separators, becomes what the contract takes.

Only commands and pages use this; the contract itself takes strict ASCII.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

from persiantools import digits
from persiantools.jdatetime import JalaliDate

from estelam.core.clock import TEHRAN

# Zero-width joiners and marks of direction, which pasted text brings along.
_UNSEEN = dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF))
_BETWEEN_DIGITS = dict.fromkeys(map(ord, " \u00a0\u202f_-"))
# Thousands only: a point, a slash or a minus sign would make it another amount, so they stay and are refused.
_BETWEEN_THOUSANDS = dict.fromkeys(map(ord, " \u00a0\u202f_,'\u060c\u066c"))

_SPANS = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


def normalize_identifier(text: str) -> str:
    """An identifier as the contract takes it: ASCII digits, nothing unseen."""
    return digits.fa_to_en(digits.ar_to_fa(text.translate(_UNSEEN).strip()))


def normalize_digits(text: str) -> str:
    """An identifier of digits as the contract takes it: as `code`, and without what groups them."""
    return normalize_identifier(text).translate(_BETWEEN_DIGITS)


def parse_amount(text: str) -> int:
    """An amount, with or without separators of thousands.

    Raises:
        ValueError: *text* is not a whole number, or has more than 19 digits.
    """
    plain = normalize_identifier(text).translate(_BETWEEN_THOUSANDS)
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 19):
        raise ValueError("not a whole number")
    return int(plain)


def parse_date(text: str) -> date:
    """A date typed as YYYY-MM-DD; a year before 1700 is Jalali.

    Raises:
        ValueError: there is no such day.
    """
    year, month, day_of_month = (int(part) for part in normalize_identifier(text).replace("/", "-").split("-"))
    if year < 1700:
        return JalaliDate(year, month, day_of_month).to_gregorian()  # type: ignore[no-untyped-call]
    return date(year, month, day_of_month)


def parse_instant(text: str, now: datetime) -> datetime:
    """An instant typed as ISO 8601 with its zone, or the word now.

    Raises:
        ValueError: *text* is neither.
    """
    if text.strip().lower() == "now":
        return now
    typed = datetime.fromisoformat(normalize_identifier(text))
    if typed.tzinfo is None:
        raise ValueError("an instant must name its time zone")
    return typed.astimezone(UTC)


def parse_load_or_instant(text: str, now: datetime) -> int | datetime:
    """A load's number, or an instant as `beginning` takes it.

    Raises:
        ValueError: *text* is neither.
    """
    plain = normalize_identifier(text)
    if plain.isascii() and plain.isdigit() and len(plain) <= 9:
        return int(plain)
    return parse_start(plain, now)


def parse_start(text: str, now: datetime) -> datetime:
    """An instant: as `instant`, or a day as `day`, from when it begins in Tehran.

    Raises:
        ValueError: *text* is neither.
    """
    plain = normalize_identifier(text)
    try:
        return datetime.combine(parse_date(plain), time(), TEHRAN)
    except ValueError:
        return parse_instant(plain, now)


def parse_deadline(text: str, now: datetime) -> datetime:
    """A moment to come: an `instant`, or how long from *now*, such as 2h, 90m or 1h30m.

    Raises:
        ValueError: *text* is neither.
    """
    spans = _SPANS.fullmatch(normalize_identifier(text).lower())
    if spans is None or not any(spans.groups()):
        return parse_instant(text, now)
    hours, minutes, seconds = (int(found or 0) for found in spans.groups())
    return now + timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_jalali(value: date) -> str:
    """A Gregorian date as people in Iran read it."""
    return JalaliDate(value).isoformat()  # type: ignore[no-untyped-call]
