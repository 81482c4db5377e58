"""Runs every `sh` block of docs/operations.md, in order, in one shell."""

import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from development.processes import free_ports
from tests.support import tutorial
from tools.env.envoy import CONFIGS
from tools.env.postgres import PostgresCluster

ROOT = CONFIGS.parent.parent
PAGE = tutorial.DOCS / "operations.md"
SECONDS = 500


def row_of_ports(length: int) -> int:
    """The first of *length* consecutive free ports."""
    while True:
        first = free_ports("first")["first"]
        try:
            with ExitStack() as held:
                for port in range(first, first + length):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        return first


@pytest.fixture
def elsewhere(cluster: PostgresCluster, tmp_path: Path) -> dict[str, str]:
    """The block with paths of this machine in place of the page's, and a shorter shutdown delay."""
    ports = free_ports("50051", "50151", "9901")
    return {
        "/etc/estelam": str(tmp_path / "etc"),
        "/var/lib/estelam": str(tmp_path),
        "/opt/estelam/bin": str(Path(sys.executable).parent),
        "/var/run/postgresql": str(cluster.folder),
        "0.0.0.0": "127.0.0.1",  # noqa: S104
        "shutdown_delay_seconds = 3.0": "shutdown_delay_seconds = 0.2",
        "9100": str(row_of_ports(4)),
        **{name: str(port) for name, port in ports.items()},
    }


@pytest.mark.parametrize(
    ("on_reload", "status", "printed"),
    [
        ("echo workers.restarted >> serve.log", 0, ""),
        (
            "echo worker.failed: no key >> serve.log; echo workers.restart_failed >> serve.log",
            1,
            "worker.failed: no key",
        ),
        ("exit", 1, "The workers were not restarted"),
        (":", 1, "The workers were not restarted"),
    ],
)
def test_restart_workers(tmp_path: Path, on_reload: str, status: int, printed: str) -> None:
    """The page's function ends when the restart does, and says what failed: also without any sign of an end."""
    (function,) = re.findall(r"^restart_workers\(\) \{.*?^\}$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    function = function.replace("/etc/estelam/", "").replace("120", "2")
    (tmp_path / "serve.log").write_text("workers.restarted\nworkers.restart_failed\n")
    server = f"trap '{on_reload}' HUP; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(["bash", "-c", server], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout
        serving.stdout.readline()
        script = f"set -eu\nWORKERS=1 serving={serving.pid}\n{function}\nrestart_workers"
        try:
            done = subprocess.run(
                ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
            )
        finally:
            serving.kill()

    assert status == done.returncode, done.stderr
    assert printed in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
def test_operations_page_runs(cluster: PostgresCluster, tmp_path: Path, elsewhere: dict[str, str]) -> None:
    """Every `sh` block of docs/operations.md runs in order in one shell."""
    source = tmp_path / "source"
    for name in ("deploy", "samples"):
        shutil.copytree(ROOT / name, source / name)
    for path in [*source.glob("deploy/**/*.toml"), *source.glob("deploy/**/*.yaml")]:
        path.write_text(tutorial.replaced(path.read_text("utf-8"), elsewhere), "utf-8")
    with cluster.connect() as connection:
        connection.execute("CREATE DATABASE promissory")
    transcript = tutorial.run(PAGE, folder=source, environ=os.environ, replacements=elsewhere, timeout_seconds=SECONDS)
    events = (tmp_path / "etc" / "serve.log").read_text("utf-8")

    assert transcript.status == 0, transcript.text
    for step, output in zip(tutorial.steps(PAGE), transcript.outputs, strict=True):
        assert tutorial.missing_lines(step.expected, output) == [], f"{step.command}\nprinted:\n{output}"
    assert transcript.text.count("بلی / YES") == 2
    assert events.count('"event": "workers.restarted"') == 3
    assert '"level": "error"' not in events
