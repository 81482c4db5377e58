"""Asking a service from the command line: one call over mTLS, its reply shown, kept if wished, told by exit code."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from estelam.cli import output
from estelam.client.channel import ClientIdentity, channel, describe_transport_error
from estelam.core import normalize
from estelam.core.contract import find_method
from estelam.core.errors import Reason, Refusal, Violation
from estelam.core.grpc_status import from_grpc
from estelam.core.settings import ClientSettings, load_settings
from estelam.inquiry.v1 import inquiry_pb2
from estelam.receipts.archive import ReceiptRecord, write_archive


@dataclass(frozen=True, slots=True)
class Options:
    """How to ask: what every inquiry's command takes besides its question."""

    service: str
    as_: str
    address: str | None
    timeout: float
    save_receipt: Path | None
    inquiry_id: str | None
    case_reference: str | None
    operator: str | None
    as_json: bool

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What the inquiry is for, as the service takes it."""
        given = {
            "x-inquiry-id": self.inquiry_id,
            "x-case-reference": self.case_reference,
            "x-operator": self.operator,
        }
        return tuple((key, normalize.normalize_identifier(value)) for key, value in given.items() if value)


def inquiry(
    service: str, identity: str, *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose last parameter is *options*: it takes the options of every inquiry.

    *identity* is whose certificate asks unless --as says otherwise; options named in *without* are not offered.
    """
    offered = {name: option for name, option in _OPTIONS.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            how = {name: given.pop(name, None) for name in _OPTIONS}
            command(**given, options=Options(service, **how))

        own = [found for found in inspect.signature(command).parameters.values() if found.name != "options"]
        shared = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=identity if name == "as_" else default
            )
            for name, (kind, default) in offered.items()
        ]
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {found.name: found.annotation for found in (*own, *shared)}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "as_": (Annotated[str, typer.Option("--as", metavar="NAME", help="Whose certificate to ask with.")], None),
    "address": (Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where the service is.")], None),
    "timeout": (Annotated[float, typer.Option(min=0.001, help="Seconds to wait for an answer.")], 5.0),
    "save_receipt": (
        Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the reply and its receipt.")],
        None,
    ),
    "inquiry_id": (Annotated[str | None, typer.Option(help="Your own correlation id (x-inquiry-id).")], None),
    "case_reference": (Annotated[str | None, typer.Option(help="The tender or file served (x-case-reference).")], None),
    "operator": (Annotated[str | None, typer.Option(help="The person or system asking (x-operator).")], None),
    "as_json": (output.AsJson, False),
}


def ask(
    method: str,
    request: Message,
    options: Options,
    *,
    proofs: Callable[[Message, Message], list[ReceiptRecord]] | None = None,
) -> Any:
    """The reply to *request*; on anything else the command ends with words and an exit code that is no answer.

    *proofs* says which replies the receipts of this one prove, where it is not the reply itself.
    """
    with output.user_errors(as_json=options.as_json):
        address, identity = whom_and_as_whom(options, load_settings(ClientSettings))
        with channel(address, identity) as opened:
            reply = _call(opened, find_method(method), request, options)
        if options.save_receipt:
            kept = proofs(request, reply) if proofs else [ReceiptRecord(method, request, reply)]
            write_archive(options.save_receipt, kept)
    return reply


def whom_and_as_whom(options: Options, settings: ClientSettings) -> tuple[str, ClientIdentity]:
    """Where the service is, and with which certificate to ask; where none is known the command ends."""
    address = options.address or settings.addresses.get(options.service)
    if address is None:
        output.exit_error(f"where is {options.service}? give --address", as_json=options.as_json)
    return address, ClientIdentity.named(settings.pki, options.as_)


def answer(reply: Any, facts: dict[str, Any], options: Options) -> None:
    """Show a yes or a no, and exit with it."""
    if reply.answer == inquiry_pb2.ANSWER_YES:
        word, code = "YES", output.EXIT_YES
    elif reply.answer == inquiry_pb2.ANSWER_NO:
        word, code = "NO", output.EXIT_NO
    else:
        output.exit_error("the reply holds no answer", as_json=options.as_json, code=output.EXIT_UNAVAILABLE)
    words = {"YES": "بلی / YES", "NO": "خیر / NO"}
    output.print_record({"answer": word if options.as_json else words[word], **facts}, as_json=options.as_json)
    raise typer.Exit(code)


def receipt_facts(receipt: inquiry_pb2.Receipt) -> dict[str, Any]:
    """What of a receipt is worth showing."""
    return {"inquiry_id": receipt.inquiry_id, "answered_at": receipt.answered_at.ToJsonString()}


def _call(opened: grpc.Channel, method: MethodDescriptor, request: Message, options: Options) -> Message:
    reply_class = GetMessageClass(method.output_type)
    call: Any = opened.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reply_class.FromString,
    )
    try:
        reply: Message = call(request, timeout=options.timeout, metadata=options.metadata())
    except grpc.RpcError as error:
        refusal = from_grpc(error)
        if isinstance(refusal, Refusal):
            output.exit_refused(refusal, as_json=options.as_json)
        output.exit_error(
            f"No answer: {describe_transport_error(error)}", as_json=options.as_json, code=output.EXIT_UNAVAILABLE
        )
    return reply


def rials(text: str, options: Options) -> int:
    """The amount that *text* means; where it means none, the command ends with the contract's own refusal."""
    try:
        amount = normalize.parse_amount(text)
    except ValueError:
        amount = -1
    if not 0 <= amount < 2**63:
        found = Violation("amount_rials", "int64", "must be a whole number of rials, greater than 0")
        output.exit_refused(Refusal(Reason.FIELD_INVALID, [found]), as_json=options.as_json)
    return amount
