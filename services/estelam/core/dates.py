"""Dates and instants as people and files write them: Gregorian or Jalali, recognized by the year.

The one parser for data files, TOML, YAML, settings, commands and HTTP queries. It never guesses: a year that belongs to
neither calendar's range, such as one of two digits, is refused.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import Protocol

from persiantools.jdatetime import JalaliDate

from estelam.core.clock import TEHRAN
from estelam.core.normalize import normalize_identifier

JALALI_YEARS = range(1200, 1501)
GREGORIAN_YEARS = range(1900, 2200)
EARLIEST_DATE = date(1921, 3, 21)
"""1 Farvardin 1300: no data is declared complete from an earlier day on."""
LATEST_DATE = date(2099, 12, 31)
"""The last day that a grant, an agreement or a method may name. It catches a mistyped digit of the year."""
TOLERANCE = timedelta(days=1)
"""How far after today in Iran a date of the past may be, since another host's clock or time zone may be ahead."""

_DATE = re.compile(r"([0-9]+)([-/])([0-9]{1,2})\2([0-9]{1,2})")
_TIME = re.compile(r"([0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?) ?(Z|[+-][0-9]{2}:?[0-9]{2})?", re.IGNORECASE)
_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


class DateProblem(Enum):
    """Why a text is refused as a date or an instant: the English and the Persian reason, which never quote the text."""

    NOT_A_DATE = (
        "is not a date; write year, month and day as 2026-11-30 or, Jalali, 1405-09-09",
        "تاریخ نیست؛ سال، ماه و روز را مانند ۱۴۰۵/۰۹/۰۹ یا، میلادی، ۲۰۲۶/۱۱/۳۰ بنویسید",
    )
    YEAR_WITHOUT_FOUR_DIGITS = (
        "has a year that is not of four digits; write 2026 or, Jalali, 1405",
        "سال آن چهار رقم ندارد؛ ۱۴۰۵ یا، میلادی، ۲۰۲۶ بنویسید",
    )
    YEAR_OUT_OF_RANGE = (
        "has a year that is neither Jalali (1200-1500) nor Gregorian (1900-2199)",
        "سال آن نه هجری شمسی است (۱۲۰۰ تا ۱۵۰۰) و نه میلادی (۱۹۰۰ تا ۲۱۹۹)",
    )
    NO_SUCH_DAY = (
        "is a day that its calendar does not have; check month and day",
        "روزی است که در تقویم نیست؛ ماه و روز را بررسی کنید",
    )
    NOT_AN_INSTANT = (
        "is not an instant; write date, time and zone as 2026-11-30T12:00+03:30 or, Jalali, 1405-09-09T12:00+03:30",
        "لحظه نیست؛ تاریخ، ساعت و منطقه زمانی را مانند 1405-09-09T12:00+03:30 بنویسید",
    )
    NEITHER_DATE_NOR_INSTANT = (
        "is neither a date, as 1405-09-09, nor an instant with its zone, as 1405-09-09T12:00+03:30",
        "نه تاریخ است، مانند ۱۴۰۵/۰۹/۰۹، و نه لحظه با منطقه زمانی، مانند 1405-09-09T12:00+03:30",
    )
    NO_LOAD_DATE_OR_INSTANT = (
        "is not a load's number, nor a date, as 1405-09-09, nor an instant with its zone, as 1405-09-09T12:00+03:30",
        "نه شماره بارگذاری است، نه تاریخ، مانند ۱۴۰۵/۰۹/۰۹، و نه لحظه با منطقه زمانی، مانند 1405-09-09T12:00+03:30",
    )
    NO_DURATION_OR_INSTANT = (
        "is neither a duration, as 2h or 1h30m, nor an instant with its zone, as 1405-09-09T12:00+03:30",
        "نه مدت است، مانند 2h یا 1h30m، و نه لحظه با منطقه زمانی، مانند 1405-09-09T12:00+03:30",
    )
    NOT_A_DURATION = (
        "is not a duration; write hours, minutes and seconds as 24h or 1h30m",
        "مدت نیست؛ ساعت و دقیقه و ثانیه را مانند 24h یا 1h30m بنویسید",
    )
    NO_TIME_ZONE = (
        "has no time zone; add it, as +03:30 or Z",
        "منطقه زمانی ندارد؛ آن را مانند +03:30 یا Z بیفزایید",
    )
    NOT_A_LOCAL_TIME = (
        "is not a time in Tehran; write date, hour and minute as 1405-09-09 22:00",
        "زمان به وقت تهران نیست؛ تاریخ و ساعت را مانند ۱۴۰۵/۰۹/۰۹ ۲۲:۰۰ بنویسید",
    )
    AFTER_TODAY = ("is after today", "پس از امروز است")
    BEFORE_1300 = ("is before 1300-01-01 (1921-03-21)", "پیش از ۱۳۰۰/۰۱/۰۱ است")
    AFTER_2099 = ("is after 2099-12-31", "پس از ۲۰۹۹/۱۲/۳۱ میلادی است")

    @property
    def en(self) -> str:
        """The reason in English; it follows the date's name, as in "filed_on is after today"."""
        return self.value[0]

    @property
    def fa(self) -> str:
        """The reason in Persian; it follows the date's name too."""
        return self.value[1]


