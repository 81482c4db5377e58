"""`estelam dev-ca`: a small certificate authority for development."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.cli import output

app = typer.Typer(help="Make development certificates.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Where the authority and its certificates are kept.")]


@app.command()
def init(folder: Folder, as_json: output.AsJson = False) -> None:
    """Create an authority."""
    if (folder / "ca.crt").exists():
        output.exit_error(f"{folder} has an authority already", as_json=as_json)
    with output.user_errors(as_json=as_json):
        DevCertificateAuthority.create(folder)
    output.print_record({"authority": str(folder / "ca.crt")}, as_json=as_json)


@app.command()
def issue(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="The certificate's name.")],
    organization_id: Annotated[str, typer.Option(help="The organisation's legal id, 11 digits.")],
    host: Annotated[list[str] | None, typer.Option(help="A name or address to serve under.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How long it is valid.")] = 365,
    signing: Annotated[bool, typer.Option("--signing", help="For sealing ledgers, not for TLS.")] = False,
    as_json: output.AsJson = False,
) -> None:
    """Issue a certificate for an organisation."""
    if not (organization_id.isascii() and organization_id.isdigit() and len(organization_id) == 11):
        output.exit_error("--organization-id must be 11 digits", as_json=as_json)
    if (folder / f"{name}.crt").exists():
        output.exit_error(f"{folder} has a certificate {name} already", as_json=as_json)
    with output.user_errors(as_json=as_json):
        authority = DevCertificateAuthority(folder)
        lifetime = timedelta(days=days)
        if signing:
            path = authority.issue_signing(name, organization_id, lifetime=lifetime)
        else:
            path = authority.issue(name, [organization_id], hosts=host or (), lifetime=lifetime)
    output.print_record({"certificate": str(path), "private_key": str(path.with_suffix(".key"))}, as_json=as_json)
