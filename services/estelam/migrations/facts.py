"""The tables that every service's facts have: what is covered, what was loaded, and what that took away."""

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
