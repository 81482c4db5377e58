"""No reader of a ledger believes a row that no verified checkpoint covers, and verification finds short indexes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update

from development import sandbox as suite
from development.sandbox import Sandbox
from estelam.catalogue.loader import read_catalogue
from estelam.core.clock import Clock
from estelam.ledger import search
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import annulment_table, entry_table
from estelam.ledger.verified_rows import VerifiedRows
from estelam.server.catalogue_audit import record_changes
from quality.dashboard.change_feed import list_changes
from quality.monitor import ledger_collector
from tests.conftest import both_engines_in_full
from tests.e2e.conftest import BY_INDEX, CommandLine
from tests.integration.quality.monitored_services import NOTES, settings_of, traffic
from tests.integration.storage.test_ledger import Writer
from tools.env import postgres

PERSON = "9990000018"
REPORT = ("ledger", "subject-report", "promissory", PERSON)
VERIFY = ("ledger", "verify", "promissory")
_INDEX = entry_table.c["index"]
AMCHECK = sorted(Path("/usr/share/postgresql").glob("*/extension/amcheck.control"))


@pytest.fixture
def writer(sandbox: Sandbox) -> Iterator[Writer]:
    """A ledger of 601 entries."""
    writer = Writer(sandbox)
    with closing(writer.store):
        for count in (1, 254, 1, 1, 44, 300):
            writer.write(*range(count))
        yield writer


def believed(writer: Writer) -> int:
    """Return the number of entries, once each was compared."""
    with writer.store.transaction() as connection:
        rows = VerifiedRows.of(connection, writer.keys)
        return len(list(rows(search.entries_between(connection, 0, None))))


@both_engines_in_full
def test_every_row_is_compared(sandbox: Sandbox) -> None:
    """The rows of a ledger of any size are believed: the tree that its checkpoint signs contains them."""
    writer, sizes = Writer(sandbox), []
    with closing(writer.store):
        for count in (1, 254, 1, 1, 44, 300):
            writer.write(*range(count))
            sizes.append(believed(writer))

    assert [1, 255, 256, 257, 301, 601] == sizes


def swap(connection: Connection, column: str) -> None:
    """Give entry 300 a value of entry 299."""
    value = select(entry_table.c[column]).where(_INDEX == 299).scalar_subquery()
    connection.execute(update(entry_table).where(_INDEX == 300).values({column: value}))


def add(connection: Connection) -> None:
    """Add a copy of the last entry after it, which no checkpoint covers."""
    row = connection.execute(select(entry_table).where(_INDEX == 600)).one()
    connection.execute(insert(entry_table).values((601, *row[1:])))


@both_engines_in_full
@pytest.mark.parametrize("change", ["leaf", "search_keys", "added"])
def test_changed_rows_are_not_shown(writer: Writer, sandbox: Sandbox, change: str) -> None:
    """A row that was changed or added makes a report end as INVALID, and nothing of it is printed."""
    with writer.store.transaction() as connection:
        add(connection) if change == "added" else swap(connection, change)
    with pytest.raises(LedgerCorruptError):
        believed(writer)
    reported = CommandLine(sandbox)(*REPORT)

    assert (1, "") == (reported.code, reported.out)
    assert "INVALID: promissory: " in reported.err


def test_changed_nodes_are_not_believed(writer: Writer) -> None:
    """A row with a changed row beside it, or changed nodes above it, is not believed either."""
    with writer.store.transaction() as connection:
        connection.exec_driver_sql("UPDATE ledger.node SET hash = zeroblob(32)")

    with pytest.raises(LedgerCorruptError, match="do not lead to the root"):
        believed(writer)


def test_changed_note_is_not_listed(loaded: Sandbox) -> None:
    """The note of a load that was changed in the store is not listed."""
    command = CommandLine(loaded)
    writer = Writer(loaded)
    with closing(writer.store):
        writer.write(1, 2)
    noted = Writer(loaded)
    with closing(noted.store), noted.store.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO ledger.fact_note (\"index\", kind, number) VALUES (0, 'recall', 1)")
        connection.exec_driver_sql('UPDATE ledger.entry SET leaf = (SELECT leaf FROM ledger.entry WHERE "index" = 1)')

    assert 1 == command("ledger", "recalls", "promissory").code


@both_engines_in_full
@pytest.mark.parametrize("change", ["leaf", "search_keys"])
def test_changed_notice_is_not_shown(loaded: Sandbox, tmp_path: Path, change: str) -> None:
    """A notice of the catalogue that was changed is listed by no reader, and makes no quota look spent or full."""
    writer, command = Writer(loaded), CommandLine(loaded)
    settings = settings_of(loaded, tmp_path, {}, probe=())
    explain = "catalogue", "explain", "--consumer", "setad", "--method", "CheckNote", "--json"
    with closing(writer.store):
        record_changes(writer.store, writer.ledger, read_catalogue(settings.catalogue))
        listed = command("catalogue", "changes", "--service", "promissory", "--json").json, list_changes(settings)
        left = command(*explain).json["quota_left"]
        with writer.store.transaction() as connection:
            newest, before = connection.scalars(select(_INDEX).order_by(_INDEX.desc()).limit(2))
            value = select(entry_table.c[change]).where(_INDEX == before).scalar_subquery()
            connection.execute(update(entry_table).where(_INDEX == newest).values({change: value}))
        with pytest.raises(LedgerCorruptError):
            list_changes(settings)
        with pytest.raises(LedgerCorruptError):
            record_changes(writer.store, writer.ledger, read_catalogue(settings.catalogue))
        changed = command("catalogue", "changes", "--service", "promissory")

    assert all(listed)
    assert left.endswith("by the ledger")
    assert (1, "") == (changed.code, changed.out)
    assert "INVALID: promissory: " in changed.err
    assert "the ledger of promissory is not verified: " in command(*explain).json["quota_left"]


def test_annulled_entry_is_read_again(writer: Writer, sandbox: Sandbox, tmp_path: Path) -> None:
    """What the monitor subtracts for an annulled entry is what it had counted, not what the row says now."""
    settings = settings_of(sandbox, tmp_path, {}, probe=())
    ledger_collector.collect_ledger(settings, NOTES, Clock())
    counted = traffic(settings)
    with writer.store.transaction() as connection:
        swap(connection, "leaf")
    writer.annul(300)

    with pytest.raises(LedgerCorruptError, match="entries from 256 on"):
        ledger_collector.collect_ledger(settings, NOTES, Clock())
    assert counted == traffic(settings)


def test_short_index(writer: Writer, sandbox: Sandbox) -> None:
    """SQLite: an index that lacks an entry, so that reports are silently short, is found by verification."""
    command = CommandLine(sandbox)
    before = len(command(*REPORT, "--json").json["inquiries"])
    head = command("ledger", "checkpoint", "promissory", "--json").json
    writer.store.close()
    remove_from_indexes(Path(sandbox.promissory().store.removeprefix("sqlite:///")) / "ledger.db", 300)
    after = len(command(*REPORT, "--json").json["inquiries"])
    verified = command(*VERIFY)
    partly = command(*VERIFY, "--from", f"{head['size']}:{head['root']}", "--json")

    assert (601, 600) == (before, after)
    assert (1, True) == (verified.code, "an index or a page of its store does not match" in verified.err)
    assert (0, False) == (partly.code, "indexes_verified" in partly.json)


@both_engines_in_full
@pytest.mark.parametrize("annulled_by", [299, 301, 9999])
def test_forged_annulment(writer: Writer, sandbox: Sandbox, annulled_by: int) -> None:
    """An answer that the table says is annulled, and no entry annuls, is not shown as one that nobody got."""
    writer.annul(300)
    annulled = CommandLine(sandbox)(*REPORT, "--json").json["inquiries"][300]["annulled_by"]
    with writer.store.transaction() as connection:
        connection.execute(insert(annulment_table).values(index=298, annulled_by=annulled_by))
    reported = CommandLine(sandbox)(*REPORT)

    assert 601 == annulled
    assert (1, "") == (reported.code, reported.out)
    assert "the table annulment says that entry 298 is annulled" in reported.err


@both_engines_in_full
def test_emptied_index_keys(writer: Writer, sandbox: Sandbox) -> None:
    """Where index keys were emptied, a report finds nothing and says what it relied on, which verification refutes."""
    command = CommandLine(sandbox)
    with writer.store.transaction() as connection:
        connection.execute(update(entry_table).values(subject_1=None, subject_2=None, subject_3=None))
    report, verified = command(*REPORT), command(*VERIFY)

    assert (0, f"searched 601 entries under keys k1 {BY_INDEX}: none\n") == (report.code, report.out)
    assert (1, True) == (verified.code, "INVALID: promissory: " in verified.err)


def remove_from_indexes(path: Path, index: int) -> None:
    """Remove an entry from the indexes of the database in *path*, and not from its table."""
    schema = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master WHERE name LIKE 'entry_subject_%'"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        (row,) = connection.execute('SELECT * FROM entry WHERE "index" = ?', (index,)).fetchall()
        definitions = connection.execute(schema).fetchall()
        connection.execute('DELETE FROM entry WHERE "index" = ?', (index,))
        connection.execute("DELETE FROM sqlite_master WHERE name LIKE 'entry_subject_%'")
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"INSERT INTO entry VALUES ({','.join('?' * len(row))})", row)  # noqa: S608
        connection.execute("PRAGMA writable_schema = ON")
        connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", definitions)
        connection.commit()


def _installed_with_amcheck() -> Path | None:
    """The programs of a PostgreSQL on this machine that has amcheck; the wheel's has not."""
    found = (Path("/usr/lib/postgresql", control.parents[1].name, "bin") for control in AMCHECK)
    return next((programs for programs in found if (programs / "postgres").exists()), None)


