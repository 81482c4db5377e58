"""Deprecation metadata of methods."""

from collections.abc import Sequence

import grpc

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.unit.catalogue.conftest import Edit

ENDS = "notice: 2027-01-01\n        deprecated: 2027-01-01\n        sunset: 2027-09-01\n        ordered: 2021-08-24"


def deprecation_metadata(metadata: Sequence[tuple[str, str | bytes]]) -> dict[str, str | bytes]:
    return {key: value for key, value in metadata if key in {"deprecation", "sunset"}}


def test_deprecated_method(start: Start, loaded: Sandbox, folder: object, edit: Edit) -> None:
    """A deprecated method sends deprecation metadata with replies and refusals, another method does not."""
    edit("services.yaml", "ordered: 2021-08-24", ENDS)
    service = start(promissory_opening(loaded, access=folder, shutdown_delay_seconds=0))
    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel:
        stub = PromissoryNoteInquiryServiceStub(channel)
        _, answered = stub.CheckNote.with_call(NOTE, timeout=10)
        refused = stub.CheckNote.future(notes.CheckNoteRequest(), timeout=10)
        other = stub.GetNoteParties.future(notes.GetNotePartiesRequest(), timeout=10)
        codes = refused.code(), other.code()

    # Both days begin at midnight in Iran, three and a half hours ahead.
    ends: dict[str, str | bytes] = {"deprecation": "@1798749000", "sunset": "Tue, 31 Aug 2027 20:30:00 GMT"}
    assert (
        ends == deprecation_metadata(answered.trailing_metadata()) == deprecation_metadata(refused.trailing_metadata())
    )
    assert {} == deprecation_metadata(other.trailing_metadata())
    assert (grpc.StatusCode.INVALID_ARGUMENT,) * 2 == codes
