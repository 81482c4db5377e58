"""Requests of the probes, written as proto3 JSON, and the inquiry ids in the replies."""

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
    """A probe request in the settings is invalid."""


def encode(method: str, request: Mapping[str, Any]) -> bytes:
    """Serialize *request* (proto3 JSON) for *method*.

    Raises:
        ProbeRequestError: the contracts have no such method, or *request* is not valid for it.
    """
    known = _METHODS.get(method)
    if known is None:
        raise ProbeRequestError(f"{method} is not a method of the contracts")
    try:
        message: Message = ParseDict(dict(request), GetMessageClass(known.input_type)())
    except (ParseError, TypeError, ValueError):
        raise ProbeRequestError(f"the request of {method} is not a valid {known.input_type.name}") from None
    return message.SerializeToString()


def inquiry_ids(method: str, reply: bytes) -> list[bytes]:
    """Inquiry ids of the receipts in *reply*; empty if it is not a reply of *method* with a receipt.

    The contract bounds their number: each field of a reply holds one receipt, whatever a service sends.
    """
    try:
        message = GetMessageClass(_METHODS[method].output_type).FromString(reply)
    except DecodeError:
        return []
    return [found for receipt in _receipts(message) for found in parse_inquiry_id(receipt.inquiry_id)]


def parse_inquiry_id(text: str) -> list[bytes]:
    """The bytes of the inquiry id *text*, as a ledger stores it; empty if it is not a UUID."""
    try:
        return [UUID(text).bytes]
    except ValueError:
        return []


def _receipts(reply: Message) -> Iterator[Any]:
    for field, value in reply.ListFields():
        if field.message_type is not None and field.message_type.full_name == Receipt.DESCRIPTOR.full_name:
            yield value
