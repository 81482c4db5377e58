"""Inquiries from the command line: one call over mTLS, its reply printed, archived on request, and an exit code."""

import json
from collections.abc import Callable
from datetime import UTC
from typing import Any, NoReturn

import grpc
import typer
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from estelam.cli import output
from estelam.cli.inquiry_options import Options
from estelam.cli.signing_keys import receipts_certificate, service_keys
from estelam.client.channel import ClientIdentity, channel, describe_transport_error
from estelam.core import normalize, validation
from estelam.core.addresses import check_target
from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.contract import find_method
from estelam.core.errors import Reason, Refusal, Violation
from estelam.core.exceptions import UsageError, describe_error
from estelam.core.grpc_status import from_grpc
from estelam.core.names import did_you_mean
from estelam.core.pem import KeyFileError, name_text, read_certificates
from estelam.core.settings import ClientSettings, load_settings
from estelam.inquiry.v1 import inquiry_pb2
from estelam.receipts.archive import ReceiptRecord, write_archive
from estelam.receipts.own_call import OwnCall
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier, check_content, entry_of


def ask(
    method: str,
    request: Message,
    options: Options,
    *,
    provider: str | None = None,
    receipts: Callable[[Message, Message], list[ReceiptRecord]] | None = None,
) -> Any:
    """Send *request* and return the reply; on a refusal or a failure print it and exit.

    A reply whose receipt does not prove it is no answer: each receipt holds its own request and reply, that of the
    service itself is of this call, and the signature is valid. Without a certificate of the service in the `pki` folder
    the signature is not verified, and a warning is printed.

    Args:
        method: package.Service/Method.
        request: the request message.
        options: the options of the command.
        provider: the service whose receipts prove the reply; default: the one that is asked.
        receipts: returns the replies of other calls that the reply's receipts prove; default: the reply itself.
    """
    with output.user_errors(as_json=options.as_json):
        address, identity = resolve_target(options, load_settings(ClientSettings))
        if options.save_receipt:
            output.check_writable(options.save_receipt, "--save-receipt", force=options.force)
        # Before the call: afterwards a certificate that can't be used would cost the answer.
        verifier = _verifier(provider or options.service)
        clock = Clock()
        own = OwnCall(identity.organization_id(), clock.micros())
        with channel(address, identity) as opened:
            try:
                reply = call(opened, find_method(method), request, options, own)
            except grpc.RpcError as error:
                exit_without_answer(error, options, address, identity)
        records = receipts(request, reply) if receipts else [ReceiptRecord(method, request, reply)]
        try:
            for each in records:
                entry = _proven_entry(each, verifier)
                if receipts is None:
                    own.check(entry, clock.micros(), CLOCK_TOLERANCE)
        except InvalidReceipt as error:
            exit_unproven(error, options, address)
        if options.save_receipt:
            try:
                write_archive(options.save_receipt, records)
            except OSError as error:
                _exit_unsaved(reply, error, options)
    return reply


def _verifier(service: str) -> Verifier | None:
    """Return what verifies the receipts of *service*; None, with a warning, if its certificate is not at hand.

    Raises:
        KeyFileError, SettingsError: a file can't be used.
        OSError: a file can't be read.
    """
    path = receipts_certificate(load_settings(ClientSettings), service)
    if not path.exists():
        typer.echo(
            f"the receipt's signature will not be verified: there is no {path}, the provider's certificate", err=True
        )
        return None
    return Verifier(service_keys(service, None))


def _proven_entry(record: ReceiptRecord, verifier: Verifier | None) -> inquiry_pb2.Entry:
    """Return the ledger's entry of *record*, which its receipt proves.

    Raises:
        InvalidReceipt: it does not.
    """
    if verifier is not None:
        return verifier.verify(record.method, record.request, record.reply).entry
    receipt = record.reply.receipt  # type: ignore[attr-defined]
    check_content(receipt, record.request, record.reply)
    return entry_of(receipt)


def _exit_unsaved(reply: Message, error: OSError, options: Options) -> NoReturn:
    """Print the answer although its receipt can't be saved: it is recorded, and asking again is another inquiry."""
    given = MessageToDict(reply, preserving_proto_field_name=True)
    text = json.dumps(given, ensure_ascii=False)
    output.exit_error(
        f"--save-receipt: {describe_error(error)}; the reply that could not be saved is: {text}",
        as_json=options.as_json,
        more={"reply": given},
    )


