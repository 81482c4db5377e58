"""Store entries as the signed bytes, with an index key for each subject: smaller, and faster to write and verify."""

import hashlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from estelam.inquiry.v1 import inquiry_pb2 as pb

revision = "0002"
down_revision = "0001"

SHELF_ENTRIES = 2048
SUBJECTS = ("subject_1", "subject_2", "subject_3")
MARKS = (*SUBJECTS, "opened")
ANSWERS = {"YES": pb.OUTCOME_YES, "NO": pb.OUTCOME_NO, "DISCLOSED": pb.OUTCOME_DISCLOSED}


def upgrade() -> None:
    op.create_table(
        "sealed_entry",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        *(sa.Column(name, sa.BigInteger) for name in MARKS),
        schema="ledger",
    )
    sealed = sa.table("sealed_entry", *map(sa.column, ("sequence", "sealed", *MARKS)), schema="ledger")
    for rows in _old_entries():
        op.get_bind().execute(sa.insert(sealed), [_sealed(row) for row in rows])
    op.drop_table("entry", schema="ledger")
    op.rename_table("sealed_entry", "entry", schema="ledger")
    for column in MARKS:
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"entry_{column}",
            "entry",
            [sa.text(f"(sequence / {SHELF_ENTRIES})"), column],
            schema="ledger",
            sqlite_where=present,
            postgresql_where=present,
        )


def _old_entries() -> Iterator[list[dict[str, Any]]]:
    read = sa.text("SELECT * FROM ledger.entry WHERE sequence > :last ORDER BY sequence LIMIT 1000")
    last = 0
    while rows := op.get_bind().execute(read, {"last": last}).mappings().all():
        yield [dict(row) for row in rows]
        last = rows[-1]["sequence"]


def _sealed(row: dict[str, Any]) -> dict[str, Any]:
    subjects = [bytes(row[name]) for name in SUBJECTS if row[name] is not None]
    same = {"sequence", "answered_at_micros", "caller", "method", "subject_key_id", "agency", "latency_micros"}
    raw = {"inquiry_id", "question", "correlation", "case_reference", "operator", "commitment"}
    outcome = ANSWERS.get(row["outcome"], pb.OUTCOME_REFUSED)
    values: dict[str, Any] = {name: row[name] for name in same} | {name: bytes(row[name]) for name in raw}
    refusal = "" if row["outcome"] in ANSWERS else row["outcome"]
    entry = pb.Entry(**values, subjects=subjects, outcome=outcome, refusal=refusal)
    first, second, third, *_ = *map(_mark, subjects), None, None, None
    opened = None
    if outcome == pb.OUTCOME_YES and subjects:
        opened = _mark(hashlib.sha256(f"{entry.method}\0{entry.caller}\0".encode() + subjects[0]).digest())
    return {
        "sequence": row["sequence"],
        "sealed": entry.SerializeToString(deterministic=True),
        "subject_1": first,
        "subject_2": second,
        "subject_3": third,
        "opened": opened,
    }


def _mark(keyed: bytes) -> int:
    return int.from_bytes(keyed[:8], "big", signed=True)
