"""Our own services pass the conformance kit on SQLite and PostgreSQL."""

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from conformance import case_loader, http_channel, runner
from conformance.case import Instance
from conformance.reports import signed_json, terminal
from conformance.target import Target
from tests.conformance.test_reports import ParsedPage
from tools.commands.conformance import command, ministry_address, on_postgresql, our_services

WHOLE_SECONDS = 240
# Decided before the store is read, so tested on SQLite only; `make conformance ARGS=--postgresql` tests all.
BEFORE_THE_STORE = ("callers.", "fields.", "metadata.", "wire.")


@pytest.mark.slow
@pytest.mark.timeout(WHOLE_SECONDS + 60)
def test_conform_on_sqlite(tmp_path: Path) -> None:
    """Our services pass every case on SQLite, run by the command line."""
    with our_services(tmp_path / "target") as addresses:
        words = command(tmp_path / "target", addresses, tmp_path)
        done = subprocess.run(words, capture_output=True, text=True, timeout=WHOLE_SECONDS, check=False)
    report = signed_json.verify(tmp_path / "report.json", tmp_path / "target" / "pki" / "examiner.crt")

    assert (0, "CONFORMS", 0) == (done.returncode, report["verdict"], report["left_out"]), done.stdout + done.stderr
    assert {case.id for case in case_loader.read()} == {case["id"] for case in report["cases"]}
    assert "CONFORMS" in ParsedPage((tmp_path / "report.html").read_text("utf-8")).text
    assert set(Instance) == set(report["targets"])


@pytest.mark.slow
def test_json_apis_conform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Our JSON APIs pass one in ten of the cases that apply to them, of those that need no other time."""
    applicable = [case for case in case_loader.read() if http_channel.is_applicable(case) and not case.needs_steering]
    with our_services(tmp_path / "target", http=True) as addresses:
        folder = tmp_path / "target"
        target = Target(addresses, folder / "pki", folder / "steering", ministry_address(folder))
        run = runner.run(applicable[::10], target, opener=http_channel.open_channel, probe=http_channel.find_problems)
    terminal.show(run, Console(width=120))

    assert run.conforms, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(WHOLE_SECONDS + 60)
def test_conform_on_postgresql(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Our services pass every case that involves the store on PostgreSQL."""
    with on_postgresql() as stores, our_services(tmp_path / "target", stores) as addresses:
        folder = tmp_path / "target"
        target = Target(addresses, folder / "pki", folder / "steering", ministry_address(folder))
        run = runner.run([case for case in case_loader.read() if not case.id.startswith(BEFORE_THE_STORE)], target)
    terminal.show(run, Console(width=120))

    assert run.conforms, capsys.readouterr().out
