"""Migration steps for the tables that the facts of every service have: coverage, loads, former subjects, recalls."""

import sqlalchemy as sa
from alembic import op

CODE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Type of an identifier or a code word: compared and ordered by its bytes, whatever the locale of the database."""


def create_shared_tables() -> None:
    """Create facts.coverage, facts.load, facts.former_subject, facts.removed_record and facts.recall_run."""
    op.create_table(
        "coverage",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("since", sa.Date, nullable=False),
        sa.Column("as_of_micros", sa.BigInteger, nullable=False),
        sa.Column("tracking_since", sa.Date),
        sa.Column("feeds", sa.Text, nullable=False),
        schema="facts",
    )
    op.create_table(
        "load",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("feed_number", sa.Integer, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("rows_digest", sa.Text, nullable=False),
        sa.Column("cut_at_micros", sa.BigInteger, nullable=False),
        sa.Column("whole", sa.Boolean, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("rows", "added", "changed", "unchanged", "removed", "loaded_at_micros")
        ),
        sa.Column("complete_since", sa.Date),
        sa.Column("tracking_since", sa.Date),
        sa.Column("optional_columns", sa.Text, nullable=False),
        sa.Column("parties", sa.Text),
        sa.Column("covered_since", sa.Date, nullable=False),
        sa.Column("taken_feed", sa.Text),
        schema="facts",
    )
    op.create_table(
        "former_subject",
        sa.Column("load_number", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        schema="facts",
    )
    op.create_index("former_subject_load", "former_subject", ["load_number"], schema="facts")
    op.create_table(
        "removed_record",
        sa.Column("load_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("record", CODE, primary_key=True),
        schema="facts",
    )
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
