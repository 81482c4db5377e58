"""A deprecated method says so to whoever may ask it, with every reply and every refusal."""

from collections.abc import Sequence

import grpc

from estelam.client.channel import ClientIdentity
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.unit.catalogue.conftest import Edit
from tools.env.sandbox import Sandbox

ENDS = "notice: 2027-01-01\n        deprecated: 2027-01-01\n        sunset: 2027-09-01\n        introduced: 2021-08-24"


def told(metadata: Sequence[tuple[str, str | bytes]]) -> dict[str, str | bytes]:
    return {key: value for key, value in metadata if key in {"deprecation", "sunset"}}


def test_a_deprecated_method_tells_its_callers_with_every_reply_and_refusal_and_another_does_not(
    start: Start, loaded: Sandbox, folder: object, edit: Edit
) -> None:
    edit("services.yaml", "introduced: 2021-08-24", ENDS)
    service = start(promissory_opening(loaded, access=folder, shutdown_delay_seconds=0))
    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel:
        stub = PromissoryNoteInquiryServiceStub(channel)
        _, answered = stub.CheckNote.with_call(NOTE, timeout=10)
        refused = stub.CheckNote.future(notes.CheckNoteRequest(), timeout=10)
        other = stub.GetNoteParties.future(notes.GetNotePartiesRequest(), timeout=10)
        codes = refused.code(), other.code()

    # Both days begin at midnight in Iran, three and a half hours ahead.
    ends: dict[str, str | bytes] = {"deprecation": "@1798749000", "sunset": "Tue, 31 Aug 2027 20:30:00 GMT"}
    assert ends == told(answered.trailing_metadata()) == told(refused.trailing_metadata())
    assert {} == told(other.trailing_metadata())
    assert (grpc.StatusCode.INVALID_ARGUMENT,) * 2 == codes
