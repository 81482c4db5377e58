"""What the promissory service may be told."""

from datetime import timedelta
from typing import ClassVar

from estelam.core.settings import StoreSettings


class PromissorySettings(StoreSettings):
    """The table [promissory]."""

    SECTION: ClassVar[str] = "promissory"
    MIGRATIONS: ClassVar[str] = "promissory:migrations"

    listen: str = "127.0.0.1:50051"
    parties_window: timedelta = timedelta(hours=24)
    """How long a caller's yes from CheckNote opens GetNoteParties for that serial (R2.2, "after method one")."""
