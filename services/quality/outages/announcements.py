"""Announcements of planned outages: parsing, validation, storage and publication."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from estelam.catalogue.model import Catalogue
from estelam.core.exceptions import UsageError
from estelam.core.names import unknown_name
from estelam.core.normalize import check_line
from estelam.pipeline.outages import MAX_DURATION, MAX_REASON_LENGTH, Outage, OutageTable
from quality import repository
from quality.periods import instant_of, minute_of
from quality.records import PlannedOutage

MAX_AHEAD = timedelta(days=366)
"""How far ahead an outage is announced: a year at most, so that a mistyped year is noticed."""


class AnnouncementError(UsageError):
    """An announcement is invalid."""


def check_service(catalogue: Catalogue, service: str) -> None:
    """Check that *service* is monitored.

    Raises:
        UnknownNameError: it is not; the error names the monitored ones.
    """
    monitored = [found.slug for found in catalogue.services if found.is_monitored]
    if service not in monitored:
        raise unknown_name("monitored service", service, monitored)


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
    """Validate an announcement made *now*.

    Raises:
        AnnouncementError: the period or a reason is invalid.
        UnknownNameError: no such service is monitored.
    """
    check_service(catalogue, service)
    if not minute_of(first) < minute_of(end) <= minute_of(first) + MAX_DURATION.days * 1440:
        raise AnnouncementError(f"an outage ends after it begins, and within {MAX_DURATION.days} days")
    if minute_of(end) <= minute_of(now):
        raise AnnouncementError("the end is in the past")
    if first - now > MAX_AHEAD:
        raise AnnouncementError(f"an outage begins within {MAX_AHEAD.days} days; check the year")
    for reason in (reason_fa, reason_en):
        try:
            check_line(reason, MAX_REASON_LENGTH)
        except ValueError as error:
            raise AnnouncementError(f"a reason {error}; give 1 to {MAX_REASON_LENGTH} characters on one line") from None
    return PlannedOutage(service, minute_of(now), minute_of(first), minute_of(end), reason_fa, reason_en)


@dataclass(frozen=True, slots=True)
class OutageAnnouncer:
    """Stores and publishes announcements, within the transaction of *connection*."""

    connection: Connection
    catalogue: Catalogue
    file: Path | None
    now: int

    def announce(self, outage: PlannedOutage) -> PlannedOutage:
        """Store *outage*, publish the schedule and return the outage with its number.

        Raises:
            AnnouncementError: another announcement covers the whole period.
            OSError: the schedule can't be published; the caller must roll back.
        """
        for other in repository.all_outages(self.connection):
            covers = other.first_minute <= outage.first_minute and outage.end_minute <= other.end_minute
            if other.service == outage.service and covers:
                raise AnnouncementError(f"the announcement {other.number} covers that time already")
        number = repository.insert_outage(self.connection, outage)
        self.publish()
        return replace(outage, number=number)

    def end(self, number: int) -> PlannedOutage:
        """End outage *number* with the current minute, or withdraw it if it has not begun, and publish the schedule.

        Raises:
            AnnouncementError: there is no such outage, or it is over.
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
        """Write running and future outages to the file."""
        if self.file:
            outages = (
                one for one in repository.all_outages(self.connection) if state(one, self.now) in {COMING, RUNNING}
            )
            OutageTable(outage=list(self._outages(outages))).save(self.file)

    def _outages(self, outages: Iterable[PlannedOutage]) -> Iterable[Outage]:
        for one in outages:
            service = self.catalogue.service(one.service)
            # A service that was removed from the catalogue has no one to read its outage.
            if service and service.wire and service.is_monitored:
                yield Outage(
                    service=service.wire,
                    since=instant_of(one.first_minute),
                    until=instant_of(one.end_minute),
                    reason_fa=one.reason_fa,
                    reason_en=one.reason_en,
                )


COMING, RUNNING, OVER, WITHDRAWN = "coming", "running", "over", "withdrawn"


def is_current(outage: PlannedOutage, now: int) -> bool:
    """Whether *outage* is coming or running in minute *now*, or would be if it had not been withdrawn."""
    found = state(outage, now)
    return found in {COMING, RUNNING} or (found == WITHDRAWN and now < (outage.announced_end_minute or 0))


def state(outage: PlannedOutage, now: int) -> str:
    """State of *outage* in minute *now*."""
    if outage.first_minute >= outage.end_minute:
        return WITHDRAWN
    if now < outage.first_minute:
        return COMING
    return RUNNING if now < outage.end_minute else OVER
