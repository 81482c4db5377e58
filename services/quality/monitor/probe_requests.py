"""The harmless inquiries that probes make: requests written as JSON, and what of the replies a probe looks at."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from estelam.inquiry.v1.inquiry_pb2 import Receipt
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.setad.v1 import note_verification_pb2 as verification

_METHODS: Mapping[str, MethodDescriptor] = {
    f"{service.full_name}/{method.name}": method
    for contract in (notes, cases, verification)
    for service in contract.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


class ProbeRequestError(Exception):
    """A question that can't be asked; the text is for the operator."""


def encode(method: str, question: Mapping[str, Any]) -> bytes:
    """The request to *method* that *question* (proto3 JSON) says.

    Raises:
        QuestionError: there is no such method in the contracts, or that is no request of it.
    """
    known = _METHODS.get(method)
    if known is None:
        raise ProbeRequestError(f"{method} is no method of the contracts")
    try:
        request: Message = ParseDict(dict(question), GetMessageClass(known.input_type)())
    except (ParseError, TypeError, ValueError):
        raise ProbeRequestError(f"what is to be asked of {method} is no {known.input_type.name}") from None
    return request.SerializeToString()


def inquiry_ids(method: str, reply: bytes) -> list[bytes]:
    """The ids of the inquiries whose receipts *reply* carries; none where it is no reply of *method* with a receipt.

    The contract bounds them: each field of a reply holds one receipt, whatever a service sends.
    """
    try:
        read = GetMessageClass(_METHODS[method].output_type).FromString(reply)
    except DecodeError:
        return []
    return [found for receipt in _receipts(read) for found in parse_inquiry_id(receipt.inquiry_id)]


def parse_inquiry_id(text: str) -> list[bytes]:
    """The inquiry id written as *text*, as a ledger keeps it; nothing where it is none."""
    try:
        return [UUID(text).bytes]
    except ValueError:
        return []


def _receipts(reply: Message) -> Iterator[Any]:
    for field, value in reply.ListFields():
        if field.message_type is not None and field.message_type.full_name == Receipt.DESCRIPTOR.full_name:
            yield value
