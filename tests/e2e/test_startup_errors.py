"""Errors that prevent a start are reported in plain words, with exit code 1."""

from pathlib import Path

import pytest

from development import sandbox as suite
from development.process_limits import ProcessError
from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.core.keys import new_keyring_line
from estelam.core.pem import read_certificates
from estelam.telemetry import logs
from tests.e2e.conftest import CommandLine
from tests.support.certificates import DAY, NOW, certificate_pem, write_retirement


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


@pytest.mark.slow
def test_sqlite_store_has_one_process(running: Sandbox) -> None:
    """A second process that serves the same SQLite store refuses to start."""
    second = ServiceProcess("promissory", running, listen="127.0.0.1:0")

    assert "another process serves from this store" in refused(second)


@pytest.mark.slow
def test_taken_port_is_reported(running: Sandbox, sandbox: Sandbox) -> None:
    """A taken port is reported."""
    taken = running.promissory().listen

    words = refused(ServiceProcess("promissory", sandbox, listen=taken))

    assert f"--listen: {taken} can't be bound: another program listens there" in words
    assert "Traceback" not in words


def test_unmigrated_store_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """A store that was never migrated is neither served nor created."""
    store = {"ESTELAM_PROMISSORY_STORE": f"sqlite:///{tmp_path / 'nowhere'}"}

    assert refused(ServiceProcess("promissory", sandbox, environ=store)).endswith("run: estelam migrate")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
def test_changed_required_feeds_are_refused(tmp_path: Path) -> None:
    """A service whose settings require other feeds than its coverage was declared for does not start."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    suite.load_samples(sandbox)
    feeds = {"ESTELAM_PROMISSORY_FEEDS": "notes:members"}

    words = refused(ServiceProcess("promissory", sandbox, environ=feeds))

    assert "the settings require the feeds members, notes, and the coverage was declared for notes" in words


@pytest.mark.slow
def test_wrong_keyring_is_refused(tmp_path: Path) -> None:
    """A service whose keyring holds another key under an id in use does not start: nobody would find its entries."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    suite.load_samples(sandbox)
    with ServiceProcess("promissory", sandbox):
        pass
    keyring = sandbox.promissory().hmac_keyring
    key_id, _ = keyring.read_text("ascii").split()
    keyring.write_text(new_keyring_line(key_id), "ascii")

    words = refused(ServiceProcess("promissory", sandbox))

    assert f"the keyring holds another key as {key_id} than the ledger was written with" in words


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
        ("ESTELAM_PROMISSORY_BATCH_SIZE", "many", "ESTELAM_PROMISSORY_BATCH_SIZE: must be a whole number"),
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
        ("pki/ca.crt", "pki/ca.crt"),
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

    assert "is not the key of the certificate" in serve().err


@pytest.mark.parametrize(
    ("since", "until", "usage", "words"),
    [
        (-9, -6, True, "promissory-receipts.key: can't sign: the signing certificate was no longer valid at"),
        (6, 9, True, "promissory-receipts.key: can't sign: the signing certificate was not yet valid at"),
        (-1, 1, False, "promissory-receipts.crt: may not sign, its key usage has no digitalSignature"),
    ],
)
def test_invalid_signing_certificate(
    serve: CommandLine, sandbox: Sandbox, since: int, until: int, *, usage: bool, words: str
) -> None:
    """A service whose signing certificate is not valid now, or not for signing, does not start."""
    file = sandbox.pki / "promissory-receipts.crt"
    public = read_certificates(file)[0].public_key()
    file.write_bytes(
        certificate_pem(sandbox.pki, public, since=NOW + since * DAY, until=NOW + until * DAY, digital_signature=usage)
    )

    assert words in serve().err


def test_signing_key_without_certificate(serve: CommandLine, sandbox: Sandbox) -> None:
    """A service whose signing key has none of the signing certificates does not start."""
    (sandbox.pki / "promissory-receipts.key").write_bytes((sandbox.pki / "judiciary-receipts.key").read_bytes())

    assert "promissory-receipts.key: no certificate of this key is in" in serve().err


def test_retired_signing_key(serve: CommandLine, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service whose signing key is retired does not start."""
    certificate = sandbox.pki / "promissory-receipts.crt"
    retired = write_retirement(sandbox.folder / "retired.json", certificate, NOW - DAY, "superseded")
    monkeypatch.setenv("ESTELAM_PROMISSORY_RETIRED_KEYS", str(retired))

    assert "can't sign: the signing key was retired at" in serve().err
