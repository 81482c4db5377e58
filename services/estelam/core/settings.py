"""Settings: one TOML file with a table for each service, then ESTELAM_… variables; an unknown key is refused."""

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from estelam.core.exceptions import UserFacingError
from estelam.core.model_files import load_toml, validation_summary

PREFIX = "ESTELAM_"
CONFIG = PREFIX + "CONFIG"
DEFAULT_CONFIG = Path(".estelam/estelam.toml")

Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _on_loopback(listen: str) -> str:
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


Loopback = Annotated[str, AfterValidator(_on_loopback)]
"""host:port on this host alone; empty for nowhere."""


class SettingsError(UserFacingError):
    """The settings can't be used; the text is for the operator."""


class SettingsSection(BaseModel):
    """One table of the file. A field `x` of section `s` is also the variable ESTELAM_S_X."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    SECTION: ClassVar[str]


class ServingSettings(SettingsSection):
    """What every service needs to serve."""

    listen: str = "127.0.0.1:0"
    """host:port; port 0 takes a free one."""
    shares_port: bool = False
    """Whether other processes may listen on the same port; set for the workers of one `serve`."""
    metrics_listen: str = "127.0.0.1:0"
    """host:port of the figures; of several workers each takes the next port."""
    certificate: Path
    """The server's own certificate chain (PEM); replaced on disk, it is used from the next handshake on."""
    private_key: Path
    trust: Path
    """The authorities (PEM) that callers' certificates must come from."""
    access: Path
    """The catalogue's folder, or an access table (TOML): grants and deny-list."""
    outages: Path | None = None
    """The file (TOML) of announced outages, within which the service refuses; none: it has no such outage."""
    proxies: tuple[Fingerprint, ...] = ()
    """SHA-256 of the certificates of proxies that end TLS and may say whose certificate the caller showed them."""
    answer_seconds: float = Field(default=10.0, gt=0)
    """The longest that any inquiry may take, whatever deadline its caller sets."""
    drain_seconds: float = Field(default=5.0, ge=0)
    """On SIGTERM: how long inquiries under way may take to finish."""
    leave_seconds: float = Field(default=0.5, ge=0)
    """On SIGTERM: how long health says NOT_SERVING before new inquiries are turned away."""
    refusals_per_second: float = Field(default=10.0, gt=0)
    """How many refusals of one caller are recorded; beyond that they are only counted."""
    refusals_burst: int = Field(default=100, ge=1)
    handshake_seconds: float = Field(default=5.0, gt=0)
    connections: int = Field(default=512, ge=1)
    connection_age_seconds: float = Field(default=300.0, gt=0)
    log_level: str = "info"


class StoreSettings(ServingSettings):
    """What a service with a datastore needs besides."""

    MIGRATIONS: ClassVar[str]

    store: str
    """The datastore's address: sqlite:///FOLDER or postgresql+psycopg://USER@HOST/DATABASE."""
    signing_key: Path
    """The Ed25519 private key (PEM) that seals blocks."""
    signing_certificates: tuple[Path, ...] = Field(min_length=1)
    """The signing certificates (PEM), present and past."""
    subject_keys: Path
    """The keyring that hides whom an entry is about."""
    max_staleness: timedelta = timedelta(hours=24)
    """How old the feed may be for a no to be given."""
    batch_size: int = Field(default=128, ge=1)
    batch_queue: int = Field(default=8192, ge=1)


class ClientSettings(SettingsSection):
    """What the command line needs to ask."""

    SECTION: ClassVar[str] = "client"

    pki: Path
    """A folder of certificates: NAME.crt, NAME.key, ca.crt."""
    addresses: dict[str, str] = {}
    """host:port of each service, by its name."""


class CatalogueSettings(SettingsSection):
    """Where the catalogue is, for who looks into it."""

    SECTION: ClassVar[str] = "catalogue"

    folder: Path = Path("catalogue")


S = TypeVar("S", bound=SettingsSection)


def load_settings(kind: type[S], *, environ: Mapping[str, str] | None = None, **overrides: Any) -> S:
    """The settings of one section: *overrides*, then the environment, then the file that ESTELAM_CONFIG names.

    Relative paths in the file are relative to the file.

    Raises:
        SettingsError: the file can't be read, or a key is unknown, missing or wrong.
    """
    environ = os.environ if environ is None else environ
    values = _file_values(kind, environ)
    values |= _environment_values(kind, environ)
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SettingsError(validation_summary(error, f"{kind.SECTION}.")) from None


def _file_values(kind: type[SettingsSection], environ: Mapping[str, str]) -> dict[str, Any]:
    path = Path(environ.get(CONFIG, DEFAULT_CONFIG))
    if CONFIG not in environ and not path.exists():
        return {}
    tables = load_toml(path, SettingsError)
    if unknown := set(tables) - _sections():
        raise SettingsError(f"{path}: unknown table: {', '.join(sorted(unknown))}")
    return {name: _resolve_path(kind, name, value, path.parent) for name, value in tables.get(kind.SECTION, {}).items()}


def _resolve_paths_of_table(kind: type[BaseModel], row: Any, folder: Path) -> Any:
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
        return [_resolve_paths_of_table(item, row, folder) for row in value]
    if field.annotation in {Path, Path | None} and isinstance(value, str):
        return folder / value
    if field.annotation == tuple[Path, ...] and isinstance(value, list):
        return [folder / str(item) for item in value]
    return _resolve_store_urls(value, folder) if name in {"store", "ledgers"} else value


def _resolve_store_urls(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {name: _resolve_store_urls(store, folder) for name, store in value.items()}
    if isinstance(value, str) and value.startswith("sqlite:///"):
        return f"sqlite:///{folder / value.removeprefix('sqlite:///')}"
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
            values[name] = _read(get_origin(field.annotation), variable, text)
    return values


def _read(kind: Any, variable: str, text: str) -> Any:
    """What a variable says for a field of *kind*: paths are parted as in PATH, and a table is a JSON object."""
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
