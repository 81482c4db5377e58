"""What the adapter may be told."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from estelam.core.settings import Loopback, ServingSettings


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
    api_listen: str = ""
    """host:port of HTTP with JSON over mTLS, for systems without gRPC; empty: not served."""
    page_listen: Loopback = ""
    """host:port of the officer's page: plain HTTP on loopback, behind the agency's login proxy; empty: not served."""
    page_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """The names that the page may be asked for by, as browsers send them; another name is another site's trick."""
    page_officer_header: str = ""
    """The header in which the login proxy names the officer; if set, nothing is asked without it."""
