"""Create the tables of observations, probes, metrics, outages, freshness of data, and of ledgers and their alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "observation",
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("consumer", sa.Text, primary_key=True),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("answered", "provider", "exchange", "consumer_fault", "ungranted", "throttled")
        ),
        sa.Column("latencies", sa.LargeBinary, nullable=False),
        schema="facts",
    )
    op.create_table(
        "probe",
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("fault", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        schema="facts",
    )
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
    op.create_table(
        "outage",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("announced_minute", sa.BigInteger, nullable=False),
        sa.Column("first_minute", sa.BigInteger, nullable=False),
        sa.Column("end_minute", sa.BigInteger, nullable=False),
        sa.Column("reason_fa", sa.Text, nullable=False),
        sa.Column("reason_en", sa.Text, nullable=False),
        sa.Column("announced_end_minute", sa.BigInteger),
        schema="facts",
    )
    op.create_table(
        "freshness",
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("age_minutes", sa.BigInteger, nullable=False),
        sa.Column("covered_since", sa.Date),
        schema="facts",
    )
    op.create_table(
        "head",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, primary_key=True),
        sa.Column("minute", sa.BigInteger, nullable=False),
        schema="facts",
    )
    op.create_table(
        "verified_ledger",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
        sa.Column("counted_until_micros", sa.BigInteger, nullable=False),
        sa.Column("restored_until_micros", sa.BigInteger, nullable=False),
        sa.Column("cosignature", sa.Text, nullable=False),
        schema="facts",
    )
    op.create_table(
        "ledger_alarm",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("found_minute", sa.BigInteger, nullable=False),
        sa.Column("verified", sa.Text, nullable=False),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("witness", sa.Text, nullable=False),
        sa.Column("acknowledged_minute", sa.BigInteger),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        schema="facts",
    )
