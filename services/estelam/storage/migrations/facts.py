"""Migration steps for the tables that the facts of every service have: coverage, loads, former subjects, recalls."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

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


def add_provenance(feed: str, other_feeds: Mapping[str, str] | None = None) -> None:
    """Add to each load its feed, number, cut-off and counts, and to the coverage the feeds that it is derived from.

    Args:
        feed: The feed of existing loads; the coverage says how complete and fresh the last one is.
        other_feeds: The feeds whose loads are found by the rows of a table of their own, with that table.
    """
    op.execute("ALTER TABLE facts.coverage RENAME COLUMN through_micros TO as_of_micros")
    _add_columns("coverage", tracking_since=sa.Date, feeds=(sa.Text, feed))
    _add_columns(
        "load",
        feed=(sa.Text, feed),
        feed_number=(sa.Integer, "0"),
        whole=(sa.Boolean, sa.false()),
        sha256=sa.Text,
        cut_at_micros=sa.BigInteger,
        added=sa.BigInteger,
        changed=sa.BigInteger,
        unchanged=sa.BigInteger,
        removed=sa.BigInteger,
        complete_since=sa.Date,
        tracking_since=sa.Date,
    )
    for other, table in (other_feeds or {}).items():
        op.execute(f"UPDATE facts.load SET feed = '{other}' WHERE number IN (SELECT load_number FROM facts.{table})")  # noqa: S608
    op.execute(f"""
        UPDATE facts.load
        SET complete_since = (SELECT since FROM facts.coverage),
            cut_at_micros = (SELECT as_of_micros FROM facts.coverage)
        WHERE number = (SELECT max(number) FROM facts.load WHERE feed = '{feed}')
    """)  # noqa: S608 - constant names


def _add_columns(table: str, **columns: Any) -> None:
    """Add optional columns by their types, and required ones by type and value in existing rows."""
    for name, kind in columns.items():
        required = isinstance(kind, tuple)
        column = sa.Column(name, kind[0], nullable=False, server_default=kind[1]) if required else sa.Column(name, kind)
        op.add_column(table, column, schema="facts")


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


def create_recall_runs() -> None:
    """Create facts.recall_run."""
    op.create_table(
        "recall_run",
        sa.Column("run_at_micros", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("after_load", sa.Integer, nullable=False),
        sa.Column("newest_load", sa.Integer, nullable=False),
        sa.Column("answers", sa.BigInteger, nullable=False),
        # To the year 9999: a time that can't be written would keep the service from noting any run.
        sa.CheckConstraint("run_at_micros BETWEEN 0 AND 253402300799999999", name="recall_run_at"),
        schema="facts",
    )


def add_optional_columns_and_parties(table: str, optional: Sequence[str]) -> None:
    """Add to each load the columns that files of its feed may lack and have had, and how it treated stored parties.

    Existing loads had those of the *optional* columns that have a value in *table*.
    """
    _add_columns("load", optional_columns=(sa.Text, ""), parties=sa.Text)
    rows = sa.table(table, *(sa.column(name, sa.Text) for name in optional), schema="facts")
    had = [
        name for name in optional if op.get_bind().execute(sa.select(sa.exists().where(rows.c[name] != ""))).scalar()
    ]
    load = sa.table("load", sa.column("optional_columns", sa.Text), schema="facts")
    op.execute(sa.update(load).values(optional_columns=" ".join(sorted(had))))
