"""Store where the ledger notes runs of recall, beside loads: one table for both."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "fact_note",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        schema="ledger",
    )
    op.execute("INSERT INTO ledger.fact_note SELECT sequence, 'load', load_number FROM ledger.load_note")
    op.drop_table("load_note", schema="ledger")
