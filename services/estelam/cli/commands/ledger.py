"""Commands of `estelam ledger`: verify a ledger, prove parts of it, and report the inquiries about a data subject."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import typer
from sqlalchemy import Connection

from estelam.cli import output
from estelam.cli.heads import parse_head
from estelam.cli.stores import settings_of
from estelam.core import normalize, validation
from estelam.core.clock import to_datetime
from estelam.core.dates import format_day
from estelam.core.exceptions import UsageError
from estelam.core.files import write_atomic
from estelam.core.keys import HmacKeyring, VerifyingKey, verifying_keys
from estelam.core.model import Subject
from estelam.core.note_keys import KeyKind, NoteKey
from estelam.core.settings import SubjectFields
from estelam.core.subjects import SubjectKind
from estelam.ledger import indexes, key_use, loads, proofs, recall_runs, restores, search, tiles, verify
from estelam.ledger.archives import Archives
from estelam.ledger.errors import LedgerCorruptError, LedgerUncheckedError, LostStateError, fault_of
from estelam.ledger.range_processes import LedgerLocation, verify_in_processes
from estelam.ledger.tables import StoredEntry, annulments, last_checkpoint
from estelam.ledger.verified_rows import VerifiedRows
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import outcome_word
from estelam.receipts.tree import MAX_SIZE, Frontier
from estelam.storage.store import Store

INQUIRY_COLUMNS = ("answered_at", "caller", "method", "outcome", "index", "annulled_by")


def verify_ledger(
    service: str,
    head: str | None,
    heads: Path | None,
    from_: str | None,
    progress: Path | None,
    archive: Path | None,
    jobs: int | None,
    *,
    as_json: bool,
) -> None:
    """Verify the ledger of *service*, and that it continues every given checkpoint; exit 1 if it is INVALID."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        if from_ is not None and progress is not None:
            raise UsageError("--from, --progress: each names where to start; give one of them")
        kept = [parse_head("--head", head)] if head is not None else []
        settings, jobs = settings_of(service), jobs or len(os.sched_getaffinity(0))
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        witnesses = [NoteKey.parse(each.key, KeyKind.COSIGNATURE) for each in settings.witnesses]
        kept += [(each.size, each.root) for each in (_read_heads(heads, service, keys) if heads is not None else [])]
        if progress is not None and os.path.lexists(progress):
            from_ = str(progress)
        since = _starting_point(from_, service, keys) if from_ is not None else None
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            try:
                start = verify.tree_at(connection, *since) if since is not None else Frontier()
                location = LedgerLocation(settings.store, service, archive, start.size, keys)
                in_processes = partial(verify_in_processes, location, jobs) if jobs > 1 else None
                with Archives(connection, service, archive, start.size) as archives:
                    files = archives.connections
                    found = verify.verify_ledger(connection, keys, start, files, witnesses, in_processes)
                    commits, end = _verified(connection, service, found, start, kept, files, as_json=as_json)
                are_indexes_verified = since is None and indexes.check_indexes(connection)
            except LostStateError as error:
                advice = "a checkpoint that was kept before then is no state of this ledger; move its file away"
                hint = describe_loss(connection, service, error.size)
                output.exit_error(f"INVALID: {service}: {error}{hint and f'. {hint}: {advice}'}", as_json=as_json)
            except (LedgerCorruptError, LedgerUncheckedError) as error:
                exit_ledger_fault(service, error, as_json=as_json)
            note = proofs.note_of_size(connection, end.size)
        if progress is not None and note is not None:
            write_atomic(progress, note, durable=True)
    facts = {"valid": True, "service": service, "commits": commits, "entries": end.size, "head": str(end)}
    facts |= {"from": f"{since[0]}:{since[1].hex()}"} if since else {"indexes_verified": are_indexes_verified}
    output.print_record(facts, as_json=as_json)


def _verified(
    connection: Connection,
    service: str,
    found: Iterator[Checkpoint],
    start: Frontier,
    kept: Sequence[tuple[int, bytes]],
    archived: Sequence[Connection],
    *,
    as_json: bool,
) -> tuple[int, Checkpoint]:
    """Verify *found*, the ledger from *start* on, and the *kept* heads; return how many commits, and the last."""
    roots = {root for _, root in kept}
    commits, end, sizes = 0, Checkpoint("", start.size, start.root), {}
    for reached in output.track(found, f"{service}: commits verified", as_json=as_json):
        commits, end = commits + 1, reached
        sizes.update({reached.root: reached.size} if reached.root in roots else {})
    _check_sizes(kept, sizes)
    verify.verify_heads(connection, end, kept, archived)
    return commits, end


