"""Whatever a ledger holds, also under valid signatures, each reader ends in an error of its own."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import Connection, insert, select, update

from development.sandbox import Sandbox
from estelam.catalogue.changes import from_notice
from estelam.core.clock import Clock
from estelam.core.exceptions import UserFacingError
from estelam.core.model import person_subject
from estelam.inquiry.v1.inquiry_pb2 import OUTCOME_NOTED, Entry, SearchKeys
from estelam.ledger import confirmations, key_destructions, loads, recall_runs, restores, search, verify
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import (
    NOTICES,
    SUBJECTS_OF_NOTES,
    NoteKind,
    annulment_table,
    checkpoint_table,
    entry_table,
    fact_note_table,
    index_key,
)
from estelam.ledger.verified_rows import VerifiedRows
from quality import commands
from quality.monitor import ledger_collector
from quality.settings import QualitySettings
from tests.e2e.conftest import CommandLine
from tests.integration.quality.monitored_services import NOTES, settings_of, traffic
from tests.integration.storage.test_ledger import CALLER, Writer

pytestmark = pytest.mark.slow

SPOILED = 1
"""The index of the entry that is spoiled, one of three."""
_DEEP = "[" * 5000
_NOTICES = ("", "[]", "{}", "5", '"load"', _DEEP, '{"%s": "x"}', '{"%s": 1e999}', '{"%s": null}', '{"%s": 1}')
_OF_KIND = {
    NoteKind.LOAD: (
        '{"load": 1, "cut_at": 5}',
        '{"load": 1, "coverage": 5}',
        '{"load": 1, "coverage": {"since": "1400-01-01", "as_of": "2026-01-01T00:00:00"}}',
    ),
    NoteKind.RESTORE: ('{"restore": 1, "kept": "x", "ledger": "x", "operator": "x", "reason": "x"}',),
    NoteKind.KEY_DESTRUCTION: ('{"key_destruction": 1, "key": [], "operator": 5, "reason": {}}',),
    NoteKind.RECALL: ('{"recall": 99999999999999999999, "after": 1, "newest": 1, "answers": 1}',),
}
_OF_CATALOGUE = (
    '{"kind": [], "name": "x", "before": null, "after": null}',
    '{"kind": "grants", "name": "x", "before": 5, "after": [1]}',
)


def _entry(**changes: Any) -> Callable[[Entry, SearchKeys], object]:
    def spoil(entry: Entry, _: SearchKeys) -> None:
        for name, value in changes.items():
            setattr(entry, name, value)

    return spoil


def _noted(notice: str, subject: bytes) -> Callable[[Entry, SearchKeys], object]:
    def spoil(entry: Entry, keys: SearchKeys) -> None:
        entry.outcome, entry.notice = OUTCOME_NOTED, notice
        keys.subjects[:] = [subject]

    return spoil


ENTRIES: dict[str, Callable[[Entry, SearchKeys], object]] = {
    "no outcome": _entry(outcome=0),
    "unknown outcome": _entry(outcome=99),
    "no inquiry": _entry(inquiry_id=b""),
    "long inquiry": _entry(inquiry_id=bytes(17)),
    "late": _entry(answered_at_micros=2**64 - 1),
    "annuls itself": _entry(annuls=SPOILED),
    "annuls a later one": _entry(annuls=2**64 - 1),
    "annuls without a row": _entry(annuls=0),
    "no subject": lambda _, keys: keys.ClearField("subjects"),
    "short subject": lambda _, keys: keys.subjects.__setitem__(0, b"1"),
    "empty subject": lambda _, keys: keys.subjects.__setitem__(0, b""),
    "unknown refusal": _entry(outcome=4, refusal="\0?"),
    **{
        f"{kind}: {notice[:30]}": _noted(notice.replace("%s", kind), SUBJECTS_OF_NOTES[kind])
        for kind in NoteKind
        for notice in (*_NOTICES, *_OF_KIND[kind])
    },
    **{f"notice: {notice[:30]}": _noted(notice, NOTICES) for notice in (*_NOTICES, *_OF_CATALOGUE)},
}
ROWS: dict[str, Callable[[Connection], object]] = {
    "leaf of another type": lambda c: c.exec_driver_sql("UPDATE ledger.entry SET leaf = 'text'"),
    "keys of another type": lambda c: c.exec_driver_sql("UPDATE ledger.entry SET search_keys = 5"),
    "keys cut off": lambda c: c.execute(update(entry_table).values(search_keys=b"\x0a\x20")),
    "note of another type": lambda c: c.exec_driver_sql("UPDATE ledger.checkpoint SET note = x'00'"),
    "empty note": lambda c: c.execute(update(checkpoint_table).values(note="")),
    "frontier of another type": lambda c: c.exec_driver_sql("UPDATE ledger.checkpoint SET frontier = 'text'"),
    "time of another type": lambda c: c.exec_driver_sql("UPDATE ledger.checkpoint SET signed_at_micros = 'text'"),
    "annulment of another type": lambda c: c.exec_driver_sql("INSERT INTO ledger.annulment VALUES (1, 'text')"),
    "node of another type": lambda c: c.exec_driver_sql("INSERT INTO ledger.node VALUES (8, 0, 'text')"),
}


@pytest.fixture
def writer(sandbox: Sandbox) -> Iterator[Writer]:
    """A ledger of three entries."""
    writer = Writer(sandbox)
    with closing(writer.store):
        writer.write(1, 2, 3)
        yield writer


def spoil_entry(connection: Connection, writer: Writer, spoil: Callable[[Entry, SearchKeys], object]) -> None:
    """Change an entry, what it commits to and the rows that lead to it, and sign all of it."""
    index = entry_table.c["index"] == SPOILED
    row = connection.execute(select(entry_table).where(index)).one()
    entry, keys = Entry.FromString(row.leaf), SearchKeys.FromString(row.search_keys)
    spoil(entry, keys)
    entry.keys_commitment = hashlib.sha256(keys.SerializeToString()).digest()
    leaf, search_keys = entry.SerializeToString(), keys.SerializeToString()
    first = index_key(keys.subjects[0]) if keys.subjects and len(keys.subjects[0]) == 32 else row.subject_1
    connection.execute(update(entry_table).where(index).values(leaf=leaf, search_keys=search_keys, subject_1=first))
    for kind, subject in SUBJECTS_OF_NOTES.items():
        if [*keys.subjects] == [subject]:
            connection.execute(insert(fact_note_table).values(index=SPOILED, kind=kind.value, number=1))
    writer.sign_anew(connection)


def readers(writer: Writer) -> dict[str, Callable[[Connection], object]]:
    def rows(connection: Connection) -> VerifiedRows:
        return VerifiedRows.of(connection, writer.keys)

    def confirmed(connection: Connection) -> object:
        question = writer.keyring.hash(person_subject("9990000018"))
        asked = [(CALLER.organization_id, question)]
        return confirmations.recent(connection, asked, writer.commits(), since_micros=0, until_micros=2**62)

    person = person_subject("9990000018")
    return {
        "verify": lambda c: list(verify.verify_ledger(c, writer.keys)),
        "start": lambda c: verify.tree_at(c, 3, bytes(32)),
        "report": lambda c: list(rows(c)(search.entries_about(c, writer.keyring, person))),
        "all": lambda c: list(rows(c)(search.entries_between(c, 0, None))),
        "loads": lambda c: list(loads.notes(c, rows(c))),
        "recalls": lambda c: list(recall_runs.notes(c, rows(c))),
        "restores": lambda c: restores.loss_before(c, rows(c), 9),
        "destroyed keys": lambda c: list(key_destructions.notes(c, rows(c))),
        "catalogue": lambda c: [change.details for _, change in search.catalogue_notices(c, rows(c), from_notice)],
        "confirmations": confirmed,
    }


def unexpected(writer: Writer, sandbox: Sandbox, folder: Path) -> list[str]:
    """Return each reader that ends in an error that is not of its own."""
    found = []
    with writer.store.transaction() as connection:
        for name, read in readers(writer).items():
            try:
                read(connection)
            except UserFacingError:
                pass
            except Exception as error:  # noqa: BLE001 - any other is what is looked for
                found.append(f"{name}: {error!r}")
    try:
        ledger_collector.collect_ledger(settings_of(sandbox, folder, {}, probe=()), NOTES, Clock())
    except UserFacingError:
        pass
    except Exception as error:  # noqa: BLE001 - as above
        found.append(f"collection: {error!r}")
    return found


@pytest.mark.parametrize("spoil", ENTRIES)
def test_spoiled_entry(writer: Writer, sandbox: Sandbox, tmp_path: Path, spoil: str) -> None:
    """An entry that its provider signed, and that no reader can make sense of, ends none in an unknown error."""
    with writer.store.transaction() as connection:
        spoil_entry(connection, writer, ENTRIES[spoil])

    assert [] == unexpected(writer, sandbox, tmp_path)


@pytest.mark.parametrize("spoil", ROWS)
def test_spoiled_row(writer: Writer, sandbox: Sandbox, tmp_path: Path, spoil: str) -> None:
    """A row that holds what its column never does ends no reader in an unknown error, and is INVALID."""
    with writer.store.transaction() as connection:
        ROWS[spoil](connection)

    assert [] == unexpected(writer, sandbox, tmp_path)
    with pytest.raises(LedgerCorruptError):
        writer.heads()


@pytest.mark.parametrize("later", [False, True])
def test_entry_annulled_twice(writer: Writer, sandbox: Sandbox, tmp_path: Path, *, later: bool) -> None:
    """An answer that a ledger annuls twice is not subtracted twice: nothing is counted, and the ledger is INVALID."""
    settings = settings_of(sandbox, tmp_path, {}, probe=())
    for index in range(3):
        writer.annul(index)
    if later:
        ledger_collector.collect_ledger(settings, NOTES, Clock())
    counted = traffic(settings)
    with writer.store.transaction() as connection:
        connection.execute(annulment_table.delete().where(annulment_table.c["index"] == 0))
    writer.annul(0)

    with pytest.raises(LedgerCorruptError):
        ledger_collector.collect_ledger(settings, NOTES, Clock())
    assert counted == traffic(settings)
    with pytest.raises(LedgerCorruptError, match="the table annulment does not match"):
        writer.heads()


def test_deleted_annulment(writer: Writer, sandbox: Sandbox) -> None:
    """A report that finds the entry that annuls another one does not show that one as answered."""
    command = CommandLine(sandbox)
    report = ("ledger", "subject-report", "promissory", "9990000018")
    writer.annul(0)
    before = command(*report, "--json").json["inquiries"]
    with writer.store.transaction() as connection:
        connection.execute(annulment_table.delete())
    after = command(*report)

    assert [3, None, None, None] == [each["annulled_by"] for each in before]
    assert (1, "") == (after.code, after.out)
    assert "entry 3 annuls entry 0, which the table annulment does not say" in after.err


def test_collection_of_others_goes_on(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`quality collect` collects the other ledgers where one is damaged, and says which is."""
    collected = []

    def collect(_settings: QualitySettings, service: str, _clock: Clock) -> int:
        collected.append(service)
        if len(collected) == 1:
            raise LedgerCorruptError("entry 1 is damaged")
        return 0

    settings = settings_of(sandbox, tmp_path, {}, probe=())
    monkeypatch.setattr(commands, "load_settings", lambda _: settings)
    monkeypatch.setattr(ledger_collector, "collect_ledger", collect)
    with pytest.raises(typer.Exit) as ended:
        commands.collect(as_json=False)

    assert (1, [*settings.ledgers]) == (ended.value.exit_code, collected)
    assert 2 <= len(collected)
    assert f"INVALID: {collected[0]}: entry 1 is damaged" in capsys.readouterr().err
