"""Outages that a provider announces: read from what people type, refused where they can't be meant, and published."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from estelam.catalogue.model import Catalogue
from estelam.core import normalize
from estelam.core.clock import TEHRAN
from estelam.core.exceptions import UserFacingError
from estelam.pipeline.outages import MAX_DURATION, MAX_REASON_LENGTH, Outage, OutageTable
from quality import repository
from quality.periods import instant_of, minute_of
from quality.records import PlannedOutage

# The joiner that Persian words are written with is no more printable than a space is.
_ZWNJ = "\u200c"


class AnnouncementError(UserFacingError):
    """An announcement that can't be taken; the text is for the operator."""


def parse_time(text: str) -> datetime:
    """The instant written YYYY-MM-DD HH:MM, on Iran's clocks; a year before 1700 is Jalali.

    Raises:
        AnnouncementError: there is no such instant.
    """
    day, _, time = text.strip().partition(" ")
    try:
        hour, minute = (int(part) for part in normalize.normalize_digits(time).split(":"))
        found = normalize.parse_date(day)
        return datetime(found.year, found.month, found.day, hour, minute, tzinfo=TEHRAN)
    except (ValueError, OverflowError):
        raise AnnouncementError("a time is written YYYY-MM-DD HH:MM, as 1405-08-12 22:00") from None


def create_outage(
    catalogue: Catalogue,
    *,
    service: str,
    first: datetime,
    end: datetime,
    now: datetime,
    reason_fa: str,
    reason_en: str,
) -> PlannedOutage:
    """What is kept of an announcement made *now*.

    Raises:
        AnnouncementError: no such service is watched, or the period can't be meant.
    """
    found = catalogue.service(service)
    if found is None or found.wire is None:
        raise AnnouncementError("no service of that name is watched here")
    if not minute_of(first) < minute_of(end) <= minute_of(first) + MAX_DURATION.days * 1440:
        raise AnnouncementError(f"an outage ends after it begins, and within {MAX_DURATION.days} days")
    if minute_of(end) <= minute_of(now):
        raise AnnouncementError("what is over already can't be announced")
    for reason in (reason_fa, reason_en):
        if not 1 <= len(reason) <= MAX_REASON_LENGTH or not reason.replace(_ZWNJ, "").isprintable():
            raise AnnouncementError(f"a reason has 1 to {MAX_REASON_LENGTH} characters on one line")
    return PlannedOutage(service, minute_of(now), minute_of(first), minute_of(end), reason_fa, reason_en)


@dataclass(frozen=True, slots=True)
class OutageAnnouncer:
    """Where announcements are kept and published, and what time it is there."""

    connection: Connection
    catalogue: Catalogue
    file: Path | None
    now: int

    def announce(self, told: PlannedOutage) -> PlannedOutage:
        """Keep *told* and publish it; the same with its number.

        Raises:
            AnnouncementError: another announcement covers all of it.
            OSError: it can't be published; then it must not be kept either.
        """
        for other in repository.all_outages(self.connection):
            covers = other.first_minute <= told.first_minute and told.end_minute <= other.end_minute
            if other.service == told.service and covers:
                raise AnnouncementError(f"the announcement {other.number} covers that time already")
        number = repository.insert_outage(self.connection, told)
        self.publish()
        return replace(told, number=number)

    def end(self, number: int) -> PlannedOutage:
        """End the outage *number* with the minute that runs or, if it has not begun, withdraw it, and publish that.

        Raises:
            AnnouncementError: there is none, or it is over.
            OSError: as in `announce`.
        """
        found = next((one for one in repository.all_outages(self.connection) if one.number == number), None)
        if found is None:
            raise AnnouncementError("no announcement has that number")
        end = self.now + 1 if found.first_minute <= self.now else found.first_minute
        if found.end_minute <= end:
            raise AnnouncementError("that outage is over or withdrawn, or ends with this minute")
        repository.end_outage(self.connection, number, end)
        self.publish()
        return replace(found, end_minute=end, announced_end_minute=found.end_minute)

    def publish(self) -> None:
        """Write the file anew: what runs and what is to come."""
        if self.file:
            told = (one for one in repository.all_outages(self.connection) if state(one, self.now) in {COMING, RUNNING})
            OutageTable(outage=list(self._outages(told))).save(self.file)

    def _outages(self, told: Iterable[PlannedOutage]) -> Iterable[Outage]:
        for one in told:
            service = self.catalogue.service(one.service)
            # What the catalogue no longer has, nobody serves.
            if service and service.wire:
                yield Outage(
                    service=service.wire,
                    since=instant_of(one.first_minute),
                    until=instant_of(one.end_minute),
                    reason_fa=one.reason_fa,
                    reason_en=one.reason_en,
                )


COMING, RUNNING, OVER, WITHDRAWN = "coming", "running", "over", "withdrawn"


def state(outage: PlannedOutage, now: int) -> str:
    """Where *outage* stands in minute *now*."""
    if outage.first_minute >= outage.end_minute:
        return WITHDRAWN
    if now < outage.first_minute:
        return COMING
    return RUNNING if now < outage.end_minute else OVER
