"""Create the ledger: entries, checkpoints, nodes of the tree, and what is derived from the entries."""

import sqlalchemy as sa
from alembic import op

SEGMENT_ENTRIES = 2048
# Entries in a partition: those of the newest entry and the next one exist. It is attached, not created in place, which
# would wait for every reader. The serving role, which may not create tables, executes it with the owner's privileges.
ADD_PARTITIONS = """
CREATE FUNCTION ledger.add_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entries CONSTANT bigint := 1048576;
    newest bigint := (SELECT coalesce(max(size), 0) FROM ledger.checkpoint) / entries;
    partition text;
BEGIN
    FOR number IN newest .. newest + 1 LOOP
        partition := format('entry_%s', lpad(number::text, 6, '0'));
        IF to_regclass('ledger.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.entry INCLUDING ALL)', partition);
            EXECUTE format('ALTER TABLE ledger.entry ATTACH PARTITION ledger.%I FOR VALUES FROM (%s) TO (%s)',
                           partition, number * entries, (number + 1) * entries);
        END IF;
    END LOOP;
END $$
"""
# On SQLite an INTEGER key is the row's own, without an index beside the table.
INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0001"
down_revision = None


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "entry",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("search_keys", sa.LargeBinary, nullable=False),
        sa.Column("subject_1", sa.BigInteger),
        sa.Column("subject_2", sa.BigInteger),
        sa.Column("subject_3", sa.BigInteger),
        schema="ledger",
        postgresql_partition_by='RANGE ("index")',
    )
    # On PostgreSQL each partition has an index of its own; on SQLite the index itself is divided into segments.
    segment = [] if is_postgresql else [sa.text(f'("index" / {SEGMENT_ENTRIES})')]
    for column in ("subject_1", "subject_2", "subject_3"):
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"entry_{column}",
            "entry",
            [*segment, column],
            schema="ledger",
            sqlite_where=present,
            postgresql_where=present,
        )
    op.create_table(
        "checkpoint",
        sa.Column("size", INDEX, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
        sa.Column("signed_at_micros", sa.BigInteger, nullable=False),
        schema="ledger",
    )
    op.create_index("checkpoint_signed_at_micros", "checkpoint", ["signed_at_micros"], schema="ledger")
    op.create_table(
        "cosignature",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("witness", sa.Text, primary_key=True),
        sa.Column("line", sa.Text, nullable=False),
        schema="ledger",
    )
    op.create_table(
        "node",
        sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        schema="ledger",
    )
    op.create_table(
        "key_use",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("first_index", sa.BigInteger, nullable=False),
        sa.Column("check_value", sa.LargeBinary, nullable=False),
        schema="ledger",
    )
    op.create_table(
        "fact_note",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text),
        schema="ledger",
    )
    op.create_table(
        "annulment",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("annulled_by", sa.BigInteger, nullable=False),
        schema="ledger",
    )
    op.create_index("annulment_annulled_by", "annulment", ["annulled_by"], schema="ledger")
    op.create_table(
        "archive",
        sa.Column("first_index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("end_index", sa.BigInteger, nullable=False),
        sa.Column("archived_at_micros", sa.BigInteger, nullable=False),
        schema="ledger",
    )
    op.create_table(
        "confirmation",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("confirmed_at_micros", sa.BigInteger, nullable=False),
        schema="ledger",
    )
    op.create_index("confirmation_key", "confirmation", ["key", "confirmed_at_micros"], schema="ledger")
    if is_postgresql:
        op.execute(ADD_PARTITIONS)
        op.execute("REVOKE ALL ON FUNCTION ledger.add_partitions() FROM PUBLIC")
        op.execute("SELECT ledger.add_partitions()")
