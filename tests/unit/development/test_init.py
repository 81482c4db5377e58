"""`estelam init`: what it makes can be used as it is."""

import json
import os
import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from development.init import KINDS
from estelam.cli.root import application
from estelam.core.settings_file import CONFIG


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(application(), arguments)
    return done.exit_code, done.output


@pytest.mark.parametrize("service", KINDS)
def test_folder_is_complete(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name every setting and pass the check, no key is readable by others, compose runs the service."""
    folder = tmp_path / "made"
    made = run("init", str(folder), "--service", service, "--organization", "99001504616", "--json")
    monkeypatch.setenv(CONFIG, str(folder / "estelam.toml"))
    checked = run("config", "check", "--json")
    text = (folder / "estelam.toml").read_text("utf-8")
    compose = yaml.safe_load((folder / "compose.yaml").read_text("utf-8"))["services"]

    assert (0, 0) == (made[0], checked[0]), made[1] + checked[1]
    assert "valid" == json.loads(checked[1])[service]
    assert [name for name in KINDS[service].model_fields if f"{name} =" not in text] == []
    assert {0o600} == {stat.S_IMODE(key.stat().st_mode) for key in (folder / "pki").glob("*.key*")}
    assert ([service, "serve"], f"{os.getuid()}:{os.getgid()}") == (
        compose[service]["command"],
        compose[service]["user"],
    )
    assert ("migrate" in compose) == (service != "setad")


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    """A folder with files in it is left as it is."""
    (tmp_path / "kept").touch()

    assert 2 == run("init", str(tmp_path), "--service", "setad")[0]
    assert [tmp_path / "kept"] == list(tmp_path.iterdir())
