"""Coverage: a negative answer is permitted only by fresh data that is known to cover the question (rule 1)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, select

from estelam.core.clock import CLOCK_TOLERANCE, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.model import NegativeAnswerPermit
from estelam.storage.base import StoreError
from estelam.storage.facts import coverage_table
from estelam.storage.statements import Statement

_READ = Statement(select(coverage_table))


@dataclass(frozen=True, slots=True)
class Coverage:
    """The period that a store's data is declared to cover."""

    since: date
    """The first date from which the data is complete."""
    as_of: datetime
    """The instant up to which all required feeds are loaded."""
    tracking_since: date | None = None
    """The first filing date from which cases are linked to the certificates of their cheques; None: not declared."""

    def is_deeper_than(self, other: "Coverage | None") -> bool:
        """Return whether this coverage promises more than *other* in any respect: earlier dates, or newer data."""
        if other is None or self.since < other.since or self.as_of > other.as_of:
            return True
        latest = date.max
        return (self.tracking_since or latest) < (other.tracking_since or latest)


def read_coverage(connection: Connection, required: Collection[str] | None = None) -> Coverage | None:
    """Return the coverage declared in this transaction's snapshot, or None if none is.

    Args:
        connection: The connection.
        required: The feeds that it must have been derived for; None: any.
    """
    rows = _READ.rows(connection)
    if not rows or (required is not None and not is_of(rows[0].feeds, required)):
        return None
    return Coverage(rows[0].since, to_datetime(rows[0].as_of_micros), rows[0].tracking_since)


def check_feeds(connection: Connection, required: Collection[str]) -> None:
    """Check that the declared coverage, if any, is that of the *required* feeds.

    Raises:
        StoreError: it was derived from others, because the settings have changed since the last load.
    """
    feeds = connection.execute(select(coverage_table.c.feeds)).scalar()
    if feeds is not None and not is_of(feeds, required):
        raise StoreError(
            f"the settings require the feeds {', '.join(sorted(required))}, and the coverage was declared for "
            f"{', '.join(feeds.split())}: load the next file of a feed first, which declares it anew"
        )


def is_of(feeds: str, required: Collection[str]) -> bool:
    """Return whether coverage derived for *feeds*, names separated by spaces, is that of the *required* ones."""
    return set(feeds.split()) == set(required)


def require_coverage(coverage: Coverage | None, *, now: datetime, max_staleness: timedelta) -> NegativeAnswerPermit:
    """Return the permit to answer NO.

    Raises:
        Refusal: COVERAGE_UNDECLARED; DATA_STALE if the feed ends more than *max_staleness* before *now*; CLOCK_BEHIND
            if it ends after *now*, so that its age is unknown.
    """
    if coverage is None:
        raise Refusal(Reason.COVERAGE_UNDECLARED)
    if coverage.as_of > now + CLOCK_TOLERANCE:
        raise Refusal(Reason.CLOCK_BEHIND)
    if now - coverage.as_of > max_staleness:
        raise Refusal(Reason.DATA_STALE)
    return NegativeAnswerPermit()
