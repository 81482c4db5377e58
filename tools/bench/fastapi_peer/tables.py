"""The peer's tables: the notes, and an audit row per answer."""

from sqlalchemy import BigInteger, Column, DateTime, MetaData, String, Table, Uuid

TABLES = MetaData()

note_table = Table(
    "note",
    TABLES,
    Column("serial", String(16), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("obligor_id", String(12), nullable=False),
    Column("holder_id", String(12), nullable=False),
    Column("amount_rials", BigInteger, nullable=False),
)

audit_table = Table(
    "audit",
    TABLES,
    Column("inquiry_id", Uuid, primary_key=True),
    Column("answered_at", DateTime(timezone=True), nullable=False),
    Column("serial", String(16), nullable=False),
    Column("obligor_id", String(12), nullable=False),
    Column("beneficiary_id", String(12), nullable=False),
    Column("amount_rials", BigInteger, nullable=False),
    Column("answer", String(3), nullable=False),
)
