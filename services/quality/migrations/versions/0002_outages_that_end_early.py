"""Store the announced end of an outage that was ended early or withdrawn."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("outage", sa.Column("announced_end_minute", sa.BigInteger), schema="facts")
