"""Create the changes of answers, and the comparisons of answers with the facts that found them."""

import sqlalchemy as sa
from alembic import op

INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "answer_change",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("index", sa.BigInteger, nullable=False),
        sa.Column("inquiry_id", sa.LargeBinary, nullable=False),
        sa.Column("then_state", sa.SmallInteger, nullable=False),
        sa.Column("now_state", sa.SmallInteger, nullable=False),
        sa.Column("cause", sa.SmallInteger, nullable=False),
        sa.Column("load_number", sa.BigInteger, nullable=False),
        sa.Column("as_of_micros", sa.BigInteger, nullable=False),
        schema="ledger",
    )
    op.create_index("answer_change_index", "answer_change", ["index"], schema="ledger")
    op.create_table(
        "answer_comparison",
        sa.Column("through_index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("first_index", sa.BigInteger, nullable=False),
        sa.Column("load_number", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        schema="ledger",
    )
