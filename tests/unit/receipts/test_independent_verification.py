"""The independent verifier of docs/receipts.md, run with Perl and OpenSSL: it proves genuine replies only."""

import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from estelam.client.channel import ClientIdentity
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_UNSPECIFIED, ANSWER_YES, BlockHeader, Entry
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


def change_salt(receipt: Any) -> None:
    receipt.salt = flip(receipt.salt)


def change_caller(receipt: Any) -> None:
    entry = Entry.FromString(receipt.entry)
    entry.caller = "99000079195"
    receipt.entry = entry.SerializeToString(deterministic=True)


def change_time(receipt: Any) -> None:
    header = BlockHeader.FromString(receipt.block_header)
    header.sealed_at_micros += 1
    receipt.block_header = header.SerializeToString(deterministic=True)


FORGERIES: dict[str, tuple[str, Callable[[Any, Any], object]]] = {
    "the reply": ("2", lambda _request, reply: setattr(reply, "answer", 3 - reply.answer)),
    "the request": ("2", lambda request, _reply: setattr(request, "amount_rials", 7)),
    "the salt": ("2", lambda _request, reply: change_salt(reply.receipt)),
    "the entry": ("3", lambda _request, reply: change_caller(reply.receipt)),
    "a shorter path": ("3", lambda _request, reply: reply.receipt.merkle_path.pop()),
    "a longer path": ("3", lambda _request, reply: reply.receipt.merkle_path.append(bytes(32))),
    "a path turned round": ("3", lambda _request, reply: reply.receipt.merkle_path.reverse()),
    "the header": ("4", lambda _request, reply: change_time(reply.receipt)),
    "the signature": ("4", lambda _q, reply: setattr(reply.receipt, "signature", flip(reply.receipt.signature))),
    "the inquiry id": (
        "5",
        lambda _q, reply: setattr(reply.receipt, "inquiry_id", reply.receipt.inquiry_id[:-1] + "g"),
    ),
    "the time": ("5", lambda _request, reply: setattr(reply.receipt.answered_at, "seconds", 1)),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_part(recorded: RecordedLedger, certificate: Path, tmp_path: Path, forgery: str) -> None:
    """A forged part fails at its step, alone and after a genuine reply."""
    genuine = recorded.reply_with(ANSWER_YES)
    altered: Any = deepcopy(genuine)
    step, forge = FORGERIES[forgery]
    forge(altered.request, altered.reply)
    alone, second = check(tmp_path, certificate, altered), check(tmp_path, certificate, genuine, altered)

    assert ("", f"{step}:") == (alone.stdout, alone.stderr[:2])
    assert 0 not in (alone.returncode, second.returncode)


def test_wrong_method_certificate_or_file(recorded: RecordedLedger, certificate: Path, tmp_path: Path) -> None:
    """Another method, another service's certificate, no replies and no certificate are refused."""
    record = recorded.reply_with(ANSWER_YES)
    disclosed = recorded.reply_with(ANSWER_UNSPECIFIED)
    foreign = check(tmp_path, recorded.sandbox.pki / "judiciary-receipts.crt", record)
    other = check(tmp_path, certificate, ReceiptRecord(disclosed.method, record.request, record.reply))
    none, missing = check(tmp_path, certificate), check(tmp_path, tmp_path / "none.crt", record)

    assert ["4", "1"] == [done.stderr[0] for done in (foreign, other)]
    assert ("empty\n", True) == (none.stderr, missing.stderr.endswith("none.crt: No such file or directory\n"))
    assert all(done.returncode and not done.stdout for done in (foreign, other, none, missing))
