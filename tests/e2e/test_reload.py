"""`systemctl reload`, which is SIGHUP: the service reads its settings anew."""

import base64
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity, channel
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.e2e.conftest import NOTE
from tools.env import sandbox as suite
from tools.env.postgres import PostgresCluster
from tools.env.processes import ServiceProcess, free_ports
from tools.env.sandbox import LIFETIME, MINISTRY, SINCE, Sandbox

SECONDS = 30


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reload(service: ServiceProcess, settings: Path, old: str, new: str, event: str) -> None:
    """Replace *old* by *new* in *settings*, send SIGHUP, and wait until *event* is logged once more."""
    before = service.log.read_text("utf-8").count(event)
    text = settings.read_text("utf-8")
    assert old in text
    settings.write_text(text.replace(old, new), "utf-8")
    service.signal(signal.SIGHUP)
    until(lambda: service.log.read_text("utf-8").count(event) > before)


def signing_key_hash(sandbox: Sandbox, service: ServiceProcess) -> bytes:
    """The hash of the key that signs a receipt now."""
    with channel(service.address, ClientIdentity.named(sandbox.pki, "setad")) as opened:
        receipt = PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=SECONDS).receipt
    *_, signature = receipt.checkpoint.split()
    return base64.b64decode(signature)[:4]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "unit"), [(1, "service"), (2, "workers")])
def test_signing_key_changes(workers: int, unit: str, cluster: PostgresCluster, tmp_path: Path) -> None:
    """After SIGHUP the key that the settings name signs; with invalid settings the service goes on, and logs why."""
    stores = {"promissory": cluster.url(cluster.database())} if workers > 1 else None
    sandbox = suite.create_sandbox(tmp_path / "sandbox", stores=stores)
    suite.load_samples(sandbox)
    DevCertificateAuthority(sandbox.pki).issue_signing("new", MINISTRY, since=SINCE, lifetime=LIFETIME)
    certificates = 'signing_certificates = ["pki/promissory-receipts.crt"'
    listen = f"127.0.0.1:{free_ports('promissory')['promissory']}"
    with ServiceProcess("promissory", sandbox, listen=listen, workers=workers) as service:
        first = signing_key_hash(sandbox, service)
        reload(service, sandbox.config, "signing_key", "signing_keys", f"{unit}.restart_failed")
        still = signing_key_hash(sandbox, service)
        reload(service, sandbox.config, "signing_keys", "signing_key", f"{unit}.restarted")
        reload(service, sandbox.config, certificates, f'{certificates}, "pki/new.crt"', f"{unit}.restarted")
        reload(service, sandbox.config, "pki/promissory-receipts.key", "pki/new.key", f"{unit}.restarted")
        last = signing_key_hash(sandbox, service)

    assert first == still != last
    assert "signing_keys: unknown key" in service.log.read_text("utf-8")
