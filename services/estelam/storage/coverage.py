"""A no must be earned: it is given only from data known to cover the question, and fresh."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import BigInteger, Column, Connection, Date, Integer, MetaData, Table, Text, select

from estelam.core.clock import CLOCK_TOLERANCE, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.model import NegativeAnswerPermit

FACTS = MetaData(schema="facts")
CODE = Text().with_variant(Text(collation="C"), "postgresql")
"""An identifier or a code word: compared and ordered by its bytes, whatever the language of the database."""

# One row. `since`: the first date from which the facts are complete. `through`: the feed is loaded up to this instant.
coverage_table = Table(
    "coverage",
    FACTS,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", Date, nullable=False),
    Column("through_micros", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a store's data is known to cover."""

    since: date
    through: datetime


def read_coverage(connection: Connection) -> Coverage | None:
    """The coverage declared in this transaction's snapshot, or None where none was ever declared."""
    row = connection.execute(_READ).first()
    return None if row is None else Coverage(row.since, to_datetime(row.through_micros))


_READ = select(coverage_table.c.since, coverage_table.c.through_micros)


def require_coverage(coverage: Coverage | None, *, now: datetime, max_staleness: timedelta) -> NegativeAnswerPermit:
    """The right to say no.

    Raises:
        Refusal: COVERAGE_UNDECLARED; DATA_STALE where the feed ends longer than *max_staleness* before *now*;
            CLOCK_BEHIND where it ends after *now*, so that nobody can tell how old it is.
    """
    if coverage is None:
        raise Refusal(Reason.COVERAGE_UNDECLARED)
    if coverage.through > now + CLOCK_TOLERANCE:
        raise Refusal(Reason.CLOCK_BEHIND)
    if now - coverage.through > max_staleness:
        raise Refusal(Reason.DATA_STALE)
    return NegativeAnswerPermit()
