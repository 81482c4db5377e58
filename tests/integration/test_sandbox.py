"""The services of `estelam dev --sandbox`: every number of the published list gives its result, over gRPC and JSON."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from development import sandbox as suite
from development import sandbox_numbers as numbers
from development.processes import free_ports
from development.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE, VERIFY_NOTE, Sandbox
from development.sandbox_numbers import SandboxNumber
from development.sandbox_service import open_adapter, open_recording
from estelam.client.channel import ClientIdentity
from estelam.core.contract import find_method
from estelam.core.exceptions import ServerError
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.core.validation import violations
from estelam.inquiry.v1 import inquiry_pb2
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier
from sataad_adapter.verification import ministry_replies
from tests.conftest import plain_channel
from tests.integration.setad.adapter_process import https_client_named
from tests.support.service import RunningService

LIST = numbers.read()
NOTE = {
    "obligorId": LIST.note.obligor_id,
    "beneficiaryId": LIST.note.beneficiary_id,
    "amountRials": str(LIST.note.amount_rials),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A method, its path and caller, and the question about a number; None where the number has none for it."""

    method: str
    path: str
    caller: str
    question: Callable[[SandboxNumber], dict[str, str] | None]


METHODS = (
    Asked(CHECK_NOTE, "/v1/notes:check", "setad", lambda n: {**NOTE, "serial": n.serial} if n.serial else None),
    Asked(
        VERIFY_NOTE,
        "/v1/notes:verify",
        "setad",
        lambda n: (
            {**NOTE, "serial": n.serial, "executiveAgencyId": LIST.note.executive_agency_id} if n.serial else None
        ),
    ),
    Asked(
        CHECK_BY_NATIONAL_ID,
        "/v1/cases:checkByNationalId",
        "cbi",
        lambda n: {"nationalId": n.national_id} if n.national_id else None,
    ),
    Asked(
        CHECK_BY_TRACKING_ID,
        "/v1/cases:checkByTrackingId",
        "cbi",
        lambda n: {"trackingId": n.tracking_id} if n.tracking_id else None,
    ),
)
each_method = pytest.mark.parametrize("asked", METHODS, ids=lambda asked: asked.method.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Running:
    """The running services: folder, address of gRPC and URL of JSON by the first word of a method's package."""

    sandbox: Sandbox
    grpc: Mapping[str, str]
    json: Mapping[str, str]

    def ask(self, asked: Asked, question: Mapping[str, str]) -> list[str]:
        """Return the results over gRPC and over JSON."""
        described = find_method(asked.method)
        request = json_format.ParseDict(dict(question), GetMessageClass(described.input_type)())
        kind, service = GetMessageClass(described.output_type), asked.method.split(".")[1]
        with plain_channel(self.grpc[service], ClientIdentity.named(self.sandbox.pki, asked.caller)) as channel:
            call: Any = channel.unary_unary(
                f"/{asked.method}", lambda message: message.SerializeToString(), kind.FromString
            )
            try:
                over_grpc = self._result(asked.method, request, call(request, timeout=30))
            except grpc.RpcError as error:
                refusal = from_grpc(error)
                over_grpc = refusal.reason if refusal else str(error)
        with https_client_named(self.sandbox, asked.caller) as client:
            response = client.post(self.json[service] + asked.path, json=question, timeout=30)
        if response.status_code != 200:
            return [over_grpc, response.json()["reason"]]
        return [over_grpc, self._result(asked.method, request, json_format.Parse(response.content, kind()))]

    def _result(self, method: str, request: Any, reply: Any) -> str:
        if reply.answer == inquiry_pb2.ANSWER_UNSPECIFIED:
            return "UNSPECIFIED"
        replies = ministry_replies(request, reply) if method == VERIFY_NOTE else [(method, request, reply)]
        verifier = Verifier(
            verifying_keys([self.sandbox.pki / f"{name}-receipts.crt" for name in ("promissory", "judiciary")])
        )
        try:
            proven = [verifier.verify(*each) for each in replies]
        except InvalidReceipt:
            return "BAD_RECEIPT"
        assert all(each.checkpoint.origin.endswith("-sandbox") for each in proven)
        return inquiry_pb2.Answer.Name(reply.answer).removeprefix("ANSWER_")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The three services of a sandbox, with the rows of the first half of a minute."""
    ports = free_ports("promissory_api", "judiciary_api", "api")
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("sandbox"), ports=ports, has_mark=True)
    suite.load_samples(sandbox)
    numbers.load(sandbox, turned=False)
    with ExitStack() as stack:

        def serve(opening: Callable[..., Any], settings: Any) -> str:
            return stack.enter_context(RunningService(lambda: opening(settings))).address

        short: dict[str, Any] = {"request_timeout_seconds": 5.0}
        promissory = serve(open_recording, sandbox.promissory(**short))
        judiciary = serve(open_recording, sandbox.judiciary(**short))
        setad = serve(open_adapter, sandbox.setad(provider=promissory))
        yield Running(
            sandbox,
            {"promissory": promissory, "judiciary": judiciary, "setad": setad},
            {
                name: f"https://localhost:{ports[port]}"
                for name, port in (("promissory", "promissory_api"), ("judiciary", "judiciary_api"), ("setad", "api"))
            },
        )


@pytest.mark.slow
def test_number_gives_its_result(running: Running) -> None:
    """Each number of the list gives the result that the list states, by each method, the same over gRPC and JSON."""
    stated, questions = {}, {}
    for asked, number in product(METHODS, LIST.number):
        if question := asked.question(number):
            result = (asked.method == VERIFY_NOTE and number.verify_note) or number.result
            stated[asked.method, number.name] = ["YES" if result == "CHANGES" else result] * 2
            questions[asked.method, number.name] = (asked, question)
    with ThreadPoolExecutor(8) as pool:  # the late ones wait at the same time
        results = pool.map(lambda each: running.ask(*each), questions.values())
        found = dict(zip(questions, results, strict=True))

    assert stated == found


@pytest.mark.slow
def test_changed_answer_is_a_changed_row(running: Running) -> None:
    """The answers about the alternating numbers turn with the rows that are loaded."""
    changed = next(number for number in LIST.number if number.result == "CHANGES")
    numbers.load(running.sandbox, turned=True)
    try:
        found = [running.ask(asked, asked.question(changed) or {}) for asked in METHODS]
    finally:
        numbers.load(running.sandbox, turned=False)

    assert [["NO", "NO"]] * len(METHODS) == found
    assert [numbers.is_turned(second) for second in (0, 29, 30, 59, 60)] == [False, False, True, True, False]


@each_method
def test_numbers_are_valid(asked: Asked) -> None:
    """Each number passes the contract's rules, check digits included."""
    kind = GetMessageClass(find_method(asked.method).input_type)
    questions = [question for number in LIST.number if (question := asked.question(number))]

    assert [[]] * len(questions) == [list(violations(json_format.ParseDict(each, kind()))) for each in questions]


def test_ordinary_certificates_are_refused(blank: Sandbox) -> None:
    """A sandbox's service does not start with the keys of a real one, so that its receipts can't pass as evidence."""
    with pytest.raises(ServerError, match="is not of a sandbox"):
        open_recording(blank.promissory())
    with pytest.raises(ServerError, match="is not of a sandbox"):
        open_adapter(blank.setad())
