"""The command `estelam pki show`: the certificates in the settings, and what is wrong with each."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import typer
from persiantools.jdatetime import JalaliDate

from estelam.auth.inventory import Item, inventory
from estelam.cli import output
from estelam.cli.sections import section_kinds, sections_in_file
from estelam.core.clock import TEHRAN, Clock
from estelam.core.exceptions import UsageError
from estelam.core.settings import SettingsError, SettingsSection, load_settings


def show(sections: list[str] | None, days: int, *, as_json: bool) -> None:
    """Show the certificates of *sections*, default all of the settings file; exit 1 if one has a problem."""
    now = Clock().now()
    with output.user_errors(as_json=as_json):
        kinds = _kinds(sections)
        found = [(name, item) for name, kind in kinds.items() for item in inventory(load_settings(kind), now, days)]
    rows = [_row(name, item, now) for name, item in found]
    if as_json:
        output.print_rows(list(rows[0]) if rows else (), [list(row.values()) for row in rows], as_json=True)
    for number, row in enumerate(() if as_json else rows):
        if number:
            typer.echo()
        output.print_record({name: _text(value) for name, value in row.items()}, as_json=False)
    raise typer.Exit(int(any(item.problem for _, item in found)))


def _kinds(sections: Iterable[str] | None) -> Mapping[str, type[SettingsSection]]:
    known = section_kinds()
    names = list(sections or (name for name in sections_in_file() if name in known))
    if unknown := sorted(set(names) - set(known)):
        raise UsageError(f"{unknown[0]}: no such section of the settings; give one of {', '.join(known)}")
    if not names:
        raise SettingsError("the settings have no section with certificates")
    return {name: known[name] for name in names}


def _row(section: str, item: Item, now: datetime) -> dict[str, Any]:
    return {
        "section": section,
        "use": item.use,
        "file": str(item.file),
        "subject": item.subject,
        "issuer": item.issuer,
        "organization_identifier": list(item.organizations) or None,
        "key": item.key,
        "key_sha256": item.key_sha256,
        "valid_from": _both_calendars(item.valid_from),
        "valid_until": _both_calendars(item.valid_until),
        "days_left": (item.valid_until - now).days if item.valid_until else None,
        "sha256": item.sha256,
        "problem": item.problem,
    }


def _text(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


def _both_calendars(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    day = JalaliDate(instant.astimezone(TEHRAN).date())  # type: ignore[no-untyped-call]
    return f"{instant:%Y-%m-%dT%H:%M:%SZ} ({day.isoformat()})"
