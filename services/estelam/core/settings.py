"""Settings: a TOML file with a table for each service, overridden by ESTELAM_… variables. Unknown keys are errors."""

import json
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from google.protobuf.message import Message
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from estelam.core import addresses
from estelam.core.exceptions import UsageError, UserFacingError, named_error
from estelam.core.installed import installed
from estelam.core.model_files import UNKNOWN_KEY, faults, load_toml
from estelam.core.names import did_you_mean
from estelam.core.note_keys import KeyKind, NoteKey
from estelam.core.settings_file import CONFIG, DEFAULT_CONFIG, PREFIX
from estelam.core.subjects import SubjectKind

Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


HostPort = Annotated[str, AfterValidator(addresses.check_listen)]
"""host:port to listen on; port 0 takes a free one."""
_FEED_NAME = re.compile("[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


def check_feed_name(text: str) -> str:
    """Return the name of a feed; raise ValueError if *text* can't be one."""
    if _FEED_NAME.fullmatch(text) is None:
        raise ValueError("give 1 to 64 of 0-9, A-Z, a-z, '.', '_' and '-', the first one a digit or a letter")
    return text


FeedName = Annotated[str, AfterValidator(check_feed_name)]

Target = Annotated[str, AfterValidator(addresses.check_target)]
"""host:port to connect to."""

OptionalHostPort = Annotated[str, AfterValidator(lambda text: text and addresses.check_listen(text))]
"""host:port to listen on; empty to serve nothing."""

Loopback = Annotated[str, AfterValidator(lambda text: text and addresses.check_loopback(text))]
"""host:port on this host alone; empty to serve nothing."""

Url = Annotated[str, AfterValidator(addresses.check_url)]
"""http://HOST:PORT/PATH or https://HOST:PORT/PATH; the port may be left out."""

StoreUrl = Annotated[str, AfterValidator(addresses.check_store_url)]
"""The address of a data store."""

RoleName = Annotated[str, Field(min_length=1, max_length=63)]
"""The name of a role of a database."""

LogLevel = Literal["debug", "info", "warning", "error", "critical"]

SubjectFields = Mapping[SubjectKind, tuple[type[Message], str]]
"""Kinds of identifiers, each with a message and a field of the contract whose rules an identifier must satisfy."""


_FIX = f"name one by --config or {CONFIG}, or make one: estelam init for one service, estelam dev for a trial"


class SettingsError(UserFacingError):
    """The settings can't be used."""


class SettingsOptionError(SettingsError, UsageError):
    """A command's option that overrides a setting can't be used."""


class SettingsSection(BaseModel):
    """One table of the settings file. A field `x` of section `s` is also the variable ESTELAM_S_X."""

    # An error does not quote what it refuses: the address of a store may hold a password.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    SECTION: ClassVar[str]

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def origin(self, name: str) -> str:
        """Return where the value of the setting *name* comes from, as an error names it: option, variable or key."""
        return self._origins.get(name, f"{self.SECTION}.{name}")


def _check_approvers(texts: tuple[str, ...]) -> tuple[str, ...]:
    keys = [NoteKey.parse(text, KeyKind.NOTE) for text in texts]
    if len(keys) == 1:
        raise ValueError("a change needs two approvers; name two or more, or none")
    if len({key.name for key in keys}) < len(keys) or len({key.public.public_bytes_raw() for key in keys}) < len(keys):
        raise ValueError("two approvers have the same name or the same key, so that one person could approve alone")
    return texts


class ServingSettings(SettingsSection):
    """Settings of every gRPC service."""

    listen: HostPort = "127.0.0.1:0"
    """host:port of the gRPC server; port 0 takes a free port."""
    shares_port: bool = False
    """Whether other processes may listen on the same port; `serve` sets it for its workers."""
    quota_table: Path | None = None
    """The file in which the workers of a host share what is left of quotas. Default: none for one worker, and else a
    temporary one."""
    quota_hosts: int = Field(default=1, ge=1, le=1000)
    """Hosts that serve: each gives callers this part of a grant's rate and burst."""
    metrics_listen: HostPort = "127.0.0.1:0"
    """host:port of the metrics and `/ready`, over plain HTTP; each of several workers takes the next port."""
    traces: Url | None = None
    """The address of an OpenTelemetry collector (OTLP over HTTP, http://HOST:4318/v1/traces), which gets a span of each
    traced call; needs `estelam[otel]`. Without it, nothing is traced."""
    traces_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of calls to trace of callers who send no `traceparent`; others decide themselves."""
    api_listen: OptionalHostPort = ""
    """host:port of the JSON API: JSON over HTTP with mutual TLS; empty to serve none."""
    certificate: Path
    """The server's certificate chain (PEM). Changed files are used for handshakes once none has changed for
    a second."""
    private_key: Path
    """The key of the server's certificate (PEM). Reloaded like the certificate."""
    ca_certificates: Path
    """The authorities (PEM) that may issue callers' certificates, with those between. A change is in force within a
    second, for open connections too."""
    revocation_lists: tuple[Path, ...] = ()
    """Revocation lists (CRL). With any, each authority of a caller's certificate needs a current one. A change is in
    force within a second."""
    kept_revocation_lists: Path | None = None
    """The file in which the service keeps which list of each authority was the newest in force; it takes no older one,
    also after a start. Default on SQLite: the store's FOLDER.revocation; else none, name one on each host."""
    access: Path
    """Grants and deny list: a catalogue folder, or an access table (TOML). A change is in force within a second."""
    access_approvers: Annotated[tuple[str, ...], AfterValidator(_check_approvers)] = ()
    """Verifier keys (NAME+HASH+KEY) of those who approve changes of the catalogue, as `estelam catalogue approver`
    prints them. With any, no catalogue is loaded unless two of them have signed its change file."""
    kept_access: Path | None = None
    """The file in which the service keeps the newest approved change of the catalogue in force; it takes no older one,
    also after a start. Default on SQLite: the store's FOLDER.access; else none, name one on each host."""
    outages: Path | None = None
    """The file (TOML) of announced outages, during which the service refuses; without it, there are none."""
    trusted_proxy_keys: tuple[Fingerprint, ...] = ()
    """Public keys (key_sha256 of `estelam pki show --details`) of the TLS-terminating proxies that may forward callers'
    certificates."""
    request_timeout_seconds: float = Field(default=10.0, ge=0.01, le=3600)
    """Longest time for one inquiry, in seconds, whatever deadline the caller sets."""
    call_counts: Path | None = None
    """The file (SQLite) in which all workers of a host count their calls, refused ones too, for the monitor. Default on
    SQLite: the store's FOLDER.calls; else a temporary one, which ends with the process: name one on each host."""
    drain_seconds: float = Field(default=5.0, ge=0, le=3600)
    """Seconds that calls in progress may take to finish during shutdown."""
    shutdown_delay_seconds: float = Field(default=0.5, ge=0, le=3600)
    """Seconds to report NOT_SERVING after SIGTERM before refusing new calls, so that load balancers can drain."""
    refusal_record_rate_per_second: float = Field(default=10.0, ge=0.001, le=1_000_000)
    """Refusals of one caller recorded, and logged, per second; refusals beyond the rate are only counted."""
    refusal_record_burst: int = Field(default=100, ge=1, le=1_000_000)
    """Refusals of one caller recorded, and logged, at once, before the rate applies."""
    handshake_seconds: float = Field(default=5.0, ge=0.01, le=3600)
    """Longest time for a TLS handshake, in seconds."""
    max_connections: int = Field(default=512, ge=1, le=1_000_000)
    """Most connections at a time; one more ends the oldest of the caller who has most."""
    connection_age_seconds: float = Field(default=300.0, ge=0.01, le=86_400)
    """Age in seconds at which the server closes a connection, so that callers spread over new workers."""
    log_level: LogLevel = "info"
    """Least severe level to log: debug, info, warning, error or critical."""


def _check_witness_url(text: str) -> str:
    if text.rstrip("/").endswith("/add-checkpoint"):
        raise ValueError("give the address without /add-checkpoint, which is appended")
    return text


class WitnessAddress(BaseModel):
    """A witness that cosigns the ledger's checkpoints (C2SP tlog-witness)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    url: Annotated[Url, AfterValidator(_check_witness_url)]
    """The address that it takes submissions at, without /add-checkpoint."""
    key: Annotated[str, AfterValidator(lambda text: str(NoteKey.parse(text, KeyKind.COSIGNATURE)))]
    """Its verifier key (NAME+HASH+KEY), as `estelam witness key` prints it."""
    ca_certificates: Path | None = None
    """The authorities (PEM) that may issue the certificate of its address; without it, those of the system."""


def _check_witnesses(witnesses: tuple[WitnessAddress, ...]) -> tuple[WitnessAddress, ...]:
    names = [NoteKey.parse(each.key, KeyKind.COSIGNATURE).name for each in witnesses]
    if len(set(names)) < len(names):
        raise ValueError("two witnesses have the same name")
    return witnesses


def _check_webhook_url(text: str) -> str:
    if not text.startswith("https://") and not addresses.is_loopback(text):
        raise ValueError("must begin with https:// unless its host is this one (localhost, 127.0.0.1 or [::1])")
    return text


class Webhook(BaseModel):
    """A receiver of notifications (Standard Webhooks)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    url: Annotated[Url, AfterValidator(_check_webhook_url)]
    """The address that it takes notifications at; https, except on this host."""
    secret: Path
    """The file of the secret that it shares: whsec_ and 24 to 64 random bytes in Base64."""
    ca_certificates: Path | None = None
    """The authorities (PEM) that may issue the certificate of its address; without it, those of the system."""


class ChangeWebhook(Webhook):
    """A party that is notified when answers that it was given have changed."""

    caller: str = Field(pattern="^[0-9]{11}$")
    """The legal id of the party, as in its certificates."""


def _check_webhooks(webhooks: tuple[ChangeWebhook, ...]) -> tuple[ChangeWebhook, ...]:
    if len({each.caller for each in webhooks}) < len(webhooks):
        raise ValueError("two webhooks are of the same caller")
    return webhooks


MAX_DURATION = timedelta(days=36_500)
"""The longest time that a setting may state."""
MAX_CONFIRMATION_WINDOW = timedelta(hours=24)
"""The longest time for which a YES may permit its caller another method: confirmations are stored no longer."""


class StoreSettings(ServingSettings):
    """Settings of a service that has a data store."""

    MIGRATIONS: ClassVar[str]
    """The migrations of the facts, as "package:folder"."""
    FEEDS: ClassVar[str]
    """The module whose `FEEDS` are the kinds of data files."""
    SUBJECTS: ClassVar[SubjectFields]
    """The kinds of identifiers that the ledger indexes."""

    store: StoreUrl
    """The address of the data store: sqlite:///FOLDER or postgresql+psycopg://USER@HOST/DATABASE."""
    serving_role: RoleName | None = None
    """PostgreSQL: the database role of the workers. `estelam migrate` lets it read facts and append to the ledger."""
    monitoring_role: RoleName | None = None
    """PostgreSQL: the database role of the monitor. `estelam migrate` lets it read the ledger and the coverage."""
    recall_role: RoleName | None = None
    """PostgreSQL: the database role of recall. `estelam migrate` lets it read all, and note each run."""
    kept_checkpoint: Path | None = None
    """The file in which the service keeps its newest checkpoint, each second; it does not start on a ledger that lacks
    it. Default on SQLite: the store's FOLDER.checkpoint; on PostgreSQL none, name one on each host."""
    signing_key: Path
    """The Ed25519 private key (PEM) that signs checkpoints."""
    signing_certificates: tuple[Path, ...] = Field(min_length=1)
    """The signing certificates (PEM), present and past."""
    retired_keys: Path | None = None
    """The list (JSON) of signing keys that are used no more; without it, none is retired."""
    hmac_keyring: Path
    """The file of HMAC keys that pseudonymize the subjects of ledger entries: one key a line, the last one writes."""
    witnesses: Annotated[tuple[WitnessAddress, ...], AfterValidator(_check_witnesses)] = ()
    """The witnesses that are asked to cosign the ledger's checkpoints; no answer waits for them."""
    witness_interval_seconds: float = Field(default=60.0, ge=0.01, le=86_400)
    """Seconds between two checkpoints that are sent to a witness; after a failure twice as many, up to an hour."""
    change_webhooks: Annotated[tuple[ChangeWebhook, ...], AfterValidator(_check_webhooks)] = ()
    """The parties that are notified when answers that they were given have changed; no answer waits for them."""
    max_staleness: timedelta = Field(default=timedelta(hours=24), ge=timedelta(seconds=1), le=MAX_DURATION)
    """Greatest age of the feed at which NO may be answered, as an ISO 8601 duration."""
    feeds: tuple[FeedName, ...] = Field(min_length=1)
    """The feeds that must be loaded and complete for a NO, which is as of the earliest of their cut-offs.
    Files of other feeds are refused."""
    feed_signers: dict[FeedName, Path] = {}
    """The certificate (PEM) of the Ed25519 key that signs the manifests of a feed, by the feed's name."""
    change_limit: float = Field(default=0.01, ge=0.000_001, le=1)
    """The share of the feed's stored rows that a load may change or remove without --allow-removals."""
    batch_size: int = Field(default=128, ge=1, le=10_000)
    """Most inquiries in one transaction."""
    batch_queue: int = Field(default=8192, ge=1, le=1_000_000)
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
        SettingsError: the file can't be read, or a key is unknown, missing or invalid; the text names the file and the
            key, the variable or, as a SettingsOptionError, the option.
    """
    environ = os.environ if environ is None else environ
    values = _file_values(kind, environ)
    variables = _variables(kind, environ)
    values |= {name: _parse_variable(kind, name, variable, environ[variable]) for name, variable in variables.items()}
    given = {name: value for name, value in overrides.items() if value is not None}
    origins = variables | {name: f"--{name.replace('_', '-')}" for name in given}
    with named_error(SettingsError, f"{_source(environ)}: a value in it is out of range"):
        try:
            found = kind.model_validate(values | given)
        except ValidationError as invalid:
            raise _settings_error(kind, invalid, origins, _source(environ), is_option=given.__contains__) from None
    found._origins.update(origins)  # noqa: SLF001 - set here alone
    return found


def _settings_error(
    kind: type[SettingsSection],
    invalid: ValidationError,
    origins: Mapping[str, str],
    file: str,
    *,
    is_option: Callable[[str], bool],
) -> SettingsError:
    """Return the error that names the source of each value that is wrong."""
    elsewhere, in_file, options = [], [], False
    for (name, *rest), message in faults(invalid):
        if origin := origins.get(name):
            elsewhere.append(f"{'.'.join([origin, *rest])}: {message}")
            options |= is_option(name)
        else:
            advice = did_you_mean(name, kind.model_fields) if message == UNKNOWN_KEY and not rest else ""
            in_file.append(f"{'.'.join([kind.SECTION, name, *rest])}: {message}{advice}")
    text = "; ".join([*elsewhere, *([f"{file}: {'; '.join(in_file)}"] if in_file else [])])
    return SettingsOptionError(text) if options and not in_file else SettingsError(text)


def _source(environ: Mapping[str, str]) -> str:
    path = Path(environ.get(CONFIG, DEFAULT_CONFIG))
    return str(path) if path.exists() else f"no settings file {path.absolute()} ({_FIX})"


def _file_values(kind: type[SettingsSection], environ: Mapping[str, str]) -> dict[str, Any]:
    path = Path(environ.get(CONFIG, DEFAULT_CONFIG))
    if CONFIG not in environ and not path.exists():
        return {}
    if CONFIG in environ and not path.exists():
        raise SettingsError(_source(environ))
    tables = load_toml(path, SettingsError)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {name} must be a table: [{name}]")
    if unknown := set(tables) - _sections():
        names = (f"{name}{did_you_mean(name, _sections())}" for name in sorted(unknown))
        raise SettingsError(f"{path}: unknown table: {', '.join(names)}")
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


def _variables(kind: type[SettingsSection], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that set a field of *kind*, by the field's name."""
    prefix = f"{PREFIX}{kind.SECTION.upper()}_"
    sections = tuple(f"{PREFIX}{name.upper()}_" for name in _sections())
    found: dict[str, str] = {}
    for variable in environ:
        if not variable.startswith(PREFIX) or variable == CONFIG:
            continue
        name = variable.removeprefix(prefix).lower()
        if not variable.startswith(sections) or (variable.startswith(prefix) and name not in kind.model_fields):
            known = [CONFIG, *(f"{prefix}{field.upper()}" for field in kind.model_fields)]
            raise SettingsError(f"unknown variable: {variable}{did_you_mean(variable, known)}")
        if variable.startswith(prefix):
            found[name] = variable
    return found


def _parse_variable(kind: type[SettingsSection], name: str, variable: str, text: str) -> Any:
    """Read a variable's text for a field of *kind*: paths are separated as in PATH, a table is a JSON object."""
    form = get_origin(kind.model_fields[name].annotation)
    if form is tuple:
        return text.split(os.pathsep)
    if form is not dict:
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError(f"{variable} must be a JSON object") from None


def _sections() -> set[str]:
    return {"client", "catalogue", "witness", *(entry.name for entry in installed("estelam.services"))}
