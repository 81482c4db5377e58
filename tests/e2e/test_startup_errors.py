"""What keeps a service from starting: it says so in plain words and exits 1."""

from pathlib import Path

import pytest

from estelam.telemetry import logs
from tests.e2e.conftest import CommandLine
from tools.env.processes import ProcessError, ServiceProcess
from tools.env.sandbox import Sandbox


def refused(service: ServiceProcess) -> str:
    """What *service*, a real process, says instead of starting."""
    try:
        with pytest.raises(ProcessError) as caught:
            service.start()
    finally:
        service.kill()
    assert service.exit_status == 1
    return str(caught.value)


@pytest.fixture
def serve(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """`estelam promissory serve` in this process, whose own logs are left as they are."""
    monkeypatch.setattr(logs, "configure_logging", lambda _level: None)
    return CommandLine(sandbox, ("promissory", "serve", "--listen", "127.0.0.1:0"))


def test_one_sqlite_store_is_served_by_one_process(running: Sandbox) -> None:
    second = ServiceProcess("promissory", running, listen="127.0.0.1:0")

    assert "another process serves from this store" in refused(second)


def test_a_port_that_is_taken_is_said_to_be(running: Sandbox, sandbox: Sandbox) -> None:
    taken = running.promissory().listen

    words = refused(ServiceProcess("promissory", sandbox, listen=taken))

    assert f"{taken} can't be bound; is another server there?" in words
    assert "Traceback" not in words


def test_a_store_that_was_never_migrated_is_not_served_and_not_made(sandbox: Sandbox, tmp_path: Path) -> None:
    store = {"ESTELAM_PROMISSORY_STORE": f"sqlite:///{tmp_path / 'nowhere'}"}

    assert refused(ServiceProcess("promissory", sandbox, environ=store)).endswith("run: estelam migrate")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("[promissory]", "[promissory]\nlistn = 1", "promissory.listn: Extra inputs are not permitted"),
        ("[judiciary]", "[judicary]", "unknown table: judicary"),
        ("[promissory]", "[promissory", "estelam.toml"),
        ('certificate = "pki/promissory-server.crt"', "", "promissory.certificate: Field required"),
    ],
)
def test_a_slip_in_the_settings_file_is_named(
    serve: CommandLine, sandbox: Sandbox, right: str, wrong: str, words: str
) -> None:
    text = sandbox.config.read_text("utf-8")
    sandbox.config.write_text(text.replace(right, wrong), "utf-8")

    said = serve()

    assert said.code == 1
    assert words in said.err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ESTELAM_PROMISSORY_LISTN", "x", "unknown variable: ESTELAM_PROMISSORY_LISTN"),
        ("ESTELAM_PROMISORY_LISTEN", "x", "unknown variable: ESTELAM_PROMISORY_LISTEN"),
        ("ESTELAM_PROMISSORY_BATCH_SIZE", "many", "promissory.batch_size: Input should be a valid integer"),
    ],
)
def test_a_slip_in_a_variable_is_named(
    serve: CommandLine, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)

    said = serve()

    assert said.code == 1
    assert words in said.err


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
def test_a_file_that_is_missing_or_damaged_is_named(
    serve: CommandLine, sandbox: Sandbox, file: str, content: bytes | None, words: str
) -> None:
    path = sandbox.folder / file
    path.unlink() if content is None else path.write_bytes(content)

    said = serve()

    assert said.code == 1
    assert words in said.err
    assert said.err.count("\n") == 1


def test_a_key_of_another_certificate_is_not_served_with(serve: CommandLine, sandbox: Sandbox) -> None:
    (sandbox.pki / "promissory-server.key").write_bytes((sandbox.pki / "setad.key").read_bytes())

    assert "the private key does not match the certificate" in serve().err
