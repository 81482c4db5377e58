"""Output of commands: records, tables, errors, progress and output paths."""

import contextlib
import errno
import io
import json
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import typer
from rich.console import Console

from estelam.cli import output
from estelam.core.clock import TEHRAN
from estelam.core.errors import Reason, Refusal, Violation
from estelam.core.escape import spreadsheet_cell
from estelam.core.exceptions import UsageError, UserFacingError, describe_error

HEAD = f"1234:{'0123456789abcdef' * 4}"


@pytest.fixture(autouse=True)
def consoles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consoles that look up the captured streams."""
    monkeypatch.setattr(output, "out", Console())
    monkeypatch.setattr(output, "err", Console(stderr=True))


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_record_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    """A value is printed on one line, however long it is; a mapping on a line for each key; None not at all."""
    output.print_record(
        {"head": HEAD * 3, "quota": {"rate": 1, "burst": 2}, "until": None}, as_json=False, title="VALID"
    )

    assert capsys.readouterr().out.splitlines() == ["VALID", f"head   {HEAD * 3}", "quota  rate: 1", "       burst: 2"]


DAY, INSTANT = date(2026, 11, 30), datetime(2026, 11, 29, 21, 0, 5, 7, tzinfo=UTC)


def test_dates_and_instants(capsys: pytest.CaptureFixture[str]) -> None:
    """Text has dates and instants in both calendars and Iran's time, however deep; JSON in ISO 8601 and UTC."""
    facts = {"day": DAY, "at": INSTANT, "period": {"since": DAY}, "days": [DAY], "none": None}
    output.print_record(facts, as_json=False)
    output.print_rows(tuple(facts), [tuple(facts.values())], as_json=False)
    text = capsys.readouterr().out
    output.print_record(facts, as_json=True)
    output.print_rows(("at",), [(INSTANT.astimezone(TEHRAN),)], as_json=True)
    record, rows = map(json.loads, capsys.readouterr().out.splitlines())

    assert (6, 2) == (text.count("1405-09-09 (2026-11-30)"), text.count("1405-09-09 00:30:05 (2026-11-30)"))
    assert ("2026-11-30", {"since": "2026-11-30"}, ["2026-11-30"]) == (record["day"], record["period"], record["days"])
    assert {"2026-11-29T21:00:05.000007Z"} == {record["at"], rows[0]["at"]}


def test_table_is_whole_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    """Where stdout is no terminal, a table has its full width: no cell is folded."""
    text = "many words that no terminal of eighty columns has room for " * 3
    output.print_rows(("head", "text"), [(HEAD, text)], as_json=False)

    row = capsys.readouterr().out.splitlines()[3]
    assert HEAD in row
    assert text.strip() in row


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_table_fits_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """On a terminal a table folds text between words, and never a word: a head stays in one piece."""
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(output, "out", Console())
    output.print_rows(("head", "text"), [(HEAD, "some words to fold " * 9)], as_json=False)

    lines = screen.getvalue().splitlines()
    assert any(HEAD in line for line in lines)
    assert max(map(len, lines)) <= max(width, len(HEAD) + 13)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140])
