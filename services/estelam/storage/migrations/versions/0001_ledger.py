"""Create the ledger: entries and signed blocks."""

import sqlalchemy as sa
from alembic import op

SHELF_ENTRIES = 2048

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "entry",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("inquiry_id", sa.LargeBinary, nullable=False),
        sa.Column("answered_at_micros", sa.BigInteger, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("subject_key_id", sa.Text, nullable=False),
        sa.Column("subject_1", sa.LargeBinary),
        sa.Column("subject_2", sa.LargeBinary),
        sa.Column("subject_3", sa.LargeBinary),
        sa.Column("question", sa.LargeBinary, nullable=False),
        sa.Column("agency", sa.Text, nullable=False),
        sa.Column("correlation", sa.LargeBinary, nullable=False),
        sa.Column("case_reference", sa.LargeBinary, nullable=False),
        sa.Column("operator", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("latency_micros", sa.BigInteger, nullable=False),
        sa.Column("commitment", sa.LargeBinary, nullable=False),
        schema="ledger",
    )
    for column in ("subject_1", "subject_2", "subject_3"):
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"entry_{column}",
            "entry",
            [sa.text(f"(sequence / {SHELF_ENTRIES})"), column],
            schema="ledger",
            sqlite_where=present,
            postgresql_where=present,
        )
    op.create_table(
        "block",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("previous_hash", sa.LargeBinary, nullable=False),
        sa.Column("merkle_root", sa.LargeBinary, nullable=False),
        sa.Column("first_sequence", sa.BigInteger, nullable=False),
        sa.Column("entry_count", sa.BigInteger, nullable=False),
        sa.Column("sealed_at_micros", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        schema="ledger",
    )
    op.create_index("block_sealed_at_micros", "block", ["sealed_at_micros"], schema="ledger")
