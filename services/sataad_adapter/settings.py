"""What the adapter may be told."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from estelam.settings import ServingSettings


class SetadSettings(ServingSettings):
    """The table [setad]."""

    SECTION: ClassVar[str] = "setad"

    listen: str = "127.0.0.1:50053"
    provider: str
    """host:port of the ministry's promissory service."""
    provider_certificates: tuple[Path, ...] = Field(min_length=1)
    """The ministry's receipt-signing certificates (PEM)."""
    client_certificate: Path
    """Setad's own certificate (PEM), with which the adapter asks the ministry."""
    client_key: Path
