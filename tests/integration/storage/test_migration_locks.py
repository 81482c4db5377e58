"""Migrations beside what uses the store: workers under load, readers that run for long, a server on SQLite."""

import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from development.sandbox import Sandbox
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import search
from estelam.storage import migrate as migrations
from estelam.storage import postgresql, schema
from estelam.storage.base import StoreError
from estelam.storage.grants import Role
from estelam.storage.migrate import migrate
from estelam.storage.store import Store
from promissory.settings import PromissorySettings
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, outcome
from tools.env.postgres import USER, PostgresCluster

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
STEP = """
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    for statement in {statements!r}:
        op.execute(statement)
"""
REPLACE_ENTRIES = (
    "CREATE TABLE ledger.copy (LIKE ledger.entry INCLUDING ALL)",
    "INSERT INTO ledger.copy SELECT * FROM ledger.entry",
    "SELECT pg_sleep(0.5)",
    "DROP TABLE ledger.entry",
    "ALTER TABLE ledger.copy RENAME TO entry",
)


Release = Callable[..., None]


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """Makes a new release, whose migration of the ledger executes the given statements."""
    current = Path(migrations.__file__).parent / "migrations" / "versions"
    head = max(path.name.partition("_")[0] for path in current.glob("[0-9]*.py"))

    def make(*statements: str) -> None:
        chain = Path(shutil.copytree(current, tmp_path / "release" / "versions"))
        (tmp_path / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path.parent)
        (chain / "9999_next.py").write_text(STEP.format(head=head, statements=statements))
        chains = {"ledger": f"{tmp_path.name}:release", "facts": PromissorySettings.MIGRATIONS}
        for module in (migrations, schema):
            monkeypatch.setattr(module, "chains", lambda _scripts: chains)

    return make


@pytest.mark.slow
@on_postgresql
def test_migration_beside_workers(loaded: Sandbox, cluster: PostgresCluster, start: Start, release: Release) -> None:
    """A migration that replaces a table loses no acknowledged entry, and the serving role can go on serving."""
    settings, role = loaded.promissory(), "migration_serving"
    with cluster.connect() as server:
        server.execute(f"CREATE ROLE {role} LOGIN")
    migrate(settings.store, settings.MIGRATIONS, {Role.SERVING: role})
    service = start(promissory_opening(loaded, store=settings.store.replace(f"{USER}@", f"{role}@")))
    answers: list[object] = []
    over = threading.Event()

    def ask_on() -> None:
        with caller(loaded, service.address) as ask:
            while not over.is_set():
                answers.append(outcome(ask))

    asking = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in asking:
        thread.start()
    release(*REPLACE_ENTRIES)
    migrate(settings.store, settings.MIGRATIONS, {Role.SERVING: role})
    with caller(loaded, service.address) as ask:
        after = [outcome(ask) for _ in range(3)]
    over.set()
    for thread in asking:
        thread.join(20)
    with closing(Store(settings.store)) as store, store.transaction() as connection:
        entries = search.size(connection)
        stored = connection.exec_driver_sql("SELECT count(*) FROM ledger.entry").scalar_one()

    assert ANSWER_YES == after[-1]
    assert entries == stored >= (answers + after).count(ANSWER_YES) > len(after)


@on_postgresql
def test_migration_beside_a_long_reader(
    loaded: Sandbox, start: Start, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that can't lock a table gives way, so that inquiries are answered, and ends after the reader."""
    monkeypatch.setattr(postgresql, "MIGRATION_LOCK_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(migrations, "PAUSE_SECONDS", 0.2)
    settings, faults = loaded.promissory(), []
    service = start(promissory_opening(loaded))
    release("ALTER TABLE ledger.entry ADD COLUMN later bigint")

    def run() -> None:
        try:
            migrate(settings.store, settings.MIGRATIONS)
        except Exception as error:  # noqa: BLE001 - checked below
            faults.append(error)

    migrating = threading.Thread(target=run)
    with closing(Store(settings.store)) as reader, caller(loaded, service.address) as ask:
        with reader.transaction() as connection:
            list(search.entries_between(connection, 0, None))
            migrating.start()
            answers = [outcome(ask) for _ in range(20)]
            is_waiting = migrating.is_alive()
        migrating.join(30)

    assert [ANSWER_YES] * 20 == answers
    assert (True, False, []) == (is_waiting, migrating.is_alive(), faults)


@on_postgresql
def test_migration_gives_up(loaded: Sandbox, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that can't lock a table in all attempts changes nothing, and says what to do."""
    for module, name, value in ((postgresql, "MIGRATION_LOCK_TIMEOUT_SECONDS", 0.1), (migrations, "ATTEMPTS", 2)):
        monkeypatch.setattr(module, name, value)
    settings = loaded.promissory()
    release("ALTER TABLE ledger.entry ADD COLUMN later bigint")
    with closing(Store(settings.store)) as reader, reader.transaction() as connection:
        list(search.entries_between(connection, 0, None))
        with pytest.raises(StoreError, match="could not be locked in 2 attempts, and nothing is changed; wait for"):
            migrate(settings.store, settings.MIGRATIONS)


@on_postgresql
def test_unknown_role_is_named(sandbox: Sandbox) -> None:
    """A role that the database lacks is named, with its setting."""
    with pytest.raises(StoreError, match="serving_role: the database has no role nobody; create it: createuser nobody"):
        migrate(sandbox.promissory().store, sandbox.promissory().MIGRATIONS, {Role.SERVING: "nobody"})


def test_migration_beside_a_server_on_sqlite(loaded: Sandbox, start: Start, release: Release) -> None:
    """On SQLite a migration of a store that a service has open is refused, unless there is nothing to do."""
    settings = loaded.promissory()
    service = start(promissory_opening(loaded))
    migrate(settings.store, settings.MIGRATIONS)
    release("ALTER TABLE ledger.entry ADD COLUMN later bigint")
    with pytest.raises(StoreError, match="another process serves from this store; SQLite allows one: stop it first"):
        migrate(settings.store, settings.MIGRATIONS)
    with caller(loaded, service.address) as ask:
        assert ANSWER_YES == ask()
    service.close()
    migrate(settings.store, settings.MIGRATIONS)
    with closing(Store(settings.store)) as store, store.transaction() as connection:
        assert 1 + 2 == search.size(connection)  # an answer, and the notes of the two loads
        connection.exec_driver_sql("SELECT later FROM ledger.entry")
