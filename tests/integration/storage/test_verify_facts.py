"""`verify-facts` on every database: rows that something else than a load has changed are found."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, delete, insert, select, update

from development.sandbox import Sandbox
from estelam.ledger import loads
from estelam.loading.feed import Feed
from estelam.loading.stored_rows import digest_stored
from estelam.storage.facts import load_table
from estelam.storage.store import AccessMode, Store
from judiciary.feeds import CASES
from promissory.feeds import MEMBERS, NOTES
from promissory.repository import member_table, note_table
from tests.conftest import both_engines_in_full
from tests.e2e.conftest import CommandLine, CommandResult
from tests.integration.storage.loaded_table import FIRST, THIRD, WHOLE, LoadedTable
from tests.integration.storage.test_recording import NoteWorker

pytestmark = both_engines_in_full

NOTE = "{},ISSUED,9990000018,Name,Address,1234567890,99000554330,99000554330,Name,Address,1234567890,{},{},{},{},Tehran"
WHOLE_NOTES = [
    NOTE.format("1404000000000017", "2500000000", "2500000000", "2025-05-01", ""),
    NOTE.format("۱۴۰۴۰۰۰۰۰۰۰۰۰۰۲۵", "0007", "7", "1404-02-11", "1405-02-11"),
]


@pytest.fixture
def notes(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    """The promissory service's facts, with a whole file of each kind loaded."""
    register = LoadedTable(sandbox.promissory().store, tmp_path)
    register.load(MEMBERS, "SETAD-0001,Agency", "7,Other agency")
    register.load(NOTES, *WHOLE_NOTES, whole=True)
    return register


@pytest.fixture
def verify(sandbox: Sandbox) -> Iterator[Callable[[], CommandResult]]:
    """Lets the service note its loads, and runs the command."""
    worker = NoteWorker(sandbox)

    def run() -> CommandResult:
        worker.recorder.note_facts()
        return CommandLine(sandbox)("promissory", "verify-facts", "--json")

    with closing(worker.store):
        yield run


def compared(result: CommandResult) -> dict[str, tuple[int | None, bool]]:
    assert 0 == result.code, result.err
    return {row["feed"]: (row["rows"], row["compared"]) for row in result.json}


def change(register: LoadedTable, *statements: object) -> None:
    """Change the facts as somebody who can write to the database."""
    with closing(Store(register.url, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", [NOTES, MEMBERS, CASES], ids=lambda kind: kind.name)
def test_stored_rows_have_the_digest_of_their_file(
    sandbox: Sandbox, notes: LoadedTable, tmp_path: Path, kind: Feed
) -> None:
    """The rows of a whole file, however its cells were written, have the file's digest when they are read again."""
    register = notes
    if kind is CASES:
        register = LoadedTable(sandbox.judiciary().store, tmp_path)
        register.load(CASES, *WHOLE, THIRD.replace("3,", "۰۰۴۲,", 1).replace("2024-05-01", "1403-02-12"), whole=True)
    with closing(Store(register.url)) as store, store.transaction() as connection:
        load = connection.execute(select(load_table).where(load_table.c.feed == kind.name)).one()

        assert (load.rows, load.rows_digest) == digest_stored(connection, kind, kind.name)


def test_what_loads_say(notes: LoadedTable, verify: Callable[[], CommandResult]) -> None:
    """Whole files and deltas that only add rows say what is stored; after a replaced row the next whole file does."""
    added = NOTE.format("1404000000000033", "5", "5", "2025-05-01", "")
    whole = compared(verify())
    notes.load(NOTES, added)
    longer = compared(verify())
    notes.load(NOTES, added.replace("ISSUED", "SETTLED"))
    replaced = compared(verify())
    notes.load(NOTES, *WHOLE_NOTES, whole=True, policy={"allow_known_content": True})

    assert {"members": (2, True), "notes": (2, True)} == whole == compared(verify())
    assert ((3, True), (None, False)) == (longer["notes"], replaced["notes"])
    assert (2, True) == replaced["members"]


def _copy(table: Table, **values: object) -> Callable[[Connection], object]:
    def copy(connection: Connection) -> object:
        row = dict(connection.execute(select(table).limit(1)).one()._mapping)
        return connection.execute(insert(table).values(**row | values))

    return copy


@pytest.mark.parametrize(
    "tamper",
    [
        update(note_table).where(note_table.c.amount_rials == 7).values(amount_rials=8),
        update(note_table).where(note_table.c.amount_rials == 7).values(state="SETTLED"),
        update(note_table).where(note_table.c.amount_rials == 7).values(due_on=None),
        update(note_table).where(note_table.c.amount_rials == 7).values(load_number=1),
        delete(note_table).where(note_table.c.amount_rials == 7),
        delete(note_table),
        update(member_table).where(member_table.c.agency_id == "7").values(agency_id="8"),
        _copy(note_table, serial="1404000000000041"),
        _copy(member_table, agency_id="9"),
    ],
)
def test_changed_facts(notes: LoadedTable, verify: Callable[[], CommandResult], tamper: object) -> None:
    """A row that was changed, removed or added by something else than a load is INVALID."""
    verify()
    with closing(Store(notes.url, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        tamper(connection) if callable(tamper) else connection.execute(tamper)  # type: ignore[call-overload]
    result = verify()

    assert 1 == result.code
    assert "by something else than a load" in result.json["error"]


def test_changed_load(notes: LoadedTable, verify: Callable[[], CommandResult]) -> None:
    """A load's row that was changed to agree with changed facts is not the load that the ledger notes."""
    verify()
    change(notes, update(note_table).values(state="SETTLED"))
    with closing(Store(notes.url)) as store, store.transaction() as connection:
        _, digest = digest_stored(connection, NOTES, "notes")
    change(notes, update(load_table).where(load_table.c.feed == "notes").values(rows_digest=digest))

    result = verify()

    assert 1 == result.code
    assert "is not the one that the ledger notes" in result.json["error"]


def test_load_that_is_not_noted(notes: LoadedTable, sandbox: Sandbox) -> None:
    """Before the newest load is noted nothing is compared: exit 21."""
    done = CommandLine(sandbox)("promissory", "verify-facts", "--settle", "0")

    assert (21, True) == (done.code, "NOT CHECKED: promissory: load 2 is not noted" in done.err)


def test_taken_over_rows(sandbox: Sandbox, tmp_path: Path) -> None:
    """After a feed has taken over records of another, the loads of neither say what the other's rows are."""
    register = LoadedTable(sandbox.judiciary().store, tmp_path)
    register.load(CASES, *WHOLE, whole=True)
    register.load(CASES, FIRST, feed="court-b", policy={"required_feeds": ("cases", "court-b"), "taken_feed": "cases"})
    with closing(Store(register.url)) as store, store.transaction() as connection:
        noted = [
            loads.LoadNote(number, 0, dict(loads._fact_note(load).facts) | {"load": number}, None)
            for number, load in enumerate(connection.execute(select(load_table).order_by(load_table.c.number)), 1)
        ]

        assert {None} == {each.digest for each in loads.expected_rows(connection, noted).values()}
