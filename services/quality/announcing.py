"""Outages that a provider announces: read from what people type, and refused where they can't be meant."""

from datetime import datetime

from estelam import folding
from estelam.catalogue.model import Catalogue
from estelam.clock import IRAN
from quality.months import minute_of
from quality.store import Announced

LONGEST_DAYS = 31
LONGEST_REASON = 200


class AnnouncementError(Exception):
    """An announcement that can't be taken; the text is for the operator."""


def instant(text: str) -> datetime:
    """The instant written YYYY-MM-DD HH:MM, on Iran's clocks; a year before 1700 is Jalali.

    Raises:
        AnnouncementError: there is no such instant.
    """
    day, _, time = text.strip().partition(" ")
    try:
        hour, minute = (int(part) for part in folding.number(time).split(":"))
        found = folding.day(day)
        return datetime(found.year, found.month, found.day, hour, minute, tzinfo=IRAN)
    except (ValueError, OverflowError):
        raise AnnouncementError("a time is written YYYY-MM-DD HH:MM, as 1405-08-12 22:00") from None


def announcement(
    catalogue: Catalogue,
    *,
    service: str,
    first: datetime,
    end: datetime,
    now: datetime,
    reason_fa: str,
    reason_en: str,
) -> Announced:
    """What is kept of an announcement made *now*.

    Raises:
        AnnouncementError: no such service is watched, or the period can't be meant.
    """
    found = catalogue.service(service)
    if found is None or found.wire is None:
        raise AnnouncementError("no service of that name is watched here")
    if not minute_of(first) < minute_of(end) <= minute_of(first) + LONGEST_DAYS * 1440:
        raise AnnouncementError(f"an outage ends after it begins, and within {LONGEST_DAYS} days")
    if minute_of(end) <= minute_of(now):
        raise AnnouncementError("what is over already can't be announced")
    for reason in (reason_fa, reason_en):
        if not 1 <= len(reason) <= LONGEST_REASON or not reason.isprintable():
            raise AnnouncementError(f"a reason has 1 to {LONGEST_REASON} characters on one line")
    return Announced(service, minute_of(now), minute_of(first), minute_of(end), reason_fa, reason_en)
