"""Coverage declared by a load: it may grow and become fresher; only a full snapshot may reduce it."""

from datetime import date, datetime

from sqlalchemy import Connection, delete, insert

from estelam.core.clock import CLOCK_TOLERANCE, to_micros
from estelam.loading.feed import CoverageDeclaration, LoadError
from estelam.storage import coverage
from estelam.storage.facts import coverage_table


def reject_future_claim(declaration: CoverageDeclaration, now: datetime) -> None:
    """Raise LoadError if *declaration* claims data from after *now*."""
    if declaration.through and declaration.through > now + CLOCK_TOLERANCE:
        raise LoadError("--through is in the future: give the time up to which the source's data is loaded")


def reject_coverage_loss(connection: Connection, declaration: CoverageDeclaration) -> None:
    """Raise LoadError if *declaration* claims less than the store already does."""
    if (before := coverage.read_coverage(connection)) is None:
        return
    if declaration.since and declaration.since > before.since:
        raise LoadError(f"--since: the data is declared complete from {before.since} on; only --replace may reduce it")
    if declaration.through and declaration.through < before.as_of:
        through = before.as_of.isoformat(timespec="seconds")
        raise LoadError(f"--through: the feed is declared loaded up to {through}; only --replace may reduce it")


def declare_coverage(connection: Connection, declaration: CoverageDeclaration, first_date: date, feed: str) -> None:
    """Store the declared coverage; if none was declared before, it begins on *first_date*."""
    before = coverage.read_coverage(connection)
    through = declaration.through or (before.as_of if before else None)
    if through is None or declaration == CoverageDeclaration():
        return
    since = declaration.since or (before.since if before else first_date)
    connection.execute(delete(coverage_table))
    connection.execute(
        insert(coverage_table).values(
            id=1,
            since=since,
            as_of_micros=to_micros(through),
            tracking_since=before and before.tracking_since,
            feeds=feed,
        )
    )
