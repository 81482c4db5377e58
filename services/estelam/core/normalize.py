"""Normalization of human input: Persian or Arabic digits and separators become what the contract accepts.

Only commands and pages use it; the contract accepts strict ASCII.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

from persiantools import digits
from persiantools.jdatetime import JalaliDate

from estelam.core.clock import TEHRAN

# Zero-width joiners and direction marks, which pasted text may contain.
_INVISIBLE = dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF))
_DIGIT_SEPARATORS = dict.fromkeys(map(ord, " \u00a0\u202f_-"))
# Separators of thousands only. A point, a slash or a minus sign would change the amount: they stay and are refused.
_THOUSANDS_SEPARATORS = dict.fromkeys(map(ord, " \u00a0\u202f_,'\u060c\u066c"))

_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


def normalize_identifier(text: str) -> str:
    """Return an identifier as the contract accepts it: ASCII digits, no invisible characters."""
    return digits.fa_to_en(digits.ar_to_fa(text.translate(_INVISIBLE).strip()))


def normalize_digits(text: str) -> str:
    """Return an identifier of digits as `normalize_identifier` does, without separators between the digits."""
    return normalize_identifier(text).translate(_DIGIT_SEPARATORS)


def parse_amount(text: str) -> int:
    """Parse an amount, with or without separators of thousands.

    Raises:
        ValueError: *text* is not a whole number, or has more than 19 digits.
    """
    plain = normalize_identifier(text).translate(_THOUSANDS_SEPARATORS)
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 19):
        raise ValueError("not a whole number")
    return int(plain)


def parse_date(text: str) -> date:
    """Parse a date typed as YYYY-MM-DD; a year before 1700 is Jalali.

    Raises:
        ValueError: *text* is no such date.
    """
    year, month, day_of_month = (int(part) for part in normalize_identifier(text).replace("/", "-").split("-"))
    if year < 1700:
        return JalaliDate(year, month, day_of_month).to_gregorian()  # type: ignore[no-untyped-call]
    return date(year, month, day_of_month)


def parse_instant(text: str, now: datetime) -> datetime:
    """Parse an instant typed as ISO 8601 with its time zone, or the word "now".

    Raises:
        ValueError: *text* is neither.
    """
    if text.strip().lower() == "now":
        return now
    instant = datetime.fromisoformat(normalize_identifier(text))
    if instant.tzinfo is None:
        raise ValueError("an instant must have a time zone")
    return instant.astimezone(UTC)


def parse_load_or_instant(text: str, now: datetime) -> int | datetime:
    """Parse the number of a load, or an instant as `parse_start` does.

    Raises:
        ValueError: *text* is neither.
    """
    plain = normalize_identifier(text)
    if plain.isascii() and plain.isdigit() and len(plain) <= 9:
        return int(plain)
    return parse_start(plain, now)


def parse_start(text: str, now: datetime) -> datetime:
    """Parse an instant as `parse_instant` does, or a date as `parse_date` does, which means its start in Tehran.

    Raises:
        ValueError: *text* is neither.
    """
    plain = normalize_identifier(text)
    try:
        return datetime.combine(parse_date(plain), time(), TEHRAN)
    except ValueError:
        return parse_instant(plain, now)


def parse_deadline(text: str, now: datetime) -> datetime:
    """Parse an instant as `parse_instant` does, or a duration from *now* such as 2h, 90m or 1h30m.

    Raises:
        ValueError: *text* is neither.
    """
    duration = _DURATION.fullmatch(normalize_identifier(text).lower())
    if duration is None or not any(duration.groups()):
        return parse_instant(text, now)
    hours, minutes, seconds = (int(part or 0) for part in duration.groups())
    return now + timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_jalali(value: date) -> str:
    """Return a Gregorian date in the Jalali calendar, as YYYY-MM-DD."""
    return JalaliDate(value).isoformat()  # type: ignore[no-untyped-call]
