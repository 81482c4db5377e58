"""Commands of `estelam dev-ca`: issue certificates for development."""

from datetime import timedelta
from pathlib import Path

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.cli import output
from estelam.core.exceptions import UsageError


def init(folder: Path, *, as_json: bool) -> None:
    """Create a certificate authority in *folder*."""
    with output.user_errors(as_json=as_json):
        _check_new(folder / "ca", "name another folder")
        DevCertificateAuthority.create(folder)
    output.print_record({"authority": str(folder / "ca.crt")}, as_json=as_json)


def issue(
    folder: Path, name: str, organization_id: str, host: list[str] | None, days: int, *, signing: bool, as_json: bool
) -> None:
    """Issue a certificate for an organisation."""
    with output.user_errors(as_json=as_json):
        if not (organization_id.isascii() and organization_id.isdigit() and len(organization_id) == 11):
            raise UsageError(f"--organization-id {organization_id}: a legal id has 11 digits")
        _check_new(folder / name, "name another certificate")
        authority = DevCertificateAuthority(folder)
        lifetime = timedelta(days=days)
        if signing:
            path = authority.issue_signing(name, organization_id, lifetime=lifetime)
        else:
            path = authority.issue(name, [organization_id], hosts=host or (), lifetime=lifetime)
    output.print_record({"certificate": str(path), "private_key": str(path.with_suffix(".key"))}, as_json=as_json)


def _check_new(path: Path, advice: str) -> None:
    """Raise UsageError where the certificate or the private key exists: neither is ever overwritten."""
    for found in (path.with_name(f"{path.name}.crt"), path.with_name(f"{path.name}.key")):
        if found.exists():
            raise UsageError(f"{found}: exists already; {advice}")
