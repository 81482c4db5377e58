"""Receipts under cosigned checkpoints: what `receipt verify` states of the witnesses, and that others read them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from estelam.cli.root import application
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.receipts import checkpoint
from estelam.receipts.archive import ReceiptRecord, write_archive
from tests.guarantees.recorded_ledger import RecordedLedger, receipt_of
from tests.unit.receipts.test_cosignature import SECONDS, cosigner
from tests.unit.receipts.test_key_validity import VERIFIERS, signed_by

FIRST, SECOND = cosigner(), cosigner("witness.example/w2")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedLedger:
    return RecordedLedger(tmp_path_factory.mktemp("elsewhere") / "suite")


@pytest.fixture
def record(recorded: RecordedLedger, tmp_path: Path) -> ReceiptRecord:
    """A reply whose checkpoint both witnesses cosigned; the files that verify it are in the test's folder."""
    signed_by(recorded, tmp_path)
    (tmp_path / "retired-keys.json").write_text('{"retired": []}')
    (tmp_path / "witnesses").write_text(f"{FIRST.key}\n{SECOND.key}\n")
    found = recorded.reply_with(ANSWER_YES)
    body = checkpoint.parse(receipt_of(found).checkpoint).body
    receipt_of(found).checkpoint += FIRST.cosign(body, SECONDS) + SECOND.cosign(body, SECONDS)
    return found


def verify(folder: Path, record: ReceiptRecord, *more: str) -> Result:
    write_archive(folder / "saved.json", [record])
    files = str(folder / "saved.json"), "--certificate", str(folder / "promissory-receipts.crt")
    return CliRunner().invoke(application(), ["receipt", "verify", *files, *more])


def test_reported(record: ReceiptRecord, tmp_path: Path) -> None:
    """Only the witnesses whose keys are given are stated, with the times of their cosignatures."""
    (tmp_path / "one").write_text(f"{FIRST.key}\n")
    both = verify(tmp_path, record, "--witness-key", str(tmp_path / "witnesses"), "--witnesses", "2")
    one = verify(tmp_path, record, "--witness-key", str(tmp_path / "one"), "--json")
    none = verify(tmp_path, record)

    assert "witness.example/w1, 1401-12-29" in both.stdout
    assert "witness.example/w2, 1401-12-29" in both.stdout
    assert {"witness.example/w1": "2023-03-20T12:25:47Z"} == json.loads(one.stdout)["replies"][0]["cosigned_by"]
    assert [0, 0, 0, False] == [both.exit_code, one.exit_code, none.exit_code, "witness" in none.stdout]


def test_too_few(record: ReceiptRecord, tmp_path: Path) -> None:
    """Fewer cosignatures than demanded accuse nobody; one that names a witness and is wrong does."""
    (tmp_path / "witnesses").write_text(f"{FIRST.key}\n{cosigner('witness.example/w2').key}\n")
    few = verify(tmp_path, record, "--witness-key", str(tmp_path / "witnesses"), "--witnesses", "2")
    receipt_of(record).checkpoint += FIRST.cosign("another checkpoint\n", SECONDS)
    wrong = verify(tmp_path, record, "--witness-key", str(tmp_path / "witnesses"))

    assert (21, True) == (few.exit_code, "1 of the given witnesses cosigned the checkpoint, fewer than 2" in few.stderr)
    assert few.stderr.startswith("NOT CHECKED: ")
    assert (1, True) == (wrong.exit_code, wrong.stderr.startswith("INVALID: "))


@pytest.mark.parametrize(
    ("keys", "needed", "problem"),
    [
        (f"{FIRST.key}\n{FIRST.key}\n", "0", "is given twice"),
        (f"{FIRST.key}\n{cosigner().key}\n", "0", "is given twice"),  # another key under the same name
        (f"{FIRST.key}\n", "2", "--witnesses 2: --witness-key names only 1 witness"),
        (f"{FIRST.key}\n", "-1", "whole number"),
    ],
    ids=["key twice", "name twice", "too many", "negative"],
)
def test_malformed_demand(record: ReceiptRecord, tmp_path: Path, keys: str, needed: str, problem: str) -> None:
    """A demand that can't be met, or that would count a witness twice, is refused before anything is verified."""
    (tmp_path / "witnesses").write_text(keys)
    done = verify(tmp_path, record, "--witness-key", str(tmp_path / "witnesses"), "--witnesses", needed)

    assert (2, "") == (done.exit_code, done.stdout)
    assert problem in done.stderr


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_read_by_all(record: ReceiptRecord, tmp_path: Path, verifier: Callable[[Path, ReceiptRecord], str]) -> None:
    """Every verifier of receipts accepts one with cosignatures, whether or not it verifies these."""
    assert not verifier(tmp_path, record)
