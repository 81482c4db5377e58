"""Settings of Setad's adapter."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from estelam.core.settings import HostPort, Loopback, ServingSettings, Target


class SetadSettings(ServingSettings):
    """The section [setad]."""

    SECTION: ClassVar[str] = "setad"

    listen: HostPort = "127.0.0.1:50053"
    """host:port of the gRPC server."""
    provider: Target
    """host:port of the ministry's promissory service."""
    provider_certificates: tuple[Path, ...] = Field(min_length=1)
    """The ministry's receipt-signing certificates (PEM). A change is in force within a second."""
    provider_retired_keys: Path | None = None
    """The ministry's list (JSON) of retired signing keys; without it, none is retired. A change is in force within a
    second."""
    client_certificate: Path
    """Setad's client certificate (PEM), with which the adapter calls the ministry."""
    client_key: Path
    """The key of the client certificate (PEM)."""
    page_listen: Loopback = ""
    """host:port of the officer's page: plain HTTP on loopback, behind the agency's login proxy; empty to serve none."""
    page_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """Host names that a request for the page may carry; any other is refused (DNS rebinding)."""
    page_officer_header: str = ""
    """The header in which the login proxy names the officer, in 1 to 64 characters; if set, requests without it are
    refused."""
    page_agencies: Path | None = None
    """Setad's member agencies, which the page suggests: CSV in UTF-8 with `agency_id` and `name`, as `load-agencies` of
    the ministry's service takes it. A change is in force within a second."""
