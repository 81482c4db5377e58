"""Our own client is patient: it comes back when it was told to, and not before."""

import time

import grpc

from estelam.client.channel import ClientIdentity, channel
from estelam.core.errors import Reason
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import NOTE, caller, refusal
from tools.env import sandbox as suite
from tools.env.sandbox import GRANTS, Sandbox

RATE, BURST = 4, 2


def test_a_quota_that_is_used_up_for_a_moment_is_waited_out(loaded: Sandbox, start: Start) -> None:
    suite.write_access(loaded, GRANTS, rate=RATE, burst=BURST)
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    began = time.monotonic()
    with channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        answers = [stub.CheckNote(NOTE, timeout=20).answer for _ in range(BURST + 4)]

    assert [ANSWER_YES] * (BURST + 4) == answers
    assert time.monotonic() - began > (4 - 1) / RATE


def test_a_quota_that_is_used_up_for_long_is_not_waited_for(loaded: Sandbox, start: Start) -> None:
    suite.write_access(loaded, GRANTS, rate=0.01, burst=1)
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    with caller(loaded, service.address) as ask:
        ask()
    began = time.monotonic()
    with channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)

        told = refusal(lambda: stub.CheckNote(NOTE, timeout=20))

    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUOTA_EXHAUSTED) == told
    assert time.monotonic() - began < 5
