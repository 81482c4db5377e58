"""Notes, Setad's member agencies, coverage and loads."""

import sqlalchemy as sa
from alembic import op

from estelam.storage.migrations.facts import create_coverage_and_loads

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_coverage_and_loads()
    op.create_table(
        "note",
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("obligor_id", sa.Text, nullable=False),
        sa.Column("obligor_name", sa.Text, nullable=False),
        sa.Column("obligor_address", sa.Text, nullable=False),
        sa.Column("obligor_postal_code", sa.Text, nullable=False),
        sa.Column("beneficiary_id", sa.Text, nullable=False),
        sa.Column("holder_id", sa.Text, nullable=False),
        sa.Column("holder_name", sa.Text, nullable=False),
        sa.Column("holder_address", sa.Text, nullable=False),
        sa.Column("holder_postal_code", sa.Text, nullable=False),
        sa.Column("amount_rials", sa.BigInteger, nullable=False),
        sa.Column("remaining_rials", sa.BigInteger, nullable=False),
        sa.Column("issued_on", sa.Date, nullable=False),
        sa.Column("due_on", sa.Date),
        sa.Column("payment_place", sa.Text, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
    op.create_table(
        "setad_member",
        sa.Column("agency_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