class DateError(ValueError):
    """A text is not a date or an instant, or not one that can be meant. Its text is `problem.en`."""

    def __init__(self, problem: DateProblem) -> None:
        super().__init__(problem.en)
        self.problem = problem


def parse_date(text: str) -> date:
    """Parse year, month and day between hyphens or slashes, in ASCII, Persian or Arabic digits.

    A year from 1200 to 1500 is Jalali, one from 1900 to 2199 Gregorian. Month and day may have one digit.

    Raises:
        DateError: *text* is not such a date, or the calendar has no such day.
    """
    found = _DATE.fullmatch(normalize_identifier(text))
    if found is None:
        raise DateError(DateProblem.NOT_A_DATE)
    if len(found[1]) != 4:
        raise DateError(DateProblem.YEAR_WITHOUT_FOUR_DIGITS)
    return _day(int(found[1]), int(found[3]), int(found[4]))


def _day(year: int, month: int, day: int) -> date:
    try:
        if year in JALALI_YEARS:
            return JalaliDate(year, month, day).to_gregorian()  # type: ignore[no-untyped-call]
        if year in GREGORIAN_YEARS:
            return date(year, month, day)
    except ValueError:
        raise DateError(DateProblem.NO_SUCH_DAY) from None
    raise DateError(DateProblem.YEAR_OUT_OF_RANGE)


