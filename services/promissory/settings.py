"""Settings of the promissory service."""

from datetime import timedelta
from typing import ClassVar

from estelam.core.settings import StoreSettings


class PromissorySettings(StoreSettings):
    """The table [promissory]."""

    SECTION: ClassVar[str] = "promissory"
    MIGRATIONS: ClassVar[str] = "promissory:migrations"

    listen: str = "127.0.0.1:50051"
    """host:port of the gRPC server."""
    parties_window: timedelta = timedelta(hours=24)
    """How long after a YES of CheckNote a caller may call GetNoteParties for the serial (R2.2), an ISO 8601 duration."""
