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
    """How long a YES of CheckNote allows its caller GetNoteParties for that serial (R2.2), as an ISO 8601 duration."""
