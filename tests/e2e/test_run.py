"""`estelam dev`, also as `make run`: what it does with ports and with a settings file that a person edited."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from development import sandbox as suite
from development.cli import PORTS, option
from development.files import CATALOGUE
from development.processes import COMMAND, free_ports
from estelam.cli.root import application

CONFIG = Path(".estelam") / "estelam.toml"
READY = "Ctrl-C stops all services."


def variables(ports: dict[str, int]) -> dict[str, str]:
    """The environment variables that set *ports*."""
    return {f"PORT_{name.upper()}": str(port) for name, port in ports.items()}


def start(folder: Path, ports: dict[str, int], *options: str) -> subprocess.Popen[str]:
    """Start `estelam dev` with *options* in *folder*, with *ports* by variable."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ESTELAM_", "PORT_"))}
    return subprocess.Popen(
        [*COMMAND, "dev", *options],
        cwd=folder,
        env={**inherited, **variables(ports)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_until_ready(folder: Path, ports: dict[str, int]) -> str:
    """Start, stop with Ctrl-C when all services are up, and return the output up to there."""
    with start(folder, ports) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if READY in line and READY not in "".join(lines[:-1]):
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, "".join(lines)
    return "".join(lines)


def run_to_end(folder: Path, ports: dict[str, int]) -> tuple[int, str]:
    """Start, and return the exit status and the output."""
    with start(folder, ports) as process:
        output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.slow
def test_edited_settings_are_kept(tmp_path: Path) -> None:
    """A settings file that was edited is kept, and sets the ports."""
    ports = free_ports(*PORTS)
    config = suite.create_sandbox(tmp_path / CONFIG.parent, ports=ports, catalogue=CATALOGUE).config
    edited = config.read_text("utf-8") + "# a remark\n"
    config.write_text(edited, "utf-8")

    output = run_until_ready(tmp_path, {})

    assert config.read_text("utf-8") == edited
    assert f"http://localhost:{ports['page']}/" in output
    assert f"http://localhost:{ports['dashboard']}/" in output
    assert run_to_end(tmp_path, {"page": ports["api"]}) == (
        1,
        f"{CONFIG} was edited, so it sets the ports: change them there, or remove the file\n",
    )


@pytest.mark.parametrize("name", PORTS)
def test_port_in_use_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port in use ends the command before it writes anything; the message names port, service and what to do."""
    ports = free_ports(*PORTS)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", ports[name])):
        done = CliRunner().invoke(application(), ["dev"], env=variables(ports))

    assert done.exit_code == 1
    assert f"port {ports[name]} of {name} is in use" in done.output
    assert f"{option(name)} " in done.output
    assert not (tmp_path / CONFIG).exists()


@pytest.mark.slow
def test_sandbox_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """`estelam dev --sandbox` answers a number as its list says; the folder then serves nothing else."""
    with start(tmp_path, free_ports(*PORTS), "--sandbox") as process:
        assert process.stdout is not None
        output = next(line for line in process.stdout if READY in line or "rror" in line)
        note = ["--obligor", "9990019002", "--beneficiary", "99000190004", "--amount", "2500000000"]
        ask = [*COMMAND, "promissory", "check", "--serial", "9999000000000003", *note]
        asked = subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert (READY, 20) == (output.strip(), asked.returncode), asked.stderr
    assert "DATA_STALE" in asked.stderr
    assert run_to_end(tmp_path, {}) == (
        1,
        ".estelam was made with --sandbox: choose another folder, or remove it\n",
    )
