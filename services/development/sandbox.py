"""A sandbox: all services in one folder, with a CA, certificates, stores and settings, for development and tests."""

import contextlib
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from development import sample_monitoring
from development.files import CATALOGUE, SAMPLES
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.clock import Clock, to_micros
from estelam.core.exceptions import ServerError
from estelam.core.files import create_private_folder, write_atomic
from estelam.core.keys import new_keyring_line, verifying_keys
from estelam.core.settings import StoreSettings, load_settings
from estelam.core.settings_file import CONFIG
from estelam.loading.feed import Declaration, Feed, LoadResult, Policy
from estelam.loading.load import load
from estelam.loading.manifest import identify
from estelam.storage.facts import load_table
from estelam.storage.migrate import migrate
from estelam.storage.store import AccessMode, Store
from judiciary import feeds as judiciary_load
from judiciary.settings import JudiciarySettings
from promissory import feeds as promissory_load
from promissory.settings import PromissorySettings
from quality.settings import QualitySettings
from sataad_adapter.settings import SetadSettings

# Invented legal ids with valid check digits: no such organisation exists.
ORGANIZATIONS = {
    "setad": "99001187852",
    "cbi": "99000712713",
    "agency": "99000316764",
    "stranger": "99000079195",
}
MINISTRY = "99001504616"
JUDICIARY = "99000633527"
_MARK = "-sandbox"

CHECK_NOTE = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"
GET_NOTE_PARTIES = "estelam.promissory.v1.PromissoryNoteInquiryService/GetNoteParties"
CHECK_BY_NATIONAL_ID = "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByNationalId"
CHECK_BY_TRACKING_ID = "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByTrackingId"
VERIFY_NOTE = "estelam.setad.v1.NoteVerificationService/VerifyNote"
LIST_CHANGED_ANSWERS = "estelam.inquiry.v1.AnswerChangeService/ListChangedAnswers"

APIS = {"promissory": "promissory_api", "judiciary": "judiciary_api", "setad": "api"}
"""The name of the port of each service's JSON API."""

# (certificate name, method, clause that grants it)
GRANTS = (
    ("setad", CHECK_NOTE, "R2.1"),
    ("agency", CHECK_NOTE, "R2.1"),
    ("setad", GET_NOTE_PARTIES, "R2.2"),
    ("cbi", CHECK_BY_NATIONAL_ID, "R3.1.1"),
    ("cbi", CHECK_BY_TRACKING_ID, "R3.1.2"),
    ("setad", VERIFY_NOTE, "R2.0"),
    ("cbi", LIST_CHANGED_ANSWERS, "R3.1"),
    ("setad", LIST_CHANGED_ANSWERS, "R2.0"),
    ("agency", LIST_CHANGED_ANSWERS, "R2.1"),
)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The paths and settings of one sandbox folder."""

    folder: Path

    @property
    def pki(self) -> Path:
        """The folder of the CA and all certificates."""
        return self.folder / "pki"

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "estelam.toml"

    @property
    def access(self) -> Path:
        """The access table."""
        return self.folder / "access.toml"

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment variables that make a command use this sandbox."""
        return {CONFIG: str(self.config)}

    def promissory(self, **overrides: object) -> PromissorySettings:
        """The promissory service's settings."""
        return load_settings(PromissorySettings, environ=self.environ, **overrides)

    def judiciary(self, **overrides: object) -> JudiciarySettings:
        """The judiciary service's settings."""
        return load_settings(JudiciarySettings, environ=self.environ, **overrides)

    def setad(self, **overrides: object) -> SetadSettings:
        """The Setad adapter's settings."""
        return load_settings(SetadSettings, environ=self.environ, **overrides)

    def quality(self, **overrides: object) -> QualitySettings:
        """The quality process's settings."""
        return load_settings(QualitySettings, environ=self.environ, **overrides)


