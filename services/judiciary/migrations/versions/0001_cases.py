"""Create the table of cases over cheques with their parties, and those that the facts of every service have."""

import sqlalchemy as sa
from alembic import op

from estelam.storage.migrations.facts import CODE, create_shared_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_shared_tables()
    op.create_table(
        "cheque_case",
        sa.Column("case_number", CODE, nullable=False),
        sa.Column("kind", CODE, nullable=False),
        sa.Column("filed_on", sa.Date, nullable=False),
        sa.Column("registered_at", sa.Text, nullable=False),
        sa.Column("tracking_id", CODE),
        sa.Column("sayad_id", CODE),
        sa.Column("national_id", CODE, nullable=False),
        sa.Column("role", CODE, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
    # The key is an index, not a constraint: a bulk load drops and rebuilds it.
    key = ["case_number", "national_id", "role"]
    op.create_index("cheque_case_key", "cheque_case", key, unique=True, schema="facts")
    covering = {
        "tracking_id": ["tracking_id", "filed_on", "sayad_id"],
        "national_id": ["national_id", "role", "filed_on"],
    }
    for name, columns in covering.items():
        op.create_index(f"cheque_case_{name}", "cheque_case", columns, schema="facts")
    present = sa.text("sayad_id IS NOT NULL")
    op.create_index(
        "cheque_case_sayad_id",
        "cheque_case",
        ["sayad_id", "filed_on"],
        schema="facts",
        sqlite_where=present,
        postgresql_where=present,
    )
    # The rows of one load are adjacent, so a BRIN index is enough.
    op.create_index("cheque_case_load", "cheque_case", ["load_number"], schema="facts", postgresql_using="brin")
