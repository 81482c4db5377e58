"""VerifyNote as two calls to the ministry: CheckNote and, after YES, GetNoteParties, within one deadline.

Each reply is passed on only if its receipt verifies and is of this very call, and parties only if they are the persons
whom the request names.
No thread waits for the ministry: gRPC calls back with each reply.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message

from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import VerifyingKey
from estelam.core.model import PURPOSE_KEYS, Answer, Inquiry, Outcome
from estelam.core.purpose import encode_purpose
from estelam.inquiry.v1 import inquiry_pb2
from estelam.pipeline.metadata import TRACEPARENT
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import receipt
from estelam.receipts.own_call import OwnCall
from estelam.receipts.problems import InvalidReceipt
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.telemetry.call_counts import PROBE_KEY

log = structlog.get_logger()

_MINISTRY = notes.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"].full_name


Done = Callable[[Answer | Exception], None]


class VerificationBackend:
    """Answer backend that forwards to the ministry's service, which looks up and records."""

    def __init__(
        self, ministry: PromissoryNoteInquiryServiceStub, keys: Mapping[str, VerifyingKey], caller: str, clock: Clock
    ) -> None:
        self._ministry = ministry
        self._keys = keys
        self._caller = caller
        self._clock = clock

    def answer(self, inquiry: Inquiry, seconds: float, done: Done) -> Callable[[], None]:
        """Pass the ministry's answer about the note to *done* within *seconds*, with the parties if it is YES.

        In place of an answer it is a Refusal: the ministry's own, by its reason; PROVIDER_UNAVAILABLE; ANSWER_LATE;
        PROVIDER_UNPROVEN if a reply's receipt is invalid or of another call; or PROVIDER_CONTRADICTS if the parties are
        others than those confirmed. Return what cancels the calls to the ministry.
        """
        verification = _Verification(self._ministry, self._keys, self._caller, self._clock, inquiry, seconds, done)
        verification.check()
        return verification.cancel

    def record_refusal(self, _inquiry: Inquiry, _seconds: float, done: Callable[[Refusal | None], None]) -> None:
        """Record nothing: the ministry received no call, so it records none; the pipeline has logged the refusal."""
        done(None)


class _Verification:
    """One VerifyNote: the calls to the ministry, one after the other."""

    def __init__(
        self,
        ministry: PromissoryNoteInquiryServiceStub,
        keys: Mapping[str, VerifyingKey],
        caller: str,
        clock: Clock,
        inquiry: Inquiry,
        seconds: float,
        done: Done,
    ) -> None:
        self._ministry = ministry
        self._keys = keys
        self._caller = caller
        self._clock = clock
        self._inquiry = inquiry
        self._deadline = clock.monotonic() + seconds
        self._done = done
        self._reply = pb.VerifyNoteResponse()
        self._call: Any = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Cancel the call to the ministry: the caller waits no more."""
        self._is_cancelled = True
        self._call.cancel()

    def check(self) -> None:
        """Call CheckNote."""
        self._start("CheckNote", self._ministry.CheckNote, _check_note_request(self._inquiry.request), self._checked)

    def _checked(self, reply: notes.CheckNoteResponse) -> None:
        self._reply.answer = reply.answer
        self._reply.check_receipt.CopyFrom(reply.receipt)
        if reply.answer != inquiry_pb2.ANSWER_YES:
            self._done(Answer(Outcome.NO, receipt.canonical(self._reply)))
            return
        request = _parties_request(self._inquiry.request)
        self._start("GetNoteParties", self._ministry.GetNoteParties, request, self._disclosed)

    def _disclosed(self, reply: notes.GetNotePartiesResponse) -> None:
        asked = self._inquiry.request
        if (reply.obligor.id, reply.beneficiary.id) != (asked.obligor_id, asked.beneficiary_id):
            log.error("parties.rejected", inquiry_id=str(self._inquiry.id))
            raise Refusal(Reason.PROVIDER_CONTRADICTS)
        self._reply.obligor.CopyFrom(reply.obligor)
        self._reply.beneficiary.CopyFrom(reply.beneficiary)
        self._reply.parties_receipt.CopyFrom(reply.receipt)
        self._done(Answer(Outcome.YES, receipt.canonical(self._reply)))

    def _start(self, name: str, rpc: Any, request: Message, then: Callable[[Any], None]) -> None:
        """Call *rpc*, and call *then* with its reply once the receipt has been verified; nothing after `cancel`."""
        if self._is_cancelled:
            return
        timeout = max(0.0, self._deadline - self._clock.monotonic())
        own = OwnCall(self._caller, self._clock.micros())
        traced = ((TRACEPARENT, self._inquiry.traceparent),) if self._inquiry.traceparent else ()
        metadata = (*_purpose_metadata(self._inquiry), *own.metadata, *traced)
        self._call = rpc.future(request, timeout=timeout, metadata=metadata)
        if self._is_cancelled:  # since, in another thread, while the call before was still the one to cancel
            self._call.cancel()
        self._call.add_done_callback(partial(self._replied, name, request, own, then))

    def _replied(self, name: str, request: Message, own: OwnCall, then: Callable[[Any], None], call: Any) -> None:
        """Go on in gRPC's thread; whatever goes wrong there is the result."""
        if self._is_cancelled:
            return
        try:
            try:
                reply = call.result()
            except grpc.RpcError as error:
                raise _forwarded_refusal(error) from None
            try:
                proven = receipt.verify(f"{_MINISTRY}/{name}", request, reply, self._keys)
                own.check(proven.entry, self._clock.micros(), CLOCK_TOLERANCE)
            except InvalidReceipt as error:
                log.error("receipt.rejected", method=name, step=str(error))
                raise Refusal(Reason.PROVIDER_UNPROVEN) from None
            then(reply)
        except Exception as error:  # noqa: BLE001 - the pipeline makes a refusal of it
            self._done(error)


def _purpose_metadata(inquiry: Inquiry) -> tuple[tuple[str, str], ...]:
    values = ((key, getattr(inquiry.purpose, name)) for key, name in PURPOSE_KEYS.items())
    marks = ((PROBE_KEY, "1"),) if inquiry.is_probe else ()
    return (*((key, encode_purpose(value)) for key, value in values if value), *marks)


def _forwarded_refusal(error: grpc.RpcError) -> Refusal:
    if refusal := from_grpc(error):
        return refusal
    late = isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
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
