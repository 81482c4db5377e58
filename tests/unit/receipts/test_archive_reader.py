"""The reader of saved replies, which `receipt verify` and the officer's page share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estelam.cli.root import application
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.receipts import archive
from estelam.receipts.problems import InvalidReceipt
from sataad_adapter.web.receipts import verify_archive
from tests.guarantees.recorded_ledger import RecordedLedger

PROBLEMS = ("REFORMATTED", "NOT_A_SAVED_REPLY", "EMPTY")
FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "as saved": ("VALID", lambda line: line * 2),
    "line ends of Windows": ("VALID", lambda line: line.replace(b"\n", b"\r\n") * 2),
    "no last line end": ("VALID", lambda line: (line * 2)[:-1]),
    "blank lines": ("VALID", lambda line: b"\n \r\n" + line + b"\n" + line + b"\n\t\n"),
    "blanks around a line": ("VALID", lambda line: b" " + line[:-1] + b"\t\n"),
    "blanks in a line": ("REFORMATTED", lambda line: line.replace(b", ", b",  ")),
    "other text": ("NOT_A_SAVED_REPLY", lambda line: line + b"x\n"),
    "other control character": ("NOT_A_SAVED_REPLY", lambda line: line[:-1] + b"\x0b\n"),
    "two on a line": ("NOT_A_SAVED_REPLY", lambda line: line[:-1] + line),
    "blank lines only": ("EMPTY", lambda _line: b"\r\n \n"),
    "nothing": ("EMPTY", lambda _line: b""),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedLedger:
    return RecordedLedger(tmp_path_factory.mktemp("elsewhere") / "suite")


Verdict = Callable[[Path, Path], str]


def by_command(file: Path, certificate: Path) -> str:
    done = CliRunner().invoke(
        application(), ["receipt", "verify", str(file), "--certificate", str(certificate), "--json"]
    )
    return next((name for name in PROBLEMS if f'"{name}"' in done.stdout), "VALID" if done.exit_code == 0 else "?")


def by_page(file: Path, certificate: Path) -> str:
    try:
        verify_archive(file.read_bytes().decode(), verifying_keys([certificate]))
    except InvalidReceipt as error:
        return error.problem.name
    return "VALID"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("verdict", [by_command, by_page], ids=["command", "page"])
def test_line_ends(recorded: RecordedLedger, tmp_path: Path, form: str, verdict: Verdict) -> None:
    """Line ends, blank lines and blanks around a line change no verdict; anything else in a line does."""
    expected, change = FORMS[form]
    line = archive.encode(recorded.reply_with(ANSWER_YES))
    (tmp_path / "saved").write_bytes(change(line))

    assert expected == verdict(tmp_path / "saved", recorded.sandbox.pki / "promissory-receipts.crt")


def test_reason_in_both_languages(tmp_path: Path) -> None:
    """`receipt verify` prints why a file is not valid in English and in Persian."""
    (tmp_path / "saved").write_bytes(b"{}\n")
    done = CliRunner().invoke(application(), ["receipt", "verify", str(tmp_path / "saved")])

    assert (2, ["MALFORMED:", "سطری"]) == (done.exit_code, [line.split()[0] for line in done.stderr.splitlines()])
