"""Runs every `sh` block of docs/operations.md, in order, in one shell."""

import re
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools.env.envoy import CONFIGS
from tools.env.postgres import PostgresCluster
from tools.env.processes import free_ports

ROOT = CONFIGS.parent.parent
PAGE = ROOT / "docs" / "operations.md"
SECONDS = 500


def blocks() -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))


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
        "/opt/estelam/bin": str(Path(sys.executable).parent),
        "/var/run/postgresql": str(cluster.folder),
        "0.0.0.0": "127.0.0.1",  # noqa: S104
        "shutdown_delay_seconds = 3.0": "shutdown_delay_seconds = 0.2",
        "9100": str(row_of_ports(4)),
        **{name: str(port) for name, port in ports.items()},
    }


def put(text: str, elsewhere: dict[str, str]) -> str:
    for here, there in elsewhere.items():
        text = re.sub(rf"(?<!\d){re.escape(here)}(?!\d)", there, text)
    return text


@pytest.mark.timeout(SECONDS + 30)
def test_operations_page_runs(cluster: PostgresCluster, tmp_path: Path, elsewhere: dict[str, str]) -> None:
    """Every `sh` block of docs/operations.md runs in order in one shell."""
    source = tmp_path / "source"
    for name in ("deploy", "samples"):
        shutil.copytree(ROOT / name, source / name)
    for path in [*source.glob("deploy/**/*.toml"), *source.glob("deploy/**/*.yaml")]:
        path.write_text(put(path.read_text("utf-8"), elsewhere), "utf-8")
    with cluster.connect() as connection:
        connection.execute("CREATE DATABASE promissory")
    script = f"set -euo pipefail; trap 'kill $(jobs -p); wait' EXIT\n{put(blocks(), elsewhere)}"
    log = tmp_path / "result"
    with log.open("w") as result:
        done = subprocess.run(
            ["bash", "-c", script], cwd=source, stdout=result, stderr=result, timeout=SECONDS, check=False
        )
    words, events = log.read_text("utf-8"), (tmp_path / "etc" / "serve.log").read_text("utf-8")

    assert 0 == done.returncode, words
    assert re.search(r"^VALID\s*$", words, re.MULTILINE)
    assert 2 == words.count("بلی / YES")
    assert 3 == events.count('"event": "workers.restarted"')
    assert '"level": "error"' not in events
