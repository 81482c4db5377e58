"""Store a value that recognizes each HMAC key in use; a key that was used before keeps none."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("key_use", sa.Column("check_value", sa.LargeBinary), schema="ledger")
