"""`make compose`: create the keys and certificates that deploy/compose.yaml mounts, and a password for its database.

They are of a development authority, for a trial on one machine: the containers' user reads them, so all users may.
"""

import secrets
import shutil
from pathlib import Path

from development.sample_monitoring import EXCHANGE
from development.sandbox import JUDICIARY, MINISTRY, ORGANIZATIONS
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.keys import new_keyring_line
from tools.env.repository import ROOT

SECRETS = ROOT / "deploy" / "secrets"
OWNERS = {"promissory": MINISTRY, "judiciary": JUDICIARY, "setad": ORGANIZATIONS["setad"], "quality": EXCHANGE}
CALLERS = "callers"
"""The folder of the certificates of all consumers, to call the services with."""


def create(folder: Path) -> None:
    """Create the folders of each organisation in *folder*, which must not exist."""
    authority = DevCertificateAuthority.create(folder / CALLERS)
    for name, organization in ORGANIZATIONS.items():
        authority.issue(name, [organization])
    for name in ("promissory", "judiciary"):
        _issue_serving(authority, folder, name)
        _issue_signing(authority, folder, name, "receipts")
        (folder / name / "keys" / "subjects.keys").write_text(new_keyring_line("k1"), "ascii")
    _issue_serving(authority, folder, "setad")
    _issue_signing(authority, folder, "quality", "reports")
    shutil.copy(authority.folder / "ca.crt", folder / "quality" / "pki")
    for name in ("promissory", "judiciary"):
        shutil.copy(folder / name / "pki" / "receipts.crt", folder / "quality" / "pki" / f"{name}-receipts.crt")
    shutil.copy(folder / "promissory" / "pki" / "receipts.crt", folder / "setad" / "pki")
    for suffix in ("crt", "key"):
        shutil.copy(authority.folder / f"setad.{suffix}", folder / "setad" / "pki")
        for consumer in ("setad", "cbi"):
            kind = "keys" if suffix == "key" else "pki"
            shutil.copy(
                authority.folder / f"{consumer}.{suffix}", folder / "quality" / kind / f"probe-{consumer}.{suffix}"
            )
    (folder / "env").write_text(f"ESTELAM_PASSWORD={secrets.token_hex(16)}\n", "ascii")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _issue_serving(authority: DevCertificateAuthority, folder: Path, name: str) -> None:
    """Issue the server's certificate under each name by which callers and Envoy reach it."""
    pki = _folders(folder, name)
    hosts = ["localhost", "127.0.0.1", name, "workers", f"{name}-callers"]
    certificate = authority.issue(f"{name}-server", [OWNERS[name]], hosts=hosts)
    for suffix in (".crt", ".key"):
        certificate.with_suffix(suffix).rename(pki / f"server{suffix}")
    shutil.copy(authority.folder / "ca.crt", pki)


def _issue_signing(authority: DevCertificateAuthority, folder: Path, name: str, use: str) -> None:
    pki = _folders(folder, name)
    certificate = authority.issue_signing(f"{name}-{use}", OWNERS[name])
    certificate.rename(pki / f"{use}.crt")
    certificate.with_suffix(".key").rename(pki.parent / "keys" / f"{use}.key")


def _folders(folder: Path, name: str) -> Path:
    for kind in ("pki", "keys"):
        (folder / name / kind).mkdir(parents=True, exist_ok=True)
    return folder / name / "pki"


if __name__ == "__main__":
    if not SECRETS.exists():
        create(SECRETS)
