"""Settings from the file and the environment; unknown keys are errors."""

from pathlib import Path

import pytest

from development.sandbox import Sandbox
from estelam.core.exceptions import UsageError
from estelam.core.settings import (
    CatalogueSettings,
    ClientSettings,
    SettingsError,
    SettingsSection,
    load_settings,
)
from estelam.core.settings_file import CONFIG
from judiciary.settings import JudiciarySettings
from promissory.settings import PromissorySettings
from quality.settings import QualitySettings
from sataad_adapter.settings import SetadSettings


def rewritten(sandbox: Sandbox, old: str, new: str) -> dict[str, str]:
    sandbox.config.write_text(sandbox.config.read_text("utf-8").replace(old, new, 1), "utf-8")
    return dict(sandbox.environ)


def test_relative_paths(sandbox: Sandbox) -> None:
    """Paths in the file are relative to the file's folder."""
    settings = sandbox.promissory()

    assert sandbox.folder / "pki" / "promissory-server.crt" == settings.certificate
    assert f"sqlite:///{sandbox.folder / 'promissory'}" == settings.store


def test_environment_overrides_file(sandbox: Sandbox) -> None:
    """A variable overrides the key in the file."""
    environ = {
        **sandbox.environ,
        "ESTELAM_PROMISSORY_REQUEST_TIMEOUT_SECONDS": "3",
        "ESTELAM_PROMISSORY_MAX_STALENESS": "PT1H",
    }
    settings = load_settings(PromissorySettings, environ=environ)

    assert (3, 3600) == (settings.request_timeout_seconds, settings.max_staleness.total_seconds())


def test_arguments_override_both(sandbox: Sandbox) -> None:
    """An argument overrides the variable and the key."""
    environ = {**sandbox.environ, "ESTELAM_PROMISSORY_LISTEN": "127.0.0.1:1"}

    assert "127.0.0.1:2" == load_settings(PromissorySettings, environ=environ, listen="127.0.0.1:2").listen


@pytest.mark.parametrize(
    "variable", ["ESTELAM_PROMISSORY_LISTNE", "ESTELAM_MINISTRY_LISTEN", "ESTELAM_TYPO", "ESTELAM_PROMISSORY_"]
)
def test_unknown_variable(sandbox: Sandbox, variable: str) -> None:
    """An unknown variable is an error that names it."""
    with pytest.raises(SettingsError, match=variable):
        load_settings(PromissorySettings, environ={**sandbox.environ, variable: "x"})


def test_list_in_variable(sandbox: Sandbox) -> None:
    """A list in a variable is separated as paths are."""
    environ = {**sandbox.environ, "ESTELAM_PROMISSORY_TRUSTED_PROXY_KEYS": f"{'0' * 64}:{'f' * 64}"}

    assert ("0" * 64, "f" * 64) == load_settings(PromissorySettings, environ=environ).trusted_proxy_keys


@pytest.mark.parametrize("proxy", ["", "0" * 63, "0" * 65, "F" * 64, "۰" * 64, "0" * 63 + "\n", ":".join(["00"] * 32)])
def test_bad_fingerprint(sandbox: Sandbox, proxy: str) -> None:
    """A proxy is named by the 64 lowercase hexadecimal digits of its key's hash and in no other form."""
    with pytest.raises(SettingsError, match=r"--trusted-proxy-keys\.0: "):
        load_settings(PromissorySettings, environ=sandbox.environ, trusted_proxy_keys=[proxy])


