"""Jalali months in Iran: their days and minutes, by the rules of the time zone Asia/Tehran."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol, Self

from persiantools.jdatetime import JalaliDate

from estelam.core.clock import TEHRAN
from estelam.core.exceptions import UsageError
from estelam.core.normalize import normalize_identifier

FIRST_YEAR, LAST_YEAR = 1400, 1499
MINUTE = 60
_MONTH = re.compile("([0-9]{4})[-/]([0-9]{1,2})")

NAMES_FA = ("فروردین", "اردیبهشت", "خرداد", "تیر", "مرداد", "شهریور", "مهر", "آبان", "آذر", "دی", "بهمن", "اسفند")
NAMES_EN = (
    "Farvardin",
    "Ordibehesht",
    "Khordad",
    "Tir",
    "Mordad",
    "Shahrivar",
    "Mehr",
    "Aban",
    "Azar",
    "Dey",
    "Bahman",
    "Esfand",
)


class Period(Protocol):
    """Consecutive minutes (since 1970 in UTC) and the days that they are in."""

    @property
    def first_minute(self) -> int:
        """The first minute."""

    @property
    def end_minute(self) -> int:
        """The first minute after the period."""

    def day_minutes(self) -> Iterator[tuple[date, int, int]]:
        """Each day, with the first minute and the end minute (exclusive) of its part of the period."""


class MonthError(UsageError):
    """The month is malformed, or there can be no report of it."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One month of the Jalali calendar in the time zone of Iran."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a Jalali month written YYYY-MM or YYYY/MM, in ASCII, Persian or Arabic digits.

        Raises:
            MonthError: *text* is not a month.
        """
        found = _MONTH.fullmatch(normalize_identifier(text))
        if not found or not FIRST_YEAR <= int(found[1]) <= LAST_YEAR or not 1 <= int(found[2]) <= 12:
            raise MonthError(f"a month is Jalali and written YYYY-MM, as 1405-08, from {FIRST_YEAR} on")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, instant: datetime) -> Self:
        """The month that contains *instant*."""
        day = jalali(instant.astimezone(TEHRAN).date())
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"

    def before(self) -> "Month":
        """The month before this one."""
        return Month(self.year, self.number - 1) if self.number > 1 else Month(self.year - 1, len(NAMES_FA))

    def days(self) -> list[date]:
        """The days of the month, as Gregorian dates."""
        first = JalaliDate(self.year, self.number, 1).to_gregorian()  # type: ignore[no-untyped-call]
        count = JalaliDate.days_in_month(self.number, self.year)
        return [first + timedelta(days=later) for later in range(count)]

    @property
    def first_minute(self) -> int:
        """The first minute of the month, since 1970 in UTC."""
        return minute_of(midnight(self.days()[0]))

    @property
    def end_minute(self) -> int:
        """The first minute of the next month."""
        return minute_of(midnight(self.days()[-1] + timedelta(days=1)))

    def day_minutes(self) -> Iterator[tuple[date, int, int]]:
        """Each day, with its first minute and that of the next day: not always 1440 minutes apart."""
        for day in self.days():
            yield day, minute_of(midnight(day)), minute_of(midnight(day + timedelta(days=1)))


@dataclass(frozen=True, slots=True)
class Span:
    """A period between two arbitrary minutes."""

    first_minute: int
    end_minute: int

    def day_minutes(self) -> Iterator[tuple[date, int, int]]:
        """Each day, with the first minute and the end minute (exclusive) of its part of the period."""
        first = self.first_minute
        while first < self.end_minute:
            day = instant_of(first).date()
            end = min(minute_of(midnight(day + timedelta(days=1))), self.end_minute)
            yield day, first, end
            first = end


def midnight(day: date) -> datetime:
    """The instant at which *day* begins in Iran.

    If the clock skips midnight, as it did each spring until 1401, that is the instant of the transition.
    """
    return datetime.combine(day, time(), TEHRAN).astimezone(UTC)


def minute_of(instant: datetime) -> int:
    """The minute, since 1970 in UTC, that contains *instant*."""
    return int(instant.timestamp()) // MINUTE


def instant_of(minute: int) -> datetime:
    """The instant at which *minute* begins, in the time zone of Iran."""
    return datetime.fromtimestamp(minute * MINUTE, UTC).astimezone(TEHRAN)


def jalali(day: date) -> JalaliDate:
    """Convert *day* to the Jalali calendar."""
    return JalaliDate(day)  # type: ignore[no-untyped-call]
