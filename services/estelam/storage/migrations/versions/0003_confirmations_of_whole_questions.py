"""Find a confirmation by its whole question, not by the note's serial: a YES about other facts permits nothing."""

import hashlib
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from estelam.inquiry.v1 import inquiry_pb2 as pb

revision = "0003"
down_revision = "0002"

ROWS_AT_ONCE = 1000


def upgrade() -> None:
    update = sa.text("UPDATE ledger.entry SET opened = :opened WHERE sequence = :sequence")
    for entries in _confirmations():
        changes = [{"sequence": entry.sequence, "opened": _opened(entry)} for entry in entries]
        op.get_bind().execute(update, changes)


def _confirmations() -> Iterator[list[pb.Entry]]:
    read = sa.text(
        "SELECT sealed FROM ledger.entry WHERE opened IS NOT NULL AND sequence > :last ORDER BY sequence LIMIT :most"
    )
    last = 0
    while rows := op.get_bind().execute(read, {"last": last, "most": ROWS_AT_ONCE}).scalars().all():
        entries = [pb.Entry.FromString(bytes(row)) for row in rows]
        yield entries
        last = entries[-1].sequence


def _opened(entry: pb.Entry) -> int:
    digest = hashlib.sha256(f"{entry.caller}\0".encode() + entry.question).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
