"""Promise 1 behind a proxy: an error while its word about the caller is read is a refusal, and names nobody else."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from google.protobuf.message import Message

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.errors import Reason
from promissory.methods import lookups
from tests.guarantees import test_1_fail_closed as whole
from tests.guarantees.test_1_fail_closed import ANSWERED, FILES, SERVICES, House, Question, faulty, points
from tests.guarantees.test_4_authorization_behind_proxy import HEADER, fingerprint, forwarded
from tests.support.faults import DatabaseFaults, Faults
from tools.env import sandbox as suite

VOUCHING = "estelam/vouching.py"


class Gate(House):
    """A house that has to read its authorities, and what a proxy says, anew for every question."""

    def ask(self, question: Question) -> Message | grpc.RpcError:
        os.utime(self.settings.ca_certificates, ns=(time.time_ns(), time.time_ns()))
        return super().ask(question)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Question]]:
    """A service that names a proxy, and a question that comes through it."""
    box = suite.create_sandbox(tmp_path_factory.mktemp("proxied"))
    suite.load_samples(box)
    DevCertificateAuthority(box.pki).issue("proxy", [])
    proxy, setad = ((box.pki / f"{name}.crt").read_bytes() for name in ("proxy", "setad"))
    settings = box.promissory(listen="127.0.0.1:0", trusted_proxies=[fingerprint(proxy)])
    faults = Faults(SERVICES, (*FILES, VOUCHING))
    question = replace(ANSWERED["a note, YES"], caller="proxy", metadata=((HEADER, forwarded(setad)),))
    with (
        whole._made_to_fail(faults, DatabaseFaults()),
        Gate(box, settings, faults).opened(lookups(settings)) as house,
    ):
        yield house, question


def test_an_error_while_a_proxys_word_is_read_is_a_refusal(
    asked: tuple[House, Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, question = asked
    monkeypatch.setitem(whole.BLAMED, VOUCHING, Reason.CERTIFICATE_UNUSABLE)
    monkeypatch.setitem(whole.OUTLIVED, "Vouchers._reader", "unreadable authorities leave those last read in force")
    known = {point.place for point in points(house, replace(question, metadata=()))}
    passed = [point for point in points(house, question) if point.place not in known]

    assert faulty(house, question, passed) == []
    assert {"Vouchers._reader", "Vouchers.credential", "_verified"} <= {point.function for point in passed}