def create_sandbox(
    folder: Path,
    *,
    ports: Mapping[str, int] | None = None,
    stores: Mapping[str, str] | None = None,
    rate: float = 1000,
    burst: int = 2000,
    catalogue: Path | None = None,
    keep_settings: bool = False,
    has_mark: bool = False,
) -> Sandbox:
    """Create a sandbox in *folder*: certificates, keys, access table, settings, and both stores migrated and empty.

    What exists already is kept, the settings only with *keep_settings*.

    Args:
        folder: the sandbox's folder.
        ports: for "promissory", "judiciary" and "setad", else a free port; for "page" of the adapter, the JSON APIs
            and "dashboard" of the quality process, which are served only if given; "promissory-metrics" and so on;
            "quality-metrics" are served only if given.
        stores: URLs of the stores of "promissory" and "judiciary", else SQLite in the folder.
        rate: tokens per second of every grant.
        burst: bucket size of every grant.
        catalogue: folder of the catalogue with the grants, else an access table of the sandbox's own.
        keep_settings: whether a settings file that exists is kept, with the ports and stores in it.
        has_mark: whether the receipts name ledgers of a sandbox, as `sandbox_service` requires.
    """
    sandbox = Sandbox(folder.resolve())
    if not (sandbox.pki / "ca.crt").exists():
        _issue(sandbox, has_mark=has_mark)
    if not (sandbox.pki / "quality-reports.crt").exists():
        _issue_signing(sandbox.pki, "quality-reports", sample_monitoring.EXCHANGE)
    for name in ("promissory", "judiciary", "quality"):
        create_private_folder(sandbox.folder / name)
    sample_monitoring.catalogue_with_agreements(sandbox.folder / "quality" / "catalogue", catalogue or CATALOGUE)
    for name in ("promissory", "judiciary"):
        keyring = sandbox.folder / name / "subjects.keys"
        if not keyring.exists():
            keyring.touch(mode=0o600)
            keyring.write_text(new_keyring_line("k1"), "ascii")
    if not sandbox.access.exists():
        write_access(sandbox, GRANTS, rate=rate, burst=burst)
    if not (keep_settings and sandbox.config.exists()):
        _write_settings(sandbox, ports or {}, stores or {}, catalogue or CATALOGUE, catalogue or sandbox.access)
    for service in (sandbox.promissory(), sandbox.judiciary()):
        migrate(service.store, service.MIGRATIONS)
    return sandbox


def prepare_quality(sandbox: Sandbox) -> QualitySettings:
    """Migrate the quality store to the newest schema and return the quality settings."""
    quality = sandbox.quality()
    migrate(quality.store, QualitySettings.MIGRATIONS)
    return quality


def load_samples(sandbox: Sandbox) -> None:
    """Load the committed samples as whole files that were cut now.

    Samples that were loaded before are declared unchanged by a file without rows, once half the time has passed after
    which they are stale.
    """
    promissory, judiciary = sandbox.promissory(), sandbox.judiciary()
    _load_sample(promissory, promissory_load.MEMBERS, SAMPLES / "agencies.csv")
    _load_sample(promissory, promissory_load.NOTES, SAMPLES / "notes.csv")
    _load_sample(judiciary, judiciary_load.CASES, SAMPLES / "cases.csv")


def _load_sample(service: StoreSettings, feed: Feed, sample: Path) -> None:
    with contextlib.closing(Store(service.store)) as store, store.transaction() as connection:
        known = select(load_table.c.number).where(load_table.c.sha256 == identify(sample).content_sha256)
        is_loaded = connection.execute(known).first() is not None
        newest = select(func.max(load_table.c.cut_at_micros)).where(load_table.c.feed == feed.name)
        fresh_from = to_micros(datetime.now(UTC) - service.max_staleness / 2)
        is_fresh = (connection.execute(newest).scalar() or 0) >= fresh_from
    if not is_loaded:
        # Every sample case of a cheque names its certificate.
        load_file(service, feed, sample, whole=True, tracking_since=feed.first_date if feed.is_dated else None)
    elif not (is_fresh or feed.full_snapshot):
        with tempfile.TemporaryDirectory() as folder:
            unchanged = Path(folder) / sample.name
            unchanged.write_text(",".join(feed.columns) + "\n", "utf-8")
            load_file(service, feed, unchanged)


def load_file(
    service: StoreSettings,
    feed: Feed,
    path: Path,
    cut_at: datetime | None = None,
    *,
    whole: bool = False,
    allow_known_content: bool = False,
    **declared: Any,
) -> LoadResult:
    """Load one file, all rows or none, as one that was cut at *cut_at*, or now, with other facts as *declared*."""
    result = load(
        Store(service.store, facts=AccessMode.WRITE),
        feed,
        path,
        declared=Declaration(
            feed=feed.name, cut_at=cut_at or datetime.now(UTC), whole=whole or feed.full_snapshot, **declared
        ),
        policy=Policy(service.feeds, change_limit=1, allow_known_content=allow_known_content),
        rejects=path.parent / f"{path.name}.rejects.csv",
        clock=Clock(),
        progress=lambda _bytes: None,
    )
    if result.rejected:
        raise RuntimeError(f"{path} has {result.rejected} bad rows; see {result.rejects}")
    return result


def write_access(
    sandbox: Sandbox,
    grants: Sequence[tuple[str, str, str]],
    *,
    rate: float,
    burst: int,
    denied: Sequence[str] = (),
    miss_cost: int = 1,
    required_metadata: Sequence[str] = (),
    organizations: Mapping[str, str] = ORGANIZATIONS,
) -> None:
    """Write the access table: (certificate name, method, clause) for each grant, and *denied* public keys (SHA-256).

    *organizations* has the organisation's identifier of each certificate name.
    """
    table = [
        textwrap.dedent(f"""\
            [[grant]] # {name}
            caller = "{organizations[name]}"
            method = "{method}"
            clause = "{clause}"
            since = 2021-08-24
            quota = {{ rate = {float(rate)}, burst = {burst}, miss_cost = {miss_cost} }}
            required_metadata = {list(required_metadata)}
            """)
        for name, method, clause in grants
    ]
    table += [f'[[deny]]\nkey = "{key}"\nreason = "lost key"\n' for key in denied]
    write_atomic(sandbox.access, "\n".join(table))


