"""Sensitivity drives what logs and ledgers may carry: whatever is asked and answered is looked for by its level."""

import ast
import contextlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from structlog.testing import capture_logs

from estelam.client.channel import ClientIdentity
from estelam.data_model.model import load
from estelam.data_model.sensitivity import redacted_fields
from estelam.inquiry.v1 import data_model_pb2 as pb
from estelam.inquiry.v1 import inquiry_pb2
from estelam.loading.feed import CoverageDeclaration
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.telemetry import logs
from promissory.feeds import NOTES
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.guarantees.test_8_no_identifier_leaks import CANARIES, WAYS
from tests.support.sensitivity import FIELDS, stands_in, values
from tools.env import sandbox as suite
from tools.env.sandbox import Sandbox

SERVICES = Path(logs.__file__).parents[2]
MEMBER = "SETAD-0001"
# Of a round amount one form is a byte and four zeros, which stand in any file.
AMOUNT = 2_517_463_859
LEDGERED = {pb.SENSITIVITY_OPEN, pb.SENSITIVITY_OFFICIAL}


def with_amount(sandbox: Sandbox, folder: Path, amount: int) -> notes.CheckNoteRequest:
    """The sample note, corrected to another *amount*."""
    corrected = folder / "notes.csv"
    text = (suite.SAMPLES / "notes.csv").read_text("utf-8")
    corrected.write_text(text.replace(str(NOTE.amount_rials), str(amount)), "utf-8")
    suite.load_file(sandbox.promissory(), NOTES, corrected, CoverageDeclaration(through=datetime.now(UTC)))
    return notes.CheckNoteRequest(
        serial=NOTE.serial, obligor_id=NOTE.obligor_id, beneficiary_id=NOTE.beneficiary_id, amount_rials=amount
    )


@pytest.fixture
def asked(loaded: Sandbox, start: Start, tmp_path: Path) -> tuple[list[Message], bytes, bytes]:
    """What was asked and answered by a running service, its ledger's bytes and its events."""
    note = with_amount(loaded, tmp_path, AMOUNT)
    with capture_logs() as events:
        service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
        with plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel:
            stub = PromissoryNoteInquiryServiceStub(channel)
            parties = notes.GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id=MEMBER)
            said: list[Message] = [note, stub.CheckNote(note), parties, stub.GetNoteParties(parties)]
        service.close()
    ledger = b"".join(path.read_bytes() for path in (loaded.folder / "promissory").glob("ledger.db*"))
    return said, ledger, json.dumps(events, ensure_ascii=False, default=str).encode()


def test_a_ledger_keeps_in_the_clear_only_what_is_open_or_official(asked: tuple[list[Message], bytes, bytes]) -> None:
    said, ledger, _ = asked
    found = [(field, value) for message in said for field, value in values(message)]
    kept = {field.doc.full_name for field, value in found if stands_in(value, ledger)}

    assert {pb.SENSITIVITY_PERSONAL, pb.SENSITIVITY_SECRET} <= {field.doc.sensitivity for field, _ in found}
    assert "estelam.promissory.v1.GetNotePartiesRequest.executive_agency_id" in kept
    assert {name for name in kept if FIELDS[name].doc.sensitivity not in LEDGERED} == set()


def test_a_log_says_only_what_is_open(asked: tuple[list[Message], bytes, bytes]) -> None:
    said, _, events = asked
    found = [(field, value) for message in said for field, value in values(message)]
    logged = {field.doc.full_name for field, value in found if stands_in(value, events)}

    assert "estelam.inquiry.v1.Receipt.inquiry_id" in logged
    assert {name for name in logged if FIELDS[name].doc.sensitivity != pb.SENSITIVITY_OPEN} == set()


def test_an_entry_has_no_field_that_a_ledger_may_not_keep() -> None:
    sealed = (inquiry_pb2.Entry.DESCRIPTOR.full_name, inquiry_pb2.BlockHeader.DESCRIPTOR.full_name)
    levels = {field.doc.sensitivity for message, field in load().fields() if message.doc.full_name in sealed}

    assert levels == LEDGERED


def test_every_personal_field_that_is_asked_is_one_that_leaks_are_searched_for() -> None:
    """The levels of the model and the values that promise 8 looks for keep each other complete."""
    requests = {method.request for method in load().methods}
    fields = {
        field.doc.full_name
        for message, field in load().fields()
        if message.doc.full_name in requests and field.doc.sensitivity not in LEDGERED
    }
    searched = {field.doc.full_name for message in _well_formed() for field, value in values(message) if known(value)}

    assert fields <= searched


def test_no_log_is_given_what_is_not_open() -> None:
    given = {
        keyword.arg
        for path in SERVICES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
        for keyword in node.keywords
    }

    assert {"method", "inquiry_id", "reason"} <= given
    assert given & redacted_fields() == set()


def test_a_log_that_is_given_it_all_the_same_withholds_it() -> None:
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        logs.configure_logging()
        structlog.get_logger().info("slip", serial=NOTE.serial, obligor_id=NOTE.obligor_id, method="CheckNote")
    structlog.reset_defaults()
    said = json.loads(out.getvalue())

    assert ("withheld", "withheld", "CheckNote") == (said["serial"], said["obligor_id"], said["method"])


def known(value: object) -> bool:
    return str(value) in CANARIES


def _well_formed() -> Iterator[Message]:
    pool = descriptor_pool.Default()
    requests = {method.doc.full_name: method.request for method in load().methods}
    for way in WAYS:
        if way.method in requests:
            kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(requests[way.method]))
            with contextlib.suppress(DecodeError):
                yield kind.FromString(way.request)
