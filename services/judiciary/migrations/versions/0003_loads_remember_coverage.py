"""Store with each load the first date of coverage after it; recall needs it if coverage has moved."""

from datetime import date

from estelam.storage.migrations.facts import remember_coverage

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    remember_coverage(date(2021, 3, 21))
