"""Commands of `estelam keyring`: show, add, use and destroy the HMAC keys of a service."""

import re
import secrets
from pathlib import Path
from typing import Any

from estelam.cli import output
from estelam.cli.commands.ledger import verified_rows_of
from estelam.cli.ledger_notes import check_texts, ledger_writer
from estelam.cli.stores import settings_of
from estelam.core import keyring_file
from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError
from estelam.core.keyring_file import KeyLine
from estelam.ledger import key_destructions, key_use


def show_keys(service: str, archive: Path | None, *, as_json: bool) -> None:
    """Print the keys of *service*, oldest first."""
    with verified_rows_of(service, archive, as_json=as_json) as (connection, rows_of):
        lines = keyring_file.read(settings_of(service).hmac_keyring)
        uses = {use.key_id: use for use in key_use.uses(connection)}
        destroyed_by = {note.key_id: note.operator for note in key_destructions.notes(connection, rows_of)}
    rows: list[tuple[Any, ...]] = []
    for line in lines:
        use = uses.get(line.key_id)
        state = "destroyed" if line.key is None else "in use" if line is lines[-1] else "known"
        used = (use.first_index, use.first_used_at) if use else (None, None)
        operator = destroyed_by.get(line.key_id) if line.key is None else None
        rows.append((line.key_id, state, line.destroyed_on, operator, *used))
    columns = ("key", "state", "destroyed_on", "destroyed_by", "first_index", "first_used_at")
    output.print_rows(columns, rows, as_json=as_json)


def add_key(service: str, key_id: str, *, as_json: bool) -> None:
    """Add a new key to the keyring of *service*, before all others."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        if not re.fullmatch(keyring_file.ID, key_id):
            raise UsageError(f"{key_id}: give an id of letters, digits, dots, hyphens and underscores")
        path, lines = _keyring(service)
        if any(line.key_id == key_id for line in lines):
            raise UsageError(f"{key_id}: {path} has a key of this id; give the new one another")
        keyring_file.write(path, [KeyLine(key_id, secrets.token_bytes(32)), *lines])
    output.print_record({"service": service, "key": key_id, "state": "known"}, as_json=as_json)


def use_key(service: str, key_id: str, *, as_json: bool) -> None:
    """Make a key the last one in the keyring of *service*."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        path, lines = _keyring(service)
        line = _known(path, lines, key_id)
        keyring_file.write(path, [*(other for other in lines if other is not line), line])
    output.print_record({"service": service, "key": key_id, "state": "in use"}, as_json=as_json)


def destroy_key(service: str, key_id: str, operator: str, reason: str, *, irreversibly: bool, as_json: bool) -> None:
    """Replace a key in the keyring of *service* by the date of its destruction, which its ledger notes.

    The note is committed first: a crash in between leaves the key, and the command run again writes a second note.
    """
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        check_texts(operator=operator, reason=reason)
        settings, clock = settings_of(service), Clock()
        path, lines = _keyring(service)
        line = _known(path, lines, key_id)
        if line is lines[-1]:
            raise UsageError(f"{key_id}: new entries are hashed with it; let another key be used first")
        if not irreversibly:
            raise UsageError(f"{key_id}: nobody can find its entries again; if that is meant, give --irreversibly")
        with ledger_writer(settings, clock) as (connection, writer):
            note = key_destructions.fact_note(key_id, micros=clock.micros(), operator=operator, reason=reason)
            writer.append_at_once(connection, notes=[note])
        destroyed = KeyLine(key_id, None, clock.now().date())
        keyring_file.write(path, [destroyed if other is line else other for other in lines])
    facts = {"service": service, "key": key_id, "state": "destroyed", "destroyed_on": destroyed.destroyed_on}
    output.print_record(facts, as_json=as_json)


def _keyring(service: str) -> tuple[Path, list[KeyLine]]:
    path = settings_of(service).hmac_keyring
    return path, keyring_file.read(path)


def _known(path: Path, lines: list[KeyLine], key_id: str) -> KeyLine:
    found = next((line for line in lines if line.key_id == key_id), None)
    if found is None:
        raise UsageError(f"{key_id}: {path} has the keys {', '.join(line.key_id for line in lines)}")
    if found.key is None:
        raise UsageError(f"{key_id}: the key was destroyed on {found.destroyed_on}")
    return found
