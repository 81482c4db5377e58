"""VerifyNote over gRPC: one answer from the ministry's two methods, with a receipt for each."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import grpc
import pytest

from development.sandbox import ORGANIZATIONS, Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.core.model import Outcome, Purpose
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.promissory.v1 import note_inquiry_pb2 as notes_pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import receipt
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.setad.v1.note_verification_pb2_grpc import NoteVerificationServiceStub
from promissory import notes
from sataad_adapter.service import run_adapter
from sataad_adapter.settings import SetadSettings
from sataad_adapter.verification import VerificationBackend, _Verification, ministry_replies
from tests.conftest import plain_channel
from tests.support.service import RunningService

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
        RunningService(lambda: run_adapter(settings)) as service,
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


def test_genuine_note_is_yes(stub: NoteVerificationServiceStub) -> None:
    """A genuine note is answered YES with its obligor and beneficiary."""
    reply = stub.VerifyNote(GENUINE, timeout=5)

    assert ANSWER_YES == reply.answer
    assert ("9990000018", "99000554330") == (reply.obligor.id, reply.beneficiary.id)


def test_other_note_is_no(stub: NoteVerificationServiceStub) -> None:
    """A note with any differing fact is answered NO without parties."""
    reply = stub.VerifyNote(changed(amount_rials=1), timeout=5)

    assert ANSWER_NO == reply.answer
    assert not any(reply.HasField(name) for name in ("obligor", "beneficiary", "parties_receipt"))


def test_receipts_verify(shared: Sandbox, stub: NoteVerificationServiceStub) -> None:
    """The reply carries one valid receipt of the ministry for each of its two replies."""
    keys = verifying_keys(settings_of(shared).provider_certificates)
    proofs = ministry_replies(GENUINE, stub.VerifyNote(GENUINE, timeout=5))

    assert ["CheckNote", "GetNoteParties"] == [method.rpartition("/")[2] for method, _, _ in proofs]
    for method, request, reply in proofs:
        receipt.verify(method, request, reply, keys)


def test_refusal_is_forwarded(stub: NoteVerificationServiceStub) -> None:
    """The adapter forwards the ministry's refusal with its reason."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.VerifyNote(changed(executive_agency_id="NOBODY"), timeout=5)

    refusal = from_grpc(caught.value)
    assert refusal is not None
    assert Reason.AGENCY_NOT_MEMBER == refusal.reason


@pytest.mark.parametrize("lied_about", ["9990000018", "99000554330"], ids=["obligor", "beneficiary"])
def test_other_parties_are_not_passed_on(
    stub: NoteVerificationServiceStub, monkeypatch: pytest.MonkeyPatch, lied_about: str
) -> None:
    """Parties other than those whom the request names are not disclosed, even with valid receipts."""
    honest = notes._party

    def lying(person_id: str, *rest: Any) -> notes_pb.Party:
        return honest("9990000026" if person_id == lied_about else person_id, *rest)

    monkeypatch.setattr(notes, "_party", lying)
    with pytest.raises(grpc.RpcError) as caught:
        stub.VerifyNote(GENUINE, timeout=5)

    refusal = from_grpc(caught.value)
    assert refusal is not None
    assert Reason.PROVIDER_CONTRADICTS == refusal.reason
    assert "9990000026" not in str(caught.value)


@pytest.mark.parametrize("moment", ["before the second call", "while the second call starts"])
def test_caller_gives_up_between_the_calls(
    shared: Sandbox, promissory: RunningService, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """If the caller gives up after CheckNote's reply, the ministry is not asked for the parties: none gets them."""
    calls: list[Any] = []
    begun, ended = threading.Event(), threading.Event()
    verified, replied = receipt.verify, _Verification._replied

    def verify(*arguments: Any) -> object:
        assert begun.wait(20)
        found = verified(*arguments)
        if moment == "before the second call":
            cancel()
        return found

    def start(*arguments: Any, **options: Any) -> Any:
        calls.append(ministry.GetNoteParties.future(*arguments, **options))
        cancel()
        return calls[-1]

    def note_end(*arguments: Any) -> None:
        replied(*arguments)
        ended.set()

    monkeypatch.setattr(receipt, "verify", verify)
    monkeypatch.setattr(_Verification, "_replied", note_end)
    inquiry: Any = SimpleNamespace(id=uuid4(), purpose=Purpose(), request=GENUINE, traceparent="", is_probe=False)
    with plain_channel(promissory.address, ClientIdentity.named(shared.pki, "setad")) as channel:
        ministry = PromissoryNoteInquiryServiceStub(channel)
        stub: Any = SimpleNamespace(CheckNote=ministry.CheckNote, GetNoteParties=SimpleNamespace(future=start))
        results: list[object] = []
        keys = verifying_keys(settings_of(shared).provider_certificates)
        backend = VerificationBackend(stub, keys, ORGANIZATIONS["setad"], Clock())
        cancel = backend.answer(inquiry, 20.0, results.append)
        begun.set()
        assert ended.wait(20)

    assert [] == results
    assert all(call.cancelled() for call in calls)
    assert len(calls) == (moment != "before the second call")


@pytest.mark.parametrize("kind", ["its own", "an earlier call's", "another caller's", "of another time"])
def test_receipts_of_other_calls(shared: Sandbox, promissory: RunningService, kind: str) -> None:
    """A genuine receipt of another call, as a holder of the ministry's TLS key could replay it, proves nothing."""
    caller = "agency" if kind == "another caller's" else "setad"
    clock = Clock(micros=lambda: Clock().micros() + (120_000_000 if kind == "of another time" else 0))
    results: list[Any] = []
    ended = threading.Event()

    def done(result: object) -> None:
        results.append(result)
        ended.set()

    with plain_channel(promissory.address, ClientIdentity.named(shared.pki, caller)) as channel:
        ministry = PromissoryNoteInquiryServiceStub(channel)

        def replay(request: Any, *, metadata: Any, **options: Any) -> Any:
            metadata = [] if kind == "an earlier call's" else metadata
            return ministry.CheckNote.future(request, metadata=metadata, **options)

        stub: Any = SimpleNamespace(CheckNote=SimpleNamespace(future=replay), GetNoteParties=ministry.GetNoteParties)
        keys = verifying_keys(settings_of(shared).provider_certificates)
        inquiry: Any = SimpleNamespace(
            id=uuid4(), purpose=Purpose(), request=changed(amount_rials=1), traceparent="", is_probe=False
        )
        VerificationBackend(stub, keys, ORGANIZATIONS["setad"], clock).answer(inquiry, 20.0, done)
        assert ended.wait(20)

    (result,) = results
    assert (Outcome.NO if kind == "its own" else Reason.PROVIDER_UNPROVEN) == (
        result.reason if isinstance(result, Refusal) else result.outcome
    )
