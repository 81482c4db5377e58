"""Each load keeps since when the data counted after it: what recall must look at where that has moved."""

from datetime import date

from estelam.storage.migrations.facts import remember_coverage

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    remember_coverage(date.min)
