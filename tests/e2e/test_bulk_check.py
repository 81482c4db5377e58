"""`judiciary bulk-check-cheques` against real services: messages, exit codes, and a kill of either side."""

import csv
import shutil
import signal
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from development.processes import COMMAND, ServiceProcess, environment, free_ports
from development.sandbox import Sandbox
from estelam.core.clock import Clock
from tests.e2e.conftest import CommandLine

WITH_CASE = "140000000000000001"
WINDOW = 64


def listed(folder: Path, ids: list[str]) -> tuple[Path, Path, Path]:
    """A file of *ids*, and the paths of its answers and receipts."""
    source = folder / "certificates.csv"
    source.write_text("\n".join(("tracking_id", *ids, "")), "ascii")
    return source, folder / "answers.csv", folder / "answers.csv.receipts.jsonl"


def many(count: int) -> list[str]:
    return [f"7{number:017d}" for number in range(count)]


def answers(out: Path) -> list[str]:
    with out.open(encoding="utf-8", newline="") as file:
        return [row["answer"] for row in csv.DictReader(file)]


def begin(sandbox: Sandbox, source: Path, out: Path, service: ServiceProcess) -> subprocess.Popen[str]:
    words = (*COMMAND, "judiciary", "bulk-check-cheques", source, "--out", out, "--window", str(WINDOW), "--json")
    return subprocess.Popen(
        [*words, "--address", service.address], env=environment(sandbox), stdout=subprocess.PIPE, text=True
    )


def wait_for(receipts: Path, lines: int, run: subprocess.Popen[str]) -> None:
    """Wait until *lines* receipts are saved, or the command ends."""
    while run.poll() is None and (not receipts.exists() or receipts.read_bytes().count(b"\n") < lines):
        time.sleep(0.005)


def test_exit_0_when_all_rows_are_answered(estelam: CommandLine, tmp_path: Path) -> None:
    """A bulk check exits 0 if every row is answered, and its receipts prove each answer."""
    source, out, receipts = listed(tmp_path, [*many(130), WITH_CASE])
    result = estelam("judiciary", "bulk-check-cheques", source, "--out", out, "--json")
    proven = estelam("receipt", "verify", receipts, "--json")
    plain = estelam("judiciary", "bulk-check-cheques", source, "--out", out)

    assert (0, 131, 1, 130, 0) == (result.code, *(result.json[name] for name in ("rows", "yes", "no", "unanswered")))
    assert {"CERTIFICATE_DATE_UNKNOWN": 130} == result.json["of_these_no"]
    assert ["NO"] * 130 + ["YES"] == answers(out)
    assert (0, {"valid": True, "count": 131, "outcomes": {"NO": 130, "YES": 1}}) == (proven.code, proven.json)
    assert (0, True) == (plain.code, "131" in plain.out)


def test_exit_codes_are_distinct(estelam: CommandLine, tmp_path: Path) -> None:
    """The exit code distinguishes refused rows, an early stop and an unreachable service."""
    source, out, _ = listed(tmp_path, [WITH_CASE, "x"])
    nowhere = f"127.0.0.1:{free_ports('nobody')['nobody']}"
    run = ("judiciary", "bulk-check-cheques", source, "--out", out, "--json")
    codes = [
        estelam(*run, *more).code
        for more in (
            ("--deadline", "0s"),
            ("--address", nowhere, "--patience", "1"),
            ("--as", "stranger"),
            ("--as", "nobody"),
            ("--deadline", "soon"),
            ("--deadline", "2020-01-01T00:00:00"),
            ("--deadline", "۲h"),
        )
    ]

    assert [22, 21, 20, 2, 2, 2, 20] == codes
    assert ["YES", "UNANSWERED"] == answers(out)


