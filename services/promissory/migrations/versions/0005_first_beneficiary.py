"""Store the name of the beneficiary first named in a note, beside its id."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("note", sa.Column("beneficiary_name", sa.Text, nullable=False, server_default=""), schema="facts")
