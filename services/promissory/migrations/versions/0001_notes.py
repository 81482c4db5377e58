"""Create the tables of notes and of Setad's member agencies, and those that the facts of every service have."""

import sqlalchemy as sa
from alembic import op

from estelam.storage.migrations.facts import CODE, create_shared_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_shared_tables()
    # Keys are indexes, not constraints: a bulk load drops and rebuilds them.
    op.create_table(
        "note",
        sa.Column("serial", CODE, nullable=False),
        sa.Column("state", CODE, nullable=False),
        sa.Column("obligor_id", CODE, nullable=False),
        sa.Column("obligor_name", sa.Text, nullable=False),
        sa.Column("obligor_address", sa.Text, nullable=False),
        sa.Column("obligor_postal_code", CODE, nullable=False),
        sa.Column("beneficiary_id", CODE, nullable=False),
        sa.Column("beneficiary_name", sa.Text, nullable=False),
        sa.Column("holder_id", CODE, nullable=False),
        sa.Column("holder_name", sa.Text, nullable=False),
        sa.Column("holder_address", sa.Text, nullable=False),
        sa.Column("holder_postal_code", CODE, nullable=False),
        sa.Column("amount_rials", sa.BigInteger, nullable=False),
        sa.Column("remaining_rials", sa.BigInteger, nullable=False),
        sa.Column("issued_on", sa.Date, nullable=False),
        sa.Column("due_on", sa.Date),
        sa.Column("payment_place", sa.Text, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
    op.create_index("note_key", "note", ["serial"], unique=True, schema="facts")
    # The rows of one load are adjacent, so a BRIN index is enough.
    op.create_index("note_load", "note", ["load_number"], schema="facts", postgresql_using="brin")
    op.create_table(
        "setad_member",
        sa.Column("agency_id", CODE, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
    op.create_index("setad_member_key", "setad_member", ["agency_id"], unique=True, schema="facts")
