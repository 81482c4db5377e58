"""Keys as indexes that a bulk load can rebuild, compared by bytes; and the subjects that loads removed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from estelam.storage.migrations.facts import create_former_subjects

revision = "0002"
down_revision = "0001"

_CODE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    create_former_subjects()
    _rebuild(
        "note",
        sa.Column("serial", _CODE, nullable=False),
        sa.Column("state", _CODE, nullable=False),
        sa.Column("obligor_id", _CODE, nullable=False),
        sa.Column("obligor_name", sa.Text, nullable=False),
        sa.Column("obligor_address", sa.Text, nullable=False),
        sa.Column("obligor_postal_code", _CODE, nullable=False),
        sa.Column("beneficiary_id", _CODE, nullable=False),
        sa.Column("holder_id", _CODE, nullable=False),
        sa.Column("holder_name", sa.Text, nullable=False),
        sa.Column("holder_address", sa.Text, nullable=False),
        sa.Column("holder_postal_code", _CODE, nullable=False),
        sa.Column("amount_rials", sa.BigInteger, nullable=False),
        sa.Column("remaining_rials", sa.BigInteger, nullable=False),
        sa.Column("issued_on", sa.Date, nullable=False),
        sa.Column("due_on", sa.Date),
        sa.Column("payment_place", sa.Text, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
    )
    op.create_index("note_key", "note", ["serial"], unique=True, schema="facts")
    # The rows of one load are adjacent, so a BRIN index is enough.
    op.create_index("note_load", "note", ["load_number"], schema="facts", postgresql_using="brin")
    _rebuild(
        "setad_member",
        sa.Column("agency_id", _CODE, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
    )
    op.create_index("setad_member_key", "setad_member", ["agency_id"], unique=True, schema="facts")


def _rebuild(name: str, *columns: sa.Column[Any]) -> None:
    op.rename_table(name, "former", schema="facts")
    op.create_table(name, *columns, schema="facts")
    op.execute(f"INSERT INTO facts.{name} SELECT * FROM facts.former")  # noqa: S608 - a constant name
    op.drop_table("former", schema="facts")
