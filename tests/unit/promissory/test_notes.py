"""What YES means of a note, and who is told its parties."""

import csv
from collections.abc import Iterator

import grpc
import pytest

from estelam.client.channel import ClientIdentity
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import receipt
from promissory.repository import State
from tests.conftest import both_engines, plain_channel
from tests.support.service import RunningService
from tools.env.sandbox import CHECK_NOTE, GET_NOTE_PARTIES, SAMPLES, Sandbox

pytestmark = both_engines

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
    other = pb.CheckNoteRequest()
    other.CopyFrom(request)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def first_note(state: State) -> pb.CheckNoteRequest:
    with (SAMPLES / "notes.csv").open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["state"] == state)
    return pb.CheckNoteRequest(
        serial=row["serial"],
        obligor_id=row["obligor_id"],
        beneficiary_id=row["holder_id"],
        amount_rials=int(row["amount_rials"]),
    )


def test_a_live_note_whose_four_facts_agree_is_yes(stub: PromissoryNoteInquiryServiceStub) -> None:
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
def test_one_fact_that_differs_makes_it_no(stub: PromissoryNoteInquiryServiceStub, fields: dict[str, object]) -> None:
    assert stub.CheckNote(changed(GENUINE, **fields), timeout=5).answer == ANSWER_NO


@pytest.mark.parametrize("state", State)
def test_only_an_issued_note_is_live(stub: PromissoryNoteInquiryServiceStub, state: State) -> None:
    expected = ANSWER_YES if state is State.ISSUED else ANSWER_NO

    assert expected == stub.CheckNote(first_note(state), timeout=5).answer


def test_after_an_endorsement_the_holder_is_the_beneficiary(stub: PromissoryNoteInquiryServiceStub) -> None:
    assert stub.CheckNote(ENDORSED, timeout=5).answer == ANSWER_YES


def test_who_endorsed_a_note_away_is_its_beneficiary_no_more(stub: PromissoryNoteInquiryServiceStub) -> None:
    assert stub.CheckNote(changed(ENDORSED, beneficiary_id="9990000034"), timeout=5).answer == ANSWER_NO


def test_every_answer_carries_a_receipt_that_proves_it(shared: Sandbox, stub: PromissoryNoteInquiryServiceStub) -> None:
    keys = verifying_keys(shared.promissory().signing_certificates)
    reply = stub.CheckNote(GENUINE, timeout=5)
    wanted = pb.GetNotePartiesRequest(serial=GENUINE.serial, executive_agency_id="SETAD-0001")
    parties = stub.GetNoteParties(wanted, timeout=5)

    assert receipt.verify(CHECK_NOTE, GENUINE, reply, keys).entry.caller == "99001187852"
    assert receipt.verify(GET_NOTE_PARTIES, wanted, parties, keys).entry.agency == "SETAD-0001"


def test_after_a_yes_the_parties_are_told_as_the_note_has_them(stub: PromissoryNoteInquiryServiceStub) -> None:
    stub.CheckNote(ENDORSED, timeout=5)
    reply = stub.GetNoteParties(
        pb.GetNotePartiesRequest(serial=ENDORSED.serial, executive_agency_id="SETAD-0002"), timeout=5
    )

    assert (reply.obligor.kind, reply.obligor.id) == (pb.PERSON_KIND_LEGAL, "99000158381")
    assert (reply.beneficiary.kind, reply.beneficiary.id) == (pb.PERSON_KIND_NATURAL, "9990000042")
    assert all((reply.obligor.full_name, reply.obligor.address, reply.beneficiary.full_name))


def test_a_no_does_not_open_the_parties(stub: PromissoryNoteInquiryServiceStub) -> None:
    settled = first_note(State.SETTLED)
    stub.CheckNote(settled, timeout=5)

    with pytest.raises(grpc.RpcError) as caught:
        stub.GetNoteParties(
            pb.GetNotePartiesRequest(serial=settled.serial, executive_agency_id="SETAD-0001"), timeout=5
        )

    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