SINCE, LIFETIME = datetime(2000, 1, 1, tzinfo=UTC), timedelta(days=60 * 365)
"""The authority and the signing certificates are valid for the whole time that clocks of tests may show."""


def mark(organization_id: str) -> str:
    """Return the organisation of a signing certificate whose receipts are of a sandbox.

    The receipts' ledger is named after it: they verify with such a certificate alone, and show what they are.
    """
    return organization_id + _MARK


def require_mark(certificates: Sequence[Path]) -> None:
    """Check that all signing *certificates* are of sandboxes.

    Raises:
        ServerError: one is not.
    """
    for path in certificates:
        if not bears_mark(path):
            raise ServerError(
                f"{path}: is not of a sandbox: receipts of a sandbox must not look like evidence; start estelam dev "
                "--sandbox in a new folder, which makes the certificates"
            )


def bears_mark(certificate: Path) -> bool:
    """Return whether the receipts of a signing *certificate* are of a sandbox."""
    return all(key.organization_id.endswith(_MARK) for key in verifying_keys([certificate]).values())


def _issue(sandbox: Sandbox, *, has_mark: bool) -> None:
    authority = DevCertificateAuthority.create(sandbox.pki, since=SINCE, lifetime=LIFETIME)
    for name, organization_id in ORGANIZATIONS.items():
        authority.issue(name, [organization_id])
    authority.issue("proxy", [])
    hosts = ["localhost", "127.0.0.1", "workers"]  # the last is the name that a proxy verifies its upstream servers by
    for name, organization_id in (("promissory", MINISTRY), ("judiciary", JUDICIARY)):
        authority.issue(f"{name}-server", [organization_id], hosts=hosts)
        _issue_signing(sandbox.pki, f"{name}-receipts", mark(organization_id) if has_mark else organization_id)
    authority.issue("setad-server", [ORGANIZATIONS["setad"]], hosts=hosts)


def _issue_signing(pki: Path, name: str, organization_id: str) -> None:
    DevCertificateAuthority(pki).issue_signing(name, organization_id, since=SINCE, lifetime=LIFETIME)


def _write_settings(
    sandbox: Sandbox, ports: Mapping[str, int], stores: Mapping[str, str], catalogue: Path, access: Path
) -> None:
    def serving(name: str) -> str:
        return textwrap.dedent(f"""\
            [{name}]
            listen = "127.0.0.1:{ports.get(name, 0)}"
            certificate = "pki/{name}-server.crt"
            private_key = "pki/{name}-server.key"
            ca_certificates = "pki/ca.crt"
            access = "{access.name if access.parent == sandbox.folder else access}"
            outages = "outages.toml"
            metrics_listen = "127.0.0.1:{ports.get(f"{name}-metrics", 0)}"
            """) + (f'api_listen = "127.0.0.1:{ports[api]}"\n' if (api := APIS[name]) in ports else "")

    def storing(name: str) -> str:
        return serving(name) + textwrap.dedent(f"""\
            store = "{stores.get(name, f"sqlite:///{name}")}"
            signing_key = "pki/{name}-receipts.key"
            signing_certificates = ["pki/{name}-receipts.crt"]
            hmac_keyring = "{name}/subjects.keys"
            """)

    adapter = serving("setad") + textwrap.dedent(f"""\
        provider = "127.0.0.1:{ports.get("promissory", 50051)}"
        provider_certificates = ["pki/promissory-receipts.crt"]
        client_certificate = "pki/setad.crt"
        client_key = "pki/setad.key"
        """)
    adapter += f'page_agencies = "{SAMPLES / "agencies.csv"}"\n'
    adapter += f'page_listen = "127.0.0.1:{ports["page"]}"\n' if "page" in ports else ""
    addresses = "".join(f'{name} = "127.0.0.1:{ports[name]}"\n' for name in sample_monitoring.SLUGS if name in ports)
    client = f'[catalogue]\nfolder = "{catalogue}"\n\n[client]\npki = "pki"\n\n[client.addresses]\n{addresses}'
    ledgers = {name: stores.get(name, f"sqlite:///{name}") for name in sample_monitoring.STORING}
    quality = sample_monitoring.settings_table(ports=ports, stores=ledgers)
    tables = [storing("promissory"), storing("judiciary"), adapter, client, quality]
    sandbox.config.write_text("\n".join(tables), "utf-8")
