"""Store which entries a later one annuls, since their callers never got the answer."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "annulment",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("annulled_by", sa.BigInteger, nullable=False),
        schema="ledger",
    )
