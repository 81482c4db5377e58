"""Store which HMAC keys were used in the ledger, and where it notes each load, so that neither is searched for."""

import sqlalchemy as sa
from alembic import op

from estelam.inquiry.v1 import inquiry_pb2 as pb

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "key_use",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("first_sequence", sa.BigInteger, nullable=False),
        schema="ledger",
    )
    op.create_table(
        "load_note",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="ledger",
    )
    for key_id, sequence in _first_uses().items():
        values = {"key_id": key_id, "first_sequence": sequence}
        op.get_bind().execute(sa.text("INSERT INTO ledger.key_use VALUES (:key_id, :first_sequence)"), values)


def _first_uses() -> dict[str, int]:
    read = sa.text("SELECT sequence, sealed FROM ledger.entry WHERE sequence > :last ORDER BY sequence LIMIT 1000")
    found: dict[str, int] = {}
    last = 0
    while rows := op.get_bind().execute(read, {"last": last}).all():
        for sequence, sealed in rows:
            found.setdefault(pb.Entry.FromString(bytes(sealed)).subject_key_id, sequence)
        last = rows[-1].sequence
    return found
