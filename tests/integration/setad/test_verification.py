"""One answer for a buyer: the ministry's two methods, each reply with its proof."""

from collections.abc import Iterator

import grpc
import pytest

from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.receipts import receipt
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.setad.v1.note_verification_pb2_grpc import NoteVerificationServiceStub
from sataad_adapter.service import adapter
from sataad_adapter.settings import SetadSettings
from sataad_adapter.verification import replies_of
from tests.conftest import plain_channel
from tests.support.service import RunningService
from tools.env.sandbox import Sandbox

GENUINE = pb.VerifyNoteRequest(
    serial="1404000000000017",
    obligor_id="9990000018",
    beneficiary_id="99000554330",
    amount_rials=2_500_000_000,
    executive_agency_id="SETAD-0001",
)


@pytest.fixture(scope="module")
def stub(shared: Sandbox, promissory: RunningService) -> Iterator[NoteVerificationServiceStub]:
    settings = shared.setad(listen="127.0.0.1:0", provider=promissory.address)
    with (
        RunningService(lambda: adapter(settings)) as service,
        plain_channel(service.address, ClientIdentity.named(shared.pki, "setad")) as channel,
    ):
        yield NoteVerificationServiceStub(channel)


def changed(**fields: object) -> pb.VerifyNoteRequest:
    other = pb.VerifyNoteRequest()
    other.CopyFrom(GENUINE)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def settings_of(sandbox: Sandbox) -> SetadSettings:
    return sandbox.setad(listen="127.0.0.1:0")


def test_a_genuine_note_is_yes_with_its_parties(stub: NoteVerificationServiceStub) -> None:
    reply = stub.VerifyNote(GENUINE, timeout=5)

    assert ANSWER_YES == reply.answer
    assert ("9990000018", "99000554330") == (reply.obligor.id, reply.beneficiary.id)


def test_any_other_note_is_no_without_parties(stub: NoteVerificationServiceStub) -> None:
    reply = stub.VerifyNote(changed(amount_rials=1), timeout=5)

    assert ANSWER_NO == reply.answer
    assert not any(reply.HasField(name) for name in ("obligor", "beneficiary", "parties_receipt"))


def test_both_receipts_prove_what_the_ministry_said(shared: Sandbox, stub: NoteVerificationServiceStub) -> None:
    keys = verifying_keys(settings_of(shared).provider_certificates)
    proofs = replies_of(GENUINE, stub.VerifyNote(GENUINE, timeout=5))

    assert ["CheckNote", "GetNoteParties"] == [method.rpartition("/")[2] for method, _, _ in proofs]
    for method, request, reply in proofs:
        receipt.verify(method, request, reply, keys)


def test_the_ministrys_refusal_is_passed_on_by_its_reason(stub: NoteVerificationServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.VerifyNote(changed(executive_agency_id="NOBODY"), timeout=5)

    refusal = from_grpc(caught.value)
    assert refusal is not None
    assert Reason.AGENCY_NOT_MEMBER == refusal.reason
