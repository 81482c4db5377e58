"""Settings of the judiciary service."""

from typing import ClassVar

from estelam.core.settings import StoreSettings


class JudiciarySettings(StoreSettings):
    """The section [judiciary]."""

    SECTION: ClassVar[str] = "judiciary"
    MIGRATIONS: ClassVar[str] = "judiciary:migrations"

    listen: str = "127.0.0.1:50052"
    """host:port of the gRPC server."""
