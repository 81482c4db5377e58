"""Add what services counted of their calls, the minutes in which they did, and how far each source was read."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    counts = ("answered", "provider", "consumer_fault", "ungranted", "throttled", "unknown", "late")
    for name in counts:
        column = sa.Column(f"sent_{name}", sa.BigInteger, nullable=False, server_default="0")
        op.add_column("observation", column, schema="facts")
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    empty = sa.text("''::bytea" if is_postgresql else "x''")
    op.add_column(
        "observation", sa.Column("sent_latencies", sa.LargeBinary, nullable=False, server_default=empty), schema="facts"
    )
    op.create_table(
        "counted_minute",
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("wire", sa.Text, primary_key=True),
        schema="facts",
    )
    op.create_table(
        "reading_position",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("read_until_micros", sa.BigInteger, nullable=False),
        schema="facts",
    )
