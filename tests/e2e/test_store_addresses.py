"""Addresses of stores: a folder may have any name, and no command shows a password of a database."""

import socket
from pathlib import Path

import pytest

from development.sandbox import Sandbox
from estelam.storage.migrate import migrate
from estelam.storage.store import Store
from estelam.telemetry import logs
from promissory.settings import PromissorySettings
from tests.e2e.conftest import CommandLine
from tools.env.repository import ROOT

SAMPLES = ROOT / "samples"
NAMES = ["a?b", "a?c", "a#b", "a%41b", "aAb", "a b", "نمونه", "a&mode=ro", "a;b", "a'b", 'a"b', "a\\b", "a+b", "a:b@c"]


@pytest.fixture(scope="module")
def one_store_each(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    for name in NAMES:
        migrate(f"sqlite:///{folder / name}", PromissorySettings.MIGRATIONS)
    return folder


def test_folder_of_any_name(one_store_each: Path) -> None:
    """Stores at different paths are in different folders, of exactly these names."""
    assert set(NAMES) == {path.name for path in one_store_each.iterdir()}
    for name in NAMES:
        assert {"facts.db", "ledger.db"} <= {path.name for path in (one_store_each / name).iterdir()}
        store = Store(f"sqlite:///{one_store_each / name}")
        store.ping()
        store.close()


SECRET = "Kelid"
COMMANDS = [
    "migrate promissory",
    "promissory serve --listen 127.0.0.1:0",
    f"promissory load-notes {SAMPLES / 'notes.csv'} --cut-at 2026-06-01T12:00Z",
    f"promissory load-agencies {SAMPLES / 'agencies.csv'} --cut-at 2026-06-01T12:00Z",
    "promissory recall --since 0 --settle 0",
    f"judiciary load-cases {SAMPLES / 'cases.csv'} --cut-at 2026-06-01T12:00Z --since 1400-01-01",
    "judiciary recall --since 0 --settle 0",
    "ledger verify promissory",
    "ledger subject-report promissory 9990000018",
    "catalogue changes",
    "migrate quality",
    "quality serve --listen 127.0.0.1:0",
    "quality report --month 1405-08 --for working-group",
    "quality collect",
    "quality outage list",
    "quality outage end 1",
]


@pytest.fixture(scope="module")
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


ADDRESSES = {
    "unescaped": f"estelam:{SECRET}@t1@127.0.0.1/x",
    "slash": f"estelam:t1/{SECRET}@127.0.0.1/x",
    "host": f"estelam:{SECRET}@nowhere.invalid/x",
    "refused": f"estelam:{SECRET}@127.0.0.1:PORT/x",
    "option": f"estelam@127.0.0.1:PORT/x?password={SECRET}",
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES.keys())
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command.split()[:2]))
def test_password_is_not_shown(
    shared: Sandbox, monkeypatch: pytest.MonkeyPatch, closed_port: int, command: str, address: str
) -> None:
    """A command that can't reach its database says so on one line, without the password, and advises no migration."""
    monkeypatch.setattr(logs, "configure_logging", lambda _level: None)
    url = f"postgresql+psycopg://{address}".replace("PORT", str(closed_port))
    for service in ("PROMISSORY", "JUDICIARY", "QUALITY"):
        monkeypatch.setenv(f"ESTELAM_{service}_STORE", url)

    result = CommandLine(shared)(*command.split())

    # A command whose exit code 1 says that something is invalid exits 21.
    expected = 21 if {"recall", "verify", "subject-report", "changes"} & set(command.split()) else 1
    assert (expected, 1) == (result.code, result.err.count("\n"))
    assert SECRET not in result.out + result.err
    assert "store" in result.err.lower()
    assert "migrate" not in result.err
