"""Changed answers: a running service tells each caller which of its answers a load has changed, and no other."""

import base64
import csv
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf import json_format
from pydantic import ValidationError

from development.files import SAMPLES
from development.processes import free_ports
from development.sandbox import (
    CHECK_BY_NATIONAL_ID,
    LIST_CHANGED_ANSWERS,
    ORGANIZATIONS,
    Sandbox,
    load_file,
    write_access,
)
from estelam.client import webhooks
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.core.pem import KeyFileError
from estelam.core.settings import ChangeWebhook
from estelam.inquiry.v1 import answer_change_pb2 as pb
from estelam.inquiry.v1.answer_change_pb2_grpc import AnswerChangeServiceStub
from estelam.judiciary.v1.cheque_case_inquiry_pb2 import CheckByNationalIdRequest
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from estelam.receipts import receipt
from estelam.server import answer_comparison
from judiciary.feeds import CASES
from tests.conftest import Build, judiciary_opening, plain_channel
from tests.e2e.conftest import CommandLine, CommandResult
from tests.integration.setad.adapter_process import https_client_named
from tests.support.service import RunningService
from tests.support.webhook import Message, receiving, write_secret

PERSON, OTHER, LATER = "9990000018", "9990000026", "9990000034"
FROM_START = pb.ListChangedAnswersRequest()


class Changed(NamedTuple):
    """A service with a late case about a person of whom it had answered NO, and the id of that inquiry."""

    sandbox: Sandbox
    address: str
    api: str
    inquiry_id: str
    received: "list[Message]"

    def list(self, caller: str = "cbi", cursor: str = "") -> pb.ListChangedAnswersResponse:
        with plain_channel(self.address, ClientIdentity.named(self.sandbox.pki, caller)) as channel:
            request = pb.ListChangedAnswersRequest(cursor=cursor)
            return AnswerChangeServiceStub(channel).ListChangedAnswers(request, timeout=10)

    def load(self, case: str, person: str) -> None:
        """Load a late case about *person*, and wait until all answers are compared with it."""
        header = (SAMPLES / "cases.csv").read_text("utf-8").splitlines()[0]
        late = self.sandbox.folder / f"late-{case}.csv"
        late.write_text(f"{header}\n{case},CIVIL,2024-05-01,2024-05-01T09:30:00+03:30,,,{person},DRAWER\n", "utf-8")
        load_file(self.sandbox.judiciary(), CASES, late)
        while (reason := self.refusal()) is not None:
            assert reason is Reason.CHANGES_UNKNOWN
            time.sleep(0.05)

    def refusal(self, caller: str = "cbi", cursor: str = "") -> Reason | None:
        try:
            self.list(caller, cursor)
        except grpc.RpcError as error:
            refusal = from_grpc(error)
            return refusal.reason if refusal else None
        return None


@pytest.fixture(scope="module")
def webhook() -> Iterator[tuple[str, list[Message]]]:
    """The address of a receiver that fails at first, and what it received."""
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def changed(
    template: Sandbox,
    build: Build,
    tmp_path_factory: pytest.TempPathFactory,
    webhook: tuple[str, list[Message]],
) -> Iterator[Changed]:
    url, received = webhook
    folder = tmp_path_factory.mktemp("changed")
    secret = write_secret(folder / "webhook.secret")
    sandbox = build(template, folder / "suite")
    grants = [(name, LIST_CHANGED_ANSWERS, "R3.1") for name in ("cbi", "setad")]
    write_access(sandbox, [*grants, ("cbi", CHECK_BY_NATIONAL_ID, "R3.1.1")], rate=1000, burst=2000)
    port = free_ports("api")["api"]
    settings = {"caller": ORGANIZATIONS["cbi"], "url": url, "secret": secret}
    opening = judiciary_opening(
        sandbox, shutdown_delay_seconds=0, api_listen=f"127.0.0.1:{port}", change_webhooks=[settings]
    )
    with pytest.MonkeyPatch.context() as patch, RunningService(opening) as service:
        patch.setattr(answer_comparison, "CHECK_SECONDS", 0.05)
        patch.setattr(webhooks, "CHECK_SECONDS", 0.05)
        with plain_channel(service.address, ClientIdentity.named(sandbox.pki, "cbi")) as channel:
            stub = ChequeCaseInquiryServiceStub(channel)
            replies = [stub.CheckByNationalId(CheckByNationalIdRequest(national_id=each)) for each in (PERSON, OTHER)]
        changed = Changed(
            sandbox, service.address, f"https://localhost:{port}", replies[0].receipt.inquiry_id, received
        )
        changed.load("9", PERSON)
        yield changed


def test_wrong_no_is_listed(changed: Changed) -> None:
    """The answer that a late case changed is listed by its inquiry's id alone, and the receipt proves the list."""
    reply = changed.list()

    (change,) = reply.changes
    assert (changed.inquiry_id, pb.ANSWER_STATE_NO, pb.ANSWER_STATE_YES, pb.CHANGE_CAUSE_RECORDS, 2) == (
        change.inquiry_id,
        change.then,
        change.now,
        change.cause,
        change.load,
    )
    assert (True, 0, reply.as_of) == (reply.complete, reply.first_index, change.as_of)
    assert PERSON.encode() not in reply.SerializeToString()
    keys = verifying_keys(changed.sandbox.judiciary().signing_certificates)
    receipt.verify(LIST_CHANGED_ANSWERS, FROM_START, reply, keys)


def test_nothing_is_listed_twice(changed: Changed) -> None:
    """After the cursor of a list nothing is listed again, and the list says through which entry nothing has changed."""
    first = changed.list()
    rest = changed.list(cursor=first.cursor)

    assert ([], True, first.cursor, first.through_index) == (
        list(rest.changes),
        rest.complete,
        rest.cursor,
        rest.through_index,
    )