def print_checkpoint(service: str, *, as_json: bool) -> None:
    """Print the newest checkpoint of *service*."""
    with ledger_of(service, as_json=as_json) as connection:
        settings = settings_of(service)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        note, found = newest_checkpoint(connection, service, None, keys)
    if not as_json:
        typer.echo(note, nl=False)
        return
    _, key_id = checkpoint.verify(note, keys)
    vkey = str(NoteKey(found.origin, keys[key_id].public))
    facts = {"origin": found.origin, "size": found.size, "root": found.root.hex(), "note": note, "verifier_key": vkey}
    output.print_record(facts, as_json=True)


def export_tiles(service: str, folder: Path, archive: Path | None, *, as_json: bool) -> None:
    """Write the tree of the ledger of *service* as tiles to *folder*."""
    with ledger_of(service, as_json=as_json) as connection:
        settings = settings_of(service)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        note, end = newest_checkpoint(connection, service, None, keys)
        before = tiles.exported(folder, end.origin, keys)
        with Archives(connection, service, archive, before.size) as archives:
            written = tiles.export(connection, folder, note, end, before, archives.connections)
            count = sum(1 for _ in output.track(written, f"{service}: tiles written", as_json=as_json))
    output.print_record({"service": service, "head": str(end), "tiles": count, "folder": str(folder)}, as_json=as_json)


def prove_inclusion(service: str, entry: str, size: int | None, archive: Path | None, *, as_json: bool) -> None:
    """Print the proof that an *entry*, by index or inquiry id, is in the ledger of *service* after *size* entries."""
    index = _index_of(service, entry, archive, as_json=as_json)
    prove, problem = partial(proofs.inclusion, index=index), f"there is no entry {index} in it"
    _prove(service, size, prove, problem, archive, index, as_json=as_json)


def _index_of(service: str, entry: str, archive: Path | None, *, as_json: bool) -> int:
    """Return the index of an *entry* that is given by its index or by the id of its inquiry."""
    plain = normalize.normalize_identifier(entry)
    if re.fullmatch("[0-9]{1,19}", plain) and int(plain) <= MAX_SIZE:
        return int(plain)
    with ledger_of(service, as_json=as_json) as connection, _given_files(connection, service, archive, 0) as files:
        try:
            inquiry_id = UUID(plain)
        except ValueError:
            raise UsageError(f"{entry}: give an index, as a receipt states it, or the id of an inquiry") from None
        if (index := search.index_of_inquiry(connection, inquiry_id, files)) is None:
            raise UsageError(f"{entry}: the ledger of {service}: it has no entry of this inquiry, or it is archived")
        return index


def prove_consistency(service: str, old: int, size: int | None, archive: Path | None, *, as_json: bool) -> None:
    """Print the proof that the ledger of *old* entries is the beginning of that of *size* entries."""
    prove, problem = partial(proofs.consistency, old=old), f"there were never {old} entries before it"
    _prove(service, size, prove, problem, archive, old, as_json=as_json)


def _prove(
    service: str,
    size: int | None,
    prove: Callable[..., str],
    problem: str,
    archive: Path | None,
    start: int,
    *,
    as_json: bool,
) -> None:
    with ledger_of(service, as_json=as_json) as connection:
        settings = settings_of(service)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        note, end = newest_checkpoint(connection, service, size, keys)
        try:
            with _given_files(connection, service, archive, start) as files:
                proof = prove(connection, size=end.size, note=note, archived=files)
        except ValueError:
            raise UsageError(f"the ledger of {service} at its checkpoint of {end.size} entries: {problem}") from None
    if as_json:
        output.print_record({"service": service, "size": end.size, "proof": proof}, as_json=True)
    else:
        typer.echo(proof, nl=False)


