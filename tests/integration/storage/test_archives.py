"""PostgreSQL: closed partitions move to files, which searches and verification read, and never miss in silence."""

import base64
import importlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from development.sandbox import Sandbox
from estelam.core.clock import Clock
from estelam.core.model import Outcome
from estelam.ledger import archives, confirmations, cosignatures, partitions
from estelam.ledger.errors import LedgerUncheckedError
from estelam.ledger.tables import last_checkpoint
from estelam.receipts import checkpoint
from estelam.receipts.archive import read_archive, write_archive
from estelam.receipts.proofs import parse_consistency
from estelam.receipts.tree import is_consistent, root_from_path
from quality.monitor import ledger_collector
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import CommandLine, caller
from tests.guarantees.recorded_ledger import receipt_of
from tests.integration.quality.monitored_services import NOTES, settings_of
from tests.integration.storage.test_ledger import Writer
from tests.integration.storage.test_recording import NOTE, PARTIES, NoteWorker
from tests.integration.storage.test_tiles import read as read_tiles
from tests.integration.test_witnessing import ask as ask_for_receipt
from tests.unit.receipts.test_cosignature import SECONDS, cosigner
from tools.env.postgres import PostgresCluster

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")

ENTRIES = 512
PERSON = "9990000018"
REPORT = ("ledger", "subject-report", "promissory", PERSON)
VERIFY = ("ledger", "verify", "promissory")
RECALL = ("promissory", "recall", "--since", "1", "--settle", "0")
TILES = ("ledger", "export-tiles", "promissory", "tiles")
ARCHIVE = ("ledger", "archive", "promissory", "--before", "1000000")


