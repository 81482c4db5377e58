"""Setad's one method: the ministry's two as one answer, each reply proven before it is passed on."""

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status as Words
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.setad.v1 import note_verification_pb2 as pb

from .inquiry import Answer, Inquiry, Method
from .notes import CHECK_NOTE, GET_NOTE_PARTIES
from .proof import Prover
from .wire import Plain, PlainDetails
from .words import Declined

SERVICE = "estelam.setad.v1.NoteVerificationService"


class Ministry:
    """The ministry's service at *address*, asked under Setad's own certificate."""

    def __init__(self, address: str, pki: Path, receipts: Path) -> None:
        host, _, port = address.rpartition(":")
        tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        tls.load_cert_chain(pki / "setad.crt", pki / "setad.key")
        tls.set_alpn_protocols(["h2"])
        self._channel = Channel(host, int(port), ssl=tls, codec=Plain(), status_details_codec=PlainDetails())
        self._prover = Prover(receipts)

    async def ask(self, name: str, request: Message, kind: type[Message], inquiry: Inquiry) -> Any:
        """The proven reply to *request*, in the time that *inquiry* still has."""
        left = inquiry.seconds - (time.monotonic() - inquiry.arrived)
        method: UnaryUnaryMethod[bytes, bytes] = UnaryUnaryMethod(self._channel, f"/{name}", bytes, bytes)
        try:
            wire = await method(request.SerializeToString(), timeout=max(left, 0.0), metadata=inquiry.purposes)
            reply = kind.FromString(wire)
        except GRPCError as error:
            raise passed_on(error) from None
        except TimeoutError:
            raise Declined(Reason.ANSWER_LATE) from None
        except (OSError, StreamTerminatedError, DecodeError):
            raise Declined(Reason.PROVIDER_UNAVAILABLE) from None
        if not self._prover.proves(name, request, reply):
            raise Declined(Reason.PROVIDER_UNPROVEN)
        return reply

    async def serves(self) -> bool:
        """Whether it can be reached at all."""
        try:
            async with asyncio.timeout(1):
                await self._channel.__connect__()
        except (OSError, TimeoutError):
            return False
        return True

    def close(self) -> None:
        """Ask no more."""
        self._channel.close()


def passed_on(error: GRPCError) -> Declined:
    """The ministry's refusal by its own reason, or that there was none."""
    words = Words.FromString(error.details) if isinstance(error.details, bytes) else Words()
    info, broken, retry = details.ErrorInfo(), details.BadRequest(), details.RetryInfo()
    found = [detail.Unpack(one) for detail in words.details for one in (info, broken, retry)]
    if any(found) and info.domain == "estelam" and info.reason in set(Reason):
        fields = [(one.field, one.reason, one.description) for one in broken.field_violations]
        seconds = retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None
        return Declined(Reason(info.reason), fields, retry_seconds=seconds)
    late = error.status is Status.DEADLINE_EXCEEDED
    return Declined(Reason.ANSWER_LATE if late else Reason.PROVIDER_UNAVAILABLE)


class Verification:
    """Answers a buyer."""

    def __init__(self, ministry: Ministry) -> None:
        self._ministry = ministry

    def methods(self) -> list[Method]:
        """What Setad offers."""
        return [Method(f"{SERVICE}/VerifyNote", pb.VerifyNoteRequest, self.verify, lambda _: [], lambda _: "")]

    async def verify(self, inquiry: Inquiry) -> Answer:
        """The ministry's answer and, after a yes, the parties."""
        asked = inquiry.request
        check = notes.CheckNoteRequest(
            serial=asked.serial,
            obligor_id=asked.obligor_id,
            beneficiary_id=asked.beneficiary_id,
            amount_rials=asked.amount_rials,
        )
        checked = await self._ministry.ask(CHECK_NOTE, check, notes.CheckNoteResponse, inquiry)
        reply = pb.VerifyNoteResponse(answer=checked.answer, check_receipt=checked.receipt)
        if checked.answer != inquiry_pb2.ANSWER_YES:
            return Answer(inquiry_pb2.OUTCOME_NO, reply)
        wanted = notes.GetNotePartiesRequest(serial=asked.serial, executive_agency_id=asked.executive_agency_id)
        parties = await self._ministry.ask(GET_NOTE_PARTIES, wanted, notes.GetNotePartiesResponse, inquiry)
        reply.obligor.CopyFrom(parties.obligor)
        reply.beneficiary.CopyFrom(parties.beneficiary)
        reply.parties_receipt.CopyFrom(parties.receipt)
        return Answer(inquiry_pb2.OUTCOME_YES, reply)