def resolve_target(options: Options, settings: ClientSettings) -> tuple[str, ClientIdentity]:
    """Return the service's address and the client certificate.

    Raises:
        UsageError: no address is known, or --address is none.
    """
    address = options.address or settings.addresses.get(options.service)
    if options.address:
        try:
            check_target(options.address)
        except ValueError as error:
            raise UsageError(f"--address {options.address}: {error}") from None
    if address is None:
        name = options.service
        raise UsageError(
            f"no address of the service {name}: give --address, or set [client.addresses] {name} in the settings"
        )
    identity = ClientIdentity.named(settings.pki, options.as_)
    if not identity.certificate.exists():
        names = sorted(key.stem for key in settings.pki.glob("*.key") if key.with_suffix(".crt").exists())
        advice = did_you_mean(options.as_, names) or f"; there are {', '.join(names) or 'none'}"
        raise UsageError(f"--as {options.as_}: {identity.certificate}: no such file{advice}")
    return address, identity


def answer(reply: Any, facts: dict[str, Any], options: Options) -> None:
    """Print a YES or a NO, and exit with its code."""
    if reply.answer == inquiry_pb2.ANSWER_YES:
        word, code = "YES", output.EXIT_YES
    elif reply.answer == inquiry_pb2.ANSWER_NO:
        word, code = "NO", output.EXIT_NO
    else:
        output.exit_error("the reply holds no answer", as_json=options.as_json, code=output.EXIT_UNAVAILABLE)
    texts = {"YES": "بلی / YES", "NO": "خیر / NO"}
    output.print_record({"answer": word if options.as_json else texts[word], **facts}, as_json=options.as_json)
    raise typer.Exit(code)


def receipt_facts(receipt: inquiry_pb2.Receipt) -> dict[str, Any]:
    """Return what a command prints of a receipt."""
    return {"inquiry_id": receipt.inquiry_id, "answered_at": receipt.answered_at.ToDatetime(UTC)}


def call(opened: grpc.Channel, method: MethodDescriptor, request: Message, options: Options, own: OwnCall) -> Message:
    """Call *method* once and return its reply.

    Raises:
        grpc.RpcError: there is none; see `exit_without_answer`.
    """
    reply_class = GetMessageClass(method.output_type)
    rpc: Any = opened.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reply_class.FromString,
    )
    reply: Message = rpc(request, timeout=options.timeout, metadata=(*options.metadata(), *own.metadata))
    return reply


def exit_without_answer(error: grpc.RpcError, options: Options, address: str, identity: ClientIdentity) -> NoReturn:
    """Print why a call got no answer, in both languages, and exit with its code."""
    refusal = from_grpc(error)
    if isinstance(refusal, Refusal):
        output.exit_refused(refusal, as_json=options.as_json, address=address)
    problem, certificate = describe_transport_error(error), describe_certificate(identity)
    persian = f"پاسخی از {options.service} در {address} دریافت نشد: {problem.fa}"
    english = f"No answer from {options.service} at {address}: {problem.en}"
    output.exit_error(
        "\n".join([english, *([] if options.as_json else [persian]), f"client certificate: {certificate}"]),
        as_json=options.as_json,
        code=output.EXIT_UNAVAILABLE,
        address=address,
        more={"answer": None, "message_fa": persian, "certificate": certificate},
    )


def exit_unproven(error: InvalidReceipt, options: Options, address: str) -> NoReturn:
    """Print that a reply is not proven, and why, and exit with its code."""
    unproven = f"No answer from {options.service} at {address}: the reply is not proven: {error}"
    output.exit_error(unproven, as_json=options.as_json, code=output.EXIT_UNAVAILABLE, address=address)


def describe_certificate(identity: ClientIdentity) -> str:
    """Return the client certificate's path and subject as one line."""
    try:
        subject = name_text(read_certificates(identity.certificate)[0].subject)
    except (OSError, KeyFileError):
        return str(identity.certificate)
    return f"{identity.certificate} ({subject})"


def set_amount(request: Any, text: str, options: Options) -> None:
    """Set the amount that *text* states; where it states none, print every field that is wrong and exit 2.

    Args:
        request: the request message, whose other fields are set.
        text: the amount in rials, as it was typed.
        options: the options of the command.
    """
    if (rule := normalize.amount_rule(text)) is None:
        request.amount_rials = normalize.parse_amount(text)
    else:
        wrong = {each.field: each for each in validation.violations(request)}
        wrong["amount_rials"] = Violation.of("amount_rials", rule)
        fields = [wrong[field.name] for field in request.DESCRIPTOR.fields if field.name in wrong]
        output.exit_refused(Refusal(Reason.FIELD_INVALID, fields), as_json=options.as_json, asked=False)
