"""Add the inquiries of probes, and the health and metrics of services."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "own_inquiry",
        sa.Column("id", sa.LargeBinary, primary_key=True),
        sa.Column("minute", sa.BigInteger, nullable=False),
        schema="facts",
    )
    op.create_table(
        "reading",
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("health", sa.Text, nullable=False),
        sa.Column("serving", sa.Boolean),
        sa.Column("answered", sa.BigInteger),
        sa.Column("refused", sa.BigInteger),
        sa.Column("unrecorded", sa.BigInteger),
        schema="facts",
    )
