"""VerifyNote as two calls to the ministry: CheckNote and, after YES, GetNoteParties, within one deadline.

Each reply is passed on only if its receipt verifies, and parties only if they are the persons whom the request names.
"""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import Message

from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import VerifyingKey
from estelam.core.model import PURPOSE_KEYS, Answer, Inquiry, Outcome
from estelam.core.purpose import encode_purpose
from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import receipt
from estelam.receipts.problems import InvalidReceipt
from estelam.setad.v1 import note_verification_pb2 as pb

if TYPE_CHECKING:
    from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceAsyncStub

log = structlog.get_logger()

_MINISTRY = notes.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"].full_name


class VerificationBackend:
    """Answer backend that forwards to the ministry's service, which looks up and records."""

    def __init__(
        self, ministry: "PromissoryNoteInquiryServiceAsyncStub", keys: Mapping[str, VerifyingKey], clock: Clock
    ) -> None:
        self._ministry = ministry
        self._keys = keys
        self._clock = clock

    async def answer(self, inquiry: Inquiry, seconds: float) -> Answer:
        """Return the ministry's answer about the note within *seconds*, with the parties if it is YES.

        Raises:
            Refusal: the ministry's own refusal, by its reason; PROVIDER_UNAVAILABLE; ANSWER_LATE; PROVIDER_UNPROVEN if
                a reply's receipt is invalid; or PROVIDER_CONTRADICTS if the parties are others than those confirmed.
        """
        deadline = self._clock.monotonic() + seconds
        check = _check_note_request(inquiry.request)
        checked = await self._call("CheckNote", self._ministry.CheckNote, check, inquiry, deadline)
        reply = pb.VerifyNoteResponse(answer=checked.answer, check_receipt=checked.receipt)
        if checked.answer != inquiry_pb2.ANSWER_YES:
            return Answer(Outcome.NO, receipt.canonical(reply))
        request = _parties_request(inquiry.request)
        parties = await self._call("GetNoteParties", self._ministry.GetNoteParties, request, inquiry, deadline)
        if (parties.obligor.id, parties.beneficiary.id) != (check.obligor_id, check.beneficiary_id):
            log.error("parties.rejected", inquiry_id=str(inquiry.id))
            raise Refusal(Reason.PROVIDER_CONTRADICTS)
        reply.obligor.CopyFrom(parties.obligor)
        reply.beneficiary.CopyFrom(parties.beneficiary)
        reply.parties_receipt.CopyFrom(parties.receipt)
        return Answer(Outcome.YES, receipt.canonical(reply))

    async def record_refusal(self, inquiry: Inquiry, seconds: float) -> None:
        """Do nothing: the ministry received no call, so it records none; the pipeline has logged the refusal."""

    async def _call(self, name: str, rpc: Any, request: Message, inquiry: Inquiry, deadline: float) -> Any:
        call: Awaitable[Message] = rpc(
            request, timeout=max(0.0, deadline - self._clock.monotonic()), metadata=_purpose_metadata(inquiry)
        )
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            raise _forwarded_refusal(error) from None
        try:
            receipt.verify(f"{_MINISTRY}/{name}", request, reply, self._keys)
        except InvalidReceipt as error:
            log.error("receipt.rejected", method=name, step=str(error))
            raise Refusal(Reason.PROVIDER_UNPROVEN) from None
        return reply


def _purpose_metadata(inquiry: Inquiry) -> tuple[tuple[str, str], ...]:
    values = ((key, getattr(inquiry.purpose, name)) for key, name in PURPOSE_KEYS.items())
    return tuple((key, encode_purpose(value)) for key, value in values if value)


def _forwarded_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    if refusal := from_grpc(error):
        return refusal
    late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return Refusal(Reason.ANSWER_LATE if late else Reason.PROVIDER_UNAVAILABLE)


def _check_note_request(request: pb.VerifyNoteRequest) -> notes.CheckNoteRequest:
    return notes.CheckNoteRequest(
        serial=request.serial,
        obligor_id=request.obligor_id,
        beneficiary_id=request.beneficiary_id,
        amount_rials=request.amount_rials,
    )


def _parties_request(request: pb.VerifyNoteRequest) -> notes.GetNotePartiesRequest:
    return notes.GetNotePartiesRequest(serial=request.serial, executive_agency_id=request.executive_agency_id)


def ministry_replies(request: pb.VerifyNoteRequest, reply: pb.VerifyNoteResponse) -> list[tuple[str, Message, Message]]:
    """Split *reply* into the ministry's replies: method, request and reply of each, as its receipt commits to them."""
    checked = notes.CheckNoteResponse(answer=reply.answer, receipt=reply.check_receipt)
    replies: list[tuple[str, Message, Message]] = [(f"{_MINISTRY}/CheckNote", _check_note_request(request), checked)]
    if reply.HasField("parties_receipt"):
        parties = notes.GetNotePartiesResponse(
            obligor=reply.obligor, beneficiary=reply.beneficiary, receipt=reply.parties_receipt
        )
        replies.append((f"{_MINISTRY}/GetNoteParties", _parties_request(request), parties))
    return replies
