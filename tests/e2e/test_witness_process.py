"""`estelam witness` as a process: configured by a file, killed at any moment, and started again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from development.processes import LaunchedProcess, spawn_command
from estelam.cli.root import application
from estelam.core.note_keys import KeyKind, NoteKey
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.cosignature import Cosignature
from estelam.receipts.tree import leaf_hash
from estelam.telemetry import logs
from tests.integration.test_witnessing import wait_for
from tests.support.transparency_log import Log, witness_settings

pytestmark = pytest.mark.slow

LOG = Log([leaf_hash(bytes([number])) for number in range(200)])


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of commands that read the witness's settings from a file."""
    settings = witness_settings(tmp_path, LOG)
    (tmp_path / "estelam.toml").write_text(
        f'[witness]\nname = "{settings.name}"\nprivate_key = "witness.key"\nstate = "state"\n'
        f'[[witness.logs]]\norigin = "{LOG.key.name}"\nkeys = ["{LOG.key}"]\n'
    )
    monkeypatch.setenv("ESTELAM_CONFIG", str(tmp_path / "estelam.toml"))
    return dict(os.environ)


@contextmanager
def serving(folder: Path, environ: dict[str, str]) -> Iterator[tuple[LaunchedProcess, httpx.Client]]:
    """Run `estelam witness serve`."""
    port = folder / "port"
    port.unlink(missing_ok=True)
    command = ["witness", "serve", "--listen", "127.0.0.1:0", "--port-file", str(port)]
    process = spawn_command(command, environ, folder / "log")
    try:
        deadline = time.monotonic() + 60
        while not port.exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with httpx.Client(base_url=f"http://127.0.0.1:{port.read_text().strip()}", trust_env=False) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()


def cosigned(client: httpx.Client, old: int, new: int, key: NoteKey) -> list[Cosignature]:
    reply = client.post("/add-checkpoint", content=LOG.submission(old, new).encode())
    assert 200 == reply.status_code, reply.text
    return cosignature.verify(LOG.note(new) + reply.text, [key])


def test_killed(tmp_path: Path, environ: dict[str, str]) -> None:
    """A witness that is killed between any two steps has on its disk every checkpoint that it has cosigned."""
    printed = CliRunner().invoke(application(), ["witness", "key"]).stdout
    key = NoteKey.parse(printed.strip(), KeyKind.COSIGNATURE)
    for first, size in ((0, 3), (3, 43)):
        with serving(tmp_path, environ) as (process, client):
            for old in range(first, size):
                assert cosigned(client, old, old + 1, key)
            process.send_signal(signal.SIGKILL)
            process.wait()
        (file,) = (tmp_path / "state").glob("*.checkpoint")
        assert size == checkpoint.parse(file.read_text("utf-8")).checkpoint.size
    with serving(tmp_path, environ) as (process, client):
        rewritten = LOG.rewritten(1).submission(size, 100)
        assert 422 == client.post("/add-checkpoint", content=rewritten.encode()).status_code
        assert cosigned(client, size, 100, key)
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(30)


def test_reload_with_unusable_files(tmp_path: Path, environ: dict[str, str]) -> None:
    """A reload with a key or a state that can't be used leaves the witness running, and says why."""
    key, log = (tmp_path / "witness.key").read_bytes(), tmp_path / "log"

    def kept() -> list[str]:
        return [line for line in log.read_text().splitlines() if "service.settings_kept" in line]

    with serving(tmp_path, environ) as (process, client):
        for count, spoil in enumerate(((tmp_path / "witness.key").write_bytes, _damage_state(tmp_path)), 1):
            assert client.post("/add-checkpoint", content=LOG.submission(0, 3).encode()).status_code in {200, 409}
            spoil(b"spoiled")
            process.send_signal(signal.SIGHUP)
            wait_for(lambda count=count: len(kept()) == count)  # type: ignore[misc]
            (tmp_path / "witness.key").write_bytes(key)
        text = log.read_text()

    assert "service.restarted" not in text
    assert "witness.key" in kept()[0]
    assert "the last checkpoint of" in kept()[1]


def _damage_state(folder: Path) -> Callable[[bytes], object]:
    return lambda content: [path.write_bytes(content) for path in folder.glob("state*/*.checkpoint")]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "witness.example/w1"', 'name = "a name"', "witness.name"),
        ('keys = ["', 'keys = ["x', "witness.logs.0.keys.0: the verifier key of xlog.example/1 is damaged"),
        (str(LOG.key.name), "", "witness.logs.0.origin"),
        ('private_key = "witness.key"', 'private_key = "none.key"', "none.key: no such file"),
        ('state = "state"', 'state = "none"', "witness.state: there is no folder"),
        ('state = "state"', 'listen = "x"', "witness.state: is missing"),
    ],
)
def test_wrong_settings(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, old: str, new: str, problem: str
) -> None:
    """With wrong settings it does not start, and names the setting."""
    monkeypatch.setattr(logs, "configure_logging", lambda _level: None)
    file = tmp_path / "estelam.toml"
    file.write_text(file.read_text().replace(old, new, 1))
    done = CliRunner().invoke(application(), ["witness", "serve"])

    assert (1, "") == (done.exit_code, done.stdout)
    assert problem in done.stderr
