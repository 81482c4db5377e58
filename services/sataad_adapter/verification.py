"""Two calls as one: CheckNote and, after a yes, GetNoteParties, inside one deadline, each proven by its receipt."""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import Message

from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.core.model import PURPOSE_KEYS, Answer, Inquiry, Outcome
from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import receipt
from estelam.setad.v1 import note_verification_pb2 as pb

if TYPE_CHECKING:
    from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceAsyncStub

log = structlog.get_logger()

_MINISTRY = notes.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"].full_name


class Verification:
    """The desk's counter where another service looks up and records: what it says is passed on only with its proof."""

    def __init__(
        self, ministry: "PromissoryNoteInquiryServiceAsyncStub", keys: Mapping[str, Ed25519PublicKey], clock: Clock
    ) -> None:
        self._ministry = ministry
        self._keys = keys
        self._clock = clock

    async def answer(self, inquiry: Inquiry, seconds: float) -> Answer:
        """The ministry's answer about the note, with the parties where it is yes, within *seconds*.

        Raises:
            Refusal: the ministry's own, by its reason; PROVIDER_UNAVAILABLE, ANSWER_LATE; or PROVIDER_UNPROVEN where a
                reply's receipt does not prove it.
        """
        until = self._clock.monotonic() + seconds
        check = _check_of(inquiry.request)
        checked = await self._ask("CheckNote", self._ministry.CheckNote, check, inquiry, until)
        reply = pb.VerifyNoteResponse(answer=checked.answer, check_receipt=checked.receipt)
        if checked.answer != inquiry_pb2.ANSWER_YES:
            return Answer(Outcome.NO, receipt.canonical(reply))
        wanted = _parties_of(inquiry.request)
        parties = await self._ask("GetNoteParties", self._ministry.GetNoteParties, wanted, inquiry, until)
        reply.obligor.CopyFrom(parties.obligor)
        reply.beneficiary.CopyFrom(parties.beneficiary)
        reply.parties_receipt.CopyFrom(parties.receipt)
        return Answer(Outcome.YES, receipt.canonical(reply))

    async def record_refusal(self, inquiry: Inquiry, seconds: float) -> None:
        """Nothing was asked of the ministry, so nothing is recorded there; the desk has logged the refusal."""

    async def _ask(self, name: str, rpc: Any, request: Message, inquiry: Inquiry, until: float) -> Any:
        call: Awaitable[Message] = rpc(
            request, timeout=max(0.0, until - self._clock.monotonic()), metadata=_purpose(inquiry)
        )
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            raise _passed_on(error) from None
        try:
            receipt.verify(f"{_MINISTRY}/{name}", request, reply, self._keys)
        except receipt.InvalidReceipt as error:
            log.error("provider.unproven", method=name, step=str(error))
            raise Refusal(Reason.PROVIDER_UNPROVEN) from None
        return reply


def _purpose(inquiry: Inquiry) -> tuple[tuple[str, str], ...]:
    given = ((key, getattr(inquiry.purpose, name)) for key, name in PURPOSE_KEYS.items())
    return tuple((key, value) for key, value in given if value)


def _passed_on(error: grpc.aio.AioRpcError) -> Refusal:
    if refusal := from_grpc(error):
        return refusal
    late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return Refusal(Reason.ANSWER_LATE if late else Reason.PROVIDER_UNAVAILABLE)


def _check_of(asked: pb.VerifyNoteRequest) -> notes.CheckNoteRequest:
    return notes.CheckNoteRequest(
        serial=asked.serial,
        obligor_id=asked.obligor_id,
        beneficiary_id=asked.beneficiary_id,
        amount_rials=asked.amount_rials,
    )


def _parties_of(asked: pb.VerifyNoteRequest) -> notes.GetNotePartiesRequest:
    return notes.GetNotePartiesRequest(serial=asked.serial, executive_agency_id=asked.executive_agency_id)


def replies_of(asked: pb.VerifyNoteRequest, reply: pb.VerifyNoteResponse) -> list[tuple[str, Message, Message]]:
    """The ministry's replies that *reply* was made of: method, request and reply of each, as their receipts prove."""
    checked = notes.CheckNoteResponse(answer=reply.answer, receipt=reply.check_receipt)
    made: list[tuple[str, Message, Message]] = [(f"{_MINISTRY}/CheckNote", _check_of(asked), checked)]
    if reply.HasField("parties_receipt"):
        parties = notes.GetNotePartiesResponse(
            obligor=reply.obligor, beneficiary=reply.beneficiary, receipt=reply.parties_receipt
        )
        made.append((f"{_MINISTRY}/GetNoteParties", _parties_of(asked), parties))
    return made