@pytest.mark.parametrize(
    ("text", "out", "code", "words"),
    [
        (None, "answers.csv", 2, "no such file"),
        ("id\n1\n", "answers.csv", 1, "tracking_id"),
        ("tracking_id\n1\n", "nowhere/answers.csv", 2, "there is no folder"),
        ("tracking_id\n1\n", "certificates.csv", 2, "not from a bulk check"),
    ],
)
def test_bad_invocation_is_one_line(
    estelam: CommandLine, tmp_path: Path, text: str | None, out: str, code: int, words: str
) -> None:
    """An invocation that cannot work is reported on one line."""
    source = tmp_path / "certificates.csv"
    if text is not None:
        source.write_text(text, "utf-8")
    result = estelam("judiciary", "bulk-check-cheques", source, "--out", tmp_path / out)

    assert (code, "", 1) == (result.code, result.out, len(result.err.splitlines()))
    assert words in result.err


def test_list_without_rows(estelam: CommandLine, tmp_path: Path) -> None:
    """A list that has a header alone gets a warning that nothing is asked."""
    (tmp_path / "list.csv").write_text("tracking_id\n\n")
    result = estelam("judiciary", "bulk-check-cheques", tmp_path / "list.csv", "--out", tmp_path / "answers.csv")

    assert (0, True) == (result.code, result.err.endswith("list.csv: has no row below its header; nothing is asked\n"))


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        (("--address", "no.such.host:1"), 21, "address can't be resolved"),
        (("--address", "127.0.0.1:1"), 21, "server can't be reached"),
        (("--as", "foreign"), 21, "certificate"),
        (("--as", "nobody"), 2, "no such file"),
        (("--as", "mixed"), 1, "is not the key of the certificate"),
    ],
)
def test_connection_error_names_its_cause(
    estelam: CommandLine, blank: Sandbox, tmp_path: Path, how: tuple[str, ...], code: int, words: str
) -> None:
    """A connection error names the wrong address or certificate."""
    source, out, _ = listed(tmp_path, many(5))
    pki = estelam.sandbox.pki
    for name, certificate, key in (("foreign", blank.pki, blank.pki), ("mixed", pki, blank.pki)):
        shutil.copy(certificate / "cbi.crt", pki / f"{name}.crt")
        shutil.copy(key / "cbi.key", pki / f"{name}.key")
    result = estelam("judiciary", "bulk-check-cheques", source, "--out", out, "--patience", "1", *how, "--json")

    assert (code, True) == (result.code, words in result.out)
    assert not out.exists() or ["UNANSWERED"] * 5 == answers(out)


@pytest.mark.slow
def test_killed_run_resumes(loaded: Sandbox, tmp_path: Path) -> None:
    """A bulk check killed at any instant resumes and repeats only the calls that were in flight."""
    source, out, receipts = listed(tmp_path, many(900))
    kills = (1, 200, 201, 600)
    with ServiceProcess("judiciary", loaded) as service:
        for lines in kills:
            run = begin(loaded, source, out, service)
            wait_for(receipts, lines, run)
            run.kill()
            run.communicate()

            assert not out.exists() or "UNANSWERED" not in answers(out)
        last = begin(loaded, source, out, service)
        last.communicate(timeout=60)
    estelam = CommandLine(loaded)
    proven = estelam("receipt", "verify", receipts, "--json").json
    entries = estelam("ledger", "verify", "judiciary", "--json").json["entries"]

    assert (0, ["NO"] * 900, 900) == (last.returncode, answers(out), proven["count"])
    assert 900 <= entries <= 900 + len(kills) * WINDOW


@pytest.mark.slow
def test_service_restart_loses_no_row(loaded: Sandbox, tmp_path: Path) -> None:
    """A service that is killed and restarted during a bulk check loses no row."""
    source, out, receipts = listed(tmp_path, many(900))
    with ServiceProcess("judiciary", loaded) as service:
        run = begin(loaded, source, out, service)
        wait_for(receipts, 200, run)
        service.kill()
        service.start()
        run.communicate(timeout=60)

    assert (0, ["NO"] * 900) == (run.returncode, answers(out))


