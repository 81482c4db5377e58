"""What the quality process may be told."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from estelam.core.settings import Loopback, SettingsSection

Url = Annotated[str, Field(pattern="^https?://[^ ]+$")]


class Prober(BaseModel):
    """A consumer as which the services are asked: its certificate and key, issued for probes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    consumer: str
    """The party's name in the catalogue."""
    certificate: Path
    private_key: Path


class QualitySettings(SettingsSection):
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
    listen: Loopback = ""
    """host:port of the live board: plain HTTP on loopback, behind the exchange's login proxy; empty: not served."""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """The names that the board may be asked for by, as browsers send them; another name is another site's trick."""
    trust: Path | None = None
    """The authorities (PEM) that services' certificates must come from; without it nothing is probed."""
    addresses: dict[str, str] = Field(default_factory=dict)
    """By a service's name in the catalogue, the host:port that its consumers use."""
    metrics: dict[str, Url] = Field(default_factory=dict)
    """By a service's name in the catalogue, the address of its figures, as http://HOST:9100/metrics."""
    probe: tuple[Prober, ...] = ()
    """As whom the services are probed."""
    questions: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By a method's full name, package.Service/Method, the harmless request that probes make, as proto3 JSON."""
    every_seconds: float = Field(default=60.0, gt=0)
    """How often probes are made; figures count minutes, so a minute it is but for trials."""
    probe_seconds: float = Field(default=12.0, gt=0)
    """How long a probe waits for each answer: longer than a service's `answer_seconds`, so that it can say why."""
    log_level: str = "info"
