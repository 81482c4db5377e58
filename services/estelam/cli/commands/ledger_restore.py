"""Commands of `estelam ledger` about restored ledgers: acknowledge a restore, and list the acknowledged ones."""

from pathlib import Path

from estelam.cli import output
from estelam.cli.commands.ledger import verified_rows_of
from estelam.cli.ledger_notes import check_texts, ledger_writer
from estelam.cli.stores import settings_of
from estelam.core.clock import Clock, to_datetime
from estelam.core.exceptions import UsageError
from estelam.core.keys import verifying_keys
from estelam.ledger import kept, restores


def acknowledge_restore(service: str, operator: str, reason: str, *, as_json: bool) -> None:
    """Note in the ledger of *service* that its end is lost, and set aside the kept checkpoint and the last commit's.

    The note is committed first: a crash in between leaves the service refusing to start, and a second note.
    """
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings, clock = settings_of(service), Clock()
        check_texts(operator=operator, reason=reason)
        path, last_commit = kept.kept_path(settings), kept.last_commit_path(settings)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        with ledger_writer(settings, clock) as (connection, writer):
            found = kept.mismatch(connection, path, last_commit, keys, writer.origin) if path else None
            if path is None or found is None:
                raise UsageError(
                    f"the ledger of {service} continues the checkpoint that was kept, if any; nothing is done"
                )
            note = restores.fact_note(found, micros=clock.micros(), operator=operator, reason=reason)
            writer.append_at_once(connection, notes=[note])
        aside = [kept.set_aside(file) for file in (path, last_commit) if file and file.exists()]
    output.print_record(
        {
            "service": service,
            "kept": found.kept,
            "ledger": found.ledger,
            "problem": found.problem,
            "moved_to": str(aside[0]),
        },
        as_json=as_json,
    )


def list_restores(service: str, archive: Path | None, *, as_json: bool) -> None:
    """Print the acknowledged restores that the ledger of *service* notes."""
    with verified_rows_of(service, archive, as_json=as_json) as (connection, rows_of):
        noted = list(restores.notes(connection, rows_of))
    columns = ("noted_at", "operator", "reason", "kept", "ledger", "index")
    rows = [
        (to_datetime(note.noted_at_micros), note.operator, note.reason, note.kept, note.ledger, note.index)
        for note in noted
    ]
    output.print_rows(columns, rows, as_json=as_json)