@pytest.mark.slow
@pytest.mark.skipif(_installed_with_amcheck() is None, reason="no PostgreSQL with amcheck is installed")
def test_real_amcheck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL with amcheck: whole indexes are verified, and one that lacks an entry is INVALID."""
    monkeypatch.setattr(postgres, "BIN", _installed_with_amcheck())
    with postgres.cluster() as cluster:
        name = cluster.database()
        box = suite.create_sandbox(tmp_path, stores={"promissory": cluster.url(name)})
        command, writer = CommandLine(box), Writer(box)
        with closing(writer.store), cluster.connect(name) as connection:
            writer.write(*range(300))
            connection.execute("CREATE EXTENSION amcheck")
            whole = command(*VERIFY, "--json")
            set_ready = "UPDATE pg_index SET indisready = %s WHERE strpos(indexrelid::regclass::text, 'subject_1') > 0"
            connection.execute(set_ready, [False])
            writer.write(1)
            connection.execute(set_ready, [True])
            short = command(*VERIFY)

    assert (0, True) == (whole.code, whole.json["indexes_verified"])
    assert (1, True) == (short.code, "an index or a page of its store does not match" in short.err), short.err


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
def test_amcheck(writer: Writer, sandbox: Sandbox) -> None:
    """PostgreSQL: what amcheck reports of an index is INVALID; without it verification says that it checked none."""
    command = CommandLine(sandbox)
    without = command(*VERIFY, "--json").json["indexes_verified"]
    stand_in = "CREATE FUNCTION bt_index_check(regclass, boolean) RETURNS void LANGUAGE plpgsql AS $$ BEGIN {} END $$"
    found = []
    for body in ("", "IF strpos($1::text, 'subject_1') > 0 THEN RAISE 'corrupt' USING ERRCODE = 'XX002'; END IF;"):
        with writer.store.transaction() as connection:
            connection.exec_driver_sql("DROP FUNCTION IF EXISTS bt_index_check")
            connection.exec_driver_sql(stand_in.format(body))
        found.append(command(*VERIFY))

    assert (False, [0, 1]) == (without, [each.code for each in found])
    assert "an index or a page of its store does not match" in found[1].err
