"""Our own services, examined whole: through the command line on SQLite, and on PostgreSQL."""

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from conformance import case_loader, runner
from conformance.case import Instance
from conformance.reports import signed_json, terminal
from conformance.target import Target
from tests.conformance.test_reports import Reading
from tools.commands.conformance import command, on_postgresql, our_services

WHOLE_SECONDS = 240
# Settled before any store is asked, and so tried on SQLite alone; `make conformance ARGS=--postgresql` tries all.
BEFORE_THE_STORE = ("callers.", "fields.", "metadata.", "wire.")


@pytest.mark.timeout(WHOLE_SECONDS + 60)
def test_our_own_services_conform_on_sqlite_as_the_command_line_tells(tmp_path: Path) -> None:
    with our_services(tmp_path / "examined") as addresses:
        words = command(tmp_path / "examined", addresses, tmp_path)
        done = subprocess.run(words, capture_output=True, text=True, timeout=WHOLE_SECONDS, check=False)
    report = signed_json.verify(tmp_path / "report.json", tmp_path / "examined" / "pki" / "examiner.crt")

    assert (0, "CONFORMS", 0) == (done.returncode, report["verdict"], report["left_out"]), done.stdout + done.stderr
    assert {case.id for case in case_loader.read()} == {case["id"] for case in report["cases"]}
    assert "CONFORMS" in Reading((tmp_path / "report.html").read_text("utf-8")).text
    assert set(Instance) == set(report["targets"])


@pytest.mark.timeout(WHOLE_SECONDS + 60)
def test_our_own_services_conform_on_postgresql_in_all_that_a_store_can_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with on_postgresql() as stores, our_services(tmp_path / "examined", stores) as addresses:
        target = Target(addresses, tmp_path / "examined" / "pki", tmp_path / "examined" / "steering")
        verdict = runner.run([case for case in case_loader.read() if not case.id.startswith(BEFORE_THE_STORE)], target)
    terminal.show(verdict, Console(width=120))

    assert verdict.conforms, capsys.readouterr().out
