"""Which inquiries a probe takes for its own: a service that it asks can't talk others' out of the count."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import grpc
import pytest

from estelam.client.channel import ClientIdentity
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Receipt
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.integration.quality.conftest import CHECK_NOTE, SETAD
from tests.integration.quality.monitored_services import NOTES, fake_service, monitor_rounds, settings_of, traffic
from tools.env.sandbox import Sandbox

pytestmark = pytest.mark.timeout(120)

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
ASKED = 4


@pytest.fixture
def asked(loaded: Sandbox, start: Start) -> list[str]:
    """The ids of a consumer's inquiries, which stand in the ministry's ledger."""
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel:
        stub = PromissoryNoteInquiryServiceStub(channel)
        return [stub.CheckNote(NOTE, timeout=20).receipt.inquiry_id for _ in range(ASKED)]


def counted(sandbox: Sandbox, folder: Path, answer: Answer) -> int:
    """How many of the consumer's inquiries count, after probes that were met with *answer*."""
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
    """A reply with a receipt for each inquiry *proven*, which reads as one with the last of them."""

    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        name(context, ids)
        replies = [pb.CheckNoteResponse(answer=ANSWER_YES, receipt=Receipt(inquiry_id=one)) for one in proven]
        return b"".join(reply.SerializeToString() for reply in replies)

    return answer


def test_a_refusal_that_names_others_inquiries_keeps_none_out_of_the_count(
    loaded: Sandbox, asked: list[str], tmp_path: Path
) -> None:
    assert ASKED == counted(loaded, tmp_path, refusing(*asked))


def test_a_reply_without_a_receipt_that_names_others_inquiries_keeps_none_out_of_the_count(
    loaded: Sandbox, asked: list[str], tmp_path: Path
) -> None:
    assert ASKED == counted(loaded, tmp_path, replying([], *asked))


def test_an_answer_is_the_one_that_its_receipt_names_whatever_the_trailer_says(
    loaded: Sandbox, asked: list[str], tmp_path: Path
) -> None:
    assert ASKED == counted(loaded, tmp_path, replying([str(uuid4())], asked[0]))


def test_a_reply_with_many_receipts_is_as_many_inquiries_as_the_contract_has_receipts(
    loaded: Sandbox, asked: list[str], tmp_path: Path
) -> None:
    assert ASKED - 1 == counted(loaded, tmp_path, replying(asked))


def test_what_is_no_id_names_nothing(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    assert ASKED == counted(loaded, tmp_path, refusing("x" * 1000, asked[0]))


def test_one_id_is_believed_however_often_it_is_said(loaded: Sandbox, asked: list[str], tmp_path: Path) -> None:
    assert ASKED - 1 == counted(loaded, tmp_path, refusing(asked[0], asked[0]))
