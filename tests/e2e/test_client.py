"""Our client retries after the delay in the refusal, and not before."""

import time

import grpc

from development import sandbox as suite
from development.sandbox import GRANTS, Sandbox
from estelam.client.channel import ClientIdentity, channel
from estelam.core.errors import Reason
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import NOTE, caller, refusal

RATE, BURST = 4, 2


def test_short_rate_limit_is_retried(loaded: Sandbox, start: Start) -> None:
    """Our client waits and retries when the rate limit ends within seconds."""
    suite.write_access(loaded, GRANTS, rate=RATE, burst=BURST)
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    began = time.monotonic()
    with channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        answers = [stub.CheckNote(NOTE, timeout=20).answer for _ in range(BURST + 4)]

    assert [ANSWER_YES] * (BURST + 4) == answers
    assert time.monotonic() - began > (4 - 1) / RATE


def test_long_rate_limit_is_returned(loaded: Sandbox, start: Start) -> None:
    """Our client returns the refusal at once when the rate limit lasts long."""
    suite.write_access(loaded, GRANTS, rate=0.01, burst=1)
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    with caller(loaded, service.address) as ask:
        ask()
    began = time.monotonic()
    with channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)

        reported = refusal(lambda: stub.CheckNote(NOTE, timeout=20))

    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUOTA_EXHAUSTED) == reported
    assert time.monotonic() - began < 5