def parse_date_value(value: object) -> date:
    """Parse a date from a TOML or YAML file: a text, or a date, which these formats read as Gregorian in any year.

    Raises:
        DateError: as `parse_date`; or *value* is of another type.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return _day(value.year, value.month, value.day)
    if isinstance(value, str):
        return parse_date(value)
    raise DateError(DateProblem.NOT_A_DATE)


def check_in_use(day: date) -> date:
    """Return *day*, unless no grant, agreement or method can name it.

    Raises:
        DateError: *day* is before 1300-01-01 (Jalali) or after 2099-12-31.
    """
    if day < EARLIEST_DATE:
        raise DateError(DateProblem.BEFORE_1300)
    if day > LATEST_DATE:
        raise DateError(DateProblem.AFTER_2099)
    return day


class WireDate(Protocol):
    """A google.type.Date."""

    @property
    def year(self) -> int:
        """The year."""

    @property
    def month(self) -> int:
        """The month."""

    @property
    def day(self) -> int:
        """The day of the month."""


def from_wire(message: WireDate) -> date:
    """Return the date in a reply. The contract's dates are Gregorian: another calendar's year is refused here.

    Raises:
        DateError: the date is not Gregorian, is incomplete or does not exist.
    """
    if message.year not in GREGORIAN_YEARS:
        raise DateError(DateProblem.YEAR_OUT_OF_RANGE)
    return _day(message.year, message.month, message.day)


def parse_past_date(text: str, now: datetime) -> date:
    """Parse a date as `parse_date` does, of something that has happened: filing, issue.

    Raises:
        DateError: as `parse_date`; or the date is after today in Iran by more than a day.
    """
    return check_past(parse_date(text), now)


def check_past(day: date, now: datetime) -> date:
    """Return *day*, unless it is after `latest_past_date`.

    Raises:
        DateError: it is.
    """
    if day > latest_past_date(now):
        raise DateError(DateProblem.AFTER_TODAY)
    return day


def parse_since(text: str, now: datetime) -> date:
    """Parse the day from which on data is declared complete.

    Raises:
        DateError: as `parse_date`; or the day is before 1300-01-01 (Jalali) or after today in Iran.
    """
    day = parse_date(text)
    if day < EARLIEST_DATE:
        raise DateError(DateProblem.BEFORE_1300)
    if day > today(now):
        raise DateError(DateProblem.AFTER_TODAY)
    return day


def today(now: datetime) -> date:
    """Return the calendar day in Iran at the instant *now*."""
    return now.astimezone(TEHRAN).date()


def latest_past_date(now: datetime) -> date:
    """Return the latest date of something that has happened: today in Iran and a day's tolerance."""
    return today(now) + TOLERANCE


def parse_instant(text: str, now: datetime | None = None) -> datetime:
    """Parse a date as `parse_date` does, a time and a time zone, as 1405-09-09T12:00+03:30; return it in UTC.

    If *now* is given, the word "now" means that instant.

    Raises:
        DateError: *text* is no such instant.
    """
    return _instant(normalize_identifier(text), now, DateProblem.NOT_AN_INSTANT)


def _instant(plain: str, now: datetime | None, problem: DateProblem) -> datetime:
    """Parse an instant; where *plain* has another form, raise DateError for *problem*."""
    if now is not None and plain.lower() == "now":
        return now
    day, clock, zone = _date_and_time(plain, problem)
    if not zone:
        raise DateError(DateProblem.NO_TIME_ZONE)
    try:
        return datetime.fromisoformat(f"{day}T{clock}{zone.upper()}").astimezone(UTC)
    except ValueError:
        raise DateError(problem) from None


def parse_instant_value(value: object) -> datetime:
    """Parse an instant from a TOML file: a text, or an instant, which TOML reads as Gregorian in any year.

    Raises:
        DateError: as `parse_instant`; or *value* is of another type.
    """
    if isinstance(value, str):
        return parse_instant(value)
    if not isinstance(value, datetime):
        raise DateError(DateProblem.NOT_AN_INSTANT)
    if value.tzinfo is None:
        raise DateError(DateProblem.NO_TIME_ZONE)
    return datetime.combine(_day(value.year, value.month, value.day), value.timetz())


def parse_local_time(text: str) -> datetime:
    """Parse a date as `parse_date` does and a time in the time zone of Iran, as 1405-09-09 22:00.

    Raises:
        DateError: *text* is no such time.
    """
    day, clock, zone = _date_and_time(normalize_identifier(text), DateProblem.NOT_A_LOCAL_TIME)
    if zone:
        raise DateError(DateProblem.NOT_A_LOCAL_TIME)
    try:
        return datetime.combine(day, time.fromisoformat(clock), TEHRAN)
    except ValueError:
        raise DateError(DateProblem.NOT_A_LOCAL_TIME) from None


def _date_and_time(plain: str, problem: DateProblem) -> tuple[date, str, str | None]:
    """Split a text into its date, its time (HH:MM, with seconds if given) and its zone, None if it has none."""
    day, separator, rest = plain.replace("T", " ").replace("t", " ").partition(" ")
    found = _TIME.fullmatch(rest)
    if not separator or found is None:
        raise DateError(problem)
    hour, _, minutes = found[1].partition(":")
    return parse_date(day), f"{hour:0>2}:{minutes}", found[2]


