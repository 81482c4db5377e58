"""Whatever happens to the files of a SQLite store while it is in use is noticed before the next answer."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from grpc import StatusCode
from sqlalchemy import text

from development.process_limits import ProcessError
from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.core import keyring_file
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import cosignatures, search
from estelam.storage.migrate import migrate
from estelam.storage.store import AccessMode, Store, StoreError
from promissory.settings import PromissorySettings
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, refusal
from tests.e2e.test_serving import NOT_SERVING, SERVING, STORE_UNAVAILABLE, health, until

Accident = Callable[[Path], None]
FILES = ("ledger.db", "ledger.db-wal", "facts.db", "facts.db-wal")


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.rename(path)


def cut_off(path: Path) -> None:
    os.truncate(path, 0)


def written_over(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes(len(content)))


@pytest.fixture
def changes() -> list[str | None]:
    """The changes that the store has reported."""
    return []


@pytest.fixture
def store(loaded: Sandbox, changes: list[str | None]) -> Iterator[Store]:
    """A store in use as a service uses it, with something in every file."""
    url = loaded.promissory().store
    store = Store(url, ledger=AccessMode.WRITE, on_changed_files=changes.append)
    with suppress(StoreError), store.single_writer_lock():  # closing it raises after an accident
        store.ping()
        write_facts(url)
        write_ledger(store)
        store.ping()
        yield store


def write_facts(url: str, *, commit: bool = True) -> None:
    """Write to the facts as a load does: with *commit* False, it fails after it has written to the log."""
    with closing(Store(url, facts=AccessMode.WRITE)) as loading, loading.engine.connect() as connection:
        connection.execute(text("PRAGMA cache_size=1"))
        connection.execute(text("BEGIN IMMEDIATE"))
        connection.execute(text("CREATE TABLE IF NOT EXISTS facts.scratch (content)"))
        connection.execute(text("INSERT INTO facts.scratch VALUES (randomblob(1000000))"))
        (connection.commit if commit else connection.rollback)()


def write_ledger(store: Store, number: int = 1) -> None:
    with store.transaction() as connection:
        cosignatures.store(connection, number, "witness", "line")


def folder(sandbox: Sandbox) -> Path:
    return Path(sandbox.promissory().store.removeprefix("sqlite:///"))


@pytest.mark.parametrize("accident", [removed, replaced, cut_off, written_over])
@pytest.mark.parametrize("name", FILES)
def test_noticed_before_next_transaction(
    loaded: Sandbox, store: Store, changes: list[str | None], accident: Accident, name: str
) -> None:
    """Whatever happens to a file, no later transaction begins, and the cause is reported once."""
    accident(folder(loaded) / name)
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"{name} was (removed|replaced|written over) while the store was in use"):
            store.ping()

    assert 1 == len(changes)


@pytest.mark.parametrize("accident", [removed, replaced])
@pytest.mark.parametrize("name", ["ledger.db-shm", "facts.db-shm"])
def test_shared_memory_noticed(loaded: Sandbox, store: Store, accident: Accident, name: str) -> None:
    """Shared memory that is removed or replaced would hide what another process does: no transaction begins."""
    accident(folder(loaded) / name)

    with pytest.raises(StoreError, match=f"{name} was re(mov|plac)ed"):
        store.ping()


def cut_to(size: int) -> Accident:
    return lambda path: os.truncate(path, size)


@pytest.mark.parametrize("size", [0, 4096, 32767])
@pytest.mark.parametrize("name", ["ledger.db-shm", "facts.db-shm"])
def test_shared_memory_cut_off(loaded: Sandbox, store: Store, name: str, size: int) -> None:
    """Shared memory that is cut off is noticed before SQLite touches it, which would end the process."""
    cut_to(size)(folder(loaded) / name)

    for use in (store.ping, store.close, store.ping):
        with pytest.raises(StoreError, match=f"{name} was cut off"):
            use()


@pytest.mark.parametrize("name", ["ledger.db-shm", "facts.db-shm"])
def test_shared_memory_cut_off_at_the_end(loaded: Sandbox, store: Store, name: str) -> None:
    """Also where no transaction has looked since, a store is not closed over shared memory that was cut off."""
    cut_to(0)(folder(loaded) / name)

    with pytest.raises(StoreError, match=f"{name} was cut off"):
        store.close()


@pytest.mark.parametrize("name", [pytest.param("ledger.db-shm", marks=pytest.mark.slow), "facts.db-shm"])
def test_service_with_shared_memory_cut_off(loaded: Sandbox, name: str) -> None:
    """A service whose shared memory is cut off answers no more, and has every answer after a restart.

    It refuses, but for the moment in which SQLite reads the shared memory: then it ends with SIGBUS.
    """
    service = ServiceProcess("promissory", loaded).start()
    with caller(loaded, service.address) as ask:
        answers = [ask() for _ in range(3)]
        cut_to(0)(folder(loaded) / name)
        refused = {refusal(ask)[0] for _ in range(3)}
        service.stop()
    with ServiceProcess("promissory", loaded) as again, caller(loaded, again.address) as ask:
        answers.append(ask())

    assert [ANSWER_YES] * 4 == answers
    assert {StatusCode.UNAVAILABLE} == refused


def test_restart_signal_after_accident(loaded: Sandbox) -> None:
    """SIGHUP ends no service whose files have changed: it can't open them again, and goes on refusing."""
    service = ServiceProcess("promissory", loaded).start()
    with caller(loaded, service.address) as ask:
        answer = ask()
        written_over(folder(loaded) / "ledger.db-wal")
        refused = [refusal(ask)]
        service.signal(signal.SIGHUP)
        kept = until(lambda: "service.settings_kept" in service.log.read_text("utf-8"))
        refused.append(refusal(ask))
    service.stop()

    assert answer == ANSWER_YES
    assert [STORE_UNAVAILABLE] * 2 == refused
    assert kept


