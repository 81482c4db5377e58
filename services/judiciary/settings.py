"""Settings of the judiciary service."""

from typing import ClassVar

from estelam.core.settings import HostPort, StoreSettings


class JudiciarySettings(StoreSettings):
    """The section [judiciary]."""

    SECTION: ClassVar[str] = "judiciary"
    MIGRATIONS: ClassVar[str] = "judiciary:migrations"

    listen: HostPort = "127.0.0.1:50052"
    """host:port of the gRPC server."""
