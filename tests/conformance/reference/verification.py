"""VerifyNote: the ministry's two methods as one answer, forwarded only with valid receipts."""

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status as StatusProto
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.setad.v1 import note_verification_pb2 as pb

from .inquiry import Answer, Inquiry, Method
from .notes import CHECK_NOTE, GET_NOTE_PARTIES
from .receipt import ReceiptVerifier
from .refusal import Refused
from .wire import Plain, PlainDetails

SERVICE = "estelam.setad.v1.NoteVerificationService"


class Ministry:
    """A client of the ministry's service at *address*, with Setad's certificate."""

    def __init__(self, address: str, pki: Path, receipts: Path) -> None:
        host, _, port = address.rpartition(":")
        tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        tls.load_cert_chain(pki / "setad.crt", pki / "setad.key")
        tls.set_alpn_protocols(["h2"])
        self._channel = Channel(host, int(port), ssl=tls, codec=Plain(), status_details_codec=PlainDetails())
        self._verifier = ReceiptVerifier(receipts)

    async def call(self, name: str, request: Message, kind: type[Message], inquiry: Inquiry) -> Any:
        """Call method *name* within the inquiry's remaining time and return the verified reply."""
        remaining = inquiry.seconds - (time.monotonic() - inquiry.received_at)
        method: UnaryUnaryMethod[bytes, bytes] = UnaryUnaryMethod(self._channel, f"/{name}", bytes, bytes)
        try:
            wire = await method(request.SerializeToString(), timeout=max(remaining, 0.0), metadata=inquiry.purposes)
            reply = kind.FromString(wire)
        except GRPCError as error:
            raise forwarded_refusal(error) from None
        except TimeoutError:
            raise Refused(Reason.ANSWER_LATE) from None
        except (OSError, StreamTerminatedError, DecodeError):
            raise Refused(Reason.PROVIDER_UNAVAILABLE) from None
        if not self._verifier.is_valid(name, request, reply):
            raise Refused(Reason.PROVIDER_UNPROVEN)
        return reply

    async def serves(self) -> bool:
        """Return whether the ministry can be reached."""
        try:
            async with asyncio.timeout(1):
                await self._channel.__connect__()
        except (OSError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Close the connection."""
        protocol = self._channel._protocol
        if protocol is not None and not protocol.connection.is_closing():
            protocol.connection._transport.abort()  # close() would wait for the peer
        self._channel.close()
        await asyncio.sleep(0)  # the socket is closed in the loop's next iteration


def forwarded_refusal(error: GRPCError) -> Refused:
    """Return the ministry's refusal with its own reason, or the refusal for a missing answer."""
    status = StatusProto.FromString(error.details) if isinstance(error.details, bytes) else StatusProto()
    info, bad_request, retry = details.ErrorInfo(), details.BadRequest(), details.RetryInfo()
    unpacked = [detail.Unpack(each) for detail in status.details for each in (info, bad_request, retry)]
    if any(unpacked) and info.domain == "estelam" and info.reason in set(Reason):
        fields = [(each.field, each.reason, each.description) for each in bad_request.field_violations]
        seconds = retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None
        return Refused(Reason(info.reason), fields, retry_seconds=seconds)
    late = error.status is Status.DEADLINE_EXCEEDED
    return Refused(Reason.ANSWER_LATE if late else Reason.PROVIDER_UNAVAILABLE)


class Verification:
    """The adapter's method."""

    def __init__(self, ministry: Ministry) -> None:
        self._ministry = ministry

    def methods(self) -> list[Method]:
        """Return the contract's methods."""
        return [Method(f"{SERVICE}/VerifyNote", pb.VerifyNoteRequest, self.verify, lambda _: [], lambda _: "")]

    async def verify(self, inquiry: Inquiry) -> Answer:
        """Return the ministry's answer, with the parties if it is YES."""
        request = inquiry.request
        check = notes.CheckNoteRequest(
            serial=request.serial,
            obligor_id=request.obligor_id,
            beneficiary_id=request.beneficiary_id,
            amount_rials=request.amount_rials,
        )
        checked = await self._ministry.call(CHECK_NOTE, check, notes.CheckNoteResponse, inquiry)
        reply = pb.VerifyNoteResponse(answer=checked.answer, check_receipt=checked.receipt)
        if checked.answer != inquiry_pb2.ANSWER_YES:
            return Answer(inquiry_pb2.OUTCOME_NO, reply)
        wanted = notes.GetNotePartiesRequest(serial=request.serial, executive_agency_id=request.executive_agency_id)
        parties = await self._ministry.call(GET_NOTE_PARTIES, wanted, notes.GetNotePartiesResponse, inquiry)
        if (parties.obligor.id, parties.beneficiary.id) != (request.obligor_id, request.beneficiary_id):
            raise Refused(Reason.PROVIDER_CONTRADICTS)
        reply.obligor.CopyFrom(parties.obligor)
        reply.beneficiary.CopyFrom(parties.beneficiary)
        reply.parties_receipt.CopyFrom(parties.receipt)
        return Answer(inquiry_pb2.OUTCOME_YES, reply)