@contextlib.contextmanager
def _given_files(
    connection: Connection, service: str, archive: Path | None, start: int
) -> Iterator[Sequence[Connection]]:
    """Yield connections to the files of archived entries from *start* on, if their folder is given.

    Most proofs need none of these entries, so the folder may be missing: where one is needed, the proof is refused.
    """
    if archive is None:
        yield ()
    else:
        with Archives(connection, service, archive, start) as archives:
            yield archives.connections


@contextlib.contextmanager
def ledger_of(service: str, *, as_json: bool) -> Iterator[Connection]:
    """Yield a connection to the ledger of *service*; where the block finds it not valid, print that and exit."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = settings_of(service)
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            try:
                yield connection
            except (LedgerCorruptError, LedgerUncheckedError) as error:
                exit_ledger_fault(service, error, as_json=as_json)


@contextlib.contextmanager
def verified_rows_of(service: str, archive: Path | None, *, as_json: bool) -> Iterator[tuple[Connection, VerifiedRows]]:
    """Yield a connection to the ledger of *service*, and what passes on its rows that may be believed."""
    with ledger_of(service, as_json=as_json) as connection, _given_files(connection, service, archive, 0) as files:
        settings = settings_of(service)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        yield connection, VerifiedRows.of(connection, keys, files)


def describe_loss(connection: Connection, service: str, size: int) -> str:
    """Return which acknowledged restore may have lost the state of *size* entries; empty if none is proven."""
    settings = settings_of(service)
    keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
    with contextlib.suppress(LedgerCorruptError, LedgerUncheckedError):
        if note := restores.loss_before(connection, VerifiedRows.of(connection, keys, ()), size):
            day = format_day(to_datetime(note.noted_at_micros))
            return (
                f"The ledger notes that its end after {note.ledger.partition(':')[0]} entries was lost and that "
                f"{note.operator} acknowledged this on {day} (estelam ledger restores {service})"
            )
    return ""


def exit_ledger_fault(service: str, error: LedgerCorruptError | LedgerUncheckedError, *, as_json: bool) -> NoReturn:
    """Print that the ledger of *service* is INVALID, or was NOT CHECKED, and exit 1 or 21."""
    if isinstance(error, LedgerUncheckedError):
        output.exit_error(f"NOT CHECKED: {service}: {error}", as_json=as_json, code=output.EXIT_UNAVAILABLE)
    output.exit_error(f"INVALID: {service}: {error}", as_json=as_json)


def newest_checkpoint(
    connection: Connection, service: str, size: int | None, keys: Mapping[str, VerifyingKey]
) -> tuple[str, Checkpoint]:
    """Return the newest checkpoint or that of *size* entries, as its note and parsed.

    Raises:
        UsageError: there is none.
        LedgerUncheckedError: it is not signed by one of *keys*.
        LedgerCorruptError: it is malformed, or its signature is wrong.
    """
    note = last_checkpoint(connection) if size is None else proofs.note_of_size(connection, size)
    if note is None:
        where = "it is empty" if size is None else f"no commit ended with {size} entries"
        raise UsageError(f"the ledger of {service} has no such checkpoint: {where}")
    try:
        return note, checkpoint.verify(note, keys)[0]
    except InvalidReceipt as error:
        raise fault_of(error, "its checkpoint") from None


def subject_report(service: str, identifier: str, kind: SubjectKind, archive: Path | None, *, as_json: bool) -> None:
    """Print every inquiry about one identifier in the ledger of *service*, and what was searched."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = settings_of(service)
        subject = _subject(service, settings.SUBJECTS, kind, identifier)
        keyring = HmacKeyring.load(settings.hmac_keyring)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        with ledger_of(service, as_json=as_json) as connection, Archives(connection, service, archive) as archives:
            searched = search.size(connection)
            rows_of = VerifiedRows.of(connection, keys, archives.connections)
            found = rows_of(search.entries_about(connection, keyring, subject, archives.connections))
            tracked = output.track(found, f"{service}: entries found", as_json=as_json)
            annulled = annulments(connection)
            rows = [(*_row(stored), annulled.get(stored.index)) for stored in tracked]
            gaps = key_use.unsearchable(connection, keyring)
    if as_json:
        inquiries = [dict(zip(INQUIRY_COLUMNS, row, strict=True)) for row in rows]
        facts: dict[str, Any] = {"service": service, "kind": kind, "searched_entries": searched, "keys": keyring.ids}
        not_searched = [each._asdict() for each in gaps]
        output.print_record({**facts, "inquiries": inquiries, "not_searched": not_searched}, as_json=True)
        return
    if rows:
        output.print_rows(INQUIRY_COLUMNS, rows, as_json=False)
    found_text = f"{output.counted(len(rows), 'inquiry', 'inquiries')} found" if rows else "none"
    output.print_line(output.searched(searched, keyring.ids, found_text))
    for gap in gaps:
        output.print_line(f"NOT SEARCHED: {gap}")


