"""One real call with a consumer's own certificate, for onboarding and offboarding: was it answered, or why not."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from estelam.cli import output
from estelam.cli.inquire import call, exit_unproven, exit_without_answer
from estelam.cli.inquiry_options import Options
from estelam.cli.signing_keys import service_keys
from estelam.client.channel import ClientIdentity, channel
from estelam.core import validation
from estelam.core.addresses import check_target
from estelam.core.clock import CLOCK_TOLERANCE, Clock
from estelam.core.contract import find_method
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import UsageError
from estelam.core.grpc_status import from_grpc
from estelam.core.model_files import read_text
from estelam.core.settings import ClientSettings, load_settings
from estelam.onboarding.progress import ANSWERED
from estelam.receipts.own_call import OwnCall
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """How a trial call is made."""

    key: Path | None
    question: Path | None
    address: str | None
    ca_certificates: Path | None
    as_json: bool


RELOAD_SECONDS = 5.0
"""By then a change of the catalogue is in force where it was put in place."""
_PAUSE_SECONDS = 0.5


def trial_call(method: str, certificate: Path, due: Collection[str], options: TrialOptions) -> str:
    """Call *method* and return ANSWERED, for a reply with a valid receipt of this call, or why it was refused.

    An outcome that is not *due* may be that of the catalogue before its last change: the call is repeated until a
    running service has had the time to load it.

    Where nobody answers, or the reply is not proven, that is printed and the command exits with 21.

    Args:
        method: package.Service/Method.
        certificate: The caller's certificate (PEM).
        due: The outcomes that are expected.
        options: The key, the request (JSON), the address and the authorities.

    Raises:
        UsageError: an option is missing or can't be used, or the request is malformed.
        KeyFileError: a certificate or key can't be used.
        OSError: a file can't be read.
    """
    area = method.split(".")[1]
    settings = load_settings(ClientSettings)
    if options.key is None or options.question is None:
        raise UsageError("give --key, the consumer's private key, and --question, the request to send (JSON)")
    for path in (options.key, options.question, certificate):
        output.check_readable(path)
    address = _address(options.address or settings.addresses.get(area), area)
    identity = ClientIdentity(certificate, options.key, options.ca_certificates or settings.pki / "ca.crt")
    request = _question(method, options.question)
    verifier = Verifier(service_keys(area, None))
    given = Options(
        area, str(certificate), address, 10.0, None, force=False, inquiry_id=None, case_reference=None, operator=None,
        as_json=options.as_json,
    )  # fmt: skip
    try:
        with channel(address, identity) as opened:
            end = time.monotonic() + RELOAD_SECONDS
            while (outcome := _outcome(opened, method, request, given, identity, verifier)) not in due:
                if time.monotonic() >= end:
                    break
                time.sleep(_PAUSE_SECONDS)
    except InvalidReceipt as error:
        exit_unproven(error, given, address)
    except grpc.RpcError as error:
        exit_without_answer(error, given, address, identity)
    return outcome


def _outcome(
    opened: grpc.Channel, method: str, request: Message, given: Options, identity: ClientIdentity, verifier: Verifier
) -> str:
    clock = Clock()
    own = OwnCall(identity.organization_id(), clock.micros())
    try:
        reply = call(opened, find_method(method), request, given, own)
    except grpc.RpcError as error:
        if refusal := from_grpc(error):
            return refusal.reason.value
        raise
    own.check(verifier.verify(method, request, reply).entry, clock.micros(), CLOCK_TOLERANCE)
    return ANSWERED


def _address(address: str | None, area: str) -> str:
    if address is None:
        raise UsageError(f"no address of the service {area}: give --address")
    try:
        return check_target(address)
    except ValueError as error:
        raise UsageError(f"--address {address}: {error}") from None


def _question(method: str, path: Path) -> Message:
    request: Message = GetMessageClass(find_method(method).input_type)()
    try:
        json_format.Parse(read_text(path, UsageError), request)
    except json_format.ParseError as error:
        raise UsageError(f"--question {path}: is no request of {method.rpartition('/')[2]}: {error}") from None
    if found := validation.violations(request):
        raise UsageError(f"--question {path}: {Refusal(Reason.FIELD_INVALID, found).summary()}")
    return request
