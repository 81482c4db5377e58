"""Inquiry ids that a probe accepts as its own: a service can't exclude foreign inquiries from the count."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import grpc
import pytest

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Receipt
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.integration.quality.conftest import CHECK_NOTE, SETAD
from tests.integration.quality.monitored_services import NOTES, fake_service, monitor_rounds, settings_of, traffic

pytestmark = pytest.mark.timeout(120)

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
ASKED = 4


@pytest.fixture
def asked(loaded: Sandbox, start: Start) -> list[str]:
    """Ids of a consumer's inquiries that are in the ministry's ledger."""
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel:
        stub = PromissoryNoteInquiryServiceStub(channel)
        return [stub.CheckNote(NOTE, timeout=20).receipt.inquiry_id for _ in range(ASKED)]


def counted(sandbox: Sandbox, folder: Path, answer: Answer) -> int:
    """Number of the consumer's inquiries that count, after probes that got *answer*."""
    with fake_service(sandbox, answer) as address:
        settings = settings_of(sandbox, folder, {NOTES: address})
        questions = {CHECK_NOTE: settings.probe_requests[CHECK_NOTE]}
        monitor_rounds(settings.model_copy(update={"probe_requests": questions}))
    found = traffic(settings)
    assert set(found) <= {("CheckNote", SETAD)}
    return sum(tally.total for tally in found.values())


def name(context: grpc.ServicerContext, ids: Sequence[str]) -> None:
    context.set_trailing_metadata(tuple(("estelam-inquiry-id", one) for one in ids))


def refusing(*ids: str) -> Answer:
    def answer(_request: bytes, context: grpc.ServicerContext) -> NoReturn:
        name(context, ids)
        context.abort(grpc.StatusCode.UNAVAILABLE, "")

    return answer


def replying(proven: Sequence[str], *ids: str) -> Answer:
    """A reply with a receipt for each inquiry in *proven*; parsers keep the last one."""

    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        name(context, ids)
        replies = [pb.CheckNoteResponse(answer=ANSWER_YES, receipt=Receipt(inquiry_id=one)) for one in proven]
        return b"".join(reply.SerializeToString() for reply in replies)

    return answer


def test_foreign_ids_in_refusal(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    """Several inquiry ids in a refusal's trailer are ignored."""
    assert ASKED == counted(loaded, tmp_path, refusing(*asked))


def test_foreign_ids_without_receipt(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    """Several inquiry ids in the trailer of a reply without receipt are ignored."""
    assert ASKED == counted(loaded, tmp_path, replying([], *asked))


def test_receipt_wins_over_trailer(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    """Beside a receipt, the inquiry id in the trailer is ignored."""
    assert ASKED == counted(loaded, tmp_path, replying([str(uuid4())], asked[0]))


def test_repeated_receipts(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    """A reply excludes at most as many inquiries as the contract has receipts."""
    assert ASKED - 1 == counted(loaded, tmp_path, replying(asked))


def test_malformed_id(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    """A trailer with a malformed inquiry id is ignored."""
    assert ASKED == counted(loaded, tmp_path, refusing("x" * 1000, asked[0]))


def test_repeated_id(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    """The same inquiry id repeated in a trailer counts as one."""
    assert ASKED - 1 == counted(loaded, tmp_path, refusing(asked[0], asked[0]))
