"""What the quality process may be told."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from estelam.settings import Section


class QualitySettings(Section):
    """The table [quality]."""

    SECTION: ClassVar[str] = "quality"

    store: str
    """The address of its own store: sqlite:///FOLDER or postgresql+psycopg://USER@HOST/DATABASE."""
    catalogue: Path
    """The catalogue's folder."""
    rules: Path
    """The quality rules (TOML)."""
    signing_key: Path
    """The Ed25519 private key (PEM) that signs reports."""
    signing_certificates: tuple[Path, ...] = Field(min_length=1)
    """The signing certificates (PEM), present and past."""
    reports: Path
    """The folder that reports are written to."""
    ledgers: dict[str, str] = Field(default_factory=dict)
    """By a service's name in the catalogue, the address of the store that its ledger is in."""
    outages: Path | None = None
    """The file (TOML) that announced outages are published in, for the services to follow; none: nowhere."""
