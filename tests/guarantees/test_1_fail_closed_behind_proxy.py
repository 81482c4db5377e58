"""Guarantee 1 behind a proxy: an error while its header is verified is a refusal, and identifies no other caller."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from google.protobuf.message import Message

from development import sandbox as suite
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.errors import Reason
from promissory.methods import lookups
from tests.guarantees import test_1_fail_closed as whole
from tests.guarantees.test_1_fail_closed import (
    ANSWERED,
    FILES,
    SERVICES,
    Activity,
    Question,
    ServiceUnderTest,
    faulty,
    points,
)
from tests.guarantees.test_4_authorization_behind_proxy import HEADER, forwarded
from tests.support.certificates import key_sha256
from tests.support.faults import DatabaseFaults, Faults

XFCC = "estelam/auth/xfcc.py"
VERIFYING = (XFCC, "estelam/auth/trust.py")


class ProxiedService(ServiceUnderTest):
    """A service that has to reload its authorities, and to verify the header again, for every call."""

    def ask(self, question: Question) -> Message | grpc.RpcError:
        os.utime(self.settings.ca_certificates, ns=(time.time_ns(), time.time_ns()))
        return super().ask(question)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceUnderTest, Question]]:
    """A service with a trusted proxy, and a call that comes through it."""
    box = suite.create_sandbox(tmp_path_factory.mktemp("proxied"))
    suite.load_samples(box)
    DevCertificateAuthority(box.pki).issue("proxy", [])
    setad = (box.pki / "setad.crt").read_bytes()
    settings = box.promissory(listen="127.0.0.1:0", trusted_proxy_keys=[key_sha256(box.pki / "proxy.crt")])
    faults = Faults(SERVICES, (*FILES, XFCC))
    activity = Activity(faults)
    question = replace(ANSWERED["a note, YES"], caller="proxy", metadata=((HEADER, forwarded(setad)),))
    with (
        whole._traced(activity, DatabaseFaults()),
        ProxiedService(box, settings, faults, activity).opened(lookups(settings)) as service,
    ):
        yield service, question


@pytest.mark.slow
def test_error_while_verifying_xfcc_is_a_refusal(
    asked: tuple[ServiceUnderTest, Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error at any line that verifies a proxy's header becomes a refusal."""
    service, question = asked
    monkeypatch.setitem(whole.CALLER_ERRORS, XFCC, Reason.CERTIFICATE_UNUSABLE)
    passed = [point for point in points(service, question) if point.file in VERIFYING]

    assert faulty(service, question, passed) == []
    assert {"ClientTrust.verify", "_verify", "forwarded_certificate"} <= {point.function for point in passed}