FILE = ("listen =", 'listen = "nowhere"\n# was =')
SOURCES: dict[str, tuple[tuple[str, str] | None, dict[str, str], dict[str, str], str]] = {
    "file": (FILE, {}, {}, "{file}: promissory.listen: the port is missing"),
    "variable": (None, {"LISTEN": "nowhere"}, {}, "ESTELAM_PROMISSORY_LISTEN: the port is missing"),
    "variable over a wrong file": (FILE, {"LISTEN": "here"}, {}, "ESTELAM_PROMISSORY_LISTEN: the port is missing"),
    "option": (None, {}, {"listen": "nowhere"}, "--listen: the port is missing"),
    "option over a wrong variable": (None, {"LISTEN": "[::1]"}, {"listen": "nowhere"}, "--listen: the port is missing"),
    "file and variable": (
        ("listen =", "batch_size = 0\nlisten ="),
        {"LISTEN": "nowhere"},
        {},
        "ESTELAM_PROMISSORY_LISTEN: the port is missing: give host:port; {file}: promissory.batch_size: must be",
    ),
    "misspelt key": (("listen =", "listne ="), {}, {}, "{file}: promissory.listne: unknown key; did you mean listen?"),
    "misspelt variable": (
        None,
        {"LISTNE": "[::1]:1"},
        {},
        "unknown variable: ESTELAM_PROMISSORY_LISTNE; did you mean ESTELAM_PROMISSORY_LISTEN?",
    ),
    "misspelt table": (
        ("[promissory]", "[promisory]"),
        {},
        {},
        "{file}: unknown table: promisory; did you mean",
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_source_is_named(sandbox: Sandbox, source: str) -> None:
    """An error names where the wrong value comes from: the option, the variable, or the file and its key."""
    change, variables, overrides, text = SOURCES[source]
    environ = dict(rewritten(sandbox, *change) if change else sandbox.environ)
    environ |= {f"ESTELAM_PROMISSORY_{name}": value for name, value in variables.items()}

    with pytest.raises(SettingsError) as caught:
        load_settings(PromissorySettings, environ=environ, **overrides)

    assert str(caught.value).startswith(text.format(file=environ[CONFIG]))
    assert isinstance(caught.value, UsageError) == bool(overrides)


def test_origin(sandbox: Sandbox) -> None:
    """A setting knows where its value comes from, also in a copy."""
    environ = {**sandbox.environ, "ESTELAM_PROMISSORY_METRICS_LISTEN": "127.0.0.1:0"}
    settings = load_settings(PromissorySettings, environ=environ, listen="127.0.0.1:0").model_copy()

    names = ("listen", "metrics_listen", "store")
    assert ["--listen", "ESTELAM_PROMISSORY_METRICS_LISTEN", "promissory.store"] == list(map(settings.origin, names))


def test_other_section_is_ignored(sandbox: Sandbox) -> None:
    """Variables of another service's section do not matter."""
    load_settings(PromissorySettings, environ={**sandbox.environ, "ESTELAM_JUDICIARY_LISTEN": "127.0.0.1:1"})


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("listen =", "listne =", "listne"),
        ("[promissory]", "[ministry]", "ministry"),
        ("[promissory]", "[promissory", "estelam.toml"),
        ('store = "', '# store = "', "store"),
        ("listen =", 'request_timeout_seconds = "soon"\nlisten =', "request_timeout_seconds"),
        ("listen =", "request_timeout_seconds = 0\nlisten =", "request_timeout_seconds"),
    ],
)
def test_bad_file(sandbox: Sandbox, old: str, new: str, named: str) -> None:
    """An invalid file is an error that names the key or the table."""
    with pytest.raises(SettingsError, match=named):
        load_settings(PromissorySettings, environ=rewritten(sandbox, old, new))


def test_missing_file(tmp_path: Path) -> None:
    """A missing file is an error that names it."""
    with pytest.raises(SettingsError, match=r"^no settings file .*nowhere"):
        load_settings(PromissorySettings, environ={CONFIG: str(tmp_path / "nowhere.toml")})


@pytest.mark.parametrize(
    "kind", [PromissorySettings, JudiciarySettings, SetadSettings, QualitySettings, ClientSettings, CatalogueSettings]
)
def test_every_setting_is_described(kind: type[SettingsSection]) -> None:
    """Every setting has a description, from which the reference page is generated."""
    assert [] == [name for name, field in kind.model_fields.items() if not field.description]
