"""`estelam config`: what is wrong with settings, and where each comes from."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from development.sandbox import Sandbox
from estelam.cli.root import application
from estelam.core.settings_file import CONFIG
from tests.support.transparency_log import ORIGIN, Log


def run(*arguments: str, **environ: str) -> tuple[int, Any]:
    done = CliRunner().invoke(application(), [*arguments, "--json"], env=environ)
    return done.exit_code, json.loads(done.output)


def test_all_faults_are_printed(shared: Sandbox, tmp_path: Path) -> None:
    """The check names each fault of each section, also a file that can't be used."""
    config = tmp_path / "estelam.toml"
    text = shared.config.read_text("utf-8").replace('"pki', f'"{shared.folder}/pki').replace("batch", "x")
    text = text.replace("access.toml", f"{shared.folder}/none.toml", 1).replace("[setad]", "[setad]\ndrain = 1")
    config.write_text(text, "utf-8")

    code, printed = run("config", "check", "promissory", "setad", **{CONFIG: str(config)})

    assert 1 == code
    assert "none.toml" in printed["error"]
    assert "setad.drain" in printed["error"]


def test_sandbox_is_valid(shared: Sandbox) -> None:
    """The settings that `estelam dev` writes are valid."""
    code, printed = run("config", "check", **shared.environ)

    assert (0, "valid", "valid") == (code, printed["promissory"], printed["quality"])


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("owner:secret@host/notes", "owner:***@host/notes"),
        ("owner:secret@host:5432/notes?sslmode=require", "owner:***@host:5432/notes?sslmode=require"),
        ("owner@host/notes?password=secret&sslmode=require", "owner@host/notes?password=***&sslmode=require"),
        ("owner@/notes?host=db&sslpassword=secret", "owner@/notes?host=db&sslpassword=***"),
    ],
)
def test_no_password_is_shown(shared: Sandbox, address: str, shown: str) -> None:
    """An address is shown without its passwords, wherever in it they are."""
    variables = {**shared.environ, "ESTELAM_PROMISSORY_STORE": f"postgresql+psycopg://{address}"}
    code, rows = run("config", "show", "promissory", **variables)

    assert 0 == code
    assert f"postgresql+psycopg://{shown}" == next(row["value"] for row in rows if row["setting"] == "promissory.store")


def test_source_of_each_setting(shared: Sandbox) -> None:
    """Each setting is shown with its source."""
    address = "postgresql+psycopg://owner:secret@host/notes"
    variables = {**shared.environ, "ESTELAM_PROMISSORY_STORE": address}
    code, rows = run("config", "show", "promissory", **variables)
    found = {row["setting"]: (row["value"], row["source"]) for row in rows}

    assert 0 == code
    assert ("postgresql+psycopg://owner:***@host/notes", "ESTELAM_PROMISSORY_STORE") == found["promissory.store"]
    assert str(shared.config) == found["promissory.certificate"][1]
    assert (128, "default") == found["promissory.batch_size"]


@pytest.mark.parametrize("command", ["check", "show"])
def test_without_settings(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a settings file the error names the file that was looked for, and what to do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CONFIG, raising=False)
    code, printed = run("config", command)

    assert 1 == code
    assert f"{tmp_path}/.estelam/estelam.toml: no settings" in printed["error"]
    assert "estelam init" in printed["error"]


def test_files_of_a_witness(tmp_path: Path) -> None:
    """The files of a witness are checked too."""
    config = tmp_path / "estelam.toml"
    config.write_text(
        f'[witness]\nname = "witness.example/w1"\nprivate_key = "none.key"\nstate = "state"\n'
        f'[[witness.logs]]\norigin = "{ORIGIN}"\nkeys = ["{Log([]).key}"]\n',
        "utf-8",
    )

    code, printed = run("config", "check", "witness", **{CONFIG: str(config)})

    assert (1, True) == (code, "none.key" in printed["error"]), printed
