"""The tables that every service's facts have: what is covered, and what was loaded."""

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
