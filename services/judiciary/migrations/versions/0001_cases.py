"""Cases over cheques and their parties, coverage and loads."""

import sqlalchemy as sa
from alembic import op

from estelam.storage.migrations.facts import create_coverage_and_loads

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_coverage_and_loads()
    op.create_table(
        "cheque_case",
        sa.Column("case_number", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("filed_on", sa.Date, nullable=False),
        sa.Column("registered_at", sa.Text, nullable=False),
        sa.Column("tracking_id", sa.Text),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
    op.create_index("cheque_case_tracking_id", "cheque_case", ["tracking_id"], schema="facts")
    op.create_table(
        "case_party",
        sa.Column("case_number", sa.Text, primary_key=True),
        sa.Column("national_id", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
    op.create_index("case_party_national_id", "case_party", ["national_id"], schema="facts")
