"""Settings of the quality service."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from estelam.core import addresses
from estelam.core.note_keys import NAME
from estelam.core.settings import (
    FeedName,
    LogLevel,
    Loopback,
    OptionalHostPort,
    SettingsSection,
    StoreUrl,
    Target,
    Url,
    Webhook,
)


class ProbeIdentity(BaseModel):
    """A consumer in whose name probes call the services, with a certificate issued for probes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    consumer: str
    """The slug of the party in the catalogue."""
    certificate: Path
    """The client certificate (PEM) of the probes."""
    private_key: Path
    """The key of the certificate (PEM)."""


class ServiceProbe(BaseModel):
    """A probe of a service that the catalogue only lists."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    service: str
    """The slug of the service in the catalogue."""
    kind: Literal["http", "tls", "grpc-health"]
    """http: a request whose status must be one of `expect`; tls: a handshake with a valid certificate; grpc-health: the
    standard health service reports SERVING."""
    target: str = Field(min_length=1, max_length=2000)
    """http://… or https://… for http, else host:port."""
    method: Literal["GET", "POST"] = "GET"
    """The verb of an HTTP request."""
    body: str = Field(default="", max_length=10_000)
    """The body of a POST, which must ask for nothing about a real person."""
    content_type: str = "application/json"
    """Its media type."""
    expect: tuple[Annotated[int, Field(ge=100, le=599)], ...] = (200,)
    """The HTTP statuses that are an answer; a redirect is not followed."""
    health_service: str = ""
    """The name that the health service is asked for; empty for the whole server."""
    ca_certificates: Path | None = None
    """The authorities (PEM) that may issue the service's certificate; without it, those of the operating system."""
    certificate: Path | None = None
    """The client certificate (PEM), if the service demands one; grpc-health does."""
    private_key: Path | None = None
    """The key of the certificate (PEM)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        (addresses.check_url if self.kind == "http" else addresses.check_target)(self.target)
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key are given together")
        if self.kind == "grpc-health" and not (self.certificate and self.ca_certificates):
            raise ValueError("grpc-health needs certificate, private_key and ca_certificates")
        return self


FeedKind = Literal["outages", "changes", "reports"]


class FeedWebhook(Webhook):
    """A party that is notified when a feed of the dashboard has something new."""

    party: str
    """The slug of the party in the catalogue."""
    feeds: tuple[FeedKind, ...] = Field(default=("outages", "changes", "reports"), min_length=1)
    """The feeds: outages (announced, ended or withdrawn), changes of the catalogue, and monthly reports."""


def _check_parties(webhooks: tuple[FeedWebhook, ...]) -> tuple[FeedWebhook, ...]:
    if len({each.party for each in webhooks}) < len(webhooks):
        raise ValueError("two webhooks are of the same party")
    return webhooks


class QualitySettings(SettingsSection):
    """The table [quality]."""

    SECTION: ClassVar[str] = "quality"
    MIGRATIONS: ClassVar[str] = "quality:migrations"

    store: StoreUrl
    """The address of the quality store: sqlite:///FOLDER or postgresql+psycopg://USER@HOST/DATABASE."""
    catalogue: Path
    """The catalogue's folder."""
    rules: Path
    """The quality rules (TOML)."""
    signing_key: Path
    """The Ed25519 private key (PEM) that signs reports."""
    signing_certificates: tuple[Path, ...] = Field(min_length=1)
    """The signing certificates (PEM), present and past."""
    retired_keys: Path | None = None
    """The list (JSON) of signing keys that are used no more; without it, none is retired."""
    reports: Path
    """The folder that reports are written to."""
    ledgers: dict[str, StoreUrl] = Field(default_factory=dict)
    """The address of the store that holds each service's ledger, by the service's name in the catalogue."""
    ledger_certificates: dict[str, Path] = Field(default_factory=dict, validate_default=True)
    """The file of the signing certificates (PEM), present and past, of each service in `ledgers`."""
    ledger_retired_keys: dict[str, Path] = Field(default_factory=dict)
    """The list (JSON) of signing keys that a service uses no more, by its name; without it, none is retired."""
    feeds: dict[str, tuple[FeedName, ...]] = Field(default_factory=dict)
    """The feeds that a service with a ledger requires by its own setting `feeds`, by the service's name: its data has
    an age only where the coverage is that of exactly these feeds. Without an entry, of any."""
    witness_key: Path | None = None
    """The Ed25519 private key (PEM) that cosigns the ledgers' checkpoints, and nothing else; without it, none is
    cosigned."""
    witness_name: str = Field(default="exchange/monitor", pattern=f"^{NAME}$")
    """The name under which it cosigns: a URL without its scheme, as witness.example/w1."""
    kept_checkpoints: Path | None = None
    """The folder in which the monitor keeps the newest checkpoint that it cosigned of each ledger, so that it cosigns
    nothing else in its place after its store was restored; apart from the store's backup. On SQLite by default
    FOLDER.cosigned; on PostgreSQL, without it, none is kept."""
    outages: Path | None = None
    """The file (TOML) that announced outages are written to, which the services read; without it, they are not."""
    listen: Loopback = ""
    """host:port of the dashboard: plain HTTP on loopback, behind the exchange's login proxy; empty to serve none."""
    metrics_listen: OptionalHostPort = ""
    """host:port of the monitor's metrics and of `/ready`; empty to serve none."""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """Host names that a request for the dashboard may carry; any other is refused (DNS rebinding)."""
    ca_certificates: Path | None = None
    """The authorities (PEM) that may issue the services' certificates; without it nothing is probed."""
    addresses: dict[str, Target] = Field(default_factory=dict)
    """host:port of each service as its consumers use it, by the service's name in the catalogue."""
    metrics: dict[str, Url] = Field(default_factory=dict)
    """The address of each service's metrics (http://HOST:9100/metrics), by the service's name in the catalogue."""
    probe: tuple[ProbeIdentity, ...] = ()
    """The consumers in whose names the services are probed."""
    probe_requests: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The harmless request of each method's probe, as proto3 JSON, by the method's name (package.Service/Method)."""
    service_probe: tuple[ServiceProbe, ...] = ()
    """The probes of services that the catalogue only lists; one that has none is reported as not measured."""
    webhook: Annotated[tuple[FeedWebhook, ...], AfterValidator(_check_parties)] = ()
    """The parties that are notified when a feed of the dashboard has something new."""
    probe_interval_seconds: float = Field(default=60.0, ge=0.01, le=86_400)
    """Seconds between two probes; the indicators count minutes, so change it in trials only."""
    probe_seconds: float = Field(default=12.0, ge=0.01, le=3600)
    """Timeout of each probe call in seconds: longer than `request_timeout_seconds`, so that refusals arrive."""
    log_level: LogLevel = "info"
    """Least severe level to log: debug, info, warning, error or critical."""

    @field_validator("ledger_certificates")
    @classmethod
    def _check_ledger_certificates(cls, given: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
        if missing := sorted(set(info.data.get("ledgers", {})) - set(given)):
            raise ValueError(f"has no certificates of {', '.join(missing)}, whose ledger is in `ledgers`")
        return given
