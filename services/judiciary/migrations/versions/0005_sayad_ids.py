"""Store the Sayad id of a case's cheque, which joins the certificates of one cheque."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_CODE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("cheque_case", sa.Column("sayad_id", _CODE), schema="facts")
    op.drop_index("cheque_case_tracking_id", "cheque_case", schema="facts")
    columns = ["tracking_id", "filed_on", "sayad_id"]
    op.create_index("cheque_case_tracking_id", "cheque_case", columns, schema="facts")
    present = sa.text("sayad_id IS NOT NULL")
    op.create_index(
        "cheque_case_sayad_id",
        "cheque_case",
        ["sayad_id", "filed_on"],
        schema="facts",
        sqlite_where=present,
        postgresql_where=present,
    )
