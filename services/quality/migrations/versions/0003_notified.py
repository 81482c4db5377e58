"""Add what each party was last notified of."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "notified",
        sa.Column("party", sa.Text, primary_key=True),
        sa.Column("feed", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        schema="facts",
    )
