"""Commands of `estelam keyring`: show, add, use and destroy the HMAC keys of a service."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from estelam.cli import output
from estelam.cli.commands.ledger import ledger_of, verified_rows_of
from estelam.cli.ledger_notes import check_texts, ledger_writer
from estelam.cli.stores import settings_of
from estelam.core import keyring_file
from estelam.core.clock import Clock
from estelam.core.dates import format_both, today
from estelam.core.exceptions import UsageError
from estelam.core.keyring_file import KeyLine
from estelam.ledger import key_destructions, key_use
from estelam.ledger.key_destructions import KeyDestructionNote
from estelam.ledger.key_use import KeyUse


def show_keys(service: str, archive: Path | None, *, as_json: bool) -> None:
    """Print the keys of *service*, oldest first."""
    with verified_rows_of(service, archive, as_json=as_json) as (connection, rows_of):
        lines = keyring_file.read(settings_of(service).hmac_keyring)
        uses = {use.key_id: use for use in key_use.uses(connection)}
        noted = {note.key_id: note for note in key_destructions.notes(connection, rows_of)}
    rows: list[tuple[Any, ...]] = []
    for line in lines:
        use, note = uses.get(line.key_id), noted.get(line.key_id)
        destroyed = (line.destroyed_on or (note.destroyed_on if note else None), note.operator if note else None)
        used = (use.first_index, use.first_used_at, use.next_used_at) if use else (None, None, None)
        rows.append((line.key_id, _state(line, lines, note), *destroyed, *used))
    columns = ("key", "state", "destroyed_on", "destroyed_by", "first_index", "first_used_at", "used_until")
    output.print_rows(columns, rows, as_json=as_json)


def _state(line: KeyLine, lines: Sequence[KeyLine], note: KeyDestructionNote | None) -> str:
    if line.key is None:
        return "destroyed" if note else "destroyed, not noted"
    if note:
        return "destroyed, but present"
    return "in use" if line is lines[-1] else "known"


def add_key(service: str, key_id: str, *, as_json: bool) -> None:
    """Add a new key to the keyring of *service*, before all others."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        if not re.fullmatch(keyring_file.ID, key_id):
            raise UsageError(f"{key_id}: give an id of letters, digits, dots, hyphens and underscores")
        path, lines = _keyring(service)
        if any(line.key_id == key_id for line in lines):
            raise UsageError(f"{key_id}: {path} has a key of this id; give the new one another")
        _require_not_destroyed(service, key_id, as_json=as_json)
        keyring_file.write(path, [KeyLine(key_id, secrets.token_bytes(32)), *lines])
    output.print_record({"service": service, "key": key_id, "state": "known"}, as_json=as_json)


def use_key(service: str, key_id: str, *, as_json: bool) -> None:
    """Make a key the last one in the keyring of *service*."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        path, lines = _keyring(service)
        line = _line(path, lines, key_id)
        if line.key is None:
            raise UsageError(_was_destroyed(line))
        _require_not_destroyed(service, key_id, as_json=as_json)
        keyring_file.write(path, [*(other for other in lines if other is not line), line])
    output.print_record({"service": service, "key": key_id, "state": "in use"}, as_json=as_json)


def destroy_key(
    service: str,
    key_id: str,
    operator: str,
    reason: str,
    *,
    irreversibly: bool,
    within_retention: bool,
    as_json: bool,
) -> None:
    """Replace a key in the keyring of *service* by the date of its destruction, which its ledger notes.

    The note is committed first: a crash in between leaves the key, and the command run again writes a second note.
    """
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        check_texts(operator=operator, reason=reason)
        settings, clock = settings_of(service), Clock()
        path, lines = _keyring(service)
        line = _line(path, lines, key_id)
        if line is lines[-1]:
            raise UsageError(f"{key_id}: new entries are hashed with it; let another key be used first")
        with ledger_writer(settings, clock) as (connection, writer):
            use = next((use for use in key_use.uses(connection) if use.key_id == key_id), None)
            if line.key is None:
                _require_no_note(connection, line)
            else:
                _require_consent(line, use, clock, irreversibly=irreversibly, within_retention=within_retention)
            note = key_destructions.fact_note(key_id, micros=clock.micros(), operator=operator, reason=reason)
            writer.append_at_once(connection, notes=[note])
        destroyed = KeyLine(key_id, None, line.destroyed_on or today(clock.now()))
        keyring_file.write(path, [destroyed if other is line else other for other in lines])
    facts = {"service": service, "key": key_id, "state": "destroyed", "destroyed_on": destroyed.destroyed_on}
    output.print_record(facts | {"not_searched": _entries(use)}, as_json=as_json)


def _require_not_destroyed(service: str, key_id: str, *, as_json: bool) -> None:
    """Check that the ledger notes no destroyed key of this id: the service would not start with one."""
    with ledger_of(service, as_json=as_json) as connection:
        noted = [note for note in key_destructions.notes(connection, iter) if note.key_id == key_id]
    if noted:
        note = noted[-1]
        raise UsageError(
            f"{key_id}: {note.operator} destroyed the key of this id on {format_both(note.destroyed_on)} by note "
            f"{note.index:,} of the ledger ({note.reason}); give a new key another id"
        )


def _require_no_note(connection: Connection, line: KeyLine) -> None:
    """Check that the ledger lost the note of a destroyed key, as in a restore: then it is noted anew."""
    if any(note.key_id == line.key_id for note in key_destructions.notes(connection, iter)):
        raise UsageError(_was_destroyed(line))


def _was_destroyed(line: KeyLine) -> str:
    on = f" on {format_both(line.destroyed_on)}" if line.destroyed_on else ""
    return f"{line.key_id}: the key was destroyed{on}"


def _require_consent(
    line: KeyLine, use: KeyUse | None, clock: Clock, *, irreversibly: bool, within_retention: bool
) -> None:
    """Check that the options confirm what the destruction of a key cuts off."""
    cut_off = f"{line.key_id}: nobody could find {_entries(use)} again"
    if use and (use.next_used_at or clock.now()) > clock.now() - key_destructions.RETENTION and not within_retention:
        raise UsageError(
            f"{cut_off}, and the newest of them are not 10 years old; if that is meant, give --within-retention"
        )
    if not irreversibly:
        raise UsageError(f"{cut_off}; if that is meant, give --irreversibly")


def _entries(use: KeyUse | None) -> str:
    return str(use) if use else "no entries"


def _keyring(service: str) -> tuple[Path, list[KeyLine]]:
    path = settings_of(service).hmac_keyring
    return path, keyring_file.read(path)


def _line(path: Path, lines: list[KeyLine], key_id: str) -> KeyLine:
    found = next((line for line in lines if line.key_id == key_id), None)
    if found is None:
        raise UsageError(f"{key_id}: {path} has the keys {', '.join(line.key_id for line in lines)}")
    return found
