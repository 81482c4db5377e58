"""Migration steps for the tables that the facts of every service have: coverage, loads and former subjects."""

from datetime import date

import sqlalchemy as sa
from alembic import op


def create_coverage_and_loads() -> None:
    """Create facts.coverage and facts.load."""
    op.create_table(
        "coverage",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("since", sa.Date, nullable=False),
        sa.Column("through_micros", sa.BigInteger, nullable=False),
        schema="facts",
    )
    op.create_table(
        "load",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("loaded_at_micros", sa.BigInteger, nullable=False),
        schema="facts",
    )


def create_former_subjects() -> None:
    """Create facts.former_subject."""
    op.create_table(
        "former_subject",
        sa.Column("load_number", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        schema="facts",
    )
    op.create_index("former_subject_load", "former_subject", ["load_number"], schema="facts")


def remember_coverage(first_date: date) -> None:
    """Add the first covered date after each load; *first_date* if no coverage was ever declared.

    For existing loads it is known for the last one only.
    """
    op.add_column("load", sa.Column("covered_since", sa.Date), schema="facts")
    declared = (
        sa.select(sa.column("since", sa.Date)).select_from(sa.table("coverage", schema="facts")).scalar_subquery()
    )
    number, since = sa.column("number", sa.Integer), sa.column("covered_since", sa.Date)
    load = sa.table("load", number, since, schema="facts")
    last = sa.select(sa.func.max(load.c.number)).scalar_subquery()
    now = sa.func.coalesce(declared, sa.literal(first_date, sa.Date))
    op.execute(sa.update(load).where(load.c.number == last).values(covered_since=now))
