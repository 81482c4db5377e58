"""The command `estelam pki show`: certificates in the settings or in files, and what is wrong with each."""

from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from estelam.auth.certificate import issued_name
from estelam.auth.inventory import Item, file_inventory, inventory
from estelam.catalogue.access_source import AccessSource
from estelam.cli import output
from estelam.cli.sections import section_kinds, sections_in_file
from estelam.core.clock import Clock
from estelam.core.names import unknown_name
from estelam.core.settings import SettingsError, load_settings

_COLUMNS = ("section", "name", "use", "subject", "key", "days_left", "valid_until", "problem")
"""The columns of the table, which has one line for each certificate."""


def show(names: list[str] | None, days: int, *, details: bool, access: Path | None, as_json: bool) -> None:
    """Show the certificates of *names*, sections or files, default all sections; exit 1 if one has a problem.

    With *access*, an access table or a catalogue's folder, each is shown with whether its deny list names it.
    """
    now = Clock().now()
    with output.user_errors(as_json=as_json):
        denials = {denial.name for denial in AccessSource(access).load().deny} if access else set()
        found = [(section, item) for name in names or _sections() for section, item in _items(name, now, days)]
    rows = [_facts(section, item, now) for section, item in found]
    if access:
        for row, (_, item) in zip(rows, found, strict=True):
            row["denied"] = not denials.isdisjoint(_denial_names(item))
    if details and not as_json:
        for number, row in enumerate(rows):
            if number:
                typer.echo()
            output.print_record(row, as_json=False)
    else:
        columns = list(rows[0]) if as_json and rows else (*_COLUMNS, *(["denied"] if access else []))
        output.print_rows(columns, [[row[name] for name in columns] for row in rows], as_json=as_json)
    raise typer.Exit(int(any(item.problem for _, item in found)))


def _denial_names(item: Item) -> set[str]:
    """Return what a deny list may name the certificate by, as `ClientCertificate.denial_names`; of a list, nothing."""
    if item.key_sha256 is None or item.issuer is None or item.serial is None:
        return set()
    return {item.key_sha256, issued_name(item.issuer, int(item.serial, 16))}


def _sections() -> list[str]:
    known = section_kinds()
    if names := [name for name in sections_in_file() if name in known]:
        return names
    raise SettingsError("the settings have no section with certificates; name a file, or set ESTELAM_CONFIG")


def _items(name: str, now: datetime, days: int) -> list[tuple[str | None, Item]]:
    known = section_kinds()
    if name in known:
        return [(name, item) for item in inventory(load_settings(known[name]), now, days)]
    if Path(name).exists():
        return [(None, item) for item in file_inventory(Path(name), now, days)]
    raise unknown_name("file or section of the settings", name, list(known))


def _facts(section: str | None, item: Item, now: datetime) -> dict[str, Any]:
    return {
        "section": section,
        "name": item.file.name,
        "use": item.use,
        "file": str(item.file),
        "subject": item.subject,
        "issuer": item.issuer,
        "serial": item.serial,
        "organization_identifier": list(item.organizations) or None,
        "key": item.key,
        "key_sha256": item.key_sha256,
        "valid_from": item.valid_from,
        "valid_until": item.valid_until,
        "days_left": (item.valid_until - now).days if item.valid_until else None,
        "sha256": item.sha256,
        "problem": item.problem,
    }