def test_other_callers_learn_nothing(changed: Changed) -> None:
    """Another caller's list is empty, and another caller's cursor is no cursor."""
    assert [] == list(changed.list("setad").changes)
    cursor = changed.list().cursor

    assert Reason.CURSOR_UNKNOWN is changed.refusal("setad", cursor)
    assert Reason.CURSOR_UNKNOWN is changed.refusal(cursor="1-0123456789abcdef")
    assert Reason.CURSOR_UNKNOWN is changed.refusal(cursor="abc")
    assert Reason.FIELD_INVALID is changed.refusal(cursor="?")
    assert Reason.NOT_GRANTED is changed.refusal("stranger")


def test_json_lists_the_same(changed: Changed) -> None:
    """The JSON API lists the same changes, and its OpenAPI document describes the method."""
    with https_client_named(changed.sandbox, "cbi") as client:
        response = client.post(f"{changed.api}/v1/answers:listChanged", json={})
        document: Any = client.get(f"{changed.api}/openapi.json").json()

    listed = json_format.Parse(response.content, pb.ListChangedAnswersResponse())
    assert (200, list(changed.list().changes)) == (response.status_code, list(listed.changes))
    assert "/v1/answers:listChanged" in document["paths"]


def follow(changed: Changed, caller: str, file: Path, *more: str) -> CommandResult:
    words = ("changes", "follow", "--service", "judiciary", "--as", caller, "--address", changed.address, "--once")
    return CommandLine(changed.sandbox)(*words, "--cursor-file", str(file), *more)


def test_follow_prints_each_change_once(changed: Changed, tmp_path: Path) -> None:
    """`changes follow` prints a change as one line, and not again in the next run with the same file."""
    first = follow(changed, "cbi", tmp_path / "cursor")
    again = follow(changed, "cbi", tmp_path / "cursor")
    as_json = follow(changed, "cbi", tmp_path / "other", "--json")

    assert (0, 0, 0) == (first.code, again.code, as_json.code)
    # The service logs to the same stdout, in this process.
    (line,) = (line for line in first.out.splitlines() if line.startswith(changed.inquiry_id))
    assert re.fullmatch(f"{changed.inquiry_id} NO -> YES, as of [0-9TZ:.-]+, by load 2 \\(RECORDS\\)", line)
    assert "no further change as of" in again.err
    assert changed.inquiry_id not in again.out
    (record,) = (json.loads(line) for line in as_json.out.splitlines() if line.startswith("{"))
    assert {"inquiry_id": changed.inquiry_id, "then": "NO", "now": "YES", "load": 2}.items() <= record.items()


def test_follow_refuses_another_callers_file(changed: Changed, tmp_path: Path) -> None:
    """The file of one caller is not used for another, whose changes would be skipped; a refusal exits with 20."""
    file = tmp_path / "cursor"
    follow(changed, "cbi", file)
    kept = file.read_bytes()
    others = follow(changed, "setad", file)
    refused = follow(changed, "stranger", tmp_path / "stranger")
    file.write_bytes(kept.replace(b'"1-', b'"2-'))
    unknown = follow(changed, "cbi", file)

    assert (2, 20, 20) == (others.code, refused.code, unknown.code)
    assert "give another --cursor-file" in others.err
    assert "NOT_GRANTED" in refused.err
    assert "CURSOR_UNKNOWN" in unknown.err


def test_webhook_is_signed_and_repeated(changed: Changed) -> None:
    """A party is notified of a change until its receiver takes it, by one id, signed, and without any identifier."""
    while len(changed.received) < 2:
        time.sleep(0.05)
    first, second = changed.received[:2]

    assert (503, 204) == (first.status, second.status)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    for message in (first, second):
        assert message.is_signed
        content = json.loads(message.body)
        assert {"type", "timestamp", "data"} == content.keys()
        assert {"service": "judiciary", "through_index": changed.list().through_index} == content["data"]


def test_signature_of_the_standard() -> None:
    """The signature is that of the example in the specification of Standard Webhooks."""
    secret, body = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), b'{"test": 2432232314}'

    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == webhooks.signature(
        secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )


def test_invalid_webhooks_are_refused(tmp_path: Path) -> None:
    """A webhook has https, except on this host, and a secret of at least 24 bytes."""
    secret, caller = tmp_path / "secret", ORGANIZATIONS["cbi"]
    secret.write_text("whsec_c2hvcnQ=\n", "ascii")
    with pytest.raises(ValidationError, match="must begin with https"):
        ChangeWebhook(caller=caller, url="http://bank.example/changed", secret=secret)
    with pytest.raises(KeyFileError, match="24 to 64 bytes"):
        webhooks.Receiver.of(ChangeWebhook(caller=caller, url="https://bank.example/changed", secret=secret))


def test_bulk_check_marks_changed_answers(changed: Changed, tmp_path: Path) -> None:
    """A bulk check states of each answer of an earlier run what would be answered now."""
    source, out = tmp_path / "persons.csv", tmp_path / "answers.csv"
    source.write_text(f"national_id\n{LATER}\n{OTHER}\n", "utf-8")
    words = ("judiciary", "bulk-check-persons", str(source), "--out", str(out), "--address", changed.address)
    command = CommandLine(changed.sandbox)
    before = command(*words)
    changed.load("11", LATER)
    after = command(*words, "--changes")
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert (0, 0) == (before.code, after.code)
    assert [("NO", "YES"), ("NO", "NO")] == [(row["answer"], row["now"]) for row in rows]
    assert "1 answer would be different now" in after.err
