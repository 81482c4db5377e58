"""Settings: a TOML file with a table for each service, overridden by ESTELAM_… variables. Unknown keys are errors."""

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from google.protobuf.message import Message
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from estelam.core import addresses
from estelam.core.exceptions import UserFacingError
from estelam.core.model_files import load_toml, validation_summary
from estelam.core.settings_file import CONFIG, DEFAULT_CONFIG, PREFIX
from estelam.core.subjects import SubjectKind

Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


HostPort = Annotated[str, AfterValidator(addresses.check_listen)]
"""host:port to listen on; port 0 takes a free one."""
FEED_NAME = "[0-9A-Za-z][0-9A-Za-z._-]{0,63}"
"""Regular expression of the names of feeds."""
FeedName = Annotated[str, Field(pattern=f"^{FEED_NAME}$")]

Target = Annotated[str, AfterValidator(addresses.check_target)]
"""host:port to connect to."""

OptionalHostPort = Annotated[str, AfterValidator(lambda text: text and addresses.check_listen(text))]
"""host:port to listen on; empty to serve nothing."""

Loopback = Annotated[str, AfterValidator(lambda text: text and addresses.check_loopback(text))]
"""host:port on this host alone; empty to serve nothing."""

StoreUrl = Annotated[str, AfterValidator(addresses.check_store_url)]
"""The address of a data store."""

LogLevel = Literal["debug", "info", "warning", "error", "critical"]

SubjectFields = Mapping[SubjectKind, tuple[type[Message], str]]
"""Kinds of identifiers, each with a message and a field of the contract whose rules an identifier must satisfy."""


class SettingsError(UserFacingError):
    """The settings can't be used."""


class SettingsSection(BaseModel):
    """One table of the settings file. A field `x` of section `s` is also the variable ESTELAM_S_X."""

    # An error does not quote what it refuses: the address of a store may hold a password.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    SECTION: ClassVar[str]


class ServingSettings(SettingsSection):
    """Settings of every gRPC service."""

    listen: HostPort = "127.0.0.1:0"
    """host:port of the gRPC server; port 0 takes a free port."""
    shares_port: bool = False
    """Whether other processes may listen on the same port; `serve` sets it for its workers."""
    metrics_listen: HostPort = "127.0.0.1:0"
    """host:port of the metrics and `/ready`, over plain HTTP; each of several workers takes the next port."""
    certificate: Path
    """The server's certificate chain (PEM). A changed file is used from the next handshake on."""
    private_key: Path
    """The key of the server's certificate (PEM). A changed file is used from the next handshake on."""
    ca_certificates: Path
    """The authorities (PEM) that may issue callers' certificates. A changed file is used from the next handshake on."""
    revocation_lists: tuple[Path, ...] = ()
    """Revocation lists (CRL). With any, each authority of a caller's certificate needs a current one. A change is in
    force within a second."""
    access: Path
    """Grants and deny list: a catalogue folder, or an access table (TOML). A change is in force within a second."""
    outages: Path | None = None
    """The file (TOML) of announced outages, during which the service refuses; without it, there are none."""
    trusted_proxies: tuple[Fingerprint, ...] = ()
    """SHA-256 fingerprints of the certificates of TLS-terminating proxies that may forward callers' certificates."""
    request_timeout_seconds: float = Field(default=10.0, gt=0)
    """Longest time for one inquiry, in seconds, whatever deadline the caller sets."""
    drain_seconds: float = Field(default=5.0, ge=0)
    """Seconds that calls in progress may take to finish during shutdown."""
    shutdown_delay_seconds: float = Field(default=0.5, ge=0)
    """Seconds to report NOT_SERVING after SIGTERM before refusing new calls, so that load balancers can drain."""
    refusal_record_rate_per_second: float = Field(default=10.0, gt=0)
    """Refusals of one caller recorded per second; refusals beyond the rate are only counted."""
    refusal_record_burst: int = Field(default=100, ge=1)
    """Refusals of one caller recorded at once, before the rate applies."""
    handshake_seconds: float = Field(default=5.0, gt=0)
    """Longest time for a TLS handshake, in seconds."""
    max_connections: int = Field(default=512, ge=1)
    """Most connections at a time; more are refused."""
    connection_age_seconds: float = Field(default=300.0, gt=0)
    """Age in seconds at which the server closes a connection, so that callers spread over new workers."""
    log_level: LogLevel = "info"
    """Least severe level to log: debug, info, warning, error or critical."""


class StoreSettings(ServingSettings):
    """Settings of a service that has a data store."""

    MIGRATIONS: ClassVar[str]
    """The migrations of the facts, as "package:folder"."""
    SUBJECTS: ClassVar[SubjectFields]
    """The kinds of identifiers that the ledger indexes."""

    store: StoreUrl
    """The address of the data store: sqlite:///FOLDER or postgresql+psycopg://USER@HOST/DATABASE."""
    signing_key: Path
    """The Ed25519 private key (PEM) that signs blocks."""
    signing_certificates: tuple[Path, ...] = Field(min_length=1)
    """The signing certificates (PEM), present and past."""
    retired_keys: Path | None = None
    """The list (JSON) of signing keys that are used no more; without it, none is retired."""
    hmac_keyring: Path
    """The file of HMAC keys that pseudonymize the subjects of ledger entries: one key a line, the last one writes."""
    max_staleness: timedelta = timedelta(hours=24)
    """Greatest age of the feed at which NO may be answered, as an ISO 8601 duration."""
    feeds: tuple[FeedName, ...] = Field(min_length=1)
    """The feeds that must be loaded and complete for a NO, which is as of the earliest of their cut-offs.
    Files of other feeds are refused."""
    feed_signers: dict[FeedName, Path] = {}
    """The certificate (PEM) of the Ed25519 key that signs the manifests of a feed, by the feed's name."""
    change_limit: float = Field(default=0.01, gt=0, le=1)
    """The share of the feed's stored rows that a load may change or remove without --allow-removals."""
    batch_size: int = Field(default=128, ge=1)
    """Most inquiries in one transaction."""
    batch_queue: int = Field(default=8192, ge=1)
    """Most inquiries waiting for a transaction; more are refused as OVERLOADED."""


