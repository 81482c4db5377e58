"""The distribution: what the wheel contains, that it runs, and what its metadata and lock files say."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import packages_distributions
from itertools import takewhile
from pathlib import Path

import pytest

from development.cli import PORTS
from development.processes import COMMAND, QUALITY, SERVICES, free_ports
from tools.env.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
IGNORED = re.compile(r"__pycache__|\.egg-info|development/data/deploy/secrets/")
PROCESSES = (*SERVICES, QUALITY)
PINNED = re.compile(r"^([a-z0-9-]+)==\S+", re.MULTILINE)
NAME = re.compile(r"^[A-Za-z0-9-]+")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the sources without network access."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "services", source / "services", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    secrets = source / "services" / "development" / "data" / "deploy" / "secrets" / "promissory"
    secrets.mkdir(parents=True, exist_ok=True)
    (secrets / "server.key").touch()
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, source], cwd=source, check=True, capture_output=True)
    return zipfile.ZipFile(next(source.glob("*.whl")))


def test_wheel_has_every_file(wheel: zipfile.ZipFile) -> None:
    """The wheel contains every file of services/, those of linked folders too: modules, stubs, data; but no key."""
    folders = os.walk(ROOT / "services", followlinks=True)
    files = (Path(folder) / name for folder, _, names in folders for name in names)
    expected = {str(path.relative_to(ROOT / "services")) for path in files if not IGNORED.search(str(path))}

    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


@pytest.mark.slow
def test_wheel_runs_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """With what `pip install estelam` installs, in an empty folder, `estelam dev` starts all services."""
    wheel.extractall(tmp_path / "installed")
    without = f"import sys\nsys.modules.update(dict.fromkeys({_optional_modules(wheel)}))\n"
    (tmp_path / "installed" / "sitecustomize.py").write_text(without)
    (folder := tmp_path / "empty").mkdir()
    ports = {f"PORT_{name.upper()}": str(port) for name, port in free_ports(*PORTS).items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ESTELAM_", "PORT_"))}
    environ = {**inherited, **ports, "PYTHONPATH": str(tmp_path / "installed")}
    running = subprocess.Popen([*COMMAND, "dev"], cwd=folder, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        output = "".join(takewhile(lambda line: line != "Ctrl-C stops all services.\n", running.stdout))
        question = next(line.split()[1:] for line in output.splitlines() if " promissory check " in line)
        asked = subprocess.run(
            [*COMMAND, *question], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)

    assert (0, 0) == (running.returncode, asked.returncode)
    assert "YES" in asked.stdout
    assert all(f"http://localhost:{ports[name]}/" in output for name in ("PORT_PAGE", "PORT_DASHBOARD"))
    settings = (folder / ".estelam" / "estelam.toml").read_text("utf-8")
    assert str(tmp_path / "installed") in settings
    assert all(table["metrics_listen"] for name, table in tomllib.loads(settings).items() if name in PROCESSES)


def _optional_modules(wheel: zipfile.ZipFile) -> list[str]:
    """The top-level modules that only extras of the wheel install."""
    needed = _metadata(wheel).get_all("Requires-Dist", [])
    optional = {match[0].lower() for text in needed if "extra ==" in text and (match := NAME.match(text))} - {"estelam"}
    distributions = packages_distributions().items()
    return [module for module, names in distributions if {name.replace("_", "-").lower() for name in names} <= optional]


def _metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    """The metadata names the licence, and the wheel contains its text."""
    folder = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)

    assert _metadata(wheel)["License-Expression"] == "Apache-2.0 AND OFL-1.1"
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_names_no_index(lock: Path) -> None:
    """A lock file pins every package with a hash and names no index, address or folder."""
    lines = [line.strip() for line in lock.read_text("utf-8").splitlines() if not line.startswith("#")]

    assert all(re.fullmatch(r"[a-z0-9-]+==\S+( ;.*)? \\|--hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines)


@pytest.mark.slow
def test_lock_has_every_dependency() -> None:
    """The development lock pins each declared dependency, and the other locks are parts of it."""
    extras = PROJECT["optional-dependencies"]
    declared = {*PROJECT["dependencies"], *extras["conformance"], *extras["dev"]}
    names = {match[0].lower() for text in declared if (match := NAME.match(text))} - {PROJECT["name"]}
    pins = {lock.stem: set(PINNED.findall(lock.read_text("utf-8"))) for lock in LOCKS}
    lines = {lock.stem: set(lock.read_text("utf-8").splitlines()) for lock in LOCKS}

    assert names <= pins["development"]
    assert {name for name in lines["image"] | lines["build"] if "==" in name} <= lines["development"]
    assert "pyarrow" in pins["image"]
