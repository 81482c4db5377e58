"""The independent verifier of docs/receipts.md, run with Perl and OpenSSL: it proves genuine replies only."""

import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from estelam.client.channel import ClientIdentity
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, OUTCOME_REFUSED, Entry, Receipt
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from estelam.receipts.archive import ReceiptRecord, write_archive
from tests.conftest import judiciary_opening, plain_channel
from tests.guarantees.recorded_ledger import RecordedLedger, receipt_of
from tests.support import tutorial
from tests.support.service import RunningService
from tools.env.sandbox import CHECK_BY_TRACKING_ID, ORGANIZATIONS

PAGE = tutorial.DOCS / "receipts.md"
CENTRAL_BANK = ORGANIZATIONS["cbi"]

pytestmark = pytest.mark.skipif(
    not (shutil.which("perl") and shutil.which("openssl")), reason="Perl or OpenSSL is not on this machine"
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedLedger:
    return RecordedLedger(tmp_path_factory.mktemp("elsewhere") / "suite")


def check(
    folder: Path, certificate: Path, *records: ReceiptRecord, retired_keys: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program of the page on *records*."""
    (program,) = tutorial.blocks(PAGE, "perl")
    (folder / "check.pl").write_text(program, "utf-8")
    write_archive(folder / "saved.json", records)
    command = ["perl", "check.pl", "saved.json", str(certificate), *([str(retired_keys)] if retired_keys else [])]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def certificate(recorded: RecordedLedger) -> Path:
    return recorded.sandbox.pki / "promissory-receipts.crt"


def test_genuine_replies(recorded: RecordedLedger, certificate: Path, tmp_path: Path) -> None:
    """Every reply of a real service is proven."""
    done = check(tmp_path, certificate, *recorded.replies)
    lines = done.stdout.splitlines()

    assert (0, "", len(recorded.replies)) == (done.returncode, done.stderr, len(lines))
    for line, record in zip(lines, recorded.replies, strict=True):
        assert line.startswith(f"VALID {receipt_of(record).inquiry_id} at ")
        assert record.method in line
    assert {"YES", "NO", "DISCLOSED"} == {line.rsplit(" ", 1)[1] for line in lines}


def test_judiciary_replies(recorded: RecordedLedger, tmp_path: Path) -> None:
    """The judiciary's answers are proven with subject, caller and coverage."""
    requests = [cases.CheckByTrackingIdRequest(tracking_id=digits) for digits in ("140000000000000001", "9" * 18)]
    with (
        RunningService(judiciary_opening(recorded.sandbox, shutdown_delay_seconds=0)) as service,
        plain_channel(service.address, ClientIdentity.named(recorded.sandbox.pki, "cbi")) as channel,
    ):
        ask = ChequeCaseInquiryServiceStub(channel).CheckByTrackingId
        records = [ReceiptRecord(CHECK_BY_TRACKING_ID, request, ask(request, timeout=20)) for request in requests]
    yes, no = check(tmp_path, recorded.sandbox.pki / "judiciary-receipts.crt", *records).stdout.splitlines()

    assert yes.endswith(f"about {requests[0].tracking_id} asked by {CENTRAL_BANK}: YES, complete since 2021-03-21")
    assert no.endswith(f"about {requests[1].tracking_id} asked by {CENTRAL_BANK}: NO, complete since 2021-03-21")


def flip(part: bytes) -> bytes:
    return part[:-1] + bytes([part[-1] ^ 1])


def change_caller(receipt: Receipt) -> None:
    entry = Entry.FromString(receipt.entry)
    entry.caller = "99000079195"
    receipt.entry = entry.SerializeToString(deterministic=True)


def change_note(receipt: Receipt, line: int, change: Callable[[str], str]) -> None:
    lines = receipt.checkpoint.split("\n")
    lines[line] = change(lines[line])
    receipt.checkpoint = "\n".join(lines)


FORGERIES: dict[str, tuple[str, Callable[[Receipt], object]]] = {
    "the reply": ("2", lambda receipt: setattr(receipt, "reply", flip(receipt.reply))),
    "the request": ("2", lambda receipt: setattr(receipt, "request", flip(receipt.request))),
    "the salt": ("2", lambda receipt: setattr(receipt, "salt", flip(receipt.salt))),
    "the entry": ("3", change_caller),
    "the index": ("3", lambda receipt: setattr(receipt, "index", receipt.index ^ 1)),
    "an index beyond the end": ("3", lambda receipt: setattr(receipt, "index", 2**40)),
    "a shorter path": ("3", lambda receipt: receipt.inclusion_path.pop()),
    "a longer path": ("3", lambda receipt: receipt.inclusion_path.append(bytes(32))),
    "a path turned round": ("3", lambda receipt: receipt.inclusion_path.reverse()),
    "the root": ("3", lambda receipt: change_note(receipt, 2, lambda root: "A" * 4 + root[4:])),
    "an extension line": ("3", lambda receipt: change_note(receipt, 2, lambda root: f"{root}\nmore")),
    "the origin": ("4", lambda receipt: change_note(receipt, 0, lambda origin: origin.replace("promissory", "other"))),
    "the signature": ("4", lambda receipt: change_note(receipt, 4, lambda text: text[:-9] + "A" * 6 + text[-3:])),
    "the inquiry id": ("5", lambda receipt: setattr(receipt, "inquiry_id", receipt.inquiry_id[:-1] + "g")),
    "the time": ("5", lambda receipt: setattr(receipt.answered_at, "seconds", 1)),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_part(recorded: RecordedLedger, certificate: Path, tmp_path: Path, forgery: str) -> None:
    """A forged part fails at its step, alone and after a genuine reply."""
    genuine = recorded.reply_with(ANSWER_YES)
    altered: Any = deepcopy(genuine)
    step, forge = FORGERIES[forgery]
    forge(altered.reply.receipt)
    alone, second = check(tmp_path, certificate, altered), check(tmp_path, certificate, genuine, altered)

    assert ("", f"{step}:") == (alone.stdout, alone.stderr[:2])
    assert 0 not in (alone.returncode, second.returncode)


def test_wrong_certificate_or_file(recorded: RecordedLedger, certificate: Path, tmp_path: Path) -> None:
    """Another service's certificate, a refusal, no replies and no certificate are refused."""
    record = recorded.reply_with(ANSWER_YES)
    refused: Any = deepcopy(record)
    entry = Entry.FromString(receipt_of(record).entry)
    entry.outcome = OUTCOME_REFUSED
    refused.reply.receipt.entry = entry.SerializeToString(deterministic=True)
    foreign = check(tmp_path, recorded.sandbox.pki / "judiciary-receipts.crt", record)
    other = check(tmp_path, certificate, refused)
    none, missing = check(tmp_path, certificate), check(tmp_path, tmp_path / "none.crt", record)

    assert ["4", "1"] == [done.stderr[0] for done in (foreign, other)]
    assert ("empty\n", True) == (none.stderr, missing.stderr.endswith("none.crt: No such file or directory\n"))
    assert all(done.returncode and not done.stdout for done in (foreign, other, none, missing))
