"""The contract's methods by the names that cases use, and the encoding of their requests."""

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from conformance.case import Step
from estelam.core.contract import UnknownMethodError, find_method
from estelam.core.exceptions import UserFacingError
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.setad.v1 import note_verification_pb2 as verification

_SERVICES = {
    "promissory": notes.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"],
    "judiciary": cases.DESCRIPTOR.services_by_name["ChequeCaseInquiryService"],
    "setad": verification.DESCRIPTOR.services_by_name["NoteVerificationService"],
}


class RequestError(UserFacingError):
    """A step's request is not a message of its method; the text is for the author of the case."""


def service_name(service: str) -> str:
    """Return the full gRPC name of *service*: promissory, judiciary or setad."""
    name: str = _SERVICES[service].full_name
    return name


def method_names(service: str) -> list[str]:
    """Return the full names of a service's methods, package.Service/Method."""
    return [f"{service_name(service)}/{method.name}" for method in _SERVICES[service].methods]


def path_of(call: str, service: str) -> str:
    """Return the HTTP/2 path of *call*, a method of *service* by its short name or any method by its full name."""
    if "/" not in call:
        return f"/{service_name(service)}/{call}"
    return call if call.startswith("/") else f"/{call}"


def method_at(path: str) -> MethodDescriptor | None:
    """Return the contract's method at *path*, or None."""
    try:
        return find_method(path.removeprefix("/"))
    except UnknownMethodError:
        return None


def request_type(path: str) -> type[Message] | None:
    """Return the request message of the method at *path*, or None."""
    method = method_at(path)
    return GetMessageClass(method.input_type) if method else None


def reply_type(path: str) -> type[Message] | None:
    """Return the response message of the method at *path*, or None."""
    method = method_at(path)
    return GetMessageClass(method.output_type) if method else None


def encode(step: Step, path: str) -> bytes:
    """Return the bytes of *step*'s request.

    Raises:
        RequestError: its JSON is not a request of the method.
    """
    if step.message is not None:
        return bytes.fromhex(step.message.hex) + bytes(step.message.padding)
    kind = request_type(path)
    if kind is None:
        raise RequestError("a method outside the contract takes `message`, in bytes, not `request`, in JSON")
    try:
        return ParseDict(dict(step.request or {}), kind()).SerializeToString(deterministic=True)
    except ParseError as error:
        raise RequestError(str(error)) from None
