"""A service's ledger, written by real inquiries, and the replies that its callers stored."""

from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from development import sandbox as suite
from development.sandbox import CHECK_NOTE, GET_NOTE_PARTIES
from estelam.client.channel import ClientIdentity
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import Receipt
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts.archive import ReceiptRecord
from tests.conftest import plain_channel, promissory_opening
from tests.support.service import RunningService

YES = pb.CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)
NO = pb.CheckNoteRequest(serial=YES.serial, obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=1)
PARTIES = pb.GetNotePartiesRequest(serial=YES.serial, executive_agency_id="SETAD-0001")
NOT_A_MEMBER = pb.GetNotePartiesRequest(serial=YES.serial, executive_agency_id="NOBODY")
PURPOSE = (("x-inquiry-id", "i-1"), ("x-case-reference", "c-1"), ("x-operator", "o-1"))


class RecordedLedger:
    """A real service's ledger of 24 entries, and its replies."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = suite.create_sandbox(folder)
        suite.load_samples(self.sandbox)
        self.replies: list[ReceiptRecord] = []
        self._callers: list[str] = []
        with RunningService(promissory_opening(self.sandbox, shutdown_delay_seconds=0)) as service:
            self._ask(service, "stranger", YES)
            self._ask(service, "setad", YES)
            self._ask(service, "setad", *[NO, PARTIES] * 4)
            self._ask(service, "agency", pb.CheckNoteRequest(serial="1"), YES)
            self._ask(service, "setad", *[YES, NOT_A_MEMBER, NO] * 4)
        self.keys = verifying_keys([self.sandbox.pki / "promissory-receipts.crt"])

    def _ask(self, service: RunningService, caller: str, *requests: Message) -> None:
        """Send all *requests* at once, so that some share a commit."""
        with plain_channel(service.address, ClientIdentity.named(self.sandbox.pki, caller)) as channel:
            stub: Any = PromissoryNoteInquiryServiceStub(channel)
            rpcs = {pb.CheckNoteRequest: stub.CheckNote, pb.GetNotePartiesRequest: stub.GetNoteParties}
            calls = [rpcs[type(request)].future(request, timeout=10, metadata=PURPOSE) for request in requests]
            for request, call in zip(requests, calls, strict=True):
                if call.exception() is None:
                    method = CHECK_NOTE if isinstance(request, pb.CheckNoteRequest) else GET_NOTE_PARTIES
                    self.replies.append(ReceiptRecord(method, request, call.result()))
                    self._callers.append(caller)

    def answer_to(self, caller: str, request: Message) -> ReceiptRecord:
        """Return the first reply to *caller*'s *request*."""
        asked = zip(self._callers, self.replies, strict=True)
        return next(record for by, record in asked if (by, record.request) == (caller, request))

    def reply_with(self, answer: int, *, outside: str = "") -> ReceiptRecord:
        """Return a reply with *answer* (0: parties) and a long inclusion path, of another checkpoint than *outside*."""
        found = [record for record in self.replies if getattr(record.reply, "answer", 0) == answer]
        found = [record for record in found if receipt_of(record).checkpoint != outside]
        return max(found, key=lambda record: len(receipt_of(record).inclusion_path))


def receipt_of(record: Any) -> Receipt:
    found: Receipt = record.reply.receipt
    return found