def list_loads(service: str, index: int | None, archive: Path | None, *, as_json: bool) -> None:
    """Print the loads that the ledger of *service* notes, or the one that entry *index* was answered from."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        with verified_rows_of(service, archive, as_json=as_json) as (connection, rows_of):
            entries, noted = search.size(connection), list(loads.notes(connection, rows_of))
        if index is not None:
            if index >= entries:
                raise UsageError(f"--index {index}: the ledger of {service} has {entries} entries, numbered from 0")
            noted = [note for note in noted if note.index <= index][-1:]
    columns = ("load", "feed", "feed_number", "cut_at", "rows", "sha256", "noted_at", "index")
    rows = [_load_row(note, columns[:6]) for note in noted]
    output.print_rows(columns, rows, as_json=as_json)


def list_recalls(service: str, archive: Path | None, *, as_json: bool) -> None:
    """Print the runs of recall that the ledger of *service* notes."""
    with verified_rows_of(service, archive, as_json=as_json) as (connection, rows_of):
        noted = list(recall_runs.notes(connection, rows_of))
    columns = ("run_at", "after_load", "newest_load", "answers", "noted_at", "index")
    rows = [
        (
            to_datetime(note.run.run_at_micros),
            *note.run[1:],
            to_datetime(note.noted_at_micros),
            note.index,
        )
        for note in noted
    ]
    output.print_rows(columns, rows, as_json=as_json)


def _load_row(note: loads.LoadNote, names: Sequence[str]) -> list[Any]:
    facts = {**note.facts, "cut_at": (cut_at := note.facts.get("cut_at")) and datetime.fromisoformat(cut_at)}
    return [*map(facts.get, names), to_datetime(note.noted_at_micros), note.index]


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


def _check_sizes(heads: Iterable[tuple[int, bytes]], sizes: Mapping[bytes, int]) -> None:
    """Check that no head has the root of another size: it was mistyped, and accuses nobody.

    Raises:
        UsageError: one has.
    """
    for size, root in heads:
        if (known := sizes.get(root, size)) != size:
            raise UsageError(f"head {size}:{root.hex()}: this root is that of {known} entries, not of {size}")


def _read_heads(path: Path, service: str, keys: Mapping[str, VerifyingKey]) -> list[Checkpoint]:
    """Return the checkpoints in a file, each of *service* and signed by one of *keys*: another proves nothing here.

    Raises:
        UsageError: the file holds none, something else, one of another service's ledger, or one not signed so.
        OSError: the file can't be read.
    """
    output.check_readable(path)
    try:
        notes = list(checkpoint.parse_all(path.read_text("utf-8")))
        origins = [checkpoint.parse(note).checkpoint.origin for note in notes]
        for origin in origins:
            if checkpoint.origin_of(service, checkpoint.organization_of(origin)) != origin:
                raise UsageError(f"{path}: holds a checkpoint of the ledger {origin}, not of {service}")
        found = [checkpoint.verify(note, keys)[0] for note in notes]
    except (ValueError, InvalidReceipt) as error:
        raise UsageError(f"{path}: {error}; give checkpoints exactly as `ledger checkpoint` prints them") from None
    if not found:
        raise UsageError(f"{path}: holds no checkpoint")
    return found


def _starting_point(text: str, service: str, keys: Mapping[str, VerifyingKey]) -> tuple[int, bytes]:
    if ":" in text and not Path(text).exists():
        return parse_head("--from", text)
    newest = max(_read_heads(Path(text), service, keys), key=lambda each: each.size)
    return newest.size, newest.root


def _row(stored: StoredEntry) -> tuple[datetime, str, str, str, int]:
    entry = stored.entry
    outcome = entry.refusal or outcome_word(entry)
    return to_datetime(entry.answered_at_micros), entry.caller, entry.method, outcome, stored.index