def test_table_loses_no_cell(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """On a terminal of any width every word of every cell is printed."""
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(output, "out", Console())
    row = (
        "G17",
        "R3.1.1",
        "cheque-case-inquiry/CheckByNationalId",
        "2021-08-24 – ",
        "100/s, a no costs 20",
        "سامانه ستاد",
    )
    output.print_rows(("id", "clause", "service", "period", "quota", "name"), [row], as_json=False)

    printed = screen.getvalue().split()
    assert [] == [word for cell in row for word in cell.split() if word not in printed]
    assert len({len(line) for line in screen.getvalue().splitlines()}) == 1


def test_error_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON error always has error, reason, layer, address and fields; a refusal has its texts besides."""
    with pytest.raises(typer.Exit):
        output.exit_error("FILE: no such file", as_json=True)
    plain = json.loads(capsys.readouterr().out)
    with pytest.raises(typer.Exit):
        output.exit_refused(Refusal(Reason.OVERLOADED), as_json=True, address="127.0.0.1:1")
    refused = json.loads(capsys.readouterr().out)

    assert {"error": "FILE: no such file", "reason": None, "layer": None, "address": None, "fields": []} == plain
    assert set(plain) < set(refused)
    assert ("OVERLOADED", "service", "127.0.0.1:1", 1) == tuple(
        refused[key] for key in ("reason", "layer", "address", "retry_seconds")
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_violation_is_in_both_languages(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    """A violation is printed with the contract's message and its rule's Persian text."""
    found = Violation("serial", "string.note_serial", "must be 16 ASCII digits")
    with pytest.raises(typer.Exit):
        output.exit_refused(Refusal(Reason.FIELD_INVALID, [found]), as_json=as_json)
    printed = capsys.readouterr()

    if as_json:
        texts = {"description": "must be 16 ASCII digits", "description_fa": "باید ۱۶ رقم باشد"}
        assert [{"field": "serial", "rule": "string.note_serial", **texts}] == json.loads(printed.out)["fields"]
    else:
        assert printed.err.endswith("  serial: must be 16 ASCII digits\n    باید ۱۶ رقم باشد\n")


def test_json_in_narrow_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON stays JSON where stdout can't encode a character."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", stream)
    output.print_record({"answer": "بلی 😀"}, as_json=True)
    stream.flush()

    assert {"answer": "بلی 😀"} == json.loads(stream.buffer.getvalue())


def test_os_error_text() -> None:
    """An OSError is printed as the path and the cause, without its number."""
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "/none")

    assert "/none: no such file or directory" == describe_error(error)
    assert "input or output failed" == describe_error(OSError())
    assert "key values mismatch" == describe_error(_ssl_error())
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode("utf-8")
    assert "is not UTF-8 text" == describe_error(caught.value)


def _ssl_error() -> ssl.SSLError:
    error = ssl.SSLError(336, "[SSL: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4060)")
    error.reason = "KEY_VALUES_MISMATCH"
    return error


def test_check_writable(tmp_path: Path) -> None:
    """An output path is refused if it exists, is no regular file, or lies in no folder; --force overwrites a file."""
    kept, pipe, broken = tmp_path / "kept", tmp_path / "pipe", tmp_path / "broken"
    kept.touch()
    os.mkfifo(pipe)
    broken.symlink_to("nothing")

    output.check_writable(tmp_path / "new", "--out", force=False)
    output.check_writable(kept, "--out", force=True)
    for path, force, problem in (
        (kept, False, "exists already"),
        (tmp_path, True, "is not a regular file"),
        (pipe, True, "is not a regular file"),
        (Path("/dev/null"), True, "is not a regular file"),
        (broken, True, "is a broken symbolic link"),
        (tmp_path / "none" / "new", True, "there is no folder"),
        (kept / "new", True, "there is no folder"),
    ):
        with pytest.raises(UserFacingError, match=f"^--out {path}: {problem}"):
            output.check_writable(path, "--out", force=force)


def test_progress_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where stderr is no terminal, progress is a plain line once the quiet time is over, and nothing with --json."""
    monkeypatch.setattr(output, "QUIET_SECONDS", 0.05)
    with output.progress("blocks verified", as_json=False, total=3) as show:
        show(2)
        time.sleep(0.5)
    assert [1, 2, 3] == list(output.track([1, 2, 3], "short", as_json=False))
    lines = capsys.readouterr()
    with output.progress("blocks verified", as_json=True):
        time.sleep(0.1)

    assert ("", "blocks verified: 2 of 3\n") == (lines.out, lines.err)
    assert ("", "") == tuple(capsys.readouterr())


HOSTILE = "a\x1b[2Jb\x9bc\x7fd\u202ee\u2028f\u200bg\th\ue000i"
"""An escape sequence, a C1 control, DEL, a direction mark, a line separator, a zero-width space, private use."""
SHOWN = r"a\x1b[2Jb\x9bc\x7fd\u202ee\u2028f\u200bg\th\ue000i"
PERSIAN = "می\u200cخواهم"


@pytest.mark.parametrize(
    "show",
    [
        lambda: output.print_record({HOSTILE: HOSTILE, "list": [HOSTILE]}, as_json=False, title=HOSTILE),
        lambda: output.print_rows(("a",), [(HOSTILE,)], as_json=False),
        lambda: output.warn(HOSTILE),
        lambda: output.exit_error(HOSTILE, as_json=False),
        lambda: output.exit_refused(
            Refusal(Reason.FIELD_INVALID, violations=[Violation(HOSTILE, "rule", HOSTILE)]), as_json=False
        ),
    ],
    ids=["record", "rows", "warning", "error", "refusal"],
)
def test_hostile_text_is_shown(capsys: pytest.CaptureFixture[str], show: Callable[[], object]) -> None:
    """Nothing that a command prints can control a terminal or mislead a reader: such characters are escaped."""
    with contextlib.suppress(typer.Exit):
        show()
    printed = "".join(capsys.readouterr())

    assert SHOWN in printed
    assert not {*HOSTILE} & {*printed} - {*SHOWN}


def _fail(error: Exception) -> None:
    with output.user_errors(as_json=False):
        raise error


@pytest.mark.parametrize(
    "show",
    [
        lambda: _fail(UserFacingError("a\nloaded 5")),
        lambda: _fail(UsageError("a\nloaded 5")),
        lambda: _fail(FileNotFoundError(errno.ENOENT, "no such file", "a\nloaded 5")),
        lambda: output.warn("a\nloaded 5"),
    ],
    ids=["error", "usage", "system", "warning"],
)
def test_line_break_in_an_error(capsys: pytest.CaptureFixture[str], show: Callable[[], object]) -> None:
    """A line break in an error or a warning, as in a file's name, begins no line, which could look like a result."""
    with contextlib.suppress(typer.Exit):
        show()
    printed = capsys.readouterr().err

    assert printed.count("\n") == 1
    assert r"a\nloaded 5" in printed


def test_hostile_text_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON escapes the same characters by its own rules, and keeps the joiners of Persian."""
    output.print_record({"value": HOSTILE + PERSIAN + "\U000e0001"}, as_json=True)
    printed = capsys.readouterr().out

    assert {"value": HOSTILE + PERSIAN + "\U000e0001"} == json.loads(printed)
    assert PERSIAN in printed
    assert printed.rstrip("\n").replace("\u200c", "").isprintable()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_formula_in_a_cell(start: str) -> None:
    """A text that a spreadsheet would take for a formula is marked as text; numbers and other texts stay."""
    shown = spreadsheet_cell(f"{start}1+1")

    assert shown.startswith("'")
    assert [-1, "1-1", PERSIAN, None] == [*map(spreadsheet_cell, (-1, "1-1", PERSIAN, None))]
