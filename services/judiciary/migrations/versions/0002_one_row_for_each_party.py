"""One table whose indexes cover both queries, with one row per party; and the subjects that loads removed."""

import sqlalchemy as sa
from alembic import op

from estelam.storage.migrations.facts import create_former_subjects

revision = "0002"
down_revision = "0001"

_CODE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    create_former_subjects()
    op.drop_index("cheque_case_tracking_id", "cheque_case", schema="facts")
    op.rename_table("cheque_case", "former_case", schema="facts")
    op.create_table(
        "cheque_case",
        sa.Column("case_number", _CODE, nullable=False),
        sa.Column("kind", _CODE, nullable=False),
        sa.Column("filed_on", sa.Date, nullable=False),
        sa.Column("registered_at", sa.Text, nullable=False),
        sa.Column("tracking_id", _CODE),
        sa.Column("national_id", _CODE, nullable=False),
        sa.Column("role", _CODE, nullable=False),
        sa.Column("load_number", sa.Integer, nullable=False),
        schema="facts",
    )
    op.execute("""
        INSERT INTO facts.cheque_case
        SELECT c.case_number, kind, filed_on, registered_at, tracking_id, coalesce(national_id, ''), coalesce(role, ''),
               CASE WHEN p.load_number > c.load_number THEN p.load_number ELSE c.load_number END
        FROM facts.former_case c LEFT JOIN facts.case_party p ON p.case_number = c.case_number
    """)
    op.drop_table("case_party", schema="facts")
    op.drop_table("former_case", schema="facts")
    for name, columns in {
        "tracking_id": ["tracking_id", "filed_on"],
        "national_id": ["national_id", "role", "filed_on"],
    }.items():
        op.create_index(f"cheque_case_{name}", "cheque_case", columns, schema="facts")
    # The rows of one load are adjacent, so a BRIN index is enough.
    op.create_index("cheque_case_load", "cheque_case", ["load_number"], schema="facts", postgresql_using="brin")
    key = ["case_number", "national_id", "role"]
    op.create_index("cheque_case_key", "cheque_case", key, unique=True, schema="facts")