@pytest.mark.slow
def test_interrupted_run_writes_results(loaded: Sandbox, tmp_path: Path) -> None:
    """An interrupted bulk check writes the results that it has; the next run asks the other rows, and no row twice."""
    source, out, receipts = listed(tmp_path, many(1800))
    with ServiceProcess("judiciary", loaded) as service:
        run = begin(loaded, source, out, service)
        wait_for(receipts, 100, run)
        run.send_signal(signal.SIGTERM)
        result, _ = run.communicate(timeout=60)
        first, stored = answers(out), receipts.read_bytes().count(b"\n")
        begin(loaded, source, out, service).communicate(timeout=60)
    command = CommandLine(loaded)
    noted = len(command("ledger", "loads", "judiciary", "--json").json)
    entries = command("ledger", "verify", "judiciary", "--json").json["entries"] - noted

    assert (22, True) == (run.returncode, "INTERRUPTED" in result)
    assert ({"NO", "UNANSWERED"}, stored) == (set(first), first.count("NO"))
    assert (["NO"] * 1800, 1800) == (answers(out), entries)


class Later(Clock):
    """A clock that is 25 hours ahead."""

    def now(self) -> datetime:
        """Return the present instant and 25 hours."""
        return super().now() + timedelta(hours=25)


@pytest.mark.parametrize(
    ("more", "later", "code"),
    [
        ((), False, 0),
        ((), True, 22),
        (("--max-age", "26h"), True, 0),
        (("--resume",), True, 0),
        (("--max-age", "0s"), False, 22),
        (("--max-age", "1 day"), False, 2),
    ],
)
def test_old_answers(
    estelam: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    later: bool,  # noqa: FBT001
    code: int,
) -> None:
    """A later run says how many answers are of earlier runs and the oldest of them, and stops if it is too old."""
    source, out, receipts = listed(tmp_path, many(3))
    run = ("judiciary", "bulk-check-cheques", source, "--out", out, "--json")
    first = estelam(*run).json
    before = out.read_bytes(), receipts.read_bytes()
    if later:
        monkeypatch.setattr("estelam.cli.bulk.command.Clock", Later)
    again = estelam(*run, *more)

    assert (None, None) == (first["of_earlier_runs"], first["oldest_answer"])
    assert code == again.code
    assert code == 2 or (3, True) == (again.json["of_earlier_runs"], "oldest_answer" in again.json)
    assert code != 22 or "--resume" in again.json["error"]
    assert before == (out.read_bytes(), receipts.read_bytes())


def test_torn_journal(estelam: CommandLine, tmp_path: Path) -> None:
    """What a crash left at the journal's end is set aside, named, and asked again."""
    source, out, receipts = listed(tmp_path, many(3))
    run = ("judiciary", "bulk-check-cheques", source, "--out", out)
    estelam(*run)
    damaged = receipts.read_bytes()[:-700] + bytes(700)
    receipts.write_bytes(damaged)
    again = estelam(*run)
    aside = receipts.with_name(f"{receipts.name}.torn-1")

    assert (0, ["NO"] * 3) == (again.code, answers(out))
    assert f"is now in {aside}" in again.err
    assert damaged == b"".join(receipts.read_bytes().splitlines(keepends=True)[:2]) + aside.read_bytes()
    assert 0 == estelam("receipt", "verify", receipts, "--json").code


def test_rounded_list(estelam: CommandLine, tmp_path: Path) -> None:
    """Identifiers that a spreadsheet rounded get a warning, and their answers settle nothing."""
    source = tmp_path / "certificates.csv"
    source.write_text("tracking_id,certificate_issued_on\n140300000000777000,1401-01-01\n1403,1401-01-01\n", "ascii")
    out = tmp_path / "answers.csv"
    result = estelam("judiciary", "bulk-check-cheques", source, "--out", out, "--json")
    with out.open(encoding="utf-8", newline="") as file:
        rows = [(row["standing"], row["reason"].partition(":")[0], row["lifting"]) for row in csv.DictReader(file)]

    assert (0, 1) == (result.code, result.json["maybe_rounded"])
    assert "1 row (1): an identifier ends in zeros" in result.err
    assert [("TRACKING_ID_DOUBTFUL", "MAYBE_ROUNDED", ""), ("CONCLUSIVE", "", "LIFTING_DUE")] == rows
