"""What the adapter may be told."""

from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

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
    api_listen: str = ""
    """host:port of HTTP with JSON over mTLS, for systems without gRPC; empty: not served."""
    page_listen: str = ""
    """host:port of the officer's page: plain HTTP on loopback, behind the agency's login proxy; empty: not served."""
    page_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """The names that the page may be asked for by, as browsers send them; another name is another site's trick."""
    page_officer_header: str = ""
    """The header in which the login proxy names the officer; if set, nothing is asked without it."""

    @field_validator("page_listen")
    @classmethod
    def _on_loopback(cls, listen: str) -> str:
        host = listen.rpartition(":")[0].strip("[]")
        if listen and not (host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)):
            raise ValueError("the page has no login of its own, so it is served on loopback alone")
        return listen


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
