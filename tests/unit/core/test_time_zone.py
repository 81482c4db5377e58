"""Time-zone data: that of the package, checked at the start."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest


def tzif(rule: str) -> bytes:
    """A file of time-zone data without transitions: *rule* (POSIX TZ) holds in every year."""
    header = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 1)
    return 2 * (header + struct.pack(">lBB", 12_600, 0, 0) + b"\0") + f"\n{rule}\n".encode()


SUMMER_TIME_FOR_EVER = tzif("<+0330>-3:30<+0430>,J79/24,J263/24")
"""Iran's rule as the data of 2021 has it."""


def run_estelam(*words: str, **environ: str) -> tuple[int, str, str]:
    """Run a command that reads the clock, with *environ* added to the environment."""
    command = [sys.executable, "-m", "estelam", *words]
    result = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("system", ["outdated", "none"])
def test_packaged_time_zone_data_is_preferred(tmp_path: Path, system: str) -> None:
    """Iran's time is right on a host whose own time-zone data is outdated, and on one that has none."""
    zones = tmp_path / "zoneinfo"
    (zones / "Asia").mkdir(parents=True)
    if system == "outdated":
        (zones / "Asia" / "Tehran").write_bytes(SUMMER_TIME_FOR_EVER)
    program = (
        "from datetime import *; from zoneinfo import ZoneInfo; {}print(datetime(2026, 7, 1, tzinfo=zone).utcoffset())"
    )
    hosts, ours = "zone = ZoneInfo('Asia/Tehran'); ", "from estelam.core.clock import TEHRAN as zone; "

    def offset(zone: str) -> str:
        command = [sys.executable, "-c", program.format(zone)]
        environ = os.environ | {"PYTHONTZPATH": str(zones)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()

    assert ("4:30:00" if system == "outdated" else "3:30:00") == offset(hosts)
    assert "3:30:00" == offset(ours)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (SUMMER_TIME_FOR_EVER, "has a wrong time for Iran in July 2023"),
        (tzif("<+0330>-3:30"), "has a wrong time for Iran in July 2021"),
        (b"TZif", "is missing or damaged"),
        (None, "is missing or damaged"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_wrong_time_zone_data_is_refused(tmp_path: Path, data: bytes | None, fault: str, more: tuple[str, ...]) -> None:
    """A command does not start with wrong time-zone data: it exits 1 with one line."""
    folder = tmp_path / "tzdata" / "zoneinfo" / "Asia"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent, folder.parent.parent):
        (package / "__init__.py").touch()
    if data is not None:
        (folder / "Tehran").write_bytes(data)

    path = os.pathsep.join([str(tmp_path), *sys.path])
    result = run_estelam("catalogue", "parties", *more, PYTHONPATH=path)

    assert (1, "", f"the package tzdata {fault}; run: pip install --upgrade tzdata\n") == result
