"""Answers of the promissory service: which notes mean YES, and who receives the parties."""

import csv
from collections.abc import Iterator

import grpc
import pytest

from development.files import SAMPLES
from development.sandbox import CHECK_NOTE, GET_NOTE_PARTIES, Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import receipt
from promissory.repository import State
from tests.conftest import both_engines_in_full, plain_channel
from tests.support.service import RunningService

pytestmark = both_engines_in_full

GENUINE = pb.CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)
ENDORSED = pb.CheckNoteRequest(
    serial="1404000000000033", obligor_id="99000158381", beneficiary_id="9990000042", amount_rials=12_000_000_000
)


@pytest.fixture(scope="module")
def stub(shared: Sandbox, promissory: RunningService) -> Iterator[PromissoryNoteInquiryServiceStub]:
    with plain_channel(promissory.address, ClientIdentity.named(shared.pki, "setad")) as channel:
        yield PromissoryNoteInquiryServiceStub(channel)


def changed(request: pb.CheckNoteRequest, **fields: object) -> pb.CheckNoteRequest:
    """Return a copy of *request* with other *fields*."""
    other = pb.CheckNoteRequest()
    other.CopyFrom(request)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def first_note(state: State) -> pb.CheckNoteRequest:
    """Return a request that matches the first sample note in *state*."""
    with (SAMPLES / "notes.csv").open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["state"] == state)
    return pb.CheckNoteRequest(
        serial=row["serial"],
        obligor_id=row["obligor_id"],
        beneficiary_id=row["holder_id"],
        amount_rials=int(row["amount_rials"]),
    )


def test_matching_note(stub: PromissoryNoteInquiryServiceStub) -> None:
    """A live note whose four facts match is YES."""
    assert stub.CheckNote(GENUINE, timeout=5).answer == ANSWER_YES


@pytest.mark.parametrize(
    "fields",
    [
        {"serial": "1404000000000018"},
        {"obligor_id": "9990000026"},
        {"beneficiary_id": "99000158381"},
        {"amount_rials": 2_500_000_001},
        {"obligor_id": "99000554330", "beneficiary_id": "9990000018"},
    ],
)
def test_different_fact(stub: PromissoryNoteInquiryServiceStub, fields: dict[str, object]) -> None:
    """A request with one different fact, or with swapped parties, is NO."""
    assert stub.CheckNote(changed(GENUINE, **fields), timeout=5).answer == ANSWER_NO


@pytest.mark.parametrize("state", State)
def test_state(stub: PromissoryNoteInquiryServiceStub, state: State) -> None:
    """Only a note in state ISSUED is YES."""
    expected = ANSWER_YES if state is State.ISSUED else ANSWER_NO

    assert expected == stub.CheckNote(first_note(state), timeout=5).answer


def test_endorsed_note(stub: PromissoryNoteInquiryServiceStub) -> None:
    """After an endorsement, the current holder is the beneficiary."""
    assert stub.CheckNote(ENDORSED, timeout=5).answer == ANSWER_YES


def test_former_holder(stub: PromissoryNoteInquiryServiceStub) -> None:
    """After an endorsement, the former holder is not the beneficiary."""
    assert stub.CheckNote(changed(ENDORSED, beneficiary_id="9990000034"), timeout=5).answer == ANSWER_NO


def test_receipts(shared: Sandbox, stub: PromissoryNoteInquiryServiceStub) -> None:
    """Every reply has a receipt that verifies and names the caller or the agency."""
    keys = verifying_keys(shared.promissory().signing_certificates)
    reply = stub.CheckNote(GENUINE, timeout=5)
    request = pb.GetNotePartiesRequest(serial=GENUINE.serial, executive_agency_id="SETAD-0001")
    parties = stub.GetNoteParties(request, timeout=5)

    assert receipt.verify(CHECK_NOTE, GENUINE, reply, keys).entry.caller == "99001187852"
    assert receipt.verify(GET_NOTE_PARTIES, request, parties, keys).entry.agency == "SETAD-0001"


def test_parties_after_yes(stub: PromissoryNoteInquiryServiceStub) -> None:
    """After a YES, the parties are returned as written in the note."""
    stub.CheckNote(ENDORSED, timeout=5)
    reply = stub.GetNoteParties(
        pb.GetNotePartiesRequest(serial=ENDORSED.serial, executive_agency_id="SETAD-0002"), timeout=5
    )

    assert (reply.obligor.kind, reply.obligor.id) == (pb.PERSON_KIND_LEGAL, "99000158381")
    assert (reply.beneficiary.kind, reply.beneficiary.id) == (pb.PERSON_KIND_NATURAL, "9990000042")
    assert all((reply.obligor.full_name, reply.obligor.address, reply.beneficiary.full_name))


def test_parties_after_no(stub: PromissoryNoteInquiryServiceStub) -> None:
    """After a NO, the parties are refused."""
    settled = first_note(State.SETTLED)
    stub.CheckNote(settled, timeout=5)

    with pytest.raises(grpc.RpcError) as caught:
        stub.GetNoteParties(
            pb.GetNotePartiesRequest(serial=settled.serial, executive_agency_id="SETAD-0001"), timeout=5
        )

    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
