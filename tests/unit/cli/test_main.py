"""The process of a command: its arguments, streams and unexpected errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ESTELAM = [sys.executable, "-m", "estelam"]
KEYS = {"error", "reason", "layer", "address", "fields"}


def run(*arguments: str | bytes, config: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **({"ESTELAM_CONFIG": str(config)} if config else {})}
    given: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*ESTELAM, *arguments], text=True, check=False, env=environ, timeout=60, **given)  # type: ignore[call-overload,no-any-return]


def test_argument_is_not_text() -> None:
    """An argument that is not UTF-8 exits 2 with one line."""
    done = run("promissory", "check", "--serial", b"\xff")

    assert (2, "", "an argument is not valid UTF-8 text\n") == (done.returncode, done.stdout, done.stderr)


def test_closed_stdout() -> None:
    """A command whose stdout was closed by its parent ends without a traceback."""
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *ESTELAM, "--version"]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, check=False, timeout=60)

    assert "" == done.stderr


def test_full_stdout() -> None:
    """Output that can't be written exits 1 with one line."""
    with Path("/dev/full").open("w") as full:
        done = run("catalogue", "registries", stdout=full)

    assert (1, "the output can't be written: no space left on device\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("client = 3", "client must be a table: [client]"),
        ("[[client]]", "client must be a table: [client]"),
        ("[client]\npki = 'pki'\nhosts = 1", "client.hosts: unknown key"),
        ("[client]", "client.pki: is missing"),
        ("[catalogue]\nfolder = 3", "catalogue.folder: "),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: str, error: str) -> None:
    """An error in the settings names the file and the key, in the JSON error of every command."""
    config = tmp_path / "estelam.toml"
    config.write_text(settings, "utf-8")
    command = ["catalogue", "check"] if "catalogue" in settings else ["promissory", "parties"]
    needed = [] if "catalogue" in settings else ["--serial", "1404000000000017", "--agency", "SETAD-0001"]
    done = run(*command, *needed, "--json", config=config)
    found = json.loads(done.stdout)

    assert (1, "", True) == (done.returncode, done.stderr, set(found) >= KEYS)
    assert f"{config}: {error}" in found["error"]


@pytest.mark.parametrize("head", ["xyz", "7:abcd", f"7:{'g' * 64}", f"x:{'0' * 64}"])
def test_malformed_head_is_not_an_allegation(head: str) -> None:
    """A malformed head exits 2 and says nothing of the ledger."""
    done = run("ledger", "verify", "promissory", "--head", head)

    assert 2 == done.returncode
    assert "give SIZE:ROOT" in done.stderr
    assert "INVALID" not in done.stderr


def test_private_key_is_never_overwritten(tmp_path: Path) -> None:
    """A key whose certificate is missing stays as it is."""
    folder = str(tmp_path)
    issue = ["dev-ca", "issue", folder, "one", "--organization-id", "99000554330"]
    assert [0, 0] == [run("dev-ca", "init", folder).returncode, run(*issue).returncode]
    keys = {name: (tmp_path / name).read_bytes() for name in ("ca.key", "one.key")}
    for name in ("one.crt", "ca.crt"):
        (tmp_path / name).unlink()

    assert [2, 2] == [run(*issue).returncode, run("dev-ca", "init", folder).returncode]
    assert keys == {name: (tmp_path / name).read_bytes() for name in keys}
    assert {0o600} == {(tmp_path / name).stat().st_mode & 0o777 for name in keys}