@pytest.mark.parametrize(
    ("name", "accident"),
    [
        ("ledger.db", removed),
        ("ledger.db", replaced),
        ("ledger.db", cut_off),
        ("ledger.db-wal", removed),
        ("ledger.db-wal", replaced),
        ("ledger.db-wal", cut_off),
        ("ledger.db-wal", written_over),
    ],
)
def test_noticed_during_transaction(loaded: Sandbox, store: Store, accident: Accident, name: str) -> None:
    """What happens to a ledger's file during a transaction is noticed before its answers are sent."""

    def during_transaction() -> None:
        with store.transaction() as connection:
            cosignatures.store(connection, 2, "witness", "line")
            accident(folder(loaded) / name)

    with pytest.raises(StoreError, match=f"{name} was"):
        during_transaction()


def test_put_back(loaded: Sandbox, store: Store, changes: list[str | None]) -> None:
    """A file that is put back as it was is used again: nothing is lost."""
    path, away = folder(loaded) / "ledger.db-wal", folder(loaded) / "away"
    path.rename(away)
    with pytest.raises(StoreError, match="was removed"):
        store.ping()
    away.rename(path)
    store.ping()

    assert [f"{path} was removed", None] == changes


@pytest.mark.parametrize("commit", [True, False])
def test_loads_are_not_accidents(loaded: Sandbox, store: Store, changes: list[str | None], *, commit: bool) -> None:
    """A load may write to the facts, whether it is committed or not, between two transactions or around one."""
    url = loaded.promissory().store
    for _ in range(3):
        write_facts(url, commit=commit)
        store.ping()
    with closing(Store(url, facts=AccessMode.WRITE)) as loading:
        for _ in range(3):
            loading.ping()
            store.ping()
            write_facts(url, commit=commit)
    store.ping()

    assert not changes


def test_foreign_writer_after_load(loaded: Sandbox, store: Store) -> None:
    """What changes the facts after a load has ended is no load."""
    write_facts(loaded.promissory().store)
    store.ping()
    written_over(folder(loaded) / "facts.db")

    with pytest.raises(StoreError, match=r"facts.db was written over"):
        store.ping()


def test_failure_is_no_accident(store: Store, changes: list[str | None]) -> None:
    """After a failed transaction the store opens its files anew and goes on."""

    def fail() -> None:
        with store.transaction() as connection:
            cosignatures.store(connection, 2, "witness", "line")
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    write_ledger(store, 3)

    assert not changes


def test_removed_log_is_kept_by_closing(loaded: Sandbox, store: Store) -> None:
    """What was committed to a log that was removed is in the database once the store is closed."""
    write_ledger(store, 7)
    removed(folder(loaded) / "ledger.db-wal")
    store.close()

    with closing(Store(loaded.promissory().store)) as again, again.transaction() as connection:
        assert 7 == cosignatures.cosigned_size(connection, "witness")


def test_changed_files_are_left_alone(loaded: Sandbox, store: Store) -> None:
    """Closing the store writes nothing to files that something else has changed, and ends its use in this process."""
    write_ledger(store, 7)
    written_over(folder(loaded) / "ledger.db-wal")
    before = (folder(loaded) / "ledger.db").read_bytes()
    for use in (store.ping, store.close, store.ping):
        with pytest.raises(StoreError, match="was written over"):
            use()

    assert before == (folder(loaded) / "ledger.db").read_bytes()