class ClientSettings(SettingsSection):
    """Settings of the commands that call services."""

    SECTION: ClassVar[str] = "client"

    pki: Path
    """The folder of certificates: NAME.crt, NAME.key, ca.crt."""
    retired_keys: Path | None = None
    """The list (JSON) of signing keys that their providers use no more; without it, none is retired."""
    addresses: dict[str, Target] = {}
    """host:port of each service, by the service's name."""


class CatalogueSettings(SettingsSection):
    """Settings of the commands that read the catalogue."""

    SECTION: ClassVar[str] = "catalogue"

    folder: Path = Path("catalogue")
    """The folder of the catalogue's files."""


S = TypeVar("S", bound=SettingsSection)


def load_settings(kind: type[S], *, environ: Mapping[str, str] | None = None, **overrides: Any) -> S:
    """Load the section of *kind*: *overrides* first, then the environment, then the file that ESTELAM_CONFIG names.

    Relative paths in the file are relative to the file's folder. Overrides that are None count as not given.

    Raises:
        SettingsError: the file can't be read, or a key is unknown, missing or invalid.
    """
    environ = os.environ if environ is None else environ
    values = _file_values(kind, environ)
    values |= _environment_values(kind, environ)
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{_source(environ)}: {validation_summary(error, f'{kind.SECTION}.')}") from None


def _source(environ: Mapping[str, str]) -> str:
    path = Path(environ.get(CONFIG, DEFAULT_CONFIG))
    return str(path) if path.exists() else f"no settings file {path}; {CONFIG} may name another"


def _file_values(kind: type[SettingsSection], environ: Mapping[str, str]) -> dict[str, Any]:
    path = Path(environ.get(CONFIG, DEFAULT_CONFIG))
    if CONFIG not in environ and not path.exists():
        return {}
    tables = load_toml(path, SettingsError)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {name} must be a table: [{name}]")
    if unknown := set(tables) - _sections():
        raise SettingsError(f"{path}: unknown table: {', '.join(sorted(unknown))}")
    return {name: _resolve_path(kind, name, value, path.parent) for name, value in tables.get(kind.SECTION, {}).items()}


def _resolve_row(kind: type[BaseModel], row: Any, folder: Path) -> Any:
    return (
        {name: _resolve_path(kind, name, value, folder) for name, value in row.items()}
        if isinstance(row, dict)
        else row
    )


def _resolve_path(kind: type[BaseModel], name: str, value: Any, folder: Path) -> Any:
    field = kind.model_fields.get(name)
    if field is None:
        return value
    item = next(iter(get_args(field.annotation)), None)
    if isinstance(item, type) and issubclass(item, BaseModel) and isinstance(value, list):
        return [_resolve_row(item, row, folder) for row in value]
    if field.annotation in {Path, Path | None} and isinstance(value, str):
        return folder / value
    if field.annotation == tuple[Path, ...] and isinstance(value, list):
        return [folder / str(item) for item in value]
    if get_origin(field.annotation) is dict and Path in get_args(field.annotation) and isinstance(value, dict):
        return {key: folder / str(item) for key, item in value.items()}
    return _resolve_store_urls(value, folder) if name in {"store", "ledgers"} else value


def _resolve_store_urls(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {name: _resolve_store_urls(store, folder) for name, store in value.items()}
    if isinstance(value, str) and value.startswith(addresses.SQLITE) and value != addresses.SQLITE:
        return f"{addresses.SQLITE}{folder / value.removeprefix(addresses.SQLITE)}"
    return value


def _environment_values(kind: type[SettingsSection], environ: Mapping[str, str]) -> dict[str, Any]:
    prefix = f"{PREFIX}{kind.SECTION.upper()}_"
    sections = tuple(f"{PREFIX}{name.upper()}_" for name in _sections())
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == CONFIG:
            continue
        if not variable.startswith(sections):
            raise SettingsError(f"unknown variable: {variable}")
        if variable.startswith(prefix):
            name = variable.removeprefix(prefix).lower()
            field = kind.model_fields.get(name)
            if field is None:
                raise SettingsError(f"unknown variable: {variable}")
            values[name] = _parse_variable(get_origin(field.annotation), variable, text)
    return values


def _parse_variable(kind: Any, variable: str, text: str) -> Any:
    """Read a variable's text for a field of *kind*: paths are separated as in PATH, a table is a JSON object."""
    if kind is tuple:
        return text.split(os.pathsep)
    if kind is not dict:
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError(f"{variable} must be a JSON object") from None


def _sections() -> set[str]:
    return {"client", "catalogue", *(entry.name for entry in entry_points(group="estelam.services"))}
