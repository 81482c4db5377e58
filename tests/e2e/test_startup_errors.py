"""Errors that prevent a start are reported in plain words, with exit code 1."""

from pathlib import Path

import pytest

from estelam.telemetry import logs
from tests.e2e.conftest import CommandLine
from tools.env.processes import ServiceProcess
from tools.env.python_process import ProcessError
from tools.env.sandbox import Sandbox


def refused(service: ServiceProcess) -> str:
    """The message of *service*, a real process, that does not start."""
    try:
        with pytest.raises(ProcessError) as caught:
            service.start()
    finally:
        service.kill()
    assert service.exit_status == 1
    return str(caught.value)


@pytest.fixture
def serve(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Runs `estelam promissory serve` in this process, without changing its logging."""
    monkeypatch.setattr(logs, "configure_logging", lambda _level: None)
    return CommandLine(sandbox, ("promissory", "serve", "--listen", "127.0.0.1:0"))


def test_sqlite_store_has_one_process(running: Sandbox) -> None:
    """A second process that serves the same SQLite store refuses to start."""
    second = ServiceProcess("promissory", running, listen="127.0.0.1:0")

    assert "another process serves from this store" in refused(second)


def test_taken_port_is_reported(running: Sandbox, sandbox: Sandbox) -> None:
    """A taken port is reported."""
    taken = running.promissory().listen

    words = refused(ServiceProcess("promissory", sandbox, listen=taken))

    assert f"{taken} can't be bound; is another server there?" in words
    assert "Traceback" not in words


def test_unmigrated_store_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """A store that was never migrated is neither served nor created."""
    store = {"ESTELAM_PROMISSORY_STORE": f"sqlite:///{tmp_path / 'nowhere'}"}

    assert refused(ServiceProcess("promissory", sandbox, environ=store)).endswith("run: estelam migrate")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("[promissory]", "[promissory]\nlistn = 1", "promissory.listn: unknown key"),
        ("[judiciary]", "[judicary]", "unknown table: judicary"),
        ("[promissory]", "[promissory", "estelam.toml"),
        ('certificate = "pki/promissory-server.crt"', "", "promissory.certificate: is missing"),
    ],
)
def test_settings_file_error_is_named(serve: CommandLine, sandbox: Sandbox, right: str, wrong: str, words: str) -> None:
    """An error in the settings file is reported with its place."""
    text = sandbox.config.read_text("utf-8")
    sandbox.config.write_text(text.replace(right, wrong), "utf-8")

    result = serve()

    assert result.code == 1
    assert words in result.err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ESTELAM_PROMISSORY_LISTN", "x", "unknown variable: ESTELAM_PROMISSORY_LISTN"),
        ("ESTELAM_PROMISORY_LISTEN", "x", "unknown variable: ESTELAM_PROMISORY_LISTEN"),
        ("ESTELAM_PROMISSORY_BATCH_SIZE", "many", "promissory.batch_size: Input should be a valid integer"),
    ],
)
def test_settings_variable_error_is_named(
    serve: CommandLine, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    """An error in an environment variable is reported with its name."""
    monkeypatch.setenv(variable, value)

    result = serve()

    assert result.code == 1
    assert words in result.err


@pytest.mark.parametrize("content", [None, b"", b"damaged"], ids=["missing", "empty", "damaged"])
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("access.toml", "access.toml"),
        ("promissory/subjects.keys", ""),
        ("promissory/facts.db", "run: estelam migrate"),
        ("promissory/ledger.db", "run: estelam migrate"),
        ("pki/ca.crt", "the server's certificate can't be used"),
        ("pki/promissory-server.crt", "the server's certificate can't be used"),
        ("pki/promissory-server.key", "the server's certificate can't be used"),
        ("pki/promissory-receipts.key", "promissory-receipts.key"),
    ],
)
def test_missing_or_damaged_file_is_named(
    serve: CommandLine, sandbox: Sandbox, file: str, content: bytes | None, words: str
) -> None:
    """A missing or damaged file is reported with its path."""
    path = sandbox.folder / file
    path.unlink() if content is None else path.write_bytes(content)

    result = serve()

    assert result.code == 1
    assert words in result.err
    assert result.err.count("\n") == 1


def test_mismatched_key_is_refused(serve: CommandLine, sandbox: Sandbox) -> None:
    """A private key that does not match the certificate is refused."""
    (sandbox.pki / "promissory-server.key").write_bytes((sandbox.pki / "setad.key").read_bytes())

    assert "the private key does not match the certificate" in serve().err