@pytest.mark.parametrize("name", ["ledger.db-wal", "facts.db-wal"])
def test_service_stops_answering(loaded: Sandbox, name: str) -> None:
    """A service whose log is removed answers nothing more, says so in health, and loses no answer by a restart."""
    with ServiceProcess("promissory", loaded) as service, caller(loaded, service.address) as ask:
        answers = [ask() for _ in range(20)]
        removed(folder(loaded) / name)
        refused = [refusal(ask) for _ in range(3)]
        noticed = until(lambda: health(loaded, service.address) == NOT_SERVING)
    with closing(Store(loaded.promissory().store)) as store, store.transaction() as connection:
        size = search.size(connection)

    assert [ANSWER_YES] * 20 == answers
    assert [STORE_UNAVAILABLE] * 3 == refused
    assert noticed
    assert size > 20
    with ServiceProcess("promissory", loaded) as service:
        assert until(lambda: health(loaded, service.address) == SERVING)


@pytest.mark.slow
def test_crash_after_removal(loaded: Sandbox) -> None:
    """If the service is killed after its log was removed, the next start refuses the shorter ledger."""
    service = ServiceProcess("promissory", loaded).start()
    with caller(loaded, service.address) as ask:
        answers = [ask() for _ in range(20)]
        removed(folder(loaded) / "ledger.db-wal")
        kept = loaded.folder / "promissory.checkpoint"
        assert until(kept.exists)
        newest = f"\n{20 + 2}\n"
        assert until(lambda: kept.read_text("utf-8").count(newest) == 1)
    service.kill()

    assert [ANSWER_YES] * 20 == answers
    with pytest.raises(ProcessError, match="does not continue the checkpoint kept"), service:
        pass


def test_shared_memory_written_over(loaded: Sandbox) -> None:
    """Shared memory of an earlier state hides commits: nothing is answered, and the next start has all of them."""
    path = folder(loaded) / "ledger.db-shm"
    service = ServiceProcess("promissory", loaded).start()
    with caller(loaded, service.address) as ask:
        answers = [ask() for _ in range(10)]
        earlier = path.read_bytes()
        answers += [ask() for _ in range(10)]
        with path.open("r+b") as file:
            file.write(earlier)
        refused = [refusal(ask) for _ in range(3)]
    service.stop()
    with ServiceProcess("promissory", loaded) as service, caller(loaded, service.address) as ask:
        answers.append(ask())
    with closing(Store(loaded.promissory().store)) as store, store.transaction() as connection:
        size = search.size(connection)

    assert [ANSWER_YES] * 21 == answers
    assert [STORE_UNAVAILABLE] * 3 == refused
    assert size >= 21


def test_second_server(loaded: Sandbox, start: Start) -> None:
    """A second server on one store is refused, whatever lock file was removed."""
    start(promissory_opening(loaded))
    for path in folder(loaded).iterdir():
        if not path.name.startswith(("ledger.db", "facts.db", "subjects.keys")):
            path.unlink()

    with pytest.raises(StoreError, match="another process serves from this store"):
        start(promissory_opening(loaded))


def test_permissions(loaded: Sandbox, tmp_path: Path) -> None:
    """Only the owner may read a store and a keyring, whatever the umask and the permissions before."""
    folder, keyring = tmp_path / "parent" / "store", tmp_path / "keys"
    keyring.write_bytes(loaded.promissory().hmac_keyring.read_bytes())
    keyring.chmod(0o644)
    before = os.umask(0)
    try:
        migrate(f"sqlite:///{folder}", PromissorySettings.MIGRATIONS)
        keyring_file.write(keyring, keyring_file.read(keyring))
        with closing(Store(f"sqlite:///{folder}", ledger=AccessMode.WRITE)) as store:
            write_ledger(store)
            write_facts(f"sqlite:///{folder}")
            files = [path.stat().st_mode & 0o777 for path in folder.iterdir()]
    finally:
        os.umask(before)

    assert 0o700 == folder.stat().st_mode & 0o777
    assert {0o600} == {*files, keyring.stat().st_mode & 0o777}
    assert len(files) > 6


def test_permissions_of_a_copied_store(loaded: Sandbox) -> None:
    """A store whose files others may read, as after a copy, is its owner's alone once it is open to write."""
    names = ("ledger.db", "facts.db")
    for name in names:
        (folder(loaded) / name).chmod(0o644)
    with closing(Store(loaded.promissory().store, facts=AccessMode.WRITE, ledger=AccessMode.WRITE)) as store:
        store.ping()
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder(loaded).glob("*.db*")}

    assert dict.fromkeys(modes, 0o600) == modes


def test_folders_of_a_sandbox(loaded: Sandbox) -> None:
    """The folders of stores and of keys are their owner's alone, whichever process made them first."""
    folders = [loaded.folder / name for name in ("promissory", "judiciary", "quality")]

    assert {0o700} == {path.stat().st_mode & 0o777 for path in (*folders, loaded.pki)}