@pytest.fixture
def small(cluster: PostgresCluster, loaded: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox whose ledger has partitions of 512 entries."""
    monkeypatch.setattr(partitions, "ENTRIES", ENTRIES)
    monkeypatch.setattr(archives, "MIN_AGE_MICROS", 0)
    function = importlib.import_module("estelam.storage.migrations.versions.0001_ledger").ADD_PARTITIONS
    with cluster.connect(str(make_url(loaded.promissory().store).database)) as connection:
        for statement in (
            "DROP TABLE ledger.entry_000000, ledger.entry_000001",
            "DROP FUNCTION ledger.add_partitions",
            function.replace(str(1 << 20), str(ENTRIES)),
            "SELECT ledger.add_partitions()",
        ):
            connection.execute(statement)
    return loaded


@pytest.fixture
def archived(small: Sandbox, start: Start, tmp_path: Path) -> tuple[CommandLine, Path]:
    """A ledger of 1,300 entries about one person, whose first 1,024 are archived; and the folder of the files."""
    service = start(promissory_opening(small, shutdown_delay_seconds=0))  # notes the loads
    service.close()
    writer, command, folder = Writer(small), CommandLine(small), tmp_path / "archive"
    with closing(writer.store):
        for first in range(0, 1298, 59):
            writer.write(*range(min(59, 1298 - first)))
    assert 2 == len(command(*ARCHIVE, str(folder), "--json").json["archived"])
    return command, folder


def test_searches_read_archived_entries(archived: tuple[CommandLine, Path]) -> None:
    """With the files a report and a verification find everything, once; the store has the rest and the notes."""
    command, folder = archived
    found = command(*REPORT, "--archive", str(folder), "--json").json
    verified = command(*VERIFY, "--archive", str(folder), "--json").json
    again = command(*ARCHIVE, str(folder), "--json").json
    nothing = command(*ARCHIVE, str(folder))
    noted = command("ledger", "loads", "promissory", "--archive", str(folder), "--json").json

    assert "nothing is archived of the partition of the entries 1,024 to 1,535" in nothing.out
    assert "the ledger has not filled it yet" in nothing.out
    assert (1024, "open") == (again["stopped_at"], again["stopped_by"])
    assert list(range(2, 1300)) == [each["index"] for each in found["inquiries"]]
    assert (True, 1300) == (verified["valid"], verified["entries"])
    assert [] == again["archived"]
    assert ["1", "2"] == [str(each["load"]) for each in noted]
    assert 0 == command(*RECALL, "--archive", str(folder)).code


def test_archive_is_private(archived: tuple[CommandLine, Path]) -> None:
    """Only the owner may read what is archived, whatever the umask: it is as personal as the ledger."""
    _, folder = archived

    assert 0o700 == folder.stat().st_mode & 0o777
    assert {0o600} == {file.stat().st_mode & 0o777 for file in folder.iterdir()}


def test_young_entries_are_not_archived(small: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition with an entry that may still confirm an inquiry stays in the store, and one that is older goes."""
    monkeypatch.setattr(archives, "MIN_AGE_MICROS", confirmations.KEPT_MICROS)
    command, worker = CommandLine(small), NoteWorker(small)
    archive = (*ARCHIVE, str(tmp_path / "archive"), "--json")
    with closing(worker.store):
        real, worker.micros = worker.micros, worker.micros - confirmations.KEPT_MICROS - 1
        worker.recorder.note_facts()
        worker.ask(*[NOTE] * (ENTRIES - 2))
        worker.micros = real
        worker.ask(NOTE)
        worker.ask(*[NOTE] * ENTRIES)
        assert 1 == len(command(*archive).json["archived"])

        stopped, said = command(*archive).json, command(*archive[:-1]).out
        assert ([], ENTRIES, "age") == tuple(stopped[name] for name in ("archived", "stopped_at", "stopped_by"))
        assert "it has an entry of the last 25 hours" in said
        assert [Outcome.DISCLOSED] == worker.ask(PARTIES)


def test_service_goes_on(archived: tuple[CommandLine, Path], start: Start) -> None:
    """The service serves on after its partitions are archived, and what it appends is verified without the files."""
    command, folder = archived
    head = command("ledger", "checkpoint", "promissory", "--json").json
    service = start(promissory_opening(command.sandbox, shutdown_delay_seconds=0))
    with caller(command.sandbox, service.address) as ask:
        ask()
    service.close()
    since = f"{head['size']}:{head['root']}"

    assert (1, 1301) == tuple(command(*VERIFY, "--from", since, "--json").json[name] for name in ("commits", "entries"))
    assert 0 == command(*VERIFY, "--heads", str(_kept(folder, head["note"])), "--archive", str(folder)).code


def _kept(folder: Path, note: str) -> Path:
    path = folder.parent / "heads"
    path.write_text(note, "utf-8")
    return path


def test_proofs_and_tiles(archived: tuple[CommandLine, Path], tmp_path: Path) -> None:
    """Proofs and tiles of archived entries are made from the files, and lead to the signed root."""
    command, folder = archived
    note = command("ledger", "checkpoint", "promissory", "--json").json["note"]
    last = checkpoint.parse(note).checkpoint
    files = "--archive", str(folder)
    tiles = command("ledger", "export-tiles", "promissory", str(tmp_path / "tiles"), *files)
    inclusion = command("ledger", "prove", "inclusion", "promissory", "300", *files)
    old = command("ledger", "prove", "inclusion", "promissory", "0", "--size", "61", *files).out.partition("\n\n")[2]
    consistency = parse_consistency(command("ledger", "prove", "consistency", "promissory", "61", *files).out)

    size, root, hashes = read_tiles(tmp_path / "tiles")
    path = [base64.b64decode(line) for line in inclusion.out.partition("\n\n")[0].splitlines()[2:]]
    assert ([0, 0], (last.size, last.root)) == ([tiles.code, inclusion.code], (size, root))
    assert last.root == root_from_path(hashes[300], 300, size, path)
    assert is_consistent(61, checkpoint.parse(old).checkpoint.root, size, root, consistency.path)


def test_proof_of_what_the_store_has(archived: tuple[CommandLine, Path], tmp_path: Path) -> None:
    """A proof that needs no archived entry needs no file; one that does is refused, and no tiles are begun."""
    command, _ = archived
    kept = command("ledger", "prove", "inclusion", "promissory", "1200")
    refused = command("ledger", "prove", "inclusion", "promissory", "300")
    tiles = command("ledger", "export-tiles", "promissory", str(tmp_path / "tiles"))

    assert [0, 21, 21] == [kept.code, refused.code, tiles.code]
    assert "are archived" in refused.err
    assert "--archive" in refused.err
    assert not (tmp_path / "tiles").exists()


@pytest.mark.parametrize("words", [REPORT, RECALL, VERIFY, TILES], ids=lambda words: words[1])
def test_missing_files_are_an_error(
    archived: tuple[CommandLine, Path], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the files, or with one missing or another in its place, nothing is searched and that is said."""
    monkeypatch.chdir(tmp_path)
    command, folder = archived
    without = command(*words)
    first, second = sorted(folder.iterdir())
    shutil.copy(first, second)
    other = command(*words, "--archive", str(folder))
    second.unlink()
    missing = command(*words, "--archive", str(folder))

    assert [21, 21, 21] == [result.code for result in (without, other, missing)]
    assert "give the folder of their files with --archive" in without.err
    assert "does not hold the entries 512 to 1,023" in other.err
    assert "is missing; nothing was done" in missing.err


def test_changed_file_is_invalid(archived: tuple[CommandLine, Path]) -> None:
    """A file whose entries were changed is found by verification."""
    command, folder = archived
    with closing(sqlite3.connect(min(folder.iterdir()))) as file:
        file.execute('UPDATE entry SET leaf = (SELECT leaf FROM entry WHERE "index" = 9) WHERE "index" = 8')
        file.commit()

    assert 1 == command(*VERIFY, "--archive", str(folder)).code


def test_changed_entries_are_not_archived(small: Sandbox, cluster: PostgresCluster, tmp_path: Path) -> None:
    """A partition whose entries do not lead to the signed root stays where it is."""
    writer, command = Writer(small), CommandLine(small)
    with closing(writer.store):
        for _ in range(11):
            writer.write(*range(50))
        with writer.store.transaction() as connection:
            connection.exec_driver_sql("UPDATE ledger.entry SET leaf = leaf || '\\x00' WHERE \"index\" = 7")
    result = command(*ARCHIVE, str(tmp_path / "archive"))

    assert 1 == result.code
    assert "do not lead to the root" in result.err or "INVALID" in result.err
    assert not list((tmp_path / "archive").glob("*.ledger"))
    with closing(writer.store), writer.store.transaction() as connection:
        assert 550 == connection.exec_driver_sql("SELECT count(*) FROM ledger.entry").scalar_one()


def test_open_partition_is_not_archived(small: Sandbox, tmp_path: Path) -> None:
    """The partition of the newest entry, and those that end after the given index, stay."""
    writer, command = Writer(small), CommandLine(small)
    with closing(writer.store):
        for _ in range(22):
            writer.write(*range(50))
    few = command("ledger", "archive", "promissory", str(tmp_path / "archive"), "--before", "1023", "--json").json

    assert [str(tmp_path / "archive" / "promissory-000000000000.ledger")] == few["archived"]
    assert (ENTRIES, "before") == (few["stopped_at"], few["stopped_by"])


def test_refreshed_receipt(archived: tuple[CommandLine, Path], small: Sandbox, tmp_path: Path, start: Start) -> None:
    """The receipt of an archived entry is refreshed with its file; without it nobody is accused."""
    command, folder = archived
    service = start(promissory_opening(small, shutdown_delay_seconds=0))
    saved = str(tmp_path / "saved.json")
    record = ask_for_receipt(small, service.address)
    service.close()
    write_archive(Path(saved), [record])
    writer = Writer(small)
    with closing(writer.store):
        for _ in range(10):
            writer.write(*range(59))
        with writer.store.transaction() as connection:
            size = checkpoint.parse(last_checkpoint(connection) or "").checkpoint.size
            cosignatures.store(connection, size, "witness.example/w1", cosigner().cosign("x\n", SECONDS))
    assert 1 == len(command(*ARCHIVE, str(folder), "--json").json["archived"])
    refresh = "receipt", "refresh", saved, "--out", str(tmp_path / "new.json")
    without, done = command(*refresh), command(*refresh, "--archive", str(folder))

    assert (21, True) == (without.code, "give the folder of their files with --archive" in without.err)
    assert (0, "") == (done.code, done.err)
    (renewed,) = read_archive(tmp_path / "new.json")
    assert size == checkpoint.parse(receipt_of(renewed).checkpoint).checkpoint.size


def test_monitor_accuses_nobody(archived: tuple[CommandLine, Path], tmp_path: Path) -> None:
    """A monitor that comes after its entries were archived counts nothing, and raises no alarm."""
    command, _ = archived
    settings = settings_of(command.sandbox, tmp_path, {}, probe=())
    with pytest.raises(LedgerUncheckedError, match="archived before they were collected"):
        ledger_collector.collect_ledger(settings, NOTES, Clock())

    assert not ledger_collector.standing_alarms(settings)