def parse_start(text: str, now: datetime) -> datetime:
    """Parse an instant as `parse_instant` does, or a date as `parse_date` does, which means its start in Tehran.

    Raises:
        DateError: *text* is neither.
    """
    return _start(normalize_identifier(text), now, DateProblem.NEITHER_DATE_NOR_INSTANT)


def _start(plain: str, now: datetime, problem: DateProblem) -> datetime:
    if _DATE.fullmatch(plain):
        return datetime.combine(parse_date(plain), time(), TEHRAN)
    return _instant(plain, now, problem)


def parse_load_or_instant(text: str, now: datetime) -> int | datetime:
    """Parse the number of a load, or an instant as `parse_start` does.

    Raises:
        DateError: *text* is neither.
    """
    plain = normalize_identifier(text)
    if plain.isascii() and plain.isdigit() and len(plain) <= 9:
        return int(plain)
    return _start(plain, now, DateProblem.NO_LOAD_DATE_OR_INSTANT)


def parse_deadline(text: str, now: datetime) -> datetime:
    """Parse an instant as `parse_instant` does, or a duration from *now* such as 2h, 90m or 1h30m.

    Raises:
        DateError: *text* is neither.
    """
    plain = normalize_identifier(text)
    duration = _duration(plain)
    return _instant(plain, now, DateProblem.NO_DURATION_OR_INSTANT) if duration is None else now + duration


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as 24h, 90m or 1h30m.

    Raises:
        DateError: *text* is none.
    """
    if (duration := _duration(normalize_identifier(text))) is None:
        raise DateError(DateProblem.NOT_A_DURATION)
    return duration


def _duration(plain: str) -> timedelta | None:
    found = _DURATION.fullmatch(plain.lower())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_jalali(value: date) -> str:
    """Return a Gregorian date in the Jalali calendar, as YYYY-MM-DD; as it is, outside the Jalali years 1 to 9377."""
    try:
        return JalaliDate(value).isoformat()  # type: ignore[no-untyped-call]
    except ValueError:
        return value.isoformat()


def format_both(value: date) -> str:
    """Return a date in both calendars, Jalali first, as 1405-09-09 (2026-11-30); in one, where Jalali has none."""
    jalali = format_jalali(value)
    return jalali if jalali == value.isoformat() else f"{jalali} ({value})"


def format_day(instant: datetime) -> str:
    """Return the day of an instant in Iran, in both calendars as `format_both` does."""
    return format_both(today(instant))


def format_second(instant: datetime) -> str:
    """Return an instant as `format_minute` does, with its second: 1405-09-09 22:00:05 (2026-11-30)."""
    return _format(instant, "%H:%M:%S")


def format_minute(instant: datetime) -> str:
    """Return an instant in Iran's time zone with its date in both calendars, as 1405-09-09 22:00 (2026-11-30).

    One outside the Jalali years 1 to 9377 stays as it is, in ISO 8601: 9999-12-31T23:59:59+00:00, which RFC 5280 writes
    in a certificate without an end.
    """
    return _format(instant, "%H:%M")


def format_utc(instant: datetime, timespec: str = "auto") -> str:
    """Return an instant in UTC as RFC 3339 writes it: 2026-11-30T18:30:05Z; *timespec* as in datetime.isoformat."""
    return instant.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def _format(instant: datetime, clock: str) -> str:
    local = to_tehran(instant)
    if local is None or (jalali := format_jalali(local.date())) == local.date().isoformat():
        return instant.isoformat(timespec="seconds")
    return f"{jalali} {local:{clock}} ({local.date()})"


def to_tehran(instant: datetime) -> datetime | None:
    """Return an instant in Iran's time zone; None if it is not in the years 1 to 9999 there."""
    try:
        return instant.astimezone(TEHRAN)
    except OverflowError:
        return None
