"""Commands of `estelam ledger`: verify a ledger, and report the inquiries about a data subject."""

import contextlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import typer

from estelam.cli import output
from estelam.cli.stores import settings_of
from estelam.core import normalize, validation
from estelam.core.clock import to_datetime
from estelam.core.exceptions import UsageError
from estelam.core.keys import HmacKeyring, verifying_keys
from estelam.core.model import Subject
from estelam.core.settings import SubjectFields
from estelam.core.subjects import SubjectKind
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import loads, recall_runs, search, verify
from estelam.ledger.tables import GENESIS
from estelam.storage.store import Store

INQUIRY_COLUMNS = ("answered_at", "caller", "method", "outcome", "entry", "annulled_by")


def verify_ledger(service: str, head: str | None, *, as_json: bool) -> None:
    """Verify the ledger of *service*, and that it contains *head*; exit 1 if it is INVALID."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        wanted = _parse_head(head) if head is not None else None
        settings = settings_of(service)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        last = verify.Head(0, GENESIS, 0)
        seen: dict[bytes, int] = {GENESIS: 0}
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            try:
                heads = verify.verify_ledger(connection, keys)
                for last in output.track(heads, f"{service}: blocks verified", as_json=as_json):
                    if wanted and last.hash == wanted[1]:
                        seen[last.hash] = last.number
            except verify.LedgerCorruptError as error:
                output.exit_error(f"INVALID: {service}: {error}", as_json=as_json)
        if wanted:
            number, digest = wanted
            if digest not in seen:
                absent = f"INVALID: {service}: head {number}:{digest.hex()} is not in this ledger"
                advice = "if it is exactly as it was published, the entries after it were removed or rewritten"
                output.exit_error(f"{absent}; {advice}", as_json=as_json)
            if seen[digest] != number:
                raise UsageError(f"--head: this hash is the head of block {seen[digest]}, not {number}")
    facts = {"valid": True, "service": service, "blocks": last.number, "entries": last.entries, "head": str(last)}
    output.print_record(facts, as_json=as_json)


def subject_report(service: str, identifier: str, kind: SubjectKind, *, as_json: bool) -> None:
    """Print every inquiry about one identifier in the ledger of *service*, and what was searched."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = settings_of(service)
        subject = _subject(service, settings.SUBJECTS, kind, identifier)
        keyring = HmacKeyring.load(settings.hmac_keyring)
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            searched = search.last_sequence(connection)
            found = search.entries_about(connection, keyring, subject)
            tracked = output.track(found, f"{service}: entries found", as_json=as_json)
            annulled = search.annulments(connection)
            rows = [(*_row(entry), annulled.get(entry.sequence)) for entry in tracked]
    if as_json:
        inquiries = [dict(zip(INQUIRY_COLUMNS, row, strict=True)) for row in rows]
        facts: dict[str, Any] = {"service": service, "kind": kind, "searched_entries": searched, "keys": keyring.ids}
        output.print_record({**facts, "inquiries": inquiries}, as_json=True)
        return
    if rows:
        output.print_rows(INQUIRY_COLUMNS, rows, as_json=False)
    typer.echo(f"searched {searched:,} entries under keys {', '.join(keyring.ids)}: {len(rows) or 'none'}")


def list_loads(service: str, entry: int | None, *, as_json: bool) -> None:
    """Print the loads that the ledger of *service* notes, or the one that *entry* was answered from."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = settings_of(service)
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            last, noted = search.last_sequence(connection), list(loads.notes(connection))
        if entry is not None:
            if entry > last:
                raise UsageError(f"--entry {entry}: the ledger of {service} has {last} entries")
            noted = [note for note in noted if note.entry <= entry][-1:]
    columns = ("load", "feed", "feed_number", "cut_at", "rows", "sha256", "noted_at", "entry")
    rows = [_load_row(note, columns[:6]) for note in noted]
    output.print_rows(columns, rows, as_json=as_json)


def list_recalls(service: str, *, as_json: bool) -> None:
    """Print the runs of recall that the ledger of *service* notes."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = settings_of(service)
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            noted = list(recall_runs.notes(connection))
    columns = ("run_at", "after_load", "newest_load", "answers", "noted_at", "entry")
    rows = [
        (
            to_datetime(note.run.run_at_micros),
            *note.run[1:],
            to_datetime(note.noted_at_micros),
            note.entry,
        )
        for note in noted
    ]
    output.print_rows(columns, rows, as_json=as_json)


def _load_row(note: loads.LoadNote, names: Sequence[str]) -> list[Any]:
    facts = {**note.facts, "cut_at": (cut_at := note.facts.get("cut_at")) and datetime.fromisoformat(cut_at)}
    return [*map(facts.get, names), to_datetime(note.noted_at_micros), note.entry]


def _subject(service: str, fields: SubjectFields, kind: SubjectKind, identifier: str) -> Subject:
    """Return the subject to search for.

    Raises:
        UsageError: the ledger of *service* indexes no such kind, or the contract's rules reject the identifier.
    """
    if kind not in fields:
        raise UsageError(f"--kind {kind}: the ledger of {service} indexes {' and '.join(fields)} only")
    digits = normalize.normalize_digits(identifier)
    violations = {each: validation.field_violation(*field, digits) for each, field in fields.items()}
    if violations[kind]:
        fits = [f"--kind {each}" for each, violation in violations.items() if violation is None]
        advice = f"; it has the form of {' and '.join(fits)}" if fits else ""
        raise UsageError(f"{digits}: as a {kind} it {violations[kind]}{advice}")
    return Subject(kind, digits)


def _parse_head(text: str) -> tuple[int, bytes]:
    """Return number and hash of a head as `ledger verify` prints it, whatever case, digits or blanks it was typed with.

    Raises:
        UsageError: *text* is no head, so that it proves nothing of the ledger.
    """
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", "".join(normalize.normalize_digits(text).lower().split()))
    if found is None:
        raise UsageError(
            f"--head {text}: give NUMBER:HASH with all 64 hexadecimal digits, as `ledger verify` prints it"
        )
    return int(found[1]), bytes.fromhex(found[2])


def _row(entry: pb.Entry) -> tuple[datetime, str, str, str, int]:
    outcome = entry.refusal or pb.Outcome.Name(entry.outcome).removeprefix("OUTCOME_")
    return to_datetime(entry.answered_at_micros), entry.caller, entry.method, outcome, entry.sequence
